//! The plan carried out: what every part of a run shares, and the waves.
//!
//! In: the archive's index, the plan, the cluster. Out: objects in the cluster, records, and messages in the run's
//! log. One object is the business of [`super::item`], namespaces of [`super::namespaces`].

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

use chrono::{DateTime, Utc};
use futures::StreamExt as _;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::create::Streak;
use super::data_downloads::Downloads;
use super::facts::Facts;
use super::first_look::{Head, Kinds};
use super::hooks::Hooks;
use super::leftovers::Leftovers;
use super::modifiers::Modifiers;
use super::native::Natives;
use super::plan::{Decision, Entry, Plan, Skip, Step, Target, Wave, plan, target_namespace};
use super::pod_volumes::Files;
use super::preview::Hand;
use super::records::{Action, Claim, Record, Records};
use super::settings::Settings;
use super::volumes::VolumeInfo;
use super::wishes::OwnerReferences;
use super::{Progress, Timeouts};
use crate::actions::restore::Configuration;
use crate::actions::restore::csi::Csi;
use crate::archive::{Index, IndexedItem};
use crate::cluster::{Cluster, Discovery};
use crate::engine::run_log::{Place, RunLog};
use crate::engine::select::{Archived, DEFINITIONS, NAMESPACES};

/// The API server was fastest with about this many on two cores; its own fairness bounds them where it must.
const IN_FLIGHT: usize = 32;

/// Everything that restoring one object may need.
pub(crate) struct Run {
    pub(crate) hand: Hand,
    pub(crate) timeouts: Timeouts,
    /// When the Restore was created, by the API server's clock.
    pub(crate) created: Option<DateTime<Utc>>,
    pub(crate) cluster: Cluster,
    pub(crate) settings: Settings,
    pub(crate) configuration: Configuration,
    pub(crate) modifiers: Option<Modifiers>,
    pub(crate) files: Files,
    pub(crate) downloads: Downloads,
    pub(crate) hooks: Hooks,
    pub(crate) owner_references: OwnerReferences,
    pub(crate) leftovers: Leftovers,
    pub(crate) index: Index,
    pub(crate) heads: Vec<Option<Head>>,
    pub(crate) kinds: Kinds,
    /// Positions, ordered by place, for objects that others name.
    pub(crate) by_place: Vec<u32>,
    pub(crate) volumes: BTreeMap<String, VolumeInfo>,
    pub(crate) csi: Csi,
    pub(crate) natives: Natives,
    pub(crate) discovery: Discovery,
    pub(crate) facts: Facts,
    pub(crate) log: RunLog,
    pub(crate) records: Records,
    pub(crate) streak: Streak,
    /// Names of volumes whose claims get new ones.
    pub(crate) provisioned_anew: Mutex<BTreeSet<String>>,
    /// Target namespaces that are not there: their objects can't be created.
    pub(crate) missing_namespaces: BTreeSet<String>,
    /// Made without an object in the archive.
    pub(crate) bare_namespaces: Vec<String>,
    pub(crate) progress: watch::Sender<Progress>,
    pub(crate) cancel: CancellationToken,
}

impl Run {
    pub(crate) fn plan(&self) -> Plan {
        let entries = self.entries();
        let resolve = |name: &str| self.discovery.resolve(name).map(|resource| resource.group_resource());
        let serves = |api_version: &str, kind: &str| self.discovery.by_kind(api_version, kind).is_some();
        let target = Target { resolve: &resolve, serves: &serves };
        plan(&entries, &self.settings.selection, &self.settings.mapping, &target)
    }

    pub(crate) fn entries(&self) -> Vec<Entry<'_>> {
        self.index.items.iter().zip(&self.heads).map(|(item, head)| self.entry(item, head)).collect()
    }

    fn entry<'a>(&'a self, item: &'a IndexedItem, head: &'a Option<Head>) -> Entry<'a> {
        let (api_version, kind) =
            head.map_or(("", ""), |head| (self.kinds.api_version(head.kind), self.kinds.kind(head.kind)));
        Entry {
            group_resource: &item.group_resource,
            namespace: item.namespace.as_deref(),
            name: &item.name,
            api_version,
            kind,
            details: head.map_or(Ok(()), |head| head.details),
            at_rest: head.and_then(|head| head.at_rest),
        }
    }

    /// CRDs first, the kinds that they bring, namespaces, then wave after wave.
    pub(crate) async fn carry_out(&mut self) -> Result<(), crate::cluster::Error> {
        let first = self.plan();
        self.tell_what_was_planned(&first);
        if let Some(wave) = first.waves.iter().find(|wave| wave.group_resource == DEFINITIONS) {
            self.wave(wave).await;
            self.discover_new_kinds(wave).await?;
        }
        let plan = self.ordered_plan().await;
        drop(first);
        self.ensure_namespaces(&plan.namespaces).await;
        self.stand_in_for_groups().await;
        for wave in &plan.waves {
            match wave.group_resource.as_str() {
                DEFINITIONS | NAMESPACES => {}
                _ => {
                    self.wave(wave).await;
                    self.await_services(&wave.awaits).await;
                }
            }
        }
        self.remap_owners().await;
        self.leftovers.tell_rest(&self.log);
        let listed = self.records.listed() + self.bare_namespaces.len() as u64;
        self.progress.send_replace(Progress { total: listed, done: listed, moves: None });
        Ok(())
    }

    pub(crate) fn tell_what_was_planned(&self, plan: &Plan) {
        let fine = &self.settings.selection.details.fine;
        if !fine.is_empty() {
            let objects = self.index.items.iter().zip(&self.heads).map(|(item, head)| Archived {
                group_resource: &item.group_resource,
                kind: head.map_or("", |head| self.kinds.kind(head.kind)),
                namespace: item.namespace.as_deref(),
                name: &item.name,
            });
            for kind in fine.unknown_to(objects, &self.discovery) {
                let text =
                    format!("the resource policy names kind {kind:?}, which nothing in the backup is of");
                self.log.warning(Place::Velero, text);
            }
        }
        let steps = || plan.waves.iter().flat_map(|wave| &wave.steps);
        let selected = steps().filter(|step| !matches!(step.decision, Decision::Filtered(_))).count();
        self.progress.send_replace(Progress { total: selected as u64, done: 0, moves: None });
        self.log.info(
            "Planned the restore",
            &[
                ("objects", &self.index.items.len().to_string()),
                ("selected", &selected.to_string()),
                ("namespaces", &plan.namespaces.len().to_string()),
            ],
        );
        if self.index.items.is_empty() {
            self.log.warning(Place::Velero, "the archive has no objects: zero items to be restored");
        } else if self.settings.selection.namespaces.names_some() && !plan.namespaces_found {
            self.log.warning(
                Place::Velero,
                "no namespace of the backup is in includedNamespaces: nothing of any namespace is restored",
            );
        }
    }

    async fn wave(&self, wave: &Wave) {
        let mut steps = wave.steps.iter();
        let mut running = FuturesUnordered::new();
        loop {
            while running.len() < IN_FLIGHT && !self.cancel.is_cancelled() {
                let Some(step) = steps.next() else { break };
                running.extend(self.begin(step));
            }
            if running.next().await.is_none() && (steps.len() == 0 || self.cancel.is_cancelled()) {
                break;
            }
        }
    }

    /// The work that a step needs, if any.
    fn begin(&self, step: &Step) -> Option<BoxFuture<'_, ()>> {
        let position = step.position;
        match step.decision {
            Decision::Create | Decision::NotServed => Some(self.restore(position)),
            Decision::Filtered(_) | Decision::Skip(Skip::Completed) => None,
            Decision::Skip(Skip::MirrorPod | Skip::DataUpload) => {
                self.settle(position, Record::Listed(Action::Skipped));
                None
            }
            Decision::Skip(Skip::SamePlaceAs { position: first }) => {
                let (item, holder) = (&self.index.items[position], &self.index.items[first]);
                self.log.warning(
                    Place::of(self.target(item)),
                    format!("{item} is not restored: {holder} has its place"),
                );
                self.settle(position, Record::Unlisted);
                None
            }
        }
    }

    /// Restores one object of the archive, or waits until whoever is at it has.
    pub(crate) fn restore(&self, position: usize) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            match self.records.claim(position).await {
                Claim::Settled => {}
                Claim::Ours => {
                    let record = self.restore_item(position).await;
                    self.settle(position, record);
                }
            }
        })
    }

    pub(crate) fn settle(&self, position: usize, record: Record) {
        let done = self.records.settle(position, record);
        self.progress.send_modify(|progress| {
            progress.done = done;
            progress.total = progress.total.max(done);
        });
    }

    /// The namespace that an object goes to.
    pub(crate) fn target<'a>(&'a self, item: &'a IndexedItem) -> Option<&'a str> {
        item.namespace.as_deref().map(|namespace| target_namespace(&self.settings.mapping, namespace))
    }

    /// Where in the archive an object is.
    pub(crate) fn find(&self, group_resource: &str, namespace: Option<&str>, name: &str) -> Option<usize> {
        let wanted = (group_resource, namespace, name);
        let found = self
            .by_place
            .binary_search_by(|position| place(&self.index.items[*position as usize]).cmp(&wanted));
        found.ok().map(|at| self.by_place[at] as usize)
    }

    pub(crate) fn provision_anew(&self, volume: &str) {
        let mut volumes = self.provisioned_anew.lock().unwrap_or_else(PoisonError::into_inner);
        volumes.insert(volume.to_owned());
    }

    pub(crate) fn is_provisioned_anew(&self, volume: &str) -> bool {
        self.provisioned_anew.lock().unwrap_or_else(PoisonError::into_inner).contains(volume)
    }
}

/// By what objects are found.
pub(crate) fn place(item: &IndexedItem) -> (&str, Option<&str>, &str) {
    (&item.group_resource, item.namespace.as_deref(), &item.name)
}
