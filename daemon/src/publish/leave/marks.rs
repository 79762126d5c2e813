//! Which marks of Holdfast an object carries, the patch that takes them off, and what then is otherwise.
//!
//! Pure. In: an object. Out: values.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use holdfast_policy::annotations::{HOLD, MANAGED_BY, MANAGED_BY_HOLDFAST, OWNED_BY};
use kube::ResourceExt as _;
use kube::api::DynamicObject;
use serde_json::{Map, Value, json};

use crate::publish::object::MANAGER_PREFIX;

/// What every label and annotation of ours begins with.
const PREFIX: &str = "holdfast.dev/";
/// The daemon itself, where no source is concerned.
const DAEMON: &str = "holdfast";

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Marks {
    pub labels: BTreeMap<String, String>,
    pub annotations: BTreeMap<String, String>,
    /// Labels of a Schedule's template, which its backups would go on to get.
    pub template_labels: BTreeMap<String, String>,
    /// The same for annotations.
    pub template_annotations: BTreeMap<String, String>,
    pub managers: BTreeSet<String>,
}

impl Marks {
    /// None for an object without any.
    pub fn of(object: &DynamicObject) -> Option<Marks> {
        let template = &object.data["spec"]["template"]["metadata"];
        let managers = object.metadata.managed_fields.iter().flatten();
        let managers = managers.filter_map(|entry| entry.manager.clone()).filter(|name| is_our_manager(name));
        let marks = Marks {
            labels: ours(object.labels().iter().map(|(key, value)| (key.as_str(), value.as_str()))),
            annotations: ours(object.annotations().iter().map(|(key, value)| (key.as_str(), value.as_str()))),
            template_labels: ours(texts(&template["labels"])),
            template_annotations: ours(texts(&template["annotations"])),
            managers: managers.collect(),
        };
        (marks != Marks::default()).then_some(marks)
    }

    /// A merge patch for exactly this version of the object.
    pub fn taken_off(&self, object: &DynamicObject) -> Value {
        let Marks { labels, annotations, template_labels, template_annotations, managers } = self;
        let nothing = |marks: &BTreeMap<String, String>| -> Map<String, Value> {
            marks.keys().map(|key| (key.clone(), Value::Null)).collect()
        };
        let mut metadata = json!({"resourceVersion": object.metadata.resource_version});
        for (field, marks) in [("labels", labels), ("annotations", annotations)] {
            if !marks.is_empty() {
                metadata[field] = nothing(marks).into();
            }
        }
        if !managers.is_empty() {
            metadata["managedFields"] = others(object);
        }
        let mut patch = json!({"metadata": metadata});
        for (field, marks) in [("labels", template_labels), ("annotations", template_annotations)] {
            if !marks.is_empty() {
                patch["spec"]["template"]["metadata"][field] = nothing(marks).into();
            }
        }
        patch
    }
}

fn is_our_manager(name: &str) -> bool {
    name == DAEMON || name.starts_with(MANAGER_PREFIX)
}

fn ours<'a>(marks: impl Iterator<Item = (&'a str, &'a str)>) -> BTreeMap<String, String> {
    let is_ours = |key: &str, value: &str| {
        key.starts_with(PREFIX) || (key == MANAGED_BY && value == MANAGED_BY_HOLDFAST)
    };
    let marks = marks.filter(|(key, value)| is_ours(key, value));
    marks.map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

fn texts(map: &Value) -> impl Iterator<Item = (&str, &str)> {
    let entries = map.as_object().into_iter().flatten();
    entries.filter_map(|(key, value)| Some((key.as_str(), value.as_str()?)))
}

/// The entries of everybody else. The API server takes an empty list for one that was forgotten, and one empty entry for
/// none.
fn others(object: &DynamicObject) -> Value {
    let entries = object.metadata.managed_fields.iter().flatten();
    let others: Vec<_> =
        entries.filter(|entry| !entry.manager.as_deref().is_some_and(is_our_manager)).collect();
    match others.is_empty() {
        true => json!([{}]),
        false => json!(others),
    }
}

/// What will be otherwise without Holdfast.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remark {
    pub kind: String,
    pub name: String,
    pub note: String,
}

/// Velero ends a backup when its time is over, whatever kept Holdfast from it, and writes to every location.
pub fn remarks(kind: &str, object: &DynamicObject, now: DateTime<Utc>) -> Vec<Remark> {
    let mark = |key: &str| object.annotations().get(key).filter(|value| !value.is_empty());
    let status = &object.data["status"];
    let mut notes = Vec::new();
    match kind {
        "Backup" => {
            let expiration = status["expiration"].as_str().unwrap_or_default();
            let over = DateTime::parse_from_rfc3339(expiration).is_ok_and(|at| at <= now);
            match (mark(HOLD), over) {
                (Some(why), true) => notes.push(format!(
                    "is held ({why}) and its time was over at {expiration}: Velero deletes it when it starts"
                )),
                (Some(why), false) => {
                    notes.push(format!("is held ({why}): Velero deletes it at {expiration} all the same"));
                }
                (None, true) => notes.push(format!(
                    "its time was over at {expiration}: Velero deletes it when it starts, whichever cluster made it"
                )),
                (None, false) => {}
            }
            if matches!(status["phase"].as_str(), Some("InProgress")) {
                notes.push("is in progress: Velero marks it Failed when it starts".to_owned());
            }
        }
        "Restore" if status["phase"].as_str() == Some("InProgress") => {
            notes.push("is in progress: Velero marks it Failed when it starts".to_owned());
        }
        "BackupStorageLocation" => {
            if let Some(cluster) = mark(OWNED_BY) {
                notes.push(format!(
                    "cluster {cluster} writes there too, and Velero does not look: set spec.accessMode: ReadOnly"
                ));
            }
        }
        _ => {}
    }
    let of = |note| Remark { kind: kind.to_owned(), name: object.name_any(), note };
    notes.into_iter().map(of).collect()
}

#[cfg(test)]
mod tests {
    use pretty_assertions::assert_eq;

    use super::*;

    fn object(value: Value) -> DynamicObject {
        serde_json::from_value(value).unwrap()
    }

    fn entry(manager: &str) -> Value {
        json!({"manager": manager, "operation": "Apply", "apiVersion": "velero.io/v1", "fieldsType": "FieldsV1",
            "fieldsV1": {"f:spec": {"f:schedule": {}}}})
    }

    fn schedule() -> DynamicObject {
        object(json!({
            "metadata": {
                "name": "shop-nightly", "resourceVersion": "7",
                "labels": {"holdfast.dev/source": "git", "app.kubernetes.io/managed-by": "holdfast", "team": "shop"},
                "annotations": {"holdfast.dev/jitter": "5m0s", "note": "ours"},
                "managedFields": [entry("holdfast/git"), entry("kubectl-edit"), entry("holdfast/git:creation")],
            },
            "spec": {"template": {"metadata": {"labels": {"holdfast.dev/policy": "shop", "team": "shop"}}}},
        }))
    }

    #[test]
    fn marks_are_taken_off_and_nothing_else() {
        let schedule = schedule();
        let marks = Marks::of(&schedule).unwrap();
        assert_eq!(
            marks.taken_off(&schedule),
            json!({
                "metadata": {
                    "resourceVersion": "7",
                    "labels": {"holdfast.dev/source": null, "app.kubernetes.io/managed-by": null},
                    "annotations": {"holdfast.dev/jitter": null},
                    "managedFields": [entry("kubectl-edit")],
                },
                "spec": {"template": {"metadata": {"labels": {"holdfast.dev/policy": null}}}},
            })
        );
    }

    #[test]
    fn what_helm_or_argo_manage_is_not_marked_and_a_lone_manager_is_told_as_the_api_server_wants_it() {
        let theirs = json!({"metadata": {
            "name": "theirs", "labels": {"app.kubernetes.io/managed-by": "Helm"}, "managedFields": [entry("argocd")],
        }});
        assert_eq!(Marks::of(&object(theirs)), None);
        let lone = object(json!({"metadata": {"name": "a", "managedFields": [entry("holdfast")]}}));
        let patch = Marks::of(&lone).unwrap().taken_off(&lone);
        assert_eq!(patch["metadata"]["managedFields"], json!([{}]));
    }

    #[test]
    fn what_velero_would_do_otherwise_is_told() {
        let now = "2026-11-23T12:00:00Z".parse().unwrap();
        let notes = |kind: &str, annotations: Value, status: Value| -> Vec<String> {
            let object =
                object(json!({"metadata": {"name": "a", "annotations": annotations}, "status": status}));
            remarks(kind, &object, now).into_iter().map(|remark| remark.note).collect()
        };
        let (past, future) = ("2026-11-23T11:00:00Z", "2026-11-24T11:00:00Z");
        let held = json!({"holdfast.dev/hold": "audit"});
        let cases = [
            (&json!({}), json!({"phase": "Completed", "expiration": future}), vec![]),
            (
                &json!({}),
                json!({"phase": "Completed", "expiration": past}),
                vec![
                    "its time was over at 2026-11-23T11:00:00Z: Velero deletes it when it starts, whichever cluster made it",
                ],
            ),
            (
                &held,
                json!({"phase": "Completed", "expiration": future}),
                vec!["is held (audit): Velero deletes it at 2026-11-24T11:00:00Z all the same"],
            ),
            (
                &json!({}),
                json!({"phase": "InProgress"}),
                vec!["is in progress: Velero marks it Failed when it starts"],
            ),
        ];
        for (annotations, status, expected) in cases {
            assert_eq!(
                notes("Backup", annotations.clone(), status.clone()),
                expected,
                "{annotations} {status}"
            );
        }
        let shared = notes("BackupStorageLocation", json!({"holdfast.dev/owned-by": "old"}), json!({}));
        assert!(shared[0].starts_with("cluster old writes there too"), "{shared:?}");
    }
}
