//! The DataDownload that asks for the data of one claim, in Velero's form (reference: velero-restore.md 5.12). Pure.

use std::collections::BTreeMap;

use holdfast_policy::duration::GoDuration;
use holdfast_policy::velero::{DataDownload, DataDownloadSpec, TargetVolumeSpec, labels};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource as _;

use super::transfer::Transfer;

/// Keys of the mover's settings, as Velero names them.
const PARALLEL_FILES: &str = "ParallelFilesDownload";
const SPARSE_FILES: &str = "WriteSparseFiles";
const EXPOSED_WITHIN: GoDuration = GoDuration::from_secs(10 * 60);

/// What Velero finds the move by. Always too long for a label, so always shortened.
pub(super) fn operation(transfer: &Transfer) -> String {
    let restore = transfer.restore.metadata.uid.as_deref().unwrap_or_default();
    labels::short_name(&format!("dd-{restore}.{}", transfer.source_uid))
}

pub(super) fn wanted(transfer: &Transfer) -> DataDownload {
    let Transfer { claim, target, kept, restore, backup, .. } = transfer;
    let name = restore.metadata.name.clone().unwrap_or_default();
    let uid = restore.metadata.uid.clone().unwrap_or_default();
    let own = |text: &str| text.to_owned();
    let uploader = restore.spec.uploader_config.as_ref();
    let parallel = uploader.map(|config| config.parallel_files_download).filter(|files| *files > 0);
    let sparse = uploader.map(|config| config.write_sparse_files.unwrap_or_default());
    DataDownload {
        metadata: ObjectMeta {
            generate_name: Some(format!("{name}-")),
            namespace: restore.metadata.namespace.clone(),
            labels: Some(BTreeMap::from([
                (own(labels::RESTORE_NAME), labels::short_name(&name)),
                (own(labels::RESTORE_UID), uid.clone()),
                (own(labels::ASYNC_OPERATION_ID), operation(transfer)),
            ])),
            owner_references: restore.controller_owner_ref(&()).map(|owner| vec![owner]),
            ..ObjectMeta::default()
        },
        spec: DataDownloadSpec {
            target_volume: TargetVolumeSpec {
                pvc: claim.clone(),
                pv: String::new(),
                namespace: target.clone(),
            },
            backup_storage_location: backup.spec.storage_location.clone().unwrap_or_default(),
            datamover: kept.data_mover.clone(),
            snapshot_id: kept.snapshot.clone().unwrap_or_default(),
            source_namespace: kept.namespace.clone(),
            data_mover_config: sparse
                .map(|sparse| (own(SPARSE_FILES), sparse.to_string()))
                .into_iter()
                .chain(parallel.map(|files| (own(PARALLEL_FILES), files.to_string())))
                .collect(),
            cancel: false,
            operation_timeout: backup.spec.csi_snapshot_timeout_or(EXPOSED_WITHIN),
            node_os: kept.node_os,
            snapshot_size: kept.bytes,
        },
        ..DataDownload::default()
    }
}
