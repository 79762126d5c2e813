//! In which fields two objects differ, as far as people care.
//!
//! In: an object before and after. Out: one [`FieldChange`] per leaf. What the API server keeps for itself is left out.

use std::fmt;

use serde_json::Value;

/// A field that has another value afterwards; `None` where it has none.
#[derive(Debug, Clone, PartialEq)]
pub struct FieldChange {
    pub path: String,
    pub before: Option<Value>,
    pub after: Option<Value>,
}

impl fmt::Display for FieldChange {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let FieldChange { path, before, after } = self;
        match (before, after) {
            (Some(before), Some(after)) => write!(formatter, "{path}: {before} -> {after}"),
            (None, Some(after)) => write!(formatter, "{path}: {after} is added"),
            (Some(before), None) => write!(formatter, "{path}: {before} is removed"),
            (None, None) => write!(formatter, "{path}"),
        }
    }
}

/// Metadata that changes with every write.
const BOOKKEEPING: [&str; 5] = ["managedFields", "resourceVersion", "generation", "creationTimestamp", "uid"];

pub fn difference(before: &Value, after: &Value) -> Vec<FieldChange> {
    let mut changes = Vec::new();
    compare("", before, after, &mut changes);
    changes.retain(|change| {
        !BOOKKEEPING.iter().any(|field| change.path == format!(".metadata.{field}"))
            && !change.path.starts_with(".metadata.managedFields")
            && !change.path.starts_with(".status")
    });
    changes
}

fn compare(path: &str, before: &Value, after: &Value, changes: &mut Vec<FieldChange>) {
    match (before, after) {
        (Value::Object(old), Value::Object(new)) => {
            let mut keys: Vec<&String> = old.keys().chain(new.keys()).collect();
            keys.sort();
            keys.dedup();
            for key in keys {
                let path = format!("{path}.{key}");
                match (old.get(key), new.get(key)) {
                    (Some(old), Some(new)) => compare(&path, old, new, changes),
                    (before, after) => {
                        changes.push(FieldChange { path, before: before.cloned(), after: after.cloned() });
                    }
                }
            }
        }
        (before, after) if before == after => {}
        (before, after) => changes.push(FieldChange {
            path: path.to_owned(),
            before: Some(before.clone()),
            after: Some(after.clone()),
        }),
    }
}

#[cfg(test)]
mod tests {
    use pretty_assertions::assert_eq;
    use serde_json::json;

    use super::*;

    #[test]
    fn changed_added_and_removed_fields_are_told_and_bookkeeping_is_not() {
        let before = json!({
            "metadata": {"resourceVersion": "1", "managedFields": [1], "labels": {"a": "1"}},
            "spec": {"schedule": "0 1 * * *", "paused": true, "template": {"ttl": "1h0m0s"}},
            "status": {"phase": "Enabled"},
        });
        let after = json!({
            "metadata": {"resourceVersion": "2", "managedFields": [2], "labels": {"a": "1", "b": "2"}},
            "spec": {"schedule": "0 2 * * *", "template": {"ttl": "1h0m0s"}},
        });
        let changes: Vec<String> = difference(&before, &after).iter().map(ToString::to_string).collect();
        assert_eq!(
            changes,
            [
                ".metadata.labels.b: \"2\" is added",
                ".spec.paused: true is removed",
                ".spec.schedule: \"0 1 * * *\" -> \"0 2 * * *\"",
            ]
        );
    }
}
