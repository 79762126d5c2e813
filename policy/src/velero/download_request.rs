//! DownloadRequest: the wish for an address from which a file of a backup or a restore can be fetched.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::kind::kind;
use super::text_enum::text_enum;
use super::wire::empty_as_none;

kind! {
    #[doc = "The wish for a URL that a file of a backup or a restore can be downloaded from for a while."]
    DownloadRequest in "v1" as "downloadrequests" { spec: DownloadRequestSpec, status: DownloadRequestStatus }
}

/// Which file is wanted.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DownloadRequestSpec {
    /// The file. An object without spec has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(required)]
    pub target: Option<DownloadTarget>,
}

/// A file of a backup or a restore.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DownloadTarget {
    /// Which of the files.
    pub kind: DownloadTargetKind,
    /// Name of the Backup or the Restore.
    pub name: String,
}

text_enum! {
    DownloadTargetKind {
        BackupLog = "BackupLog",
        BackupContents = "BackupContents",
        BackupVolumeSnapshots = "BackupVolumeSnapshots",
        BackupItemOperations = "BackupItemOperations",
        BackupResourceList = "BackupResourceList",
        BackupResults = "BackupResults",
        RestoreLog = "RestoreLog",
        RestoreResults = "RestoreResults",
        RestoreResourceList = "RestoreResourceList",
        RestoreItemOperations = "RestoreItemOperations",
        CsiBackupVolumeSnapshots = "CSIBackupVolumeSnapshots",
        CsiBackupVolumeSnapshotContents = "CSIBackupVolumeSnapshotContents",
        BackupVolumeInfos = "BackupVolumeInfos",
        RestoreVolumeInfo = "RestoreVolumeInfo",
    }
}

text_enum! {
    #[derive(Default)]
    DownloadRequestPhase {
        #[default]
        #[serde(alias = "")]
        New = "New",
        Processed = "Processed",
    }
}

/// The address, once there is one.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct DownloadRequestStatus {
    /// State of the request. Empty is New.
    #[serde(deserialize_with = "empty_as_none", skip_serializing_if = "Option::is_none")]
    pub phase: Option<DownloadRequestPhase>,
    /// URL to fetch the file from.
    #[serde(
        rename = "downloadURL",
        deserialize_with = "empty_as_none",
        skip_serializing_if = "Option::is_none"
    )]
    pub download_url: Option<String>,
    /// When the URL stops working and the request is deleted.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("nullable" = true))]
    pub expiration: Option<Time>,
}

impl DownloadRequest {
    /// The phase, which is New until somebody sets it.
    pub fn status_phase(&self) -> DownloadRequestPhase {
        self.status.phase.unwrap_or_default()
    }
}
