//! How fast the daemon backs up and restores, beside what the same API server gives a bare client.
//!
//! One control plane is filled (the bare POSTs are measured by that), listed by a bare client and backed up; then
//! the backup is restored into a second, empty one. Everything shares this machine, so what counts is the ratio of
//! two figures of the same run.

pub mod lifecycle;
mod mix;
pub mod policies;
mod raw;
pub mod report;

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use holdfast_policy::velero::{BackupPhase, BackupSpec, RestorePhase, RestoreSpec};

use crate::daemon::{Daemon, DaemonOptions};
use crate::runs::Runs;
use crate::testbed::Testbed;
use report::{Measurement, Report, Step};

const NAMESPACE: &str = "velero";
const BUCKET: &str = "bench";
const BACKUP: &str = "bench";
/// For a whole backup or restore.
const PATIENCE: Duration = Duration::from_secs(1800);

/// Measures with so many objects.
pub async fn run(objects: usize) -> anyhow::Result<Report> {
    let storage = tempfile::tempdir().context("creating a folder for the bucket")?;
    let mut measurements = Vec::new();

    let testbed = Testbed::start().await?;
    let runs = Runs::in_namespace(testbed.client()?, NAMESPACE).await?;
    progress(&format!("creating {objects} objects"));
    measurements.push(told(raw::create(&testbed, objects).await?));
    raw::wait_until_settled(&testbed).await?;
    progress("listing them");
    measurements.push(told(raw::list(&testbed).await?));
    progress("backing them up");
    let daemon = Daemon::start(&testbed, DaemonOptions::default()).await?;
    runs.local_location("default", storage.path(), BUCKET).await?;
    measurements.push(told(backup(&runs, &daemon).await?));
    drop(daemon);
    drop(testbed);

    progress("restoring them into an empty cluster");
    let testbed = Testbed::start().await?;
    let runs = Runs::in_namespace(testbed.client()?, NAMESPACE).await?;
    mix::install_definition(&testbed).await?;
    let daemon = Daemon::start(&testbed, DaemonOptions::default()).await?;
    runs.local_location("default", storage.path(), BUCKET).await?;
    runs.adopt(&storage.path().join(BUCKET), BACKUP).await?;
    measurements.push(told(restore(&runs, &daemon).await?));
    Ok(Report { measurements })
}

async fn backup(runs: &Runs, daemon: &Daemon) -> anyhow::Result<Measurement> {
    let spec = BackupSpec {
        included_resources: mix::KINDS.iter().map(|kind| kind.group_resource()).collect(),
        ..BackupSpec::default()
    };
    let cost = daemon.cost()?;
    let started = Instant::now();
    let backup = runs.backup(BACKUP, spec, PATIENCE).await?;
    let elapsed = started.elapsed();
    ensure!(backup.status_phase() == BackupPhase::Completed, "the backup ended so: {:?}", backup.status);
    let items = backup.status.progress.map(|progress| progress.items_backed_up);
    Ok(Measurement {
        step: Step::Backup,
        objects: u64::try_from(items.unwrap_or_default()).context("reading the backup's progress")?,
        elapsed,
        cost: Some(daemon.cost()?.since(cost)),
    })
}

async fn restore(runs: &Runs, daemon: &Daemon) -> anyhow::Result<Measurement> {
    let spec = RestoreSpec { backup_name: Some(BACKUP.to_owned()), ..RestoreSpec::default() };
    let cost = daemon.cost()?;
    let started = Instant::now();
    let restore = runs.restore("bench", spec, PATIENCE).await?;
    let elapsed = started.elapsed();
    ensure!(restore.status_phase() == RestorePhase::Completed, "the restore ended so: {:?}", restore.status);
    let items = restore.status.progress.map(|progress| progress.items_restored);
    Ok(Measurement {
        step: Step::Restore,
        objects: u64::try_from(items.unwrap_or_default()).context("reading the restore's progress")?,
        elapsed,
        cost: Some(daemon.cost()?.since(cost)),
    })
}

/// Each figure is told at once: a later step may take long, or fail.
fn told(measurement: Measurement) -> Measurement {
    progress(&measurement.line());
    measurement
}

fn progress(what: &str) {
    eprintln!("bench: {what}");
}
