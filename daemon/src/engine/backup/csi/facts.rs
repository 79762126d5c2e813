//! The parts of claims, VolumeSnapshots and VolumeSnapshotContents that decide. Pure.

use std::collections::BTreeMap;

use serde::Deserialize;

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Claim {
    pub(super) metadata: ClaimMetadata,
    pub(super) spec: ClaimSpec,
    pub(super) status: ClaimStatus,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct ClaimMetadata {
    pub(super) uid: String,
    pub(super) labels: BTreeMap<String, String>,
    pub(super) annotations: BTreeMap<String, String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct ClaimSpec {
    pub(super) volume_name: String,
    pub(super) storage_class_name: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct ClaimStatus {
    pub(super) phase: String,
}

impl Claim {
    /// The PersistentVolume that it has.
    pub(super) fn volume(&self) -> Option<&str> {
        let name = self.spec.volume_name.as_str();
        (self.status.phase == "Bound" && !name.is_empty()).then_some(name)
    }
}

/// A VolumeSnapshot.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Snapshot {
    pub(super) status: SnapshotStatus,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct SnapshotStatus {
    bound_volume_snapshot_content_name: String,
    error: Option<Problem>,
}

/// What went wrong, and when.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(super) struct Problem {
    pub(super) message: String,
    time: String,
}

impl Snapshot {
    pub(super) fn content(&self) -> Option<&str> {
        Some(self.status.bound_volume_snapshot_content_name.as_str()).filter(|name| !name.is_empty())
    }

    pub(super) fn problem(&self) -> Option<&str> {
        self.status.error.as_ref().map(|error| error.message.as_str())
    }
}

/// A VolumeSnapshotContent.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Content {
    pub(super) metadata: ContentMetadata,
    pub(super) spec: ContentSpec,
    pub(super) status: ContentStatus,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct ContentMetadata {
    pub(super) name: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct ContentSpec {
    pub(super) driver: String,
    pub(super) deletion_policy: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct ContentStatus {
    snapshot_handle: String,
    /// Bytes.
    pub(super) restore_size: i64,
    pub(super) ready_to_use: Option<bool>,
    pub(super) error: Option<Problem>,
}

impl Content {
    /// The driver's name for the snapshot, once it has cut it.
    pub(super) fn handle(&self) -> Option<&str> {
        Some(self.status.snapshot_handle.as_str()).filter(|handle| !handle.is_empty())
    }

    pub(super) fn problem(&self) -> Option<&str> {
        self.status.error.as_ref().map(|error| error.message.as_str())
    }
}
