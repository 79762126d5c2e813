//! The part of the demo that needs a node: a pod writes to a volume, the volume is snapshotted and lost with everything else, and
//! a restored pod reads what the first one wrote.

use std::path::Path;
use std::time::Instant;

use anyhow::{Context as _, bail};
use holdfast_policy::velero::{
    Backup, BackupSpec, RestorePhase, RestoreSpec, VolumeSnapshotLocation, VolumeSnapshotLocationSpec,
};
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Status;
use kube::Client;
use kube::api::{Api, AttachParams, DeleteParams, PostParams};
use serde_json::json;
use tokio::io::AsyncReadExt as _;

use super::progress::Steps;
use super::{LOOK, PATIENCE, backup_seen, delete_namespace, expect_completed};
use crate::node;
use crate::runs::Runs;

/// How many steps there are.
pub(super) const STEPS: usize = 4;
pub(super) const NAMESPACE: &str = "demo-database";
const POD: &str = "database";
const VOLUME: &str = "demo-database-data";
const CLAIM: &str = "data";
const BACKUP: &str = "demo-database";
const WRITE: &str = "echo '42 orders' > /data/orders && sync";
const READ: &str = "cat /data/orders";

/// What was written, and what was read in the end.
pub(super) struct Told {
    pub(super) written: String,
    pub(super) read: String,
}

pub(super) async fn run(
    client: &Client,
    runs: &Runs,
    folder: &Path,
    steps: &mut Steps,
) -> anyhow::Result<Told> {
    let step = steps.begin("A database pod on a node writes to its volume");
    let data = folder.join("node/database");
    std::fs::create_dir_all(&data).context("making the volume's folder")?;
    let copies = folder.join("volumes");
    std::fs::create_dir(&copies).context("making the folder of snapshots")?;
    let location = VolumeSnapshotLocationSpec {
        provider: "local".to_owned(),
        config: [("path".to_owned(), copies.display().to_string())].into(),
        ..VolumeSnapshotLocationSpec::default()
    };
    runs.create(&VolumeSnapshotLocation::new("volumes", location)).await?;
    Runs::in_namespace(client.clone(), NAMESPACE).await?;
    create_volume(client, &data).await?;
    let pods: Api<Pod> = Api::namespaced(client.clone(), NAMESPACE);
    pods.create(&PostParams::default(), &pod()?).await.context("creating the pod")?;
    until("the pod runs", async || is_ready(&pods).await).await?;
    shell(&pods, WRITE).await?;
    let written = shell(&pods, READ).await?;
    step.done(&format!("{written:?} in {}", data.display()));

    let mut step = steps.begin(&format!("Backup {BACKUP} with a snapshot of the volume"));
    let spec = BackupSpec { included_namespaces: vec![NAMESPACE.to_owned()], ..BackupSpec::default() };
    runs.create(&Backup::new(BACKUP, spec)).await?;
    let backup = runs.ended(BACKUP, PATIENCE, |backup| backup_seen(backup, &mut step)).await?;
    expect_completed(&backup)?;
    step.done(&format!("Completed, {} snapshot", backup.status.volume_snapshots_completed));

    let step = steps.begin(&format!("Namespace {NAMESPACE}, its volume and the folder are lost"));
    delete_namespace(client, NAMESPACE).await?;
    let volumes: Api<PersistentVolume> = Api::all(client.clone());
    volumes.delete(VOLUME, &DeleteParams::default()).await.context("deleting the volume")?;
    until("the volume is gone", async || Ok(volumes.get_opt(VOLUME).await?.is_none())).await?;
    std::fs::remove_dir_all(&data).context("removing the volume's folder")?;
    step.done("deleted, and gone");

    let step = steps.begin(&format!("Restore of {NAMESPACE}"));
    let spec = RestoreSpec { backup_name: Some(BACKUP.to_owned()), ..RestoreSpec::default() };
    let restore = runs.restore("demo-database", spec, PATIENCE).await?;
    if restore.status_phase() != RestorePhase::Completed {
        bail!("Restore demo-database is not Completed: {}", serde_json::to_string(&restore.status)?);
    }
    place(&pods).await?;
    until("the restored pod runs", async || is_ready(&pods).await).await?;
    let read = shell(&pods, READ).await?;
    step.done(&format!("the restored pod reads {read:?}"));
    Ok(Told { written, read })
}

async fn create_volume(client: &Client, folder: &Path) -> anyhow::Result<()> {
    let volume: PersistentVolume = serde_json::from_value(json!({
        "metadata": {"name": VOLUME},
        "spec": {
            "accessModes": ["ReadWriteOnce"], "capacity": {"storage": "1Gi"}, "storageClassName": "",
            "persistentVolumeReclaimPolicy": "Retain",
            "hostPath": {"path": folder}, "claimRef": {"namespace": NAMESPACE, "name": CLAIM},
        },
    }))?;
    let volumes: Api<PersistentVolume> = Api::all(client.clone());
    volumes.create(&PostParams::default(), &volume).await.context("creating the volume")?;
    let claim: PersistentVolumeClaim = serde_json::from_value(json!({
        "metadata": {"name": CLAIM},
        "spec": {
            "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}},
            "storageClassName": "", "volumeName": VOLUME,
        },
    }))?;
    let claims: Api<PersistentVolumeClaim> = Api::namespaced(client.clone(), NAMESPACE);
    claims.create(&PostParams::default(), &claim).await.context("creating the claim")?;
    until("the claim is bound", async || {
        let status = claims.get(CLAIM).await?.status;
        Ok(status.is_some_and(|status| status.phase.as_deref() == Some("Bound")))
    })
    .await
}

fn pod() -> serde_json::Result<Pod> {
    serde_json::from_value(json!({
        "metadata": {"name": POD},
        "spec": {
            "nodeName": node::NAME,
            "automountServiceAccountToken": false,
            "terminationGracePeriodSeconds": 1,
            "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": CLAIM}}],
            "containers": [{
                "name": "database", "image": node::IMAGE, "imagePullPolicy": "Never",
                // As the first process it would not hear SIGTERM otherwise.
                "command": ["sh", "-c", "trap exit TERM; sleep 100000 & wait"],
                "volumeMounts": [{"name": "data", "mountPath": "/data"}],
            }],
        },
    }))
}

async fn is_ready(pods: &Api<Pod>) -> kube::Result<bool> {
    let pod = pods.get_opt(POD).await?;
    let conditions = pod.and_then(|pod| pod.status?.conditions).unwrap_or_default();
    Ok(conditions.iter().any(|condition| condition.type_ == "Ready" && condition.status == "True"))
}

/// What a scheduler would do; the throw-away cluster has none.
async fn place(pods: &Api<Pod>) -> anyhow::Result<()> {
    until("the pod is restored", async || Ok(pods.get_opt(POD).await?.is_some())).await?;
    if pods.get(POD).await?.spec.is_some_and(|spec| spec.node_name.is_some()) {
        return Ok(());
    }
    let binding = json!({
        "apiVersion": "v1", "kind": "Binding", "metadata": {"name": POD},
        "target": {"kind": "Node", "name": node::NAME},
    });
    let placed: kube::Result<Status> =
        pods.create_subresource("binding", POD, &PostParams::default(), &binding).await;
    placed.map(drop).context("placing the restored pod on the node")
}

async fn shell(pods: &Api<Pod>, script: &str) -> anyhow::Result<String> {
    let parameters = AttachParams::default().stderr(false);
    let mut process = pods.exec(POD, ["sh", "-c", script], &parameters).await.context("running a command")?;
    let mut output = String::new();
    if let Some(mut stdout) = process.stdout() {
        stdout.read_to_string(&mut output).await.context("reading what a command says")?;
    }
    process.join().await.context("running a command")?;
    Ok(output.trim_end().to_owned())
}

async fn until(what: &str, condition: impl AsyncFn() -> kube::Result<bool>) -> anyhow::Result<()> {
    let deadline = Instant::now() + PATIENCE;
    while !condition().await.with_context(|| format!("waiting until {what}"))? {
        if Instant::now() > deadline {
            bail!("waited {PATIENCE:?} until {what}");
        }
        tokio::time::sleep(LOOK).await;
    }
    Ok(())
}
