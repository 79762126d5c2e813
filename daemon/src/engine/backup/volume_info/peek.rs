//! The parts of pods and PersistentVolumes that say which volumes there are.

use std::collections::BTreeMap;

use serde::Deserialize;

#[derive(Deserialize)]
pub(super) struct PodPeek {
    #[serde(default)]
    pub(super) metadata: PodMetadata,
    #[serde(default)]
    pub(super) spec: PodSpec,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct PodMetadata {
    pub(super) annotations: BTreeMap<String, String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct PodSpec {
    pub(super) volumes: Vec<PodVolume>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::engine::backup) struct PodVolume {
    pub(in crate::engine::backup) name: String,
    persistent_volume_claim: Option<PodClaim>,
    host_path: Option<serde::de::IgnoredAny>,
    secret: Option<serde::de::IgnoredAny>,
    config_map: Option<serde::de::IgnoredAny>,
    projected: Option<serde::de::IgnoredAny>,
    #[serde(rename = "downwardAPI")]
    downward_api: Option<serde::de::IgnoredAny>,
}

impl PodVolume {
    /// Volumes whose content is in other objects, or on the node, are never read file by file.
    pub(in crate::engine::backup) fn can_be_read(&self) -> bool {
        let Self { name, persistent_volume_claim: _, host_path, secret, config_map, projected, downward_api } =
            self;
        let elsewhere = [host_path, secret, config_map, projected, downward_api];
        elsewhere.iter().all(|source| source.is_none()) && !name.starts_with("default-token")
    }

    pub(in crate::engine::backup) fn claim_name(&self) -> Option<&str> {
        self.persistent_volume_claim.as_ref().map(|claim| claim.claim_name.as_str())
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PodClaim {
    claim_name: String,
}

#[derive(Deserialize)]
pub(super) struct VolumePeek {
    #[serde(default)]
    pub(super) metadata: VolumeMetadata,
    #[serde(default)]
    pub(super) spec: VolumeSpec,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct VolumeMetadata {
    pub(super) labels: Option<BTreeMap<String, String>>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct VolumeSpec {
    pub(super) claim_ref: Option<ClaimReference>,
    pub(super) csi: Option<CsiSource>,
    pub(super) persistent_volume_reclaim_policy: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct CsiSource {
    pub(super) driver: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct ClaimReference {
    pub(super) namespace: String,
    pub(super) name: String,
}
