//! Backups that have all expired: from a daemon that has just started until their resources and their files are gone.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use futures::{StreamExt, TryStreamExt};
use holdfast_policy::velero::{Backup, to_metadata_json};
use kube::api::{ListParams, PostParams};
use serde_json::json;

use super::Row;
use crate::daemon::{Daemon, DaemonOptions};
use crate::runs::Runs;
use crate::testbed::Testbed;

const NAMESPACE: &str = "velero";
const BUCKET: &str = "bench";
const CLUSTER: &str = "bench";
const IN_FLIGHT: usize = 32;
const PATIENCE: Duration = Duration::from_secs(600);
const POLL: Duration = Duration::from_millis(50);
/// What stands in a folder beside the record, as a backup without volumes leaves it.
const FILES: [&str; 8] = [
    ".tar.gz",
    "-logs.gz",
    "-results.gz",
    "-resource-list.json.gz",
    "-itemoperations.json.gz",
    "-volumeinfo.json.gz",
    "-volumesnapshots.json.gz",
    "-podvolumebackups.json.gz",
];

pub(super) async fn measure(backups: usize) -> anyhow::Result<Row> {
    let storage = tempfile::tempdir().context("creating a folder for the bucket")?;
    let testbed = Testbed::start().await?;
    let runs = Runs::in_namespace(testbed.client()?, NAMESPACE).await?;
    let options = || {
        let mut options = DaemonOptions::default();
        options.arguments.push(format!("--cluster-name={CLUSTER}"));
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
                let backup = expired(&format!("nightly-{number:05}"))?;
                put(&folder, &backup)?;
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
        backups: backups as u64,
        elapsed,
        cost: daemon.cost()?,
        target: 50.0,
    })
}

fn expired(name: &str) -> anyhow::Result<Backup> {
    let backup = json!({
        "metadata": {"name": name, "annotations": {"holdfast.dev/cluster": CLUSTER}},
        "spec": {"storageLocation": "default", "includedNamespaces": ["shop"]},
        "status": {
            "phase": "Completed", "startTimestamp": "2026-01-01T01:00:00Z", "expiration": "2026-02-01T01:00:00Z",
        },
    });
    Ok(serde_json::from_value(backup)?)
}

fn put(folder: &Path, backup: &Backup) -> anyhow::Result<()> {
    let name = backup.metadata.name.as_deref().unwrap_or_default();
    let folder = folder.join(name);
    std::fs::create_dir_all(&folder)?;
    for ending in FILES {
        let content = match ending {
            "-resource-list.json.gz" => holdfast::archive::gzip_json(&json!({"v1/ConfigMap": ["shop/a"]}))?,
            "-itemoperations.json.gz" | "-volumeinfo.json.gz" => holdfast::archive::gzip_json(&json!([]))?,
            "-volumesnapshots.json.gz" | "-podvolumebackups.json.gz" => {
                holdfast::archive::gzip_json(&json!(null))?
            }
            _ => vec![b'x'; 4096].into(),
        };
        std::fs::write(folder.join(format!("{name}{ending}")), content)?;
    }
    Ok(std::fs::write(folder.join("velero-backup.json"), to_metadata_json(backup))?)
}
