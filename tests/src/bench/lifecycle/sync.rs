//! A bucket full of backups: how soon the cluster knows them, what it costs to look again, and what the daemon takes
//! while nothing happens.

use std::fs::{self, File, FileTimes};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, ensure};
use holdfast_policy::velero::{Backup, Schedule};
use kube::Api;
use kube::api::ListParams;

use super::{Goal, Row, bucket, schedules};
use crate::daemon::{Daemon, DaemonOptions};
use crate::runs::Runs;
use crate::testbed::Testbed;

const NAMESPACE: &str = "velero";
const BUCKET: &str = "bench";
const LATER: &str = "2096-02-01T01:00:00Z";
const SCHEDULES: usize = 1_000;
/// How long the idle daemon is looked at: two looks at the bucket fall into it.
const IDLE: Duration = Duration::from_secs(120);
const PATIENCE: Duration = Duration::from_secs(900);
const POLL: Duration = Duration::from_millis(100);
/// What the daemon logs at the end of each look at a bucket.
const LOOKED: &str = "looked for backups in the bucket";

pub(super) async fn measure(backups: usize) -> anyhow::Result<Vec<Row>> {
    let storage = tempfile::tempdir().context("creating a folder for the bucket")?;
    let testbed = Testbed::start().await?;
    let runs = Runs::in_namespace(testbed.client()?, NAMESPACE).await?;
    let folder = storage.path().join(BUCKET).join("backups");
    eprintln!("bench: filling a bucket with {backups} backups");
    for number in 0..backups {
        bucket::put(&folder, &bucket::ended(&format!("nightly-{number:05}"), LATER)?)?;
    }

    let daemon = Daemon::start(&testbed, options()).await?;
    eprintln!("bench: bringing them into the cluster");
    let started = Instant::now();
    runs.local_location("default", storage.path(), BUCKET).await?;
    let api = runs.api::<Backup>();
    while count(&api).await? < backups {
        ensure!(started.elapsed() < PATIENCE, "{} backups are in the cluster", count(&api).await?);
        tokio::time::sleep(POLL).await;
    }
    let first = Row {
        what: "first sync of a bucket (local)",
        count: backups as u64,
        elapsed: started.elapsed(),
        cost: daemon.cost()?,
        goal: Goal::PerSecond(200.0),
    };
    daemon.stop().await?;

    eprintln!("bench: letting a daemon rest beside them, and {SCHEDULES} schedules");
    schedules::create(&runs.api::<Schedule>(), SCHEDULES, schedules::NEVER).await?;
    let daemon = Daemon::start(&testbed, options()).await?;
    after_looks(&daemon, 1).await?;
    tokio::time::sleep(Duration::from_secs(5)).await;
    let records = Records::unread(&folder)?;
    daemon.forget_peak()?;
    let (before, looks_before) = (daemon.cost()?, looks(&daemon).len());
    tokio::time::sleep(IDLE).await;
    let cost = daemon.cost()?.since(before);
    let idle = Row {
        what: "idle, and 1,000 schedules",
        count: backups as u64,
        elapsed: IDLE,
        cost,
        goal: Goal::Idle { processor_percent: 1.0, memory_mebibytes: 48.0 },
    };
    let looks = looks(&daemon).split_off(looks_before);
    let slowest = looks.iter().max().context("the daemon has not looked into the bucket again")?;
    let read = records.read_since()?;
    ensure!(read == 0, "{read} records were read again");
    let again = Row {
        what: "sync with nothing new, no reads",
        count: backups as u64,
        elapsed: *slowest,
        cost,
        goal: Goal::Within(Duration::from_secs(2)),
    };
    Ok(vec![first, again, idle])
}

fn options() -> DaemonOptions {
    let mut options = DaemonOptions::default();
    options.arguments.extend([format!("--cluster-name={}", bucket::CLUSTER), "--log-level=debug".to_owned()]);
    options
}

async fn count(api: &Api<Backup>) -> anyhow::Result<usize> {
    let list = api.list_metadata(&ListParams::default().limit(1)).await.context("counting the Backups")?;
    let more = list.metadata.remaining_item_count.unwrap_or_default();
    Ok(list.items.len() + usize::try_from(more).unwrap_or_default())
}

async fn after_looks(daemon: &Daemon, wanted: usize) -> anyhow::Result<()> {
    let started = Instant::now();
    while looks(daemon).len() < wanted {
        ensure!(started.elapsed() < PATIENCE, "the daemon does not look into the bucket");
        tokio::time::sleep(POLL).await;
    }
    Ok(())
}

/// How long each look at the bucket took.
fn looks(daemon: &Daemon) -> Vec<Duration> {
    let milliseconds = |line: &str| {
        let line: serde_json::Value = serde_json::from_str(line).ok()?;
        let line = line.get("fields").unwrap_or(&line).clone();
        line.get("milliseconds")?.as_u64()
    };
    let log = daemon.log_text();
    let lines = log.lines().filter(|line| line.contains(LOOKED));
    lines.filter_map(milliseconds).map(Duration::from_millis).collect()
}

/// The records of a bucket, whose times tell when they are read.
struct Records(Vec<PathBuf>);

impl Records {
    /// Sets the time of the last access back behind that of the last change, where Linux moves it at the next read.
    fn unread(folder: &Path) -> anyhow::Result<Records> {
        let mut paths = Vec::new();
        for entry in fs::read_dir(folder).context("looking into the bucket")? {
            let path = entry?.path().join("velero-backup.json");
            let file = File::open(&path).context("opening a record")?;
            file.set_times(FileTimes::new().set_accessed(SystemTime::UNIX_EPOCH)).context("setting times")?;
            paths.push(path);
        }
        let last = paths.pop().context("the bucket is empty")?;
        fs::read(&last)?;
        ensure!(accessed(&last)?, "this file system does not tell when files are read");
        Ok(Records(paths))
    }

    fn read_since(&self) -> anyhow::Result<usize> {
        let mut read = 0;
        for path in &self.0 {
            read += usize::from(accessed(path)?);
        }
        Ok(read)
    }
}

fn accessed(path: &Path) -> anyhow::Result<bool> {
    Ok(fs::metadata(path)?.accessed()? > SystemTime::UNIX_EPOCH)
}
