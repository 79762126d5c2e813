//! `snapshotMoveData` with `--data-path velero`: what Velero's node agent does is asked for in its form, waited for, and told.

use holdfast_policy::velero::{Backup, BackupPhase, DataDownload, DataUpload, Restore, RestorePhase};
use holdfast_tests::waiting;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::ResourceExt;
use kube::api::{ListParams, Patch, PatchParams};
use pretty_assertions::assert_eq;
use serde_json::{Value, json};

use crate::backup::text;
use crate::place::{PATIENCE, Place, table};
use crate::velero_agent::VeleroAgent;

const BY_VELERO: [&str; 2] = ["--data-path", "velero"];

async fn backup_in(place: &Place, phase: BackupPhase) -> anyhow::Result<Backup> {
    place.runs.ended("one", PATIENCE, move |backup: &Backup| backup.status_phase() == phase).await
}

async fn ask(place: &Place, shop: &str, further: Value) -> anyhow::Result<()> {
    let mut spec = json!({"includedNamespaces": [shop], "snapshotMoveData": true});
    if let (Some(spec), Some(further)) = (spec.as_object_mut(), further.as_object()) {
        spec.extend(further.clone());
    }
    place.runs.create(&Backup::new("one", serde_json::from_value(spec)?)).await
}

/// A backup whose one claim the agent has moved.
async fn moved(place: &Place, agent: &VeleroAgent<'_>, shop: &str) -> anyhow::Result<(Backup, DataUpload)> {
    ask(place, shop, json!({"uploaderConfig": {"parallelFilesUpload": 3}})).await?;
    let upload = agent.asked().await?;
    backup_in(place, BackupPhase::WaitingForPluginOperations).await?;
    agent.upload(&upload, "k0123").await?;
    Ok((backup_in(place, BackupPhase::Completed).await?, upload))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_data_of_a_snapshot_goes_and_comes_back_by_velero_s_agent() -> anyhow::Result<()> {
    let place = Place::new().await?;
    let daemon = place.daemon_with(&BY_VELERO).await?;
    let shop = place.testbed.namespace("shop").await?;
    let data = place.claim(&shop, "data").await?;
    let agent = VeleroAgent::start(&place, &shop).await?;
    let (backup, upload) = moved(&place, &agent, &shop).await?;
    let snapshot = upload.spec.csi_snapshot.clone().unwrap_or_default();
    assert!(snapshot.volume_snapshot.starts_with("velero-data-"));
    assert_eq!(upload.spec.source_pvc, "data");
    assert_eq!(upload.spec.data_mover_config["ParallelFilesUpload"], "3");
    let status = &backup.status;
    assert_eq!((status.errors, status.warnings), (0, 0));
    assert_eq!((status.csi_volume_snapshots_attempted, status.csi_volume_snapshots_completed), (0, 0));
    assert_eq!((status.backup_item_operations_attempted, status.backup_item_operations_completed), (1, 1));
    place.nothing_left(&shop, &data).await?;

    let archive = place.archive("one")?;
    let of_snapshots = |path: &&String| path.contains("snapshot.storage.k8s.io");
    assert_eq!(archive.keys().find(of_snapshots), None);
    let name = upload.name_any();
    let stored = &archive[&format!("datauploads.velero.io/namespaces/{}/{name}.json", place.home)];
    assert_eq!(stored["apiVersion"], "velero.io/v2alpha1");
    assert_eq!(
        (&stored["status"]["phase"], &stored["status"]["snapshotID"]),
        (&json!("Completed"), &json!("k0123"))
    );
    let claim = &archive[&format!("persistentvolumeclaims/namespaces/{shop}/data.json")];
    let named = text(claim, "/metadata/annotations/velero.io~1data-upload-name");
    assert_eq!(named, format!("{}/{name}", place.home));
    let told = place.stored("backups/one", "one-volumeinfo.json.gz")?;
    assert_eq!(told[0]["snapshotDataMovementInfo"]["snapshotHandle"], "k0123");
    assert_eq!((&told[0]["snapshotDataMoved"], &told[0]["result"]), (&json!(true), &json!("succeeded")));
    let operations = place.stored("backups/one", "one-itemoperations.json.gz")?;
    assert_eq!(operations[0]["spec"]["postOperationItems"][0]["Name"], name.as_str());
    let listed = place.stored("backups/one", "one-resource-list.json.gz")?;
    assert_eq!(listed.get("velero.io/v2alpha1/DataUpload"), None);

    let other = format!("{shop}-2");
    let spec = json!({
        "backupName": "one", "namespaceMapping": {&shop: &other},
        "uploaderConfig": {"writeSparseFiles": true, "parallelFilesDownload": 2},
    });
    place.runs.create(&Restore::new("back", serde_json::from_value(spec)?)).await?;
    let download = agent.asked_back().await?;
    assert_eq!(download.spec.snapshot_id, "k0123");
    assert_eq!(download.spec.source_namespace, shop);
    assert_eq!(download.spec.target_volume.namespace, other);
    assert_eq!(download.spec.snapshot_size, 4);
    let settings: Vec<(&str, &str)> =
        download.spec.data_mover_config.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
    assert_eq!(settings, [("ParallelFilesDownload", "2"), ("WriteSparseFiles", "true")]);
    let waiting = |restore: &Restore| restore.status_phase() == RestorePhase::WaitingForPluginOperations;
    place.runs.ended("back", PATIENCE, waiting).await?;
    // What was asked for is not asked for again.
    daemon.kill()?;
    let _daemon = place.daemon_with(&BY_VELERO).await?;
    agent.download(&download).await?;
    let completed = |restore: &Restore| restore.status_phase().has_ended();
    let restored = place.runs.ended("back", PATIENCE, completed).await?;
    assert_eq!(restored.status_phase(), RestorePhase::Completed, "{:?}", restored.status);
    let status = &restored.status;
    assert_eq!((status.restore_item_operations_attempted, status.restore_item_operations_completed), (1, 1));
    assert_eq!(place.runs.api::<DataDownload>().list(&ListParams::default()).await?.items.len(), 1);
    let back = place.bound(&other, "data").await?;
    assert_ne!(back.id, data.id);
    assert_eq!(table(&back.folder)?, "data");
    let operations = place.stored("restores/back", "restore-back-itemoperations.json.gz")?;
    assert_eq!(operations[0]["spec"]["restoreItemAction"], "velero.io/csi-pvc-restorer");
    assert_eq!(operations[0]["status"]["phase"], "Completed");
    let told = place.stored("restores/back", "back-volumeinfo.json.gz")?;
    assert_eq!(told[0]["pvName"], back.volume.as_str());
    assert_eq!(told[0]["restoreMethod"], "CSISnapshot");
    assert_eq!(told[0]["snapshotDataMovementInfo"]["Phase"], "Completed");
    let maps = place.runs.api::<ConfigMap>();
    let maps = maps.list(&ListParams::default().labels("velero.io/resource-usage")).await?;
    assert_eq!(maps.items.len(), 0);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn without_velero_s_agent_no_snapshot_is_cut_and_the_claim_fails() -> anyhow::Result<()> {
    let place = Place::new().await?;
    let _daemon = place.daemon_with(&BY_VELERO).await?;
    let shop = place.testbed.namespace("shop").await?;
    let data = place.claim(&shop, "data").await?;
    ask(&place, &shop, json!({})).await?;
    let backup = backup_in(&place, BackupPhase::PartiallyFailed).await?;
    assert_eq!(backup.status.errors, 1);
    let results = place.stored("backups/one", "one-results.gz")?;
    let error = text(&results, &format!("/errors/namespaces/{shop}/0"));
    assert!(error.contains("node-agent is not ready"), "{error}");
    assert!(
        !place.archive("one")?.contains_key(&format!("persistentvolumeclaims/namespaces/{shop}/data.json"))
    );
    assert_eq!(place.runs.api::<DataUpload>().list(&ListParams::default()).await?.items.len(), 0);
    let told = place.stored("backups/one", "one-volumeinfo.json.gz")?;
    assert_eq!((&told[0]["pvcName"], &told[0]["result"]), (&json!("data"), &json!("failed")));
    place.nothing_left(&shop, &data).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_move_that_takes_too_long_is_given_up_and_told() -> anyhow::Result<()> {
    let place = Place::new().await?;
    let _daemon = place.daemon_with(&BY_VELERO).await?;
    let shop = place.testbed.namespace("shop").await?;
    let data = place.claim(&shop, "data").await?;
    let agent = VeleroAgent::start(&place, &shop).await?;
    ask(&place, &shop, json!({"itemOperationTimeout": "4s"})).await?;
    let upload = agent.asked().await?;
    let backup = backup_in(&place, BackupPhase::PartiallyFailed).await?;
    let status = &backup.status;
    assert_eq!((status.errors, status.backup_item_operations_failed), (1, 1));
    let operations = place.stored("backups/one", "one-itemoperations.json.gz")?;
    let error = text(&operations[0], "/status/error");
    assert!(error.contains("Asynchronous action timed out"), "{error}");
    let upload = place.runs.api::<DataUpload>().get(&upload.name_any()).await?;
    assert!(upload.spec.cancel);
    let archive = place.archive("one")?;
    assert!(!archive.contains_key(&format!("persistentvolumeclaims/namespaces/{shop}/data.json")));
    place.nothing_left(&shop, &data).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_taken_up_again_gives_up_the_moves_of_its_first_attempt() -> anyhow::Result<()> {
    let place = Place::new().await?;
    let daemon = place.daemon_with(&BY_VELERO).await?;
    let shop = place.testbed.namespace("shop").await?;
    let data = place.claim(&shop, "data").await?;
    let agent = VeleroAgent::start(&place, &shop).await?;
    ask(&place, &shop, json!({})).await?;
    let first = agent.asked().await?;
    backup_in(&place, BackupPhase::WaitingForPluginOperations).await?;
    daemon.kill()?;
    let _daemon = place.daemon_with(&BY_VELERO).await?;
    let uploads = place.runs.api::<DataUpload>();
    let gone = async || Ok(uploads.get_opt(&first.name_any()).await?.is_none().then_some(()));
    waiting::until("the first move to go", PATIENCE, gone).await?;
    let second = agent.asked().await?;
    assert_ne!(second.name_any(), first.name_any());
    let cancel = json!({"metadata": {"annotations": {"holdfast.dev/cancel": ""}}});
    let backups = place.runs.api::<Backup>();
    backups.patch("one", &PatchParams::default(), &Patch::Merge(cancel)).await?;
    backup_in(&place, BackupPhase::Failed).await?;
    assert_eq!(uploads.get_opt(&second.name_any()).await?.map(|upload| upload.name_any()), None);
    place.nothing_left(&shop, &data).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_move_back_that_fails_or_is_late_is_an_error() -> anyhow::Result<()> {
    let place = Place::new().await?;
    let _daemon = place.daemon_with(&BY_VELERO).await?;
    let shop = place.testbed.namespace("shop").await?;
    place.claim(&shop, "data").await?;
    let agent = VeleroAgent::start(&place, &shop).await?;
    moved(&place, &agent, &shop).await?;
    let other = format!("{shop}-2");
    let spec = json!({"backupName": "one", "namespaceMapping": {&shop: &other}});
    place.runs.create(&Restore::new("fails", serde_json::from_value(spec)?)).await?;
    let download = agent.asked_back().await?;
    agent.end_download(&download, json!({"phase": "Failed", "message": "the pod died"})).await?;
    let ended = |restore: &Restore| restore.status_phase().has_ended();
    let restored = place.runs.ended("fails", PATIENCE, ended).await?;
    assert_eq!(restored.status_phase(), RestorePhase::PartiallyFailed, "{:?}", restored.status);
    assert_eq!(restored.status.restore_item_operations_failed, 1);
    let results = place.stored("restores/fails", "restore-fails-results.gz")?;
    let error = text(&results, &format!("/errors/namespaces/{other}/0"));
    assert!(error.contains("claim data was not moved back") && error.contains("the pod died"), "{error}");

    let spec = json!({
        "backupName": "one", "namespaceMapping": {&shop: format!("{shop}-3")}, "itemOperationTimeout": "3s",
    });
    place.runs.create(&Restore::new("late", serde_json::from_value(spec)?)).await?;
    let restored = place.runs.ended("late", PATIENCE, ended).await?;
    assert_eq!(restored.status_phase(), RestorePhase::PartiallyFailed, "{:?}", restored.status);
    let operations = place.stored("restores/late", "restore-late-itemoperations.json.gz")?;
    let error = text(&operations[0], "/status/error");
    assert!(error.contains("Asynchronous action timed out"), "{error}");

    // Without snapshots wanted the claim gets an empty volume, and nobody is asked.
    let fourth = format!("{shop}-4");
    let spec = json!({"backupName": "one", "namespaceMapping": {&shop: &fourth}, "restorePVs": false});
    let restored = place.runs.restore("empty", serde_json::from_value(spec)?, PATIENCE).await?;
    assert_eq!(restored.status_phase(), RestorePhase::Completed, "{:?}", restored.status);
    assert!(!place.bound(&fourth, "data").await?.folder.join("table").exists());
    assert_eq!(place.stored("restores/empty", "empty-volumeinfo.json.gz")?, json!([]));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn another_data_mover_answers_for_itself_and_for_the_snapshot() -> anyhow::Result<()> {
    let place = Place::new().await?;
    let _daemon = place.daemon_with(&BY_VELERO).await?;
    let shop = place.testbed.namespace("shop").await?;
    let data = place.claim(&shop, "data").await?;
    // Neither Velero's agent nor a repository of its is there.
    ask(&place, &shop, json!({"datamover": "copier"})).await?;
    let uploads = place.runs.api::<DataUpload>();
    let asked = async || Ok(uploads.list(&ListParams::default()).await?.items.pop());
    let upload = waiting::until("a DataUpload", PATIENCE, asked).await?;
    assert_eq!(upload.spec.datamover.as_deref(), Some("copier"));
    let done = Patch::Merge(json!({"status": {"phase": "Completed", "snapshotID": "c1"}}));
    uploads.patch(&upload.name_any(), &PatchParams::default(), &done).await?;
    backup_in(&place, BackupPhase::Completed).await?;
    let told = place.stored("backups/one", "one-volumeinfo.json.gz")?;
    assert_eq!(told[0]["snapshotDataMovementInfo"]["dataMover"], "copier");
    assert_eq!((place.handles(&data).len(), place.snapshots(&shop).await?.len()), (1, 1));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_data_path_snapshots_stay_and_the_backup_says_so() -> anyhow::Result<()> {
    let place = Place::new().await?;
    let _daemon = place.daemon().await?;
    let shop = place.testbed.namespace("shop").await?;
    let data = place.claim(&shop, "data").await?;
    ask(&place, &shop, json!({})).await?;
    let backup = backup_in(&place, BackupPhase::PartiallyFailed).await?;
    assert_eq!((backup.status.errors, backup.status.csi_volume_snapshots_completed), (1, 1));
    let results = place.stored("backups/one", "one-results.gz")?;
    let error = text(&results, "/errors/velero/0");
    assert!(error.contains("--data-path velero"), "{error}");
    assert_eq!(place.handles(&data).len(), 1);
    Ok(())
}
