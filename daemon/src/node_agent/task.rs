//! One transfer of a volume's files: a PodVolumeBackup or a PodVolumeRestore, as far as they are alike.

use std::collections::BTreeMap;
use std::sync::Arc;

use holdfast_policy::velero;
use holdfast_policy::velero::{DataPathPhase, UploaderType};
use k8s_openapi::api::core::v1::ObjectReference;
use kube::ResourceExt;

#[derive(Debug, Clone)]
pub(super) enum Task {
    Backup(Arc<velero::PodVolumeBackup>),
    Restore(Arc<velero::PodVolumeRestore>),
}

impl Task {
    pub(super) fn name(&self) -> String {
        match self {
            Self::Backup(backup) => backup.name_any(),
            Self::Restore(restore) => restore.name_any(),
        }
    }

    pub(super) fn uid(&self) -> String {
        match self {
            Self::Backup(backup) => backup.uid(),
            Self::Restore(restore) => restore.uid(),
        }
        .unwrap_or_default()
    }

    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Backup(_) => "PodVolumeBackup",
            Self::Restore(_) => "PodVolumeRestore",
        }
    }

    pub(super) fn phase(&self) -> DataPathPhase {
        match self {
            Self::Backup(backup) => backup.status_phase(),
            Self::Restore(restore) => restore.status_phase(),
        }
    }

    /// Whether it is to be given up.
    pub(super) fn is_cancelled(&self) -> bool {
        match self {
            Self::Backup(backup) => backup.spec.cancel || backup.metadata.deletion_timestamp.is_some(),
            Self::Restore(restore) => restore.spec.cancel || restore.metadata.deletion_timestamp.is_some(),
        }
    }

    /// Whether its repository is in restic's format: others are Velero's agent's. No type at all is restic's, too.
    pub(super) fn is_restic(&self) -> bool {
        let uploader = match self {
            Self::Backup(backup) => backup.spec.uploader_type,
            Self::Restore(restore) => restore.spec.uploader_type,
        };
        match uploader {
            Some(UploaderType::Restic) | None => true,
            Some(UploaderType::Kopia) => false,
        }
    }

    pub(super) fn annotations(&self) -> Option<&BTreeMap<String, String>> {
        match self {
            Self::Backup(backup) => backup.metadata.annotations.as_ref(),
            Self::Restore(restore) => restore.metadata.annotations.as_ref(),
        }
    }

    pub(super) fn pod(&self) -> &ObjectReference {
        match self {
            Self::Backup(backup) => &backup.spec.pod,
            Self::Restore(restore) => &restore.spec.pod,
        }
    }

    pub(super) fn volume(&self) -> &str {
        match self {
            Self::Backup(backup) => &backup.spec.volume,
            Self::Restore(restore) => &restore.spec.volume,
        }
    }

    pub(super) fn location(&self) -> &str {
        match self {
            Self::Backup(backup) => &backup.spec.backup_storage_location,
            Self::Restore(restore) => &restore.spec.backup_storage_location,
        }
    }

    /// The namespace whose repository holds the data.
    pub(super) fn volume_namespace(&self) -> &str {
        match self {
            Self::Backup(backup) => backup.spec.pod.namespace.as_deref().unwrap_or_default(),
            Self::Restore(restore) => &restore.spec.source_namespace,
        }
    }
}
