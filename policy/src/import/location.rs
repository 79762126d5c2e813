//! Locations.

use k8s_openapi::api::core::v1::SecretKeySelector;

use super::Draft;
use crate::annotations::TAKE_OVER;
use crate::model::{AccessMode, SecretKey, SnapshotLocationSpec, StorageLocationSpec};
use crate::velero;

pub(super) fn storage(locations: &[velero::BackupStorageLocation]) -> Vec<Draft> {
    // One default at most is a rule of policies; the newest counts where a cluster has several.
    let created = |location: &&velero::BackupStorageLocation| {
        location.metadata.creation_timestamp.as_ref().map(|time| time.0)
    };
    let default = locations.iter().filter(|location| location.spec.default).max_by_key(created);
    let default = default.and_then(|location| location.metadata.name.as_ref());
    let draft = |location: &velero::BackupStorageLocation| {
        let name = location.metadata.name.clone().unwrap_or_default();
        let spec = &location.spec;
        let annotations = location.metadata.annotations.clone().unwrap_or_default();
        let certificates = spec.object_storage.ca_cert.as_ref();
        let document = StorageLocationSpec {
            default: (default == Some(&name)).then_some(true),
            provider: spec.provider.clone(),
            bucket: spec.object_storage.bucket.clone(),
            prefix: spec.object_storage.prefix.clone(),
            config: spec.config.clone(),
            credential: spec.credential.as_ref().map(secret_key),
            access_mode: spec.access_mode.map(|mode| match mode {
                velero::AccessMode::ReadOnly => AccessMode::ReadOnly,
                velero::AccessMode::ReadWrite => AccessMode::ReadWrite,
            }),
            backup_sync_period: spec.backup_sync_period,
            validation_frequency: spec.validation_frequency,
            ca_cert: certificates.map(|bytes| String::from_utf8_lossy(&bytes.0).into_owned()),
            ca_cert_ref: spec.object_storage.ca_cert_ref.as_ref().map(secret_key),
            take_over: annotations.get(TAKE_OVER).cloned(),
        };
        Draft::new("StorageLocation", &name, &document, vec![("BackupStorageLocation", name.clone())])
    };
    locations.iter().map(draft).collect()
}

pub(super) fn snapshot(locations: &[velero::VolumeSnapshotLocation]) -> Vec<Draft> {
    let draft = |location: &velero::VolumeSnapshotLocation| {
        let name = location.metadata.name.clone().unwrap_or_default();
        let document = SnapshotLocationSpec {
            provider: location.spec.provider.clone(),
            config: location.spec.config.clone(),
            credential: location.spec.credential.as_ref().map(secret_key),
        };
        Draft::new("SnapshotLocation", &name, &document, vec![("VolumeSnapshotLocation", name.clone())])
    };
    locations.iter().map(draft).collect()
}

fn secret_key(secret: &SecretKeySelector) -> SecretKey {
    SecretKey { name: secret.name.clone(), key: secret.key.clone() }
}
