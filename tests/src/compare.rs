//! Takes a picture of what a namespace holds, and says in which objects two such pictures differ.
//!
//! In: a client and a namespace. Out: objects without what a cluster gives each copy of its own (uid, addresses, status, what
//! controllers make again by themselves) and without objects that are labelled to be left out of backups, so that equal pictures mean: the same application.

use std::collections::BTreeMap;

use anyhow::Context as _;
use holdfast_policy::velero::labels;
use kube::ResourceExt as _;
use kube::api::{Api, DynamicObject, ListParams};
use kube::discovery::{Discovery, Scope, verbs};
use serde_json::{Map, Value};

/// Kinds that clusters fill by themselves, whatever was restored.
const MADE_BY_CLUSTERS: &[(&str, &str)] = &[
    ("", "events"),
    ("events.k8s.io", "events"),
    ("", "endpoints"),
    ("discovery.k8s.io", "endpointslices"),
    ("coordination.k8s.io", "leases"),
    ("metrics.k8s.io", "pods"),
];

const RESTORE_LABELS: &[&str] = &[labels::BACKUP_NAME, labels::RESTORE_NAME];

/// What one namespace holds: `kind.group/name` to the object, normalised.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Picture {
    pub objects: BTreeMap<String, Value>,
}

/// One object that is not the same in two pictures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Difference {
    Missing { object: String },
    Unexpected { object: String },
    Changed { object: String, field: String, expected: Value, found: Value },
}

impl std::fmt::Display for Difference {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Difference::Missing { object } => write!(out, "{object} is missing"),
            Difference::Unexpected { object } => write!(out, "{object} was not there before"),
            Difference::Changed { object, field, expected, found } => {
                write!(out, "{object}: {field} was {expected}, is {found}")
            }
        }
    }
}

impl Picture {
    /// Reads every listable namespaced kind in `namespace`, and the Namespace itself. `known_as` is the name under which
    /// references to the namespace are recorded, so that a copy in another namespace compares equal.
    pub async fn take(client: &kube::Client, namespace: &str, known_as: &str) -> anyhow::Result<Picture> {
        let discovery = Discovery::new(client.clone()).run().await.context("discovering the served kinds")?;
        let mut objects = BTreeMap::new();
        for group in discovery.groups() {
            for (resource, capabilities) in group.recommended_resources() {
                if capabilities.scope != Scope::Namespaced || !capabilities.supports_operation(verbs::LIST) {
                    continue;
                }
                if MADE_BY_CLUSTERS.contains(&(resource.group.as_str(), resource.plural.as_str())) {
                    continue;
                }
                let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, &resource);
                let list = match api.list(&ListParams::default()).await {
                    Ok(list) => list,
                    Err(kube::Error::Api(status)) if matches!(status.code, 404 | 405) => continue,
                    Err(error) => {
                        return Err(error)
                            .with_context(|| format!("listing {} in {namespace}", resource.plural));
                    }
                };
                for object in list.items {
                    let name = object.metadata.name.clone().unwrap_or_default();
                    if is_made_by_the_cluster(&resource.kind, &name, &object)
                        || is_kept_out_of_backups(&object)
                    {
                        continue;
                    }
                    let key = format!("{}/{name}", group_kind(&resource.group, &resource.kind));
                    let value = serde_json::to_value(&object).context("an object as JSON")?;
                    objects.insert(key, normalise(&resource.kind, value, namespace, known_as));
                }
            }
        }
        let itself: Api<k8s_openapi::api::core::v1::Namespace> = Api::all(client.clone());
        let itself = itself.get(namespace).await.with_context(|| format!("reading namespace {namespace}"))?;
        let value = serde_json::to_value(&itself).context("a namespace as JSON")?;
        objects.insert("Namespace".into(), normalise("Namespace", value, namespace, known_as));
        Ok(Picture { objects })
    }

    /// What is different in `found`, this being what was expected.
    pub fn differences(&self, found: &Picture) -> Vec<Difference> {
        let mut differences = Vec::new();
        for (object, expected) in &self.objects {
            match found.objects.get(object) {
                None => differences.push(Difference::Missing { object: object.clone() }),
                Some(value) => compare(object, "", expected, value, &mut differences),
            }
        }
        for object in found.objects.keys().filter(|object| !self.objects.contains_key(*object)) {
            differences.push(Difference::Unexpected { object: object.clone() });
        }
        differences
    }
}

fn group_kind(group: &str, kind: &str) -> String {
    if group.is_empty() { kind.to_string() } else { format!("{kind}.{group}") }
}

/// Objects that say of themselves that no backup is to hold them.
fn is_kept_out_of_backups(object: &DynamicObject) -> bool {
    object.labels().get(labels::EXCLUDE_FROM_BACKUP).is_some_and(|value| value == "true")
}

fn is_made_by_the_cluster(kind: &str, name: &str, object: &DynamicObject) -> bool {
    let owned = object.metadata.owner_references.iter().flatten().any(|owner| owner.controller == Some(true));
    let given = matches!((kind, name), ("ConfigMap", "kube-root-ca.crt") | ("ServiceAccount", "default"));
    owned || given
}

/// Drops what differs between two copies of one object for no fault of a restore.
fn normalise(kind: &str, mut object: Value, namespace: &str, known_as: &str) -> Value {
    if let Some(fields) = object.as_object_mut() {
        fields.remove("status");
        if let Some(metadata) = fields.get_mut("metadata").and_then(Value::as_object_mut) {
            normalise_metadata(metadata);
        }
    }
    match kind {
        "Namespace" => {
            remove(&mut object, &["spec"]);
            remove(&mut object, &["metadata", "name"]);
            remove(&mut object, &["metadata", "labels", "kubernetes.io/metadata.name"]);
        }
        "Service" => {
            if object.pointer("/spec/clusterIP") != Some(&Value::from("None")) {
                remove(&mut object, &["spec", "clusterIP"]);
                remove(&mut object, &["spec", "clusterIPs"]);
            }
            for port in object.pointer_mut("/spec/ports").and_then(Value::as_array_mut).into_iter().flatten()
            {
                remove(port, &["nodePort"]);
            }
        }
        "PersistentVolumeClaim" => remove(&mut object, &["spec", "volumeName"]),
        "Job" => {
            for key in ["controller-uid", "batch.kubernetes.io/controller-uid"] {
                remove(&mut object, &["spec", "selector", "matchLabels", key]);
                remove(&mut object, &["spec", "template", "metadata", "labels", key]);
            }
        }
        "RoleBinding" => {
            for subject in object.pointer_mut("/subjects").and_then(Value::as_array_mut).into_iter().flatten()
            {
                if subject.get("namespace") == Some(&Value::from(namespace)) {
                    subject["namespace"] = Value::from(known_as);
                }
            }
        }
        _ => {}
    }
    object
}

fn normalise_metadata(metadata: &mut Map<String, Value>) {
    metadata.retain(|key, _| matches!(key.as_str(), "name" | "labels" | "annotations" | "finalizers"));
    if let Some(labels) = metadata.get_mut("labels").and_then(Value::as_object_mut) {
        labels.retain(|key, _| !RESTORE_LABELS.contains(&key.as_str()));
    }
    if let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut) {
        annotations.retain(|key, _| !key.starts_with("pv.kubernetes.io/") && !key.starts_with("volume."));
    }
    // An empty map and none are one and the same to Kubernetes.
    metadata.retain(|_, value| value.as_object().is_none_or(|map| !map.is_empty()));
}

fn remove(value: &mut Value, path: &[&str]) {
    let Some((last, parents)) = path.split_last() else { return };
    let mut place = value;
    for parent in parents {
        match place.get_mut(*parent) {
            Some(next) => place = next,
            None => return,
        }
    }
    if let Some(fields) = place.as_object_mut() {
        fields.remove(*last);
    }
}

fn compare(object: &str, path: &str, expected: &Value, found: &Value, differences: &mut Vec<Difference>) {
    match (expected, found) {
        (Value::Object(expected), Value::Object(found)) => {
            let keys: std::collections::BTreeSet<&String> = expected.keys().chain(found.keys()).collect();
            for key in keys {
                let one = expected.get(key).unwrap_or(&Value::Null);
                let other = found.get(key).unwrap_or(&Value::Null);
                compare(object, &format!("{path}.{key}"), one, other, differences);
            }
        }
        (expected, found) if expected == found => {}
        (expected, found) => differences.push(Difference::Changed {
            object: object.to_string(),
            field: path.trim_start_matches('.').to_string(),
            expected: expected.clone(),
            found: found.clone(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_a_cluster_gives_to_each_copy_is_left_out() {
        let service = json!({"apiVersion": "v1", "kind": "Service",
            "metadata": {"name": "front", "namespace": "shop", "uid": "1", "resourceVersion": "7",
                "labels": {"velero.io/restore-name": "r", "app": "web"}},
            "spec": {"clusterIP": "10.0.0.7", "clusterIPs": ["10.0.0.7"], "ports": [{"port": 80, "nodePort": 30000}]},
            "status": {"loadBalancer": {}}});
        let expected = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "front", "labels": {"app": "web"}},
            "spec": {"ports": [{"port": 80}]}});
        assert_eq!(normalise("Service", service, "shop", "shop"), expected);
    }

    #[test]
    fn differences_name_the_object_and_the_field() {
        let one = Picture { objects: [("ConfigMap/a".to_string(), json!({"data": {"k": "1"}}))].into() };
        let other = Picture {
            objects: [
                ("ConfigMap/a".to_string(), json!({"data": {"k": "2"}})),
                ("Secret/b".to_string(), json!({})),
            ]
            .into(),
        };
        let texts: Vec<String> = one.differences(&other).iter().map(ToString::to_string).collect();
        assert_eq!(texts, [r#"ConfigMap/a: data.k was "1", is "2""#, "Secret/b was not there before"]);
        assert_eq!(other.differences(&one).len(), 2);
    }
}
