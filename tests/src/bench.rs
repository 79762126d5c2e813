//! How fast the daemon backs up and restores, beside what the same API server gives a bare client.
//!
//! Everything shares this machine, so what counts is the ratio of two figures of the same run.

pub mod backup;
pub mod files;
pub mod lifecycle;
mod memory;
mod mix;
pub mod policies;
mod raw;
pub mod report;
pub mod restore;

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use holdfast_policy::velero::{BackupPhase, BackupSpec, RestorePhase, RestoreSpec};

use crate::daemon::Daemon;
use crate::runs::Runs;
use report::{Measurement, Step};

const NAMESPACE: &str = "velero";
const BUCKET: &str = "bench";
/// For a whole backup or restore.
const PATIENCE: Duration = Duration::from_secs(1800);

/// What there is of these namespaces, and of everything where there are none.
async fn back_up(
    runs: &Runs,
    daemon: &Daemon,
    name: &str,
    namespaces: Vec<String>,
) -> anyhow::Result<Measurement> {
    let spec = BackupSpec {
        included_namespaces: namespaces,
        included_resources: mix::KINDS.iter().map(|kind| kind.group_resource()).collect(),
        ..BackupSpec::default()
    };
    let cost = daemon.cost()?;
    let started = Instant::now();
    let backup = runs.backup(name, spec, PATIENCE).await?;
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

async fn restore_all(
    runs: &Runs,
    daemon: &Daemon,
    name: &str,
    backup: &str,
    step: Step,
) -> anyhow::Result<Measurement> {
    let spec = RestoreSpec { backup_name: Some(backup.to_owned()), ..RestoreSpec::default() };
    let cost = daemon.cost()?;
    let started = Instant::now();
    let restore = runs.restore(name, spec, PATIENCE).await?;
    let elapsed = started.elapsed();
    ensure!(restore.status_phase() == RestorePhase::Completed, "the restore ended so: {:?}", restore.status);
    let items = restore.status.progress.map(|progress| progress.items_restored);
    Ok(Measurement {
        step,
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
