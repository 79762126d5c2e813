//! Which fields of an applied object the API server no longer counts as ours.
//!
//! In: the object as it was applied, and the `fieldsV1` of our entry in its `managedFields`. Out: the paths that the
//! entry lacks. A field that somebody changes or removes by an ordinary update leaves our entry at that moment, so
//! this finds drift without the object's content. Whether drift is put back is decided elsewhere.

use serde_json::{Map, Value};

/// What names an object is never listed in `managedFields`.
const IDENTITY: [&str; 2] = ["apiVersion", "kind"];
const METADATA_IDENTITY: [&str; 2] = ["name", "namespace"];

/// The paths of `applied`, in dotted form, that `fields` does not cover; sorted.
pub fn unowned(applied: &Value, fields: Option<&Value>) -> Vec<String> {
    let mut missing = Vec::new();
    if let Value::Object(object) = applied {
        let nothing = Value::Object(Map::new());
        let fields = fields.unwrap_or(&nothing);
        for (key, value) in object.iter().filter(|(key, _)| !IDENTITY.contains(&key.as_str())) {
            match (key.as_str(), value) {
                ("metadata", Value::Object(metadata)) => {
                    let mut metadata = metadata.clone();
                    metadata.retain(|key, _| !METADATA_IDENTITY.contains(&key.as_str()));
                    if !metadata.is_empty() {
                        walk(&format!(".{key}"), &Value::Object(metadata), child(fields, key), &mut missing);
                    }
                }
                _ => walk(&format!(".{key}"), value, child(fields, key), &mut missing),
            }
        }
    }
    missing.sort();
    missing
}

fn walk(path: &str, value: &Value, node: Option<&Value>, missing: &mut Vec<String>) {
    let Value::Object(object) = value else {
        // The API server drops nulls, and lists without keys are owned as a whole.
        if node.is_none() && !value.is_null() {
            missing.push(path.to_owned());
        }
        return;
    };
    match node {
        Some(node) if object.is_empty() || owns_as_a_whole(node) => {}
        None if object.is_empty() => missing.push(path.to_owned()),
        Some(_) | None => {
            for (key, value) in object {
                let node = node.and_then(|node| child(node, key));
                walk(&format!("{path}.{key}"), value, node, missing);
            }
        }
    }
}

fn child<'a>(node: &'a Value, key: &str) -> Option<&'a Value> {
    node.get(format!("f:{key}"))
}

/// An entry without children stands for a value that is owned with everything in it.
fn owns_as_a_whole(node: &Value) -> bool {
    node.as_object().is_none_or(Map::is_empty)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn applied() -> Value {
        json!({
            "apiVersion": "velero.io/v1",
            "kind": "Schedule",
            "metadata": {"name": "shop-nightly", "namespace": "velero", "labels": {"a/b": "1"}},
            "spec": {
                "schedule": "0 1 * * *",
                "template": {
                    "ttl": "720h0m0s",
                    "includedNamespaces": ["shop"],
                    "labelSelector": {"matchLabels": {"tier": "db"}},
                    "metadata": {"labels": {}},
                    "snapshotVolumes": null,
                },
            },
        })
    }

    fn owned() -> Value {
        json!({
            "f:metadata": {"f:labels": {"f:a/b": {}}},
            "f:spec": {
                "f:schedule": {},
                "f:template": {
                    "f:ttl": {},
                    "f:includedNamespaces": {},
                    "f:labelSelector": {},
                    "f:metadata": {"f:labels": {}},
                },
            },
        })
    }

    #[test]
    fn an_object_that_is_all_ours_misses_nothing() {
        assert_eq!(unowned(&applied(), Some(&owned())), Vec::<String>::new());
    }

    #[test]
    fn a_field_that_left_our_entry_is_named() {
        let mut fields = owned();
        fields["f:spec"]["f:template"].as_object_mut().unwrap().remove("f:ttl");
        fields["f:metadata"] = json!({"f:labels": {".": {}}});
        assert_eq!(unowned(&applied(), Some(&fields)), [".metadata.labels.a/b", ".spec.template.ttl"]);
    }

    #[test]
    fn without_an_entry_every_leaf_is_missing() {
        assert_eq!(
            unowned(&applied(), None),
            [
                ".metadata.labels.a/b",
                ".spec.schedule",
                ".spec.template.includedNamespaces",
                ".spec.template.labelSelector.matchLabels.tier",
                ".spec.template.metadata.labels",
                ".spec.template.ttl",
            ]
        );
    }

    #[test]
    fn fields_that_we_own_and_no_longer_apply_are_not_drift() {
        let mut fields = owned();
        fields["f:spec"]["f:paused"] = json!({});
        assert_eq!(unowned(&applied(), Some(&fields)), Vec::<String>::new());
    }
}
