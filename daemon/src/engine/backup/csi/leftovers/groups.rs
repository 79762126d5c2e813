//! The VolumeGroupSnapshots of a backup and their contents, and how they leave the cluster.
//!
//! A snapshot of a group goes with its group only: a content of the group that is deleted has the driver delete all of
//! them, and the VolumeSnapshotContents of the members none. So the groups are taken out first. A VolumeSnapshot cannot go
//! while its VolumeGroupSnapshot is there.

use std::collections::BTreeSet;
use std::time::Duration;

use holdfast_policy::velero::labels::BACKUP_UID;
use kube::api::{DeleteParams, DynamicObject, ListParams, Patch, PatchParams};
use kube::core::{ApiResource, GroupVersionKind};
use kube::{Api, Client, ResourceExt};
use serde_json::{Value, json};

use super::super::group::content_name;
use super::{Error, Fate, content_of, is_gone, set_policy};
use crate::actions::GROUP_VERSIONS;
use crate::cluster::patience::until_answered;
use crate::cluster::write::FIELD_MANAGER;

/// Lets csi-snapshotter act on the deletion of a content. The snapshot controller sets it as well, if it is still
/// there to see that the VolumeGroupSnapshot is deleted.
const BEING_DELETED: &str = "groupsnapshot.storage.kubernetes.io/volumegroupsnapshot-being-deleted";
const IN_GROUP: &str = "snapshot.storage.kubernetes.io/volumesnapshot-in-group-protection";

/// A driver that is slower has answered whatever it was asked before.
const LOOKS: usize = 20;
const LOOK_EVERY: Duration = Duration::from_millis(500);

const GROUP: (&str, &str) = ("VolumeGroupSnapshot", "volumegroupsnapshots");
const CONTENT: (&str, &str) = ("VolumeGroupSnapshotContent", "volumegroupsnapshotcontents");

/// Those of a backup. A content that does not carry the backup's label is one that the run lost sight of.
pub(super) async fn remove(client: &Client, backup_uid: &str, fate: Fate) -> Result<(), Error> {
    for version in GROUP_VERSIONS {
        let (Some(groups), Some(contents)) = (
            list(client, GROUP, version, backup_uid).await?,
            list(client, CONTENT, version, backup_uid).await?,
        ) else {
            continue;
        };
        let mut contents: BTreeSet<String> = contents.iter().map(ResourceExt::name_any).collect();
        for group in groups {
            let content = content_of_group(&group);
            let fate = if contents.remove(&content) { fate } else { Fate::Goes };
            remove_group(client, version, &group, fate).await?;
        }
        for content in contents {
            remove_content(client, version, &content, fate).await?;
        }
        return Ok(());
    }
    Ok(())
}

/// One, with its snapshots. It may be gone already, and its content still there.
pub(super) async fn take_back(client: &Client, namespace: &str, name: &str, uid: &str) -> Result<(), Error> {
    for version in GROUP_VERSIONS {
        let groups = api(client, GROUP, version, Some(namespace));
        let found = until_answered(|| groups.get_opt(name)).await;
        let found = found.map_err(|source| Error::Get { name: name.to_owned(), source: Box::new(source) })?;
        match found {
            Some(group) => return remove_group(client, version, &group, Fate::Goes).await,
            None => remove_content(client, version, &content_name(uid), Fate::Goes).await?,
        }
    }
    Ok(())
}

async fn remove_group(
    client: &Client,
    version: &str,
    group: &DynamicObject,
    fate: Fate,
) -> Result<(), Error> {
    let namespace = group.namespace().unwrap_or_default();
    remove_content(client, version, &content_of_group(group), fate).await?;
    delete(client, GROUP, version, Some(&namespace), &group.name_any()).await?;
    match fate {
        Fate::Stays => Ok(()),
        Fate::Goes => release_members(client, &namespace, &group.uid().unwrap_or_default()).await,
    }
}

/// The VolumeSnapshots of a group go with it. One that the snapshot controller has not seen bound yet would be kept by the
/// group's finalizer.
async fn release_members(client: &Client, namespace: &str, group_uid: &str) -> Result<(), Error> {
    let snapshots = super::api(client, super::Kind::Snapshot, Some(namespace));
    let all = ListParams::default();
    let listed = match until_answered(|| snapshots.list(&all)).await {
        Ok(listed) => listed,
        Err(error) if is_gone(&error) => return Ok(()),
        Err(source) => return Err(Error::List { kind: "VolumeSnapshot", source: Box::new(source) }),
    };
    let is_member =
        |snapshot: &&DynamicObject| snapshot.owner_references().iter().any(|owner| owner.uid == group_uid);
    for snapshot in listed.items.iter().filter(is_member) {
        if let Some(content) = content_of(snapshot) {
            set_policy(client, &content, Fate::Goes).await?;
        }
        let finalizers: Vec<_> = snapshot.finalizers().iter().filter(|name| *name != IN_GROUP).collect();
        let patch = json!({"metadata": {"finalizers": finalizers}});
        change(&snapshots, "VolumeSnapshot", &snapshot.name_any(), patch).await?;
        super::delete(client, super::Kind::Snapshot, Some(namespace), &snapshot.name_any()).await?;
    }
    Ok(())
}

/// The policy is said first: it decides what the deletion does to the snapshots. A content that goes is no longer the
/// backup's, whose end would keep the snapshots of those that are.
async fn remove_content(client: &Client, version: &str, content: &str, fate: Fate) -> Result<(), Error> {
    let mut metadata = json!({"annotations": {BEING_DELETED: "yes"}});
    if fate == Fate::Goes {
        metadata["labels"] = json!({BACKUP_UID: null});
    }
    let patch = json!({"metadata": metadata, "spec": {"deletionPolicy": fate.policy()}});
    let contents = api(client, CONTENT, version, None);
    change(&contents, CONTENT.0, content, patch).await?;
    delete(client, CONTENT, version, None, content).await?;
    match fate {
        Fate::Stays => Ok(()),
        Fate::Goes => keep_marked(&contents, content).await,
    }
}

/// csi-snapshotter, asking the driver meanwhile whether the group is ready, may write the annotations back as they were.
async fn keep_marked(contents: &Api<DynamicObject>, content: &str) -> Result<(), Error> {
    for _ in 0..LOOKS {
        let found = until_answered(|| contents.get_opt(content)).await;
        let failed = |source| Error::Get { name: content.to_owned(), source: Box::new(source) };
        let Some(found) = found.map_err(failed)? else { return Ok(()) };
        if !found.annotations().contains_key(BEING_DELETED) {
            let patch = json!({"metadata": {"annotations": {BEING_DELETED: "yes"}}});
            change(contents, CONTENT.0, content, patch).await?;
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    Ok(())
}

async fn change(api: &Api<DynamicObject>, kind: &'static str, name: &str, patch: Value) -> Result<(), Error> {
    let parameters = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
    let patch = Patch::Merge(patch);
    match until_answered(|| api.patch(name, &parameters, &patch)).await {
        Ok(_) => Ok(()),
        Err(error) if is_gone(&error) => Ok(()),
        Err(source) => Err(Error::Change { kind, name: name.to_owned(), source: Box::new(source) }),
    }
}

/// None where the version is not served.
async fn list(
    client: &Client,
    kind: (&'static str, &'static str),
    version: &str,
    backup_uid: &str,
) -> Result<Option<Vec<DynamicObject>>, Error> {
    let parameters = ListParams::default().labels(&format!("{BACKUP_UID}={backup_uid}"));
    let api = api(client, kind, version, None);
    match until_answered(|| api.list(&parameters)).await {
        Ok(list) => Ok(Some(list.items)),
        Err(error) if is_gone(&error) => Ok(None),
        Err(source) => Err(Error::List { kind: kind.0, source: Box::new(source) }),
    }
}

async fn delete(
    client: &Client,
    kind: (&'static str, &'static str),
    version: &str,
    namespace: Option<&str>,
    name: &str,
) -> Result<(), Error> {
    let (api, parameters) = (api(client, kind, version, namespace), DeleteParams::default());
    match until_answered(|| api.delete(name, &parameters)).await {
        Ok(_) => Ok(()),
        Err(error) if is_gone(&error) => Ok(()),
        Err(source) => Err(Error::Delete { kind: kind.0, name: name.to_owned(), source: Box::new(source) }),
    }
}

fn api(
    client: &Client,
    (kind, plural): (&str, &str),
    version: &str,
    namespace: Option<&str>,
) -> Api<DynamicObject> {
    let kind = GroupVersionKind::gvk("groupsnapshot.storage.k8s.io", version, kind);
    let resource = ApiResource::from_gvk_with_plural(&kind, plural);
    match namespace {
        Some(namespace) => Api::namespaced_with(client.clone(), namespace, &resource),
        None => Api::all_with(client.clone(), &resource),
    }
}

/// Also where the snapshot controller has not noted it yet.
fn content_of_group(group: &DynamicObject) -> String {
    let name = group.data.pointer("/status/boundVolumeGroupSnapshotContentName").and_then(Value::as_str);
    let name = name.filter(|name| !name.is_empty()).map(str::to_owned);
    name.unwrap_or_else(|| content_name(&group.uid().unwrap_or_default()))
}
