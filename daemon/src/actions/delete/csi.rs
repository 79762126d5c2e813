//! Deletes CSI snapshots: a backup keeps only the handle of one, so a VolumeSnapshotContent is made for it whose deletion
//! takes the snapshot along (reference: Velero's `velero.io/csi-volumesnapshotcontent-delete`).
//!
//! In: the VolumeSnapshotContent of the archive. Out: the driver has deleted the snapshot, or why not.

use std::time::Duration;

use async_trait::async_trait;
use kube::Api;
use kube::api::{DeleteParams, DynamicObject, Patch, PatchParams, PostParams};
use kube::core::{ApiResource, GroupVersionKind};
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

use super::{Action, Context, Error, VolumeData};

pub(super) const ACTION: CsiSnapshot = CsiSnapshot;

const KIND: &str = "VolumeSnapshotContent";
/// As long as Velero waits for anything in a cluster.
const GONE_WITHIN: Duration = Duration::from_secs(600);
/// How long the driver may take to say that it knows a snapshot.
const KNOWN_WITHIN: Duration = Duration::from_secs(60);
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Keeps the content until the driver has deleted the snapshot. The snapshot controller sets the same one, but only
/// after a while, and a content that is deleted before that leaves its snapshot behind.
const FINALIZER: &str = "snapshot.storage.kubernetes.io/volumesnapshotcontent-bound-protection";
const BEING_DELETED: &str = "snapshot.storage.kubernetes.io/volumesnapshot-being-deleted";

#[derive(Debug)]
pub(super) struct CsiSnapshot;

#[async_trait]
impl Action for CsiSnapshot {
    fn name(&self) -> &'static str {
        "velero.io/csi-volumesnapshotcontent-delete"
    }

    fn takes(&self, data: &VolumeData) -> bool {
        matches!(data, VolumeData::Csi { .. })
    }

    async fn delete(&self, data: &VolumeData, cx: &Context<'_>) -> Result<(), Error> {
        let VolumeData::Csi { content: _, item } = data else {
            return Err(Error("it is no CSI snapshot".to_owned()));
        };
        // The driver never told of a snapshot: there is none, or nothing that could name it.
        let Some(content) = content_to_delete(item, cx.backup)? else { return Ok(()) };
        let name = content.metadata.name.clone().unwrap_or_default();
        let handle = &content.data["spec"]["source"]["snapshotHandle"];
        let contents: Api<DynamicObject> = Api::all_with(cx.cluster.client().clone(), &resource());
        match contents.create(&PostParams::default(), &content).await {
            Ok(_) => {}
            // An earlier attempt was interrupted, or waited in vain.
            Err(kube::Error::Api(status)) if status.code == 409 => {}
            Err(kube::Error::Api(status)) if status.code == 404 => {
                let text = "the cluster does not serve volumesnapshotcontents of snapshot.storage.k8s.io/v1";
                return Err(Error(text.to_owned()));
            }
            Err(error) => return Err(failed("creating", KIND, &name, &error)),
        }
        let told = json!({"status": {"snapshotHandle": handle}});
        until_known(&contents, KIND, &name, &told).await?;
        match contents.delete(&name, &DeleteParams::default()).await {
            Ok(_) => {}
            Err(kube::Error::Api(status)) if status.code == 404 => return Ok(()),
            Err(error) => return Err(failed("deleting", KIND, &name, &error)),
        }
        wait_until_gone(&contents, KIND, &name).await
    }
}

/// csi-snapshotter has the driver delete nothing whose handle it does not find in the content's status. It puts it there itself,
/// and is done with a content that is ready: what is deleted before that may leave its snapshots behind, and so may what we
/// write while it is at it. Where it can't tell that the content is ready, we tell the handle.
pub(super) async fn until_known(
    contents: &Api<DynamicObject>,
    kind: &str,
    name: &str,
    told: &Value,
) -> Result<(), Error> {
    let end = tokio::time::Instant::now() + KNOWN_WITHIN;
    loop {
        let found = contents.get_opt(name).await.map_err(|error| failed("getting", kind, name, &error))?;
        let Some(found) = found else { return Ok(()) };
        if found.data.pointer("/status/readyToUse").and_then(Value::as_bool) == Some(true) {
            return Ok(());
        }
        if found.data.pointer("/status/error").is_some() || tokio::time::Instant::now() >= end {
            break;
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    match contents.patch_status(name, &PatchParams::default(), &Patch::Merge(told)).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        Err(error) => Err(failed("changing", kind, name, &error)),
    }
}

/// The content leaves when the driver has deleted what it stands for.
pub(super) async fn wait_until_gone(
    contents: &Api<DynamicObject>,
    kind: &str,
    name: &str,
) -> Result<(), Error> {
    let end = tokio::time::Instant::now() + GONE_WITHIN;
    loop {
        let found = contents.get_opt(name).await.map_err(|error| failed("getting", kind, name, &error))?;
        let Some(found) = found else { return Ok(()) };
        if tokio::time::Instant::now() >= end {
            let reason = found.data.pointer("/status/error/message").and_then(Value::as_str);
            let reason = reason.unwrap_or("no driver has taken it on");
            let seconds = GONE_WITHIN.as_secs();
            return Err(Error(format!("{kind} {name} is still there after {seconds} s: {reason}")));
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// The content that takes its snapshot along; None for one without a snapshot.
fn content_to_delete(item: &Value, backup: &str) -> Result<Option<DynamicObject>, Error> {
    let text = |pointer: &str| item.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let handle = text("/status/snapshotHandle");
    if handle.is_empty() {
        return Ok(None);
    }
    let driver = text("/spec/driver");
    if driver.is_empty() {
        return Err(Error(format!("snapshot {handle} names no driver")));
    }
    // The same for every attempt, so that a deletion that is taken up again meets its own content.
    let digest = Sha256::digest(format!("{backup}/{driver}/{handle}"));
    let hash: String = digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    let name = format!("vsc-{hash}");
    let mut spec = item.get("spec").and_then(Value::as_object).cloned().unwrap_or_default();
    spec.insert("deletionPolicy".to_owned(), json!("Delete"));
    spec.insert("source".to_owned(), json!({"snapshotHandle": handle}));
    spec.insert(
        "volumeSnapshotRef".to_owned(),
        json!({
            "apiVersion": "snapshot.storage.k8s.io/v1",
            "kind": "VolumeSnapshot",
            // Of a VolumeSnapshot that never is: only the content is there, until it is gone.
            "namespace": format!("ns-{hash}"),
            "name": format!("name-{hash}"),
        }),
    );
    let mut object = DynamicObject::new(&name, &resource());
    object.metadata.labels = strings(item.pointer("/metadata/labels"));
    // The driver finds the names of its secrets in them.
    object.metadata.annotations = strings(item.pointer("/metadata/annotations"));
    if let Some(annotations) = &mut object.metadata.annotations {
        annotations.remove(BEING_DELETED);
    }
    object.metadata.finalizers = Some(vec![FINALIZER.to_owned()]);
    object.data = Value::Object(Map::from_iter([("spec".to_owned(), Value::Object(spec))]));
    Ok(Some(object))
}

fn strings(map: Option<&Value>) -> Option<std::collections::BTreeMap<String, String>> {
    let map = map.and_then(Value::as_object)?;
    let text = |(key, value): (&String, &Value)| Some((key.clone(), value.as_str()?.to_owned()));
    Some(map.iter().filter_map(text).collect())
}

fn resource() -> ApiResource {
    ApiResource::from_gvk_with_plural(
        &GroupVersionKind::gvk("snapshot.storage.k8s.io", "v1", KIND),
        "volumesnapshotcontents",
    )
}

pub(super) fn failed(act: &str, kind: &str, name: &str, error: &kube::Error) -> Error {
    Error(format!("{act} {kind} {name}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored() -> Value {
        json!({
            "metadata": {
                "name": "snapcontent-1", "uid": "u", "resourceVersion": "7",
                "labels": {"velero.io/backup-name": "nightly"},
                "annotations": {
                    "snapshot.storage.kubernetes.io/deletion-secret-name": "key",
                    BEING_DELETED: "yes",
                },
            },
            "spec": {
                "deletionPolicy": "Retain", "driver": "disk.example", "volumeSnapshotClassName": "fast",
                "source": {"volumeHandle": "vol-1"},
                "volumeSnapshotRef": {"namespace": "shop", "name": "velero-data-1", "uid": "v"},
            },
            "status": {"snapshotHandle": "snap-1", "readyToUse": true},
        })
    }

    #[test]
    fn the_content_takes_the_snapshot_of_its_handle_along() {
        let content = content_to_delete(&stored(), "nightly").unwrap().unwrap();
        let metadata = serde_json::to_value(&content.metadata).unwrap();
        assert_eq!(
            metadata["annotations"],
            json!({"snapshot.storage.kubernetes.io/deletion-secret-name": "key"})
        );
        assert_eq!(metadata["finalizers"], json!([FINALIZER]));
        assert_eq!(metadata.get("uid"), None);
        let spec = &content.data["spec"];
        assert_eq!(spec["deletionPolicy"], "Delete");
        assert_eq!(spec["source"], json!({"snapshotHandle": "snap-1"}));
        assert_eq!(spec["driver"], "disk.example");
        assert_ne!(spec["volumeSnapshotRef"]["name"], "velero-data-1");
        assert_eq!(content.data.get("status"), None);
    }

    #[test]
    fn every_attempt_makes_the_same_content_and_every_snapshot_another() {
        let name = |item: &Value| content_to_delete(item, "nightly").unwrap().unwrap().metadata.name;
        assert_eq!(name(&stored()), name(&stored()));
        let mut other = stored();
        other["status"]["snapshotHandle"] = json!("snap-2");
        assert_ne!(name(&stored()), name(&other));
    }

    #[test]
    fn a_content_without_a_snapshot_needs_no_deletion() {
        let mut item = stored();
        item["status"] = json!({});
        assert!(content_to_delete(&item, "nightly").unwrap().is_none());
    }
}
