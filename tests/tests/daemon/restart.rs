//! What a daemon finds that another one left behind.

use std::collections::BTreeMap;

use holdfast_policy::velero::{Backup, BackupPhase, LocationPhase};
use holdfast_tests::S3Server;
use kube::api::DeleteParams;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use pretty_assertions::assert_eq;

use crate::home::{Home, backup_of, logged};

/// A server that holds its breath, so that a run that needs it stays under way.
struct Held<'a>(&'a S3Server);

impl<'a> Held<'a> {
    fn new(server: &'a S3Server) -> anyhow::Result<Held<'a>> {
        signal(server, Signal::SIGSTOP)?;
        Ok(Held(server))
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        signal(self.0, Signal::SIGCONT).expect("the server outlives its guard");
    }
}

fn signal(server: &S3Server, signal: Signal) -> anyhow::Result<()> {
    Ok(kill(Pid::from_raw(i32::try_from(server.process_id())?), signal)?)
}

async fn with_s3(home: &Home) -> anyhow::Result<S3Server> {
    let server = S3Server::start().await?;
    server.create_bucket("bucket").await?;
    home.s3_credentials(server.access_key(), server.secret_key()).await?;
    home.s3_location(server.endpoint(), "bucket").await?;
    Ok(server)
}

/// A Backup that looks as if a run were under way.
fn in_progress(home: &Home, name: &str, owner: Option<&str>) -> Backup {
    let mut backup = Backup::new(name, backup_of(&home.namespace));
    backup.metadata.annotations =
        owner.map(|owner| BTreeMap::from([("holdfast.dev/run-owner".to_owned(), owner.to_owned())]));
    backup.spec.storage_location = Some("default".to_owned());
    backup.status.phase = Some(BackupPhase::InProgress);
    backup
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_a_crash_interrupted_is_taken_up_again() -> anyhow::Result<()> {
    let home = Home::new("crash").await?;
    let daemon = home.daemon(&[]).await?;
    let server = with_s3(&home).await?;
    home.location_is(LocationPhase::Available).await?;
    let held = Held::new(&server)?;
    home.runs.create(&Backup::new("one", backup_of(&home.namespace))).await?;
    let before = home.backup_is("one", BackupPhase::InProgress).await?;
    daemon.kill()?;
    drop(held);
    let daemon = home.daemon(&[]).await?;
    let after = home.backup_is("one", BackupPhase::Completed).await?;
    logged(&daemon, &["\"backup\":\"one\"", "Resume"]).await?;
    assert_eq!(after.status.start_timestamp, before.status.start_timestamp);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_a_stop_interrupted_is_taken_up_again() -> anyhow::Result<()> {
    let home = Home::new("stop").await?;
    let daemon = home.daemon(&[]).await?;
    let server = with_s3(&home).await?;
    home.location_is(LocationPhase::Available).await?;
    let held = Held::new(&server)?;
    home.runs.create(&Backup::new("one", backup_of(&home.namespace))).await?;
    home.backup_is("one", BackupPhase::InProgress).await?;
    let status = daemon.stop().await?;
    assert!(status.success(), "{status}");
    let stopped = home.runs.api::<Backup>().get("one").await?;
    assert_eq!(stopped.status_phase(), BackupPhase::InProgress);
    drop(held);
    let _daemon = home.daemon(&[]).await?;
    home.backup_is("one", BackupPhase::Completed).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_whose_backup_is_deleted_ends_and_leaves_nothing_in_the_bucket() -> anyhow::Result<()> {
    let home = Home::new("cancel").await?;
    let daemon = home.daemon(&[]).await?;
    let server = with_s3(&home).await?;
    home.location_is(LocationPhase::Available).await?;
    let held = Held::new(&server)?;
    home.runs.create(&Backup::new("one", backup_of(&home.namespace))).await?;
    home.backup_is("one", BackupPhase::InProgress).await?;
    home.runs.api::<Backup>().delete("one", &DeleteParams::default()).await?;
    logged(&daemon, &["run of a backup is cancelled"]).await?;
    drop(held);
    logged(&daemon, &["run of a deleted backup has ended"]).await?;
    assert!(!server.root().join("bucket/backups/one").exists());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_of_somebody_else_is_left_alone_and_reported() -> anyhow::Result<()> {
    let home = Home::new("foreign").await?;
    let first = home.daemon(&[]).await?;
    home.local_location().await?;
    drop(first);
    home.runs.create(&in_progress(&home, "theirs", None)).await?;
    home.runs.create(&in_progress(&home, "ours", Some("holdfast/1"))).await?;
    let daemon = home.daemon(&[]).await?;
    home.backup_is("ours", BackupPhase::Completed).await?;
    logged(&daemon, &["\"backup\":\"theirs\"", "not ours and is left alone"]).await?;
    let theirs = home.runs.api::<Backup>().get("theirs").await?;
    assert_eq!(theirs.status, in_progress(&home, "theirs", None).status);
    assert!(home.files()?.iter().all(|file| !file.contains("theirs")));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_may_be_told_to_fail_what_was_interrupted() -> anyhow::Result<()> {
    let home = Home::new("fail").await?;
    let first = home.daemon(&[]).await?;
    home.local_location().await?;
    drop(first);
    home.runs.create(&in_progress(&home, "ours", Some("holdfast/1"))).await?;
    home.runs.create(&in_progress(&home, "theirs", None)).await?;
    let _daemon = home.daemon(&["--on-restart=fail"]).await?;
    let failed = home.backup_is("ours", BackupPhase::Failed).await?;
    assert_eq!(
        failed.status.failure_reason.as_deref(),
        Some("found a backup with status \"InProgress\" during the server starting, mark it as \"Failed\"")
    );
    assert!(failed.status.completion_timestamp.is_some());
    let theirs = home.runs.api::<Backup>().get("theirs").await?;
    assert_eq!(theirs.status_phase(), BackupPhase::InProgress);
    Ok(())
}
