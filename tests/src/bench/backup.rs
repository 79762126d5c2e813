//! Backups of more and more objects of one control plane, each by a daemon of its own, so that its memory is that of
//! this backup; then many backups at once.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use futures::{StreamExt, TryStreamExt, stream};
use holdfast_policy::velero::{Backup, BackupPhase, BackupSpec};

use super::report::{Measurement, Report, Step};
use super::{BUCKET, NAMESPACE, PATIENCE, back_up, mix, progress, raw, told};
use crate::daemon::{Daemon, DaemonOptions};
use crate::runs::Runs;
use crate::testbed::Testbed;

const SIZES: [usize; 2] = [1_000, 10_000];
const IN_FLIGHT: usize = 32;
const AT_ONCE: usize = 100;
/// For a daemon to come to rest.
const REST: Duration = Duration::from_secs(5);

/// Measures with 1,000, 10,000 and so many objects.
pub async fn run(objects: usize) -> anyhow::Result<Report> {
    let storage = tempfile::tempdir().context("creating a folder for the bucket")?;
    let mut measurements = Vec::new();
    let testbed = Testbed::start().await?;
    let runs = Runs::in_namespace(testbed.client()?, NAMESPACE).await?;

    progress("letting a daemon rest");
    // The first one creates the definitions, which daemons usually find there.
    Daemon::start(&testbed, DaemonOptions::default()).await?.stop().await?;
    let daemon = Daemon::start(&testbed, DaemonOptions::default()).await?;
    runs.local_location("default", storage.path(), BUCKET).await?;
    tokio::time::sleep(REST).await;
    daemon.forget_peak()?;
    tokio::time::sleep(REST).await;
    let cost = Some(daemon.cost()?);
    measurements.push(told(Measurement { step: Step::Idle, objects: 0, elapsed: REST, cost }));
    daemon.stop().await?;

    let mut there = 0;
    for size in SIZES.into_iter().filter(|size| *size < objects).chain([objects]) {
        progress(&format!("creating objects up to {size}"));
        measurements.push(told(raw::create(&testbed, there..size, IN_FLIGHT).await?));
        there = size;
        raw::wait_until_settled(&testbed).await?;
        progress("listing them");
        measurements.push(told(raw::list(&testbed).await?));
        progress("backing them up");
        let daemon = Daemon::start(&testbed, DaemonOptions::default()).await?;
        let name = format!("bench-{size}");
        measurements.push(told(back_up(&runs, &daemon, &name, Vec::new()).await?));
        daemon.stop().await?;
    }

    progress(&format!("making {AT_ONCE} backups at once"));
    let daemon = Daemon::start(&testbed, DaemonOptions::default()).await?;
    measurements.push(told(many(&runs, &daemon, objects).await?));
    Ok(Report { measurements })
}

/// Each of one namespace of the mix.
async fn many(runs: &Runs, daemon: &Daemon, objects: usize) -> anyhow::Result<Measurement> {
    let namespaces = mix::namespaces(0..objects);
    let cost = daemon.cost()?;
    let started = Instant::now();
    let names: Vec<String> = (0..AT_ONCE).map(|number| format!("many-{number:03}")).collect();
    stream::iter(names.iter().enumerate())
        .map(|(number, name)| {
            let namespace = namespaces[number % namespaces.len()].clone();
            let spec = BackupSpec { included_namespaces: vec![namespace], ..BackupSpec::default() };
            let backup = Backup::new(name, spec);
            async move { runs.create(&backup).await }
        })
        .buffer_unordered(IN_FLIGHT)
        .try_collect::<()>()
        .await?;
    let mut items = 0;
    for name in &names {
        let backup = runs.ended(name, PATIENCE, |backup: &Backup| backup.status_phase().has_ended()).await?;
        ensure!(backup.status_phase() == BackupPhase::Completed, "{name} ended so: {:?}", backup.status);
        items += backup.status.progress.map_or(0, |progress| progress.items_backed_up);
    }
    Ok(Measurement {
        step: Step::ManyBackups,
        objects: u64::try_from(items).context("reading the backups' progress")?,
        elapsed: started.elapsed(),
        cost: Some(daemon.cost()?.since(cost)),
    })
}
