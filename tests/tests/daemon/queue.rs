//! Backups on their way through the queue: phases, places, how many at once, and what validation turns away.

use anyhow::Context as _;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use holdfast_policy::velero::{Backup, BackupPhase, BackupStorageLocation, LocationPhase};
use holdfast_tests::S3Server;
use kube::api::{ListParams, Patch, PatchParams, WatchEvent, WatchParams};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use pretty_assertions::assert_eq;
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::home::{Home, PATIENCE, backup_of};

fn signal(server: &S3Server, signal: Signal) -> anyhow::Result<()> {
    Ok(kill(Pid::from_raw(i32::try_from(server.process_id())?), signal)?)
}

/// Phases and places of a Backup until it is completed, each once.
async fn followed(home: &Home, name: &str, version: &str) -> anyhow::Result<Vec<(BackupPhase, i64)>> {
    let api = home.runs.api::<Backup>();
    let parameters = WatchParams::default().fields(&format!("metadata.name={name}"));
    let mut events = api.watch(&parameters, version).await?.boxed();
    let mut seen = Vec::new();
    while let Some(event) = timeout(PATIENCE, events.try_next()).await.context("waiting for a change")?? {
        let backup = match event {
            WatchEvent::Added(backup) | WatchEvent::Modified(backup) => backup,
            WatchEvent::Deleted(_) | WatchEvent::Bookmark(_) | WatchEvent::Error(_) => continue,
        };
        let now = (backup.status_phase(), backup.status.queue_position);
        if seen.last() != Some(&now) {
            seen.push(now);
        }
        if backup.status_phase() == BackupPhase::Completed {
            return Ok(seen);
        }
    }
    anyhow::bail!("the watch ended after {seen:?}")
}

#[tokio::test(flavor = "multi_thread")]
async fn as_many_run_as_may_and_the_others_move_up_through_all_phases() -> anyhow::Result<()> {
    let home = Home::new("queue").await?;
    let server = S3Server::start().await?;
    server.create_bucket("bucket").await?;
    home.s3_credentials(server.access_key(), server.secret_key()).await?;
    home.s3_location(server.endpoint(), "bucket").await?;
    let _daemon = home.daemon(&["--concurrent-backups=2"]).await?;
    home.location_is(LocationPhase::Available).await?;
    let version = home.runs.api::<Backup>().list(&ListParams::default()).await?.metadata.resource_version;
    let version = version.context("a list has a version")?;
    signal(&server, Signal::SIGSTOP)?;
    let held = async {
        for (name, phase, position) in [
            ("a", BackupPhase::InProgress, 0),
            ("b", BackupPhase::InProgress, 0),
            ("c", BackupPhase::Queued, 1),
            ("d", BackupPhase::Queued, 2),
        ] {
            home.runs.create(&Backup::new(name, backup_of(&home.namespace))).await?;
            let backup = home.backup_is(name, phase).await?;
            assert_eq!(backup.status.queue_position, position, "{name}");
        }
        anyhow::Ok(())
    };
    let held = held.await;
    signal(&server, Signal::SIGCONT)?;
    held?;
    use BackupPhase::{Completed, Finalizing, InProgress, New, Queued, ReadyToStart};
    let rest = [(ReadyToStart, 0), (InProgress, 0), (Finalizing, 0), (Completed, 0)];
    for (name, places) in [("a", vec![1]), ("c", vec![1]), ("d", vec![2, 1])] {
        let mut seen = followed(&home, name, &version).await?;
        // Where both slots are free at once, the last leaves the queue from its second place.
        seen.retain(|now| !(name == "d" && *now == (Queued, 1)));
        let places: Vec<i64> = if name == "d" { vec![2] } else { places };
        let expected: Vec<_> = std::iter::once((New, 0))
            .chain(places.into_iter().map(|place| (Queued, place)))
            .chain(rest)
            .collect();
        assert_eq!(seen, expected, "{name}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_backups_created_at_once_all_complete() -> anyhow::Result<()> {
    let home = Home::new("hundred").await?;
    let _daemon = home.daemon(&[]).await?;
    home.local_location().await?;
    let application = home.application("app").await?;
    let names: Vec<String> = (0..100).map(|number| format!("backup-{number:02}")).collect();
    let create = async |name: &String| home.runs.create(&Backup::new(name, backup_of(&application))).await;
    stream::iter(&names).map(create).buffer_unordered(16).try_collect::<Vec<()>>().await?;
    for name in &names {
        home.backup_is(name, BackupPhase::Completed).await?;
    }
    let files = home.files()?;
    let complete = |name: &&String| files.contains(&format!("backups/{name}/velero-backup.json"));
    assert_eq!(names.iter().filter(complete).count(), 100);
    assert_eq!(files.len(), 900, "nine files each");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fails_validation_says_all_that_is_wrong_and_leaves_nothing_in_the_bucket() -> anyhow::Result<()>
{
    let home = Home::new("invalid").await?;
    let _daemon = home.daemon(&[]).await?;
    home.local_location().await?;
    let invalid = async |name: &str, spec: Value| {
        let backup = home.runs.backup(name, serde_json::from_value(spec)?, PATIENCE).await?;
        assert_eq!(backup.status_phase(), BackupPhase::FailedValidation, "{name}");
        assert!(backup.status.start_timestamp.is_none() && backup.status.expiration.is_some(), "{name}");
        anyhow::Ok(backup.status.validation_errors)
    };
    let selector = json!({"matchLabels": {"app": "web"}});
    let errors = invalid(
        "filters",
        json!({
            "includedResources": ["pods"], "includedNamespaceScopedResources": ["pods"],
            "labelSelector": selector, "orLabelSelectors": [selector],
        }),
    )
    .await?;
    assert_eq!(errors.len(), 2, "{errors:?}");
    assert!(errors[0].ends_with("They cannot be used together"), "{errors:?}");
    assert!(errors[1].contains("only one can be specified"), "{errors:?}");
    let errors = invalid("elsewhere", json!({"storageLocation": "no-such-place"})).await?;
    assert!(errors[0].contains("no-such-place was not found"), "{errors:?}");

    let patch = Patch::Merge(json!({"spec": {"accessMode": "ReadOnly"}}));
    let locations = home.runs.api::<BackupStorageLocation>();
    locations.patch("default", &PatchParams::default(), &patch).await?;
    let errors = invalid("read-only", json!({})).await?;
    let text =
        "backup can't be created because backup storage location default is currently in read-only mode";
    assert_eq!(errors, [text]);
    assert_eq!(home.files()?, Vec::<String>::new());
    Ok(())
}
