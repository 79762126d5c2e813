//! Strategic merge patch for the kinds whose lists have merge keys that we know.
//!
//! Maps merge, null deletes, lists are replaced unless their elements have a merge key; the directives `$patch`,
//! `$retainKeys`, `$deleteFromPrimitiveList` and `$setElementOrder` are honoured.

use serde_json::{Map, Value};

const GROUP_VERSIONS: [&str; 7] = [
    "v1",
    "apps/v1",
    "batch/v1",
    "snapshot.storage.k8s.io/v1",
    "groupsnapshot.storage.k8s.io/v1beta2",
    "velero.io/v1",
    "velero.io/v2alpha1",
];

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(crate) enum Error {
    #[error("strategic patches are not known for {api_version} {kind}, use mergePatches")]
    Kind { api_version: String, kind: String },
    #[error("an element of {list} in the patch lacks its key {key}")]
    NoKey { list: String, key: &'static str },
    #[error("directive {0} is not one of replace, delete and merge")]
    Directive(String),
}

/// How the elements of a list are told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ListRule {
    /// The patch's list replaces the other.
    Atomic,
    Keyed(&'static str),
    /// Plain values, joined.
    Set,
}

pub(super) fn apply(object: &mut Value, patch: &Value) -> Result<(), Error> {
    let text = |key: &str| object.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let (api_version, kind) = (text("apiVersion"), text("kind"));
    if !GROUP_VERSIONS.contains(&api_version.as_str()) {
        return Err(Error::Kind { api_version, kind });
    }
    let Some(patch) = patch.as_object() else { return Ok(()) };
    merge_map(object, patch, "")
}

/// The rule for the list `name` within the map that its parent field holds.
fn list_rule(parent: &str, name: &str) -> ListRule {
    match (parent, name) {
        ("metadata", "finalizers") => ListRule::Set,
        ("metadata", "ownerReferences") => ListRule::Keyed("uid"),
        (
            _,
            "containers"
            | "initContainers"
            | "ephemeralContainers"
            | "volumes"
            | "env"
            | "imagePullSecrets"
            | "schedulingGates"
            | "resourceClaims"
            | "secrets",
        ) => ListRule::Keyed("name"),
        (_, "volumeMounts") => ListRule::Keyed("mountPath"),
        (_, "volumeDevices") => ListRule::Keyed("devicePath"),
        (_, "hostAliases") => ListRule::Keyed("ip"),
        (_, "topologySpreadConstraints") => ListRule::Keyed("topologyKey"),
        (_, "conditions" | "addresses") => ListRule::Keyed("type"),
        // Within a list of containers the parent is that list; a Service has its ports right in the spec.
        ("containers" | "initContainers" | "ephemeralContainers", "ports") => {
            ListRule::Keyed("containerPort")
        }
        ("spec", "ports") => ListRule::Keyed("port"),
        _ => ListRule::Atomic,
    }
}

fn merge_map(target: &mut Value, patch: &Map<String, Value>, field: &str) -> Result<(), Error> {
    match patch.get("$patch").map(|directive| directive.as_str().unwrap_or_default()) {
        None | Some("merge") => {}
        Some("replace") => {
            *target = Value::Object(without_directives(patch));
            return Ok(());
        }
        Some("delete") => {
            *target = Value::Object(Map::new());
            return Ok(());
        }
        Some(other) => return Err(Error::Directive(other.to_owned())),
    }
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Some(target) = target.as_object_mut() else { return Ok(()) };
    if let Some(keep) = patch.get("$retainKeys").and_then(Value::as_array) {
        target.retain(|key, _| keep.iter().any(|kept| kept == key));
    }
    for (key, value) in patch {
        if let Some(list) = key.strip_prefix("$deleteFromPrimitiveList/") {
            let unwanted = value.as_array().map(Vec::as_slice).unwrap_or_default();
            if let Some(list) = target.get_mut(list).and_then(Value::as_array_mut) {
                list.retain(|element| !unwanted.contains(element));
            }
        }
    }
    for (key, value) in patch.iter().filter(|(key, _)| !key.starts_with('$')) {
        match value {
            Value::Null => {
                target.remove(key);
            }
            Value::Object(map) => merge_map(target.entry(key.clone()).or_insert(Value::Null), map, key)?,
            Value::Array(list) => {
                let merged = merge_list(target.get(key), list, list_rule(field, key), key)?;
                target.insert(key.clone(), Value::Array(merged));
            }
            plain => {
                target.insert(key.clone(), plain.clone());
            }
        }
    }
    for (key, value) in patch {
        if let Some(name) = key.strip_prefix("$setElementOrder/")
            && let (Some(order), ListRule::Keyed(merge_key)) = (value.as_array(), list_rule(field, name))
            && let Some(list) = target.get_mut(name).and_then(Value::as_array_mut)
        {
            list.sort_by_key(|element| {
                order
                    .iter()
                    .position(|wanted| wanted.get(merge_key) == element.get(merge_key))
                    .unwrap_or(order.len())
            });
        }
    }
    Ok(())
}

fn merge_list(
    target: Option<&Value>,
    patch: &[Value],
    rule: ListRule,
    field: &str,
) -> Result<Vec<Value>, Error> {
    let mut list = target.and_then(Value::as_array).cloned().unwrap_or_default();
    match rule {
        ListRule::Atomic => Ok(patch.to_vec()),
        ListRule::Set => {
            let original = list.clone();
            let new: Vec<Value> = patch.iter().filter(|element| !list.contains(element)).cloned().collect();
            list.extend(new);
            Ok(in_order(list, &original, patch, |element| Some(element)))
        }
        ListRule::Keyed(key) => {
            let replaces =
                patch.iter().any(|element| element.get("$patch").is_some_and(|patch| patch == "replace"));
            if replaces {
                list.clear();
            }
            let original = list.clone();
            for element in patch.iter().filter_map(Value::as_object) {
                let directive = element.get("$patch").and_then(Value::as_str);
                let Some(name) = element.get(key) else {
                    if directive == Some("replace") {
                        continue;
                    }
                    return Err(Error::NoKey { list: field.to_owned(), key });
                };
                let at = list.iter().position(|existing| existing.get(key) == Some(name));
                match (directive, at) {
                    (Some("delete"), Some(at)) => {
                        list.remove(at);
                    }
                    (Some("delete"), None) => {}
                    (_, Some(at)) => merge_map(&mut list[at], element, field)?,
                    (_, None) => list.push(Value::Object(without_directives(element))),
                }
            }
            Ok(in_order(list, &original, patch, |element| element.get(key)))
        }
    }
}

/// Kubernetes' order of a merged list: what the patch names in its order, the rest in the order it had, and where both
/// meet, new elements come before old ones that the patch does not name.
fn in_order(
    merged: Vec<Value>,
    original: &[Value],
    patch: &[Value],
    key: impl Fn(&Value) -> Option<&Value>,
) -> Vec<Value> {
    let position = |list: &[Value], element: &Value| list.iter().position(|it| key(it) == key(element));
    let (mut named, rest): (Vec<Value>, Vec<Value>) =
        merged.into_iter().partition(|element| position(patch, element).is_some());
    named.sort_by_key(|element| position(patch, element));
    let mut named = named.into_iter().peekable();
    let mut ordered = Vec::new();
    for element in rest {
        let comes_first = |other: &Value| match (position(original, &element), position(original, other)) {
            (Some(own), Some(other)) => own < other,
            (None, _) | (_, None) => false,
        };
        while let Some(other) = named.next_if(|other| !comes_first(other)) {
            ordered.push(other);
        }
        ordered.push(element);
    }
    ordered.extend(named);
    ordered
}

fn without_directives(map: &Map<String, Value>) -> Map<String, Value> {
    map.iter()
        .filter(|(key, value)| !key.starts_with('$') && !value.is_null())
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn patched(mut object: Value, patch: &Value) -> Value {
        apply(&mut object, patch).unwrap();
        object
    }

    fn deployment(containers: Value) -> Value {
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "spec": {"template": {"spec": {"containers": containers}}}})
    }

    #[test]
    fn containers_merge_by_name_and_their_lists_by_their_keys() {
        let object = deployment(json!([
            {"name": "main", "image": "a", "env": [{"name": "A", "value": "1"}], "ports": [{"containerPort": 80, "name": "web"}], "args": ["x"]},
            {"name": "side", "image": "s"},
        ]));
        let patch = json!({"spec": {"template": {"spec": {"containers": [
            {"name": "main", "image": "b", "env": [{"name": "B", "value": "2"}], "ports": [{"containerPort": 80, "protocol": "TCP"}], "args": ["y"]},
            {"name": "new", "image": "n"},
            {"name": "side", "$patch": "delete"},
        ]}}}});
        assert_eq!(
            patched(object, &patch),
            deployment(json!([
                {
                    "name": "main", "image": "b",
                    "env": [{"name": "B", "value": "2"}, {"name": "A", "value": "1"}],
                    "ports": [{"containerPort": 80, "name": "web", "protocol": "TCP"}],
                    "args": ["y"],
                },
                {"name": "new", "image": "n"},
            ]))
        );
    }

    #[test]
    fn the_ports_of_a_service_merge_by_port() {
        let service = |ports: Value| json!({"apiVersion": "v1", "kind": "Service", "spec": {"ports": ports}});
        assert_eq!(
            patched(
                service(json!([{"port": 80, "name": "web", "targetPort": 8080}, {"port": 81}])),
                &json!({"spec": {"ports": [{"port": 80, "name": "renamed", "targetPort": 9090}]}}),
            ),
            service(json!([{"port": 80, "name": "renamed", "targetPort": 9090}, {"port": 81}]))
        );
    }

    #[test]
    fn directives_replace_delete_and_order() {
        let object = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"finalizers": ["a", "b"]}, "spec": {
            "securityContext": {"runAsUser": 1}, "volumes": [{"name": "one"}, {"name": "two"}],
        }});
        let patch = json!({
            "metadata": {"$deleteFromPrimitiveList/finalizers": ["a"], "finalizers": ["c"]},
            "spec": {
                "securityContext": {"$patch": "replace", "fsGroup": 2},
                "$setElementOrder/volumes": [{"name": "two"}, {"name": "one"}],
                "nodeSelector": null,
            },
        });
        assert_eq!(
            patched(object, &patch),
            json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"finalizers": ["c", "b"]}, "spec": {
                "securityContext": {"fsGroup": 2}, "volumes": [{"name": "two"}, {"name": "one"}],
            }})
        );
    }

    #[test]
    fn new_elements_come_before_those_that_the_patch_does_not_name() {
        let named =
            |names: &[&str]| json!(names.iter().map(|name| json!({"name": name})).collect::<Vec<_>>());
        let table: [(&[&str], &[&str], &[&str]); 4] = [
            (&["a", "b"], &["new"], &["new", "a", "b"]),
            (&["a", "b"], &["b"], &["a", "b"]),
            (&["a", "b", "c"], &["b", "new"], &["a", "b", "new", "c"]),
            (&["a", "b"], &["b", "a"], &["b", "a"]),
        ];
        for (before, patch, after) in table {
            let patch = deployment(named(patch))["spec"].take();
            assert_eq!(
                patched(deployment(named(before)), &json!({"spec": patch})),
                deployment(named(after)),
                "{before:?}"
            );
        }
    }

    #[test]
    fn kinds_without_known_keys_are_refused() {
        let mut ingress = json!({"apiVersion": "networking.k8s.io/v1", "kind": "Ingress"});
        assert!(matches!(apply(&mut ingress, &json!({})), Err(Error::Kind { .. })));
    }
}
