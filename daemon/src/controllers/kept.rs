//! How objects are kept in a watched copy: as they are, or, of kinds of which there are many that nothing happens to any
//! more, packed, with a summary in front.

use std::fmt::Debug;
use std::sync::Arc;

use holdfast_policy::holdfast::PolicySet;
use holdfast_policy::velero::{
    Backup, BackupRepository, BackupStorageLocation, BackupSummary, DeleteBackupRequest, DownloadRequest,
    PodVolumeBackup, PodVolumeRestore, Restore, Schedule, ServerStatusRequest,
};
use k8s_openapi::NamespaceResourceScope;
use kube::Resource;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::packed::Packed;

/// A kind of object that is namespaced and known at compile time.
pub trait Record:
    Resource<DynamicType = (), Scope = NamespaceResourceScope>
    + Clone
    + Debug
    + DeserializeOwned
    + Serialize
    + Send
    + Sync
    + 'static
{
    type Kept: Kept<Self>;
}

/// An object in a copy. Cheap to clone.
pub trait Kept<K>: Clone + Debug + Send + Sync + 'static {
    /// What those see who look over all objects.
    type Glance;

    fn keep(object: K) -> Self;
    /// The object as it was.
    fn whole(&self) -> Arc<K>;
    fn glance(&self) -> Self::Glance;
    fn uid(&self) -> Option<&str>;
    /// As [`version_of`] gives it.
    fn version(&self) -> u128;
}

impl<K: Record> Kept<K> for Arc<K> {
    type Glance = Arc<K>;

    fn keep(object: K) -> Self {
        Arc::new(object)
    }

    fn whole(&self) -> Arc<K> {
        self.clone()
    }

    fn glance(&self) -> Arc<K> {
        self.clone()
    }

    fn uid(&self) -> Option<&str> {
        self.meta().uid.as_deref()
    }

    fn version(&self) -> u128 {
        version_of(self.as_ref())
    }
}

macro_rules! kept_as_they_are {
    ($($kind:ty)*) => { $(impl Record for $kind { type Kept = Arc<$kind>; })* };
}

kept_as_they_are! {
    BackupRepository
    BackupStorageLocation
    DeleteBackupRequest
    DownloadRequest
    PodVolumeBackup
    PodVolumeRestore
    PolicySet
    Restore
    Schedule
    ServerStatusRequest
}

#[cfg(test)]
kept_as_they_are! { k8s_openapi::api::core::v1::ConfigMap }

impl Record for Backup {
    type Kept = KeptBackup;
}

/// A Backup of which the whole is packed once it has ended.
#[derive(Clone, Debug)]
pub struct KeptBackup {
    summary: Arc<BackupSummary>,
    version: u128,
    content: Content,
}

#[derive(Clone, Debug)]
enum Content {
    Whole(Arc<Backup>),
    /// Its JSON.
    Packed(Arc<Packed>),
}

impl Kept<Backup> for KeptBackup {
    type Glance = Arc<BackupSummary>;

    fn keep(backup: Backup) -> Self {
        let summary = Arc::new(BackupSummary::of(&backup));
        let version = version_of(&backup);
        let json = if backup.status_phase().has_ended() { serde_json::to_vec(&backup).ok() } else { None };
        let packed = json.and_then(|json| Packed::of(&json));
        let content =
            packed.map_or_else(|| Content::Whole(Arc::new(backup)), |it| Content::Packed(Arc::new(it)));
        Self { summary, version, content }
    }

    fn whole(&self) -> Arc<Backup> {
        match &self.content {
            Content::Whole(backup) => backup.clone(),
            Content::Packed(packed) => {
                let json = packed.text().expect("what was packed is unpacked");
                Arc::new(serde_json::from_slice(&json).expect("a Backup that was written can be read"))
            }
        }
    }

    fn glance(&self) -> Arc<BackupSummary> {
        self.summary.clone()
    }

    fn uid(&self) -> Option<&str> {
        self.summary.uid()
    }

    fn version(&self) -> u128 {
        self.version
    }
}

/// Resource versions of one kind are decimal numbers that rise (promised since Kubernetes 1.35, and true before).
pub fn version_of<K: Resource>(object: &K) -> u128 {
    object.meta().resource_version.as_deref().and_then(|text| text.parse().ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use pretty_assertions::assert_eq;
    use serde_json::json;

    use super::*;

    #[test]
    fn a_backup_that_has_ended_is_packed_and_comes_back_as_it_was() {
        for phase in ["", "New", "InProgress", "Completed", "PartiallyFailed", "Failed", "FailedValidation"] {
            let backup: Backup = serde_json::from_value(json!({
                "metadata": {
                    "name": "b", "uid": "u", "resourceVersion": "7", "labels": {"a": "b"}, "annotations": {"c": "d"},
                    "creationTimestamp": "2026-11-22T00:00:00Z", "finalizers": ["x/y"],
                    "ownerReferences": [{"apiVersion": "velero.io/v1", "kind": "Schedule", "name": "s", "uid": "1"}],
                },
                "spec": {"includedNamespaces": ["shop"], "ttl": "720h0m0s", "snapshotVolumes": false},
                "status": {"phase": phase, "errors": 2, "hookStatus": {}, "validationErrors": ["x"]},
            }))
            .unwrap();
            let kept = KeptBackup::keep(backup.clone());
            assert_eq!(*kept.whole(), backup);
            assert_eq!((kept.version(), kept.uid()), (7, Some("u")));
            let is_packed = matches!(kept.content, Content::Packed(_));
            assert_eq!(is_packed, backup.status_phase().has_ended(), "{phase}");
        }
    }
}
