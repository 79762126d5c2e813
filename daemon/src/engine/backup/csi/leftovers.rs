//! The VolumeSnapshots and contents of a backup that are in the cluster, and how they leave it; those of groups are
//! [`groups`]' matter.
//!
//! In: the uid of a backup, by whose label they are known. Out: none is there any more. [`release`] leaves the snapshots on
//! the storage, for a backup that is complete; [`clear`] takes them along, for one that failed or is begun anew. Each may
//! be done again. A cluster that does not know the kinds has none.

use std::collections::{BTreeMap, BTreeSet};

use futures::{StreamExt, TryStreamExt, stream};
use holdfast_policy::velero::labels::BACKUP_UID;
use kube::api::{DeleteParams, DynamicObject, ListParams, Patch, PatchParams};
use kube::core::{ApiResource, GroupVersionKind};
use kube::{Api, Client, ResourceExt};
use serde_json::{Value, json};

use super::super::csi::VERSION;
use crate::cluster::patience::until_answered;
use crate::cluster::write::FIELD_MANAGER;

mod groups;

/// Objects that are taken out of the cluster at once.
const AT_ONCE: usize = 8;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot list {kind}s")]
    List { kind: &'static str, source: Box<kube::Error> },
    #[error("cannot get snapshot {name}")]
    Get { name: String, source: Box<kube::Error> },
    #[error("cannot set the deletion policy of VolumeSnapshotContent {name}")]
    Policy { name: String, source: Box<kube::Error> },
    #[error("cannot change {kind} {name}")]
    Change { kind: &'static str, name: String, source: Box<kube::Error> },
    #[error("cannot delete {kind} {name}")]
    Delete { kind: &'static str, name: String, source: Box<kube::Error> },
}

/// What becomes of the snapshot on the storage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Stays,
    Goes,
}

impl Fate {
    fn policy(self) -> &'static str {
        match self {
            Fate::Stays => "Retain",
            Fate::Goes => "Delete",
        }
    }
}

/// Takes the objects of a complete backup out of the cluster; its snapshots stay on the storage.
///
/// A VolumeSnapshot whose content does not carry the backup's label is one that the run lost sight of: no archive knows it,
/// so it goes along with its snapshot.
pub async fn release(client: &Client, backup_uid: &str) -> Result<(), Error> {
    remove(client, backup_uid, Fate::Stays).await
}

/// Takes the objects of a backup that has failed out of the cluster, and their snapshots along.
pub async fn clear(client: &Client, backup_uid: &str) -> Result<(), Error> {
    remove(client, backup_uid, Fate::Goes).await
}

async fn remove(client: &Client, backup_uid: &str, fate: Fate) -> Result<(), Error> {
    groups::remove(client, backup_uid, fate).await?;
    let contents = list(client, Kind::Content, backup_uid).await?;
    let policies: BTreeMap<String, String> =
        contents.iter().map(|content| (content.name_any(), policy_of(content))).collect();
    let snapshots = list(client, Kind::Snapshot, backup_uid).await?;
    let bound: BTreeSet<String> = snapshots.iter().filter_map(content_of).collect();
    let of_snapshots = stream::iter(&snapshots).map(Ok).try_for_each_concurrent(AT_ONCE, async |snapshot| {
        let namespace = snapshot.namespace().unwrap_or_default();
        if let Some(content) = content_of(snapshot) {
            match policies.get(&content) {
                Some(policy) => dispose(client, &content, policy, fate).await?,
                None => set_policy(client, &content, Fate::Goes).await?,
            }
        }
        delete(client, Kind::Snapshot, Some(&namespace), &snapshot.name_any()).await
    });
    of_snapshots.await?;
    let orphans = policies.iter().filter(|(name, _)| !bound.contains(*name));
    let of_orphans =
        stream::iter(orphans).map(Ok).try_for_each_concurrent(AT_ONCE, async |(name, policy)| {
            dispose(client, name, policy, fate).await?;
            delete(client, Kind::Content, None, name).await
        });
    of_orphans.await
}

/// One VolumeSnapshot, with its snapshot. It may be gone already.
pub(super) async fn take_back(client: &Client, namespace: &str, name: &str) -> Result<(), Error> {
    let snapshots = api(client, Kind::Snapshot, Some(namespace));
    let found = until_answered(|| snapshots.get_opt(name)).await;
    let found = found.map_err(|source| Error::Get { name: name.to_owned(), source: Box::new(source) })?;
    let Some(found) = found else { return Ok(()) };
    if let Some(content) = content_of(&found) {
        set_policy(client, &content, Fate::Goes).await?;
    }
    delete(client, Kind::Snapshot, Some(namespace), name).await
}

/// One VolumeGroupSnapshot, with its snapshots. It may be gone already.
pub(super) async fn take_group_back(
    client: &Client,
    namespace: &str,
    name: &str,
    uid: &str,
) -> Result<(), Error> {
    groups::take_back(client, namespace, name, uid).await
}

/// A content that stays when its VolumeSnapshot goes has to be deleted by itself.
async fn dispose(client: &Client, content: &str, policy: &str, fate: Fate) -> Result<(), Error> {
    if policy != fate.policy() {
        set_policy(client, content, fate).await?;
    }
    match fate {
        Fate::Stays => delete(client, Kind::Content, None, content).await,
        Fate::Goes => Ok(()),
    }
}

/// One that goes is no longer the backup's.
async fn set_policy(client: &Client, content: &str, fate: Fate) -> Result<(), Error> {
    let mut patch = json!({"spec": {"deletionPolicy": fate.policy()}});
    if fate == Fate::Goes {
        patch["metadata"] = json!({"labels": {BACKUP_UID: null}});
    }
    let contents = api(client, Kind::Content, None);
    let parameters = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
    let patch = Patch::Merge(patch);
    match until_answered(|| contents.patch(content, &parameters, &patch)).await {
        Ok(_) => Ok(()),
        Err(error) if is_gone(&error) => Ok(()),
        Err(source) => Err(Error::Policy { name: content.to_owned(), source: Box::new(source) }),
    }
}

async fn list(client: &Client, kind: Kind, backup_uid: &str) -> Result<Vec<DynamicObject>, Error> {
    let parameters = ListParams::default().labels(&format!("{BACKUP_UID}={backup_uid}"));
    let api = api(client, kind, None);
    match until_answered(|| api.list(&parameters)).await {
        Ok(list) => Ok(list.items),
        Err(error) if is_gone(&error) => Ok(Vec::new()),
        Err(source) => Err(Error::List { kind: kind.name(), source: Box::new(source) }),
    }
}

async fn delete(client: &Client, kind: Kind, namespace: Option<&str>, name: &str) -> Result<(), Error> {
    let (api, parameters) = (api(client, kind, namespace), DeleteParams::default());
    match until_answered(|| api.delete(name, &parameters)).await {
        Ok(_) => Ok(()),
        Err(error) if is_gone(&error) => Ok(()),
        Err(source) => {
            Err(Error::Delete { kind: kind.name(), name: name.to_owned(), source: Box::new(source) })
        }
    }
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    Snapshot,
    Content,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Kind::Snapshot => "VolumeSnapshot",
            Kind::Content => "VolumeSnapshotContent",
        }
    }
}

fn api(client: &Client, kind: Kind, namespace: Option<&str>) -> Api<DynamicObject> {
    let plural = match kind {
        Kind::Snapshot => "volumesnapshots",
        Kind::Content => "volumesnapshotcontents",
    };
    let kind = GroupVersionKind::gvk("snapshot.storage.k8s.io", VERSION, kind.name());
    let resource = ApiResource::from_gvk_with_plural(&kind, plural);
    match namespace {
        Some(namespace) => Api::namespaced_with(client.clone(), namespace, &resource),
        None => Api::all_with(client.clone(), &resource),
    }
}

fn content_of(snapshot: &DynamicObject) -> Option<String> {
    let name = snapshot.data.pointer("/status/boundVolumeSnapshotContentName").and_then(Value::as_str);
    name.filter(|name| !name.is_empty()).map(str::to_owned)
}

fn policy_of(content: &DynamicObject) -> String {
    content.data.pointer("/spec/deletionPolicy").and_then(Value::as_str).unwrap_or_default().to_owned()
}

fn is_gone(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 404)
}
