//! A Backup as the text of `velero-backup.json`, laid out as Velero writes it.
//!
//! That is: the kind before the API version, the members of every object in the order of Velero's and Kubernetes' Go
//! types, indented by two, without a newline at the end, and with the members that Go can't leave out.

use std::collections::BTreeMap;
use std::fmt::Write;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::{Map, Value, json};

use super::Backup;

/// The order of an object's members, and what is inside them.
struct Layout {
    /// Members that are not listed follow the listed ones, sorted.
    members: &'static [(&'static str, Option<&'static Layout>)],
}

/// Maps with arbitrary keys, which are sorted.
const SORTED: Layout = Layout { members: &[] };

const FILE: Layout = Layout {
    members: &[
        ("kind", None),
        ("apiVersion", None),
        ("metadata", Some(&METADATA)),
        ("spec", Some(&SPEC)),
        ("status", Some(&STATUS)),
    ],
};

const METADATA: Layout = Layout {
    members: &[
        ("name", None),
        ("generateName", None),
        ("namespace", None),
        ("selfLink", None),
        ("uid", None),
        ("resourceVersion", None),
        ("generation", None),
        ("creationTimestamp", None),
        ("deletionTimestamp", None),
        ("deletionGracePeriodSeconds", None),
        ("labels", None),
        ("annotations", None),
        ("ownerReferences", Some(&OWNER_REFERENCE)),
        ("finalizers", None),
        ("managedFields", Some(&MANAGED_FIELDS)),
    ],
};

const OWNER_REFERENCE: Layout = Layout {
    members: &[
        ("apiVersion", None),
        ("kind", None),
        ("name", None),
        ("uid", None),
        ("controller", None),
        ("blockOwnerDeletion", None),
    ],
};

const MANAGED_FIELDS: Layout = Layout {
    members: &[
        ("manager", None),
        ("operation", None),
        ("apiVersion", None),
        ("time", None),
        ("fieldsType", None),
        ("fieldsV1", None),
        ("subresource", None),
    ],
};

const SPEC: Layout = Layout {
    members: &[
        ("metadata", None),
        ("includedNamespaces", None),
        ("excludedNamespaces", None),
        ("includedResources", None),
        ("excludedResources", None),
        ("includedClusterScopedResources", None),
        ("excludedClusterScopedResources", None),
        ("includedNamespaceScopedResources", None),
        ("excludedNamespaceScopedResources", None),
        ("labelSelector", Some(&LABEL_SELECTOR)),
        ("orLabelSelectors", Some(&LABEL_SELECTOR)),
        ("snapshotVolumes", None),
        ("ttl", None),
        ("volumeGroupSnapshotLabelKey", None),
        ("includeClusterResources", None),
        ("hooks", Some(&HOOKS)),
        ("storageLocation", None),
        ("volumeSnapshotLocations", None),
        ("defaultVolumesToRestic", None),
        ("defaultVolumesToFsBackup", None),
        ("orderedResources", None),
        ("csiSnapshotTimeout", None),
        ("itemOperationTimeout", None),
        ("resourcePolicy", None),
        ("snapshotMoveData", None),
        ("datamover", None),
        ("uploaderConfig", None),
    ],
};

const LABEL_SELECTOR: Layout =
    Layout { members: &[("matchLabels", None), ("matchExpressions", Some(&SELECTOR_EXPRESSION))] };

const SELECTOR_EXPRESSION: Layout =
    Layout { members: &[("key", None), ("operator", None), ("values", None)] };

const HOOKS: Layout = Layout { members: &[("resources", Some(&HOOK))] };

const HOOK: Layout = Layout {
    members: &[
        ("name", None),
        ("includedNamespaces", None),
        ("excludedNamespaces", None),
        ("includedResources", None),
        ("excludedResources", None),
        ("labelSelector", Some(&LABEL_SELECTOR)),
        ("pre", Some(&HOOK_STEP)),
        ("post", Some(&HOOK_STEP)),
    ],
};

const HOOK_STEP: Layout = Layout { members: &[("exec", Some(&EXEC))] };

const EXEC: Layout =
    Layout { members: &[("container", None), ("command", None), ("onError", None), ("timeout", None)] };

const STATUS: Layout = Layout {
    members: &[
        ("version", None),
        ("formatVersion", None),
        ("expiration", None),
        ("phase", None),
        ("queuePosition", None),
        ("validationErrors", None),
        ("startTimestamp", None),
        ("completionTimestamp", None),
        ("volumeSnapshotsAttempted", None),
        ("volumeSnapshotsCompleted", None),
        ("failureReason", None),
        ("warnings", None),
        ("errors", None),
        ("progress", Some(&PROGRESS)),
        ("csiVolumeSnapshotsAttempted", None),
        ("csiVolumeSnapshotsCompleted", None),
        ("backupItemOperationsAttempted", None),
        ("backupItemOperationsCompleted", None),
        ("backupItemOperationsFailed", None),
        ("hookStatus", None),
    ],
};

const PROGRESS: Layout = Layout { members: &[("totalItems", None), ("itemsBackedUp", None)] };

/// The content of `velero-backup.json`.
pub fn to_metadata_json(backup: &Backup) -> String {
    let mut value = serde_json::to_value(backup).expect("a Backup has only text keys");
    fill_in(&mut value);
    let mut text = String::new();
    write_value(&mut text, &value, &FILE, 0);
    text
}

/// What may be changed in a `velero-backup.json` that was written before.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Amendment {
    pub expiration: Option<Time>,
    pub annotations: BTreeMap<String, String>,
}

/// The file with the amendment made. Everything else stays, also what this release has no name for.
pub fn amend_metadata_json(file: &[u8], amendment: &Amendment) -> Result<String, serde_json::Error> {
    let Amendment { expiration, annotations } = amendment;
    let mut value: Value = serde_json::from_slice(file)?;
    // A file without these members is no Backup, and was refused before.
    if let (Some(expiration), Some(status)) = (expiration, value["status"].as_object_mut()) {
        status.insert("expiration".to_owned(), serde_json::to_value(expiration)?);
    }
    if let (false, Some(metadata)) = (annotations.is_empty(), value["metadata"].as_object_mut()) {
        let present = metadata.entry("annotations").or_insert_with(|| json!({}));
        if let Some(present) = present.as_object_mut() {
            present.extend(annotations.iter().map(|(key, text)| (key.clone(), json!(text))));
        }
    }
    let mut text = String::new();
    write_value(&mut text, &value, &FILE, 0);
    Ok(text)
}

/// Puts in what Velero's own files always have, empty or not.
fn fill_in(file: &mut Value) {
    let members = |value: &mut Value, defaults: &[(&str, Value)]| {
        if let Value::Object(map) = value {
            for (key, default) in defaults {
                map.entry(*key).or_insert_with(|| default.clone());
            }
        }
    };
    members(file, &[("status", json!({}))]);
    let zero = json!("0s");
    members(
        &mut file["spec"],
        &[
            ("metadata", json!({})),
            ("hooks", json!({})),
            ("ttl", zero.clone()),
            ("csiSnapshotTimeout", zero.clone()),
            ("itemOperationTimeout", zero.clone()),
        ],
    );
    members(&mut file["status"], &[("hookStatus", json!({}))]);
    if let Some(reference) = file["spec"].get_mut("resourcePolicy") {
        members(reference, &[("apiGroup", Value::Null)]);
    }
    let hooks = file["spec"]["hooks"].get_mut("resources").and_then(Value::as_array_mut);
    for hook in hooks.into_iter().flatten() {
        for steps in ["pre", "post"] {
            for step in hook.get_mut(steps).and_then(Value::as_array_mut).into_iter().flatten() {
                members(&mut step["exec"], &[("timeout", zero.clone())]);
            }
        }
    }
}

fn write_value(text: &mut String, value: &Value, layout: &Layout, depth: usize) {
    match value {
        Value::Array(items) if !items.is_empty() => {
            text.push('[');
            for (position, item) in items.iter().enumerate() {
                start_line(text, position, depth + 1);
                // A list has the layout of its items.
                write_value(text, item, layout, depth + 1);
            }
            end_block(text, ']', depth);
        }
        Value::Object(map) if !map.is_empty() => {
            text.push('{');
            for (position, (key, member)) in in_order(map, layout).enumerate() {
                start_line(text, position, depth + 1);
                write_scalar(text, &Value::from(key.as_str()));
                text.push_str(": ");
                let inside =
                    layout.members.iter().find(|(name, _)| name == key).and_then(|(_, inside)| *inside);
                write_value(text, member, inside.unwrap_or(&SORTED), depth + 1);
            }
            end_block(text, '}', depth);
        }
        Value::Null
        | Value::Bool(_)
        | Value::Number(_)
        | Value::String(_)
        | Value::Array(_)
        | Value::Object(_) => {
            write_scalar(text, value);
        }
    }
}

fn in_order<'a>(
    map: &'a Map<String, Value>,
    layout: &Layout,
) -> impl Iterator<Item = (&'a String, &'a Value)> {
    let place = |key: &str| layout.members.iter().position(|(name, _)| *name == key).unwrap_or(usize::MAX);
    let mut members: Vec<_> = map.iter().collect();
    members.sort_by_key(|(key, _)| (place(key), *key));
    members.into_iter()
}

fn start_line(text: &mut String, position: usize, depth: usize) {
    if position > 0 {
        text.push(',');
    }
    write!(text, "\n{:width$}", "", width = 2 * depth).expect("writing to a String can't fail");
}

fn end_block(text: &mut String, bracket: char, depth: usize) {
    write!(text, "\n{:width$}{bracket}", "", width = 2 * depth).expect("writing to a String can't fail");
}

/// Go escapes more than JSON asks for, so that the text can stand inside HTML and JavaScript.
fn write_scalar(text: &mut String, value: &Value) {
    for character in value.to_string().chars() {
        match character {
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => {
                write!(text, "\\u{:04x}", u32::from(character)).expect("writing to a String can't fail");
            }
            _ => text.push(character),
        }
    }
}
