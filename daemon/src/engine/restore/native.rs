//! Volumes out of snapshots that their provider's own interface made: whether one is wanted, under which name, and its data.
//!
//! In: the backup's list of snapshots, and each PersistentVolume on its way. Out: the PersistentVolume points at a volume with
//! the data of the backup (reference: velero-restore.md 6.3).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use holdfast_policy::velero::labels::ORIGINAL_PV_NAME;
use kube::Client;
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use tokio::time::{Instant, sleep};

use super::item::Item;
use super::preview::Hand;
use super::run::Run;
use super::volumes::{Snapshots, rebind_volume};
use crate::cluster;
use crate::engine::native::{self, Purpose, SnapshotLocations, SnapshotRecord};
use crate::snapshotters::{self, VolumeSnapshotter, Wanted};

mod existing;

use existing::{Existing, Surroundings};

const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Characters of a token: enough that two volumes never share one.
const TOKEN_BYTES: usize = 8;

/// The snapshots of one backup.
pub(crate) struct Natives {
    records: BTreeMap<String, SnapshotRecord>,
    locations: SnapshotLocations,
    /// Of the locations that the records name.
    usable: BTreeSet<String>,
    backup: String,
    restore_uid: String,
    opened: tokio::sync::Mutex<BTreeMap<String, Arc<dyn VolumeSnapshotter>>>,
    /// By name in the backup.
    renamed: Mutex<BTreeMap<String, String>>,
}

/// Why a volume does not come back.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("cannot look at what is there under its name")]
    Look(#[source] cluster::Error),
    #[error("it can't be restored after {seconds} s: {reason}")]
    InTheWay { seconds: u64, reason: String },
    #[error(transparent)]
    Location(#[from] native::Error),
    #[error("no volume could be made of snapshot {snapshot}")]
    Create { snapshot: String, source: snapshotters::Error },
    #[error("its entry is one of backup {found:?}")]
    MixedUp { found: String },
}

impl Natives {
    /// Of a backup's name and a restore's UID. Most backups have none, and then nobody is asked.
    pub(crate) async fn new(
        records: Vec<SnapshotRecord>,
        client: &Client,
        namespace: &str,
        (backup, restore_uid): (&str, &str),
    ) -> Result<Self, native::Error> {
        let locations = SnapshotLocations::new(client, namespace);
        let usable = if records.is_empty() { BTreeSet::new() } else { locations.usable().await? };
        let by_volume = |record: SnapshotRecord| (record.spec.persistent_volume_name.clone(), record);
        Ok(Self {
            records: records.into_iter().map(by_volume).collect(),
            locations,
            usable,
            backup: backup.to_owned(),
            restore_uid: restore_uid.to_owned(),
            opened: Default::default(),
            renamed: Mutex::default(),
        })
    }

    /// Names of volumes whose snapshots can be read here.
    pub(crate) fn restorable(&self) -> BTreeSet<String> {
        let whole = self
            .records
            .values()
            .filter(|record| record.is_whole() && self.usable.contains(&record.spec.location));
        whole.map(|record| record.spec.persistent_volume_name.clone()).collect()
    }

    /// The name that a volume of the backup got here.
    pub(crate) fn name_of(&self, volume: &str) -> Option<String> {
        self.renamed.lock().unwrap_or_else(PoisonError::into_inner).get(volume).cloned()
    }

    async fn open(&self, location: &str) -> Result<Arc<dyn VolumeSnapshotter>, native::Error> {
        let mut opened = self.opened.lock().await;
        if let Some(snapshotter) = opened.get(location) {
            return Ok(snapshotter.clone());
        }
        let snapshotter = self.locations.open(location, Purpose::RestoreOrDelete).await?;
        opened.insert(location.to_owned(), snapshotter.clone());
        Ok(snapshotter)
    }

    /// The same for every attempt of this restore.
    fn digest(&self, volume: &str) -> [u8; 32] {
        Sha256::digest(format!("{}/{volume}", self.restore_uid)).into()
    }

    /// In the form that Velero gives the names of copies.
    fn clone_name(&self, volume: &str) -> String {
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&self.digest(volume)[..16]);
        format!("velero-clone-{}", uuid::Builder::from_random_bytes(bytes).into_uuid())
    }

    fn token(&self, volume: &str) -> String {
        self.digest(volume).iter().take(TOKEN_BYTES).map(|byte| format!("{byte:02x}")).collect()
    }
}

impl Run {
    /// Makes a volume for the PersistentVolume, where it is to come back at all; the object is changed to point at it.
    pub(crate) async fn restore_volume(&self, item: &Item<'_>, volume: &mut Value) -> Result<(), Error> {
        let name = item.entry.name.to_string();
        let mapping = &self.settings.mapping;
        let claim = |key: &str| {
            volume.pointer("/spec/claimRef").and_then(|claim| claim.get(key)).and_then(Value::as_str)
        };
        let moves = claim("namespace").is_some_and(|namespace| mapping.contains_key(namespace));
        let renames = moves && self.persistent_volume(&name).await?.is_some_and(|found| !self.made(&found));
        let target = if renames { self.natives.clone_name(&name) } else { name.clone() };
        rebind_volume(volume, mapping);
        if renames {
            rename(volume, &target, &name);
            let mut renamed = self.natives.renamed.lock().unwrap_or_else(PoisonError::into_inner);
            renamed.insert(name.clone(), target.clone());
        }
        if matches!(self.hand, Hand::Looks(_)) || !self.is_to_be_made(&target).await? {
            return Ok(());
        }
        match (self.settings.snapshots, self.natives.records.get(&name)) {
            // As Velero does it: the object comes back and points at the volume that it pointed at.
            (Snapshots::Unwanted, _) | (Snapshots::Wanted, None) => Ok(()),
            (Snapshots::Wanted, Some(record)) => self.make_volume(record, volume).await,
        }
    }

    async fn make_volume(&self, record: &SnapshotRecord, volume: &mut Value) -> Result<(), Error> {
        let name = &record.spec.persistent_volume_name;
        let snapshot = &record.status.provider_snapshot_id;
        if record.spec.backup_name != self.natives.backup {
            return Err(Error::MixedUp { found: record.spec.backup_name.clone() });
        }
        let failed = |source| Error::Create { snapshot: snapshot.clone(), source };
        let snapshotter = self.natives.open(&record.spec.location).await?;
        self.log.info("Restoring persistent volume from snapshot", &[("name", name), ("snapshot", snapshot)]);
        let wanted = Wanted {
            snapshot: snapshot.clone(),
            subject: record.subject(),
            facts: record.facts(),
            binding: record.binding(),
            token: self.natives.token(name),
        };
        let made = self.cancel.run_until_cancelled(snapshotter.create_volume(&wanted)).await;
        let id = made.unwrap_or_else(|| Err(snapshotters::Error("the restore was cancelled".to_owned())));
        snapshotter.set_volume_id(volume, &id.map_err(failed)?).map_err(failed)
    }

    /// Whether there is a place for the PersistentVolume; waits for one that is on its way out.
    async fn is_to_be_made(&self, name: &str) -> Result<bool, Error> {
        let deadline = Instant::now() + self.timeouts.terminating;
        loop {
            let Some(found) = self.persistent_volume(name).await? else { return Ok(true) };
            if self.made(&found) {
                return Ok(false);
            }
            let surroundings = self.surroundings(&found).await?;
            match existing::decide(&found, &surroundings) {
                Existing::Stays => return Ok(false),
                Existing::Goes { reason } if Instant::now() >= deadline || self.cancel.is_cancelled() => {
                    return Err(Error::InTheWay { seconds: self.timeouts.terminating.as_secs(), reason });
                }
                Existing::Goes { reason: _ } => sleep(LOOK_EVERY).await,
            }
        }
    }

    async fn surroundings(&self, volume: &Value) -> Result<Surroundings, Error> {
        let claim = |key: &str| volume.pointer(&format!("/spec/claimRef/{key}")).and_then(Value::as_str);
        let (Some(namespace), Some(name)) = (claim("namespace"), claim("name")) else {
            return Ok(Surroundings::default());
        };
        let claim = format!("/api/v1/namespaces/{namespace}/persistentvolumeclaims/{name}");
        Ok(Surroundings {
            claim: self.read_opt(&claim).await?,
            namespace: self.read_opt(&format!("/api/v1/namespaces/{namespace}")).await?,
        })
    }

    async fn persistent_volume(&self, name: &str) -> Result<Option<Value>, Error> {
        self.read_opt(&format!("/api/v1/persistentvolumes/{name}")).await
    }

    async fn read_opt(&self, path: &str) -> Result<Option<Value>, Error> {
        let json = match self.cluster.read(path).await {
            Ok(json) => json,
            Err(error) if error.is_not_found() => return Ok(None),
            Err(error) => return Err(Error::Look(error)),
        };
        let parsed = serde_json::from_slice(&json);
        parsed
            .map(Some)
            .map_err(|source| Error::Look(cluster::Error::Malformed { path: path.to_owned(), source }))
    }
}

fn rename(volume: &mut Value, name: &str, original: &str) {
    let Some(metadata) = volume.get_mut("metadata").and_then(Value::as_object_mut) else { return };
    metadata.insert("name".to_owned(), Value::String(name.to_owned()));
    let annotations = metadata.entry("annotations").or_insert(Value::Null);
    if !annotations.is_object() {
        *annotations = Value::Object(serde_json::Map::new());
    }
    if let Some(annotations) = annotations.as_object_mut() {
        annotations.insert(ORIGINAL_PV_NAME.to_owned(), Value::String(original.to_owned()));
    }
}
