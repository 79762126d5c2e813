//! Policies out: brings the cluster's objects in step with what policy sets ask for.
//!
//! In: the desired objects of one source. Out: server-side applies, creations and removals, each with its reason, and
//! a [`Report`]. Observing, deciding and acting are a file each; `controllers` are never called, they see the
//! objects as they would see anybody's.

pub mod act;
pub mod bucket;
pub mod conflict;
pub mod decide;
pub mod difference;
pub mod events;
pub mod leave;
pub mod memory;
pub mod mode;
pub mod object;
pub mod observe;
pub mod ownership;
pub mod plan;
pub mod references;
pub mod report;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use futures::StreamExt as _;
use tokio_util::sync::CancellationToken;

use act::Outcome;
use bucket::{Creation, Verdict};
use decide::{Action, Drift, LeaveReason, Situation, Step};
use events::Events;
use memory::Memory;
use mode::Mode;
use object::{Desired, Key, Kind, Lifecycle, Live};
use observe::{Observed, Place};
use report::{Notice, Report};

/// Requests in flight at once; the API server's own fairness does the rest.
pub(crate) const REQUESTS: usize = 16;

/// Publishes to one namespace of one cluster.
pub struct Publisher {
    client: kube::Client,
    namespace: String,
    cluster_name: Option<String>,
    observed: Observed,
    mode: Mode,
    events: Events,
}

/// What one source asks for, and how it wants to be treated.
pub struct Request<'a> {
    pub source: &'a str,
    pub desired: &'a [Desired],
    pub drift: Drift,
    pub prune_word: Option<&'a str>,
    pub approved: &'a BTreeSet<String>,
    /// What stood in the way after the round before.
    pub notices: &'a BTreeMap<Key, Notice>,
}

/// A round that was decided and not carried out.
pub struct Decided {
    live: BTreeMap<Key, Arc<Live>>,
    actions: Vec<Action>,
}

/// The same once the buckets had their say about what is made once.
pub struct Consulted(Decided);

impl Decided {
    /// What the buckets are to be asked about.
    pub fn creations<'a>(&'a self, desired: &'a [Desired]) -> Vec<Creation<'a>> {
        bucket::creations(&self.actions, desired)
    }

    /// Whether locations are about to change, so that now is too early to ask their buckets.
    pub fn changes_locations(&self) -> bool {
        let changes = |action: &Action| {
            action.key.kind == Kind::BackupStorageLocation && matches!(action.step, Step::Apply(_))
        };
        self.actions.iter().any(changes)
    }

    pub fn consult(self, verdicts: &BTreeMap<Key, Verdict>) -> Consulted {
        let Decided { live, actions } = self;
        Consulted(Decided { live, actions: bucket::consult(actions, verdicts) })
    }
}

impl Publisher {
    pub fn start(
        client: kube::Client,
        namespace: String,
        cluster_name: Option<String>,
        mode: Mode,
        shutdown: &CancellationToken,
    ) -> Publisher {
        let observed = Observed::start(&client, &namespace, shutdown);
        let events = Events::new(client.clone(), mode);
        Publisher { client, namespace, cluster_name, observed, mode, events }
    }

    /// Where news of what is published goes.
    pub fn events(&self) -> &Events {
        &self.events
    }

    /// Returns once the cluster's objects are known.
    pub async fn ready(&self) {
        self.observed.complete().await;
    }

    /// Returns when an object changed in a way that may call for another round.
    pub async fn woken(&self) {
        self.observed.changed().await;
    }

    /// What one round for one source would do.
    pub async fn decide(
        &self,
        request: &Request<'_>,
        memory: &mut Memory,
        now: DateTime<Utc>,
    ) -> Result<Decided, observe::Error> {
        let place = Place { client: &self.client, namespace: &self.namespace };
        let mut live = self.observed.objects();
        live.extend(place.one_shots(request.desired, memory).await?);
        let newest_completed = place.newest_completed(request.desired, &live, memory).await?;
        let left = decide::config_maps_left(request.source, request.desired, &live);
        let referred = match memory.references_are_due(&left, now) {
            true => Some(references::config_maps(place).await?),
            false => None,
        };
        let actions = decide::decide(
            &Situation {
                source: request.source,
                desired: request.desired,
                live: &live,
                newest_completed: &newest_completed,
                memory,
                drift: request.drift,
                prune_word: request.prune_word,
                cluster_name: self.cluster_name.as_deref(),
                approved: request.approved,
                referred: referred.as_ref(),
            },
            now,
        );
        Ok(Decided { live, actions })
    }

    /// Carries it out. A failure on one object is in the report and keeps nothing from the others.
    pub async fn publish(
        &self,
        request: &Request<'_>,
        consulted: Consulted,
        memory: &mut Memory,
        now: DateTime<Utc>,
    ) -> Report {
        let Consulted(Decided { live, actions }) = consulted;
        let report = match self.mode {
            Mode::Full | Mode::Policy => self.act(request, actions, memory, now).await,
            Mode::Observe => Report::of_looking(actions),
        };
        let seen = report::Seen { live: &live, notices: request.notices };
        report::tell(&self.events, &self.namespace, request.source, &report, &seen).await;
        report
    }

    async fn act(
        &self,
        request: &Request<'_>,
        actions: Vec<Action>,
        memory: &mut Memory,
        now: DateTime<Utc>,
    ) -> Report {
        let target = act::Target { client: &self.client, namespace: &self.namespace, source: request.source };
        let desired: BTreeMap<&Key, &Desired> =
            request.desired.iter().map(|desired| (&desired.key, desired)).collect();
        let mut report = Report::default();
        // A kind is finished before the next begins: what is referred to exists before what refers to it.
        for same_kind in actions.chunk_by(|one, other| one.key.kind == other.key.kind) {
            let acts = same_kind.iter().map(|action| {
                let wanted = desired.get(&action.key).copied();
                async move { (&action.key, wanted, act::act(target, action, wanted).await) }
            });
            let acts: Vec<_> = acts.collect();
            let mut outcomes = futures::stream::iter(acts).buffer_unordered(REQUESTS);
            while let Some((key, wanted, outcome)) = outcomes.next().await {
                self.remember(memory, key, wanted, &outcome, now);
                report.outcomes.insert(key.clone(), outcome);
            }
        }
        report
    }

    fn remember(
        &self,
        memory: &mut Memory,
        key: &Key,
        desired: Option<&Desired>,
        outcome: &Outcome,
        now: DateTime<Utc>,
    ) {
        match (outcome, desired) {
            (Outcome::Applied { reason: _, live }, Some(desired)) => {
                memory.references_changed();
                self.observed.note(key.clone(), live.clone());
                let owned = live.made_by().and_then(|source| live.owned.get(source));
                let unowned = ownership::unowned(&desired.value, owned);
                memory.note_applied(key, &desired.content_hash, unowned);
            }
            (Outcome::Refused(conflicts), Some(desired)) => {
                memory.note_refused(key, &desired.content_hash, conflicts.clone(), now);
            }
            (Outcome::Created | Outcome::Left(LeaveReason::RanBefore), _)
                if key.kind.lifecycle() == Lifecycle::CreatedOnce =>
            {
                memory.note_ran(key.clone());
            }
            (Outcome::Pruned, _) => {
                memory.references_changed();
                memory.forget(key);
            }
            (Outcome::Applied { .. } | Outcome::Refused(_), None)
            | (Outcome::Created | Outcome::Left(_) | Outcome::Failed(_), _) => {}
        }
    }
}
