//! Filters of backups, restores and hooks.

use super::{glob, labels};
use crate::model::select::{ClusterResources, HookSelect, LabelSelector, Patterns, RestoreSelect, Select};
use crate::parse::{Findings, Path, RawDocument};
use crate::problem::Rule;

pub(super) fn backup(select: &Select, path: &Path, raw: &RawDocument, findings: &mut Findings<'_>) {
    let Select {
        namespaces: wanted_namespaces,
        resources: wanted_resources,
        namespaced_resources,
        cluster_resources,
        include_cluster_resources,
        label_selector,
        or_label_selectors,
        ordered_resources,
    } = select;
    namespaces(wanted_namespaces, &path.key("namespaces"), raw, findings);
    resources(wanted_resources, &path.key("resources"), raw, findings);
    resources(namespaced_resources, &path.key("namespacedResources"), raw, findings);
    resources(cluster_resources, &path.key("clusterResources"), raw, findings);
    selectors(label_selector.as_ref(), or_label_selectors, path, raw, findings);

    let by_scope = [("namespacedResources", namespaced_resources), ("clusterResources", cluster_resources)];
    let given = by_scope.into_iter().find(|(_, patterns)| !patterns.is_empty()).map(|(name, _)| name);
    if let Some(scoped) = given {
        let help = "either `resources` and `includeClusterResources`, or `namespacedResources` and `clusterResources`";
        if !wanted_resources.is_empty() {
            let message = format!("`resources` and `{scoped}` don't mix");
            findings.add(raw, &path.key("resources"), Rule::FilterModels, message).help =
                Some(help.to_owned());
        }
        if matches!(include_cluster_resources, Some(ClusterResources::Always | ClusterResources::Never)) {
            let message = format!("`includeClusterResources` and `{scoped}` don't mix");
            let at = path.key("includeClusterResources");
            findings.add(raw, &at, Rule::FilterModels, message).help =
                Some(format!("{help}; `clusterResources: {{include: [\"*\"]}}` takes all"));
        }
    }
    for (resource, objects) in ordered_resources {
        let at = path.key("orderedResources").entry(resource);
        if resource.contains('.') || resource.chars().any(char::is_uppercase) {
            let message = format!("`{resource}` is not the plural of a resource without its group");
            let problem = findings.add(raw, &at, Rule::OrderedResources, message);
            problem.help = Some("write the plural alone, as in `pods`".to_owned());
        }
        for (index, object) in objects.iter().enumerate() {
            let parts: Vec<&str> = object.split('/').collect();
            let good = matches!(parts.as_slice(), [name] | [_, name] if !name.is_empty())
                && !parts[0].is_empty()
                && !object.contains([',', '*', ' ']);
            if !good {
                let message = format!("{object:?} is not `namespace/name` or `name`");
                findings.add(raw, &at.index(index), Rule::OrderedResources, message);
            }
        }
    }
}

pub(super) fn restore(select: &RestoreSelect, path: &Path, raw: &RawDocument, findings: &mut Findings<'_>) {
    let RestoreSelect {
        namespaces: wanted_namespaces,
        resources: wanted_resources,
        include_cluster_resources: _,
        label_selector,
        or_label_selectors,
    } = select;
    namespaces(wanted_namespaces, &path.key("namespaces"), raw, findings);
    resources(wanted_resources, &path.key("resources"), raw, findings);
    selectors(label_selector.as_ref(), or_label_selectors, path, raw, findings);
}

pub(super) fn hook(select: &HookSelect, path: &Path, raw: &RawDocument, findings: &mut Findings<'_>) {
    let HookSelect { namespaces: wanted_namespaces, resources: wanted_resources, label_selector } = select;
    namespaces(wanted_namespaces, &path.key("namespaces"), raw, findings);
    resources(wanted_resources, &path.key("resources"), raw, findings);
    if let Some(selector) = label_selector {
        labels::check_selector(selector, &path.key("labelSelector"), raw, findings);
    }
}

pub(super) fn namespaces(patterns: &Patterns, path: &Path, raw: &RawDocument, findings: &mut Findings<'_>) {
    each(patterns, path, raw, findings, glob::namespace);
    contradictions(patterns, path, raw, findings);
}

pub(super) fn resources(patterns: &Patterns, path: &Path, raw: &RawDocument, findings: &mut Findings<'_>) {
    each(patterns, path, raw, findings, glob::resource);
    contradictions(patterns, path, raw, findings);
}

fn each(
    patterns: &Patterns,
    path: &Path,
    raw: &RawDocument,
    findings: &mut Findings<'_>,
    grammar: fn(&str) -> Result<(), String>,
) {
    for (key, list) in [("include", &patterns.include), ("exclude", &patterns.exclude)] {
        for (index, pattern) in list.iter().enumerate() {
            if let Err(reason) = grammar(pattern) {
                findings.add(raw, &path.key(key).index(index), Rule::Glob, format!("{pattern:?} {reason}"));
            }
        }
    }
}

/// What is included and excluded as well is never taken.
fn contradictions(patterns: &Patterns, path: &Path, raw: &RawDocument, findings: &mut Findings<'_>) {
    let Patterns { include, exclude } = patterns;
    if include.len() > 1 && include.iter().any(|pattern| pattern == "*") {
        let index = include.iter().position(|pattern| pattern == "*").unwrap_or_default();
        let message = "\"*\" includes everything: the other patterns mean nothing beside it";
        findings.add(raw, &path.key("include").index(index), Rule::Glob, message);
    }
    for (index, pattern) in include.iter().enumerate() {
        if pattern == "*" && !exclude.iter().any(|other| other == "*") {
            continue;
        }
        if let Some(other) = exclude.iter().find(|other| glob::covers(other, pattern)) {
            let message = format!("{pattern:?} can't match anything: {other:?} excludes all of it");
            let excluded = exclude.iter().position(|pattern| pattern == other).unwrap_or_default();
            let related = findings.related_path(raw, &path.key("exclude").index(excluded), "excluded here");
            findings.add(raw, &path.key("include").index(index), Rule::Glob, message).related.push(related);
        }
    }
    // Velero has no use for an exclusion of everything except to take no cluster-scoped resources at all.
    let everything = exclude.iter().position(|pattern| pattern == "*");
    if let (true, Some(index), Some("namespaces" | "resources")) =
        (include.is_empty(), everything, path.last_key())
    {
        findings.add(raw, &path.key("exclude").index(index), Rule::Glob, "\"*\" excludes everything");
    }
}

fn selectors(
    single: Option<&LabelSelector>,
    several: &[LabelSelector],
    path: &Path,
    raw: &RawDocument,
    findings: &mut Findings<'_>,
) {
    if let Some(selector) = single {
        labels::check_selector(selector, &path.key("labelSelector"), raw, findings);
        if !several.is_empty() {
            let message = "`labelSelector` and `orLabelSelectors` exclude each other";
            findings.add(raw, &path.key("orLabelSelectors"), Rule::Exclusive, message);
        }
    }
    for (index, selector) in several.iter().enumerate() {
        let at = path.key("orLabelSelectors").index(index);
        labels::check_selector(selector, &at, raw, findings);
        if selector.match_labels.is_empty() && selector.match_expressions.is_empty() {
            let message = "an empty selector matches everything: the others mean nothing beside it";
            findings.add(raw, &at, Rule::Selector, message);
        }
    }
}
