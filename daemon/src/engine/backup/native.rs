//! Snapshots by the providers of VolumeSnapshotLocations: taken when the run meets a volume, so that the hooks of its pod hold it
//! still, and waited for at the end.
//!
//! In: PersistentVolumes. Out: entries of the list of snapshots and of the volume info. A volume that nobody takes is skipped; one
//! whose snapshot fails is an error, and is not in the archive, as with Velero (reference: velero-backup.md 6.5).

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::{StreamExt, stream};
use holdfast_policy::model::volumes::VolumeActionType;
use holdfast_policy::velero;
use kube::{Client, ResourceExt};
use serde_json::Value;
use tokio::sync::OnceCell;

use super::collect::Collector;
use super::items::ItemError;
use super::volume_entry::{Entry, Method, NativeSnapshotInfo, Success};
use crate::causes::with_causes;
use crate::clock::Clock;
use crate::cluster::Item;
use crate::engine::native::{
    Phase, Purpose, SnapshotLocations, SnapshotRecord, SnapshotSpec, SnapshotStatus,
};
use crate::engine::run_log::{Message, Place};
use crate::snapshotters::{self, Binding, Subject, VolumeSnapshotter};

mod clear;
mod wait;
mod zone;

pub use clear::clear_snapshots;

const VOLUMES: &str = "persistentvolumes";
const CSI_SNAPSHOTS: &str = "volumesnapshots.snapshot.storage.k8s.io";
/// Requests to providers that are under way at the end of a run.
const AT_ONCE: usize = 8;
/// What a Backup without `itemOperationTimeout` gives all of them together.
const OPERATION_TIME_OUT: Duration = Duration::from_secs(4 * 3600);
/// A run that has failed does not wait longer for its traces to go.
const GIVE_UP_WITHIN: Duration = Duration::from_secs(60);

/// The snapshots of one run.
pub(super) struct Natives {
    locations: SnapshotLocations,
    clock: Clock,
    names: Vec<String>,
    backup: velero::Backup,
    opened: OnceCell<Vec<Opened>>,
    state: Mutex<Vec<Taken>>,
}

#[derive(Clone)]
struct Opened {
    name: String,
    snapshotter: Arc<dyn VolumeSnapshotter>,
}

#[derive(Clone)]
struct Taken {
    location: Opened,
    record: SnapshotRecord,
    claim: Option<(String, String)>,
    started: chrono::DateTime<chrono::Utc>,
}

/// Why a volume has no snapshot.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("snapshot location {location} can't take the volume: {source}")]
    Identify { location: String, source: snapshotters::Error },
    #[error("error getting volume info: {0}")]
    Facts(snapshotters::Error),
    #[error("error taking snapshot of volume: {0}")]
    Take(snapshotters::Error),
}

impl Natives {
    pub(super) fn new(client: &Client, clock: &Clock, backup: &velero::Backup) -> Self {
        let namespace = backup.metadata.namespace.as_deref().unwrap_or_default();
        Self {
            locations: SnapshotLocations::new(client, namespace),
            clock: clock.clone(),
            names: backup.spec.volume_snapshot_locations.clone(),
            backup: backup.clone(),
            opened: OnceCell::new(),
            state: Mutex::default(),
        }
    }

    fn binding(&self, volume: &str) -> Binding {
        let labels = self.backup.metadata.labels.clone();
        Binding {
            backup: self.backup.name_any(),
            backup_uid: self.backup.metadata.uid.clone().unwrap_or_default(),
            volume: volume.to_owned(),
            labels: labels.unwrap_or_default(),
        }
    }

    /// Deletes what a run took that comes to nothing.
    pub(super) async fn give_up(&self) {
        let taken = std::mem::take(&mut *self.state());
        let deletions = taken.into_iter().map(|taken| async move {
            let snapshot = &taken.record.status.provider_snapshot_id;
            let deleted = taken.location.snapshotter.delete_snapshot(snapshot, &taken.record.binding()).await;
            if let Err(error) = deleted {
                tracing::warn!(snapshot, error = %error, "left a snapshot of a failed backup");
            }
        });
        let all = async {
            stream::iter(deletions).buffer_unordered(AT_ONCE).collect::<Vec<()>>().await;
            for Opened { name, snapshotter } in self.opened.get().into_iter().flatten() {
                if let Err(error) = snapshotter.tidy().await {
                    tracing::warn!(location = name, error = %error, "left data of a failed backup");
                }
            }
        };
        if tokio::time::timeout(GIVE_UP_WITHIN, all).await.is_err() {
            let backup = self.backup.name_any();
            tracing::warn!(backup, "left snapshots of a failed backup: they did not go in time");
        }
    }

    fn state(&self) -> MutexGuard<'_, Vec<Taken>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Collector<'_> {
    /// Takes a snapshot where one is wanted and somebody can.
    pub(super) async fn snapshot_volume(
        &self,
        item: &Item,
        claim: Option<&(String, String)>,
        verdict: Option<VolumeActionType>,
    ) -> Result<(), ItemError> {
        if self.natives.names.is_empty() || !self.wants_snapshot(verdict, claim).await? {
            return Ok(());
        }
        let volume: Value = serde_json::from_slice(&item.json)?;
        let is_csi = volume.pointer("/spec/csi").is_some();
        if is_csi && self.discovery.by_group_resource(CSI_SNAPSHOTS).is_some() {
            return Ok(());
        }
        let Some((location, id)) = self.location_of(&volume).await? else { return Ok(()) };
        if self.natives.backup.spec.snapshot_move_data == Some(true) {
            let text = "snapshotMoveData is of CSI snapshots: the data of this one stays with its provider";
            self.log.warning(Place::Cluster, Message::new(text).resource(VOLUMES).name(&item.name));
        }
        let subject = Subject { volume: id, zone: zone::of(&volume) };
        self.take(location, item, claim, subject).await
    }

    /// The first location whose provider knows the volume.
    async fn location_of(&self, volume: &Value) -> Result<Option<(&Opened, String)>, Error> {
        for opened in self.natives.opened.get_or_init(|| self.open_locations()).await {
            let id = opened.snapshotter.volume_id(volume);
            let id = id.map_err(|source| Error::Identify { location: opened.name.clone(), source })?;
            if let Some(id) = id {
                return Ok(Some((opened, id)));
            }
        }
        Ok(None)
    }

    /// One that can't be opened is an error of the backup, and the others are used.
    async fn open_locations(&self) -> Vec<Opened> {
        let mut opened = Vec::new();
        for name in &self.natives.names {
            match self.natives.locations.open(name, Purpose::Take).await {
                Ok(snapshotter) => opened.push(Opened { name: name.clone(), snapshotter }),
                Err(error) => self.log.error(
                    Place::Velero,
                    Message::new("Error getting volume snapshotter for volume snapshot location")
                        .cause(&with_causes(&error)),
                ),
            }
        }
        opened
    }

    async fn take(
        &self,
        location: &Opened,
        item: &Item,
        claim: Option<&(String, String)>,
        subject: Subject,
    ) -> Result<(), ItemError> {
        let facts = location.snapshotter.facts(&subject).await.map_err(Error::Facts)?;
        let binding = self.natives.binding(&item.name);
        let started = (self.natives.clock)();
        self.log
            .info("Snapshotting persistent volume", &[("name", &item.name), ("location", &location.name)]);
        let made = location.snapshotter.create_snapshot(&subject, &binding).await;
        self.volumes.count(|counts| counts.native_attempted += 1);
        let Subject { volume, zone } = subject;
        let Binding { backup, backup_uid, volume: persistent_volume, labels: _ } = binding;
        let record = SnapshotRecord {
            spec: SnapshotSpec {
                backup_name: backup,
                backup_uid,
                location: location.name.clone(),
                persistent_volume_name: persistent_volume,
                provider_volume_id: volume,
                volume_type: facts.volume_type,
                volume_az: zone,
                volume_iops: facts.iops,
            },
            status: SnapshotStatus {
                provider_snapshot_id: made.as_ref().ok().cloned().unwrap_or_default(),
                phase: if made.is_ok() { Phase::New } else { Phase::Failed },
            },
        };
        let taken = Taken { location: location.clone(), record, claim: claim.cloned(), started };
        match made {
            Ok(_) => {
                self.natives.state().push(taken);
                Ok(())
            }
            Err(error) => {
                self.note(&taken)?;
                Err(Error::Take(error).into())
            }
        }
    }

    /// Waits for the snapshots that are on their way, and writes down what became of all.
    pub(super) async fn finish_snapshots(&self) -> Result<(), serde_json::Error> {
        let taken = self.natives.state().clone();
        let time = self.natives.backup.spec.item_operation_timeout.and_then(|timeout| timeout.as_std());
        let ended = wait::for_all(taken, time.unwrap_or(OPERATION_TIME_OUT)).await;
        for (taken, reason) in ended {
            match reason {
                None => self.volumes.count(|counts| counts.native_completed += 1),
                Some(reason) => {
                    let name = &taken.record.spec.persistent_volume_name;
                    let message = Message::new("Error waiting for the snapshot of a volume");
                    self.log.error(Place::Cluster, message.resource(VOLUMES).name(name).cause(&reason));
                }
            }
            self.note(&taken)?;
        }
        Ok(())
    }

    fn note(&self, taken: &Taken) -> Result<(), serde_json::Error> {
        let Taken { location: _, record, claim, started } = taken;
        let listed = serde_json::to_value(record)?;
        self.volumes.list(|lists| lists.native.push(listed));
        let SnapshotRecord { spec, status } = record;
        let (pvc_namespace, pvc_name) = claim.clone().unzip();
        self.volumes.keep(Entry {
            pvc_name,
            pvc_namespace,
            pv_name: Some(spec.persistent_volume_name.clone()),
            backup_method: Some(Method::NativeSnapshot),
            start_timestamp: Some(*started),
            result: Some(match status.phase {
                Phase::Completed => Success::Succeeded,
                Phase::New | Phase::Failed => Success::Failed,
            }),
            native_snapshot_info: Some(NativeSnapshotInfo {
                snapshot_handle: status.provider_snapshot_id.clone(),
                volume_type: spec.volume_type.clone(),
                volume_az: spec.volume_az.clone(),
                iops: spec.volume_iops.unwrap_or_default().to_string(),
                phase: status.phase.name().to_owned(),
            }),
            pv_info: self.volumes.volume_facts(&spec.persistent_volume_name),
            ..Entry::default()
        });
        Ok(())
    }
}
