//! Snapshots that their provider's own interface made: deleted through the VolumeSnapshotLocations that they lie in.
//!
//! No action of the list: what a location is, and its Secret, only the engine reads.

use futures::{StreamExt, stream};
use kube::Client;

use super::DATA_AT_A_TIME;
use crate::actions::delete::VolumeData;
use crate::causes::with_causes;
use crate::engine::native::{self, Purpose, SnapshotLocations, SnapshotRecord};
use crate::snapshotters::{self, Snapshotter};

/// One snapshot, with what binds it to its backup.
#[derive(Debug)]
pub struct NativeSnapshot {
    data: VolumeData,
    record: SnapshotRecord,
}

/// Why a snapshot is still there.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("its entry is one of backup {found:?}")]
    OtherBackup { found: String },
    #[error(transparent)]
    Location(#[from] native::Error),
    #[error(transparent)]
    Provider(#[from] snapshotters::Error),
}

/// Takes out of the data of a backup what is deleted here.
pub fn take(data: Vec<VolumeData>) -> (Vec<NativeSnapshot>, Vec<VolumeData>) {
    let mut taken = Vec::new();
    let mut others = Vec::new();
    for data in data {
        let record = match &data {
            VolumeData::Native { entry, .. } => serde_json::from_value(entry.clone()).ok(),
            VolumeData::Csi { .. } | VolumeData::Moved { .. } | VolumeData::PodVolume { .. } => None,
        };
        match record {
            Some(record) => taken.push(NativeSnapshot { data, record }),
            None => others.push(data),
        }
    }
    (taken, others)
}

/// Whether all can be deleted, as far as that can be told before one is: the errors of those that can't.
pub async fn check(
    snapshots: &[NativeSnapshot],
    backup: &str,
    client: &Client,
    namespace: &str,
) -> Result<(), Vec<String>> {
    let locations = SnapshotLocations::new(client, namespace);
    let mut errors = Vec::new();
    for snapshot in snapshots {
        if let Err(error) = open(snapshot, backup, &locations).await {
            errors.push(format!("{}: {}", snapshot.data, with_causes(&error)));
        }
    }
    if errors.is_empty() { Ok(()) } else { Err(errors) }
}

/// Deletes all, goes on after a failure, and gives the errors of all.
pub async fn delete(
    snapshots: &[NativeSnapshot],
    backup: &str,
    client: &Client,
    namespace: &str,
) -> Result<(), Vec<String>> {
    let locations = SnapshotLocations::new(client, namespace);
    let deletions: Vec<_> =
        snapshots.iter().map(|snapshot| delete_one(snapshot, backup, &locations)).collect();
    let outcomes: Vec<Result<(), String>> =
        stream::iter(deletions).buffer_unordered(DATA_AT_A_TIME).collect().await;
    let errors: Vec<String> = outcomes.into_iter().filter_map(Result::err).collect();
    if errors.is_empty() { Ok(()) } else { Err(errors) }
}

async fn delete_one(
    snapshot: &NativeSnapshot,
    backup: &str,
    locations: &SnapshotLocations,
) -> Result<(), String> {
    let deleted = async {
        let snapshotter = open(snapshot, backup, locations).await?;
        let record = &snapshot.record;
        let id = &record.status.provider_snapshot_id;
        Ok::<_, Error>(snapshotter.delete_snapshot(id, &record.binding()).await?)
    };
    deleted.await.map_err(|error| format!("{}: {}", snapshot.data, with_causes(&error)))
}

async fn open(
    snapshot: &NativeSnapshot,
    backup: &str,
    locations: &SnapshotLocations,
) -> Result<Snapshotter, Error> {
    let spec = &snapshot.record.spec;
    if spec.backup_name != backup {
        return Err(Error::OtherBackup { found: spec.backup_name.clone() });
    }
    Ok(locations.open(&spec.location, Purpose::RestoreOrDelete).await?)
}
