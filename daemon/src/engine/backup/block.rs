//! Item blocks: pods that share a claim, and claims of one volume group, are stored together, also those that the
//! filters did not choose by themselves. All hooks before come before the first of their bytes is read.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use futures::FutureExt;
use tokio::sync::{Mutex as Gate, OnceCell};

use super::Error;
use super::collect::{Collector, ITEMS_AT_ONCE, at_once};
use super::hooks::{Before, HookedPod};
use super::items::{ItemError, Stored, Subject};
use crate::cluster::{self, Item, ListScope, PAGE_SIZE};
use crate::engine::run_log::{Message, Place};
use crate::engine::select::{Block, Member, Relations, claims_of};

const PODS: &str = "pods";
const CLAIMS: &str = "persistentvolumeclaims";

/// What is known of the blocks of one run.
#[derive(Debug, Default)]
pub(super) struct Blocks {
    /// By namespace.
    relations: Mutex<HashMap<String, Arc<OnceCell<Relations>>>>,
    /// Blocks being stored, by namespace and key: members of one that are listed meanwhile wait for it.
    gates: Mutex<HashMap<Key, Arc<Gate<()>>>>,
}

type Key = (String, String);

impl Blocks {
    fn relations(&self, namespace: &str) -> Arc<OnceCell<Relations>> {
        let mut relations = self.relations.lock().unwrap_or_else(PoisonError::into_inner);
        relations.entry(namespace.to_owned()).or_default().clone()
    }

    fn gate(&self, namespace: &str, key: &str) -> Arc<Gate<()>> {
        let mut gates = self.gates.lock().unwrap_or_else(PoisonError::into_inner);
        gates.entry((namespace.to_owned(), key.to_owned())).or_default().clone()
    }
}

impl Collector<'_> {
    /// Stores a pod or claim that the filters chose, with all that is in its block.
    pub(super) async fn settle_with_block(&self, subject: &Subject<'_>, item: Item) -> Result<Stored, Error> {
        let Some(member) = member(subject, &item) else { return self.settle(subject, item).await };
        let taken = self.ledger.has(subject.kind(), item.namespace.as_deref(), &item.name);
        let Some(namespace) = item.namespace.clone().filter(|_| !taken && !item.deleting && !item.excluded)
        else {
            return self.settle(subject, item).await;
        };
        let relations = self.blocks.relations(&namespace);
        let relations = relations.get_or_init(|| self.read_relations(&namespace).boxed()).await;
        let block = relations.block(member);
        let Some(key) = block.key().filter(|_| block.has_others()) else {
            return self.settle(subject, item).await;
        };
        let gate = self.blocks.gate(&namespace, key);
        let _alone = gate.lock().await;
        if self.ledger.has(subject.kind(), Some(&namespace), &item.name) {
            return Ok(Stored::Before);
        }
        self.store_block(subject, item, &namespace, &block).boxed().await?;
        Ok(Stored::Now)
    }

    async fn store_block(
        &self,
        subject: &Subject<'_>,
        seed: Item,
        namespace: &str,
        block: &Block,
    ) -> Result<(), Error> {
        let Some(pods) = self.discovery.by_group_resource(PODS).map(Subject::new) else { return Ok(()) };
        let Some(claims) = self.discovery.by_group_resource(CLAIMS).map(Subject::new) else { return Ok(()) };
        let seed_is_pod = subject.group_resource == PODS;
        let mut seed = Some(seed);
        let mut take_seed =
            |of_pods: bool, name: &str| seed.take_if(|seed| of_pods == seed_is_pod && seed.name == name);
        let mut hooked = Vec::new();
        let mut unhooked = Vec::new();
        for (name, annotated) in &block.pods {
            let item = take_seed(true, name);
            if !annotated && self.hooks.rules.is_empty() {
                unhooked.push((name, item));
                continue;
            }
            let item = match item {
                Some(item) => Some(item),
                None => self.fetch_related(&pods, namespace, name).await,
            };
            let Some(item) = item else { continue };
            hooked.extend(self.take_up_with_hooks(&pods, item).await?);
        }
        for pod in &mut hooked {
            pod.before = self.run_pre_hooks_of(pod).await;
        }
        for pod in &mut hooked {
            self.settle_hooked(&pods, pod).await?;
        }
        for (name, item) in unhooked {
            let item = match item {
                Some(item) => Some(item),
                None => self.fetch_related(&pods, namespace, name).await,
            };
            if let Some(item) = item {
                self.settle(&pods, item).await?;
            }
        }
        let settling = block.claims.iter().map(|name| {
            let (seed, claims) = (take_seed(false, name), &claims);
            let settle = async move {
                let item = match seed {
                    Some(item) => Some(item),
                    None => self.fetch_related(claims, namespace, name).await,
                };
                match item {
                    Some(item) => self.settle(claims, item).await.map(drop),
                    None => Ok(()),
                }
            };
            settle.boxed()
        });
        at_once(ITEMS_AT_ONCE, settling.collect()).await?;
        for pod in hooked {
            self.end_hooks_of(pod).await;
        }
        Ok(())
    }

    /// A member of a block that was not listed, if the filters let it come along and nobody took it up.
    async fn fetch_related(&self, subject: &Subject<'_>, namespace: &str, name: &str) -> Option<Item> {
        if self.ledger.has(subject.kind(), Some(namespace), name) {
            return None;
        }
        if let Err(refusal) = self.selection.admit(subject.resource, Some(namespace)) {
            self.log_refused(refusal, &subject.group_resource, name, Some(namespace));
            return None;
        }
        match self.cluster.get(subject.resource, Some(namespace), name).await {
            // A claim that a pod misses is a warning of that pod's.
            Ok(item) => item,
            Err(error) => {
                let message = Message::new("Error getting item").resource(&subject.group_resource).name(name);
                self.log.error(Place::Namespace(namespace.to_owned()), message.cause(&error));
                None
            }
        }
    }

    /// The pod, taken up, when it has hooks; stored already when it has none.
    async fn take_up_with_hooks(&self, pods: &Subject<'_>, item: Item) -> Result<Option<HookedPod>, Error> {
        let pod = match self.hooks.pod_with_hooks(&item) {
            Ok(pod) => pod,
            Err(error) => {
                self.report(pods, &item.name, item.namespace.as_deref(), ItemError::Malformed(error))?;
                return Ok(None);
            }
        };
        let Some(pod) = pod else {
            self.settle(pods, item).await?;
            return Ok(None);
        };
        if !self.take_up(pods, &item) {
            return Ok(None);
        }
        let turn = self.hooks.turn(self.name, &pod).await;
        Ok(Some(HookedPod { item: Some(item), pod, turn: Some(turn), before: Before::GoOn }))
    }

    async fn settle_hooked(&self, pods: &Subject<'_>, hooked: &mut HookedPod) -> Result<(), Error> {
        let Some(item) = hooked.item.take() else { return Ok(()) };
        let (name, namespace) = (item.name.clone(), item.namespace.clone());
        let stored = async {
            self.meet_pod(&item).await?;
            match hooked.before {
                Before::GoOn => self.put(pods, item).await.map(drop),
                Before::LeavePodOut => self.act(pods, item).await.map(drop),
            }
        };
        match stored.await {
            Ok(()) => Ok(()),
            Err(error) => Ok(self.report(pods, &name, namespace.as_deref(), error)?),
        }
    }

    /// All that hangs together in a namespace; nothing where that cannot be read, which is reported.
    async fn read_relations(&self, namespace: &str) -> Relations {
        match self.try_read_relations(namespace).await {
            Ok(relations) => relations,
            Err(error) => {
                let message = Message::new("Error finding the pods that share volumes").cause(&error);
                self.log.error(Place::Namespace(namespace.to_owned()), message);
                Relations::default()
            }
        }
    }

    async fn try_read_relations(&self, namespace: &str) -> Result<Relations, RelationsError> {
        let mut relations = Relations::default();
        for kind in [PODS, CLAIMS] {
            let Some(resource) = self.discovery.by_group_resource(kind) else { continue };
            let scope = ListScope {
                namespace: Some(namespace.to_owned()),
                label_selector: None,
                page_size: PAGE_SIZE,
            };
            let mut pages = self.cluster.list(resource, scope);
            while let Some(items) = pages.next().await? {
                for item in items {
                    if kind == PODS {
                        relations.add_pod(&item.name, &item.json)?;
                    } else {
                        relations.add_claim(&item.name, &item.json, self.group_label)?;
                    }
                }
            }
        }
        Ok(relations)
    }
}

#[derive(Debug, thiserror::Error)]
enum RelationsError {
    #[error(transparent)]
    List(#[from] cluster::Error),
    #[error("cannot read an object: {0}")]
    Malformed(#[from] serde_json::Error),
}

/// The object as a member of blocks, if it can have others in its own.
fn member(subject: &Subject<'_>, item: &Item) -> Option<Member> {
    match subject.group_resource.as_str() {
        // One that cannot be read is reported when it is stored.
        PODS if claims_of(&item.json).is_ok_and(|claims| !claims.is_empty()) => {
            Some(Member::Pod(item.name.clone()))
        }
        CLAIMS => Some(Member::Claim(item.name.clone())),
        _ => None,
    }
}
