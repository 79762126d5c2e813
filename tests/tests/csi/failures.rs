//! Snapshots that come to nothing: what the backup says of them, and that nothing of them stays.

use holdfast_policy::velero::{Backup, BackupPhase};
use holdfast_tests::csi::Fault;
use holdfast_tests::waiting;
use pretty_assertions::assert_eq;
use serde_json::json;

use crate::backup::text;
use crate::place::{PATIENCE, Place};

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_that_cannot_be_cut_fails_its_claim_and_no_other() -> anyhow::Result<()> {
    let place = Place::new().await?;
    let _daemon = place.daemon().await?;
    let shop = place.testbed.namespace("shop").await?;
    let good = place.claim(&shop, "good").await?;
    let bad = place.claim(&shop, "bad").await?;
    place.driver.set_fault(&bad.id, Some(Fault::Refused("the disk is full".to_owned())));
    let spec = json!({"includedNamespaces": [shop], "csiSnapshotTimeout": "4s"});
    let backup = place.back_up("one", spec).await?;
    assert_eq!(backup.status_phase(), BackupPhase::PartiallyFailed, "{:?}", backup.status);
    assert_eq!(backup.status.errors, 1);
    assert_eq!(backup.status.csi_volume_snapshots_completed, 1);
    let results = place.stored("backups/one", "one-results.gz")?;
    let error = text(&results, &format!("/errors/namespaces/{shop}/0"));
    assert!(error.contains("name: /bad") && error.contains("has no snapshot after 4 s"), "{error}");
    assert!(error.contains("the disk is full"), "{error}");
    let archive = place.archive("one")?;
    assert!(archive.contains_key(&format!("persistentvolumeclaims/namespaces/{shop}/good.json")));
    assert!(!archive.contains_key(&format!("persistentvolumeclaims/namespaces/{shop}/bad.json")));
    let told = place.stored("backups/one", "one-volumeinfo.json.gz")?;
    let of_bad = told.as_array().and_then(|told| told.iter().find(|entry| entry["pvcName"] == "bad"));
    assert_eq!(of_bad.map(|entry| &entry["result"]), Some(&json!("failed")));
    place.nothing_left(&shop, &bad).await?;
    assert_eq!(place.handles(&good).len(), 1);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_that_is_not_ready_in_time_fails_its_claim_and_goes() -> anyhow::Result<()> {
    let place = Place::new().await?;
    let _daemon = place.daemon().await?;
    let shop = place.testbed.namespace("shop").await?;
    let data = place.claim(&shop, "data").await?;
    place.driver.set_fault(&data.id, Some(Fault::NotReady));
    let spec = json!({"includedNamespaces": [shop], "itemOperationTimeout": "4s"});
    let backup = place.back_up("one", spec).await?;
    assert_eq!(backup.status_phase(), BackupPhase::PartiallyFailed, "{:?}", backup.status);
    assert_eq!(backup.status.errors, 1);
    let status = &backup.status;
    assert_eq!((status.csi_volume_snapshots_attempted, status.csi_volume_snapshots_completed), (1, 0));
    assert_eq!((status.backup_item_operations_attempted, status.backup_item_operations_failed), (1, 1));
    let operations = place.stored("backups/one", "one-itemoperations.json.gz")?;
    assert_eq!(operations[0]["status"]["phase"], "Failed");
    let error = text(&operations[0], "/status/error");
    assert!(error.contains("Asynchronous action timed out"), "{error}");
    let archive = place.archive("one")?;
    let is_of_snapshots = |path: &&String| path.contains("snapshot.storage.k8s.io");
    assert_eq!(archive.keys().find(is_of_snapshots), None);
    place.nothing_left(&shop, &data).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_taken_up_again_removes_the_snapshots_of_its_first_attempt() -> anyhow::Result<()> {
    let place = Place::new().await?;
    let daemon = place.daemon().await?;
    let shop = place.testbed.namespace("shop").await?;
    let data = place.claim(&shop, "data").await?;
    place.driver.set_fault(&data.id, Some(Fault::NotReady));
    let spec = serde_json::from_value(json!({"includedNamespaces": [shop]}))?;
    place.runs.create(&Backup::new("one", spec)).await?;
    let cut = async || Ok(place.handles(&data).first().cloned());
    let first = waiting::until("a snapshot", PATIENCE, cut).await?;
    daemon.kill()?;
    place.driver.set_fault(&data.id, None);
    let _daemon = place.daemon().await?;
    let backup =
        place.runs.ended("one", PATIENCE, |backup: &Backup| backup.status_phase().has_ended()).await?;
    assert_eq!(backup.status_phase(), BackupPhase::Completed, "{:?}", backup.status);
    let told = place.stored("backups/one", "one-volumeinfo.json.gz")?;
    let kept = text(&told[0], "/csiSnapshotInfo/snapshotHandle");
    assert_ne!(kept, first);
    let only = async || Ok((place.handles(&data) == [kept.as_str()]).then_some(()));
    waiting::until("the first attempt's snapshot to go", PATIENCE, only).await?;
    place.released(&shop, &kept).await
}
