//! Snapshots of volumes by the interface of whoever provides the volumes: Velero's VolumeSnapshotter plug-ins, built in.
//!
//! In: PersistentVolumes and a VolumeSnapshotLocation. Out: snapshots, and volumes made of them. Which volumes are taken, what
//! a backup writes down of them and what becomes of the PersistentVolume is the engine's matter (reference: velero-backup.md
//! 6.5, velero-restore.md 6.3).
//!
//! A new provider is one file here with a [`Provider`], one line in [`ALL`], and its settings in the policy crate
//! (`validate/location.rs`).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use async_trait::async_trait;
use futures::future::BoxFuture;
use serde_json::Value;

use crate::repository::Password;

mod aws;
mod local;
#[cfg(test)]
pub(crate) mod recorded;

/// Velero's tags, by which a snapshot is found again and bound to its backup.
const BACKUP_TAG: &str = "velero.io/backup";
const VOLUME_TAG: &str = "velero.io/pv";
/// A backup's name comes again, its UID does not.
const BACKUP_UID_TAG: &str = "holdfast.dev/backup-uid";

/// All providers.
pub const ALL: [&Provider; 2] = [&aws::PROVIDER, &local::PROVIDER];

/// One kind of volumes and snapshots.
pub struct Provider {
    /// As `spec.provider` names it, without Velero's domain.
    pub name: &'static str,
    /// What `spec.config` may hold.
    keys: &'static [&'static str],
    pub needs: Needs,
    /// Whether a PersistentVolume is of its kind.
    may_take: fn(&Value) -> bool,
    open: fn(Opening) -> BoxFuture<'static, Result<Snapshotter, Error>>,
}

pub type Snapshotter = Arc<dyn VolumeSnapshotter>;

/// What a provider keeps snapshots with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Needs {
    /// Those of its location.
    Credentials,
    /// The password of volume data, and the names of the nodes.
    PasswordAndNodes,
}

/// A VolumeSnapshotLocation with what surrounds it.
#[derive(Debug, Clone)]
pub struct Opening {
    /// Of the VolumeSnapshotLocation.
    pub name: String,
    pub config: BTreeMap<String, String>,
    /// The content of the Secret that `spec.credential` names.
    pub credentials: Option<Vec<u8>>,
    /// Where the provider needs one.
    pub password: Option<Password>,
    /// Names of the cluster's nodes.
    pub nodes: BTreeSet<String>,
}

/// What binds a snapshot to one volume of one backup: an id that leads to another snapshot is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Binding {
    /// Name of the Backup.
    pub backup: String,
    pub backup_uid: String,
    /// Name of the PersistentVolume.
    pub volume: String,
    /// Of the Backup, which become tags as well.
    pub labels: BTreeMap<String, String>,
}

/// What a snapshot is of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subject {
    /// As [`VolumeSnapshotter::volume_id`] gave it.
    pub volume: String,
    /// Empty where volumes are of no zone.
    pub zone: String,
}

/// What a backup writes down of a volume, for a volume like it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct VolumeFacts {
    pub volume_type: String,
    /// Operations a second that were paid for.
    pub iops: Option<i64>,
}

/// What a volume is to be made of, and like what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    pub snapshot: String,
    pub subject: Subject,
    pub facts: VolumeFacts,
    pub binding: Binding,
    /// Names this volume of this restore: an attempt that is taken up again wants the same one.
    pub token: String,
}

/// Why a snapshot or a volume is not made, in words for the log of a run.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Error(pub String);

#[async_trait]
pub trait VolumeSnapshotter: Send + Sync {
    /// None for a volume of another provider.
    fn volume_id(&self, volume: &Value) -> Result<Option<String>, Error>;

    /// Points a PersistentVolume at another volume.
    fn set_volume_id(&self, volume: &mut Value, id: &str) -> Result<(), Error>;

    async fn facts(&self, subject: &Subject) -> Result<VolumeFacts, Error>;

    /// The snapshot's id. Its data is as at the call; it may be on its way still.
    async fn create_snapshot(&self, subject: &Subject, binding: &Binding) -> Result<String, Error>;

    /// Returns when the snapshot is whole.
    async fn wait(&self, snapshot: &str) -> Result<(), Error>;

    /// The new volume's id.
    async fn create_volume(&self, wanted: &Wanted) -> Result<String, Error>;

    /// Deletes what an attempt at this backup has left. No other backup has its UID.
    async fn delete_all_of(&self, backup_uid: &str) -> Result<(), Error>;

    /// One that is gone already is as good. What it needed may stay until [`VolumeSnapshotter::tidy`].
    async fn delete_snapshot(&self, snapshot: &str, binding: &Binding) -> Result<(), Error>;

    /// Called once after snapshots were deleted: removes what only they needed.
    async fn tidy(&self) -> Result<(), Error> {
        Ok(())
    }
}

/// The provider of a VolumeSnapshotLocation.
pub fn provider(name: &str) -> Result<&'static Provider, Error> {
    let plain = name.strip_prefix("velero.io/").unwrap_or(name);
    let found = ALL.into_iter().find(|provider| provider.name == plain);
    found.ok_or_else(|| {
        let known = ALL.map(|provider| provider.name).join(", ");
        Error(format!("provider {name:?} is none that Holdfast makes snapshots with: these are {known}"))
    })
}

/// Whether a provider may take snapshots of a volume, as far as its PersistentVolume tells.
pub fn may_take(name: &str, volume: &Value) -> bool {
    provider(name).is_ok_and(|provider| (provider.may_take)(volume))
}

impl Provider {
    pub async fn open(&self, opening: Opening) -> Result<Snapshotter, Error> {
        for key in opening.config.keys() {
            if !self.keys.contains(&key.as_str()) {
                let known = self.keys.join(", ");
                let Self { name, .. } = self;
                return Err(Error(format!(
                    "spec.config has the key {key:?}, which provider {name} doesn't know; it knows {known}"
                )));
            }
        }
        (self.open)(opening).await
    }
}

impl Opening {
    /// A key with an empty value counts as absent, as it does for Velero's plug-ins.
    fn text(&self, key: &str) -> Option<&str> {
        self.config.get(key).map(String::as_str).filter(|value| !value.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_provider_may_carry_velero_s_domain() {
        assert_eq!(provider("velero.io/local").unwrap().name, "local");
        let refused = provider("azure").err().unwrap().to_string();
        assert!(refused.contains("azure") && refused.contains("local"), "{refused}");
    }

    #[tokio::test]
    async fn a_key_that_nobody_reads_is_refused() {
        let opening = Opening {
            name: "copies".to_owned(),
            config: BTreeMap::from([("paht".to_owned(), "/srv".to_owned())]),
            credentials: None,
            password: None,
            nodes: BTreeSet::new(),
        };
        let refused = provider("local").unwrap().open(opening).await.err().unwrap().to_string();
        assert!(refused.contains("\"paht\"") && refused.contains("path"), "{refused}");
    }
}
