//! Provider `local`.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use holdfast_policy::velero::{BackupPhase, RestorePhase, labels};
use k8s_openapi::api::core::v1::PersistentVolume;
use kube::ResourceExt;
use pretty_assertions::assert_eq;
use serde_json::json;

use crate::cluster::{Cluster, files};

fn host_path(volume: &PersistentVolume) -> PathBuf {
    let source = volume.spec.as_ref().and_then(|spec| spec.host_path.as_ref());
    source.map(|source| source.path.clone().into()).unwrap_or_default()
}

fn write_database(folder: &Path) -> std::io::Result<()> {
    fs::create_dir_all(folder.join("wal"))?;
    fs::write(folder.join("table"), "rows")?;
    fs::write(folder.join("wal/0001"), "changes")?;
    fs::set_permissions(folder, fs::Permissions::from_mode(0o750))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_comes_back_in_another_namespace_and_after_it_was_lost_and_expiry_leaves_nothing()
-> anyhow::Result<()> {
    let cluster = Cluster::new().await?;
    let _daemon = cluster.daemon().await?;
    let copies = cluster.local_copies().await?;
    let shop = cluster.testbed.namespace("shop").await?;
    let data = cluster.path("data");
    write_database(&data)?;
    let written = files(&data);
    let name = cluster.volume(&shop, json!({"hostPath": {"path": data}})).await?;

    let backup = cluster.back_up("one", &shop).await?;
    assert_eq!(backup.status_phase(), BackupPhase::Completed, "{:?}", backup.status);
    assert_eq!(backup.spec.volume_snapshot_locations, ["copies"]);
    let counts = (backup.status.volume_snapshots_attempted, backup.status.volume_snapshots_completed);
    assert_eq!(counts, (1, 1));
    let listed = cluster.stored("one", "volumesnapshots")?;
    let snapshot = listed[0]["status"]["providerSnapshotID"].clone();
    assert_eq!(
        listed,
        json!([{
            "spec": {
                "backupName": "one", "backupUID": backup.uid(), "location": "copies",
                "persistentVolumeName": name, "providerVolumeID": data, "volumeType": "local",
            },
            "status": {"providerSnapshotID": snapshot, "phase": "Completed"},
        }])
    );
    let info = cluster.stored("one", "volumeinfo")?;
    assert_eq!(info[0]["backupMethod"], "NativeSnapshot");
    assert_eq!(
        (&info[0]["pvName"], &info[0]["pvcName"], &info[0]["result"]),
        (&json!(name), &json!("data"), &json!("succeeded"))
    );
    assert_eq!(
        info[0]["nativeSnapshotInfo"],
        json!({"snapshotHandle": snapshot, "volumeType": "local", "volumeAZ": "", "iops": "0", "Phase": "Completed"})
    );

    let other = format!("{shop}-2");
    let spec = json!({"backupName": "one", "namespaceMapping": {&shop: other}});
    let restore = cluster.restore("other", spec).await?;
    assert_eq!(restore.status_phase(), RestorePhase::Completed, "{:?}", restore.status);
    let renamed = cluster.bound(&other).await?;
    let told = cluster.restored("other")?;
    assert_eq!(
        (&told[0]["restoreMethod"], &told[0]["pvName"], &told[0]["nativeSnapshotInfo"]),
        (&json!("NativeSnapshot"), &json!(renamed.name_any()), &info[0]["nativeSnapshotInfo"])
    );
    assert!(renamed.name_any().starts_with("velero-clone-"), "{}", renamed.name_any());
    assert_eq!(renamed.annotations().get(labels::ORIGINAL_PV_NAME), Some(&name));
    let beside = host_path(&renamed);
    assert!(beside != data && beside.starts_with(cluster.path("")), "{}", beside.display());
    assert_eq!(files(&beside), written);
    assert_eq!(fs::metadata(&beside)?.permissions().mode() & 0o7777, 0o750);

    cluster.lose(&shop, &name).await?;
    fs::remove_dir_all(&data)?;
    let restore = cluster.restore("same", json!({"backupName": "one", "includedNamespaces": [shop]})).await?;
    assert_eq!(restore.status_phase(), RestorePhase::Completed, "{:?}", restore.status);
    let volume = cluster.bound(&shop).await?;
    assert_eq!((volume.name_any(), host_path(&volume)), (name.clone(), data.clone()));
    assert_eq!(files(&data), written);

    // What is there stays as it is.
    fs::write(data.join("table"), "newer rows")?;
    let restore = cluster.restore("again", json!({"backupName": "one"})).await?;
    assert_eq!(restore.status_phase(), RestorePhase::Completed, "{:?}", restore.status);
    assert_eq!(fs::read_to_string(data.join("table"))?, "newer rows");
    assert_eq!(cluster.restored("again")?, json!([]));

    cluster.delete_backup("one").await?;
    for folder in ["snapshots", "data", "index"] {
        assert_eq!(files(&copies.join(folder)).len(), 0, "{folder}");
    }
    assert_eq!(files(&beside), written);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_id_of_another_volume_is_refused() -> anyhow::Result<()> {
    let cluster = Cluster::new().await?;
    let _daemon = cluster.daemon().await?;
    let copies = cluster.local_copies().await?;
    let mut namespaces = Vec::new();
    for name in ["mine", "theirs"] {
        let namespace = cluster.testbed.namespace(name).await?;
        let data = cluster.path(name);
        fs::create_dir(&data)?;
        fs::write(data.join("secret"), name)?;
        let volume = cluster.volume(&namespace, json!({"hostPath": {"path": data}})).await?;
        let backup = cluster.back_up(name, &namespace).await?;
        assert_eq!(backup.status_phase(), BackupPhase::Completed, "{:?}", backup.status);
        namespaces.push((namespace, volume));
    }
    let mut mixed = cluster.stored("mine", "volumesnapshots")?;
    let theirs = cluster.stored("theirs", "volumesnapshots")?;
    mixed[0]["status"] = theirs[0]["status"].clone();
    cluster.store("mine", "volumesnapshots", &mixed)?;
    let (namespace, volume) = &namespaces[0];
    cluster.lose(namespace, volume).await?;
    fs::remove_dir_all(cluster.path("mine"))?;

    let restore = cluster.restore("mixed", json!({"backupName": "mine"})).await?;
    assert_eq!(restore.status_phase(), RestorePhase::PartiallyFailed, "{:?}", restore.status);
    let errors = cluster.errors("restores/mixed", "restore-mixed-results.gz")?;
    assert!(errors.contains("is not of this backup and volume"), "{errors}");
    assert!(cluster.volumes().get_opt(volume).await?.is_none());
    assert!(!cluster.path("mine").exists());
    assert_eq!(files(&copies.join("snapshots")).len(), 2);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_that_fails_makes_the_backup_partially_failed_and_keeps_its_volume_out()
-> anyhow::Result<()> {
    let cluster = Cluster::new().await?;
    let _daemon = cluster.daemon().await?;
    cluster.local_copies().await?;
    let shop = cluster.testbed.namespace("shop").await?;
    let name = cluster.volume(&shop, json!({"hostPath": {"path": cluster.path("absent")}})).await?;
    let backup = cluster.back_up("one", &shop).await?;
    assert_eq!(backup.status_phase(), BackupPhase::PartiallyFailed, "{:?}", backup.status);
    let counts = (backup.status.volume_snapshots_attempted, backup.status.volume_snapshots_completed);
    assert_eq!(counts, (1, 0));
    let listed = cluster.stored("one", "volumesnapshots")?;
    assert_eq!(listed[0]["status"], json!({"phase": "Failed"}));
    let archived = cluster.archived("one")?;
    assert!(!archived.iter().any(|path| path.contains("/persistentvolume")), "{archived:?}");
    let errors = cluster.errors("backups/one", "one-results.gz")?;
    assert!(errors.contains("is no folder here") || errors.contains("cannot find"), "{errors}");
    assert!(errors.contains(&name), "{errors}");
    cluster.delete_backup("one").await
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_wish_nobody_is_asked_and_two_locations_of_a_provider_need_one() -> anyhow::Result<()> {
    let cluster = Cluster::new().await?;
    let _daemon = cluster.daemon().await?;
    let copies = cluster.local_copies().await?;
    let shop = cluster.testbed.namespace("shop").await?;
    let data = cluster.path("data");
    fs::create_dir(&data)?;
    cluster.volume(&shop, json!({"hostPath": {"path": data}})).await?;
    let spec = json!({"includedNamespaces": [shop], "snapshotVolumes": false});
    let backup = cluster.runs.backup("none", serde_json::from_value(spec)?, crate::cluster::PATIENCE).await?;
    assert_eq!(backup.status_phase(), BackupPhase::Completed, "{:?}", backup.status);
    assert_eq!(backup.status.volume_snapshots_attempted, 0);
    assert_eq!(files(&copies).len(), 0);

    cluster.snapshot_location("more", "velero.io/local", &[("path", "/absent")]).await?;
    let backup = cluster.back_up("unclear", &shop).await?;
    assert_eq!(backup.status_phase(), BackupPhase::FailedValidation);
    let problems = backup.status.validation_errors.join("\n");
    assert!(problems.contains("copies, more"), "{problems}");
    Ok(())
}
