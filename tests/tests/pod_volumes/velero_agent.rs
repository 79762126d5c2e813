//! `--data-path velero`: what is Velero's node agent's to do is asked for in its form, and left to it.

use holdfast_policy::velero::{
    Backup, BackupPhase, DataDownload, DataPathPhase, DataUpload, PodVolumeBackup, PodVolumeRestore, Restore,
    RestorePhase, RestoreSpec, UploaderType,
};
use holdfast_tests::waiting;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, ResourceExt};
use pretty_assertions::assert_eq;
use serde_json::json;

use crate::cluster::{Cluster, PATIENCE, Shop, backup_of};

const SNAPSHOT: &str = "k0123456789abcdef";

/// A pod of Velero's agent on the node, as far as the API server knows.
async fn start_velero_s_agent(cluster: &Cluster) -> anyhow::Result<()> {
    let pods: Api<Pod> = Api::namespaced(cluster.client.clone(), &cluster.home);
    let pod = json!({
        "metadata": {"name": "node-agent", "labels": {"role": "node-agent", "name": "node-agent"}},
        "spec": {
            "nodeName": cluster.node(), "automountServiceAccountToken": false,
            "tolerations": [{"operator": "Exists"}], "containers": [{"name": "node-agent", "image": "none"}],
        },
    });
    pods.create(&PostParams::default(), &serde_json::from_value(pod)?).await?;
    let running = Patch::Merge(json!({"status": {"phase": "Running"}}));
    pods.patch_status("node-agent", &PatchParams::default(), &running).await?;
    Ok(())
}

fn done() -> Patch<serde_json::Value> {
    Patch::Merge(json!({"status": {"phase": "Completed", "snapshotID": SNAPSHOT}}))
}

#[tokio::test(flavor = "multi_thread")]
async fn transfers_are_asked_for_as_velero_s_agent_has_them_and_nobody_else_touches_them()
-> anyhow::Result<()> {
    let arguments = ["--data-path", "velero", "--restore-helper-image", "registry.example/velero:1"];
    // An agent of ours beside it takes nothing that is in kopia's form.
    let Shop { cluster, daemon: _daemon, agent: _agent, namespace: shop, volume: _ } =
        Shop::open(&arguments).await?;
    start_velero_s_agent(&cluster).await?;
    cluster.runs.kopia_repository(&shop).await?;
    let moved = json!({
        "snapshotType": "CSI", "backupStorageLocation": "default", "sourceNamespace": shop, "operationTimeout": "10m",
        "csiSnapshot": {"volumeSnapshot": "vs", "storageClass": "sc", "snapshotClass": ""}, "sourcePVC": "data",
    });
    let upload = json!({"metadata": {"name": "up"}, "spec": moved});
    let upload: DataUpload = serde_json::from_value(upload)?;
    cluster.runs.create(&upload).await?;
    let download = json!({"metadata": {"name": "down"}, "spec": {
        "targetVolume": {"pvc": "data", "pv": "", "namespace": shop}, "backupStorageLocation": "default",
        "snapshotID": SNAPSHOT, "sourceNamespace": shop, "operationTimeout": "10m",
    }});
    let download: DataDownload = serde_json::from_value(download)?;
    cluster.runs.create(&download).await?;

    cluster.runs.create(&Backup::new("one", backup_of(&shop))).await?;
    let backups = cluster.runs.api::<PodVolumeBackup>();
    let asked = async || Ok(backups.list(&Default::default()).await?.items.pop());
    let asked = waiting::until("a PodVolumeBackup", PATIENCE, asked).await?;
    assert_eq!(asked.spec.uploader_type, Some(UploaderType::Kopia));
    assert_eq!(asked.spec.node, cluster.node());
    assert_eq!(asked.status_phase(), DataPathPhase::New);
    backups.patch(&asked.name_any(), &PatchParams::default(), &done()).await?;
    let completed = |backup: &Backup| backup.status_phase() == BackupPhase::Completed;
    cluster.runs.ended("one", PATIENCE, completed).await?;
    let told = cluster.stored("backups/one", "one-volumeinfo.json.gz")?;
    assert_eq!(told[0]["pvbInfo"]["uploaderType"], "kopia");
    assert_eq!(told[0]["pvbInfo"]["snapshotHandle"], SNAPSHOT);

    let spec = RestoreSpec {
        backup_name: Some("one".to_owned()),
        namespace_mapping: [(shop.clone(), format!("{shop}-2"))].into(),
        ..RestoreSpec::default()
    };
    cluster.runs.create(&Restore::new("back", spec)).await?;
    cluster.start_waiting(&format!("{shop}-2"), "db").await?;
    let restores = cluster.runs.api::<PodVolumeRestore>();
    let asked = async || Ok(restores.list(&Default::default()).await?.items.pop());
    let asked = waiting::until("a PodVolumeRestore", PATIENCE, asked).await?;
    assert_eq!(asked.spec.uploader_type, Some(UploaderType::Kopia));
    assert_eq!(asked.spec.snapshot_id, SNAPSHOT);
    assert_eq!(asked.status_phase(), DataPathPhase::New);
    restores.patch(&asked.name_any(), &PatchParams::default(), &done()).await?;
    let completed = |restore: &Restore| restore.status_phase() == RestorePhase::Completed;
    cluster.runs.ended("back", PATIENCE, completed).await?;

    let upload = cluster.runs.api::<DataUpload>().get("up").await?;
    let download = cluster.runs.api::<DataDownload>().get("down").await?;
    for generation in [upload.metadata.generation, download.metadata.generation] {
        assert_eq!(generation, Some(1));
    }
    for managed in [upload.metadata.managed_fields, download.metadata.managed_fields] {
        assert_eq!(managed.map(|fields| fields.len()), Some(1), "somebody else wrote to it");
    }
    Ok(())
}
