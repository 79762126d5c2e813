//! Backups that have all expired: from a daemon that has just started until their resources and their files are gone.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use futures::{StreamExt, TryStreamExt};
use holdfast_policy::velero::Backup;
use kube::api::{ListParams, PostParams};

use super::{Goal, Row, bucket};
use crate::daemon::{Daemon, DaemonOptions};
use crate::runs::Runs;
use crate::testbed::Testbed;

const NAMESPACE: &str = "velero";
const BUCKET: &str = "bench";
const EXPIRED: &str = "2026-02-01T01:00:00Z";
const IN_FLIGHT: usize = 32;
const PATIENCE: Duration = Duration::from_secs(600);
const POLL: Duration = Duration::from_millis(50);

pub(super) async fn measure(backups: usize) -> anyhow::Result<Row> {
    let storage = tempfile::tempdir().context("creating a folder for the bucket")?;
    let testbed = Testbed::start().await?;
    let runs = Runs::in_namespace(testbed.client()?, NAMESPACE).await?;
    let options = || {
        let mut options = DaemonOptions::default();
        options.arguments.push(format!("--cluster-name={}", bucket::CLUSTER));
        options
    };
    // For the definitions.
    Daemon::start(&testbed, options()).await?.stop().await?;
    eprintln!("bench: creating {backups} expired backups");
    runs.local_location("default", storage.path(), BUCKET).await?;
    let folder = storage.path().join(BUCKET).join("backups");
    let api = runs.api::<Backup>();
    futures::stream::iter(0..backups)
        .map(|number| {
            let (api, folder) = (api.clone(), folder.clone());
            async move {
                let backup = bucket::ended(&format!("nightly-{number:05}"), EXPIRED)?;
                bucket::put(&folder, &backup)?;
                api.create(&PostParams::default(), &backup).await.context("creating a Backup")?;
                anyhow::Ok(())
            }
        })
        .buffer_unordered(IN_FLIGHT)
        .try_collect::<Vec<()>>()
        .await?;

    eprintln!("bench: letting them expire");
    let started = Instant::now();
    let daemon = Daemon::start(&testbed, options()).await?;
    loop {
        let left = std::fs::read_dir(&folder).context("looking into the bucket")?.count();
        if left == 0 && api.list(&ListParams::default().limit(1)).await?.items.is_empty() {
            break;
        }
        ensure!(started.elapsed() < PATIENCE, "{left} folders are still there");
        tokio::time::sleep(POLL).await;
    }
    let elapsed = started.elapsed();
    Ok(Row {
        what: "expired backups gone (local)",
        count: backups as u64,
        elapsed,
        cost: daemon.cost()?,
        goal: Goal::PerSecond(50.0),
    })
}
