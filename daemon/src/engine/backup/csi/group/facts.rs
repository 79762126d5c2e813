//! The parts of VolumeGroupSnapshots, their contents and their members that decide. Pure.

use serde::Deserialize;

use super::super::facts::Problem;

/// A VolumeGroupSnapshot.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct GroupSnapshot {
    pub(super) metadata: Metadata,
    status: GroupStatus,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct GroupStatus {
    bound_volume_group_snapshot_content_name: String,
    error: Option<Problem>,
}

impl GroupSnapshot {
    pub(super) fn content(&self) -> Option<&str> {
        Some(self.status.bound_volume_group_snapshot_content_name.as_str()).filter(|name| !name.is_empty())
    }

    pub(super) fn problem(&self) -> Option<&str> {
        self.status.error.as_ref().map(|error| error.message.as_str())
    }
}

/// A VolumeGroupSnapshotContent.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct GroupContent {
    status: ContentStatus,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ContentStatus {
    volume_group_snapshot_handle: String,
    error: Option<Problem>,
}

impl GroupContent {
    pub(super) fn handle(&self) -> Option<&str> {
        Some(self.status.volume_group_snapshot_handle.as_str()).filter(|handle| !handle.is_empty())
    }

    pub(super) fn problem(&self) -> Option<&str> {
        self.status.error.as_ref().map(|error| error.message.as_str())
    }
}

/// A VolumeSnapshot that may be a group's.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct MemberSnapshot {
    pub(super) metadata: Metadata,
    spec: MemberSpec,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct MemberSpec {
    source: MemberSource,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct MemberSource {
    persistent_volume_claim_name: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Metadata {
    pub(super) name: String,
    pub(super) uid: String,
    owner_references: Vec<Owner>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Owner {
    uid: String,
}

impl MemberSnapshot {
    pub(super) fn is_of(&self, group_uid: &str) -> bool {
        self.metadata.owner_references.iter().any(|owner| owner.uid == group_uid)
    }

    pub(super) fn claim(&self) -> &str {
        &self.spec.source.persistent_volume_claim_name
    }
}

/// A PersistentVolume.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct PersistentVolume {
    spec: VolumeSpec,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct VolumeSpec {
    csi: CsiSource,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct CsiSource {
    volume_handle: String,
}

impl PersistentVolume {
    /// The driver's name for the volume.
    pub(super) fn handle(self) -> String {
        self.spec.csi.volume_handle
    }
}
