//! A validated Restore as the run uses it: names resolved, defaults filled in, nothing raw left.

use std::collections::BTreeMap;

use holdfast_policy::resource_policy::ResourcePolicy;
use holdfast_policy::velero;
use holdfast_policy::velero::labels::{BACKUP_NAME, RESTORE_NAME};
use holdfast_policy::velero::short_name;
use serde_json::{Map, Value};

use super::existing::Policy;
use super::selection::{Details, NameFilter, Selection};
use super::volumes::Snapshots;
use crate::actions::restore::NodePorts;
use crate::cluster::Discovery;
use crate::engine::select::{Error, FineFilters, LabelFilter};

#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) restore: String,
    pub(crate) selection: Selection,
    pub(crate) mapping: BTreeMap<String, String>,
    pub(crate) node_ports: NodePorts,
    pub(crate) status: StatusRule,
    pub(crate) policy: Policy,
    pub(crate) snapshots: Snapshots,
    /// What every restored object is labelled with.
    pub(crate) labels: Map<String, Value>,
}

/// Of which kinds the status is restored; an annotation of the object has the last word.
#[derive(Debug)]
pub(crate) enum StatusRule {
    Never,
    Of(NameFilter),
}

impl Settings {
    pub(crate) fn new(
        restore: &velero::Restore,
        policy: &ResourcePolicy,
        discovery: &Discovery,
    ) -> Result<Self, Error> {
        let spec = &restore.spec;
        let resolved = |names: &[String]| -> Vec<String> {
            let full = |name: &String| {
                discovery.resolve(name).map_or_else(|| name.clone(), |it| it.group_resource())
            };
            names.iter().map(full).collect()
        };
        let resource_filter = |includes: &[String], excludes: &[String]| {
            NameFilter::new(&resolved(includes), &resolved(excludes))
        };
        let restore_name = restore.metadata.name.clone().unwrap_or_default();
        let backup_name = spec.backup_name.clone().unwrap_or_default();
        Ok(Self {
            selection: Selection {
                resources: resource_filter(&spec.included_resources, &spec.excluded_resources),
                namespaces: NameFilter::new(&spec.included_namespaces, &spec.excluded_namespaces),
                cluster_scope: spec.include_cluster_resources.into(),
                details: Details {
                    labels: LabelFilter::new(spec.label_selector.as_ref(), &spec.or_label_selectors)?,
                    fine: FineFilters::of_restore(policy, discovery)?,
                },
            },
            mapping: spec.namespace_mapping.clone(),
            node_ports: match spec.preserve_node_ports {
                Some(true) => NodePorts::Preserve,
                Some(false) | None => NodePorts::KeepExplicit,
            },
            status: spec.restore_status.as_ref().map_or(StatusRule::Never, |status| {
                StatusRule::Of(resource_filter(&status.included_resources, &status.excluded_resources))
            }),
            policy: match spec.existing_resource_policy.as_deref() {
                Some("update") => Policy::Update,
                Some("none") => Policy::None,
                // Validation lets nothing else through.
                Some(_) | None => Policy::Unset,
            },
            snapshots: match spec.restore_pvs {
                Some(false) => Snapshots::Unwanted,
                Some(true) | None => Snapshots::Wanted,
            },
            labels: [(BACKUP_NAME, short_name(&backup_name)), (RESTORE_NAME, short_name(&restore_name))]
                .map(|(key, value)| (key.to_owned(), Value::String(value)))
                .into_iter()
                .collect(),
            restore: restore_name,
        })
    }
}

impl StatusRule {
    /// Whether the status of an object comes back; `annotation` is the object's own word.
    pub(crate) fn restores(&self, group_resource: &str, annotation: Option<&str>) -> bool {
        match annotation.map(|word| word.trim().to_lowercase()).as_deref() {
            Some("true") => true,
            Some("false") => false,
            Some(_) | None => match self {
                Self::Never => false,
                Self::Of(kinds) => kinds.includes(group_resource),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::cluster::Resource;

    fn settings(spec: Value) -> Settings {
        let restore =
            serde_json::from_value(json!({"metadata": {"name": "rs", "namespace": "velero"}, "spec": spec}))
                .unwrap();
        let resource = |group: &str, plural: &str, short: &str| Resource {
            group: group.to_owned(),
            version: "v1".to_owned(),
            plural: plural.to_owned(),
            short_names: vec![short.to_owned()],
            ..Resource::default()
        };
        let discovery = Discovery::from_served(vec![
            resource("", "configmaps", "cm"),
            resource("apps", "deployments", "deploy"),
        ]);
        Settings::new(&restore, &ResourcePolicy::default(), &discovery).unwrap()
    }

    #[test]
    fn resources_are_resolved_by_what_the_cluster_serves_and_stay_literal_otherwise() {
        let resources =
            settings(json!({"includedResources": ["deploy", "*.example.com"], "excludedResources": ["cm"]}))
                .selection
                .resources;
        assert!(resources.includes("deployments.apps"));
        assert!(resources.includes("gizmos.example.com"));
        assert!(!resources.includes("configmaps"));
        assert!(!resources.includes("secrets"));
    }

    #[test]
    fn status_comes_back_where_it_is_asked_for_and_an_annotation_has_the_last_word() {
        let never = settings(json!({})).status;
        assert!(!never.restores("configmaps", None));
        assert!(never.restores("configmaps", Some(" True ")));
        let all = settings(json!({"restoreStatus": {}})).status;
        assert!(all.restores("configmaps", None));
        assert!(!all.restores("configmaps", Some("false")));
        let some = settings(json!({"restoreStatus": {"includedResources": ["deploy"]}})).status;
        assert!(some.restores("deployments.apps", Some("perhaps")));
        assert!(!some.restores("configmaps", None));
    }

    #[test]
    fn long_names_are_shortened_in_labels() {
        let labels = settings(json!({"backupName": "b".repeat(70)})).labels;
        assert_eq!(labels[BACKUP_NAME].as_str().unwrap().len(), 63);
        assert_eq!(labels[RESTORE_NAME], "rs");
    }
}
