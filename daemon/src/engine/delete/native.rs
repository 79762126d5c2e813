//! Snapshots that their provider's own interface made: deleted through the VolumeSnapshotLocations that they lie in.
//!
//! No action of the list: what a location is, and its Secret, only the engine reads.

use std::collections::BTreeMap;

use futures::{StreamExt, stream};
use kube::Client;

use super::DATA_AT_A_TIME;
use crate::actions::delete::VolumeData;
use crate::causes::with_causes;
use crate::engine::native::{Purpose, SnapshotLocations, SnapshotRecord};
use crate::snapshotters::{Snapshotter, VolumeSnapshotter};

/// One snapshot, with what binds it to its backup.
#[derive(Debug)]
pub struct NativeSnapshot {
    data: VolumeData,
    record: SnapshotRecord,
}

/// Snapshots of one location, which can be deleted as far as that can be told before one is.
pub struct Opened<'a> {
    location: &'a str,
    snapshotter: Snapshotter,
    snapshots: Vec<&'a NativeSnapshot>,
}

/// Takes out of the data of a backup what is deleted here.
pub fn take(data: Vec<VolumeData>) -> (Vec<NativeSnapshot>, Vec<VolumeData>) {
    let mut taken = Vec::new();
    let mut others = Vec::new();
    for data in data {
        let record = match &data {
            VolumeData::Native { entry, .. } => serde_json::from_value(entry.clone()).ok(),
            VolumeData::Csi { .. }
            | VolumeData::CsiGroup { .. }
            | VolumeData::Moved { .. }
            | VolumeData::PodVolume { .. } => None,
        };
        match record {
            Some(record) => taken.push(NativeSnapshot { data, record }),
            None => others.push(data),
        }
    }
    (taken, others)
}

/// Opens each location once, or gives the errors of all snapshots that can't be deleted.
pub async fn open<'a>(
    snapshots: &'a [NativeSnapshot],
    backup: &str,
    client: &Client,
    namespace: &str,
) -> Result<Vec<Opened<'a>>, Vec<String>> {
    let locations = SnapshotLocations::new(client, namespace);
    let mut by_location: BTreeMap<&str, Vec<&NativeSnapshot>> = BTreeMap::new();
    let mut errors = Vec::new();
    for snapshot in snapshots {
        let spec = &snapshot.record.spec;
        if spec.backup_name != backup {
            errors.push(format!("{}: its entry is one of backup {:?}", snapshot.data, spec.backup_name));
        }
        by_location.entry(&spec.location).or_default().push(snapshot);
    }
    let mut opened = Vec::new();
    for (location, snapshots) in by_location {
        match locations.open(location, Purpose::RestoreOrDelete).await {
            Ok(snapshotter) => opened.push(Opened { location, snapshotter, snapshots }),
            Err(error) => {
                let error = with_causes(&error);
                errors.extend(snapshots.iter().map(|snapshot| format!("{}: {error}", snapshot.data)));
            }
        }
    }
    if errors.is_empty() { Ok(opened) } else { Err(errors) }
}

/// Deletes all, goes on after a failure, and gives the errors of all.
pub async fn delete(opened: Vec<Opened<'_>>) -> Result<(), Vec<String>> {
    let mut errors = Vec::new();
    for location in opened {
        errors.extend(location.delete().await);
    }
    if errors.is_empty() { Ok(()) } else { Err(errors) }
}

impl Opened<'_> {
    async fn delete(self) -> Vec<String> {
        let Opened { location, snapshotter, snapshots } = self;
        let deletions: Vec<_> =
            snapshots.into_iter().map(|snapshot| snapshot.delete(snapshotter.as_ref())).collect();
        let deleted: Vec<Result<(), String>> =
            stream::iter(deletions).buffer_unordered(DATA_AT_A_TIME).collect().await;
        let tidied = snapshotter.tidy().await;
        let tidied = tidied.map_err(|error| format!("error tidying snapshot location {location}: {error}"));
        deleted.into_iter().chain([tidied]).filter_map(Result::err).collect()
    }
}

impl NativeSnapshot {
    async fn delete(&self, snapshotter: &dyn VolumeSnapshotter) -> Result<(), String> {
        let NativeSnapshot { data, record } = self;
        let id = &record.status.provider_snapshot_id;
        let deleted = snapshotter.delete_snapshot(id, &record.binding()).await;
        deleted.map_err(|error| format!("{data}: {error}"))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;

    use super::*;
    use crate::snapshotters::recorded::Recorded;

    fn snapshots(ids: &[&str]) -> Vec<NativeSnapshot> {
        let data = |id: &&str| VolumeData::Native {
            snapshot: (*id).to_owned(),
            location: "ebs".to_owned(),
            entry: json!({
                "spec": {"backupName": "one", "location": "ebs"}, "status": {"providerSnapshotID": id},
            }),
        };
        take(ids.iter().map(data).collect()).0
    }

    #[tokio::test]
    async fn a_location_is_tidied_once_behind_all_of_its_snapshots_whatever_fails() {
        let recorded = Arc::new(Recorded { refused: "snap-2", ..Recorded::default() });
        let snapshots = snapshots(&["snap-1", "snap-2", "snap-3"]);
        let opened =
            Opened { location: "ebs", snapshotter: recorded.clone(), snapshots: snapshots.iter().collect() };
        let errors = delete(vec![opened]).await.unwrap_err();
        assert_eq!(errors, ["error deleting snapshot snap-2: snap-2 is refused"]);
        assert_eq!(recorded.calls(), ["delete snap-1", "delete snap-2", "delete snap-3", "tidy"]);
    }
}
