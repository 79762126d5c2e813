//! Restores of the files of pods' volumes.

use std::fs;

use holdfast_policy::velero::{
    BackupPhase, DataPathPhase, PodVolumeRestore, Restore, RestorePhase, RestoreSpec, UploaderType, labels,
};
use holdfast_tests::{command, waiting};
use kube::ResourceExt;
use kube::api::{Patch, PatchParams};
use pretty_assertions::assert_eq;
use serde_json::json;

use crate::cluster::{Cluster, PATIENCE, files, opted_in};

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
    let cluster = Cluster::new().await?;
    let _daemon = cluster.daemon(&["--restore-helper-image", IMAGE]).await?;
    let _agent = cluster.agent().await?;
    let shop = cluster.testbed.namespace("shop").await?;
    let volume = cluster.pod(&shop, "db", opted_in()).await?;
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
    let cluster = Cluster::new().await?;
    let _daemon = cluster.daemon(&["--restore-helper-image", IMAGE]).await?;
    let _agent = cluster.agent().await?;
    let shop = cluster.testbed.namespace("shop").await?;
    let volume = cluster.pod(&shop, "db", opted_in()).await?;
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
    let cluster = Cluster::new().await?;
    let daemon = cluster.daemon(&["--restore-helper-image", IMAGE]).await?;
    let agent = cluster.agent().await?;
    let shop = cluster.testbed.namespace("shop").await?;
    cluster.pod(&shop, "db", opted_in()).await?;
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
    let cluster = Cluster::new().await?;
    let _daemon = cluster.daemon(&[]).await?;
    let _agent = cluster.agent().await?;
    let shop = cluster.testbed.namespace("shop").await?;
    cluster.pod(&shop, "db", opted_in()).await?;
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
