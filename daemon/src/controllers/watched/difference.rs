//! The difference between two JSON values, as a merge patch.

use serde_json::{Map, Value};

/// The JSON merge patch from `before` to `after`; nothing where they are equal.
pub(super) fn difference(before: &Value, after: &Value) -> Option<Value> {
    match (before, after) {
        (Value::Object(before), Value::Object(after)) => {
            let removed =
                before.keys().filter(|key| !after.contains_key(*key)).map(|key| (key.clone(), Value::Null));
            let changed = after.iter().filter_map(|(key, value)| match before.get(key) {
                Some(old) => difference(old, value).map(|patch| (key.clone(), patch)),
                None => Some((key.clone(), value.clone())),
            });
            let patch: Map<String, Value> = removed.chain(changed).collect();
            (!patch.is_empty()).then_some(Value::Object(patch))
        }
        (before, after) => (before != after).then(|| after.clone()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_merge_patch_holds_what_differs_and_nulls_what_went_away() {
        let before = json!({"spec": {"a": 1, "b": [1, 2], "c": {"d": 1}}, "status": {"phase": "New"}});
        let after =
            json!({"spec": {"a": 1, "b": [2], "c": {}}, "status": {"phase": "Queued", "queuePosition": 1}});
        assert_eq!(
            difference(&before, &after),
            Some(json!({
                "spec": {"b": [2], "c": {"d": null}},
                "status": {"phase": "Queued", "queuePosition": 1},
            }))
        );
        assert_eq!(difference(&before, &before), None);
    }
}
