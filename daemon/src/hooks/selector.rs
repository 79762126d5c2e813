//! Which pods an entry of a spec's hooks is for: namespaces with globs, kinds of resource, labels.

use globset::{Glob, GlobSet, GlobSetBuilder};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::core::{ParseExpressionError, SelectorExt as _};

use super::Pod;

/// Why an entry can't be used.
#[derive(Debug, thiserror::Error)]
#[error("hook {name:?} has a label selector that cannot be used")]
pub struct Error {
    name: String,
    source: ParseExpressionError,
}

#[derive(Debug)]
pub(super) struct Selector {
    namespaces: Lists,
    resources: Lists,
    labels: kube::core::Selector,
}

/// Names or globs; an empty include list includes everything.
#[derive(Debug)]
struct Lists {
    included: Vec<String>,
    globs: GlobSet,
    excluded: GlobSet,
}

impl Selector {
    /// `resources` are group-resources already, as far as the cluster knows them.
    pub(super) fn new(
        name: &str,
        namespaces: (&[String], &[String]),
        resources: (&[String], &[String]),
        labels: Option<&LabelSelector>,
    ) -> Result<Self, Error> {
        let labels = kube::core::Selector::try_from(labels.cloned().unwrap_or_default())
            .map_err(|source| Error { name: name.to_owned(), source })?;
        Ok(Self { namespaces: Lists::new(namespaces), resources: Lists::new(resources), labels })
    }

    pub(super) fn selects(&self, pod: &Pod) -> bool {
        self.namespaces.holds(&pod.namespace)
            && self.resources.holds("pods")
            && self.labels.matches(&pod.labels)
    }
}

impl Lists {
    fn new((included, excluded): (&[String], &[String])) -> Self {
        Self { included: included.to_vec(), globs: globs(included), excluded: globs(excluded) }
    }

    fn holds(&self, name: &str) -> bool {
        !self.excluded.is_match(name) && (self.included.is_empty() || self.globs.is_match(name))
    }
}

/// What is no glob stands for itself.
fn globs(patterns: &[String]) -> GlobSet {
    let mut set = GlobSetBuilder::new();
    for pattern in patterns {
        let glob = Glob::new(pattern).or_else(|_| Glob::new(&globset::escape(pattern)));
        set.add(glob.expect("an escaped pattern is always a glob"));
    }
    set.build().expect("the globs of a set were parsed one by one")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(namespace: &str, labels: &[(&str, &str)]) -> Pod {
        let labels = labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        Pod { namespace: namespace.to_owned(), labels, ..Pod::default() }
    }

    fn owned(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn namespaces_are_names_or_globs_and_exclusion_wins() {
        let table: [(&[&str], &[&str], &str, bool); 7] = [
            (&[], &[], "shop", true),
            (&["*"], &[], "shop", true),
            (&["shop"], &[], "shop-eu", false),
            (&["shop*"], &[], "shop-eu", true),
            (&[], &["shop"], "shop", false),
            (&["shop*"], &["shop-e?"], "shop-eu", false),
            (&["[broken"], &[], "[broken", true),
        ];
        for (included, excluded, namespace, expected) in table {
            let selector =
                Selector::new("a", (&owned(included), &owned(excluded)), (&[], &[]), None).unwrap();
            assert_eq!(selector.selects(&pod(namespace, &[])), expected, "{included:?} {excluded:?}");
        }
    }

    #[test]
    fn only_entries_that_are_for_pods_select_pods() {
        let table: [(&[&str], &[&str], bool); 4] = [
            (&["pods"], &[], true),
            (&["deployments.apps"], &[], false),
            (&["*"], &[], true),
            (&[], &["pods"], false),
        ];
        for (included, excluded, expected) in table {
            let selector =
                Selector::new("a", (&[], &[]), (&owned(included), &owned(excluded)), None).unwrap();
            assert_eq!(selector.selects(&pod("shop", &[])), expected, "{included:?} {excluded:?}");
        }
    }

    #[test]
    fn labels_select_as_kubernetes_has_it() {
        let labels: LabelSelector = serde_json::from_value(json!({
            "matchLabels": {"app": "web"},
            "matchExpressions": [{"key": "canary", "operator": "DoesNotExist"}],
        }))
        .unwrap();
        let selector = Selector::new("a", (&[], &[]), (&[], &[]), Some(&labels)).unwrap();
        assert!(selector.selects(&pod("shop", &[("app", "web"), ("tier", "front")])));
        assert!(!selector.selects(&pod("shop", &[("app", "web"), ("canary", "")])));
        assert!(!selector.selects(&pod("shop", &[])));
    }

    #[test]
    fn an_unknown_operator_is_an_error_that_names_the_hook() {
        let labels: LabelSelector =
            serde_json::from_value(json!({"matchExpressions": [{"key": "a", "operator": "Like"}]})).unwrap();
        let error = Selector::new("flush", (&[], &[]), (&[], &[]), Some(&labels)).unwrap_err();
        assert_eq!(error.to_string(), "hook \"flush\" has a label selector that cannot be used");
    }
}
