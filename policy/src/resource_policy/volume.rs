//! What volume policies look at: a PersistentVolume or a volume of a pod, and the claim that it is used through.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::validate::{VOLUME_TYPES, quantity};

/// The facts of one volume.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Volume {
    /// In bytes; 0 where it is not known.
    pub(super) capacity: f64,
    pub(super) storage_class: String,
    pub(super) nfs: Option<Nfs>,
    pub(super) csi: Option<Csi>,
    /// As the field of its source is spelled: `emptyDir`, `csi`.
    pub(super) source: Option<&'static str>,
    pub(super) claim: Option<Claim>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(super) struct Nfs {
    pub(super) server: String,
    pub(super) path: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Csi {
    pub(super) driver: String,
    pub(super) volume_attributes: BTreeMap<String, String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Claim {
    pub(super) labels: BTreeMap<String, String>,
    pub(super) phase: String,
    pub(super) volume_mode: String,
    pub(super) access_modes: BTreeSet<String>,
}

/// What a quantity of Kubernetes (`10Gi`) comes to, in bytes; None for what is none.
pub fn bytes_of(text: &str) -> Option<f64> {
    quantity(text).ok().flatten()
}

impl Volume {
    /// Takes a PersistentVolume as JSON.
    pub fn of_persistent_volume(json: &[u8]) -> Result<Self, serde_json::Error> {
        #[derive(Deserialize)]
        struct PersistentVolume {
            #[serde(default)]
            spec: Map<String, Value>,
        }
        let PersistentVolume { spec } = serde_json::from_slice(json)?;
        let text = |value: Option<&Value>| value.and_then(Value::as_str).unwrap_or_default().to_owned();
        let storage = text(spec.get("capacity").and_then(|capacity| capacity.get("storage")));
        Ok(Self {
            // What the API server stores is a quantity; one that isn't is as good as none.
            capacity: bytes_of(&storage).unwrap_or_default(),
            storage_class: text(spec.get("storageClassName")),
            ..Self::of_source(&spec)
        })
    }

    /// Takes an entry of a pod's `spec.volumes`.
    pub fn of_pod_volume(volume: &Map<String, Value>) -> Self {
        Self::of_source(volume)
    }

    /// Adds what is known of the claim, given as JSON.
    pub fn claimed_by(self, json: &[u8]) -> Result<Self, serde_json::Error> {
        #[derive(Default, Deserialize)]
        #[serde(default)]
        struct PersistentVolumeClaim {
            metadata: Metadata,
            spec: Spec,
            status: Status,
        }
        #[derive(Default, Deserialize)]
        #[serde(default)]
        struct Metadata {
            labels: BTreeMap<String, String>,
        }
        #[derive(Default, Deserialize)]
        #[serde(rename_all = "camelCase", default)]
        struct Spec {
            volume_mode: String,
            access_modes: BTreeSet<String>,
        }
        #[derive(Default, Deserialize)]
        #[serde(default)]
        struct Status {
            phase: String,
        }
        let PersistentVolumeClaim { metadata, spec, status } = serde_json::from_slice(json)?;
        let claim = Claim {
            labels: metadata.labels,
            phase: status.phase,
            volume_mode: spec.volume_mode,
            access_modes: spec.access_modes,
        };
        Ok(Self { claim: Some(claim), ..self })
    }

    fn of_source(fields: &Map<String, Value>) -> Self {
        let read = |name: &str| fields.get(name).filter(|value| !value.is_null()).cloned();
        Self {
            nfs: read("nfs").map(|source| serde_json::from_value(source).unwrap_or_default()),
            csi: read("csi").map(|source| serde_json::from_value(source).unwrap_or_default()),
            source: VOLUME_TYPES.iter().find(|name| read(name).is_some()).copied(),
            ..Self::default()
        }
    }
}
