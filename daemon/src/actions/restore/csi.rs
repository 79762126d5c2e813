//! What CSI snapshots are to a restore: whether they can and shall be used, which the backup made, and the names that
//! VolumeSnapshots and their contents get (reference: velero-restore.md 5.11).

use std::collections::BTreeMap;

use holdfast_policy::velero::short_name;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::{AdditionalItem, Error, text};

pub(super) const SNAPSHOTS: &str = "volumesnapshots.snapshot.storage.k8s.io";
pub(super) const CONTENTS: &str = "volumesnapshotcontents.snapshot.storage.k8s.io";
pub(super) const CLASSES: &str = "volumesnapshotclasses.snapshot.storage.k8s.io";

/// Whether objects of a resource stand for the data of what needs them.
pub fn is_data(group_resource: &str) -> bool {
    [SNAPSHOTS, CONTENTS].contains(&group_resource)
}

/// Whether volumes come back from CSI snapshots.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Csi {
    /// The cluster does not know snapshots.
    NotServed,
    /// `restorePVs: false`.
    Unwanted,
    Wanted(Snapshots),
}

/// The snapshots of one backup, for one restore of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Snapshots {
    pub backup: String,
    pub restore_uid: String,
    /// What the volume info file tells, by the name of the VolumeSnapshotContent.
    pub kept: BTreeMap<String, Kept>,
}

/// A volume that is in a snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    pub namespace: String,
    pub claim: String,
    pub handle: String,
    pub driver: String,
    /// The driver's name for the group snapshot that it is part of.
    pub group: Option<String>,
}

impl Snapshots {
    /// The name that a VolumeSnapshot and its content get: another one in every restore.
    pub(super) fn name(&self, volume_snapshot: &str) -> String {
        let digest = Sha256::digest(format!("{}/{volume_snapshot}", self.restore_uid));
        digest.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    pub(super) fn has_data_of(&self, namespace: &str, claim: &str) -> bool {
        self.kept.values().any(|kept| kept.namespace == namespace && kept.claim == claim)
    }

    /// Refuses a handle that the volume info has for another volume, or another one than it has for this content.
    pub(super) fn check(&self, content: &str, handle: &str) -> Result<(), Error> {
        match self.kept.get(content) {
            Some(kept) if kept.handle != handle => Err(Error::MixedUp {
                content: content.to_owned(),
                found: handle.to_owned(),
                expected: kept.handle.clone(),
            }),
            Some(_) => Ok(()),
            None => match self.kept.iter().find(|(_, kept)| kept.handle == handle) {
                Some((other, _)) => Err(Error::HandleOfAnother {
                    content: content.to_owned(),
                    handle: handle.to_owned(),
                    other: other.clone(),
                }),
                // Velero writes no entry for a backup with a long name.
                None => Ok(()),
            },
        }
    }

    /// Refuses a content that this backup has not made.
    pub(super) fn check_owner(&self, content: &str, object: &Value) -> Result<(), Error> {
        let labels = object.pointer("/metadata/labels");
        let label = labels.and_then(|labels| labels.get(holdfast_policy::velero::labels::BACKUP_NAME));
        match label.and_then(Value::as_str) {
            Some(owner) if owner == short_name(&self.backup) => Ok(()),
            // Velero goes on where it could not set the label; the volume info still tells whose it is.
            None if self.kept.contains_key(content) => Ok(()),
            Some(_) | None => {
                Err(Error::NotOfThisBackup { content: content.to_owned(), backup: self.backup.clone() })
            }
        }
    }
}

/// The Secret that two annotations name together.
pub(super) fn secret(object: &Value, name: &str, namespace: &str) -> Vec<AdditionalItem> {
    let annotation = |key: &str| {
        let annotations = object.pointer("/metadata/annotations");
        let found = annotations.and_then(|annotations| annotations.get(key)).and_then(Value::as_str);
        found.filter(|text| !text.is_empty()).map(str::to_owned)
    };
    let secret = annotation(name).zip(annotation(namespace));
    let item =
        |(name, namespace)| AdditionalItem { group_resource: "secrets", namespace: Some(namespace), name };
    secret.map(item).into_iter().collect()
}

/// Sets an entry of a map of texts, which is made if need be.
pub(super) fn set(object: &mut Value, map: &str, key: &str, value: &str) {
    let metadata = &mut object["metadata"];
    if !metadata[map].is_object() {
        metadata[map] = Value::Object(serde_json::Map::new());
    }
    metadata[map][key] = Value::String(value.to_owned());
}

/// The handle that the driver gave the snapshot.
pub(super) fn handle<'a>(content: &'a Value, name: &str) -> Result<&'a str, Error> {
    match text(content, "/status/snapshotHandle") {
        "" => Err(Error::NoHandle { content: name.to_owned() }),
        handle => Ok(handle),
    }
}

#[cfg(test)]
pub(super) mod fixtures {
    use super::*;

    /// Backup `nightly` with claim shop/data in snapshot `snap-1`, and restore `r-uid` of it.
    pub(crate) fn wanted() -> Csi {
        let kept = Kept {
            namespace: "shop".to_owned(),
            claim: "data".to_owned(),
            handle: "snap-1".to_owned(),
            driver: "disk.example".to_owned(),
            group: None,
        };
        Csi::Wanted(Snapshots {
            backup: "nightly".to_owned(),
            restore_uid: "r-uid".to_owned(),
            kept: BTreeMap::from([("snapcontent-1".to_owned(), kept)]),
        })
    }

    /// The SHA-256 of `r-uid/velero-data-1`.
    pub(crate) fn name() -> String {
        let Csi::Wanted(snapshots) = wanted() else { return String::new() };
        snapshots.name("velero-data-1")
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn snapshots() -> Snapshots {
        let Csi::Wanted(snapshots) = fixtures::wanted() else { return Snapshots::default() };
        snapshots
    }

    #[test]
    fn names_are_the_hash_of_the_restore_and_the_old_name() {
        let other = Snapshots { restore_uid: "other".to_owned(), ..snapshots() };
        assert_eq!(snapshots().name("velero-data-1").len(), 64);
        assert_ne!(other.name("velero-data-1"), snapshots().name("velero-data-1"));
    }

    #[test]
    fn a_handle_is_that_of_its_content_only() {
        assert_eq!(snapshots().check("snapcontent-1", "snap-1"), Ok(()));
        assert!(matches!(snapshots().check("snapcontent-1", "snap-2"), Err(Error::MixedUp { .. })));
        assert!(matches!(snapshots().check("snapcontent-2", "snap-1"), Err(Error::HandleOfAnother { .. })));
        assert_eq!(snapshots().check("snapcontent-2", "snap-2"), Ok(()));
    }

    #[test]
    fn a_content_of_another_backup_is_refused() {
        let of = |backup: &str| json!({"metadata": {"labels": {"velero.io/backup-name": backup}}});
        assert_eq!(snapshots().check_owner("snapcontent-1", &of("nightly")), Ok(()));
        assert!(snapshots().check_owner("snapcontent-1", &of("weekly")).is_err());
        assert_eq!(snapshots().check_owner("snapcontent-1", &json!({})), Ok(()));
        assert!(snapshots().check_owner("snapcontent-2", &json!({})).is_err());
    }
}
