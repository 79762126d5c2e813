//! One entry of the list of native snapshots beside an archive, in Velero's form (reference: velero-backup.md 1.8).

use serde::{Deserialize, Serialize};

use crate::snapshotters::{Binding, Subject, VolumeFacts};

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotRecord {
    pub spec: SnapshotSpec,
    pub status: SnapshotStatus,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct SnapshotSpec {
    pub backup_name: String,
    #[serde(rename = "backupUID")]
    pub backup_uid: String,
    /// Name of the VolumeSnapshotLocation.
    pub location: String,
    pub persistent_volume_name: String,
    #[serde(rename = "providerVolumeID")]
    pub provider_volume_id: String,
    pub volume_type: String,
    #[serde(rename = "volumeAZ", skip_serializing_if = "String::is_empty")]
    pub volume_az: String,
    #[serde(rename = "volumeIOPS", skip_serializing_if = "Option::is_none")]
    pub volume_iops: Option<i64>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SnapshotStatus {
    #[serde(rename = "providerSnapshotID", default, skip_serializing_if = "String::is_empty")]
    pub provider_snapshot_id: String,
    #[serde(default)]
    pub phase: Phase,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Phase {
    #[default]
    New,
    Completed,
    Failed,
}

impl Phase {
    pub fn name(self) -> &'static str {
        match self {
            Phase::New => "New",
            Phase::Completed => "Completed",
            Phase::Failed => "Failed",
        }
    }
}

impl SnapshotRecord {
    /// Whether a volume can be made of it.
    pub fn is_whole(&self) -> bool {
        self.status.phase == Phase::Completed && !self.status.provider_snapshot_id.is_empty()
    }

    pub fn binding(&self) -> Binding {
        let SnapshotSpec { backup_name, backup_uid, persistent_volume_name, .. } = &self.spec;
        Binding {
            backup: backup_name.clone(),
            backup_uid: backup_uid.clone(),
            volume: persistent_volume_name.clone(),
            labels: Default::default(),
        }
    }

    pub fn subject(&self) -> Subject {
        Subject { volume: self.spec.provider_volume_id.clone(), zone: self.spec.volume_az.clone() }
    }

    pub fn facts(&self) -> VolumeFacts {
        VolumeFacts { volume_type: self.spec.volume_type.clone(), iops: self.spec.volume_iops }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_form_is_velero_s() {
        let stored = json!({
            "spec": {
                "backupName": "one", "backupUID": "u", "location": "ebs", "persistentVolumeName": "pv-1",
                "providerVolumeID": "vol-1", "volumeType": "gp3", "volumeAZ": "eu-central-1a", "volumeIOPS": 3000,
            },
            "status": {"providerSnapshotID": "snap-1", "phase": "Completed"},
        });
        let record: SnapshotRecord = serde_json::from_value(stored.clone()).unwrap();
        assert!(record.is_whole());
        assert_eq!(serde_json::to_value(&record).unwrap(), stored);
        let failed = json!({"spec": {"persistentVolumeName": "pv-1"}, "status": {"phase": "Failed"}});
        let failed: SnapshotRecord = serde_json::from_value(failed).unwrap();
        assert!(!failed.is_whole());
    }
}
