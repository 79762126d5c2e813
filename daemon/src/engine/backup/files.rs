//! The files beside the archive: encodes and uploads them, each in the form that Velero writes when there is
//! nothing to tell.

use bytes::Bytes;

use super::Error;
use super::ledger::Ledger;
use super::volume_info::{Lists, VolumeInfo};
use crate::archive;
use crate::engine::run_log::{Counts, RunLog};
use crate::store::{BackupFile, BackupStore};

/// Ends the log and uploads all files. What is reported after this is in none of them.
pub(super) async fn put(
    store: &BackupStore,
    name: &str,
    log: &RunLog,
    ledger: &Ledger,
    volumes: &VolumeInfo,
) -> Result<Counts, Error> {
    let resource_list = ledger.resource_list().map_err(Error::ResourceList)?;
    let Lists { native, pod_volume_backups, operations } = volumes.take_lists();
    let log = log.finish()?;
    let files: [(BackupFile, Bytes); 7] = [
        (BackupFile::Logs, log.log_gz),
        (BackupFile::Results, log.results_gz),
        (BackupFile::ResourceList, resource_list),
        (BackupFile::VolumeInfo, archive::gzip_json(&volumes.entries(ledger))?),
        (BackupFile::ItemOperations, archive::gzip_json(&operations)?),
        (BackupFile::PodVolumeBackups, archive::gzip_json(&null_or(&pod_volume_backups))?),
        (BackupFile::VolumeSnapshots, archive::gzip_json(&null_or(&native))?),
    ];
    for (file, content) in files {
        store.put_backup_file(name, file, content).await.map_err(Error::File)?;
    }
    Ok(log.counts)
}

/// Velero writes an empty list of these kinds as null.
fn null_or<T>(list: &[T]) -> Option<&[T]> {
    (!list.is_empty()).then_some(list)
}
