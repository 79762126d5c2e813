//! An object with what selection looks at: its type, its name, its labels.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use k8s_openapi::api::core::v1::Namespace;
use serde::Deserialize;
use serde_json::Value;

use super::{NAMESPACES, NamespaceFacts};
use crate::cluster::{Discovery, Item, Resource};

#[derive(Debug, Clone)]
pub struct Object {
    pub resource: Resource,
    pub item: Item,
    pub labels: BTreeMap<String, String>,
}

#[derive(Debug, thiserror::Error)]
pub enum ObjectError {
    #[error("an object without apiVersion and kind")]
    NoType,
    #[error("{api_version} {kind} is no kind that is known; give its CustomResourceDefinition as well")]
    Unknown { api_version: String, kind: String },
    #[error("{kind} without a name")]
    NoName { kind: String },
    #[error("{kind} {name} has no namespace")]
    NoNamespace { kind: String, name: String },
    #[error("{kind} cannot be read")]
    Malformed { kind: String, source: serde_json::Error },
}

impl Object {
    /// Takes one object as the API server sent it.
    pub fn new(resource: &Resource, item: Item) -> Result<Self, ObjectError> {
        #[derive(Deserialize)]
        struct Labelled {
            metadata: Labels,
        }
        #[derive(Deserialize)]
        struct Labels {
            labels: Option<BTreeMap<String, String>>,
        }
        let malformed = |source| ObjectError::Malformed { kind: resource.kind.clone(), source };
        let labelled: Labelled = serde_json::from_slice(&item.json).map_err(malformed)?;
        Ok(Self { resource: resource.clone(), item, labels: labelled.metadata.labels.unwrap_or_default() })
    }

    /// Takes a whole object with its type.
    pub fn parse(value: &Value, discovery: &Discovery) -> Result<Self, ObjectError> {
        let text = |field: &str| value.get(field).and_then(Value::as_str).filter(|text| !text.is_empty());
        let (Some(api_version), Some(kind)) = (text("apiVersion"), text("kind")) else {
            return Err(ObjectError::NoType);
        };
        let unknown = || ObjectError::Unknown { api_version: api_version.into(), kind: kind.into() };
        let served = discovery.by_kind(api_version, kind).ok_or_else(unknown)?;
        // Backups take the preferred version, whichever the object was written in.
        let resource = discovery.by_group_resource(&served.group_resource()).unwrap_or(served);
        let item = Item::parse(resource, value.to_string().as_bytes())
            .map_err(|source| ObjectError::Malformed { kind: kind.into(), source })?;
        if item.name.is_empty() {
            return Err(ObjectError::NoName { kind: kind.into() });
        }
        if resource.namespaced && item.namespace.is_none() {
            return Err(ObjectError::NoNamespace { kind: kind.into(), name: item.name });
        }
        Self::new(resource, item)
    }

    /// What finds it among others: `pods`, the namespace, the name.
    pub(super) fn key(&self) -> (String, Option<&str>, &str) {
        (self.resource.group_resource(), self.item.namespace.as_deref(), &self.item.name)
    }
}

/// `Pod/shop/web`, `PersistentVolume/vol-1`.
impl fmt::Display for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Item { name, namespace, .. } = &self.item;
        match namespace {
            Some(namespace) => write!(f, "{}/{namespace}/{name}", self.resource.kind),
            None => write!(f, "{}/{name}", self.resource.kind),
        }
    }
}

/// The namespaces that these objects are, and those they are in.
pub fn namespaces_of(objects: &[Object]) -> Vec<NamespaceFacts> {
    let mut all: BTreeMap<&str, NamespaceFacts> = BTreeMap::new();
    for object in objects.iter().filter(|object| object.resource.group_resource() == NAMESPACES) {
        // One that cannot be read has no phase and no labels to look at.
        let namespace: Namespace = serde_json::from_slice(&object.item.json).unwrap_or_default();
        let facts = NamespaceFacts { name: object.item.name.clone(), ..namespace.into() };
        all.insert(&object.item.name, facts);
    }
    let mentioned: BTreeSet<&str> =
        objects.iter().filter_map(|object| object.item.namespace.as_deref()).collect();
    for name in mentioned {
        let facts = || NamespaceFacts { name: name.into(), labels: BTreeMap::new(), active: true };
        all.entry(name).or_insert_with(facts);
    }
    all.into_values().collect()
}

#[cfg(test)]
mod tests {
    use pretty_assertions::assert_eq;
    use serde_json::json;

    use super::*;

    fn parse(value: Value) -> Result<Object, String> {
        Object::parse(&value, &Discovery::without_a_cluster(&[])).map_err(|error| error.to_string())
    }

    #[test]
    fn objects_are_named_by_kind_namespace_and_name() {
        let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"namespace": "shop", "name": "web", "labels": {"a": "b"}}});
        let pod = parse(pod).unwrap();
        assert_eq!((pod.to_string().as_str(), pod.labels["a"].as_str()), ("Pod/shop/web", "b"));
        let volume = json!({"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"namespace": "x", "name": "v"}});
        assert_eq!(parse(volume).unwrap().to_string(), "PersistentVolume/v");
    }

    #[test]
    fn what_is_no_object_is_told() {
        let refused = |value| parse(value).unwrap_err();
        assert_eq!(refused(json!({"kind": "Pod"})), "an object without apiVersion and kind");
        assert_eq!(
            refused(json!({"apiVersion": "a.org/v1", "kind": "Thing"})),
            "a.org/v1 Thing is no kind that is known; give its CustomResourceDefinition as well"
        );
        assert_eq!(refused(json!({"apiVersion": "v1", "kind": "Pod", "metadata": {}})), "Pod without a name");
        let nowhere = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web"}});
        assert_eq!(refused(nowhere), "Pod web has no namespace");
        assert_eq!(refused(json!({"apiVersion": "v1", "kind": "Pod"})), "Pod cannot be read");
    }

    #[test]
    fn namespaces_that_are_only_mentioned_exist_too() {
        let objects = [
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "blog", "labels": {"tier": "front"}}, "status": {"phase": "Terminating"}}),
            json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "a", "namespace": "shop"}}),
            json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "a", "namespace": "blog"}}),
        ];
        let objects: Vec<Object> = objects.map(|object| parse(object).unwrap()).into();
        let known: Vec<_> = namespaces_of(&objects)
            .into_iter()
            .map(|namespace| (namespace.name, namespace.active, namespace.labels.len()))
            .collect();
        assert_eq!(known, [("blog".into(), false, 1), ("shop".into(), true, 0)]);
    }
}
