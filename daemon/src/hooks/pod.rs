//! What hooks need to know of a pod, read from its JSON.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer};

/// A pod as far as hooks look at it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pod {
    pub namespace: String,
    pub name: String,
    pub labels: BTreeMap<String, String>,
    pub annotations: BTreeMap<String, String>,
    /// The names of `spec.containers`. Only these have hooks run in them.
    pub containers: Vec<String>,
    pub phase: String,
}

#[derive(Deserialize)]
struct Raw {
    metadata: Metadata,
    #[serde(default, deserialize_with = "or_default")]
    spec: Spec,
    #[serde(default, deserialize_with = "or_default")]
    status: Status,
}

#[derive(Deserialize)]
struct Metadata {
    #[serde(default)]
    name: String,
    #[serde(default)]
    namespace: String,
    #[serde(default, deserialize_with = "or_default")]
    labels: BTreeMap<String, String>,
    #[serde(default, deserialize_with = "or_default")]
    annotations: BTreeMap<String, String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Spec {
    containers: Vec<Container>,
}

#[derive(Deserialize)]
struct Container {
    name: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Status {
    phase: String,
}

/// Objects of old archives have `null` where something is empty.
fn or_default<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(value: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(value)?.unwrap_or_default())
}

impl Pod {
    pub fn parse(json: &[u8]) -> Result<Self, serde_json::Error> {
        Ok(Self::from(serde_json::from_slice::<Raw>(json)?))
    }

    pub fn from_value(value: &serde_json::Value) -> Result<Self, serde_json::Error> {
        Ok(Self::from(Raw::deserialize(value)?))
    }

    /// No command can be run in it any more.
    pub fn has_ended(&self) -> bool {
        self.phase == "Succeeded" || self.phase == "Failed"
    }

    /// An annotation that says something.
    pub(super) fn annotation(&self, key: &str) -> Option<&str> {
        self.annotations.get(key).map(String::as_str).filter(|text| !text.is_empty())
    }
}

impl From<Raw> for Pod {
    fn from(raw: Raw) -> Self {
        let Raw { metadata, spec, status } = raw;
        let Metadata { name, namespace, labels, annotations } = metadata;
        let containers = spec.containers.into_iter().map(|container| container.name).collect();
        Self { namespace, name, labels, annotations, containers, phase: status.phase }
    }
}
