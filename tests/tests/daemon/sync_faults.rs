//! A look at a bucket that is cut off between any two of its steps, and one whose bucket fails at any of them: what is in
//! the cluster at that moment is whole or says that it isn't, and the next look ends it.

use std::fs;
use std::sync::Arc;

use holdfast::controllers::backup_sync;
use holdfast::controllers::events::Events;
use holdfast_policy::duration::GoDuration;
use holdfast_policy::velero::{
    Backup, BackupStorageLocation, LocationPhase, PodVolumeBackup, Schedule, to_metadata_json,
};
use kube::ResourceExt;
use kube::api::{ListParams, Patch, PatchParams};
use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::fuse::{self, Fault, Fuse, TestClock, watch};
use crate::home::{Home, PATIENCE, POLL};

const IMPORTING: &str = "holdfast.dev/importing";
const VOLUMES: usize = 2;

/// Dropped, it does nothing more.
struct Life {
    #[expect(dead_code, reason = "its tasks end when it is dropped")]
    tasks: JoinSet<()>,
}

impl Life {
    fn begin(home: &Home, fuse: Option<&Arc<Fuse>>, clock: &TestClock) -> anyhow::Result<Life> {
        let namespace = home.namespace.as_str();
        let (client, stores) = fuse::through(home, fuse)?;
        let mut tasks = JoinSet::new();
        let locations = watch::<BackupStorageLocation>(&client, namespace, &mut tasks);
        let backups = watch::<Backup>(&client, namespace, &mut tasks);
        let pod_volumes = watch::<PodVolumeBackup>(&client, namespace, &mut tasks);
        let schedules = watch::<Schedule>(&client, namespace, &mut tasks);
        let sync = backup_sync::Controller {
            namespace: namespace.to_owned(),
            locations: locations.clone(),
            backups: backups.clone(),
            pod_volumes: pod_volumes.clone(),
            schedules: schedules.clone(),
            stores,
            clock: clock.clock(),
            events: Events::new(&client),
            brakes: backup_sync::Brakes::default(),
            period: GoDuration::from_secs(60),
        };
        tasks.spawn(async move {
            tokio::join!(locations.filled(), backups.filled(), pod_volumes.filled(), schedules.filled());
            sync.run(CancellationToken::new()).await;
        });
        Ok(Life { tasks })
    }
}

fn backup(name: &str) -> anyhow::Result<Backup> {
    Ok(serde_json::from_value(json!({
        "metadata": {"name": name, "labels": {"velero.io/storage-location": "default"}},
        "spec": {"storageLocation": "default"}, "status": {"phase": "Completed"},
    }))?)
}

/// A bucket with a backup that the cluster lacks, and a Backup whose folder was removed from that very bucket.
async fn stage() -> anyhow::Result<Home> {
    let home = Home::new("sync-fault").await?;
    home.local_location().await?;
    let known = Patch::Merge(json!({
        "metadata": {"annotations": {"holdfast.dev/location-id": "m"}},
        "status": {"phase": LocationPhase::Available},
    }));
    home.runs.api::<BackupStorageLocation>().patch("default", &PatchParams::default(), &known).await?;
    let records = home.bucket().join("metadata/holdfast");
    fs::create_dir_all(&records)?;
    let marker = json!({"id": "m", "cluster": "c", "created": "2026-01-01T00:00:00Z"});
    fs::write(records.join("location.json"), marker.to_string())?;
    let folder = home.bucket().join("backups/one");
    fs::create_dir_all(&folder)?;
    fs::write(folder.join("velero-backup.json"), to_metadata_json(&backup("one")?))?;
    let volumes: Vec<_> = (0..VOLUMES)
        .map(|number| {
            json!({
                "apiVersion": "velero.io/v1", "kind": "PodVolumeBackup",
                "metadata": {
                    "name": format!("one-{number}"),
                    "ownerReferences": [
                        {"apiVersion": "velero.io/v1", "kind": "Backup", "name": "one", "uid": "old", "controller": true},
                    ],
                },
                "spec": {
                    "node": "n", "pod": {"kind": "Pod", "namespace": "nowhere", "name": "p"}, "volume": "data",
                    "backupStorageLocation": "default", "repoIdentifier": "r", "uploaderType": "kopia",
                },
                "status": {"phase": "Completed"},
            })
        })
        .collect();
    fs::write(folder.join("one-podvolumebackups.json.gz"), holdfast::archive::gzip_json(&volumes)?)?;
    home.runs.create(&backup("removed")?).await?;
    Ok(home)
}

/// What must hold at any moment.
async fn nothing_is_half_known(home: &Home) -> anyhow::Result<()> {
    let volumes = async || home.runs.api::<PodVolumeBackup>().list(&ListParams::default()).await;
    // A daemon goes on meanwhile: what must be there is looked for afterwards, what must not be there before.
    let before = volumes().await?.items;
    match home.runs.api::<Backup>().get_opt("one").await? {
        None => anyhow::ensure!(before.is_empty(), "{before:?}"),
        Some(one) if one.annotations().contains_key(IMPORTING) => (),
        Some(_) => {
            let after = volumes().await?.items;
            anyhow::ensure!(after.len() == VOLUMES, "a Backup that looks whole has {after:?}");
        }
    }
    anyhow::ensure!(home.bucket().join("backups/one/velero-backup.json").is_file());
    Ok(())
}

async fn is_over(home: &Home) -> anyhow::Result<bool> {
    let location = home.runs.api::<BackupStorageLocation>().get("default").await?;
    let backups = home.runs.api::<Backup>().list(&ListParams::default()).await?.items;
    let [one] = backups.as_slice() else { return Ok(false) };
    let volumes = home.runs.api::<PodVolumeBackup>().list(&ListParams::default()).await?.items;
    let owned = volumes.iter().filter(|volume| {
        volume.owner_references().iter().any(|owner| Some(&owner.uid) == one.metadata.uid.as_ref())
    });
    Ok(location.status.last_synced_time.is_some()
        && one.name_any() == "one"
        && !one.annotations().contains_key(IMPORTING)
        && owned.count() == VOLUMES)
}

async fn over(home: &Home, between_looks: impl AsyncFn() -> anyhow::Result<()>) -> anyhow::Result<()> {
    let deadline = Instant::now() + PATIENCE;
    while !is_over(home).await? {
        anyhow::ensure!(Instant::now() < deadline, "it does not end");
        between_looks().await?;
        tokio::time::sleep(POLL).await;
    }
    Ok(())
}

/// Tells whether the fault came before the look was over.
async fn one_fault(steps: i64, fault: Fault) -> anyhow::Result<bool> {
    let home = stage().await?;
    let clock = TestClock::new();
    let fuse = Fuse::new(steps, fault);
    let life = Life::begin(&home, Some(&fuse), &clock)?;
    let came = tokio::select! {
        () = fuse.blown.cancelled() => true,
        ended = over(&home, async || Ok(())) => {
            ended?;
            false
        }
    };
    let life = match fault {
        Fault::CutOffBefore | Fault::CutOffAfter => {
            drop(life);
            nothing_is_half_known(&home).await?;
            Life::begin(&home, None, &clock)?
        }
        Fault::Fails => life,
    };
    over(&home, async || {
        nothing_is_half_known(&home).await?;
        clock.advance(1);
        Ok(())
    })
    .await?;
    drop(life);
    Ok(came)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sync_that_is_cut_off_before_any_of_its_steps_is_taken_up_again() -> anyhow::Result<()> {
    let steps = fuse::every_step(Fault::CutOffBefore, one_fault).await?;
    anyhow::ensure!(steps > 8, "only {steps} steps were counted");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sync_that_is_cut_off_after_any_of_its_steps_is_taken_up_again() -> anyhow::Result<()> {
    let steps = fuse::every_step(Fault::CutOffAfter, one_fault).await?;
    anyhow::ensure!(steps > 8, "only {steps} steps were counted");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sync_whose_bucket_fails_at_any_step_is_tried_again_and_removes_nothing_else() -> anyhow::Result<()>
{
    let steps = fuse::every_step(Fault::Fails, one_fault).await?;
    anyhow::ensure!(steps > 3, "only {steps} steps were counted");
    Ok(())
}
