//! The text of the ConfigMap, field by field. A field that Velero doesn't know is refused.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement};
use serde::Deserialize;
use std::collections::BTreeMap;

use super::Invalid;
use crate::model::volumes::{VolumeAction, VolumeConditions};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Document {
    #[serde(default)]
    pub(super) version: String,
    pub(super) include_exclude_policy: Option<IncludeExcludePolicy>,
    #[serde(default)]
    pub(super) volume_policies: Vec<RawVolumePolicy>,
    pub(super) cluster_scoped_filter_policy: Option<RawFilters>,
    #[serde(default)]
    pub(super) namespaced_filter_policies: Vec<RawNamespaceFilters>,
}

/// Lists that are added to those of the Backup, whose own entries win.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct IncludeExcludePolicy {
    pub included_cluster_scoped_resources: Vec<String>,
    pub excluded_cluster_scoped_resources: Vec<String>,
    pub included_namespace_scoped_resources: Vec<String>,
    pub excluded_namespace_scoped_resources: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawVolumePolicy {
    #[serde(default)]
    pub(super) conditions: VolumeConditions,
    pub(super) action: VolumeAction,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct RawFilters {
    #[serde(default)]
    pub(super) resource_filters: Vec<RawFilter>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct RawNamespaceFilters {
    #[serde(default)]
    pub(super) namespaces: Vec<String>,
    #[serde(default)]
    pub(super) resource_filters: Vec<RawFilter>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[derive(Default)]
pub(super) struct RawFilter {
    pub(super) kinds: Vec<String>,
    pub(super) label_selector: Option<RawSelector>,
    pub(super) or_label_selectors: Vec<RawSelector>,
    pub(super) names: Vec<String>,
    pub(super) excluded_names: Vec<String>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct RawSelector {
    match_labels: BTreeMap<String, String>,
    match_expressions: Vec<RawExpression>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawExpression {
    key: String,
    operator: String,
    #[serde(default)]
    values: Vec<String>,
}

impl IncludeExcludePolicy {
    pub fn is_empty(&self) -> bool {
        self.lists().iter().all(|(_, included, _, excluded)| included.is_empty() && excluded.is_empty())
    }

    pub(super) fn problems(&self) -> Vec<Invalid> {
        let mut found = Vec::new();
        for (included_list, included, excluded_list, excluded) in self.lists() {
            for (list, entries) in [(included_list, included), (excluded_list, excluded)] {
                if entries.iter().any(|entry| entry == "*") {
                    let reason = "\"*\" is not allowed here".to_owned();
                    found.push(Invalid::IncludeExclude { list, reason });
                }
            }
            for both in excluded.iter().filter(|entry| included.contains(entry)) {
                let reason = format!("{both:?} is in {included_list} as well");
                found.push(Invalid::IncludeExclude { list: excluded_list, reason });
            }
        }
        found
    }

    fn lists(&self) -> [(&'static str, &[String], &'static str, &[String]); 2] {
        [
            (
                "includedClusterScopedResources",
                &self.included_cluster_scoped_resources,
                "excludedClusterScopedResources",
                &self.excluded_cluster_scoped_resources,
            ),
            (
                "includedNamespaceScopedResources",
                &self.included_namespace_scoped_resources,
                "excludedNamespaceScopedResources",
                &self.excluded_namespace_scoped_resources,
            ),
        ]
    }
}

impl RawSelector {
    pub(super) fn is_empty(&self) -> bool {
        self.match_labels.is_empty() && self.match_expressions.is_empty()
    }

    pub(super) fn check(self) -> Result<LabelSelector, String> {
        for expression in &self.match_expressions {
            let RawExpression { key, operator, values } = expression;
            if key.is_empty() {
                return Err("a selector's expression has no key".to_owned());
            }
            match (operator.as_str(), values.is_empty()) {
                ("In" | "NotIn", false) | ("Exists" | "DoesNotExist", true) => {}
                ("In" | "NotIn", true) => {
                    return Err(format!("the selector's operator {operator} of label {key:?} needs values"));
                }
                ("Exists" | "DoesNotExist", false) => {
                    return Err(format!(
                        "the selector's operator {operator} of label {key:?} takes no values"
                    ));
                }
                (other, _) => {
                    return Err(format!(
                        "the selector has the unknown operator {other:?} for label {key:?}; known are In, NotIn, \
                         Exists, DoesNotExist"
                    ));
                }
            }
        }
        let expression = |raw: RawExpression| LabelSelectorRequirement {
            key: raw.key,
            operator: raw.operator,
            values: Some(raw.values).filter(|values| !values.is_empty()),
        };
        Ok(LabelSelector {
            match_labels: Some(self.match_labels).filter(|labels| !labels.is_empty()),
            match_expressions: Some(self.match_expressions.into_iter().map(expression).collect()),
        })
    }
}
