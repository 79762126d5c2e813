//! What an object forgets of its old cluster before it is created in a new one.
//!
//! In: the object as the archive has it. Out: the object without identity and status, and the status. Name,
//! namespace, labels, annotations, finalizers and managed fields stay.

use serde_json::Value;

const IDENTITY: [&str; 9] = [
    "generateName",
    "selfLink",
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "ownerReferences",
];

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("metadata is missing")]
pub(crate) struct MissingMetadata;

/// Takes identity and status away; gives the status.
pub(crate) fn reset(object: &mut Value) -> Result<Option<Value>, MissingMetadata> {
    let metadata = object.get_mut("metadata").and_then(Value::as_object_mut).ok_or(MissingMetadata)?;
    for key in IDENTITY {
        metadata.remove(key);
    }
    Ok(object.as_object_mut().and_then(|object| object.remove("status")))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn identity_and_status_go_and_everything_else_stays() {
        let mut object = json!({
            "metadata": {
                "name": "a", "namespace": "n", "labels": {"x": "y"}, "annotations": {"x": "y"},
                "finalizers": ["f"], "managedFields": [{"manager": "m"}], "unknown": 1,
                "generateName": "a-", "selfLink": "/", "uid": "u", "resourceVersion": "1", "generation": 2,
                "creationTimestamp": "t", "deletionTimestamp": "t", "deletionGracePeriodSeconds": 1,
                "ownerReferences": [{"name": "o"}],
            },
            "spec": {"a": 1},
            "status": {"b": 2},
        });
        assert_eq!(reset(&mut object), Ok(Some(json!({"b": 2}))));
        assert_eq!(
            object,
            json!({
                "metadata": {
                    "name": "a", "namespace": "n", "labels": {"x": "y"}, "annotations": {"x": "y"},
                    "finalizers": ["f"], "managedFields": [{"manager": "m"}], "unknown": 1,
                },
                "spec": {"a": 1},
            })
        );
    }

    #[test]
    fn an_object_without_metadata_is_refused() {
        assert_eq!(reset(&mut json!({"kind": "Pod"})), Err(MissingMetadata));
    }
}
