//! A deletion that is cut off between any two of its steps, and one whose bucket fails at any of them: what is left at
//! that moment is known for what it is, and the next start ends it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use holdfast::cluster::Cluster;
use holdfast::controllers::claim::Claim;
use holdfast::controllers::events::Events;
use holdfast::controllers::{OnRestart, delete_backup_request, restore};
use holdfast::engine::pod_volumes::PodVolumes;
use holdfast::engine::repositories::Repositories;
use holdfast_policy::duration::GoDuration;
use holdfast_policy::velero::{
    Backup, BackupPhase, BackupStorageLocation, DeleteBackupRequest, LocationPhase, Restore, RestorePhase,
    RestoreSpec, labels, to_metadata_json,
};
use kube::ResourceExt;
use kube::api::{ListParams, Patch, PatchParams};
use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::deletion;
use crate::fuse::{self, Fault, Fuse, TestClock, watch};
use crate::home::{Home, PATIENCE, POLL, backup_of};

const FILES: [&str; 5] = [
    "one.tar.gz",
    "one-logs.gz",
    "one-resource-list.json.gz",
    "one-volumeinfo.json.gz",
    "velero-backup.json",
];

/// The controllers of one process. Dropped, they do nothing more.
struct Life {
    #[expect(dead_code, reason = "its tasks end when it is dropped")]
    tasks: JoinSet<()>,
}

impl Life {
    fn begin(home: &Home, fuse: Option<&Arc<Fuse>>, clock: TestClock) -> anyhow::Result<Life> {
        let namespace = home.namespace.as_str();
        let (client, stores) = fuse::through(home, fuse)?;
        let mut tasks = JoinSet::new();
        let requests = watch::<DeleteBackupRequest>(&client, namespace, &mut tasks);
        let backups = watch::<Backup>(&client, namespace, &mut tasks);
        let restores = watch::<Restore>(&client, namespace, &mut tasks);
        let locations = watch::<BackupStorageLocation>(&client, namespace, &mut tasks);
        let deletion = delete_backup_request::Controller {
            requests: requests.clone(),
            backups: backups.clone(),
            restores: restores.clone(),
            locations: locations.clone(),
            stores: stores.clone(),
            cluster: Cluster::new(client.clone()),
            clock: clock.clock(),
            events: Events::new(&client),
            repositories: Repositories::new(client.clone(), namespace, clock.clock()),
            limit: 4,
            default_location: "default".to_owned(),
            actions: holdfast::actions::delete::all(),
        };
        let restore = restore::Controller {
            namespace: namespace.to_owned(),
            restores: restores.clone(),
            backups: backups.clone(),
            locations: locations.clone(),
            stores,
            pod_volumes: PodVolumes::usual(&client, namespace, &clock.clock()),
            cluster: Cluster::new(client),
            clock: clock.clock(),
            claim: Claim { holder: "test".to_owned(), epoch: 1 },
            limit: 1,
            left_alone: Default::default(),
            on_restart: OnRestart::Resume,
            item_operation_timeout: GoDuration::from_secs(60),
            timeouts: holdfast::engine::restore::Timeouts::default(),
            options: holdfast::engine::RunOptions::default(),
        };
        tasks.spawn(async move {
            tokio::join!(requests.filled(), backups.filled(), restores.filled(), locations.filled());
            tokio::join!(deletion.run(CancellationToken::new()), restore.run(CancellationToken::new()));
        });
        Ok(Life { tasks })
    }
}

/// A namespace with a whole backup, a restore of it with a file in the bucket, and a request.
async fn stage() -> anyhow::Result<Home> {
    let home = Home::new("fault").await?;
    home.local_location().await?;
    let available = Patch::Merge(json!({"status": {"phase": LocationPhase::Available}}));
    home.runs.api::<BackupStorageLocation>().patch("default", &PatchParams::default(), &available).await?;
    let mut backup = Backup::new("one", backup_of(&home.namespace));
    backup.spec.storage_location = Some("default".to_owned());
    backup.status.phase = Some(BackupPhase::Completed);
    let folder = home.bucket().join("backups/one");
    std::fs::create_dir_all(&folder)?;
    for file in FILES {
        let content = match file {
            "velero-backup.json" => Bytes::from(to_metadata_json(&backup)),
            "one-resource-list.json.gz" => holdfast::archive::gzip_json(&json!({"v1/ConfigMap": ["a/b"]}))?,
            "one-volumeinfo.json.gz" => holdfast::archive::gzip_json(&json!([]))?,
            _ => Bytes::from_static(b"of no interest here"),
        };
        std::fs::write(folder.join(file), content)?;
    }
    let restored = home.bucket().join("restores/back");
    std::fs::create_dir_all(&restored)?;
    std::fs::write(restored.join("restore-back-logs.gz"), b"of no interest here")?;
    let spec = RestoreSpec { backup_name: Some("one".to_owned()), ..RestoreSpec::default() };
    let mut restore = Restore::new("back", spec);
    restore.finalizers_mut().push(labels::RESTORE_FINALIZER.to_owned());
    restore.status.phase = Some(RestorePhase::Completed);
    home.runs.create(&restore).await?;
    home.runs.create(&backup).await?;
    let backup = home.runs.api::<Backup>().get("one").await?;
    deletion::ask(&home, &backup).await?;
    Ok(home)
}

/// What a folder of a backup may look like to whoever reads the bucket.
#[derive(Debug, PartialEq, Eq)]
enum Folder {
    Whole,
    Marked,
    Gone,
}

/// A deletion may go on meanwhile: what is told was so at one moment, since the record was the same before and after.
fn folder(bucket: &Path) -> anyhow::Result<Folder> {
    let folder: PathBuf = bucket.join("backups/one");
    let record = || std::fs::read(folder.join("velero-backup.json")).ok();
    let present = |file: &&&str| folder.join(file).exists();
    let (record, files) = loop {
        let before = record();
        let files = FILES.iter().filter(present).count();
        if record() == before {
            break (before, files);
        }
    };
    let Some(record) = record else {
        anyhow::ensure!(files == 0, "files without a record");
        return Ok(Folder::Gone);
    };
    let record: Backup = serde_json::from_slice(&record)?;
    if record.status_phase() == BackupPhase::Deleting {
        return Ok(Folder::Marked);
    }
    anyhow::ensure!(files == FILES.len(), "a backup that looks whole has {files} files");
    Ok(Folder::Whole)
}

/// What must hold at any moment. A deletion that goes on meanwhile only moves forward: where one thing must have come
/// before another, the other is looked at first.
async fn nothing_is_half_known(home: &Home) -> anyhow::Result<()> {
    let before = folder(&home.bucket())?;
    let backup = home.runs.api::<Backup>().get_opt("one").await?;
    let restores = home.runs.api::<Restore>().list(&ListParams::default()).await?;
    let after = folder(&home.bucket())?;
    let Some(backup) = backup else {
        anyhow::ensure!(after == Folder::Gone, "the Backup is gone and its folder is {after:?}");
        return Ok(());
    };
    anyhow::ensure!(
        backup.status_phase() == BackupPhase::Deleting || before == Folder::Whole,
        "a Backup in phase {} has a folder that is {before:?}",
        backup.status_phase().as_str()
    );
    let asked = restores.iter().any(|restore| restore.metadata.deletion_timestamp.is_some());
    anyhow::ensure!(after == Folder::Gone || !asked, "Restores go while the folder is {after:?}");
    Ok(())
}

async fn everything_is_gone(home: &Home) -> anyhow::Result<()> {
    deletion::gone(home, "one").await?;
    let restores = home.runs.api::<Restore>().list(&ListParams::default()).await?;
    anyhow::ensure!(restores.items.is_empty(), "{:?}", restores.items);
    anyhow::ensure!(home.files()?.is_empty(), "{:?}", home.files()?);
    Ok(())
}

/// Tells whether the fault came before the deletion was over.
async fn one_fault(steps: i64, fault: Fault) -> anyhow::Result<bool> {
    let home = stage().await?;
    let clock = TestClock::new();
    let fuse = Fuse::new(steps, fault);
    let life = Life::begin(&home, Some(&fuse), clock.clone())?;
    let came = tokio::select! {
        () = fuse.blown.cancelled() => true,
        over = deletion::gone(&home, "one") => {
            over?;
            false
        }
    };
    let life = match fault {
        Fault::CutOffBefore | Fault::CutOffAfter => {
            drop(life);
            nothing_is_half_known(&home).await?;
            Life::begin(&home, None, clock)?
        }
        Fault::Fails => {
            // Waits out every back-off; what was not tried again would stay.
            let deadline = Instant::now() + PATIENCE;
            while !deletion::requests_for(&home, "one").await?.is_empty() {
                nothing_is_half_known(&home).await?;
                clock.advance(1);
                anyhow::ensure!(Instant::now() < deadline, "it is not tried again");
                tokio::time::sleep(POLL * 4).await;
            }
            life
        }
    };
    everything_is_gone(&home).await?;
    drop(life);
    Ok(came)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deletion_that_is_cut_off_before_any_of_its_steps_is_taken_up_again() -> anyhow::Result<()> {
    let steps = fuse::every_step(Fault::CutOffBefore, one_fault).await?;
    anyhow::ensure!(steps > 15, "only {steps} steps were counted");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deletion_that_is_cut_off_after_any_of_its_steps_is_taken_up_again() -> anyhow::Result<()> {
    let steps = fuse::every_step(Fault::CutOffAfter, one_fault).await?;
    anyhow::ensure!(steps > 15, "only {steps} steps were counted");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deletion_whose_bucket_fails_at_any_step_is_tried_again_and_ends() -> anyhow::Result<()> {
    let steps = fuse::every_step(Fault::Fails, one_fault).await?;
    anyhow::ensure!(steps > 8, "only {steps} steps were counted");
    Ok(())
}
