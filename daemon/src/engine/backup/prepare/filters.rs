//! What is wrong with the filters of a Backup, in Velero's sentences: people and scripts compare them.

use std::collections::BTreeSet;

use holdfast_policy::velero::BackupSpec;

use crate::engine::select::{LabelFilter, ResourceFilter, SNAPSHOT_CONTENTS, SNAPSHOTS, check_name};

const EVERYTHING: &str = "*";
const MIXED_MODELS: &str = "include-resources, exclude-resources and include-cluster-resources are old filter parameters.\n\
    include-cluster-scoped-resources, exclude-cluster-scoped-resources, include-namespace-scoped-resources and \
    exclude-namespace-scoped-resources are new filter parameters.\n\
    They cannot be used together";
const BOTH_SELECTORS: &str =
    "encountered labelSelector as well as orLabelSelectors in backup spec, only one can be specified";

pub(super) fn problems(spec: &BackupSpec) -> Vec<String> {
    let mut problems = Vec::new();
    let scoped = [
        &spec.included_cluster_scoped_resources,
        &spec.excluded_cluster_scoped_resources,
        &spec.included_namespace_scoped_resources,
        &spec.excluded_namespace_scoped_resources,
    ];
    if ResourceFilter::is_joint(spec) && scoped.iter().any(|list| !list.is_empty()) {
        problems.push(MIXED_MODELS.to_owned());
    }
    let mut report = |what: &str, found: Vec<String>| {
        problems.extend(found.into_iter().map(|problem| format!("Invalid {what} lists: {problem}")));
    };
    report("included/excluded resource", pair(&spec.included_resources, &by_user(&spec.excluded_resources)));
    report("included/excluded namespace", pair(&spec.included_namespaces, &spec.excluded_namespaces));
    report(
        "cluster-scoped included/excluded resource",
        scoped_pair(
            &spec.included_cluster_scoped_resources,
            &by_user(&spec.excluded_cluster_scoped_resources),
        ),
    );
    report(
        "namespace-scoped included/excluded resource",
        scoped_pair(
            &spec.included_namespace_scoped_resources,
            &by_user(&spec.excluded_namespace_scoped_resources),
        ),
    );
    let namespaces = spec.included_namespaces.iter().chain(&spec.excluded_namespaces);
    let excludes_everything = |name: &&String| *name != EVERYTHING;
    let names = namespaces.filter(excludes_everything).filter_map(|name| check_name(name).err()).collect();
    report("included/excluded namespace", names);
    problems.extend(selector_problems(spec));
    problems
}

fn selector_problems(spec: &BackupSpec) -> Vec<String> {
    if spec.label_selector.is_some() && !spec.or_label_selectors.is_empty() {
        return vec![BOTH_SELECTORS.to_owned()];
    }
    match LabelFilter::new(spec.label_selector.as_ref(), &spec.or_label_selectors) {
        Ok(_) => vec![],
        Err(error) => vec![format!("invalid label selector: {error}")],
    }
}

/// An exclude list without what is appended to each, which may stand beside a `*`.
fn by_user(excluded: &[String]) -> Vec<String> {
    let appended = |entry: &&String| *entry == SNAPSHOTS || *entry == SNAPSHOT_CONTENTS;
    excluded.iter().filter(|entry| !appended(entry)).cloned().collect()
}

/// A pair of lists of which `*` may stand in the first only, and alone.
fn pair(included: &[String], excluded: &[String]) -> Vec<String> {
    let mut problems = lone_star("includes", included);
    if excluded.iter().any(|entry| entry == EVERYTHING) {
        problems.push("excludes list cannot contain '*'".to_owned());
    }
    problems.extend(in_both(included, excluded));
    problems
}

/// A pair of lists of which each may be `*` alone.
fn scoped_pair(included: &[String], excluded: &[String]) -> Vec<String> {
    let mut problems = lone_star("includes", included);
    problems.extend(lone_star("excludes", excluded));
    if !included.is_empty() && excluded.iter().any(|entry| entry == EVERYTHING) {
        problems.push("when exclude is '*', include cannot have value".to_owned());
    }
    problems.extend(in_both(included, excluded));
    problems
}

fn lone_star(list: &str, entries: &[String]) -> Vec<String> {
    if entries.len() > 1 && entries.iter().any(|entry| entry == EVERYTHING) {
        return vec![format!("{list} list must either contain '*' only, or a non-empty list of items")];
    }
    vec![]
}

fn in_both(included: &[String], excluded: &[String]) -> Vec<String> {
    let included: BTreeSet<&String> = included.iter().filter(|entry| *entry != EVERYTHING).collect();
    let mut seen = BTreeSet::new();
    let both = excluded.iter().filter(|entry| included.contains(entry) && seen.insert(*entry));
    both.map(|entry| format!("excludes list cannot contain an item in the includes list: {entry}")).collect()
}

#[cfg(test)]
mod tests {
    use pretty_assertions::assert_eq;
    use serde_json::{Value, json};

    use super::*;

    fn found(spec: Value) -> Vec<String> {
        problems(&serde_json::from_value(spec).unwrap())
    }

    #[test]
    fn several_findings_come_at_once_and_in_veleros_order_and_words() {
        let spec = json!({
            "includedNamespaces": ["x", "*"],
            "includedResources": ["pods"],
            "excludedResources": ["volumesnapshots.snapshot.storage.k8s.io"],
            "includedNamespaceScopedResources": ["pods"],
            "labelSelector": {"matchLabels": {"a": "b"}},
            "orLabelSelectors": [{"matchLabels": {"c": "d"}}],
        });
        assert_eq!(
            found(spec),
            [
                "include-resources, exclude-resources and include-cluster-resources are old filter parameters.\ninclude-cluster-scoped-resources, exclude-cluster-scoped-resources, include-namespace-scoped-resources and exclude-namespace-scoped-resources are new filter parameters.\nThey cannot be used together",
                "Invalid included/excluded namespace lists: includes list must either contain '*' only, or a non-empty list of items",
                "encountered labelSelector as well as orLabelSelectors in backup spec, only one can be specified",
            ]
        );
    }

    #[test]
    fn star_has_its_places() {
        assert_eq!(
            found(json!({"includedNamespaces": ["*"], "excludedNamespaces": ["a"]})),
            Vec::<String>::new()
        );
        assert_eq!(
            found(json!({"excludedNamespaces": ["*"]})),
            ["Invalid included/excluded namespace lists: excludes list cannot contain '*'"]
        );
        let completed = json!({"excludedNamespaceScopedResources": ["*", SNAPSHOTS]});
        assert_eq!(found(completed), Vec::<String>::new());
        assert_eq!(
            found(
                json!({"excludedClusterScopedResources": ["*"], "includedClusterScopedResources": ["nodes"]})
            ),
            [
                "Invalid cluster-scoped included/excluded resource lists: when exclude is '*', include cannot have value"
            ]
        );
        assert_eq!(
            found(json!({"excludedNamespaceScopedResources": ["*", "pods"]})),
            [
                "Invalid namespace-scoped included/excluded resource lists: excludes list must either contain '*' only, or a non-empty list of items"
            ]
        );
    }

    #[test]
    fn an_entry_of_both_lists_is_compared_as_text() {
        assert_eq!(
            found(json!({"includedResources": ["pods", "po"], "excludedResources": ["pods", "pods"]})),
            [
                "Invalid included/excluded resource lists: excludes list cannot contain an item in the includes list: pods"
            ]
        );
        assert_eq!(
            found(json!({"includedResources": ["po"], "excludedResources": ["pods"]})),
            Vec::<String>::new()
        );
    }

    #[test]
    fn namespace_entries_are_names_or_globs() {
        assert_eq!(
            found(json!({"includedNamespaces": ["team-*"], "excludedNamespaces": [""]})),
            Vec::<String>::new()
        );
        let problems = found(json!({"includedNamespaces": ["a**"], "excludedNamespaces": ["Shop"]}));
        assert_eq!(problems.len(), 2);
        assert!(problems[0].starts_with("Invalid included/excluded namespace lists: "), "{problems:?}");
    }

    #[test]
    fn a_selector_with_an_unknown_operator_is_invalid() {
        let selector = json!({"matchExpressions": [{"key": "a", "operator": "Like", "values": ["b"]}]});
        assert_eq!(
            found(json!({"labelSelector": selector})),
            ["invalid label selector: label selector has the unknown operator \"Like\" for label \"a\""]
        );
    }
}
