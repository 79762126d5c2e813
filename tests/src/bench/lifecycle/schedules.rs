//! Many Schedules, and all of them due at one instant.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use chrono::{DateTime, Datelike, DurationRound, TimeDelta, Timelike, Utc};
use futures::{StreamExt, TryStreamExt};
use holdfast_policy::velero::{Backup, Schedule};
use kube::api::{ListParams, PostParams};
use kube::{Api, ResourceExt};
use serde_json::json;

use super::{Goal, Row, bucket};
use crate::daemon::{Daemon, DaemonOptions};
use crate::runs::Runs;
use crate::testbed::Testbed;

const NAMESPACE: &str = "velero";
const BUCKET: &str = "bench";
/// Due in a year's time at the latest, and not while it is measured with.
pub(super) const NEVER: &str = "0 0 29 2 *";
const IN_FLIGHT: usize = 32;
/// For the Schedules to be known before they are due.
const NOTICE: TimeDelta = TimeDelta::seconds(30);
const PATIENCE: Duration = Duration::from_secs(300);
const POLL: Duration = Duration::from_millis(100);

#[expect(clippy::disallowed_methods, reason = "the daemon under measurement has the system's clock")]
pub(super) async fn measure(schedules: usize) -> anyhow::Result<Row> {
    let storage = tempfile::tempdir().context("creating a folder for the bucket")?;
    let testbed = Testbed::start().await?;
    let runs = Runs::in_namespace(testbed.client()?, NAMESPACE).await?;
    let mut options = DaemonOptions::default();
    options.arguments.push(format!("--cluster-name={}", bucket::CLUSTER));
    let daemon = Daemon::start(&testbed, options).await?;
    runs.local_location("default", storage.path(), BUCKET).await?;
    eprintln!("bench: creating {schedules} schedules");
    let created = Instant::now();
    create(&runs.api(), schedules, NEVER).await?;
    let due = (Utc::now() + NOTICE + TimeDelta::from_std(created.elapsed())?)
        .duration_trunc(TimeDelta::minutes(1))
        .context("rounding an instant")?
        + TimeDelta::minutes(1);
    let cron = format!("{} {} {} {} *", due.minute(), due.hour(), due.day(), due.month());
    make_due(&runs.api(), &cron).await?;
    ensure!(Utc::now() < due, "the Schedules were not changed in time");
    eprintln!("bench: waiting until {due}");
    let before = daemon.cost()?;
    tokio::time::sleep((due - Utc::now()).to_std().unwrap_or_default()).await;
    let api = runs.api::<Backup>();
    let started = Instant::now();
    let elapsed = loop {
        let list = api.list_metadata(&ListParams::default()).await.context("listing the Backups")?;
        if list.items.len() >= schedules {
            let elapsed = started.elapsed();
            latest(list.items.iter().filter_map(|backup| backup.creation_timestamp()), due);
            break elapsed;
        }
        ensure!(started.elapsed() < PATIENCE, "{} Backups were made", list.items.len());
        tokio::time::sleep(POLL).await;
    };
    Ok(Row {
        what: "schedules due at once, backups made",
        count: schedules as u64,
        elapsed,
        cost: daemon.cost()?.since(before),
        goal: Goal::PerSecond(200.0),
    })
}

/// Schedules that wait for their time.
pub(super) async fn create(api: &Api<Schedule>, schedules: usize, cron: &str) -> anyhow::Result<()> {
    futures::stream::iter(0..schedules)
        .map(|number| async move {
            let schedule: Schedule = serde_json::from_value(json!({
                "metadata": {"name": format!("schedule-{number:04}")},
                "spec": {
                    "schedule": cron, "skipImmediately": true,
                    "template": {"includedNamespaces": [format!("team-{number}")], "ttl": "720h0m0s"},
                },
            }))?;
            api.create(&PostParams::default(), &schedule).await.context("creating a Schedule")?;
            anyhow::Ok(())
        })
        .buffer_unordered(IN_FLIGHT)
        .try_collect()
        .await
}

async fn make_due(api: &Api<Schedule>, cron: &str) -> anyhow::Result<()> {
    let schedules = api.list_metadata(&ListParams::default()).await.context("listing the Schedules")?;
    let patch = kube::api::Patch::Merge(json!({"spec": {"schedule": cron}}));
    futures::stream::iter(schedules.items)
        .map(|schedule| {
            let patch = &patch;
            async move {
                api.patch(&schedule.name_any(), &kube::api::PatchParams::default(), patch)
                    .await
                    .context("changing a Schedule")?;
                anyhow::Ok(())
            }
        })
        .buffer_unordered(IN_FLIGHT)
        .try_collect()
        .await
}

/// Tells how late the last one was, in the whole seconds that the API server keeps.
fn latest(
    made: impl Iterator<Item = k8s_openapi::apimachinery::pkg::apis::meta::v1::Time>,
    due: DateTime<Utc>,
) {
    let last = made.map(|time| time.0.as_second()).max().unwrap_or_default();
    eprintln!("bench: the last Backup was made {} s after {due}", last - due.timestamp());
}
