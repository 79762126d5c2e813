//! A backup restored into an empty cluster, beside a client that only POSTs the same objects; then once more, where
//! everything is there, beside one that only GETs them.

use anyhow::Context;
use holdfast_policy::velero::{Backup, BackupPhase};

use super::report::{Report, Step};
use super::{BUCKET, NAMESPACE, PATIENCE, back_up, mix, progress, raw, restore_all, told};
use crate::daemon::{Daemon, DaemonOptions};
use crate::runs::Runs;
use crate::testbed::Testbed;

const BACKUP: &str = "bench";
/// The bare client tries each, so that the restore is compared with the best.
const IN_FLIGHT: [usize; 3] = [16, 32, 64];
/// As many as the restore has.
const GETS_IN_FLIGHT: usize = 32;

/// Measures with so many objects.
pub async fn run(objects: usize) -> anyhow::Result<Report> {
    // Whole namespaces, so that each try has its own.
    let objects = objects.next_multiple_of(mix::OBJECTS_PER_NAMESPACE);
    let storage = tempfile::tempdir().context("creating a folder for the bucket")?;
    let mut measurements = Vec::new();

    let mut first = 0;
    let mut numbers = 0..0;
    let testbed = Testbed::start().await?;
    let runs = Runs::in_namespace(testbed.client()?, NAMESPACE).await?;
    for in_flight in IN_FLIGHT {
        numbers = first..first + objects;
        first = numbers.end;
        progress(&format!("creating {objects} objects"));
        measurements.push(told(raw::create(&testbed, numbers.clone(), in_flight).await?));
        raw::wait_until_settled(&testbed).await?;
    }
    progress("backing the last ones up");
    let daemon = Daemon::start(&testbed, DaemonOptions::default()).await?;
    runs.local_location("default", storage.path(), BUCKET).await?;
    told(back_up(&runs, &daemon, BACKUP, mix::namespaces(numbers.clone())).await?);
    drop(daemon);
    drop(testbed);

    progress("restoring them into an empty cluster");
    let testbed = Testbed::start().await?;
    let runs = Runs::in_namespace(testbed.client()?, NAMESPACE).await?;
    mix::install_definition(&testbed).await?;
    let daemon = Daemon::start(&testbed, DaemonOptions::default()).await?;
    runs.local_location("default", storage.path(), BUCKET).await?;
    runs.ended::<Backup>(BACKUP, PATIENCE, |backup| backup.status_phase() == BackupPhase::Completed).await?;
    measurements.push(told(restore_all(&runs, &daemon, "first", BACKUP, Step::Restore).await?));
    daemon.stop().await?;

    raw::wait_until_settled(&testbed).await?;
    progress("reading them one by one");
    measurements.push(told(raw::read(&testbed, numbers, GETS_IN_FLIGHT).await?));
    progress("restoring them where they are");
    let daemon = Daemon::start(&testbed, DaemonOptions::default()).await?;
    measurements.push(told(restore_all(&runs, &daemon, "again", BACKUP, Step::RestoreExisting).await?));
    Ok(Report { measurements })
}
