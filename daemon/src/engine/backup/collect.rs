//! Walks the cluster: takes the selection's plan, lists kind by kind, and hands each object to be stored.
//! A list that fails is an error of the backup's results, and the rest goes on; only the archive's own
//! failures end the run.

use std::collections::BTreeMap;

use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use holdfast_policy::resource_policy::ResourcePolicy;
use serde::Deserialize;
use tokio::sync::OnceCell;

use super::block::Blocks;
use super::csi::CsiSnapshots;
use super::data_uploads::DataUploads;
use super::hooks::Hooks;
use super::items::{Stored, Subject};
use super::ledger::Ledger;
use super::native::Natives;
use super::pod_volumes::Transfers;
use super::progress::Waiting;
use super::volume_info::VolumeInfo;
use super::{Error, existing};
use crate::actions::backup::Bindings;
use crate::archive::Writer;
use crate::cluster::{self, Cluster, Discovery, Item, ListScope, PAGE_SIZE};
use crate::engine::ApiVersions;
use crate::engine::run_log::{Message, Place, RunLog};
use crate::engine::select::{
    DEFINITIONS, Direct, Listing, NAMESPACES, NamespaceFacts, NamespaceObject, Selection, can_be_stored,
    has_a_twin, ordered_items, plan,
};

/// Lists read at once. Each holds a few batches, so this bounds memory.
const LISTS_AT_ONCE: usize = 3;
/// Objects with actions worked on at once; an action's additional objects cost a request each.
pub(super) const ITEMS_AT_ONCE: usize = 8;
/// Kinds that come first and one after the other: they bring each other along.
const VOLUME_KINDS: [&str; 3] = ["pods", "persistentvolumeclaims", "persistentvolumes"];

/// Everything that storing the objects of one run takes.
pub(super) struct Collector<'a> {
    pub(super) name: &'a str,
    pub(super) cluster: &'a Cluster,
    pub(super) api_versions: ApiVersions,
    pub(super) discovery: &'a Discovery,
    pub(super) existing: &'a [NamespaceFacts],
    pub(super) selection: &'a Selection,
    pub(super) policy: &'a ResourcePolicy,
    pub(super) ordered: &'a BTreeMap<String, String>,
    pub(super) log: &'a RunLog,
    pub(super) writer: Writer,
    pub(super) ledger: Ledger,
    pub(super) volumes: VolumeInfo,
    pub(super) transfers: Transfers,
    pub(super) natives: &'a Natives,
    pub(super) csi: &'a CsiSnapshots,
    pub(super) uploads: &'a DataUploads,
    pub(super) hooks: Hooks,
    pub(super) blocks: Blocks,
    /// The key of the label that makes a volume group of claims.
    pub(super) group_label: &'a str,
    pub(super) bindings: OnceCell<Bindings>,
    pub(super) waiting: Waiting,
}

impl Collector<'_> {
    pub(super) async fn collect(&self) -> Result<(), Error> {
        for group in &self.discovery.failed {
            let what = format!("Discovery of API group {} {} failed", group.group, group.version);
            self.log.warning(Place::Velero, Message::new(what).cause(&group.reason));
        }
        if let Some(warning) = existing::argo_cd_warning(self.existing, self.selection) {
            self.log.warning(Place::Velero, warning.as_str());
        }
        let (volumes, others): (Vec<_>, Vec<_>) = plan(self.discovery, self.selection)
            .into_iter()
            .partition(|listing| VOLUME_KINDS.contains(&listing.resource.group_resource().as_str()));
        for listing in &volumes {
            self.collect_kind(listing).await?;
        }
        let namespaces = self.collect_namespaces().await?;
        let kinds = others.iter().map(|listing| self.collect_kind(listing).boxed()).collect();
        at_once(LISTS_AT_ONCE, kinds).await?;
        self.collect_entered_namespaces(namespaces).await?;
        self.collect_definitions().await
    }

    async fn collect_kind(&self, listing: &Listing) -> Result<(), Error> {
        let subject = Subject::new(&listing.resource);
        self.collect_ordered(&subject).await?;
        self.collect_lists(&subject, listing).await?;
        if self.api_versions == ApiVersions::Preferred || has_a_twin(&listing.resource) {
            return Ok(());
        }
        for resource in self.discovery.other_versions(&listing.resource) {
            if can_be_stored(resource) {
                self.collect_lists(&Subject::of_another_version(resource), listing).await?;
            }
        }
        Ok(())
    }

    async fn collect_lists(&self, subject: &Subject<'_>, listing: &Listing) -> Result<(), Error> {
        for namespace in &listing.namespaces {
            for label_selector in self.selection.queries(subject.resource, namespace.as_deref()) {
                let scope = ListScope { namespace: namespace.clone(), label_selector, page_size: PAGE_SIZE };
                self.collect_list(subject, scope).await?;
            }
        }
        Ok(())
    }

    async fn collect_list(&self, subject: &Subject<'_>, scope: ListScope) -> Result<(), Error> {
        let namespace = scope.namespace.clone();
        let mut pages = self.cluster.list(subject.resource, scope);
        let mut waiting = self.waiting.share();
        let mut retrieved = 0;
        loop {
            match pages.next().await {
                Ok(Some(items)) => {
                    waiting.set(pages.remaining());
                    retrieved += items.len();
                    self.take_all(subject, items).await?;
                }
                Ok(None) => break,
                Err(error) => {
                    let place = namespace.map_or(Place::Cluster, Place::Namespace);
                    let message = Message::new("Error listing items").resource(&subject.resource.plural);
                    self.log.error(place, message.cause(&error));
                    return Ok(());
                }
            }
        }
        let fields =
            [("namespace", namespace.as_deref().unwrap_or_default()), ("resource", &subject.group_resource)];
        self.log.info(&format!("Retrieved {retrieved} items"), &fields);
        Ok(())
    }

    async fn take_all(&self, subject: &Subject<'_>, items: Vec<Item>) -> Result<(), Error> {
        if subject.is_plain() {
            for item in items {
                self.take_listed(subject, item).await?;
            }
            return Ok(());
        }
        let items = items.into_iter().map(|item| self.take_listed(subject, item).boxed()).collect();
        at_once(ITEMS_AT_ONCE, items).await
    }

    /// Stores an object that the filters chose by itself.
    async fn take_listed(&self, subject: &Subject<'_>, item: Item) -> Result<(), Error> {
        if let Some(namespace) = &item.namespace {
            if !self.selection.namespaces.includes(namespace) {
                return Ok(());
            }
            // Labels were asked for by the list itself, unless a policy has further ones for the namespace.
            let selection = self.selection;
            if !selection.fine.is_empty()
                && !selection.takes(subject.resource, Some(namespace), || item_labels(&item))
            {
                return Ok(());
            }
            self.ledger.enter_namespace(namespace);
        }
        let settled = match subject.is_plain() {
            true => self.settle(subject, item).await?,
            // Boxed: it is by far the largest of the futures that stand on a worker's stack here.
            false => self.settle_with_block(subject, item).boxed().await?,
        };
        match settled {
            Stored::Now | Stored::Before if subject.may_be_custom() => {
                self.ledger.enter_resource(&subject.group_resource);
            }
            Stored::Now | Stored::Before | Stored::No => {}
        }
        Ok(())
    }

    /// Stores the objects that the user wants first.
    async fn collect_ordered(&self, subject: &Subject<'_>) -> Result<(), Error> {
        for wanted in ordered_items(self.ordered, subject.resource) {
            let found = match &wanted.found_at {
                Some((namespace, name)) => self.find(subject, namespace.as_deref(), name).await,
                None => Ok(None),
            };
            let missing = Message::new(format!("Cannot find resource '{}'.", wanted.text));
            match found {
                Ok(Some(item)) => self.take_listed(subject, item).await?,
                Ok(None) => self.log.warning(Place::Velero, missing),
                // The list that follows tries to get it, too, and reports an error if that fails.
                Err(error) => self.log.warning(Place::Velero, missing.cause(&error)),
            }
        }
        Ok(())
    }

    /// The object, if it exists and the filters choose it.
    async fn find(
        &self,
        subject: &Subject<'_>,
        namespace: Option<&str>,
        name: &str,
    ) -> Result<Option<Item>, cluster::Error> {
        if namespace.is_some_and(|namespace| !self.selection.namespaces.includes(namespace)) {
            return Ok(None);
        }
        let item = self.cluster.get(subject.resource, namespace, name).await?;
        let chosen = |item: &Item| self.selection.takes(subject.resource, namespace, || item_labels(item));
        Ok(item.filter(chosen))
    }

    /// Stores the Namespace objects that are chosen by name or label; gives those that wait for an object.
    async fn collect_namespaces(&self) -> Result<Vec<String>, Error> {
        let mut undecided = Vec::new();
        let Some(resource) = self.discovery.by_group_resource(NAMESPACES) else { return Ok(undecided) };
        if self.selection.resources.direct(resource) == Direct::No {
            return Ok(undecided);
        }
        let existing: Vec<&str> = self.existing.iter().map(|namespace| namespace.name.as_str()).collect();
        for missing in self.selection.namespaces.missing(&existing) {
            let text =
                format!("fail to get the namespace {missing} specified in backup.Spec.IncludedNamespaces");
            self.log.error(Place::Velero, Message::new(text).resource(NAMESPACES));
        }
        let subject = Subject::new(resource);
        let mut pages = self.cluster.list(resource, ListScope::everything());
        loop {
            let items = match pages.next().await {
                Ok(Some(items)) => items,
                Ok(None) => break,
                Err(error) => {
                    let message = Message::new("Error listing items").resource(NAMESPACES);
                    self.log.error(Place::Cluster, message.cause(&error));
                    break;
                }
            };
            for item in items {
                match self.selection.namespace_object(&existing::facts(&item)?) {
                    NamespaceObject::Always => {
                        self.settle(&subject, item).await?;
                    }
                    NamespaceObject::WithItems => undecided.push(item.name),
                    NamespaceObject::Never => {}
                }
            }
        }
        Ok(undecided)
    }

    async fn collect_entered_namespaces(&self, undecided: Vec<String>) -> Result<(), Error> {
        let Some(resource) = self.discovery.by_group_resource(NAMESPACES) else { return Ok(()) };
        let subject = Subject::new(resource);
        for name in undecided.iter().filter(|name| self.ledger.entered(name)) {
            self.fetch_and_settle(&subject, name).await?;
        }
        Ok(())
    }

    /// Stores the definitions of the custom resources that the backup holds.
    async fn collect_definitions(&self) -> Result<(), Error> {
        let Some(resource) = self.discovery.by_group_resource(DEFINITIONS) else { return Ok(()) };
        if !self.selection.wants_definitions(resource) {
            return Ok(());
        }
        let subject = Subject::new(resource);
        let names = self.ledger.resources();
        let definitions = names.iter().map(|name| self.fetch_and_settle(&subject, name).boxed()).collect();
        at_once(ITEMS_AT_ONCE, definitions).await
    }

    /// Stores a cluster-scoped object, if it still exists.
    async fn fetch_and_settle(&self, subject: &Subject<'_>, name: &str) -> Result<(), Error> {
        match self.cluster.get(subject.resource, None, name).await {
            Ok(Some(item)) => {
                self.settle(subject, item).await?;
            }
            Ok(None) => {}
            Err(error) => {
                let message = Message::new("Error getting item").resource(&subject.group_resource).name(name);
                self.log.error(Place::Cluster, message.cause(&error));
            }
        }
        Ok(())
    }
}

/// Works on `limit` at a time and ends with the first failure.
pub(super) async fn at_once(limit: usize, work: Vec<BoxFuture<'_, Result<(), Error>>>) -> Result<(), Error> {
    let mut waiting = work.into_iter();
    let mut running: FuturesUnordered<_> = waiting.by_ref().take(limit).collect();
    while let Some(ended) = running.next().await {
        ended?;
        running.extend(waiting.next());
    }
    Ok(())
}

/// The labels of an object; an object that cannot be read has none.
fn item_labels(item: &Item) -> BTreeMap<String, String> {
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Labelled {
        metadata: Labels,
    }
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Labels {
        labels: BTreeMap<String, String>,
    }
    serde_json::from_slice::<Labelled>(&item.json).unwrap_or_default().metadata.labels
}
