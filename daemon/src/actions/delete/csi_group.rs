//! Deletes CSI snapshots that were taken as a group: a storage system need not be able to delete one of them, so a
//! VolumeGroupSnapshotContent is made for them whose deletion takes all of them along.
//!
//! In: the VolumeSnapshotContents of the archive that are of one group. Out: the driver has deleted the group, or why not.
//! Velero deletes them one by one, which csi-snapshotter passes over for members of a group.

use std::collections::BTreeMap;

use async_trait::async_trait;
use kube::Api;
use kube::api::{DeleteParams, DynamicObject, PostParams};
use kube::core::{ApiResource, GroupVersionKind};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::csi::{failed, until_known, wait_until_gone};
use super::{Action, Context, Error, VolumeData};
use crate::actions::GROUP_VERSIONS;

pub(super) const ACTION: CsiGroup = CsiGroup;

const KIND: &str = "VolumeGroupSnapshotContent";
/// Keeps the content until the driver has deleted the group.
const FINALIZER: &str = "groupsnapshot.storage.kubernetes.io/volumegroupsnapshotcontent-bound-protection";
/// The snapshot controller gives the members the Secret of the group.
const SECRETS: [(&str, &str); 2] = [
    (
        "snapshot.storage.kubernetes.io/deletion-secret-name",
        "groupsnapshot.storage.kubernetes.io/deletion-secret-name",
    ),
    (
        "snapshot.storage.kubernetes.io/deletion-secret-namespace",
        "groupsnapshot.storage.kubernetes.io/deletion-secret-namespace",
    ),
];

#[derive(Debug)]
pub(super) struct CsiGroup;

/// The snapshots of one group, as the driver names them.
#[derive(Debug, PartialEq, Eq)]
struct Group {
    driver: String,
    handle: String,
    members: Vec<String>,
    annotations: BTreeMap<String, String>,
}

#[async_trait]
impl Action for CsiGroup {
    fn name(&self) -> &'static str {
        "holdfast.dev/csi-volumegroupsnapshotcontent-delete"
    }

    fn takes(&self, data: &VolumeData) -> bool {
        matches!(data, VolumeData::CsiGroup { .. })
    }

    async fn delete(&self, data: &VolumeData, cx: &Context<'_>) -> Result<(), Error> {
        let VolumeData::CsiGroup { group, contents } = data else {
            return Err(Error("it is no group of CSI snapshots".to_owned()));
        };
        let group = Group::of(group, contents)?;
        for version in GROUP_VERSIONS {
            let resource = resource(version);
            let contents: Api<DynamicObject> = Api::all_with(cx.cluster.client().clone(), &resource);
            let content = group.content_to_delete(&resource, cx.backup);
            let name = content.metadata.name.clone().unwrap_or_default();
            match contents.create(&PostParams::default(), &content).await {
                Ok(_) => {}
                // An earlier attempt was interrupted, or waited in vain.
                Err(kube::Error::Api(status)) if status.code == 409 => {}
                Err(kube::Error::Api(status)) if status.code == 404 => continue,
                Err(error) => return Err(failed("creating", KIND, &name, &error)),
            }
            let told = json!({"status": {"volumeGroupSnapshotHandle": group.handle}});
            until_known(&contents, KIND, &name, &told).await?;
            match contents.delete(&name, &DeleteParams::default()).await {
                Ok(_) => {}
                Err(kube::Error::Api(status)) if status.code == 404 => return Ok(()),
                Err(error) => return Err(failed("deleting", KIND, &name, &error)),
            }
            return wait_until_gone(&contents, KIND, &name).await;
        }
        let kinds = "volumegroupsnapshotcontents of groupsnapshot.storage.k8s.io (v1 or v1beta2)";
        Err(Error(format!("the cluster does not serve {kinds}")))
    }
}

impl Group {
    fn of(handle: &str, contents: &[(String, Value)]) -> Result<Self, Error> {
        let text = |item: &Value, pointer: &str| {
            item.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned()
        };
        let (_, first) =
            contents.first().ok_or_else(|| Error(format!("group snapshot {handle} has no snapshots")))?;
        let driver = text(first, "/spec/driver");
        if driver.is_empty() {
            return Err(Error(format!("group snapshot {handle} names no driver")));
        }
        let annotation = |key: &str| first.pointer("/metadata/annotations")?.get(key)?.as_str();
        let secrets = SECRETS.iter().filter_map(|(of_member, of_group)| {
            Some(((*of_group).to_owned(), annotation(of_member)?.to_owned()))
        });
        let members = contents.iter().map(|(_, item)| text(item, "/status/snapshotHandle"));
        Ok(Self {
            driver,
            handle: handle.to_owned(),
            members: members.filter(|handle| !handle.is_empty()).collect(),
            annotations: secrets.collect(),
        })
    }

    /// The content that takes the snapshots along.
    fn content_to_delete(&self, resource: &ApiResource, backup: &str) -> DynamicObject {
        let Self { driver, handle, members, annotations } = self;
        // The same for every attempt, so that a deletion that is taken up again meets its own content.
        let digest = Sha256::digest(format!("{backup}/{driver}/{handle}"));
        let hash: String = digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
        let mut object = DynamicObject::new(&format!("vgsc-{hash}"), resource);
        object.metadata.annotations = Some(annotations.clone());
        object.metadata.finalizers = Some(vec![FINALIZER.to_owned()]);
        object.data = json!({"spec": {
            "deletionPolicy": "Delete",
            "driver": driver,
            "source": {"groupSnapshotHandles": {
                "volumeGroupSnapshotHandle": handle, "volumeSnapshotHandles": members,
            }},
            "volumeGroupSnapshotRef": {
                "apiVersion": resource.api_version,
                "kind": "VolumeGroupSnapshot",
                // Of a VolumeGroupSnapshot that never is: only the content is there, until it is gone.
                "namespace": format!("ns-{hash}"),
                "name": format!("name-{hash}"),
            },
        }});
        object
    }
}

fn resource(version: &str) -> ApiResource {
    ApiResource::from_gvk_with_plural(
        &GroupVersionKind::gvk("groupsnapshot.storage.k8s.io", version, KIND),
        "volumegroupsnapshotcontents",
    )
}

#[cfg(test)]
mod tests {
    use pretty_assertions::assert_eq;

    use super::*;

    fn stored(handle: &str) -> (String, Value) {
        let item = json!({
            "metadata": {"annotations": {
                "snapshot.storage.kubernetes.io/deletion-secret-name": "key",
                "snapshot.storage.kubernetes.io/deletion-secret-namespace": "storage",
                "other": "x",
            }},
            "spec": {"driver": "disk.example", "source": {"volumeHandle": "vol-1"}},
            "status": {"snapshotHandle": handle, "volumeGroupSnapshotHandle": "group-1"},
        });
        (format!("snapcontent-{handle}"), item)
    }

    #[test]
    fn the_content_takes_all_snapshots_of_the_group_along() {
        let group = Group::of("group-1", &[stored("snap-1"), stored("snap-2")]).unwrap();
        let content = group.content_to_delete(&resource("v1beta2"), "nightly");
        let metadata = serde_json::to_value(&content.metadata).unwrap();
        assert_eq!(metadata["finalizers"], json!([FINALIZER]));
        assert_eq!(
            metadata["annotations"],
            json!({
                "groupsnapshot.storage.kubernetes.io/deletion-secret-name": "key",
                "groupsnapshot.storage.kubernetes.io/deletion-secret-namespace": "storage",
            })
        );
        let spec = &content.data["spec"];
        assert_eq!((&spec["deletionPolicy"], &spec["driver"]), (&json!("Delete"), &json!("disk.example")));
        assert_eq!(
            spec["source"]["groupSnapshotHandles"],
            json!({"volumeGroupSnapshotHandle": "group-1", "volumeSnapshotHandles": ["snap-1", "snap-2"]})
        );
    }

    #[test]
    fn a_group_without_a_driver_is_not_deleted() {
        let (name, mut item) = stored("snap-1");
        item["spec"] = json!({});
        assert!(Group::of("group-1", &[(name, item)]).is_err());
    }
}
