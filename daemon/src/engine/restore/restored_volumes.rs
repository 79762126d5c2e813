//! What a restore tells of the volumes that it brought data back to: the entries of its volume info file, in Velero's form
//! (reference: velero-restore.md 10.4). Capitals that stand out are Velero's.
//!
//! In: transfers that ended, and the claims that this restore created. Out: one entry for each of these claims' volumes.

use holdfast_policy::velero::{PodVolumeRestore, UploaderType};
use serde::Serialize;
use serde_json::Value;

use super::run::Run;

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
    restore_method: Method,
    snapshot_data_moved: bool,
    pvr_info: PodVolumeInfo,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
enum Method {
    PodVolumeRestore,
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
            let position = self.find("persistentvolumeclaims", Some(&source_namespace), &claim);
            if position.is_some_and(|position| self.records.is_created(position)) {
                let namespace = transfer.spec.pod.namespace.as_deref();
                let found = self.read_value("persistentvolumeclaims", namespace, &claim).await;
                // Its volume's name is left out where it is not known, as Velero has it.
                entries.push(entry(claim, found.ok().flatten().as_ref(), transfer));
            }
        }
        entries
    }
}

fn entry(claim: String, found: Option<&Value>, transfer: PodVolumeRestore) -> Entry {
    let phase = transfer.status_phase();
    let PodVolumeRestore { metadata: _, spec, status } = transfer;
    let volume = found.and_then(|claim| claim.pointer("/spec/volumeName")).and_then(Value::as_str);
    Entry {
        pvc_name: claim,
        pvc_namespace: spec.pod.namespace.clone().unwrap_or_default(),
        pv_name: volume.unwrap_or_default().to_owned(),
        restore_method: Method::PodVolumeRestore,
        snapshot_data_moved: false,
        pvr_info: PodVolumeInfo {
            snapshot_handle: spec.snapshot_id,
            size: status.progress.total_bytes,
            uploader_type: spec.uploader_type.unwrap_or(UploaderType::Restic).as_str().to_owned(),
            volume_name: spec.volume,
            pod_name: spec.pod.name.unwrap_or_default(),
            pod_namespace: spec.pod.namespace.unwrap_or_default(),
            node_name: status.node,
            phase: format!("{phase:?}"),
        },
    }
}
