//! Two versions of an object: where they differ, and the merge patch that leads from one to the other.
//!
//! Managed fields are never compared: a restored object gets them from its own creation, so they would differ for
//! every object that a restore made.

use std::fmt;

use serde_json::{Map, Value};

/// How many differing fields a message names; the rest are counted.
const NAMED_FIELDS: usize = 8;

/// The paths at which two objects differ, in order: `spec.replicas`, `data["a.b"]`, `spec.ports[0].port`.
pub(crate) fn differing_fields(live: &Value, desired: &Value) -> Vec<String> {
    let mut fields = Vec::new();
    collect(live, desired, &mut String::new(), &mut |path, _, _| fields.push(path.to_owned()));
    fields
}

/// The same with the values at them.
pub(crate) fn differences(live: &Value, desired: &Value) -> Vec<Difference> {
    let mut found = Vec::new();
    collect(live, desired, &mut String::new(), &mut |path, live, desired| {
        found.push(Difference { path: path.to_owned(), live: live.clone(), backup: desired.clone() });
    });
    found
}

/// A field in which the object of the cluster and the one that the restore would create differ; null where it is absent.
#[derive(Debug, Clone, PartialEq)]
pub struct Difference {
    pub path: String,
    pub live: Value,
    pub backup: Value,
}

impl fmt::Display for Difference {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, live, backup } = self;
        match (live, backup) {
            (Value::Null, backup) => write!(formatter, "{path}: only the backup has {backup}"),
            (live, Value::Null) => write!(formatter, "{path}: only the cluster has {live}"),
            (live, backup) => write!(formatter, "{path}: {live} in the cluster, {backup} in the backup"),
        }
    }
}

/// The fields as a message names them.
pub(crate) fn in_words(fields: &[String]) -> String {
    let named = fields.iter().take(NAMED_FIELDS).cloned().collect::<Vec<_>>().join(", ");
    match fields.len().saturating_sub(NAMED_FIELDS) {
        0 => named,
        more => format!("{named} and {more} more"),
    }
}

fn collect(live: &Value, desired: &Value, path: &mut String, found: &mut dyn FnMut(&str, &Value, &Value)) {
    match (live, desired) {
        (Value::Object(live), Value::Object(desired)) => {
            let only_desired = desired.keys().filter(|key| !live.contains_key(*key));
            let mut keys: Vec<&String> = live.keys().chain(only_desired).collect();
            keys.sort_unstable();
            for key in keys {
                if path == "metadata" && key == "managedFields" {
                    continue;
                }
                let length = path.len();
                push_key(path, key);
                let null = Value::Null;
                collect(live.get(key).unwrap_or(&null), desired.get(key).unwrap_or(&null), path, found);
                path.truncate(length);
            }
        }
        (Value::Array(live), Value::Array(desired)) if live.len() == desired.len() => {
            for (at, (live, desired)) in live.iter().zip(desired).enumerate() {
                let length = path.len();
                path.push_str(&format!("[{at}]"));
                collect(live, desired, path, found);
                path.truncate(length);
            }
        }
        (live, desired) if live == desired => {}
        (live, desired) => found(path, live, desired),
    }
}

pub(crate) fn push_key(path: &mut String, key: &str) {
    if key.contains(['.', '/', '[', '"']) || key.is_empty() {
        path.push_str(&format!("[{key:?}]"));
    } else {
        if !path.is_empty() {
            path.push('.');
        }
        path.push_str(key);
    }
}

/// The JSON merge patch that makes `desired` of `live`: what only `live` has is set to null, lists are replaced.
/// Nothing where they are equal.
pub(crate) fn merge_patch(live: &Value, desired: &Value) -> Option<Value> {
    let (Value::Object(live), Value::Object(desired)) = (live, desired) else {
        return (live != desired).then(|| desired.clone());
    };
    let mut patch = Map::new();
    for (key, desired) in desired {
        match live.get(key) {
            Some(live) => patch.extend(merge_patch(live, desired).map(|changed| (key.clone(), changed))),
            None => {
                patch.insert(key.clone(), desired.clone());
            }
        }
    }
    let gone = live.keys().filter(|key| !desired.contains_key(*key));
    patch.extend(gone.map(|key| (key.clone(), Value::Null)));
    (!patch.is_empty()).then_some(Value::Object(patch))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn differing_fields_are_named_by_their_paths() {
        let live = json!({
            "metadata": {"name": "a", "labels": {"app.kubernetes.io/name": "x"}, "managedFields": [1]},
            "spec": {"replicas": 5, "ports": [{"port": 80}], "list": [1]},
        });
        let desired = json!({
            "metadata": {"name": "a", "labels": {"app.kubernetes.io/name": "y"}},
            "spec": {"replicas": 2, "ports": [{"port": 81}], "list": [1, 2], "paused": true},
        });
        assert_eq!(
            differing_fields(&live, &desired),
            [
                r#"metadata.labels["app.kubernetes.io/name"]"#,
                "spec.list",
                "spec.paused",
                "spec.ports[0].port",
                "spec.replicas",
            ]
        );
    }

    #[test]
    fn a_null_equals_an_absent_key_but_an_empty_map_does_not() {
        assert_eq!(differing_fields(&json!({"a": null}), &json!({})), [""; 0]);
        assert_eq!(differing_fields(&json!({"a": {}}), &json!({})), ["a"]);
    }

    #[test]
    fn long_lists_of_fields_are_cut_in_messages() {
        let fields: Vec<String> = (0..10).map(|at| format!("f{at}")).collect();
        assert_eq!(in_words(&fields), "f0, f1, f2, f3, f4, f5, f6, f7 and 2 more");
        assert_eq!(in_words(&fields[..1]), "f0");
    }

    #[test]
    fn a_merge_patch_replaces_lists_and_nulls_what_is_gone() {
        let live = json!({"a": 1, "gone": 1, "map": {"same": 1, "gone": 1}, "list": [1, 2]});
        let desired = json!({"a": 2, "map": {"same": 1, "new": 1}, "list": [1]});
        assert_eq!(
            merge_patch(&live, &desired),
            Some(json!({"a": 2, "gone": null, "map": {"gone": null, "new": 1}, "list": [1]}))
        );
        assert_eq!(merge_patch(&live, &live.clone()), None);
    }
}
