//! Restores of the files of pods' volumes.

use std::fs;

use holdfast_policy::velero::{
    BackupPhase, DataPathPhase, PodVolumeRestore, Restore, RestorePhase, RestoreSpec, UploaderType, labels,
};
use holdfast_tests::{command, waiting};
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};
use kube::api::{Patch, PatchParams};
use kube::{Api, ResourceExt};
use pretty_assertions::assert_eq;
use serde_json::json;

use crate::cluster::{PATIENCE, Shop, backup_of, files, opted_in};

const IMAGE: &str = "registry.example/holdfast:1";

fn restore_of(backup: &str, from: &str, to: &str) -> RestoreSpec {
    RestoreSpec {
        backup_name: Some(backup.to_owned()),
        namespace_mapping: [(from.to_owned(), to.to_owned())].into(),
        ..RestoreSpec::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn files_come_back_into_another_namespace_before_the_pod_goes_on() -> anyhow::Result<()> {
    let Shop { cluster, daemon: _daemon, agent: _agent, namespace: shop, volume } =
        Shop::open(&["--restore-helper-image", IMAGE]).await?;
    fs::create_dir(volume.join("wal"))?;
    fs::write(volume.join("table"), "rows")?;
    fs::write(volume.join("wal/0001"), "changes")?;
    let backup = cluster.back_up("one", &shop).await?;
    assert_eq!(backup.status_phase(), BackupPhase::Completed);

    let target = format!("{shop}-2");
    cluster.runs.create(&Restore::new("back", restore_of("one", &shop, &target))).await?;
    let pod = cluster.start_waiting(&target, "db").await?;
    let spec = pod.spec.clone().unwrap_or_default();
    let waiting_container = &spec.init_containers.unwrap_or_default()[0];
    let restore: Restore = cluster.runs.api().get("back").await?;
    let uid = restore.uid().unwrap_or_default();
    assert_eq!(waiting_container.name, "restore-wait");
    assert_eq!(waiting_container.image.as_deref(), Some(IMAGE));
    assert_eq!(waiting_container.args.as_deref(), Some(&[uid.clone()][..]));
    let restored = cluster.volume(&pod)?;
    let ended = cluster
        .runs
        .ended("back", PATIENCE, |restore: &Restore| restore.status_phase() == RestorePhase::Completed);
    ended.await?;
    let mut found = files(&restored);
    assert_eq!(found.remove(&format!(".velero/{uid}")), Some(String::new()));
    assert_eq!(found, files(&volume));

    let transfers = cluster.runs.api::<PodVolumeRestore>().list(&Default::default()).await?.items;
    let [transfer] = transfers.as_slice() else { panic!("{transfers:?}") };
    assert_eq!(transfer.status_phase(), DataPathPhase::Completed);
    assert_eq!(transfer.spec.uploader_type, Some(UploaderType::Restic));
    assert_eq!(transfer.spec.source_namespace, shop);
    assert_eq!(transfer.status.node.as_deref(), Some(cluster.node()));
    assert_eq!(transfer.labels().get(labels::POD_UID), pod.metadata.uid.as_ref());

    // What the init container does with that.
    let restores = tempfile::tempdir()?;
    std::os::unix::fs::symlink(&restored, restores.path().join("data"))?;
    let folder = restores.path().display().to_string();
    let waited = command::holdfast(["restore-wait", "--volumes", &folder, &uid]).await?;
    assert_eq!(waited.code, 0, "{}", waited.errors);
    assert_eq!(files(&restored), files(&volume));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_that_cannot_be_restored_makes_the_restore_partially_failed() -> anyhow::Result<()> {
    let Shop { cluster, daemon: _daemon, agent: _agent, namespace: shop, volume } =
        Shop::open(&["--restore-helper-image", IMAGE]).await?;
    fs::write(volume.join("table"), "rows")?;
    cluster.back_up("one", &shop).await?;
    let packs = cluster.bucket().join("restic").join(&shop).join("data");
    fs::remove_dir_all(packs)?;
    let target = format!("{shop}-2");
    cluster.runs.create(&Restore::new("back", restore_of("one", &shop, &target))).await?;
    let pod = cluster.start_waiting(&target, "db").await?;
    let restored = cluster.volume(&pod)?;
    let ended = cluster
        .runs
        .ended("back", PATIENCE, |restore: &Restore| restore.status_phase() == RestorePhase::PartiallyFailed);
    ended.await?;
    // The pod goes on waiting rather than starting without its files.
    assert!(!restored.join(".velero").exists());
    let results = cluster.stored("restores/back", "restore-back-results.gz")?;
    let error = results["errors"]["velero"][0].to_string();
    assert!(error.contains("pod volume restore failed: volume data of pod"), "{results}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_without_an_agent_or_an_image_says_so() -> anyhow::Result<()> {
    let Shop { cluster, daemon, agent, namespace: shop, volume: _ } =
        Shop::open(&["--restore-helper-image", IMAGE]).await?;
    cluster.back_up("one", &shop).await?;
    agent.kill()?;
    let leases = cluster.runs.api::<k8s_openapi::api::coordination::v1::Lease>();
    for lease in leases.list(&Default::default()).await?.items {
        if lease.name_any().starts_with("holdfast-node-agent") {
            let released = json!({"spec": {"holderIdentity": null}});
            leases.patch(&lease.name_any(), &PatchParams::default(), &Patch::Merge(released)).await?;
        }
    }
    let target = format!("{shop}-2");
    cluster.runs.create(&Restore::new("no-agent", restore_of("one", &shop, &target))).await?;
    cluster.start_waiting(&target, "db").await?;
    let failed = |restore: &Restore| restore.status_phase() == RestorePhase::PartiallyFailed;
    cluster.runs.ended("no-agent", PATIENCE, failed).await?;
    let results = cluster.stored("restores/no-agent", "restore-no-agent-results.gz")?;
    assert!(
        results["errors"]["velero"][0].to_string().contains("no node agent is running on node"),
        "{results}"
    );

    daemon.stop().await?;
    let _daemon = cluster.daemon(&[]).await?;
    let target = format!("{shop}-3");
    cluster.runs.create(&Restore::new("no-image", restore_of("one", &shop, &target))).await?;
    cluster.runs.ended("no-image", PATIENCE, failed).await?;
    let results = cluster.stored("restores/no-image", "restore-no-image-results.gz")?;
    assert!(results["errors"].to_string().contains("--restore-helper-image"), "{results}");
    let pods: kube::Api<k8s_openapi::api::core::v1::Pod> =
        kube::Api::namespaced(cluster.client.clone(), &target);
    assert!(pods.get_opt("db").await?.is_none());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn files_in_a_kopia_repository_are_refused_before_anything_is_created() -> anyhow::Result<()> {
    let Shop { cluster, daemon: _daemon, agent: _agent, namespace: shop, volume: _ } =
        Shop::open(&[]).await?;
    cluster.back_up("one", &shop).await?;
    let told = cluster.stored("backups/one", "one-volumeinfo.json.gz")?;
    let told = told.to_string().replace("\"restic\"", "\"kopia\"");
    let path = cluster.bucket().join("backups/one/one-volumeinfo.json.gz");
    let mut packed = flate2::write::GzEncoder::new(fs::File::create(path)?, flate2::Compression::fast());
    std::io::Write::write_all(&mut packed, told.as_bytes())?;
    packed.finish()?;
    let target = format!("{shop}-2");
    cluster.runs.create(&Restore::new("back", restore_of("one", &shop, &target))).await?;
    let refused = |restore: &Restore| restore.status_phase() == RestorePhase::FailedValidation;
    let restore = cluster.runs.ended("back", PATIENCE, refused).await?;
    assert!(restore.status.validation_errors[0].contains("kopia"), "{:?}", restore.status);
    let namespaces: kube::Api<k8s_openapi::api::core::v1::Namespace> = kube::Api::all(cluster.client.clone());
    assert!(namespaces.get_opt(&target).await?.is_none());
    let transfers =
        async || Ok(cluster.runs.api::<PodVolumeRestore>().list(&Default::default()).await?.items);
    assert!(
        waiting::until("the list of transfers", PATIENCE, async || transfers().await.map(Some))
            .await?
            .is_empty()
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_whose_time_is_over_gives_its_transfers_up() -> anyhow::Result<()> {
    let Shop { cluster, daemon: _daemon, agent, namespace: shop, volume } =
        Shop::open(&["--restore-helper-image", IMAGE]).await?;
    fs::write(volume.join("table"), "rows")?;
    cluster.back_up("one", &shop).await?;
    cluster.put_to_sleep(agent).await?;
    let target = format!("{shop}-2");
    let mut restore = Restore::new("back", restore_of("one", &shop, &target));
    restore.annotations_mut().insert("velero.io/pod-volume-timeout".to_owned(), "1ms".to_owned());
    cluster.runs.create(&restore).await?;
    let pod = cluster.start_waiting(&target, "db").await?;
    let failed = |restore: &Restore| restore.status_phase() == RestorePhase::PartiallyFailed;
    cluster.runs.ended("back", PATIENCE, failed).await?;
    let results = cluster.stored("restores/back", "restore-back-results.gz")?;
    assert_eq!(
        results["errors"],
        json!({"velero": ["timed out waiting for all PodVolumeRestores to complete"]})
    );
    let transfers = cluster.runs.api::<PodVolumeRestore>();
    let [transfer] = &transfers.list(&Default::default()).await?.items[..] else {
        panic!("not one transfer")
    };
    assert!(transfer.spec.cancel);
    // The next agent of the node ends it, and the pod goes on waiting.
    cluster.forget_agent().await?;
    let _agent = cluster.agent().await?;
    let canceled = async || {
        let found = transfers.get(&transfer.name_any()).await?;
        Ok((found.status_phase() == DataPathPhase::Canceled).then_some(()))
    };
    waiting::until("the end of the transfer", PATIENCE, canceled).await?;
    assert!(!cluster.volume(&pod)?.join(".velero").exists());
    Ok(())
}

/// A volume that nobody mounts here, bound to a claim or to be.
fn volume_of(name: &str, namespace: &str, policy: &str, labels: serde_json::Value) -> serde_json::Value {
    json!({
        "apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": name, "labels": labels},
        "spec": {
            "capacity": {"storage": "1Mi"}, "accessModes": ["ReadWriteOnce"], "storageClassName": "",
            "persistentVolumeReclaimPolicy": policy, "nfs": {"server": "none.example", "path": "/"},
            "claimRef": {"namespace": namespace, "name": "data"},
        },
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claims_volume_is_made_anew_filled_and_told_in_the_restores_files() -> anyhow::Result<()> {
    let Shop { cluster, daemon: _daemon, agent: _agent, namespace: shop, volume: _ } =
        Shop::open(&["--restore-helper-image", IMAGE]).await?;
    let volumes = Api::<PersistentVolume>::all(cluster.client.clone());
    let old = format!("{shop}-old");
    let labels = json!({"disk": "fast"});
    volumes
        .create(&Default::default(), &serde_json::from_value(volume_of(&old, &shop, "Retain", labels))?)
        .await?;
    let claim = json!({
        "metadata": {"name": "data"},
        "spec": {
            "storageClassName": "", "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Mi"}},
        },
    });
    let claims = Api::<PersistentVolumeClaim>::namespaced(cluster.client.clone(), &shop);
    claims.create(&Default::default(), &serde_json::from_value(claim)?).await?;
    let is_bound = |claim: &PersistentVolumeClaim| {
        claim.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Bound")
    };
    let bound = async || Ok(claims.get("data").await.ok().filter(is_bound));
    waiting::until("a bound claim", PATIENCE, bound).await?;
    let source = json!({"persistentVolumeClaim": {"claimName": "data"}});
    let pod = cluster.pod_with(&shop, "claimed", opted_in(), source).await?;
    let kept = cluster.volume_of_kind(&pod, "nfs", &old)?;
    fs::write(kept.join("table"), "rows")?;
    let mut spec = backup_of(&shop);
    spec.included_resources.push("persistentvolumes".to_owned());
    let backup = cluster.runs.backup("one", spec, PATIENCE).await?;
    assert_eq!(backup.status_phase(), BackupPhase::Completed, "{:?}", backup.status);

    let (target, new) = (format!("{shop}-2"), format!("{shop}-new"));
    let restore = RestoreSpec {
        included_resources: ["pods", "persistentvolumeclaims", "persistentvolumes"].map(str::to_owned).into(),
        ..restore_of("one", &shop, &target)
    };
    cluster.runs.create(&Restore::new("back", restore)).await?;
    // What a provisioner does.
    let labels = json!({"made-by": "driver"});
    volumes
        .create(&Default::default(), &serde_json::from_value(volume_of(&new, &target, "Delete", labels))?)
        .await?;
    cluster.volume(&cluster.start_waiting(&target, "db").await?)?;
    let pod = cluster.start_waiting(&target, "claimed").await?;
    let restored = cluster.volume_of_kind(&pod, "nfs", &new)?;
    let completed = |restore: &Restore| restore.status_phase() == RestorePhase::Completed;
    cluster.runs.ended("back", PATIENCE, completed).await?;
    assert_eq!(fs::read_to_string(restored.join("table"))?, "rows");
    let made = volumes.get(&new).await?;
    assert_eq!(made.labels(), &[("disk".to_owned(), "fast".to_owned())].into());
    assert_eq!(made.spec.and_then(|spec| spec.persistent_volume_reclaim_policy).as_deref(), Some("Retain"));

    let transfers = cluster.runs.api::<PodVolumeRestore>().list(&Default::default()).await?.items;
    let transfer =
        transfers.iter().find(|it| it.spec.pod.name.as_deref() == Some("claimed")).expect("a transfer");
    let claims = Api::<PersistentVolumeClaim>::namespaced(cluster.client.clone(), &target);
    assert_eq!(transfer.labels().get(labels::PVC_UID), claims.get("data").await?.metadata.uid.as_ref());
    let told = cluster.stored("restores/back", "back-volumeinfo.json.gz")?;
    assert_eq!(
        told,
        json!([{
            "pvcName": "data", "pvcNamespace": target, "pvName": new, "restoreMethod": "PodVolumeRestore",
            "snapshotDataMoved": false,
            "pvrInfo": {
                "snapshotHandle": transfer.spec.snapshot_id, "size": 4, "uploaderType": "restic",
                "volumeName": "data", "podName": "claimed", "podNamespace": target, "nodeName": cluster.node(),
                "Phase": "Completed",
            },
        }])
    );
    for volume in [old, new] {
        volumes.delete(&volume, &Default::default()).await?;
    }
    Ok(())
}
