//! DeleteBackupRequests, as the `velero` command line makes them.

use std::collections::BTreeMap;
use std::fs;

use holdfast_policy::velero::{
    AccessMode, Backup, BackupPhase, BackupStorageLocation, DeleteBackupRequest, DeleteBackupRequestPhase,
    DeleteBackupRequestSpec, LocationPhase, Restore, RestorePhase, RestoreSpec, labels, short_name,
};
use holdfast_tests::S3Server;
use kube::ResourceExt;
use kube::api::{ListParams, ObjectMeta, Patch, PatchParams, PostParams};
use pretty_assertions::assert_eq;
use serde_json::json;
use tokio::time::Instant;

use crate::home::{Home, PATIENCE, POLL, backup_of};

/// A request as the command line makes it.
pub(crate) async fn ask(home: &Home, backup: &Backup) -> anyhow::Result<String> {
    let name = backup.name_any();
    let labels = BTreeMap::from([
        (labels::BACKUP_NAME.to_owned(), short_name(&name)),
        (labels::BACKUP_UID.to_owned(), backup.uid().unwrap_or_default()),
    ]);
    let metadata =
        ObjectMeta { generate_name: Some(format!("{name}-")), labels: Some(labels), ..ObjectMeta::default() };
    let spec = DeleteBackupRequestSpec { backup_name: name };
    let request = DeleteBackupRequest { metadata, spec, ..DeleteBackupRequest::default() };
    let api = home.runs.api::<DeleteBackupRequest>();
    Ok(api.create(&PostParams::default(), &request).await?.name_any())
}

/// Waits until neither the backup nor a request for it is there.
pub(crate) async fn gone(home: &Home, backup: &str) -> anyhow::Result<()> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let found = home.runs.api::<Backup>().get_opt(backup).await?;
        let requests = requests_for(home, backup).await?;
        if found.is_none() && requests.is_empty() {
            return Ok(());
        }
        anyhow::ensure!(Instant::now() < deadline, "still there: {found:?} {requests:?}");
        tokio::time::sleep(POLL).await;
    }
}

pub(crate) async fn requests_for(home: &Home, backup: &str) -> anyhow::Result<Vec<DeleteBackupRequest>> {
    let all = home.runs.api::<DeleteBackupRequest>().list(&ListParams::default()).await?;
    Ok(all.items.into_iter().filter(|request| request.spec.backup_name == backup).collect())
}

/// The request's errors, once it is processed.
pub(crate) async fn errors_of(home: &Home, request: &str) -> anyhow::Result<Vec<String>> {
    let is_processed =
        |request: &DeleteBackupRequest| request.status.phase == Some(DeleteBackupRequestPhase::Processed);
    Ok(home.runs.ended(request, PATIENCE, is_processed).await?.status.errors)
}

async fn set_access_mode(home: &Home, mode: AccessMode) -> anyhow::Result<()> {
    let patch = Patch::Merge(json!({"spec": {"accessMode": mode}}));
    home.runs.api::<BackupStorageLocation>().patch("default", &PatchParams::default(), &patch).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_backup_goes_with_its_files_and_restores_and_leaves_no_request() -> anyhow::Result<()> {
    let home = Home::new("delete").await?;
    let application = home.application("app").await?;
    let _daemon = home.daemon(&[]).await?;
    home.local_location().await?;
    let long = format!("b-{}", "x".repeat(68));
    for name in ["one", "kept", long.as_str()] {
        let backup = home.runs.backup(name, backup_of(&application), PATIENCE).await?;
        assert_eq!(backup.status_phase(), BackupPhase::Completed);
    }
    for (restore, backup) in [("back", "one"), ("again", "one"), ("other", "kept")] {
        let spec = RestoreSpec { backup_name: Some(backup.to_owned()), ..RestoreSpec::default() };
        let restore = home.runs.restore(restore, spec, PATIENCE).await?;
        assert_eq!(restore.status.phase, Some(RestorePhase::Completed));
    }
    for name in ["one", long.as_str()] {
        let backup = home.runs.api::<Backup>().get(name).await?;
        ask(&home, &backup).await?;
        ask(&home, &backup).await?;
        gone(&home, name).await?;
    }
    let restores = home.runs.api::<Restore>().list(&ListParams::default()).await?;
    let left: Vec<String> = restores.iter().map(ResourceExt::name_any).collect();
    assert_eq!(left, ["other"]);
    let folders: std::collections::BTreeSet<String> =
        home.files()?.iter().map(|file| file.split('/').take(2).collect::<Vec<_>>().join("/")).collect();
    let folders: Vec<&str> = folders.iter().map(String::as_str).collect();
    assert_eq!(folders, ["backups/kept", "restores/other"]);
    assert!(!home.bucket().join("backups/one").exists());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deletion_in_a_bucket_of_a_service_leaves_nothing() -> anyhow::Result<()> {
    let home = Home::new("delete-s3").await?;
    let application = home.application("app").await?;
    let server = S3Server::start().await?;
    server.create_bucket("bucket").await?;
    home.s3_credentials(server.access_key(), server.secret_key()).await?;
    home.s3_location(server.endpoint(), "bucket").await?;
    let _daemon = home.daemon(&[]).await?;
    let backup = home.runs.backup("one", backup_of(&application), PATIENCE).await?;
    assert_eq!(backup.status_phase(), BackupPhase::Completed);
    ask(&home, &backup).await?;
    gone(&home, "one").await?;
    assert!(!server.root().join("bucket/backups/one").exists());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_t_be_deleted_is_refused_in_velero_s_words() -> anyhow::Result<()> {
    let home = Home::new("refuse").await?;
    let _daemon = home.daemon(&[]).await?;
    home.local_location().await?;
    home.location_is(LocationPhase::Available).await?;
    let refused = async |backup: &Backup| errors_of(&home, &ask(&home, backup).await?).await;

    let nobody = Backup::new("nobody", backup_of(&home.namespace));
    assert_eq!(refused(&nobody).await?, ["backup deletion failed: backup not found"]);
    let mut homeless = Backup::new("homeless", backup_of(&home.namespace));
    homeless.spec.storage_location = Some("nowhere".to_owned());
    homeless.status.phase = Some(BackupPhase::Completed);
    home.runs.create(&homeless).await?;
    assert_eq!(
        refused(&homeless).await?,
        ["backup deletion failed: backup storage location nowhere not found"]
    );
    let mut running = Backup::new("running", backup_of(&home.namespace));
    running.spec.storage_location = Some("default".to_owned());
    running.status.phase = Some(BackupPhase::InProgress);
    home.runs.create(&running).await?;
    assert_eq!(refused(&running).await?, ["backup deletion failed: backup is still in progress"]);

    let one = home.runs.backup("one", backup_of(&home.namespace), PATIENCE).await?;
    set_access_mode(&home, AccessMode::ReadOnly).await?;
    assert_eq!(
        refused(&one).await?,
        [
            "backup deletion failed: cannot delete backup because backup storage location default is currently in \
             read-only mode"
        ]
    );
    assert_eq!(home.runs.api::<Backup>().get("one").await?.status_phase(), BackupPhase::Completed);
    set_access_mode(&home, AccessMode::ReadWrite).await?;
    ask(&home, &one).await?;
    gone(&home, "one").await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deletion_that_fails_before_anything_is_gone_leaves_the_backup_whole_and_says_why()
-> anyhow::Result<()> {
    let home = Home::new("fails").await?;
    let _daemon = home.daemon(&[]).await?;
    home.local_location().await?;
    let one = home.runs.backup("one", backup_of(&home.namespace), PATIENCE).await?;
    let before = home.files()?;
    // A snapshot that nobody here can delete.
    let spec = json!({"backupName": "one", "location": "ebs"});
    let snapshots = json!([{"spec": spec, "status": {"providerSnapshotID": "snap-1"}}]);
    let packed = holdfast::archive::gzip_json(&snapshots)?;
    let file = home.bucket().join("backups/one/one-volumesnapshots.json.gz");
    fs::write(&file, packed)?;
    let request = ask(&home, &one).await?;
    assert_eq!(
        errors_of(&home, &request).await?,
        ["error deleting snapshot snap-1: VolumeSnapshotLocation ebs does not exist"]
    );
    home.backup_is("one", BackupPhase::Completed).await?;
    assert_eq!(home.files()?, before);

    // Somebody has seen to it; a new request takes the place of the old one.
    fs::write(&file, holdfast::archive::gzip_json(&json!(null))?)?;
    ask(&home, &one).await?;
    gone(&home, "one").await?;
    assert!(home.files()?.is_empty());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_whose_files_are_gone_is_deleted_all_the_same() -> anyhow::Result<()> {
    let home = Home::new("no-files").await?;
    let _daemon = home.daemon(&["--disable-controllers=backup-sync"]).await?;
    home.local_location().await?;
    for name in ["no-archive", "no-files"] {
        home.runs.backup(name, backup_of(&home.namespace), PATIENCE).await?;
    }
    fs::remove_file(home.bucket().join("backups/no-archive/no-archive.tar.gz"))?;
    fs::remove_dir_all(home.bucket().join("backups/no-files"))?;
    for name in ["no-archive", "no-files"] {
        ask(&home, &home.runs.api::<Backup>().get(name).await?).await?;
        gone(&home, name).await?;
    }
    assert!(home.files()?.is_empty());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_that_only_restores_deletes_nothing() -> anyhow::Result<()> {
    let home = Home::new("restore-only").await?;
    let daemon = home.daemon(&[]).await?;
    home.local_location().await?;
    let one = home.runs.backup("one", backup_of(&home.namespace), PATIENCE).await?;
    daemon.stop().await?;
    let daemon = home.daemon(&["--restore-only"]).await?;
    let request = ask(&home, &one).await?;
    let spec = RestoreSpec { backup_name: Some("one".to_owned()), ..RestoreSpec::default() };
    home.runs.restore("back", spec, PATIENCE).await?;
    let api = home.runs.api::<DeleteBackupRequest>();
    assert_eq!(api.get(&request).await?.status, Default::default());
    daemon.stop().await?;
    let _daemon = home.daemon(&[]).await?;
    gone(&home, "one").await?;
    Ok(())
}
