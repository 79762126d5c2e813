//! Deletion of what a backup left in the bucket and beside it, as steps that may each be done again.
//!
//! In: a backup's name, its bucket and its cluster. Out: the data is gone, or the errors that say what is not. The order is
//! [`record`], [`survey`], [`mark`], [`volumes`], [`mark`] again, [`files`]: before the mark nothing has changed; after it
//! `velero-backup.json` says `Deleting`, which nobody restores or imports, and stays until everything else is gone. The
//! second mark says that the files which tell of data elsewhere are needed no more. The custom resources are left to the
//! controller.

use futures::{StreamExt, stream};
use holdfast_policy::velero;
use holdfast_policy::velero::BackupPhase;

use crate::actions::delete::{self as actions, Action, VolumeData};
use crate::archive;
use crate::store::{self, BackupFile, BackupStore, Write};

mod contents;
pub mod native;
pub mod pod_volumes;
mod survey;

pub use survey::{Data, Record, Survey, record, survey};

/// Requests to storage systems that are under way for one backup.
const DATA_AT_A_TIME: usize = 8;
/// How many pieces of data an error names.
const NAMED: usize = 20;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("error reading the backup's metadata")]
    Record(#[source] store::Error),
    #[error("error downloading backup")]
    Download(#[source] store::Error),
    #[error("error getting the backup's {file:?}")]
    File { file: BackupFile, source: store::Error },
    #[error("error getting the backup's {file:?}")]
    Unpack { file: BackupFile, source: archive::Error },
    #[error("error invoking delete item actions")]
    Archive(#[source] archive::Error),
    #[error("error invoking delete item actions: entry {entry} of the archive can't be read: {problem}")]
    Entry { entry: String, problem: String },
    #[error("error invoking delete item actions: object {item} of the archive is no JSON")]
    Item { item: String, source: serde_json::Error },
    #[error(
        "error invoking delete item actions: VolumeSnapshotContent {content} of the archive has handle {found:?}, \
         and the backup's volume info has {expected}: neither is deleted"
    )]
    MixedUp { content: String, found: String, expected: String },
    #[error("error invoking delete item actions: no room for the archive")]
    Spool(#[source] std::io::Error),
    #[error("error invoking delete item actions: reading the archive ended before its time")]
    Interrupted,
    #[error("error marking the backup as deleted in backup storage")]
    Mark(#[source] store::Error),
    #[error("error removing backup from backup storage")]
    Remove(#[source] store::Error),
}

/// Data that no action takes, one text each.
pub fn undeletable(data: &[VolumeData], actions: &[&dyn Action]) -> Vec<String> {
    let left: Vec<&VolumeData> = data.iter().filter(|data| taker(data, actions).is_none()).collect();
    let mut texts: Vec<String> = left
        .iter()
        .take(NAMED)
        .map(|data| format!("{data}: this release can't delete it, so the backup is kept"))
        .collect();
    if left.len() > NAMED {
        texts.push(format!("and {} more like these", left.len() - NAMED));
    }
    texts
}

/// Makes the record in the bucket say that this is no backup any more, and what has become of its data elsewhere.
pub async fn mark(store: &BackupStore, record: &Record, data: Data) -> Result<(), Error> {
    let backup = match record {
        Record::Marked(_, marked) if *marked == data || *marked == Data::Gone => return Ok(()),
        Record::Whole(backup) | Record::Marked(backup, _) => backup,
        // To everybody who reads the bucket it is no backup already.
        Record::Absent | Record::Unreadable { .. } => return Ok(()),
    };
    let mut marked = backup.as_ref().clone();
    marked.status.phase = Some(BackupPhase::Deleting);
    if data == Data::Gone {
        let annotations = marked.metadata.annotations.get_or_insert_default();
        annotations.insert(survey::DATA_GONE.to_owned(), "true".to_owned());
    }
    store.put_backup(&marked, Write::Overwrite).await.map_err(Error::Mark)
}

/// Deletes data outside the folder, some at a time, and goes on after a failure: the errors of all.
pub async fn volumes(
    data: &[VolumeData],
    actions: &[&dyn Action],
    cx: &actions::Context<'_>,
) -> Result<(), Vec<String>> {
    let deletions: Vec<_> = data.iter().map(|data| delete_one(data, actions, cx)).collect();
    let outcomes: Vec<Option<String>> =
        stream::iter(deletions).buffer_unordered(DATA_AT_A_TIME).collect().await;
    let errors: Vec<String> = outcomes.into_iter().flatten().collect();
    if errors.is_empty() { Ok(()) } else { Err(errors) }
}

/// Gives the error, if there is one.
async fn delete_one(data: &VolumeData, actions: &[&dyn Action], cx: &actions::Context<'_>) -> Option<String> {
    match taker(data, actions) {
        Some(action) => action.delete(data, cx).await.err().map(|error| format!("{data}: {error}")),
        None => undeletable(std::slice::from_ref(data), actions).pop(),
    }
}

/// Removes the backup's folder, its record last.
pub async fn files(store: &BackupStore, backup: &str) -> Result<(), Error> {
    store.delete_backup_record_last(backup).await.map_err(Error::Remove)
}

/// Why a keep rule or the ttl may not end a backup: what the bucket says of it is missing or of another backup.
///
/// A person may delete what can't be read; a rule only deletes what it has understood.
pub fn unlike_its_record(backup: &velero::Backup, record: &Record) -> Option<String> {
    let recorded = match record {
        Record::Marked(..) => return None,
        Record::Absent => {
            return match backup.status_phase() {
                BackupPhase::Completed | BackupPhase::PartiallyFailed => {
                    Some("velero-backup.json is not in the bucket".to_owned())
                }
                // A run that failed leaves no record.
                BackupPhase::New
                | BackupPhase::Queued
                | BackupPhase::ReadyToStart
                | BackupPhase::FailedValidation
                | BackupPhase::InProgress
                | BackupPhase::WaitingForPluginOperations
                | BackupPhase::WaitingForPluginOperationsPartiallyFailed
                | BackupPhase::Finalizing
                | BackupPhase::FinalizingPartiallyFailed
                | BackupPhase::Failed
                | BackupPhase::Deleting => None,
            };
        }
        Record::Unreadable { reason } => return Some(reason.clone()),
        Record::Whole(recorded) => recorded,
    };
    if recorded.metadata.name != backup.metadata.name {
        let name = recorded.metadata.name.as_deref().unwrap_or_default();
        return Some(format!("velero-backup.json is that of backup {name:?}"));
    }
    if recorded.status.start_timestamp != backup.status.start_timestamp {
        return Some("velero-backup.json is that of another run of this name".to_owned());
    }
    if recorded.status.expiration > backup.status.expiration {
        return Some("velero-backup.json has a later expiration".to_owned());
    }
    None
}

fn taker<'a>(data: &VolumeData, actions: &[&'a dyn Action]) -> Option<&'a dyn Action> {
    actions.iter().copied().find(|action| action.takes(data))
}

#[cfg(test)]
mod tests;
