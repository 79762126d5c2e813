//! Snapshots that nobody needs any more.

use std::collections::BTreeMap;

use rustic_core::repofile::{SnapshotFile, SnapshotId};

use super::error::Cause;
use super::restore::find;
use super::{Error, Repository, Tags};

/// What became of a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Forgotten {
    Now,
    /// It was not there.
    Before,
}

impl Repository {
    /// Removes a snapshot, if it is the one of this backup and volume. Its data goes with the next [`Repository::prune`].
    pub async fn forget(&self, snapshot: &str, tags: &Tags) -> Result<Forgotten, Error> {
        let (id, tags) = (snapshot.to_owned(), tags.clone());
        self.open_with(move |opened| {
            let failed = |error| Error::Forget(Cause::from(error));
            let listed = opened.list::<SnapshotId>().map_err(failed)?;
            if !listed.into_iter().any(|listed| *listed.to_hex() == *id) {
                return Ok(Forgotten::Before);
            }
            let found = find(&opened, &id)?;
            if let Some(missing) = tags.missing_in(&found.tags) {
                return Err(Error::Mixed { id, missing });
            }
            opened.delete_snapshots(&[found.id]).map_err(failed)?;
            Ok(Forgotten::Now)
        })
        .await
    }

    /// Removes all snapshots of this backup and volume: an interrupted attempt may have left one that nobody noted.
    pub async fn forget_all(&self, tags: &Tags) -> Result<(), Error> {
        let tags = tags.clone();
        self.open_with(move |opened| {
            let failed = |error| Error::Forget(Cause::from(error));
            let same = |snapshot: &SnapshotFile| tags.missing_in(&snapshot.tags).is_none();
            let found = opened.get_matching_snapshots(same).map_err(failed)?;
            let ids: Vec<SnapshotId> = found.iter().map(|snapshot| snapshot.id).collect();
            opened.delete_snapshots(&ids).map_err(failed)
        })
        .await
    }

    /// Removes all snapshots with a tag, and tells how many that were.
    pub async fn forget_tagged(&self, key: &str, value: &str) -> Result<usize, Error> {
        let tag = format!("{key}={value}");
        self.open_with(move |opened| {
            let failed = |error| Error::Forget(Cause::from(error));
            let same = |snapshot: &SnapshotFile| snapshot.tags.contains(&tag);
            let found = opened.get_matching_snapshots(same).map_err(failed)?;
            let ids: Vec<SnapshotId> = found.iter().map(|snapshot| snapshot.id).collect();
            opened.delete_snapshots(&ids).map_err(failed)?;
            Ok(ids.len())
        })
        .await
    }

    /// All tags of a snapshot, if it is the one of this backup and volume.
    pub async fn tags_of(&self, snapshot: &str, tags: &Tags) -> Result<BTreeMap<String, String>, Error> {
        let (id, tags) = (snapshot.to_owned(), tags.clone());
        self.open_with(move |opened| {
            let found = find(&opened, &id)?;
            match tags.missing_in(&found.tags) {
                Some(missing) => Err(Error::Mixed { id, missing }),
                None => Ok(Tags::read(&found.tags)),
            }
        })
        .await
    }

    /// The IDs of all snapshots.
    pub async fn snapshots(&self) -> Result<Vec<String>, Error> {
        self.open_with(|opened| {
            let listed = opened.list::<SnapshotId>().map_err(|error| Error::Forget(Cause::from(error)))?;
            Ok(listed.map(|id| id.to_hex().to_string()).collect())
        })
        .await
    }
}
