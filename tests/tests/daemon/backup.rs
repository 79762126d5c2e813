//! A Backup from its creation to its end.

use holdfast_policy::time::to_chrono;
use holdfast_policy::velero::{
    Backup, BackupPhase, BackupSpec, BackupStatus, BackupStorageLocation, HookStatus, LocationPhase,
};
use kube::api::DeleteParams;
use pretty_assertions::assert_eq;
use tokio::net::TcpListener;

use crate::home::{Home, PATIENCE, backup_of, logged};

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_completes_and_its_status_and_bucket_say_so() -> anyhow::Result<()> {
    let home = Home::new("backup").await?;
    let application = home.application("app").await?;
    let _daemon = home.daemon(&[]).await?;
    home.local_location().await?;
    let backup = home.runs.backup("one", backup_of(&application), PATIENCE).await?;
    let status = &backup.status;
    assert_eq!(status.phase, Some(BackupPhase::Completed));
    assert_eq!((status.version, status.format_version.as_deref()), (1, Some("1.1.0")));
    assert_eq!((status.errors, status.warnings, status.queue_position), (0, 0, 0));
    let started = to_chrono(status.start_timestamp.as_ref().unwrap());
    let completed = to_chrono(status.completion_timestamp.as_ref().unwrap());
    let expiration = to_chrono(status.expiration.as_ref().unwrap());
    assert!(started <= completed);
    assert_eq!(expiration - started, chrono::TimeDelta::hours(720));
    let progress = status.progress.unwrap();
    assert!(progress.items_backed_up >= 3 && progress.items_backed_up == progress.total_items);

    let text = std::fs::read(home.bucket().join("backups/one/velero-backup.json"))?;
    let stored: Backup = serde_json::from_slice(&text)?;
    // Velero's file has this member also where no hook ran.
    let hook_status = Some(HookStatus::default());
    assert_eq!(stored.status, BackupStatus { hook_status, ..backup.status.clone() });
    assert_eq!(stored.spec, backup.spec);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_waits_for_a_location_that_nobody_has_checked() -> anyhow::Result<()> {
    let home = Home::new("waiting").await?;
    // Takes connections and never answers, so that the check does not end.
    let silent = TcpListener::bind("127.0.0.1:0").await?;
    let daemon = home.daemon(&[]).await?;
    home.s3_credentials("key", "secret").await?;
    home.s3_location(&format!("http://{}", silent.local_addr()?), "bucket").await?;
    home.runs.create(&Backup::new("one", BackupSpec::default())).await?;
    logged(&daemon, &["\"backup\":\"one\"", "LocationNotChecked"]).await?;
    let backup = home.runs.api::<Backup>().get("one").await?;
    assert_eq!((backup.status_phase(), backup.status.queue_position), (BackupPhase::Queued, 1));

    home.runs.api::<BackupStorageLocation>().delete("default", &DeleteParams::default()).await?;
    home.local_location().await?;
    home.backup_is("one", BackupPhase::Completed).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_location_that_cannot_be_reached_says_why_and_takes_no_backup() -> anyhow::Result<()> {
    let home = Home::new("unreachable").await?;
    let _daemon = home.daemon(&["--store-validation-frequency=1s"]).await?;
    home.s3_location("http://127.0.0.1:1", "bucket").await?;
    let location = home.location_is(LocationPhase::Unavailable).await?;
    let message = location.status.message.unwrap();
    assert_eq!(message, "BackupStorageLocation \"default\" is unavailable: Secret cloud does not exist");
    let backup = home.runs.backup("one", BackupSpec::default(), PATIENCE).await?;
    assert_eq!(backup.status.phase, Some(BackupPhase::FailedValidation));
    assert!(backup.status.validation_errors[0].contains("Unavailable"), "{:?}", backup.status);

    home.s3_credentials("key", "secret").await?;
    home.runs
        .ended("default", PATIENCE, |location: &BackupStorageLocation| {
            location.status.message.as_ref().is_some_and(|message| !message.contains("Secret"))
        })
        .await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_the_bucket_holds_already_fails_and_leaves_the_bucket_alone() -> anyhow::Result<()> {
    let home = Home::new("clash").await?;
    let _daemon = home.daemon(&[]).await?;
    home.local_location().await?;
    std::fs::create_dir_all(home.bucket().join("backups/one"))?;
    std::fs::write(home.bucket().join("backups/one/velero-backup.json"), "{}")?;
    let backup = home.runs.backup("one", backup_of(&home.namespace), PATIENCE).await?;
    assert_eq!(backup.status.phase, Some(BackupPhase::Failed));
    assert_eq!(
        backup.status.failure_reason.as_deref(),
        Some("backup execution failed: backup already exists in object storage")
    );
    assert!(backup.status.completion_timestamp.is_some());
    assert_eq!(home.files()?, ["backups/one/velero-backup.json"]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_default_locations_the_newest_counts_and_the_older_is_reported() -> anyhow::Result<()> {
    let home = Home::new("defaults").await?;
    let daemon = home.daemon(&[]).await?;
    let folder = home.bucket();
    home.runs.local_location("older", &folder, "a").await?;
    // Creation times have whole seconds, and names decide between equal ones.
    home.runs.local_location("zz-newer", &folder, "b").await?;
    let backup = home.runs.backup("one", backup_of(&home.namespace), PATIENCE).await?;
    assert_eq!(backup.spec.storage_location.as_deref(), Some("zz-newer"));
    logged(&daemon, &["several locations are marked as default", "\"older\":\"older\""]).await?;
    let older = home.runs.api::<BackupStorageLocation>().get("older").await?;
    assert!(older.spec.default);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_that_cannot_be_read_holds_up_no_other() -> anyhow::Result<()> {
    let home = Home::new("unreadable").await?;
    let daemon = home.daemon(&[]).await?;
    home.local_location().await?;
    let unreadable: kube::api::DynamicObject = serde_json::from_value(serde_json::json!({
        "apiVersion": "velero.io/v1",
        "kind": "Backup",
        "metadata": {"name": "unreadable"},
        "spec": {"ttl": "a month"},
    }))?;
    let kind = kube::api::ApiResource::erase::<Backup>(&());
    let client = home.testbed.client()?;
    let api = kube::Api::<kube::api::DynamicObject>::namespaced_with(client, &home.namespace, &kind);
    api.create(&kube::api::PostParams::default(), &unreadable).await?;
    logged(&daemon, &["can't be read", "\"unreadable\""]).await?;
    let backup = home.runs.backup("one", backup_of(&home.namespace), PATIENCE).await?;
    assert_eq!(backup.status.phase, Some(BackupPhase::Completed));
    Ok(())
}
