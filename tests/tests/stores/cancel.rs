//! A person ends a backup: by its annotation, or by deleting it.

use holdfast_policy::velero::{Backup, BackupPhase};
use holdfast_tests::Door;
use holdfast_tests::door::Rule;
use kube::api::{DeleteParams, Patch, PatchParams};
use pretty_assertions::assert_eq;
use serde_json::json;

use crate::home::{Home, backup_keys, backup_of, logged};
use crate::provider::{Bucket, Open, Provider};

const CANCELLED: &str = "backup execution failed: the backup was cancelled";

/// A location behind a door that holds the file which begins like this.
async fn held(home: &Home, file: &str) -> anyhow::Result<(Door, Open, String)> {
    let bucket = Bucket::new(Provider::Aws).await?;
    let open = bucket.open().await?;
    let door = Door::before(bucket.port.expect("a service")).await?;
    home.location("default", &bucket.clone().at(door.port())).await?;
    let start = format!("PUT /{}/backups/one/{file}", bucket.name());
    door.rule(&start, Rule::Hold);
    Ok((door, open, start))
}

async fn cancel(home: &Home, backup: &str) -> anyhow::Result<()> {
    let patch = Patch::Merge(json!({"metadata": {"annotations": {"holdfast.dev/cancel": "true"}}}));
    home.runs.api::<Backup>().patch(backup, &PatchParams::default(), &patch).await?;
    Ok(())
}

async fn has_failed_as_cancelled(home: &Home, name: &str) -> anyhow::Result<()> {
    let backup = home.backup_is(name, BackupPhase::Failed).await?;
    assert_eq!(backup.status.failure_reason.as_deref(), Some(CANCELLED));
    assert!(backup.status.completion_timestamp.is_some());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_annotation_ends_a_run_wherever_it_is_and_nothing_stays_in_the_bucket() -> anyhow::Result<()> {
    for file in ["one.tar.gz", "one-results.gz"] {
        let home = Home::new("cancel").await?;
        let daemon = home.daemon(&[]).await?;
        let (door, open, start) = held(&home, file).await?;
        home.runs.create(&Backup::new("one", backup_of(&home.namespace))).await?;
        door.met(&start).await?;
        cancel(&home, "one").await?;
        logged(&daemon, &["run of a backup is cancelled"]).await?;
        door.open();
        has_failed_as_cancelled(&home, "one").await?;
        assert_eq!(backup_keys(&open).await?, Vec::<String>::new(), "{file}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn deleting_a_backup_ends_its_run_and_nothing_stays_in_the_bucket() -> anyhow::Result<()> {
    let home = Home::new("deleted").await?;
    let daemon = home.daemon(&[]).await?;
    let (door, open, start) = held(&home, "one-results.gz").await?;
    home.runs.create(&Backup::new("one", backup_of(&home.namespace))).await?;
    door.met(&start).await?;
    home.runs.api::<Backup>().delete("one", &DeleteParams::default()).await?;
    logged(&daemon, &["run of a backup is cancelled"]).await?;
    door.open();
    logged(&daemon, &["run of a deleted backup has ended"]).await?;
    assert_eq!(backup_keys(&open).await?, Vec::<String>::new());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_that_waits_for_its_turn_is_cancelled_at_once() -> anyhow::Result<()> {
    let home = Home::new("queued").await?;
    let _daemon = home.daemon(&["--concurrent-backups=1"]).await?;
    let (door, open, start) = held(&home, "one.tar.gz").await?;
    home.runs.create(&Backup::new("one", backup_of(&home.namespace))).await?;
    door.met(&start).await?;
    home.runs.create(&Backup::new("two", backup_of(&home.namespace))).await?;
    home.backup_is("two", BackupPhase::Queued).await?;
    cancel(&home, "two").await?;
    has_failed_as_cancelled(&home, "two").await?;
    door.open();
    home.backup_is("one", BackupPhase::Completed).await?;
    assert!(backup_keys(&open).await?.iter().all(|key| key.starts_with("one/")));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_cancelled_while_no_daemon_runs_is_cleared_away_by_the_next() -> anyhow::Result<()> {
    let home = Home::new("later").await?;
    let daemon = home.daemon(&[]).await?;
    let (door, open, start) = held(&home, "one-results.gz").await?;
    home.runs.create(&Backup::new("one", backup_of(&home.namespace))).await?;
    door.met(&start).await?;
    daemon.kill()?;
    assert_eq!(backup_keys(&open).await?, ["one/one-logs.gz", "one/one.tar.gz"]);
    cancel(&home, "one").await?;
    door.open();
    let _daemon = home.daemon(&[]).await?;
    has_failed_as_cancelled(&home, "one").await?;
    assert_eq!(backup_keys(&open).await?, Vec::<String>::new());
    Ok(())
}
