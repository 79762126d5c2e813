//! Backup: what to back up, and how far that has come.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::TypedLocalObjectReference;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, Time};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::hooks::BackupHooks;
use super::kind::kind;
use super::parts;
use super::text_enum::text_enum;
use super::wire::{empty_as_none, is_default, null_as_default};
use crate::duration::GoDuration;

kind! {
    #[doc = "A backup of part of the cluster, or of all of it, into a storage location."]
    Backup in "v1" as "backups" { spec: BackupSpec, status: BackupStatus }
}

/// What to back up, and how.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct BackupSpec {
    /// Metadata for the backups that a Schedule makes from this template.
    #[serde(skip_serializing_if = "is_default")]
    pub metadata: BackupTemplateMetadata,
    /// Namespaces to back up, as names or globs. Empty or * for all.
    #[serde(deserialize_with = "null_as_default", skip_serializing_if = "is_default")]
    #[schemars(extend("nullable" = true))]
    pub included_namespaces: Vec<String>,
    /// Namespaces to leave out, as names or globs.
    #[serde(deserialize_with = "null_as_default", skip_serializing_if = "is_default")]
    #[schemars(extend("nullable" = true))]
    pub excluded_namespaces: Vec<String>,
    /// Resource types to back up, whatever their scope. Not to be mixed with the lists for one scope.
    #[serde(deserialize_with = "null_as_default", skip_serializing_if = "is_default")]
    #[schemars(extend("nullable" = true))]
    pub included_resources: Vec<String>,
    /// Resource types to leave out, whatever their scope. Not to be mixed with the lists for one scope.
    #[serde(deserialize_with = "null_as_default", skip_serializing_if = "is_default")]
    #[schemars(extend("nullable" = true))]
    pub excluded_resources: Vec<String>,
    /// Cluster-scoped resource types to back up.
    #[serde(deserialize_with = "null_as_default", skip_serializing_if = "is_default")]
    #[schemars(extend("nullable" = true))]
    pub included_cluster_scoped_resources: Vec<String>,
    /// Cluster-scoped resource types to leave out, or * for all of them.
    #[serde(deserialize_with = "null_as_default", skip_serializing_if = "is_default")]
    #[schemars(extend("nullable" = true))]
    pub excluded_cluster_scoped_resources: Vec<String>,
    /// Namespaced resource types to back up. Empty or * for all.
    #[serde(deserialize_with = "null_as_default", skip_serializing_if = "is_default")]
    #[schemars(extend("nullable" = true))]
    pub included_namespace_scoped_resources: Vec<String>,
    /// Namespaced resource types to leave out, or * for all of them.
    #[serde(deserialize_with = "null_as_default", skip_serializing_if = "is_default")]
    #[schemars(extend("nullable" = true))]
    pub excluded_namespace_scoped_resources: Vec<String>,
    /// Only objects with these labels. Not to be mixed with orLabelSelectors.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "parts::label_selector", extend("nullable" = true))]
    pub label_selector: Option<LabelSelector>,
    /// Only objects that at least one of these selects.
    #[serde(deserialize_with = "null_as_default", skip_serializing_if = "is_default")]
    #[schemars(schema_with = "parts::label_selectors", extend("nullable" = true))]
    pub or_label_selectors: Vec<LabelSelector>,
    /// Whether to snapshot persistent volumes. Unset: wherever that is possible.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("nullable" = true))]
    pub snapshot_volumes: Option<bool>,
    /// How long to keep the backup, like 720h0m0s. Unset or zero: as long as the server is told to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ttl: Option<GoDuration>,
    /// Label key whose value says which volume claims are snapshotted together.
    #[serde(deserialize_with = "empty_as_none", skip_serializing_if = "Option::is_none")]
    pub volume_group_snapshot_label_key: Option<String>,
    /// Whether to back up cluster-scoped objects. Unset: those that the chosen namespaced objects need.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("nullable" = true))]
    pub include_cluster_resources: Option<bool>,
    /// Commands to run in pods before and after they are backed up.
    #[serde(skip_serializing_if = "is_default")]
    pub hooks: BackupHooks,
    /// Name of the BackupStorageLocation to write to. Unset: the default one.
    #[serde(deserialize_with = "empty_as_none", skip_serializing_if = "Option::is_none")]
    pub storage_location: Option<String>,
    /// Names of the VolumeSnapshotLocations to use, at most one for each provider.
    #[serde(deserialize_with = "null_as_default", skip_serializing_if = "is_default")]
    pub volume_snapshot_locations: Vec<String>,
    /// Former name of defaultVolumesToFsBackup.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("nullable" = true))]
    pub default_volumes_to_restic: Option<bool>,
    /// Whether pod volumes are backed up file by file unless a pod opts out. Unset: as the server is told to.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("nullable" = true))]
    pub default_volumes_to_fs_backup: Option<bool>,
    /// Objects to back up first: for each resource type a comma-separated list of names, with their namespace
    /// in front where there is one.
    #[serde(deserialize_with = "null_as_default", skip_serializing_if = "is_default")]
    #[schemars(extend("nullable" = true))]
    pub ordered_resources: BTreeMap<String, String>,
    /// How long to wait for a CSI snapshot. Unset or zero: as long as the server is told to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub csi_snapshot_timeout: Option<GoDuration>,
    /// How long to wait for operations that go on after an item is stored. Unset or zero: the server's default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub item_operation_timeout: Option<GoDuration>,
    /// ConfigMap with volume policies and filters.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "parts::typed_local_reference")]
    pub resource_policy: Option<TypedLocalObjectReference>,
    /// Whether the data of snapshots is moved into the storage location. Unset: as the server is told to.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("nullable" = true))]
    pub snapshot_move_data: Option<bool>,
    /// Who moves the data of snapshots. Unset or velero: the built-in data mover.
    #[serde(deserialize_with = "empty_as_none", skip_serializing_if = "Option::is_none")]
    pub datamover: Option<String>,
    /// Settings of the uploader of files.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("nullable" = true))]
    pub uploader_config: Option<BackupUploaderConfig>,
}

/// What the template of a Schedule gives its backups.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct BackupTemplateMetadata {
    /// Labels that the backups get in place of the Schedule's own.
    #[serde(deserialize_with = "null_as_default", skip_serializing_if = "is_default")]
    pub labels: BTreeMap<String, String>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct BackupUploaderConfig {
    /// How many files to upload at once.
    #[serde(skip_serializing_if = "is_default")]
    pub parallel_files_upload: i64,
}

text_enum! {
    #[derive(Default)]
    BackupPhase {
        #[default]
        #[serde(alias = "")]
        New = "New",
        Queued = "Queued",
        ReadyToStart = "ReadyToStart",
        FailedValidation = "FailedValidation",
        InProgress = "InProgress",
        WaitingForPluginOperations = "WaitingForPluginOperations",
        WaitingForPluginOperationsPartiallyFailed = "WaitingForPluginOperationsPartiallyFailed",
        Finalizing = "Finalizing",
        FinalizingPartiallyFailed = "FinalizingPartiallyFailed",
        Completed = "Completed",
        PartiallyFailed = "PartiallyFailed",
        Failed = "Failed",
        Deleting = "Deleting",
    }
}

/// How far the backup has come.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct BackupStatus {
    /// Major number of the format, for old readers. See formatVersion.
    #[serde(skip_serializing_if = "is_default")]
    pub version: i64,
    /// Version of the archive's format.
    #[serde(deserialize_with = "empty_as_none", skip_serializing_if = "Option::is_none")]
    pub format_version: Option<String>,
    /// When the backup may be deleted.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("nullable" = true))]
    pub expiration: Option<Time>,
    /// State of the backup. Empty is New.
    #[serde(deserialize_with = "empty_as_none", skip_serializing_if = "Option::is_none")]
    pub phase: Option<BackupPhase>,
    /// Place in the queue while the backup is Queued, counted from one.
    #[serde(skip_serializing_if = "is_default")]
    pub queue_position: i64,
    /// What is wrong with the spec.
    #[serde(deserialize_with = "null_as_default", skip_serializing_if = "is_default")]
    #[schemars(extend("nullable" = true))]
    pub validation_errors: Vec<String>,
    /// When the backup began to run.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("nullable" = true))]
    pub start_timestamp: Option<Time>,
    /// When the backup ended, with or without success.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("nullable" = true))]
    pub completion_timestamp: Option<Time>,
    /// Volume snapshots tried through providers' own interfaces.
    #[serde(skip_serializing_if = "is_default")]
    pub volume_snapshots_attempted: i64,
    /// Those of them that succeeded.
    #[serde(skip_serializing_if = "is_default")]
    pub volume_snapshots_completed: i64,
    /// Why the backup as a whole failed.
    #[serde(deserialize_with = "empty_as_none", skip_serializing_if = "Option::is_none")]
    pub failure_reason: Option<String>,
    /// Number of warnings. Their texts are in the bucket.
    #[serde(skip_serializing_if = "is_default")]
    pub warnings: i64,
    /// Number of errors. Their texts are in the bucket.
    #[serde(skip_serializing_if = "is_default")]
    pub errors: i64,
    /// Items found and items done.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("nullable" = true))]
    pub progress: Option<BackupProgress>,
    /// CSI volume snapshots tried.
    #[serde(skip_serializing_if = "is_default")]
    pub csi_volume_snapshots_attempted: i64,
    /// Those of them that succeeded.
    #[serde(skip_serializing_if = "is_default")]
    pub csi_volume_snapshots_completed: i64,
    /// Operations started that go on after an item is stored.
    #[serde(skip_serializing_if = "is_default")]
    pub backup_item_operations_attempted: i64,
    /// Those of them that succeeded.
    #[serde(skip_serializing_if = "is_default")]
    pub backup_item_operations_completed: i64,
    /// Those of them that failed.
    #[serde(skip_serializing_if = "is_default")]
    pub backup_item_operations_failed: i64,
    /// Hooks run and hooks failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("nullable" = true))]
    pub hook_status: Option<HookStatus>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct BackupProgress {
    /// Items known so far. Grows while actions add items of their own.
    #[serde(skip_serializing_if = "is_default")]
    pub total_items: i64,
    /// Items done so far.
    #[serde(skip_serializing_if = "is_default")]
    pub items_backed_up: i64,
}

/// Counts of hooks, the same for backups and restores.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct HookStatus {
    /// Hooks that were due.
    #[serde(skip_serializing_if = "is_default")]
    pub hooks_attempted: i64,
    /// Those of them that failed.
    #[serde(skip_serializing_if = "is_default")]
    pub hooks_failed: i64,
}

impl BackupPhase {
    /// Whether nothing more happens to the backup until somebody deletes it.
    pub fn has_ended(self) -> bool {
        match self {
            Self::FailedValidation | Self::Completed | Self::PartiallyFailed | Self::Failed => true,
            Self::New
            | Self::Queued
            | Self::ReadyToStart
            | Self::InProgress
            | Self::WaitingForPluginOperations
            | Self::WaitingForPluginOperationsPartiallyFailed
            | Self::Finalizing
            | Self::FinalizingPartiallyFailed
            | Self::Deleting => false,
        }
    }
}

impl Backup {
    /// The phase, which is New until somebody sets it.
    pub fn status_phase(&self) -> BackupPhase {
        self.status.phase.unwrap_or_default()
    }
}

impl BackupSpec {
    pub fn ttl_or(&self, default: GoDuration) -> GoDuration {
        GoDuration::set_or(self.ttl, default)
    }

    pub fn csi_snapshot_timeout_or(&self, default: GoDuration) -> GoDuration {
        GoDuration::set_or(self.csi_snapshot_timeout, default)
    }

    pub fn item_operation_timeout_or(&self, default: GoDuration) -> GoDuration {
        GoDuration::set_or(self.item_operation_timeout, default)
    }
}
