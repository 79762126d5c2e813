//! Which objects a modifier rule is for.

use std::collections::BTreeMap;

use globset::{GlobBuilder, GlobMatcher};
use regex::Regex;
use serde_json::Value;

use super::Subject;
use super::json_patch::{self, Pointer};
use crate::engine::select::LabelFilter;

#[derive(Debug)]
pub(super) struct Conditions {
    pub(super) group_resource: GroupResourcePattern,
    pub(super) name: Option<Regex>,
    /// Of the backup; empty for all.
    pub(super) namespaces: Vec<GlobMatcher>,
    pub(super) labels: LabelFilter,
    pub(super) matches: Vec<(Pointer, Value)>,
}

/// A glob in which a dot separates words: `*` stays within one, `**` crosses them.
#[derive(Debug)]
pub(super) struct GroupResourcePattern(GlobMatcher);

impl GroupResourcePattern {
    /// The glob crate separates words by slashes, which neither a group nor a resource has.
    pub(super) fn parse(pattern: &str) -> Result<Self, globset::Error> {
        let glob = GlobBuilder::new(&pattern.replace('.', "/")).literal_separator(true).build()?;
        Ok(Self(glob.compile_matcher()))
    }

    fn matches(&self, group_resource: &str) -> bool {
        self.0.is_match(group_resource.replace('.', "/"))
    }
}

impl Conditions {
    pub(super) fn hold(&self, object: &Value, subject: Subject<'_>) -> Result<bool, json_patch::Error> {
        let name = object.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
        let place = self.group_resource.matches(subject.group_resource)
            && self.name.as_ref().is_none_or(|expression| expression.is_match(name))
            && self.takes_namespace(subject.source_namespace);
        Ok(place
            && (self.labels.is_everything() || self.labels.matches(&labels(object)))
            && self.matches.iter().all(|(path, value)| json_patch::test(object, path, value)))
    }

    fn takes_namespace(&self, namespace: Option<&str>) -> bool {
        let Some(namespace) = namespace.filter(|_| !self.namespaces.is_empty()) else { return true };
        self.namespaces.iter().any(|glob| glob.is_match(namespace))
    }
}

fn labels(object: &Value) -> BTreeMap<String, String> {
    let labels = object.pointer("/metadata/labels").and_then(Value::as_object);
    labels
        .into_iter()
        .flatten()
        .filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stays_within_a_word_of_a_group_resource() {
        let table = [
            ("*", "pods", true),
            ("*", "deployments.apps", false),
            ("*.apps", "deployments.apps", true),
            ("*.*", "deployments.apps", true),
            ("*.*", "ingresses.networking.k8s.io", false),
            ("**", "ingresses.networking.k8s.io", true),
            ("*.**", "ingresses.networking.k8s.io", true),
            ("deployments.apps", "deployments.apps", true),
            ("deployments.apps", "deployments", false),
        ];
        for (pattern, name, expected) in table {
            assert_eq!(
                GroupResourcePattern::parse(pattern).unwrap().matches(name),
                expected,
                "{pattern} on {name}"
            );
        }
    }
}
