//! What all generated objects have in common: metadata, marks, hash.

use std::collections::{BTreeMap, HashSet};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::Serialize;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::{Manifest, PublishMode, Target};
use crate::annotations::{CONTENT_HASH, MANAGED_BY, MANAGED_BY_HOLDFAST, POLICY, SOURCE};
use crate::velero;

/// The objects that are compiled, on their way to whoever wants them.
pub(super) struct Objects<'a> {
    target: &'a Target,
    take: &'a mut dyn FnMut(Manifest),
    /// ConfigMaps that several schedules of a policy share.
    config_maps: HashSet<String>,
}

/// What is particular to an object.
pub(super) struct Object<T> {
    pub(super) api_version: &'static str,
    pub(super) kind: &'static str,
    pub(super) policy: String,
    pub(super) value: T,
    pub(super) at_creation: Option<Value>,
    pub(super) publish: PublishMode,
}

impl<'a> Objects<'a> {
    /// Each object is handed over as soon as it is compiled: a tree takes ten times the memory of its text.
    pub(super) fn new(target: &'a Target, take: &'a mut dyn FnMut(Manifest)) -> Objects<'a> {
        Objects { target, take, config_maps: HashSet::new() }
    }

    /// Metadata with the user's labels, to which the marks are added.
    pub(super) fn metadata(
        &self,
        name: &str,
        policy: &str,
        labels: &BTreeMap<String, String>,
        annotations: BTreeMap<String, String>,
    ) -> ObjectMeta {
        let mut labels = labels.clone();
        labels.insert(MANAGED_BY.to_owned(), MANAGED_BY_HOLDFAST.to_owned());
        labels.insert(POLICY.to_owned(), velero::short_name(policy));
        labels.insert(SOURCE.to_owned(), velero::short_name(&self.target.source));
        ObjectMeta {
            name: Some(name.to_owned()),
            namespace: Some(self.target.namespace.clone()),
            labels: Some(labels),
            annotations: (!annotations.is_empty()).then_some(annotations),
            ..ObjectMeta::default()
        }
    }

    pub(super) fn add<T: Serialize>(&mut self, object: Object<T>) {
        let Object { api_version, kind, policy, value, at_creation, publish } = object;
        let mut value = serde_json::to_value(value).expect("objects are trees of texts and numbers");
        value["apiVersion"] = Value::from(api_version);
        value["kind"] = Value::from(kind);
        let content_hash = hash(&value);
        value["metadata"]["labels"][CONTENT_HASH] = Value::from(content_hash.as_str());
        let name = value["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        (self.take)(Manifest {
            api_version: api_version.to_owned(),
            kind: kind.to_owned(),
            namespace: self.target.namespace.clone(),
            name,
            policy,
            content_hash,
            value,
            at_creation,
            publish,
        });
    }

    /// Tells whether a ConfigMap of this name is there already; its name says that it holds the same.
    pub(super) fn has_config_map(&mut self, name: &str) -> bool {
        !self.config_maps.insert(name.to_owned())
    }
}

/// What others refer to comes first.
pub(super) fn rank(kind: &str) -> usize {
    ["ConfigMap", "BackupStorageLocation", "VolumeSnapshotLocation", "Schedule", "Backup", "Restore"]
        .iter()
        .position(|other| *other == kind)
        .unwrap_or(usize::MAX)
}

/// The first 16 hex digits of the hash of a value's JSON, keys sorted.
pub(super) fn hash(value: &Value) -> String {
    let text = serde_json::to_string(value).expect("a tree of JSON values is JSON");
    Sha256::digest(text).iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}
