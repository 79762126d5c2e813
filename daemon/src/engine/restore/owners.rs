//! Owner references of restored objects, where they are asked for: by name, with the uid that the owner has now.
//!
//! In: the records of a run whose last object is there, and the archive. Out: patches of objects that this restore made.
//! It comes last because kinds are restored in an order that knows nothing of owners: pods come before what owns them.
//! An owner that is not part of the restore is forgotten, as without this step; what the cluster's controllers adopted
//! meanwhile stays theirs.

use std::collections::{BTreeMap, HashMap};

use futures::StreamExt as _;
use futures::future::BoxFuture;
use futures::stream;
use serde::Deserialize;
use serde_json::{Value, json};

use super::item::encode;
use super::run::Run;
use super::wishes::OwnerReferences;
use crate::causes::with_causes;
use crate::cluster;
use crate::cluster::Resource;
use crate::cluster::write::WriteError;
use crate::engine::run_log::{Message, Place};

const AT_ONCE: usize = 16;
/// Controllers write the same objects at this time.
const TRIES: u32 = 5;

#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("reading it from the archive failed")]
    Archive(#[from] crate::archive::Error),
    #[error("reading it from the cluster failed")]
    Read(#[from] cluster::Error),
    #[error("encoding its owners failed")]
    Encode(#[source] serde_json::Error),
    #[error(transparent)]
    Write(#[from] WriteError),
}

#[derive(Deserialize)]
struct Peek {
    metadata: Metadata,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    #[serde(default)]
    owner_references: Option<Vec<Value>>,
}

/// An object that had owners in the backup.
struct Child {
    position: usize,
    /// Each reference as the backup has it, and the position of the owner.
    owners: Vec<(Value, usize)>,
}

/// Uids of owners in the cluster by their positions; none where one is not there.
type Uids = HashMap<usize, Option<String>>;

impl Run {
    pub(crate) async fn remap_owners(&self) {
        match self.owner_references {
            OwnerReferences::Drop => return,
            OwnerReferences::Remap => {}
        }
        let children = self.children();
        let mut owners: Vec<usize> =
            children.iter().flat_map(|child| child.owners.iter().map(|(_, owner)| *owner)).collect();
        owners.sort_unstable();
        owners.dedup();
        let ask = |owner| -> BoxFuture<'_, (usize, Option<String>)> {
            Box::pin(async move {
                let uid = if self.cancel.is_cancelled() { None } else { self.uid_of(owner).await };
                (owner, uid)
            })
        };
        let asked: Vec<_> = owners.into_iter().map(ask).collect();
        let uids: Uids = stream::iter(asked).buffer_unordered(AT_ONCE).collect().await;
        let uids = &uids;
        let own = |child: Child| -> BoxFuture<'_, ()> {
            Box::pin(async move {
                if self.cancel.is_cancelled() {
                    return;
                }
                let item = &self.index.items[child.position];
                if let Err(error) = self.own(&child, uids).await {
                    let text = format!("owner references of {item} were not restored");
                    let error = with_causes(&error);
                    self.log.warning(Place::of(self.target(item)), Message::new(text).cause(&error));
                }
            })
        };
        let work: Vec<_> = children.into_iter().map(own).collect();
        stream::iter(work).buffer_unordered(AT_ONCE).collect::<Vec<()>>().await;
    }

    /// The restored objects that had owners which are restored too.
    fn children(&self) -> Vec<Child> {
        let mut kinds: BTreeMap<(&str, &str), &str> = BTreeMap::new();
        for (item, head) in self.index.items.iter().zip(&self.heads) {
            if let Some(head) = head {
                let group = group(self.kinds.api_version(head.kind));
                kinds.insert((group, self.kinds.kind(head.kind)), &item.group_resource);
            }
        }
        let mut children = Vec::new();
        for (position, item) in self.index.items.iter().enumerate() {
            if self.records.name_of(position, &item.name).is_none() {
                continue;
            }
            let references = match self.references(position) {
                Ok(references) => references,
                Err(error) => {
                    let text = format!("owner references of {item} were not restored");
                    self.log.warning(Place::of(self.target(item)), Message::new(text).cause(&error));
                    continue;
                }
            };
            let owners: Vec<(Value, usize)> = references
                .into_iter()
                .filter_map(|reference| {
                    let text = |key: &str| reference.get(key).and_then(Value::as_str).unwrap_or_default();
                    let kind = kinds.get(&(group(text("apiVersion")), text("kind")))?;
                    let find = |namespace| self.find(kind, namespace, text("name"));
                    // An owner is in the same namespace, or in none.
                    let owner = find(item.namespace.as_deref()).or_else(|| find(None))?;
                    Some((reference, owner))
                })
                .collect();
            if !owners.is_empty() {
                children.push(Child { position, owners });
            }
        }
        children
    }

    fn references(&self, position: usize) -> Result<Vec<Value>, crate::archive::Error> {
        let json = self.index.read(&self.index.items[position])?;
        // What is no object was told when it was to be restored.
        let peek = serde_json::from_slice::<Peek>(&json).ok();
        Ok(peek.and_then(|peek| peek.metadata.owner_references).unwrap_or_default())
    }

    /// The owner's uid in the cluster, if it is part of this restore and there.
    async fn uid_of(&self, owner: usize) -> Option<String> {
        let live = self.live(owner).await.ok()??.2;
        live.pointer("/metadata/uid").and_then(Value::as_str).map(str::to_owned)
    }

    /// A restored object as it is now, with its kind and name.
    async fn live(&self, position: usize) -> Result<Option<(&Resource, String, Value)>, cluster::Error> {
        let item = &self.index.items[position];
        let Some(head) = self.heads[position] else { return Ok(None) };
        let resource = self.discovery.by_kind(self.kinds.api_version(head.kind), self.kinds.kind(head.kind));
        let (Some(resource), Some(name)) = (resource, self.records.name_of(position, &item.name)) else {
            return Ok(None);
        };
        let live = self.cluster.get_value(resource, self.target(item), &name).await?;
        Ok(live.map(|live| (resource, name, live)))
    }

    async fn own(&self, child: &Child, uids: &Uids) -> Result<(), Error> {
        let wanted: Vec<Value> = child
            .owners
            .iter()
            .filter_map(|(reference, owner)| {
                let mut reference = reference.clone();
                *reference.get_mut("uid")? = json!(uids.get(owner)?.as_deref()?);
                Some(reference)
            })
            .collect();
        let mut tries = 0;
        loop {
            tries += 1;
            let Some((resource, name, live)) = self.live(child.position).await? else { return Ok(()) };
            // An object that was there before is not ours to give away.
            let Some(owners) = with_owners(&live, &wanted).filter(|_| self.is_ours(&live)) else {
                return Ok(());
            };
            let version = live.pointer("/metadata/resourceVersion");
            let patch = json!({"metadata": {"ownerReferences": owners, "resourceVersion": version}});
            let patch = encode(&patch).map_err(Error::Encode)?;
            let target = self.target(&self.index.items[child.position]);
            match self.cluster.merge_patch(resource, target, &name, patch).await {
                Ok(_) => return Ok(()),
                Err(WriteError::Conflict { .. }) if tries < TRIES => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// The owners that the object gets; None where it has them all.
fn with_owners(live: &Value, wanted: &[Value]) -> Option<Vec<Value>> {
    let own =
        live.pointer("/metadata/ownerReferences").and_then(Value::as_array).cloned().unwrap_or_default();
    let controls = |reference: &Value| reference.get("controller") == Some(&json!(true));
    let mut owners = own.clone();
    for reference in wanted {
        let known = owners.iter().any(|owner| owner.get("uid") == reference.get("uid"));
        // An object has one controller, and the one that took it is right.
        let second = controls(reference) && owners.iter().any(controls);
        if !known && !second {
            owners.push(reference.clone());
        }
    }
    (owners.len() > own.len()).then_some(owners)
}

fn group(api_version: &str) -> &str {
    api_version.split_once('/').map_or("", |(group, _)| group)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reference(uid: &str, controller: bool) -> Value {
        json!({"apiVersion": "v1", "kind": "ConfigMap", "name": uid, "uid": uid, "controller": controller})
    }

    fn owners(own: &[Value], wanted: &[Value]) -> Option<Vec<Value>> {
        with_owners(&json!({"metadata": {"ownerReferences": own}}), wanted)
    }

    #[test]
    fn owners_are_added_to_those_that_the_object_has() {
        let (a, b) = (reference("a", false), reference("b", true));
        assert_eq!(owners(&[], &[a.clone(), b.clone()]), Some(vec![a.clone(), b.clone()]));
        assert_eq!(owners(std::slice::from_ref(&a), &[a.clone(), b.clone()]), Some(vec![a.clone(), b]));
        assert_eq!(owners(std::slice::from_ref(&a), std::slice::from_ref(&a)), None);
        assert_eq!(with_owners(&json!({"metadata": {}}), &[]), None);
    }

    #[test]
    fn a_controller_that_took_the_object_keeps_it() {
        let adopted = reference("adopted", true);
        assert_eq!(owners(std::slice::from_ref(&adopted), &[reference("old", true)]), None);
        let other = reference("other", false);
        assert_eq!(
            owners(std::slice::from_ref(&adopted), &[reference("old", true), other.clone()]),
            Some(vec![adopted, other])
        );
    }

    #[test]
    fn groups_are_told_from_versions() {
        assert_eq!((group("apps/v1"), group("v1")), ("apps", ""));
    }
}
