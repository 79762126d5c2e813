//! Several replicas: one leads, another takes over, and no run is done twice. And Velero's own server beside them.

use std::time::{Duration, Instant};

use anyhow::Context;
use holdfast_policy::holdfast::PolicySet;
use holdfast_policy::velero::{Backup, BackupPhase, BackupSpec, BackupStorageLocation, ServerStatusRequest};
use holdfast_tests::waiting::until;
use holdfast_tests::{Daemon, DaemonOptions, Runs, Testbed};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::events::v1::Event;
use kube::ResourceExt;
use kube::api::{ListParams, Patch, PatchParams, PostParams};
use pretty_assertions::assert_eq;
use reqwest::StatusCode;
use serde_json::json;

const PATIENCE: Duration = Duration::from_secs(60);
/// What the project promises.
const TAKEOVER: Duration = Duration::from_secs(15);

fn options(namespace: &str, instance: &str, ready: &'static str) -> DaemonOptions {
    DaemonOptions {
        namespace: namespace.to_owned(),
        arguments: vec!["--install-crds".to_owned(), format!("--instance={instance}")],
        ready,
        ..DaemonOptions::default()
    }
}

const LEADING: &str = "controllers started";
const STANDING_BY: &str = "standing by";

/// Status and text of a probe.
async fn probe(daemon: &Daemon, path: &str) -> anyhow::Result<(StatusCode, String)> {
    let url = daemon.metrics_url().replace("/metrics", path);
    let answer = reqwest::get(&url).await.with_context(|| url)?;
    Ok((answer.status(), answer.text().await?))
}

#[tokio::test]
async fn a_follower_takes_over_from_a_leader_that_is_gone() -> anyhow::Result<()> {
    let testbed = Testbed::shared().await?;
    let namespace = testbed.namespace("replicas").await?;
    let application = testbed.namespace("application").await?;
    let runs = Runs::in_namespace(testbed.client()?, &namespace).await?;
    let first = Daemon::start(testbed, options(&namespace, "first", LEADING)).await?;
    let second = Daemon::start(testbed, options(&namespace, "second", STANDING_BY)).await?;
    assert_eq!(probe(&second, "/readyz").await?, (StatusCode::OK, "ok: standing by for first".to_owned()));
    assert_eq!(probe(&second, "/healthz").await?.0, StatusCode::OK);
    assert_eq!(probe(&first, "/readyz").await?, (StatusCode::OK, "ok".to_owned()));
    assert!(!second.log_text().contains(LEADING));

    let leases = runs.api::<Lease>();
    let holder = async || anyhow::Ok(leases.get("holdfast").await?.spec.unwrap_or_default().holder_identity);
    assert_eq!(holder().await?.as_deref(), Some("first"));
    let bucket = second.directory().join("buckets");
    runs.local_location("default", &bucket, "bucket").await?;

    let killed = Instant::now();
    first.kill()?;
    let spec = BackupSpec { included_namespaces: vec![application], ..BackupSpec::default() };
    let backup = runs.backup("after", spec, PATIENCE).await?;
    assert_eq!(backup.status_phase(), BackupPhase::Completed, "{:?}", backup.status);
    assert_eq!(holder().await?.as_deref(), Some("second"));
    let claim = backup.annotations().get("holdfast.dev/run-owner").context("a claim")?;
    assert!(claim.starts_with("second/"), "{claim}");
    assert!(killed.elapsed() < TAKEOVER, "{:?}", killed.elapsed());
    Ok(())
}

#[tokio::test]
async fn a_leader_that_stops_gives_the_lead_back() -> anyhow::Result<()> {
    let testbed = Testbed::shared().await?;
    let namespace = testbed.namespace("replicas").await?;
    let first = Daemon::start(testbed, options(&namespace, "first", LEADING)).await?;
    let second = Daemon::start(testbed, options(&namespace, "second", STANDING_BY)).await?;
    let stopped = Instant::now();
    anyhow::ensure!(first.stop().await?.success());
    until("the second leads", TAKEOVER, async || Ok(second.log_text().contains(LEADING).then_some(())))
        .await?;
    // Without waiting until the lease is over.
    assert!(stopped.elapsed() < Duration::from_secs(8), "{:?}", stopped.elapsed());
    Ok(())
}

#[tokio::test]
async fn a_leader_whose_lease_is_taken_ends() -> anyhow::Result<()> {
    let testbed = Testbed::shared().await?;
    let namespace = testbed.namespace("replicas").await?;
    let daemon = Daemon::start(testbed, options(&namespace, "first", LEADING)).await?;
    let runs = Runs::in_namespace(testbed.client()?, &namespace).await?;
    let taken = json!({"spec": {"holderIdentity": "another", "leaseTransitions": 2_000_000_000}});
    runs.api::<Lease>().patch("holdfast", &PatchParams::default(), &Patch::Merge(taken)).await?;
    let told = "the lead was lost: another replica may have it";
    until(told, TAKEOVER, async || Ok(daemon.log_text().contains(told).then_some(()))).await
}

#[tokio::test]
async fn a_run_of_a_leader_that_is_gone_is_finished_once_by_the_next() -> anyhow::Result<()> {
    let testbed = Testbed::shared().await?;
    let namespace = testbed.namespace("replicas").await?;
    let application = testbed.namespace("application").await?;
    let runs = Runs::in_namespace(testbed.client()?, &namespace).await?;
    let first = Daemon::start(testbed, options(&namespace, "first", LEADING)).await?;
    let second = Daemon::start(testbed, options(&namespace, "second", STANDING_BY)).await?;
    runs.local_location("default", &second.directory().join("buckets"), "bucket").await?;
    let spec = BackupSpec { included_namespaces: vec![application], ..BackupSpec::default() };
    runs.create(&Backup::new("handed-over", spec)).await?;
    runs.ended("handed-over", PATIENCE, |backup: &Backup| backup.status_phase() != BackupPhase::New).await?;
    first.kill()?;
    let ended = |backup: &Backup| backup.status.completion_timestamp.is_some();
    let backup = runs.ended("handed-over", PATIENCE, ended).await?;
    let completed = |backup: &Backup| backup.status_phase() == BackupPhase::Completed;
    runs.ended("handed-over", PATIENCE, completed).await.with_context(|| format!("{:?}", backup.status))?;
    let folder = second.directory().join("buckets/bucket/backups");
    let folders: Vec<_> = std::fs::read_dir(&folder)?.collect::<Result<Vec<_>, _>>()?;
    assert_eq!(folders.len(), 1);
    Ok(())
}

#[tokio::test]
async fn a_velero_server_that_answers_is_never_joined() -> anyhow::Result<()> {
    let testbed = Testbed::shared().await?;
    let namespace = testbed.namespace("beside").await?;
    let runs = Runs::in_namespace(testbed.client()?, &namespace).await?;
    // Once, so that its kinds are served.
    drop(Daemon::start(testbed, options(&namespace, "before", LEADING)).await?);
    let requests = runs.api::<ServerStatusRequest>();
    let server = async {
        loop {
            for request in requests.list(&ListParams::default()).await?.items {
                let answer = json!({"status": {
                    "phase": "Processed", "serverVersion": "v1.18.3", "processedTimestamp": "2026-11-23T10:00:00Z",
                }});
                let name = request.name_any();
                requests.patch(&name, &PatchParams::default(), &Patch::Merge(answer)).await?;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    runs.api::<Lease>().delete("holdfast", &Default::default()).await?;
    let mut waiting = options(&namespace, "beside", "is alive in");
    waiting.environment = vec![("HOLDFAST_VELERO_WAIT", "15s".to_owned())];
    let started = Daemon::start(testbed, waiting);
    let outcome: anyhow::Result<String> = tokio::select! {
        daemon = started => daemon.map(|daemon| daemon.log_text()),
        never = server => never,
    };
    let told = match outcome {
        Ok(log) => log,
        // It may have ended before its log was looked at.
        Err(error) => format!("{error:#}"),
    };
    let expected = format!("Velero v1.18.3 is alive in {namespace}: scale it to 0, or use --mode policy");
    assert!(told.contains(&expected), "{told}");
    assert!(!told.contains(LEADING), "{told}");
    Ok(())
}

#[tokio::test]
async fn a_running_pod_of_a_velero_server_is_never_joined() -> anyhow::Result<()> {
    let testbed = Testbed::shared().await?;
    let namespace = testbed.namespace("beside").await?;
    let runs = Runs::in_namespace(testbed.client()?, &namespace).await?;
    let pod: Pod = serde_json::from_value(json!({
        "metadata": {"name": "velero-7d9f"},
        "spec": {"containers": [{
            "name": "velero", "image": "velero/velero:v1.18.3", "command": ["/velero"], "args": ["server"],
        }]},
    }))?;
    runs.api::<Pod>().create(&PostParams::default(), &pod).await?;
    let outcome = Daemon::start(testbed, options(&namespace, "beside", "is alive in")).await;
    let told = match outcome {
        Ok(daemon) => daemon.log_text(),
        Err(error) => format!("{error:#}"),
    };
    let expected = format!("Velero (pod velero-7d9f) is alive in {namespace}");
    assert!(told.contains(&expected), "{told}");
    Ok(())
}

#[tokio::test]
async fn a_velero_server_that_comes_later_stops_the_controllers() -> anyhow::Result<()> {
    let testbed = Testbed::shared().await?;
    let namespace = testbed.namespace("beside").await?;
    let runs = Runs::in_namespace(testbed.client()?, &namespace).await?;
    let policies = tempfile::tempdir()?;
    let policy = "apiVersion: holdfast.dev/v1alpha1\nkind: BackupPolicy\nmetadata: {name: shop}\n\
                  spec: {suspend: true, schedules: [{name: nightly, cron: \"0 1 * * *\"}]}\n";
    std::fs::write(policies.path().join("shop.yaml"), policy)?;
    let mut options = options(&namespace, "beside", LEADING);
    options.arguments.push(format!("--policies=policies={}", policies.path().display()));
    let daemon = Daemon::start(testbed, options).await?;
    runs.local_location("default", &daemon.directory().join("buckets"), "bucket").await?;
    let checked = |location: &BackupStorageLocation| location.status.phase.is_some();
    runs.ended("default", PATIENCE, checked).await?;
    assert_eq!(probe(&daemon, "/readyz").await?.0, StatusCode::OK);

    // The API server notes writes by the second, and those of the second in which we began may be older than we.
    tokio::time::sleep(Duration::from_millis(1100)).await;
    let write = json!({"status": {"phase": "Available", "lastValidationTime": "2026-01-01T00:00:00Z"}});
    let by_velero = PatchParams { field_manager: Some("velero-server".to_owned()), ..PatchParams::default() };
    runs.api::<BackupStorageLocation>().patch("default", &by_velero, &Patch::Merge(write)).await?;
    let stalled = until("a stall", PATIENCE, async || {
        let (status, text) = probe(&daemon, "/readyz").await?;
        Ok((status == StatusCode::SERVICE_UNAVAILABLE).then_some(text))
    })
    .await?;
    let expected =
        "Stalled=ForeignServer: velero-server has written the status of BackupStorageLocation default";
    assert!(stalled.starts_with(expected), "{stalled}");
    assert_eq!(probe(&daemon, "/healthz").await?.0, StatusCode::OK);
    let (_, metrics) = probe(&daemon, "/metrics").await?;
    assert!(metrics.lines().any(|line| line == "holdfast_stalled 1"), "{metrics}");
    until("an event", PATIENCE, async || {
        let events = runs.api::<Event>().list(&ListParams::default()).await?;
        Ok(events.items.into_iter().find(|event| event.reason.as_deref() == Some("ForeignServer")))
    })
    .await?;

    until("a condition", PATIENCE, async || {
        let sets = runs.api::<PolicySet>().get("policies").await?.status.unwrap_or_default().conditions;
        let of = |kind: &str| sets.iter().find(|condition| condition.type_ == kind);
        let told = of("Stalled").is_some_and(|it| it.status == "True" && it.reason == "ForeignServer");
        Ok((told && of("Ready").is_some_and(|it| it.status == "False")).then_some(()))
    })
    .await?;

    // Nothing is started any more.
    runs.create(&Backup::new("refused", BackupSpec::default())).await?;
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(runs.api::<Backup>().get("refused").await?.status_phase(), BackupPhase::New);
    Ok(())
}

#[tokio::test]
async fn a_daemon_that_only_restores_queues_backups_and_says_what_it_is() -> anyhow::Result<()> {
    let testbed = Testbed::shared().await?;
    let namespace = testbed.namespace("restore-only").await?;
    let mut options = options(&namespace, "restores", LEADING);
    options.arguments.push("--restore-only".to_owned());
    let daemon = Daemon::start(testbed, options).await?;
    assert_eq!(probe(&daemon, "/readyz").await?, (StatusCode::OK, "ok: restore-only".to_owned()));
    let runs = Runs::in_namespace(testbed.client()?, &namespace).await?;
    runs.local_location("default", &daemon.directory().join("buckets"), "bucket").await?;
    runs.create(&Backup::new("waits", BackupSpec::default())).await?;
    let queued = |backup: &Backup| backup.status_phase() == BackupPhase::Queued;
    runs.ended("waits", PATIENCE, queued).await?;
    let checked = |location: &BackupStorageLocation| location.status.phase.is_some();
    runs.ended("default", PATIENCE, checked).await?;
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(runs.api::<Backup>().get("waits").await?.status_phase(), BackupPhase::Queued);
    Ok(())
}
