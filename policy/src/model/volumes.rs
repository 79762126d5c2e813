//! What happens to volumes: of a backup, of a restore, and by rule.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::shape;
use crate::duration::GoDuration;

/// How the volumes of a backup are saved. What is not said is left to the server.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Volumes {
    /// Whether to take snapshots of volumes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot_volumes: Option<bool>,
    /// Names of SnapshotLocations, one per provider at most.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(example = ["ebs"])]
    pub snapshot_locations: Vec<String>,
    /// Whether Velero's node agent moves the data of CSI snapshots into its repository (`--data-path velero`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot_move_data: Option<bool>,
    /// Whether volumes are copied file by file where no rule says otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default_volumes_to_fs_backup: Option<bool>,
    /// How long to wait for a CSI snapshot to be ready.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "shape::positive_duration", extend("default" = "10m"))]
    pub csi_snapshot_timeout: Option<GoDuration>,
    /// Label of PersistentVolumeClaims by whose value they are snapshotted together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "shape::optional_text", extend("default" = "velero.io/volume-group"))]
    pub volume_group_snapshot_label_key: Option<String>,
    /// What moves snapshot data: `velero` is the built-in data mover.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "shape::optional_text", extend("default" = "velero"))]
    pub data_mover: Option<String>,
    /// How many files of a volume are uploaded at the same time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1024))]
    pub parallel_files_upload: Option<i64>,
    /// Velero's volume policies; the first rule whose conditions hold decides. Does not mix with `policyRef`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<VolumeRule>,
    /// A ConfigMap in the daemon's namespace that holds volume policies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "shape::config_map", example = &"volume-rules")]
    pub policy_ref: Option<ConfigMapReference>,
}

/// One of Velero's volume policies.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct VolumeRule {
    /// What must hold of a volume, all of it. `{}` holds of every volume.
    pub conditions: VolumeConditions,
    /// What happens to the volume.
    pub action: VolumeAction,
}

/// Conditions on a volume.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct VolumeConditions {
    /// Capacity from and to, both included, either may be missing: `10Gi,100Gi`, `10Gi,`, `,10Gi`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"10Gi,100Gi")]
    pub capacity: Option<String>,
    /// Names of storage classes, any of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub storage_class: Option<Vec<String>>,
    /// An NFS volume; `{}` is any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nfs: Option<NfsCondition>,
    /// A CSI volume; `{}` is any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub csi: Option<CsiCondition>,
    /// Types of volumes, spelled as in a pod or PersistentVolume (`emptyDir`, `nfs`, `csi` …), any of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub volume_types: Option<Vec<String>>,
    /// Labels that the volume's claim must have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pvc_labels: Option<BTreeMap<String, String>>,
    /// Phases of the volume's claim, any of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pvc_phase: Option<Vec<String>>,
    /// Volume mode of the claim: Filesystem or Block.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pvc_volume_mode: Option<String>,
    /// Access modes of the claim, exactly these.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pvc_access_modes: Option<Vec<String>>,
}

/// An NFS volume.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct NfsCondition {
    /// Server name or address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server: Option<String>,
    /// Exported path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
}

/// A CSI volume.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct CsiCondition {
    /// Name of the driver.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub driver: Option<String>,
    /// Attributes that the volume must have; they need `driver`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub volume_attributes: BTreeMap<String, String>,
}

/// What happens to a volume.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct VolumeAction {
    /// skip, fs-backup, snapshot or custom.
    #[serde(rename = "type")]
    pub action: VolumeActionType,
    /// Parameters for plug-ins, with `custom`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub parameters: BTreeMap<String, serde_json::Value>,
}

/// What happens to a volume, in Velero's spelling.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum VolumeActionType {
    Skip,
    FsBackup,
    Snapshot,
    Custom,
}

/// A ConfigMap in the daemon's namespace, written as its name or as an object with `name`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum ConfigMapReference {
    Name(String),
    Object { name: String },
}

impl ConfigMapReference {
    pub fn name(&self) -> &str {
        match self {
            ConfigMapReference::Name(name) | ConfigMapReference::Object { name } => name,
        }
    }
}

/// How volumes are restored. What is not said is left to the server.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct RestoreVolumes {
    /// Whether volumes are restored from their snapshots.
    #[serde(default, rename = "restorePVs", skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = true))]
    pub restore_pvs: Option<bool>,
    /// Whether Services keep the node ports they had.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = false))]
    pub preserve_node_ports: Option<bool>,
    /// Whether runs of zero bytes are left as holes in restored files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = false))]
    pub write_sparse_files: Option<bool>,
    /// How many files of a volume are downloaded at the same time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1024))]
    pub parallel_files_download: Option<i64>,
}
