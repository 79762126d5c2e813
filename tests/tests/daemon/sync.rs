//! The bucket is the source of truth: what is in it appears in the cluster, and what is gone from it goes, unless the
//! bucket itself is not the one it was.

use std::fs;

use holdfast_policy::velero::{
    AccessMode, Backup, BackupPhase, BackupStorageLocation, LocationPhase, PodVolumeBackup, RestorePhase,
    RestoreSpec, labels, to_metadata_json,
};
use holdfast_tests::fixtures::velero_bucket;
use k8s_openapi::api::events::v1::Event;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams};
use kube::{Api, ResourceExt};
use pretty_assertions::assert_eq;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::deletion::{gone, requests_for};
use crate::home::{Home, PATIENCE, POLL, backup_of, logged};

const LOCATION_ID: &str = "holdfast.dev/location-id";

fn backup(name: &str, change: Value) -> anyhow::Result<Backup> {
    let mut backup = json!({
        "metadata": {"name": name, "namespace": "velero"},
        "spec": {"storageLocation": "elsewhere", "includedNamespaces": ["nowhere"]},
        "status": {"phase": "Completed", "startTimestamp": "2026-11-01T01:00:00Z", "expiration": "2030-01-01T00:00:00Z"},
    });
    json_patch(&mut backup, change);
    Ok(serde_json::from_value(backup)?)
}

fn json_patch(into: &mut Value, from: Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (key, value) in from {
                json_patch(into.entry(key).or_insert(Value::Null), value);
            }
        }
        (into, from) => *into = from,
    }
}

/// Puts it into the bucket alone.
fn record(home: &Home, folder: &str, backup: &Backup) -> anyhow::Result<()> {
    let folder = home.bucket().join("backups").join(folder);
    fs::create_dir_all(&folder)?;
    Ok(fs::write(folder.join("velero-backup.json"), to_metadata_json(backup))?)
}

async fn patch_location(home: &Home, patch: Value) -> anyhow::Result<()> {
    let locations = home.runs.api::<BackupStorageLocation>();
    locations.patch("default", &PatchParams::default(), &Patch::Merge(patch)).await?;
    Ok(())
}

/// Looks every second, and checks the bucket as often.
async fn hurry(home: &Home) -> anyhow::Result<()> {
    patch_location(home, json!({"spec": {"backupSyncPeriod": "1s", "validationFrequency": "1s"}})).await
}

async fn names(home: &Home) -> anyhow::Result<Vec<String>> {
    let backups = home.runs.api::<Backup>().list(&ListParams::default()).await?;
    Ok(backups.items.iter().map(ResourceExt::name_any).collect())
}

/// Waits until the bucket was looked at once more, from start to end.
async fn looked_again(home: &Home) -> anyhow::Result<()> {
    for _ in 0..2 {
        let locations = home.runs.api::<BackupStorageLocation>();
        let last = locations.get("default").await?.status.last_synced_time;
        home.runs
            .ended("default", PATIENCE, |it: &BackupStorageLocation| it.status.last_synced_time != last)
            .await?;
    }
    Ok(())
}

async fn message(home: &Home, part: &str) -> anyhow::Result<BackupStorageLocation> {
    let says =
        |it: &BackupStorageLocation| it.status.message.as_deref().is_some_and(|text| text.contains(part));
    home.runs.ended("default", PATIENCE, says).await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_velero_left_in_a_bucket_appears_and_can_be_restored() -> anyhow::Result<()> {
    let home = Home::new("found").await?;
    let _daemon = home.daemon(&["--cluster-name=second"]).await?;
    velero_bucket::copy_into(&home.bucket())?;
    home.local_location().await?;
    let folders = fs::read_dir(home.bucket().join("backups"))?.count();
    let deadline = Instant::now() + PATIENCE;
    while names(&home).await?.len() < folders {
        anyhow::ensure!(Instant::now() < deadline, "only {:?}", names(&home).await?);
        tokio::time::sleep(POLL).await;
    }
    let found = home.runs.api::<Backup>().get("gold-ns").await?;
    assert_eq!(found.spec.storage_location.as_deref(), Some("default"));
    assert_eq!(found.labels().get(labels::STORAGE_LOCATION).map(String::as_str), Some("default"));
    assert_eq!(found.status_phase(), BackupPhase::Completed);
    let text = fs::read(home.bucket().join("backups/gold-ns/velero-backup.json"))?;
    let written: Backup = serde_json::from_slice(&text)?;
    assert_eq!(found.status, written.status);
    let mut annotations = found.annotations().clone();
    assert!(annotations.remove("holdfast.dev/synced").is_some());
    assert_eq!(&annotations, written.annotations());
    // What Velero made is not this cluster's to end: a week ago it expired, and it is still there.
    assert!(home.bucket().join("backups/gold-ttl/velero-backup.json").is_file());
    let into = home.testbed.namespace("into").await?;
    let source = written.spec.included_namespaces.first().cloned().unwrap_or_default();
    let spec = RestoreSpec {
        backup_name: Some("gold-ns".to_owned()),
        included_namespaces: vec![source.clone()],
        included_resources: vec!["configmaps".to_owned()],
        namespace_mapping: [(source, into.clone())].into(),
        ..RestoreSpec::default()
    };
    let restore = home.runs.restore("back", spec, PATIENCE).await?;
    assert_eq!(restore.status.phase, Some(RestorePhase::Completed), "{:?}", restore.status);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn only_backups_that_have_ended_are_brought_in_and_the_rest_is_reported() -> anyhow::Result<()> {
    let home = Home::new("phases").await?;
    let daemon = home.daemon(&["--cluster-name=second"]).await?;
    fs::create_dir_all(home.bucket())?;
    for phase in ["Completed", "PartiallyFailed", "Failed", "New", "InProgress", "Deleting", "Finalizing"] {
        let name = phase.to_lowercase();
        record(&home, &name, &backup(&name, json!({"status": {"phase": phase}}))?)?;
    }
    let over = json!({"status": {"phase": "Finalizing", "expiration": "2026-11-02T00:00:00Z"}});
    record(&home, "over", &backup("over", over)?)?;
    record(&home, "moved", &backup("other-name", json!({}))?)?;
    fs::create_dir_all(home.bucket().join("backups/half"))?;
    fs::write(home.bucket().join("backups/half/half.tar.gz"), "x")?;
    fs::create_dir_all(home.bucket().join("backups/broken"))?;
    fs::write(home.bucket().join("backups/broken/velero-backup.json"), "{\"kind\": \"Back")?;
    let hooks =
        json!({"spec": {"hooks": {"resources": [{"name": "h", "pre": [{"exec": {"command": ["rm"]}}]}]}}});
    record(&home, "hooked", &backup("hooked", hooks)?)?;
    let owner = json!({"metadata": {"ownerReferences": [
        {"apiVersion": "velero.io/v1", "kind": "Schedule", "name": "gone", "uid": "u", "controller": true},
    ]}});
    record(&home, "owned", &backup("owned", owner)?)?;
    let long = "l".repeat(70);
    record(&home, &long, &backup(&long, json!({}))?)?;
    home.local_location().await?;
    home.runs
        .ended("default", PATIENCE, |it: &BackupStorageLocation| it.status.last_synced_time.is_some())
        .await?;
    assert_eq!(
        names(&home).await?,
        ["completed", "failed", "hooked", &long, "over", "owned", "partiallyfailed"]
    );
    let get = async |name: &str| home.runs.api::<Backup>().get(name).await;
    assert_eq!(get("over").await?.status_phase(), BackupPhase::PartiallyFailed);
    assert!(get("hooked").await?.spec.hooks.resources.is_empty());
    assert_eq!(get("owned").await?.owner_references(), []);
    logged(&daemon, &["folders passed over", "\"location\":\"default\"", "moved", "half", "broken"]).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn pod_volume_backups_come_with_their_backup_also_after_a_crash_in_between() -> anyhow::Result<()> {
    let home = Home::new("volumes").await?;
    home.daemon(&[]).await?.stop().await?;
    fs::create_dir_all(home.bucket())?;
    let volume = |name: &str, backup: &str| {
        json!({
            "apiVersion": "velero.io/v1", "kind": "PodVolumeBackup",
            "metadata": {
                "name": name, "namespace": "velero", "finalizers": ["velero.io/pod-volume-finalizer"],
                "labels": {"velero.io/backup-name": backup, "velero.io/backup-uid": "old"},
                "ownerReferences": [{
                    "apiVersion": "velero.io/v1", "kind": "Backup", "name": backup, "uid": "old", "controller": true,
                }],
            },
            "spec": {
                "node": "n", "pod": {"kind": "Pod", "namespace": "nowhere", "name": "p"}, "volume": "data",
                "backupStorageLocation": "elsewhere", "repoIdentifier": "r", "uploaderType": "kopia",
            },
            "status": {"phase": "Completed", "snapshotID": "s"},
        })
    };
    for name in ["whole", "crashed"] {
        record(&home, name, &backup(name, json!({}))?)?;
        let list = holdfast::archive::gzip_json(&[
            volume(&format!("{name}-1"), name),
            volume(&format!("{name}-2"), name),
        ])?;
        fs::write(home.bucket().join(format!("backups/{name}/{name}-podvolumebackups.json.gz")), list)?;
    }
    // As a daemon leaves it that dies after it has made the Backup and before it has made what belongs to it.
    let crashed = json!({
        "metadata": {
            "namespace": home.namespace, "annotations": {"holdfast.dev/importing": "PodVolumeBackups"},
            "labels": {"velero.io/storage-location": "default"},
        },
        "spec": {"storageLocation": "default"},
    });
    home.runs.create(&backup("crashed", crashed)?).await?;
    let _daemon = home.daemon(&["--cluster-name=second"]).await?;
    home.local_location().await?;
    for name in ["whole", "crashed"] {
        let whole = |it: &Backup| !it.annotations().contains_key("holdfast.dev/importing");
        let uid = home.runs.ended(name, PATIENCE, whole).await?.uid();
        for number in 1..=2 {
            let volume = format!("{name}-{number}");
            let found: PodVolumeBackup =
                home.runs.ended(&volume, PATIENCE, |_: &PodVolumeBackup| true).await?;
            assert_eq!(found.owner_references().first().map(|owner| &owner.uid), uid.as_ref());
            assert_eq!(found.labels().get(labels::BACKUP_UID), uid.as_ref());
            assert_eq!(found.spec.backup_storage_location, "default");
            assert_eq!(found.status.snapshot_id.as_deref(), Some("s"));
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_whose_folder_was_removed_goes_and_no_other() -> anyhow::Result<()> {
    let home = Home::new("removed").await?;
    let _daemon = home.daemon(&["--cluster-name=second"]).await?;
    home.local_location().await?;
    let one = home.runs.backup("one", backup_of(&home.namespace), PATIENCE).await?;
    assert_eq!(one.status_phase(), BackupPhase::Completed);
    home.location_is(LocationPhase::Available).await?;
    let elsewhere = json!({
        "metadata": {"namespace": home.namespace, "labels": {"velero.io/storage-location": "elsewhere"}},
    });
    home.runs.create(&backup("elsewhere", elsewhere)?).await?;
    let failed = json!({
        "metadata": {"namespace": home.namespace, "labels": {"velero.io/storage-location": "default"}},
        "status": {"phase": "Failed"},
    });
    home.runs.create(&backup("failed", failed)?).await?;
    // Down to the last: the bucket is the one it was, and it is empty.
    fs::remove_dir_all(home.bucket().join("backups/one"))?;
    hurry(&home).await?;
    gone(&home, "one").await?;
    assert_eq!(names(&home).await?, ["elsewhere", "failed"]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_that_was_emptied_or_exchanged_removes_nothing_and_says_so() -> anyhow::Result<()> {
    let home = Home::new("emptied").await?;
    let daemon = home.daemon(&["--cluster-name=second"]).await?;
    home.local_location().await?;
    home.runs.backup("one", backup_of(&home.namespace), PATIENCE).await?;
    let marked = |it: &BackupStorageLocation| it.annotations().contains_key(LOCATION_ID);
    home.runs.ended("default", PATIENCE, marked).await?;
    let kept = home.bucket().with_file_name("kept");
    fs::rename(home.bucket(), &kept)?;
    fs::create_dir(home.bucket())?;
    hurry(&home).await?;
    message(&home, "has lost its marker").await?;
    looked_again(&home).await?;
    assert_eq!(names(&home).await?, ["one"]);
    // Nor does the emptied folder get a marker of its own.
    assert!(!home.bucket().join("metadata/holdfast/location.json").exists());
    logged(&daemon, &["backups without files stay", "has lost its marker"]).await?;
    let events: Api<Event> = Api::namespaced(home.testbed.client()?, &home.namespace);
    let events = events.list(&ListParams::default()).await?.items;
    assert!(events.iter().any(|event| event.reason.as_deref() == Some("BackupsKept")), "{events:?}");

    let marker = json!({"id": "another", "cluster": "theirs", "created": "2026-01-01T00:00:00Z"}).to_string();
    fs::create_dir_all(home.bucket().join("metadata/holdfast"))?;
    fs::write(home.bucket().join("metadata/holdfast/location.json"), marker)?;
    message(&home, "has the marker another").await?;
    looked_again(&home).await?;
    assert_eq!(names(&home).await?, ["one"]);

    // The right bucket again: all is well.
    fs::remove_dir_all(home.bucket())?;
    fs::rename(&kept, home.bucket())?;
    home.runs.ended("default", PATIENCE, |it: &BackupStorageLocation| it.status.message.is_none()).await?;
    assert_eq!(names(&home).await?, ["one"]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_who_takes_the_remembered_marker_away_lets_the_cluster_follow_another_bucket()
-> anyhow::Result<()> {
    let home = Home::new("on-purpose").await?;
    let _daemon = home.daemon(&["--cluster-name=second"]).await?;
    home.local_location().await?;
    home.runs.backup("one", backup_of(&home.namespace), PATIENCE).await?;
    let marked = |it: &BackupStorageLocation| it.annotations().contains_key(LOCATION_ID);
    home.runs.ended("default", PATIENCE, marked).await?;
    fs::remove_dir_all(home.bucket())?;
    let marker = json!({"id": "another", "cluster": "second", "created": "2026-01-01T00:00:00Z"}).to_string();
    fs::create_dir_all(home.bucket().join("metadata/holdfast"))?;
    fs::write(home.bucket().join("metadata/holdfast/location.json"), marker)?;
    hurry(&home).await?;
    message(&home, "has the marker another").await?;
    patch_location(&home, json!({"metadata": {"annotations": {LOCATION_ID: null}}})).await?;
    gone(&home, "one").await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_folder_is_unavailable_and_neither_made_nor_taken_for_an_empty_bucket() -> anyhow::Result<()>
{
    let home = Home::new("unmounted").await?;
    let _daemon = home.daemon(&["--cluster-name=second"]).await?;
    home.local_location().await?;
    home.runs.backup("one", backup_of(&home.namespace), PATIENCE).await?;
    let kept = home.bucket().with_file_name("kept");
    fs::rename(home.bucket(), &kept)?;
    hurry(&home).await?;
    let location = home.location_is(LocationPhase::Unavailable).await?;
    assert!(location.status.message.unwrap_or_default().contains("does not exist"));
    assert!(!home.bucket().exists());
    assert_eq!(names(&home).await?, ["one"]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_only_location_is_looked_at_and_one_with_period_zero_is_not() -> anyhow::Result<()> {
    let home = Home::new("read-only").await?;
    let _daemon = home.daemon(&["--cluster-name=second"]).await?;
    fs::create_dir_all(home.bucket())?;
    record(&home, "first", &backup("first", json!({}))?)?;
    home.local_location().await?;
    patch_location(&home, json!({"spec": {"accessMode": AccessMode::ReadOnly}})).await?;
    home.runs.ended("first", PATIENCE, |_: &Backup| true).await?;
    assert_eq!(names(&home).await?, ["first"]);

    let home = Home::new("never").await?;
    let _daemon = home.daemon(&["--cluster-name=second"]).await?;
    fs::create_dir_all(home.bucket())?;
    record(&home, "first", &backup("first", json!({}))?)?;
    let mut location: BackupStorageLocation = serde_json::from_value(json!({
        "metadata": {"name": "default"},
        "spec": {
            "provider": "local", "objectStorage": {"bucket": "bucket"}, "backupSyncPeriod": "0s",
            "validationFrequency": "1s", "config": {"path": home.bucket().parent()},
        },
    }))?;
    location.metadata.namespace = Some(home.namespace.clone());
    home.runs.create(&location).await?;
    let checked = home.location_is(LocationPhase::Available).await?.status.last_validation_time;
    // Checked twice more: a look would have been due as often.
    for _ in 0..2 {
        let later = |it: &BackupStorageLocation| it.status.last_validation_time > checked;
        home.runs.ended("default", PATIENCE, later).await?;
    }
    assert_eq!(names(&home).await?, Vec::<String>::new());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_that_only_restores_follows_the_bucket_and_restores_from_it() -> anyhow::Result<()> {
    let home = Home::new("restore-only").await?;
    let application = home.application("app").await?;
    let daemon = home.daemon(&["--cluster-name=second"]).await?;
    home.local_location().await?;
    let one = home.runs.backup("one", backup_of(&application), PATIENCE).await?;
    assert_eq!(one.status_phase(), BackupPhase::Completed);
    daemon.stop().await?;
    home.runs.api::<Backup>().delete("one", &DeleteParams::default()).await?;
    let expired = json!({
        "metadata": {"annotations": {"holdfast.dev/cluster": "second"}},
        "status": {"expiration": "2026-11-02T00:00:00Z"},
    });
    record(&home, "expired", &backup("expired", expired)?)?;
    hurry(&home).await?;

    let daemon = home.daemon(&["--cluster-name=second", "--restore-only"]).await?;
    let ready = daemon.metrics_url().replace("/metrics", "/readyz");
    assert_eq!(reqwest::get(&ready).await?.text().await?, "ok: restore-only");
    for name in ["one", "expired"] {
        home.runs.ended(name, PATIENCE, |_: &Backup| true).await?;
    }
    home.runs.create(&Backup::new("not-begun", backup_of(&application))).await?;
    let into = home.testbed.namespace("into").await?;
    let spec = RestoreSpec {
        backup_name: Some("one".to_owned()),
        namespace_mapping: [(application, into.clone())].into(),
        ..RestoreSpec::default()
    };
    let restore = home.runs.restore("back", spec, PATIENCE).await?;
    assert_eq!(restore.status.phase, Some(RestorePhase::Completed), "{:?}", restore.status);
    home.config_maps(&into)?.get("settings").await?;

    fs::remove_dir_all(home.bucket().join("backups/one"))?;
    gone(&home, "one").await?;
    // Its time is over, and the looks since have shown it as often.
    assert_eq!(names(&home).await?, ["expired", "not-begun"]);
    let waits = home.runs.api::<Backup>().get("not-begun").await?;
    assert!(matches!(waits.status_phase(), BackupPhase::New | BackupPhase::Queued), "{:?}", waits.status);
    assert!(home.bucket().join("backups/expired/velero-backup.json").is_file());
    assert_eq!(requests_for(&home, "expired").await?, []);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn two_clusters_on_one_bucket_notice_each_other_and_only_one_writes() -> anyhow::Result<()> {
    let first = Home::new("first").await?;
    let second = Home::new("second").await?;
    let first_daemon = first.daemon(&["--cluster-name=first"]).await?;
    first.local_location().await?;
    let made = first.runs.backup("one", backup_of(&first.namespace), PATIENCE).await?;
    assert_eq!(made.annotations().get("holdfast.dev/cluster").map(String::as_str), Some("first"));

    let second_daemon = second.daemon(&["--cluster-name=second"]).await?;
    second.runs.local_location("default", first.bucket().parent().unwrap(), "bucket").await?;
    let location = message(&second, "cluster first (record 1").await?;
    assert_eq!(location.status.phase, Some(LocationPhase::Available));
    assert_eq!(location.annotations().get("holdfast.dev/owned-by").map(String::as_str), Some("first"));
    let found: Backup = second.runs.ended("one", PATIENCE, |_: &Backup| true).await?;
    assert_eq!(found.annotations().get("holdfast.dev/cluster").map(String::as_str), Some("first"));
    // It can be restored, and nothing else.
    let spec = RestoreSpec {
        backup_name: Some("one".to_owned()),
        included_resources: vec!["configmaps".to_owned()],
        namespace_mapping: [(first.namespace.clone(), second.testbed.namespace("into").await?)].into(),
        ..RestoreSpec::default()
    };
    let restore = second.runs.restore("back", spec, PATIENCE).await?;
    assert_eq!(restore.status.phase, Some(RestorePhase::Completed), "{:?}", restore.status);
    let refused = second.runs.backup("two", backup_of(&second.namespace), PATIENCE).await?;
    assert_eq!(refused.status_phase(), BackupPhase::FailedValidation);

    // A person says that the second takes over: now the first only reads.
    hurry(&second).await?;
    patch_location(&second, json!({"metadata": {"annotations": {"holdfast.dev/take-over": "first"}}}))
        .await?;
    second.runs.ended("default", PATIENCE, |it: &BackupStorageLocation| it.status.message.is_none()).await?;
    let written = second.runs.backup("three", backup_of(&second.namespace), PATIENCE).await?;
    assert_eq!(written.status_phase(), BackupPhase::Completed);
    hurry(&first).await?;
    message(&first, "cluster second (record 2").await?;
    let refused = first.runs.backup("four", backup_of(&first.namespace), PATIENCE).await?;
    assert_eq!(refused.status_phase(), BackupPhase::FailedValidation);
    drop((first_daemon, second_daemon));
    Ok(())
}
