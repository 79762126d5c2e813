//! Reads and writes PolicySets, one per source, in Holdfast's own namespace.
//!
//! In: statuses. Out: the objects, and what people wrote on them: their annotations, and what an earlier process
//! remembered. Where the cluster does not serve the kind, everything works but this.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use futures::{StreamExt as _, TryStreamExt as _};
use holdfast_policy::holdfast::{PolicySet, PolicySetSpec, PolicySetStatus};
use kube::api::{Api, ListParams, Patch, PatchParams};
use kube::runtime::{WatchStreamExt as _, watcher};
use serde_json::json;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::in_force::Left;
use super::name::SourceName;
use crate::publish::memory::Memory;
use crate::publish::object::{ALLOW_PRUNE, APPROVE, Desired, Key, Kind};
use crate::publish::report::{Notice, Reason};

const MANAGER: &str = "holdfast";

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("could not look for PolicySets")]
    Look(#[source] kube::Error),
    #[error("could not write PolicySet {name}")]
    Write {
        name: SourceName,
        #[source]
        source: kube::Error,
    },
    #[error("could not take {annotation} off PolicySet {name}")]
    Consume {
        name: SourceName,
        annotation: &'static str,
        #[source]
        source: kube::Error,
    },
}

/// What people wrote on a PolicySet.
#[derive(Debug, Default)]
pub struct Words {
    pub prune: Option<String>,
    approve: BTreeSet<String>,
}

impl Words {
    pub fn of(set: Option<&PolicySet>) -> Words {
        let annotations = set.and_then(|set| set.metadata.annotations.as_ref());
        let word = |key: &str| annotations.and_then(|annotations| annotations.get(key)).cloned();
        let approve = word(APPROVE).unwrap_or_default();
        let hashes = approve.split([',', ' ']).filter(|hash| !hash.is_empty());
        Words { prune: word(ALLOW_PRUNE), approve: hashes.map(str::to_owned).collect() }
    }

    /// Names of the Restores that were let through.
    pub fn approved(&self, desired: &[Desired]) -> BTreeSet<String> {
        let gated = desired.iter().filter(|desired| desired.gate.is_some());
        gated
            .filter(|desired| self.approve.contains(&desired.content_hash))
            .map(|desired| desired.key.name.clone())
            .collect()
    }
}

/// What an earlier process remembered.
pub fn remembered(set: &PolicySet) -> Memory {
    let made = set.status.iter().flat_map(|status| &status.made_once);
    Memory::remembering(
        made.filter_map(|made| Some(Key { kind: Kind::from_name(&made.kind)?, name: made.name.clone() })),
    )
}

/// What an earlier process left to be known.
pub fn left(set: &PolicySet) -> Left {
    let notices = set.status.iter().flat_map(|status| &status.notices);
    let notices = notices.filter_map(|notice| {
        let key = Key { kind: Kind::from_name(&notice.kind)?, name: notice.name.clone() };
        Some((key, Notice { reason: Reason::from_name(&notice.reason)?, note: notice.note.clone() }))
    });
    Left { memory: remembered(set), notices: notices.collect() }
}

/// One PolicySet; none where the cluster does not serve the kind.
pub async fn read(
    client: &kube::Client,
    namespace: &str,
    name: &SourceName,
) -> Result<Option<PolicySet>, Error> {
    let api: Api<PolicySet> = Api::namespaced(client.clone(), namespace);
    match api.get_opt(name.as_str()).await {
        Err(error) if is_not_served(&error) => Ok(None),
        read => read.map_err(Error::Look),
    }
}

/// Where a kind is not served the API server answers in plain text, for which the client has no reason, only a code.
fn is_not_served(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 404)
}

/// The PolicySets of this cluster. Clones share them.
#[derive(Clone)]
pub struct Board {
    api: Api<PolicySet>,
    known: Arc<Mutex<BTreeMap<String, PolicySet>>>,
    changed: Arc<Notify>,
}

impl Board {
    /// Reads what there is and watches it until `shutdown`; `None` where the cluster does not serve the kind.
    pub async fn open(
        client: kube::Client,
        namespace: &str,
        shutdown: &CancellationToken,
    ) -> Result<Option<Board>, Error> {
        let api: Api<PolicySet> = Api::namespaced(client, namespace);
        let listed = match api.list(&ListParams::default()).await {
            Ok(listed) => listed,
            Err(error) if is_not_served(&error) => return Ok(None),
            Err(error) => return Err(Error::Look(error)),
        };
        let known = listed.items.into_iter().map(|set| (name_of(&set), set)).collect();
        let board = Board { api, known: Arc::new(Mutex::new(known)), changed: Arc::default() };
        let follow = follow(board.clone());
        tokio::spawn(shutdown.clone().run_until_cancelled_owned(follow));
        Ok(Some(board))
    }

    /// Returns when somebody changed an annotation of a PolicySet since the last call.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }

    pub fn get(&self, name: &SourceName) -> Option<PolicySet> {
        self.lock().get(name.as_str()).cloned()
    }

    /// The PolicySet of a source, made where it is missing.
    pub async fn ensure(&self, name: &SourceName, source: &str) -> Result<PolicySet, Error> {
        let spec = PolicySetSpec { source: source.to_owned() };
        if let Some(known) = self.get(name).filter(|known| known.spec == spec) {
            return Ok(known);
        }
        let set = PolicySet::new(name.as_str(), spec);
        let manager = PatchParams::apply(MANAGER).force();
        let set = self
            .api
            .patch(name.as_str(), &manager, &Patch::Apply(&set))
            .await
            .map_err(|source| Error::Write { name: name.clone(), source })?;
        self.put(set.clone());
        Ok(set)
    }

    pub async fn write_status(&self, name: &SourceName, status: &PolicySetStatus) -> Result<(), Error> {
        let failed = |source| Error::Write { name: name.clone(), source };
        let manager = PatchParams::apply(MANAGER).force();
        let patch = json!({
            "apiVersion": "holdfast.dev/v1alpha1",
            "kind": "PolicySet",
            "metadata": {"name": name.as_str()},
            "status": status,
        });
        let set =
            self.api.patch_status(name.as_str(), &manager, &Patch::Apply(&patch)).await.map_err(failed)?;
        self.put(set);
        Ok(())
    }

    /// Takes an annotation away that has done what it was for.
    pub async fn consume(&self, name: &SourceName, annotation: &'static str) -> Result<(), Error> {
        let patch = json!({"metadata": {"annotations": {annotation: null}}});
        let set = self
            .api
            .patch(name.as_str(), &PatchParams::default(), &Patch::Merge(&patch))
            .await
            .map_err(|source| Error::Consume { name: name.clone(), annotation, source })?;
        self.put(set);
        Ok(())
    }

    /// Gives back whether the annotations are others than before.
    fn put(&self, set: PolicySet) -> bool {
        let mut known = self.lock();
        let name = name_of(&set);
        // The watch tells of our own writes after their answers did.
        if known.get(&name).is_some_and(|known| version(known) > version(&set)) {
            return false;
        }
        let before = known.insert(name, set.clone());
        before.is_none_or(|before| before.metadata.annotations != set.metadata.annotations)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, PolicySet>> {
        // No code panics while it holds the lock, and a map is whole after every call.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn name_of(set: &PolicySet) -> String {
    set.metadata.name.clone().unwrap_or_default()
}

/// Zero for what is no number, so that the watch has the last word.
fn version(set: &PolicySet) -> u128 {
    set.metadata.resource_version.as_deref().and_then(|version| version.parse().ok()).unwrap_or(0)
}

async fn follow(board: Board) {
    let mut events = watcher(board.api.clone(), watcher::Config::default()).default_backoff().boxed();
    let mut broken = false;
    loop {
        match events.try_next().await {
            Ok(None) => return,
            Ok(Some(watcher::Event::Apply(set) | watcher::Event::InitApply(set))) => {
                if board.put(set) {
                    board.changed.notify_one();
                }
            }
            // It is made again by the next write.
            Ok(Some(watcher::Event::Delete(set))) => {
                board.lock().remove(&name_of(&set));
                board.changed.notify_one();
            }
            Ok(Some(watcher::Event::Init | watcher::Event::InitDone)) => {}
            Err(error) => {
                if !broken {
                    let error = &error as &dyn std::error::Error;
                    warn!(error, "watching policy sets failed, trying on");
                }
                broken = true;
                continue;
            }
        }
        broken = false;
    }
}
