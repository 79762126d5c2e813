//! The PodVolumeRestore that asks for one volume. Pure.

use holdfast_policy::velero;
use holdfast_policy::velero::{PodVolumeRestore, PodVolumeRestoreSpec, labels};
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource as _;

use super::Kept;
use super::transfer::Pod;

/// Keys of the uploader's settings, as Velero names them.
const PARALLEL_FILES: &str = "ParallelFilesDownload";
const SPARSE_FILES: &str = "WriteSparseFiles";

/// `claim` is the UID of the volume's claim, if it has one.
pub(super) fn wanted(
    restore: &velero::Restore,
    location: &str,
    pod: &Pod,
    kept: &Kept,
    claim: Option<String>,
) -> PodVolumeRestore {
    let name = restore.metadata.name.clone().unwrap_or_default();
    let uid = restore.metadata.uid.clone().unwrap_or_default();
    let own = |text: &str| text.to_owned();
    let uploader = restore.spec.uploader_config.as_ref();
    let parallel = uploader.map(|config| config.parallel_files_download).filter(|files| *files > 0);
    let sparse = uploader.and_then(|config| config.write_sparse_files);
    PodVolumeRestore {
        metadata: ObjectMeta {
            generate_name: Some(format!("{name}-")),
            namespace: restore.metadata.namespace.clone(),
            labels: Some(
                [
                    (own(labels::RESTORE_NAME), labels::short_name(&name)),
                    (own(labels::RESTORE_UID), uid.clone()),
                    (own(labels::POD_UID), pod.uid.clone()),
                ]
                .into_iter()
                .chain(claim.map(|claim| (own(labels::PVC_UID), claim)))
                .collect(),
            ),
            owner_references: restore.controller_owner_ref(&()).map(|owner| vec![owner]),
            ..ObjectMeta::default()
        },
        spec: PodVolumeRestoreSpec {
            pod: ObjectReference {
                kind: Some(own("Pod")),
                namespace: Some(pod.namespace.clone()),
                name: Some(pod.name.clone()),
                uid: Some(pod.uid.clone()),
                ..ObjectReference::default()
            },
            volume: kept.volume.clone(),
            backup_storage_location: own(location),
            repo_identifier: String::new(),
            uploader_type: Some(kept.uploader),
            snapshot_id: kept.snapshot.clone(),
            source_namespace: kept.namespace.clone(),
            uploader_settings: parallel
                .map(|files| (own(PARALLEL_FILES), files.to_string()))
                .into_iter()
                .chain(sparse.map(|sparse| (own(SPARSE_FILES), sparse.to_string())))
                .collect(),
            cancel: false,
            snapshot_size: kept.bytes,
        },
        ..PodVolumeRestore::default()
    }
}
