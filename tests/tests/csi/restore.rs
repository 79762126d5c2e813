//! Restores from CSI snapshots: the data is back, in whatever namespace and cluster, or the claim is not.

use std::fs;

use holdfast_policy::velero::{Backup, BackupPhase, BackupStorageLocation, Restore, RestorePhase};
use holdfast_tests::waiting;
use k8s_openapi::api::core::v1::Namespace;
use kube::Api;
use kube::api::DeleteParams;
use pretty_assertions::assert_eq;
use serde_json::{Value, json};

use crate::backup::text;
use crate::place::{PATIENCE, Place, table};

async fn restore(place: &Place, name: &str, spec: Value) -> anyhow::Result<Restore> {
    place.runs.restore(name, serde_json::from_value(spec)?, PATIENCE).await
}

#[tokio::test(flavor = "multi_thread")]
async fn data_comes_back_in_the_same_and_in_another_namespace() -> anyhow::Result<()> {
    let place = Place::new().await?;
    let _daemon = place.daemon().await?;
    let shop = place.testbed.namespace("shop").await?;
    let data = place.claim(&shop, "data").await?;
    let backup = place.back_up("one", json!({"includedNamespaces": [shop]})).await?;
    assert_eq!(backup.status_phase(), BackupPhase::Completed, "{:?}", backup.status);
    fs::write(data.folder.join("table"), "changed since")?;

    let other = format!("{shop}-2");
    let mapping = json!({"backupName": "one", "namespaceMapping": {&shop: &other}});
    let restored = restore(&place, "other", mapping).await?;
    assert_eq!(restored.status_phase(), RestorePhase::Completed, "{:?}", restored.status);
    let copy = place.bound(&other, "data").await?;
    assert_ne!(copy.id, data.id);
    assert_eq!(table(&copy.folder)?, "data");
    let told = place.stored("restores/other", "other-volumeinfo.json.gz")?;
    assert_eq!(
        (&told[0]["restoreMethod"], &told[0]["pvName"], &told[0]["snapshotDataMoved"]),
        (&json!("CSISnapshot"), &json!(copy.volume), &json!(false))
    );
    assert_eq!(told[0]["csiSnapshotInfo"]["snapshotHandle"], json!(place.handles(&data)[0]));

    let empty = format!("{shop}-3");
    let spec = json!({"backupName": "one", "namespaceMapping": {&shop: &empty}, "restorePVs": false});
    let restored = restore(&place, "empty", spec).await?;
    assert_eq!(restored.status_phase(), RestorePhase::Completed, "{:?}", restored.status);
    assert!(!place.bound(&empty, "data").await?.folder.join("table").exists());
    assert_eq!(place.stored("restores/empty", "empty-volumeinfo.json.gz")?, json!([]));

    let namespaces: Api<Namespace> = Api::all(place.client.clone());
    namespaces.delete(&shop, &DeleteParams::default()).await?;
    let gone = async || Ok(namespaces.get_opt(&shop).await?.is_none().then_some(()));
    waiting::until("the namespace to go", PATIENCE, gone).await?;
    let restored = restore(&place, "same", json!({"backupName": "one"})).await?;
    assert_eq!(restored.status_phase(), RestorePhase::Completed, "{:?}", restored.status);
    let back = place.bound(&shop, "data").await?;
    assert_eq!(table(&back.folder)?, "data");

    // A backup of what was restored has a snapshot of its own, and names no other one.
    let backup = place.back_up("two", json!({"includedNamespaces": [shop]})).await?;
    assert_eq!(backup.status_phase(), BackupPhase::Completed, "{:?}", backup.status);
    let told = place.stored("backups/two", "two-volumeinfo.json.gz")?;
    assert_eq!(place.handles(&back), [text(&told[0], "/csiSnapshotInfo/snapshotHandle")]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn data_comes_back_in_another_cluster_on_the_same_storage() -> anyhow::Result<()> {
    let place = Place::new().await?;
    let daemon = place.daemon().await?;
    let shop = place.testbed.namespace("shop").await?;
    place.claim(&shop, "data").await?;
    let backup = place.back_up("one", json!({"includedNamespaces": [shop]})).await?;
    assert_eq!(backup.status_phase(), BackupPhase::Completed, "{:?}", backup.status);
    daemon.stop().await?;

    let second = Place::in_second_cluster().await?;
    let _daemon = second.bare_daemon().await?;
    let bucket = place.bucket();
    let location = json!({
        "metadata": {"name": "default"},
        "spec": {
            "provider": "local", "config": {"path": bucket.parent()}, "objectStorage": {"bucket": "bucket"},
            "default": true, "backupSyncPeriod": "1s", "validationFrequency": "1s",
        },
    });
    second.runs.create(&serde_json::from_value::<BackupStorageLocation>(location)?).await?;
    second.runs.ended("one", PATIENCE, |_: &Backup| true).await?;
    let restored = restore(&second, "there", json!({"backupName": "one"})).await?;
    assert_eq!(restored.status_phase(), RestorePhase::Completed, "{:?}", restored.status);
    assert_eq!(table(&second.bound(&shop, "data").await?.folder)?, "data");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mixed_up_handle_is_refused_and_its_claim_is_not_made() -> anyhow::Result<()> {
    let place = Place::new().await?;
    let _daemon = place.daemon().await?;
    let shop = place.testbed.namespace("shop").await?;
    place.claim(&shop, "data").await?;
    place.claim(&shop, "other").await?;
    let backup = place.back_up("one", json!({"includedNamespaces": [shop]})).await?;
    assert_eq!(backup.status_phase(), BackupPhase::Completed, "{:?}", backup.status);
    let mut told = place.stored("backups/one", "one-volumeinfo.json.gz")?;
    let handles = [0, 1].map(|entry| told[entry]["csiSnapshotInfo"]["snapshotHandle"].take());
    for (entry, handle) in handles.into_iter().rev().enumerate() {
        told[entry]["csiSnapshotInfo"]["snapshotHandle"] = handle;
    }
    place.store("backups/one", "one-volumeinfo.json.gz", &told)?;

    let other = format!("{shop}-2");
    let mapping = json!({"backupName": "one", "namespaceMapping": {&shop: &other}});
    let restored = restore(&place, "mixed", mapping).await?;
    assert_eq!(restored.status_phase(), RestorePhase::PartiallyFailed, "{:?}", restored.status);
    assert_eq!(place.claims(&other).await?, Vec::<String>::new());
    assert_eq!(place.snapshots(&other).await?, Vec::<String>::new());
    let results = place.stored("restores/mixed", "restore-mixed-results.gz")?;
    let errors = results["errors"].to_string();
    assert!(errors.contains("without which it has no data, could not be restored"), "{errors}");
    Ok(())
}
