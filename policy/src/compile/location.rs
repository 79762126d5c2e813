//! Storage and snapshot locations.

use std::collections::BTreeMap;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::SecretKeySelector;

use super::PublishMode;
use super::object::{Object, Objects};
use crate::annotations::TAKE_OVER;
use crate::model::{AccessMode, SecretKey, SnapshotLocationSpec, StorageLocationSpec};
use crate::validate::ValidLocation;
use crate::validate::location::certificate_bytes;
use crate::velero;

pub(super) fn storage(location: &ValidLocation<StorageLocationSpec>, objects: &mut Objects<'_>) {
    let ValidLocation { name, labels, spec } = location;
    let StorageLocationSpec {
        default,
        provider,
        bucket,
        prefix,
        config,
        credential,
        access_mode,
        backup_sync_period,
        validation_frequency,
        ca_cert,
        ca_cert_ref,
        take_over,
    } = spec;
    let annotations: BTreeMap<String, String> =
        take_over.iter().map(|cluster| (TAKE_OVER.to_owned(), cluster.clone())).collect();
    let compiled = velero::BackupStorageLocationSpec {
        provider: provider.clone(),
        config: config.clone(),
        credential: credential.as_ref().map(secret_key),
        object_storage: velero::ObjectStorageLocation {
            bucket: bucket.clone(),
            prefix: prefix.clone().filter(|prefix| !prefix.is_empty()),
            ca_cert: ca_cert
                .as_deref()
                .filter(|text| !text.trim().is_empty())
                .map(|text| ByteString(certificate_bytes(text))),
            ca_cert_ref: ca_cert_ref.as_ref().map(secret_key),
        },
        default: default.unwrap_or(false),
        access_mode: access_mode.map(|mode| match mode {
            AccessMode::ReadOnly => velero::AccessMode::ReadOnly,
            AccessMode::ReadWrite => velero::AccessMode::ReadWrite,
        }),
        backup_sync_period: *backup_sync_period,
        validation_frequency: *validation_frequency,
    };
    let mut value = velero::BackupStorageLocation::new(name, compiled);
    value.metadata = objects.metadata(name, name, labels, annotations);
    objects.add(Object {
        api_version: "velero.io/v1",
        kind: "BackupStorageLocation",
        policy: name.clone(),
        value,
        at_creation: None,
        publish: PublishMode::Apply,
    });
}

pub(super) fn snapshot(location: &ValidLocation<SnapshotLocationSpec>, objects: &mut Objects<'_>) {
    let ValidLocation { name, labels, spec } = location;
    let SnapshotLocationSpec { provider, config, credential } = spec;
    let compiled = velero::VolumeSnapshotLocationSpec {
        provider: provider.clone(),
        config: config.clone(),
        credential: credential.as_ref().map(secret_key),
    };
    let mut value = velero::VolumeSnapshotLocation::new(name, compiled);
    value.metadata = objects.metadata(name, name, labels, BTreeMap::new());
    objects.add(Object {
        api_version: "velero.io/v1",
        kind: "VolumeSnapshotLocation",
        policy: name.clone(),
        value,
        at_creation: None,
        publish: PublishMode::Apply,
    });
}

fn secret_key(secret: &SecretKey) -> SecretKeySelector {
    let SecretKey { name, key } = secret;
    SecretKeySelector { key: key.clone(), name: name.clone(), optional: None }
}
