//! What a backup with CSI snapshots leaves in the bucket, in the cluster and on the storage.

use holdfast_policy::velero::{Backup, BackupPhase, DeleteBackupRequest, DeleteBackupRequestSpec};
use holdfast_tests::csi::{Fault, NAME};
use holdfast_tests::{Daemon, DaemonOptions, Runs, Testbed, waiting};
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};
use kube::api::PostParams;
use kube::{Api, ResourceExt};
use pretty_assertions::assert_eq;
use serde_json::{Value, json};

use crate::place::{PATIENCE, Place};

#[tokio::test(flavor = "multi_thread")]
async fn snapshot_content_and_class_are_in_the_archive_and_none_stays_in_the_cluster() -> anyhow::Result<()> {
    let place = Place::new().await?;
    let _daemon = place.daemon().await?;
    let shop = place.testbed.namespace("shop").await?;
    let data = place.claim(&shop, "data").await?;
    // Neither the kinds of the snapshot nor the volume pass these filters.
    let spec = json!({
        "includedNamespaces": [shop], "includedResources": ["persistentvolumeclaims", "persistentvolumes"],
    });
    let backup = place.back_up("one", spec).await?;
    assert_eq!(backup.status_phase(), BackupPhase::Completed, "{:?}", backup.status);
    let status = &backup.status;
    assert_eq!((status.csi_volume_snapshots_attempted, status.csi_volume_snapshots_completed), (1, 1));
    assert_eq!((status.backup_item_operations_attempted, status.backup_item_operations_completed), (1, 1));
    assert_eq!((status.warnings, status.errors, status.backup_item_operations_failed), (0, 0, 0));

    let handles = place.handles(&data);
    let [handle] = handles.as_slice() else { panic!("{handles:?}") };
    place.released(&shop, handle).await?;
    assert_eq!(place.handles(&data), handles);

    let archive = place.archive("one")?;
    let claim = &archive[&format!("persistentvolumeclaims/namespaces/{shop}/data.json")];
    let snapshot = text(claim, "/metadata/annotations/velero.io~1volume-snapshot-name");
    assert!(snapshot.starts_with("velero-data-"), "{snapshot}");
    assert_eq!(claim["metadata"]["labels"]["velero.io/volume-snapshot-name"], snapshot);
    assert_eq!(claim["metadata"]["labels"]["velero.io/backup-name"], "one");
    assert!(archive.contains_key(&format!("persistentvolumes/cluster/{}.json", data.volume)));
    assert!(
        archive.contains_key(&format!("volumesnapshotclasses.snapshot.storage.k8s.io/cluster/{NAME}.json"))
    );
    let path = format!("volumesnapshots.snapshot.storage.k8s.io/namespaces/{shop}/{snapshot}.json");
    let stored = &archive[&path];
    assert_eq!(stored["kind"], "VolumeSnapshot");
    assert_eq!(stored["metadata"]["labels"]["app"], "db");
    for (annotation, value) in [
        ("velero.io/csi-volumesnapshot-handle", handle.as_str()),
        ("velero.io/csi-driver-name", NAME),
        ("velero.io/csi-vsc-deletion-policy", "Delete"),
        ("velero.io/csi-volumesnapshot-restore-size", "1Mi"),
    ] {
        assert_eq!(stored["metadata"]["annotations"][annotation], value);
    }
    assert_eq!(stored["status"]["readyToUse"], true);
    let content = text(stored, "/status/boundVolumeSnapshotContentName");
    let path = format!("volumesnapshotcontents.snapshot.storage.k8s.io/cluster/{content}.json");
    let stored = &archive[&path];
    assert_eq!(stored["status"]["snapshotHandle"], handle.as_str());
    assert_eq!(stored["metadata"]["labels"], json!({"velero.io/backup-name": "one"}));

    let operations = place.stored("backups/one", "one-itemoperations.json.gz")?;
    let id = text(&operations[0], "/spec/operationID");
    assert!(id.starts_with(&format!("{shop}/{snapshot}/")), "{operations}");
    assert_eq!(operations[0]["spec"]["backupUID"], backup.uid().unwrap_or_default());
    assert_eq!(operations[0]["status"]["phase"], "Completed");
    assert_eq!(operations[0]["spec"]["postOperationItems"][1]["Name"], content);
    let mut told = place.stored("backups/one", "one-volumeinfo.json.gz")?;
    let mut times = Vec::new();
    for time in ["startTimestamp", "completionTimestamp"] {
        times.push(told[0][time].take());
    }
    assert!(times.iter().all(Value::is_string), "{times:?}");
    assert_eq!(
        told,
        json!([{
            "pvcName": "data", "pvcNamespace": shop, "pvName": data.volume,
            "backupMethod": "CSISnapshot",
            "snapshotDataMoved": false, "preserveLocalSnapshot": true, "skipped": false,
            "startTimestamp": null, "completionTimestamp": null, "result": "succeeded",
            "csiSnapshotInfo": {
                "snapshotHandle": handle, "size": 1 << 20, "driver": NAME, "vscName": content,
                "operationID": id, "ReadyToUse": true,
            },
            "pvInfo": {"reclaimPolicy": "Delete", "labels": null},
        }])
    );
    let listed = place.stored("backups/one", "one-resource-list.json.gz")?;
    let listed = &listed["snapshot.storage.k8s.io/v1/VolumeSnapshot"];
    assert_eq!(*listed, json!([format!("{shop}/{snapshot}")]));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn deleting_the_backup_deletes_its_snapshots_and_leaves_nothing() -> anyhow::Result<()> {
    let place = Place::new().await?;
    let _daemon = place.daemon().await?;
    let shop = place.testbed.namespace("shop").await?;
    let data = place.claim(&shop, "data").await?;
    for name in ["one", "two"] {
        let backup = place.back_up(name, json!({"includedNamespaces": [shop]})).await?;
        assert_eq!(backup.status_phase(), BackupPhase::Completed, "{:?}", backup.status);
    }
    let told = place.stored("backups/two", "two-volumeinfo.json.gz")?;
    let kept = text(&told[0], "/csiSnapshotInfo/snapshotHandle");
    assert_eq!(place.handles(&data).len(), 2);
    let delete = async |backup: &str| {
        let spec = DeleteBackupRequestSpec { backup_name: backup.to_owned() };
        place.runs.create(&DeleteBackupRequest::new(&format!("{backup}-deletion"), spec)).await?;
        let gone = async || Ok(place.runs.api::<Backup>().get_opt(backup).await?.is_none().then_some(()));
        waiting::until("the backup to go", PATIENCE, gone).await
    };
    delete("one").await?;
    assert_eq!(place.handles(&data), [kept.as_str()]);
    delete("two").await?;
    assert_eq!(place.handles(&data), Vec::<String>::new());
    place.released(&shop, &kept).await?;
    assert!(!place.bucket().join("backups/two").exists());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn snapshots_of_many_claims_are_waited_for_side_by_side() -> anyhow::Result<()> {
    const CLAIMS: usize = 6;
    let place = Place::new().await?;
    let _daemon = place.daemon().await?;
    let shop = place.testbed.namespace("shop").await?;
    for number in 0..CLAIMS {
        let data = place.claim(&shop, &format!("data-{number}")).await?;
        place.driver.set_fault(&data.id, Some(Fault::OnlyTogether(CLAIMS)));
    }
    let spec = json!({"includedNamespaces": [shop], "csiSnapshotTimeout": "20s"});
    let backup = place.back_up("one", spec).await?;
    assert_eq!(backup.status_phase(), BackupPhase::Completed, "{:?}", backup.status);
    assert_eq!(backup.status.csi_volume_snapshots_completed, CLAIMS as i64);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_without_snapshot_says_why() -> anyhow::Result<()> {
    let place = Place::new().await?;
    let _daemon = place.daemon().await?;
    let shop = place.testbed.namespace("shop").await?;
    let data = place.claim(&shop, "data").await?;
    let spec = json!({"includedNamespaces": [shop], "snapshotVolumes": false});
    let backup = place.back_up("one", spec).await?;
    assert_eq!(backup.status_phase(), BackupPhase::Completed, "{:?}", backup.status);
    assert_eq!(place.handles(&data), Vec::<String>::new());
    let told = place.stored("backups/one", "one-volumeinfo.json.gz")?;
    assert_eq!(told[0]["skipped"], true);
    assert_eq!(place.stored("backups/one", "one-itemoperations.json.gz")?, json!([]));
    let archive = place.archive("one")?;
    let claim = &archive[&format!("persistentvolumeclaims/namespaces/{shop}/data.json")];
    assert_eq!(claim.pointer("/metadata/annotations/velero.io~1volume-snapshot-name"), None);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_that_does_not_serve_snapshots_says_so_for_csi_volumes() -> anyhow::Result<()> {
    let testbed = Testbed::start().await?;
    let client = testbed.client()?;
    let home = testbed.namespace("home").await?;
    let runs = Runs::in_namespace(client.clone(), &home).await?;
    let folder = tempfile::tempdir()?;
    let options = DaemonOptions { namespace: home.clone(), ..DaemonOptions::default() };
    let _daemon = Daemon::start(&testbed, options).await?;
    runs.local_location("default", folder.path(), "bucket").await?;
    let volume: PersistentVolume = serde_json::from_value(json!({
        "metadata": {"name": "disk"},
        "spec": {
            "accessModes": ["ReadWriteOnce"], "capacity": {"storage": "1Mi"}, "storageClassName": "",
            "csi": {"driver": NAME, "volumeHandle": "vol-1"},
            "claimRef": {"namespace": "default", "name": "data"},
        },
    }))?;
    Api::all(client.clone()).create(&PostParams::default(), &volume).await?;
    let claim: PersistentVolumeClaim = serde_json::from_value(json!({
        "metadata": {"name": "data"},
        "spec": {
            "accessModes": ["ReadWriteOnce"], "storageClassName": "", "volumeName": "disk",
            "resources": {"requests": {"storage": "1Mi"}},
        },
    }))?;
    let claims = Api::<PersistentVolumeClaim>::namespaced(client, "default");
    claims.create(&PostParams::default(), &claim).await?;
    let bound = async || {
        let status = claims.get("data").await?.status;
        Ok(status.filter(|status| status.phase.as_deref() == Some("Bound")).map(drop))
    };
    waiting::until("the claim to be bound", PATIENCE, bound).await?;
    let spec = serde_json::from_value(json!({"includedNamespaces": ["default"]}))?;
    let backup = runs.backup("one", spec, PATIENCE).await?;
    assert_eq!(backup.status_phase(), BackupPhase::Completed, "{:?}", backup.status);
    assert_eq!(backup.status.warnings, 0);
    let path = folder.path().join("bucket/backups/one/one-volumeinfo.json.gz");
    let told: Value = serde_json::from_reader(flate2::read::GzDecoder::new(std::fs::File::open(path)?))?;
    let reason = text(&told[0], "/skippedReason");
    assert!(reason.contains("csiSnapshot: the cluster does not serve VolumeSnapshots"), "{reason}");
    Ok(())
}

pub(crate) fn text(value: &Value, pointer: &str) -> String {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned()
}
