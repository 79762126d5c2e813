//! Keys of labels, annotations and finalizers that Velero's objects carry, and the rule for long label values.

use sha2::{Digest, Sha256};

const LABEL_VALUE_LIMIT: usize = 63;
const HASH_LENGTH: usize = 6;

// Which object belongs to which.
/// Label: the backup an object was made for, or restored from.
pub const BACKUP_NAME: &str = "velero.io/backup-name";
/// Label: the UID of that backup.
pub const BACKUP_UID: &str = "velero.io/backup-uid";
/// Label: the restore that made an object.
pub const RESTORE_NAME: &str = "velero.io/restore-name";
/// Label: the UID of that restore.
pub const RESTORE_UID: &str = "velero.io/restore-uid";
/// Label: the schedule that made a Backup. Its value is never shortened.
pub const SCHEDULE_NAME: &str = "velero.io/schedule-name";
/// Label: the storage location of a Backup or a BackupRepository.
pub const STORAGE_LOCATION: &str = "velero.io/storage-location";
/// Label: the namespace whose volumes a BackupRepository holds.
pub const VOLUME_NAMESPACE: &str = "velero.io/volume-namespace";
/// Label: the uploader a BackupRepository belongs to.
pub const REPOSITORY_TYPE: &str = "velero.io/repository-type";
/// Label: the repository that a maintenance Job works on.
pub const REPOSITORY_NAME: &str = "velero.io/repo-name";
/// Label: the pod of a PodVolumeRestore.
pub const POD_UID: &str = "velero.io/pod-uid";
/// Label: the volume claim of a data transfer.
pub const PVC_UID: &str = "velero.io/pvc-uid";
/// Annotation: the volume claim of a PodVolumeBackup.
pub const PVC_NAME: &str = "velero.io/pvc-name";
/// Label: namespace and name of a volume claim, joined by a dot.
pub const PVC_NAMESPACE_NAME: &str = "velero.io/pvc-namespace-name";
/// Label: the operation that a DataUpload or a DataDownload carries out.
pub const ASYNC_OPERATION_ID: &str = "velero.io/async-operation-id";
/// Label: what a ConfigMap made by Velero is for.
pub const RESOURCE_USAGE: &str = "velero.io/resource-usage";
/// The value of [`RESOURCE_USAGE`] on the result of a DataUpload.
pub const RESOURCE_USAGE_DATA_UPLOAD: &str = "DataUpload";

// Data transfers.
/// Label: the DataUpload that a data mover pod works for.
pub const DATA_UPLOAD: &str = "velero.io/data-upload";
/// Label: the DataDownload that a data mover pod works for.
pub const DATA_DOWNLOAD: &str = "velero.io/data-download";
/// Label: the PodVolumeBackup that a data mover pod works for.
pub const POD_VOLUME_BACKUP: &str = "velero.io/pod-volume-backup";
/// Label: the PodVolumeRestore that a data mover pod works for.
pub const POD_VOLUME_RESTORE: &str = "velero.io/pod-volume-restore";
/// Label, `true`: a ConfigMap that keeps a snapshot's identity until it is deleted.
pub const DATA_UPLOAD_SNAPSHOT_INFO: &str = "velero.io/data-upload-snapshot-info";
/// Annotation: the DataUpload that a restored claim's data comes from.
pub const DATA_UPLOAD_NAME: &str = "velero.io/data-upload-name";
/// Label, `true`: the volume of a transfer is being made accessible.
pub const EXPOSE_ON_GOING: &str = "velero.io/expose-on-going";
/// Label: the group of pods that make volumes accessible.
pub const EXPOSER_POD_GROUP: &str = "velero.io/exposer-pod-group";
/// The value of [`EXPOSER_POD_GROUP`] on pods that read a snapshot.
pub const EXPOSER_POD_GROUP_SNAPSHOT: &str = "snapshot-exposer";
/// The value of [`EXPOSER_POD_GROUP`] on pods that fill a volume.
pub const EXPOSER_POD_GROUP_RESTORE: &str = "generic-restore-exposer";
/// Label: Secrets and ConfigMaps copied for one transfer; the value is its UID.
pub const BACKUP_PVC_SECRET: &str = "velero.io/backup-pvc-secret";
/// Annotation on Backups and Restores: how long file system transfers may take.
pub const POD_VOLUME_TIMEOUT: &str = "velero.io/pod-volume-timeout";
/// Label of a moved volume and selector of its claim, which keeps the two apart until the data is there.
pub const DYNAMIC_PV_RESTORE: &str = "velero.io/dynamic-pv-restore";

// What a Backup remembers.
/// Annotation on a Backup: the source cluster's version.
pub const SOURCE_CLUSTER_GIT_VERSION: &str = "velero.io/source-cluster-k8s-gitversion";
/// Annotation on a Backup: the major number of that version.
pub const SOURCE_CLUSTER_MAJOR_VERSION: &str = "velero.io/source-cluster-k8s-major-version";
/// Annotation on a Backup: the minor number of that version.
pub const SOURCE_CLUSTER_MINOR_VERSION: &str = "velero.io/source-cluster-k8s-minor-version";
/// Annotation on a Backup: how long plugins may wait for a resource.
pub const RESOURCE_TIMEOUT: &str = "velero.io/resource-timeout";
/// Annotation on a Backup: the ConfigMap of volume policies that holds for all backups.
pub const GLOBAL_VOLUME_POLICY: &str = "velero.io/global-backup-volume-policy-configmap";
/// Label on a Backup: why it can't be deleted though it has expired.
pub const GC_FAILURE: &str = "velero.io/gc-failure";

// What is backed up and restored.
/// Label, `true`: leave the object out of every backup.
pub const EXCLUDE_FROM_BACKUP: &str = "velero.io/exclude-from-backup";
/// Annotation that an item action sets on what it returns: leave the item out.
pub const SKIP_FROM_BACKUP: &str = "velero.io/skip-from-backup";
/// Annotation that an item action sets: its additional items pass the backup's filters.
pub const BACKUP_MUST_INCLUDE_ADDITIONAL_ITEMS: &str = "backup.velero.io/must-include-additional-items";
/// Annotation that an item action sets: its additional items pass the restore's filters.
pub const RESTORE_MUST_INCLUDE_ADDITIONAL_ITEMS: &str = "restore.velero.io/must-include-additional-items";
/// Annotation on a claim: its volume is none of a CSI driver.
pub const SKIPPED_NO_CSI_PV: &str = "backup.velero.io/skipped-no-csi-pv";
/// Annotation on a Pod: volumes whose files are backed up.
pub const BACKUP_VOLUMES: &str = "backup.velero.io/backup-volumes";
/// Annotation on a Pod: volumes whose files are not backed up.
pub const BACKUP_VOLUMES_EXCLUDES: &str = "backup.velero.io/backup-volumes-excludes";
/// Prefix of annotations on a Pod, one a volume: the snapshot of its files (before there were PodVolumeBackups).
pub const POD_VOLUME_SNAPSHOT_PREFIX: &str = "snapshot.velero.io/";
/// Annotation on a restored object: whether its status is restored, whatever the Restore says.
pub const RESTORE_STATUS: &str = "velero.io/restore-status";
/// Annotation on a volume that a restore had to rename.
pub const ORIGINAL_PV_NAME: &str = "velero.io/original-pv-name";
/// Label on ConfigMaps that configure an action.
pub const PLUGIN_CONFIG: &str = "velero.io/plugin-config";

// Snapshots.
/// Label on claims that are snapshotted together. A Backup may name another key.
pub const VOLUME_GROUP: &str = "velero.io/volume-group";
/// Label and annotation on a claim in the archive: its VolumeSnapshot.
pub const VOLUME_SNAPSHOT_NAME: &str = "velero.io/volume-snapshot-name";
/// Annotation on a VolumeSnapshot in the archive: the storage system's name for it.
pub const CSI_SNAPSHOT_HANDLE: &str = "velero.io/csi-volumesnapshot-handle";
/// Annotation on a VolumeSnapshot in the archive: the size of a volume made from it.
pub const CSI_SNAPSHOT_RESTORE_SIZE: &str = "velero.io/csi-volumesnapshot-restore-size";
/// Annotation on a VolumeSnapshot in the archive: its driver.
pub const CSI_DRIVER_NAME: &str = "velero.io/csi-driver-name";
/// Annotation on a VolumeSnapshot in the archive: its content's deletion policy.
pub const CSI_CONTENT_DELETION_POLICY: &str = "velero.io/csi-vsc-deletion-policy";
/// Annotation on a VolumeSnapshot in the archive: the storage system's name for its group.
pub const CSI_GROUP_SNAPSHOT_HANDLE: &str = "velero.io/csi-volumegroupsnapshot-handle";
/// Label on the class to use for snapshots, and annotation on a claim with the class's name. With `_` and a
/// driver's name in lower case it is an annotation on a Backup.
pub const CSI_SNAPSHOT_CLASS: &str = "velero.io/csi-volumesnapshot-class";
/// Label on the class to use for group snapshots. With `_` and a driver's name it is an annotation on a Backup.
pub const CSI_GROUP_SNAPSHOT_CLASS: &str = "velero.io/csi-volumegroupsnapshot-class";
/// Annotation on a claim: the class of its group snapshot. Spelt unlike the label on the class.
pub const CSI_PVC_GROUP_SNAPSHOT_CLASS: &str = "velero.io/csi-volume-group-snapshot-class";

// Hooks, as annotations on a Pod. Backup hooks may have `pre.` or `post.` in front of the whole key.
pub const BACKUP_HOOK_CONTAINER: &str = "hook.backup.velero.io/container";
pub const BACKUP_HOOK_COMMAND: &str = "hook.backup.velero.io/command";
pub const BACKUP_HOOK_ON_ERROR: &str = "hook.backup.velero.io/on-error";
pub const BACKUP_HOOK_TIMEOUT: &str = "hook.backup.velero.io/timeout";
pub const RESTORE_HOOK_CONTAINER: &str = "post.hook.restore.velero.io/container";
pub const RESTORE_HOOK_COMMAND: &str = "post.hook.restore.velero.io/command";
pub const RESTORE_HOOK_ON_ERROR: &str = "post.hook.restore.velero.io/on-error";
pub const RESTORE_HOOK_EXEC_TIMEOUT: &str = "post.hook.restore.velero.io/exec-timeout";
pub const RESTORE_HOOK_WAIT_TIMEOUT: &str = "post.hook.restore.velero.io/wait-timeout";
pub const RESTORE_HOOK_WAIT_FOR_READY: &str = "post.hook.restore.velero.io/wait-for-ready";
pub const INIT_HOOK_CONTAINER_IMAGE: &str = "init.hook.restore.velero.io/container-image";
pub const INIT_HOOK_CONTAINER_NAME: &str = "init.hook.restore.velero.io/container-name";
pub const INIT_HOOK_COMMAND: &str = "init.hook.restore.velero.io/command";
pub const INIT_HOOK_TIMEOUT: &str = "init.hook.restore.velero.io/timeout";

// What the installer marks.
/// Label on everything that belongs to the installation, the CRDs among it.
pub const COMPONENT: &str = "component";
/// The value of [`COMPONENT`].
pub const COMPONENT_VELERO: &str = "velero";

// Finalizers.
/// On a Restore, until its files in the bucket are deleted.
pub const RESTORE_FINALIZER: &str = "restores.velero.io/external-resources-finalizer";
/// On a DataUpload or a DataDownload, until it has ended.
pub const DATA_TRANSFER_FINALIZER: &str = "velero.io/data-upload-download-finalizer";
/// On a PodVolumeBackup or a PodVolumeRestore, until it has ended.
pub const POD_VOLUME_FINALIZER: &str = "velero.io/pod-volume-finalizer";
/// On the content of a snapshot while its data is moved.
pub const SNAPSHOT_CONTENT_FINALIZER: &str = "velero.io/volume-snapshot-content-protect-finalizer";

/// `name` as a label value: what is longer than a label may be loses its end to a hash of the whole.
pub fn short_name(name: &str) -> String {
    if name.len() <= LABEL_VALUE_LIMIT {
        return name.to_owned();
    }
    let digest = Sha256::digest(name.as_bytes());
    let kept = &name[..name.floor_char_boundary(LABEL_VALUE_LIMIT - HASH_LENGTH)];
    format!("{kept}{:02x}{:02x}{:02x}", digest[0], digest[1], digest[2])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_fits_a_label_stays() {
        let longest = "x".repeat(LABEL_VALUE_LIMIT);
        assert_eq!(short_name(&longest), longest);
        assert_eq!(short_name(""), "");
    }

    #[test]
    fn a_longer_name_ends_in_its_hash() {
        for (name, short) in [
            (
                "the-really-long-kube-service-name-that-is-much-greater-than-63-characters".to_owned(),
                "the-really-long-kube-service-name-that-is-much-greater-th8a11b3".to_owned(),
            ),
            (
                "this_is_a_very_long_label_value_that_will_be_rejected_by_Kubernetes".to_owned(),
                "this_is_a_very_long_label_value_that_will_be_rejected_by_8d0722".to_owned(),
            ),
            (
                "dd-11111111-2222-3333-4444-555555555555.66666666-7777-8888-9999-000000000000".to_owned(),
                "dd-11111111-2222-3333-4444-555555555555.66666666-7777-888cdebda".to_owned(),
            ),
            (format!("b-{}", "x".repeat(68)), format!("b-{}9eedd0", "x".repeat(55))),
            (format!("r-{}", "y".repeat(69)), format!("r-{}63827a", "y".repeat(55))),
        ] {
            assert_eq!(short_name(&name), short);
            assert_eq!(short.len(), LABEL_VALUE_LIMIT);
        }
    }

    #[test]
    fn a_character_is_not_cut_in_half() {
        let name = format!("{}\u{e9}{}", "a".repeat(56), "b".repeat(20));
        let short = short_name(&name);
        assert!(short.starts_with(&"a".repeat(56)) && short.len() == 62, "{short}");
    }
}
