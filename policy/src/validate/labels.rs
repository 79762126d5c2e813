//! Labels that users give, and label selectors.

use std::collections::BTreeMap;

use crate::model::select::{LabelOperator, LabelSelector};
use crate::parse::{Findings, Mark, Path, RawDocument};
use crate::problem::Rule;

/// Prefixes by which other tools mark what they apply: on generated objects they would claim these too.
const TRACKING: [&str; 9] = [
    "argocd.argoproj.io",
    "config.kubernetes.io",
    "fluxcd.io",
    "helm.sh",
    "helm.toolkit.fluxcd.io",
    "kubectl.kubernetes.io",
    "kustomize.toolkit.fluxcd.io",
    "meta.helm.sh",
    "objectset.rio.cattle.io",
];
const TRACKING_KEYS: [&str; 3] =
    ["app.kubernetes.io/instance", "app.kubernetes.io/managed-by", "kustomize.config.k8s.io/behavior"];

/// The labels that may be put on generated objects.
pub(super) fn own(labels: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    labels
        .iter()
        .filter(|(key, _)| !is_tracking(key))
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect()
}

fn is_tracking(key: &str) -> bool {
    let prefix = key.split_once('/').map(|(prefix, _)| prefix).unwrap_or_default();
    TRACKING_KEYS.contains(&key) || TRACKING.contains(&prefix)
}

pub(super) fn check(
    labels: &BTreeMap<String, String>,
    path: &Path,
    raw: &RawDocument,
    findings: &mut Findings<'_>,
) {
    for (key, value) in labels {
        let at = path.entry(key);
        let prefix = key.split_once('/').map(|(prefix, _)| prefix).unwrap_or_default();
        if matches!(prefix, "holdfast.dev" | "velero.io") || prefix.ends_with(".velero.io") {
            let problem = findings.add_marked(
                raw,
                &at,
                Mark::Key,
                Rule::Label,
                format!("label `{key}` is reserved: Holdfast and Velero set labels of `{prefix}` themselves"),
            );
            problem.help = Some("take a prefix of your own, or none".to_owned());
        } else if let Err(reason) = key_grammar(key) {
            findings.add_marked(raw, &at, Mark::Key, Rule::Label, format!("label `{key}` {reason}"));
        }
        if let Err(reason) = value_grammar(value) {
            findings.add(raw, &at, Rule::Label, format!("label value {value:?} {reason}"));
        }
    }
}

pub(super) fn check_selector(
    selector: &LabelSelector,
    path: &Path,
    raw: &RawDocument,
    findings: &mut Findings<'_>,
) {
    let LabelSelector { match_labels, match_expressions } = selector;
    for (key, value) in match_labels {
        let at = path.key("matchLabels").entry(key);
        if let Err(reason) = key_grammar(key) {
            findings.add_marked(raw, &at, Mark::Key, Rule::Selector, format!("label `{key}` {reason}"));
        }
        if let Err(reason) = value_grammar(value) {
            findings.add(raw, &at, Rule::Selector, format!("label value {value:?} {reason}"));
        }
    }
    for (index, expression) in match_expressions.iter().enumerate() {
        let at = path.key("matchExpressions").index(index);
        if let Err(reason) = key_grammar(&expression.key) {
            let key = &expression.key;
            findings.add(raw, &at.key("key"), Rule::Selector, format!("label `{key}` {reason}"));
        }
        let (needs_values, operator) = match expression.operator {
            LabelOperator::In => (true, "In"),
            LabelOperator::NotIn => (true, "NotIn"),
            LabelOperator::Exists => (false, "Exists"),
            LabelOperator::DoesNotExist => (false, "DoesNotExist"),
        };
        if needs_values && expression.values.is_empty() {
            findings.add(raw, &at, Rule::Selector, format!("{operator} needs `values`"));
        }
        if !needs_values && !expression.values.is_empty() {
            findings.add(raw, &at.key("values"), Rule::Selector, format!("{operator} takes no `values`"));
        }
        for (value_index, value) in expression.values.iter().enumerate() {
            if let Err(reason) = value_grammar(value) {
                let at = at.key("values").index(value_index);
                findings.add(raw, &at, Rule::Selector, format!("label value {value:?} {reason}"));
            }
        }
    }
}

fn key_grammar(key: &str) -> Result<(), String> {
    let name = match key.split_once('/') {
        Some((prefix, name)) => {
            let fits = !prefix.is_empty()
                && prefix.len() <= 253
                && prefix
                    .bytes()
                    .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b".-".contains(&byte));
            if !fits {
                return Err("has a prefix that is no DNS name".to_owned());
            }
            name
        }
        None => key,
    };
    if name.is_empty() {
        return Err("has no name".to_owned());
    }
    part_grammar(name)
}

fn value_grammar(value: &str) -> Result<(), String> {
    if value.is_empty() { Ok(()) } else { part_grammar(value) }
}

fn part_grammar(text: &str) -> Result<(), String> {
    if text.len() > 63 {
        return Err("has more than 63 characters".to_owned());
    }
    let edges = [text.bytes().next(), text.bytes().last()];
    let inside = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
    let ends = edges.iter().flatten().all(u8::is_ascii_alphanumeric);
    if inside && ends {
        Ok(())
    } else {
        Err("is not letters, digits, `-`, `_` and `.`, starting and ending with a letter or digit".to_owned())
    }
}
