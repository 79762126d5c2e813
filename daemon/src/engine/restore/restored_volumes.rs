//! What a restore tells of the volumes that it brought data back to: the entries of its volume info file, in Velero's form
//! (reference: velero-restore.md 10.4). Capitals that stand out are Velero's.
//!
//! In: transfers and moves that ended, what the backup says of its volumes, and the claims and volumes that this restore
//! created. Out: one entry for each of these.

use holdfast_policy::velero::{PodVolumeRestore, UploaderType};
use serde::Serialize;
use serde_json::Value;

use super::data_downloads::DataMovementInfo;
use super::run::Run;
use super::volumes::{CsiSnapshotInfo, NativeSnapshotInfo, Snapshots};

const CLAIMS: &str = "persistentvolumeclaims";

/// A transfer into a claim's volume that has ended.
#[derive(Debug, Clone)]
pub(crate) struct Moved {
    /// In the backup, and the claim's name.
    pub(crate) source_namespace: String,
    pub(crate) claim: String,
    pub(crate) transfer: PodVolumeRestore,
}

/// One volume.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Entry {
    pvc_name: String,
    pvc_namespace: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pv_name: String,
    #[serde(flatten)]
    data: Data,
    snapshot_data_moved: bool,
}

/// Where its data came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "restoreMethod")]
enum Data {
    PodVolumeRestore {
        #[serde(rename = "pvrInfo")]
        info: PodVolumeInfo,
    },
    #[serde(rename = "CSISnapshot")]
    Csi {
        #[serde(rename = "csiSnapshotInfo")]
        info: CsiSnapshotInfo,
    },
    #[serde(rename = "CSISnapshot")]
    MovedCsi {
        #[serde(rename = "snapshotDataMovementInfo")]
        info: DataMovementInfo,
    },
    NativeSnapshot {
        #[serde(rename = "nativeSnapshotInfo")]
        info: NativeSnapshotInfo,
    },
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct PodVolumeInfo {
    snapshot_handle: String,
    size: i64,
    uploader_type: String,
    volume_name: String,
    pod_name: String,
    pod_namespace: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    node_name: Option<String>,
    #[serde(rename = "Phase")]
    phase: String,
}

impl Run {
    pub(super) async fn restored_volumes(&self) -> Vec<Entry> {
        let mut entries = Vec::new();
        for moved in self.files.moved() {
            let Moved { source_namespace, claim, transfer } = moved;
            if self.is_created_claim(&source_namespace, &claim) {
                let namespace = transfer.spec.pod.namespace.clone().unwrap_or_default();
                let data = Data::PodVolumeRestore { info: pod_volume(transfer) };
                entries.push(self.told(namespace, claim, data).await);
            }
        }
        for ended in self.downloads.ended() {
            let (namespace, claim) = ended.claim();
            entries.push(self.told(namespace, claim, Data::MovedCsi { info: ended.movement() }).await);
        }
        let from_snapshots = match self.settings.snapshots {
            Snapshots::Wanted => self.volumes.values().collect(),
            Snapshots::Unwanted => Vec::new(),
        };
        for volume in from_snapshots.into_iter().filter(|volume| !volume.snapshot_data_moved) {
            let (namespace, claim) = (&volume.pvc_namespace, &volume.pvc_name);
            let data = match (&volume.csi_snapshot_info, &volume.native_snapshot_info) {
                (Some(info), _) if self.is_created_claim(namespace, claim) => {
                    Data::Csi { info: info.clone() }
                }
                (_, Some(info)) if self.is_created_volume(&volume.pv_name) => {
                    Data::NativeSnapshot { info: info.clone() }
                }
                _ => continue,
            };
            let namespace = super::plan::target_namespace(&self.settings.mapping, namespace).to_owned();
            entries.push(self.told(namespace, claim.clone(), data).await);
        }
        entries
    }

    fn is_created_claim(&self, source_namespace: &str, claim: &str) -> bool {
        let position = self.find(CLAIMS, Some(source_namespace), claim);
        position.is_some_and(|position| self.records.is_created(position))
    }

    fn is_created_volume(&self, volume: &str) -> bool {
        let position = self.find("persistentvolumes", None, volume);
        position.is_some_and(|position| self.records.is_created(position))
    }

    async fn told(&self, pvc_namespace: String, pvc_name: String, data: Data) -> Entry {
        // Its volume's name is left out where it is not known, as Velero has it.
        let found = self.read_value(CLAIMS, Some(&pvc_namespace), &pvc_name).await.ok().flatten();
        let volume = found.as_ref().and_then(|claim| claim.pointer("/spec/volumeName"));
        Entry {
            pv_name: volume.and_then(Value::as_str).unwrap_or_default().to_owned(),
            pvc_name,
            pvc_namespace,
            snapshot_data_moved: matches!(data, Data::MovedCsi { .. }),
            data,
        }
    }
}

fn pod_volume(transfer: PodVolumeRestore) -> PodVolumeInfo {
    let phase = transfer.status_phase();
    let PodVolumeRestore { metadata: _, spec, status } = transfer;
    PodVolumeInfo {
        snapshot_handle: spec.snapshot_id,
        size: status.progress.total_bytes,
        uploader_type: spec.uploader_type.unwrap_or(UploaderType::Restic).as_str().to_owned(),
        volume_name: spec.volume,
        pod_name: spec.pod.name.unwrap_or_default(),
        pod_namespace: spec.pod.namespace.unwrap_or_default(),
        node_name: status.node,
        phase: format!("{phase:?}"),
    }
}
