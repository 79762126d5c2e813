//! What Velero's node agent does with DataUploads and DataDownloads, as far as the cluster sees it: a snapshot is read through
//! a volume made of it and goes, and a claim gets a volume that was filled beside it.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;
use holdfast_policy::velero::{DataDownload, DataPathPhase, DataUpload, labels};
use holdfast_tests::csi::NAME;
use holdfast_tests::waiting;
use k8s_openapi::api::apps::v1::DaemonSet;
use k8s_openapi::api::core::v1::{Node, PersistentVolume, PersistentVolumeClaim, Pod};
use kube::api::{DeleteParams, DynamicObject, Patch, PatchParams, PostParams};
use kube::{Api, ResourceExt};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::place::{PATIENCE, Place, resource};

pub(crate) struct VeleroAgent<'a> {
    place: &'a Place,
    /// Its repository.
    folder: TempDir,
}

impl<'a> VeleroAgent<'a> {
    /// With a repository for the volumes of this namespace, which Velero's server has made.
    pub(crate) async fn start(place: &'a Place, volume_namespace: &str) -> anyhow::Result<VeleroAgent<'a>> {
        let node: Node =
            serde_json::from_value(json!({"metadata": {"name": format!("{}-node", place.home)}}))?;
        Api::all(place.client.clone()).create(&PostParams::default(), &node).await?;
        let mark = json!({"name": "node-agent"});
        let set: DaemonSet = serde_json::from_value(json!({
            "metadata": {"name": "node-agent"},
            "spec": {"selector": {"matchLabels": mark}, "template": {
                "metadata": {"labels": mark},
                "spec": {
                    "nodeSelector": {}, "automountServiceAccountToken": false,
                    "tolerations": [{"operator": "Exists"}],
                    "containers": [{"name": "node-agent", "image": "none"}],
                },
            }},
        }))?;
        place.runs.create(&set).await?;
        let pods = place.runs.api::<Pod>();
        let started = async || Ok(pods.list(&Default::default()).await?.items.pop());
        let pod = waiting::until("the agent's pod", PATIENCE, started).await?;
        let ready = json!({"status": {
            "phase": "Running", "conditions": [{"type": "Ready", "status": "True"}],
        }});
        pods.patch_status(&pod.name_any(), &PatchParams::default(), &Patch::Merge(ready)).await?;
        let sets = place.runs.api::<DaemonSet>();
        let ready = async || {
            let ready = sets.get("node-agent").await?.status.map(|status| status.number_ready);
            Ok(ready.filter(|ready| *ready > 0))
        };
        waiting::until("the agent to be ready", PATIENCE, ready).await?;
        place.runs.kopia_repository(volume_namespace).await?;
        Ok(VeleroAgent { place, folder: tempfile::tempdir()? })
    }

    /// The next DataUpload that nobody has ended.
    pub(crate) async fn asked(&self) -> anyhow::Result<DataUpload> {
        let uploads = self.place.runs.api::<DataUpload>();
        let asked = async || {
            let found = uploads.list(&Default::default()).await?.items;
            Ok(found.into_iter().find(|upload| !upload.status_phase().has_ended()))
        };
        waiting::until("a DataUpload", PATIENCE, asked).await
    }

    pub(crate) async fn end_upload(&self, upload: &DataUpload, status: Value) -> anyhow::Result<()> {
        let uploads = self.place.runs.api::<DataUpload>();
        let status = Patch::Merge(json!({"status": status}));
        uploads.patch(&upload.name_any(), &PatchParams::default(), &status).await?;
        Ok(())
    }

    /// Moves the snapshot into the repository, under the id that is given.
    pub(crate) async fn upload(&self, upload: &DataUpload, id: &str) -> anyhow::Result<()> {
        let namespace = &upload.spec.source_namespace;
        let snapshot = upload.spec.csi_snapshot.as_ref().context("no CSI snapshot")?;
        let source = json!({
            "apiGroup": "snapshot.storage.k8s.io", "kind": "VolumeSnapshot", "name": snapshot.volume_snapshot,
        });
        let (_, folder) = self.helper(namespace, &snapshot.storage_class, Some(source)).await?;
        copy(&folder, &self.folder.path().join(id))?;
        self.delete_helper(namespace).await?;
        let snapshots = Api::<DynamicObject>::namespaced_with(
            self.place.client.clone(),
            namespace,
            &resource("VolumeSnapshot"),
        );
        snapshots.delete(&snapshot.volume_snapshot, &DeleteParams::default()).await?;
        self.end_upload(
            upload,
            json!({
                "phase": "Completed", "snapshotID": id, "progress": {"totalBytes": 4, "bytesDone": 4},
                "incrementalBytes": 4, "node": "n1", "nodeOS": "linux",
            }),
        )
        .await
    }

    pub(crate) async fn asked_back(&self) -> anyhow::Result<DataDownload> {
        let downloads = self.place.runs.api::<DataDownload>();
        let asked = async || {
            let found = downloads.list(&Default::default()).await?.items;
            Ok(found.into_iter().find(|download| download.status_phase() == DataPathPhase::New))
        };
        waiting::until("a DataDownload", PATIENCE, asked).await
    }

    pub(crate) async fn end_download(&self, download: &DataDownload, status: Value) -> anyhow::Result<()> {
        let downloads = self.place.runs.api::<DataDownload>();
        let status = Patch::Merge(json!({"status": status}));
        downloads.patch(&download.name_any(), &PatchParams::default(), &status).await?;
        Ok(())
    }

    /// Gives the target claim a volume with what is in the repository.
    pub(crate) async fn download(&self, download: &DataDownload) -> anyhow::Result<()> {
        let target = &download.spec.target_volume;
        let claims = Api::<PersistentVolumeClaim>::namespaced(self.place.client.clone(), &target.namespace);
        let volumes = Api::<PersistentVolume>::all(self.place.client.clone());
        let there = async || Ok(claims.get_opt(&target.pvc).await?);
        let claim = waiting::until("the target claim", PATIENCE, there).await?;
        let spec = claim.spec.context("no spec")?;
        anyhow::ensure!(spec.volume_name.is_none(), "the claim has a volume already");
        let marks = spec.selector.and_then(|selector| selector.match_labels).unwrap_or_default();
        let mark = marks.get(labels::DYNAMIC_PV_RESTORE).context("the claim is not held apart")?;

        let class = spec.storage_class_name.unwrap_or_default();
        let (volume, folder) = self.helper(&self.place.home, &class, None).await?;
        copy(&self.folder.path().join(&download.spec.snapshot_id), &folder)?;
        let patch = async |patch: Value| {
            volumes.patch(&volume, &PatchParams::default(), &Patch::Merge(patch)).await.map(drop)
        };
        patch(json!({"spec": {"persistentVolumeReclaimPolicy": "Retain"}})).await?;
        self.delete_helper(&self.place.home).await?;
        let named = Patch::Merge(json!({"spec": {"volumeName": volume}}));
        claims.patch(&target.pvc, &PatchParams::default(), &named).await?;
        let claim = json!({
            "namespace": target.namespace, "name": target.pvc, "uid": null, "resourceVersion": null,
        });
        patch(json!({
            "metadata": {"labels": {labels::DYNAMIC_PV_RESTORE: mark}}, "spec": {"claimRef": claim},
        }))
        .await?;
        self.place.bound(&target.namespace, &target.pvc).await?;
        patch(json!({"spec": {"persistentVolumeReclaimPolicy": "Delete"}})).await?;
        self.end_download(
            download,
            json!({"phase": "Completed", "progress": {"totalBytes": 4, "bytesDone": 4}}),
        )
        .await
    }

    /// A volume of its own: its name and folder.
    async fn helper(
        &self,
        namespace: &str,
        class: &str,
        source: Option<Value>,
    ) -> anyhow::Result<(String, PathBuf)> {
        let claim: PersistentVolumeClaim = serde_json::from_value(json!({
            "metadata": {"name": "mover"},
            "spec": {
                "accessModes": ["ReadWriteOnce"], "storageClassName": class, "dataSource": source,
                "resources": {"requests": {"storage": "1Mi"}},
            },
        }))?;
        assert_eq!(class, NAME);
        let claims = Api::<PersistentVolumeClaim>::namespaced(self.place.client.clone(), namespace);
        claims.create(&PostParams::default(), &claim).await?;
        let bound = self.place.bound(namespace, "mover").await?;
        Ok((bound.volume, bound.folder))
    }

    async fn delete_helper(&self, namespace: &str) -> anyhow::Result<()> {
        let claims = Api::<PersistentVolumeClaim>::namespaced(self.place.client.clone(), namespace);
        claims.delete("mover", &DeleteParams::default()).await?;
        let gone = async || Ok(claims.get_opt("mover").await?.is_none().then_some(()));
        waiting::until("the mover's claim to go", PATIENCE, gone).await
    }
}

fn copy(from: &Path, to: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        fs::copy(entry.path(), to.join(entry.file_name()))?;
    }
    Ok(())
}
