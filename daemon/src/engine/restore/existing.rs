//! What becomes of an object that is in the cluster already.
//!
//! In: the object as the restore would create it, the one in the cluster, the policy. Out: [`Existing`], with the
//! patch to send where there is one. Reading and patching is the run's.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::compare::{self, Difference, differing_fields, merge_patch};
use super::reset::{MissingMetadata, reset};
use holdfast_policy::velero::labels::{BACKUP_NAME, RESTORE_NAME};

/// `spec.existingResourcePolicy`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Policy {
    /// Nothing was said, which acts like `None` with another message.
    Unset,
    None,
    Update,
}

#[derive(Debug, PartialEq)]
pub(crate) enum Existing {
    Same,
    /// The same, and its labels are to name this restore.
    SameToLabel {
        labels: Value,
    },
    /// Left alone, with a warning.
    Differs {
        fields: Vec<String>,
    },
    /// A service account gets what it lacks; what it has wins.
    Complete {
        patch: Value,
    },
    /// Made like the backup; the labels are set even where that fails.
    Update {
        patch: Value,
        labels: Value,
    },
}

pub(crate) fn decide(
    desired: &Value,
    live: Value,
    group_resource: &str,
    policy: Policy,
) -> Result<Existing, MissingMetadata> {
    let Compared { live, desired, labels } = compared(desired, live)?;
    let fields = differing_fields(&live, &desired);
    let label_patch = || json!({"metadata": {"labels": labels}});
    if fields.is_empty() {
        return Ok(match policy {
            Policy::Unset | Policy::None => Existing::Same,
            Policy::Update => Existing::SameToLabel { labels: label_patch() },
        });
    }
    if group_resource == "serviceaccounts" {
        let completed = complete_service_account(&live, &desired);
        return Ok(match merge_patch(&live, &completed) {
            Some(patch) => Existing::Complete { patch },
            None => Existing::Same,
        });
    }
    Ok(match policy {
        Policy::Unset | Policy::None => Existing::Differs { fields },
        Policy::Update => {
            let mut patch = merge_patch(&live, &desired).unwrap_or_else(|| json!({}));
            merge(&mut patch, label_patch());
            Existing::Update { patch, labels: label_patch() }
        }
    })
}

/// Where the two differ, as the decision sees them.
pub(crate) fn differences(desired: &Value, live: Value) -> Result<Vec<Difference>, MissingMetadata> {
    let Compared { live, desired, labels: _ } = compared(desired, live)?;
    Ok(compare::differences(&live, &desired))
}

/// Both objects without what no restore brings back.
struct Compared {
    live: Value,
    desired: Value,
    labels: Map<String, Value>,
}

fn compared(desired: &Value, mut live: Value) -> Result<Compared, MissingMetadata> {
    reset(&mut live)?;
    forget_managed_fields(&mut live);
    let mut desired = desired.clone();
    forget_managed_fields(&mut desired);
    let labels = restore_labels(&desired);
    put_labels(&mut live, &labels);
    Ok(Compared { live, desired, labels })
}

fn forget_managed_fields(object: &mut Value) {
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("managedFields");
    }
}

/// The two labels of this restore, as the desired object carries them.
fn restore_labels(desired: &Value) -> Map<String, Value> {
    let labels = desired.pointer("/metadata/labels").and_then(Value::as_object);
    [BACKUP_NAME, RESTORE_NAME]
        .into_iter()
        .filter_map(|key| Some((key.to_owned(), labels?.get(key)?.clone())))
        .collect()
}

fn put_labels(object: &mut Value, labels: &Map<String, Value>) {
    merge(object, json!({"metadata": {"labels": labels}}));
}

fn merge(target: &mut Value, source: Value) {
    match (target, source) {
        (Value::Object(target), Value::Object(source)) => {
            for (key, value) in source {
                merge(target.entry(key).or_insert(Value::Null), value);
            }
        }
        (target, source) => *target = source,
    }
}

/// Adds the secrets, labels and annotations of the backup that the live one lacks.
fn complete_service_account(live: &Value, desired: &Value) -> Value {
    let mut completed = live.clone();
    for list in ["secrets", "imagePullSecrets"] {
        let name = |entry: &Value| entry.get("name").and_then(Value::as_str).unwrap_or_default().to_owned();
        let entries =
            |object: &Value| object.get(list).and_then(Value::as_array).cloned().unwrap_or_default();
        let mut merged = entries(live);
        let known: BTreeSet<String> = merged.iter().map(name).collect();
        merged.extend(entries(desired).into_iter().filter(|entry| !known.contains(&name(entry))));
        if !merged.is_empty() {
            completed[list] = Value::Array(merged);
        }
    }
    for map in ["labels", "annotations"] {
        let pointer = format!("/metadata/{map}");
        let Some(wanted) = desired.pointer(&pointer).and_then(Value::as_object) else { continue };
        for (key, value) in wanted {
            if completed.pointer(&pointer).and_then(|own| own.get(key)).is_none() {
                merge(&mut completed, json!({"metadata": {map: {key: value}}}));
            }
        }
    }
    completed
}

#[cfg(test)]
mod tests {
    use pretty_assertions::assert_eq;

    use super::*;

    fn desired(rest: Value) -> Value {
        let mut object =
            json!({"metadata": {"name": "a", "labels": {BACKUP_NAME: "gold", RESTORE_NAME: "rs"}}});
        merge(&mut object, rest);
        object
    }

    fn live(rest: Value) -> Value {
        let mut object = json!({
            "metadata": {
                "name": "a", "uid": "1", "resourceVersion": "5", "managedFields": [{"manager": "m"}],
                "labels": {},
            },
            "status": {"phase": "x"},
        });
        merge(&mut object, rest);
        object
    }

    #[test]
    fn what_differs_only_in_identity_status_and_restore_labels_is_the_same() {
        for policy in [Policy::Unset, Policy::None] {
            let decision = decide(
                &desired(json!({"data": {"k": "v"}})),
                live(json!({"data": {"k": "v"}})),
                "configmaps",
                policy,
            );
            assert_eq!(decision, Ok(Existing::Same));
        }
        let labels = json!({"metadata": {"labels": {BACKUP_NAME: "gold", RESTORE_NAME: "rs"}}});
        let decision = decide(&desired(json!({})), live(json!({})), "configmaps", Policy::Update);
        assert_eq!(decision, Ok(Existing::SameToLabel { labels }));
    }

    #[test]
    fn what_differs_is_named_field_by_field() {
        let decision = decide(
            &desired(json!({"data": {"k": "v"}})),
            live(json!({"data": {"k": "w", "extra": "x"}})),
            "configmaps",
            Policy::None,
        );
        assert_eq!(
            decision,
            Ok(Existing::Differs { fields: vec!["data.extra".to_owned(), "data.k".to_owned()] })
        );
    }

    #[test]
    fn an_update_removes_foreign_keys_and_sets_the_labels() {
        let decision = decide(
            &desired(json!({"data": {"k": "v"}})),
            live(
                json!({"data": {"k": "w", "extra": "x"}, "metadata": {"labels": {"live": "yes", RESTORE_NAME: "old"}}}),
            ),
            "configmaps",
            Policy::Update,
        );
        let Ok(Existing::Update { patch, .. }) = decision else { panic!("{decision:?}") };
        assert_eq!(
            patch,
            json!({
                "data": {"k": "v", "extra": null},
                "metadata": {"labels": {"live": null, BACKUP_NAME: "gold", RESTORE_NAME: "rs"}},
            })
        );
    }

    #[test]
    fn a_service_account_gets_what_it_lacks_without_the_restore_s_labels() {
        let decision = decide(
            &desired(json!({
                "metadata": {"labels": {"a": "backup", "b": "backup"}, "annotations": {"n": "1"}},
                "secrets": [{"name": "s1"}, {"name": "s2"}],
                "imagePullSecrets": [{"name": "pull"}],
            })),
            live(json!({"metadata": {"labels": {"a": "live", "c": "live"}}, "secrets": [{"name": "s1"}]})),
            "serviceaccounts",
            Policy::Unset,
        );
        assert_eq!(
            decision,
            Ok(Existing::Complete {
                patch: json!({
                    "metadata": {"labels": {"b": "backup"}, "annotations": {"n": "1"}},
                    "secrets": [{"name": "s1"}, {"name": "s2"}],
                    "imagePullSecrets": [{"name": "pull"}],
                })
            })
        );
    }

    #[test]
    fn a_service_account_that_has_more_than_the_backup_is_left_alone() {
        let decision = decide(
            &desired(json!({})),
            live(json!({"metadata": {"labels": {"live": "yes"}}})),
            "serviceaccounts",
            Policy::Update,
        );
        assert_eq!(decision, Ok(Existing::Same));
    }
}
