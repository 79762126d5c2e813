//! Restore: objects brought back from a backup.
//!
//! The driver. A Restore keeps a finalizer, so that its files in the bucket go before it does.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use holdfast_policy::duration::GoDuration;
use holdfast_policy::velero;
use kube::ResourceExt;
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::cluster::Cluster;
use crate::engine::RunOptions;
use crate::engine::pod_volumes::PodVolumes;
use crate::engine::restore::Timeouts;

use super::OnRestart;
use super::backoff::Backoff;
use super::claim::Claim;
use super::runs::Runs;
use super::stores::Stores;
use super::wake::{Wake, earlier};
use super::watched::Watched;

mod act;
pub mod decide;
mod observe;
pub mod run;
mod source;

use decide::{Decision, Step};
use run::{End, Removal};

pub struct Controller {
    pub namespace: String,
    pub restores: Arc<Watched<velero::Restore>>,
    pub backups: Arc<Watched<velero::Backup>>,
    pub locations: Arc<Watched<velero::BackupStorageLocation>>,
    pub stores: Stores,
    pub cluster: Cluster,
    pub clock: Clock,
    pub claim: Claim,
    pub limit: usize,
    /// Phases that nobody works on: their controllers are disabled.
    pub left_alone: BTreeSet<velero::RestorePhase>,
    pub on_restart: OnRestart,
    pub item_operation_timeout: GoDuration,
    pub timeouts: Timeouts,
    pub options: RunOptions,
    pub pod_volumes: PodVolumes,
}

/// What this process has under way.
struct Registry {
    runs: Runs<End>,
    removals: Runs<Removal>,
}

impl Registry {
    fn cancel(&self, uid: &str) {
        let cancelled = [self.runs.cancel(uid), self.removals.cancel(uid)];
        if cancelled.contains(&true) {
            tracing::info!(uid, "run of a deleted restore is cancelled");
        }
    }

    fn forget(&self, uid: &str) {
        self.runs.forget(uid);
        self.removals.forget(uid);
    }
}

impl Controller {
    pub async fn run(self, stop: CancellationToken) {
        let wake = Wake::default();
        self.restores.ring_at_changes(&wake);
        self.backups.ring_at_changes(&wake);
        self.locations.ring_at_changes(&wake);
        let registry = Registry { runs: Runs::new(wake.clone()), removals: Runs::new(wake.clone()) };
        let mut backoff = Backoff::default();
        let mut told = HashMap::new();
        while !stop.is_cancelled() {
            let now = (self.clock)();
            let next = self.pass(now, &registry, &mut backoff, &mut told).await;
            tokio::select! {
                () = stop.cancelled() => (),
                () = wake.until(next, now) => (),
            }
        }
        // Their Restores stay in progress and claimed: the next start takes them up again.
        registry.runs.stop().await;
        registry.removals.stop().await;
    }

    async fn pass(
        &self,
        now: DateTime<Utc>,
        registry: &Registry,
        backoff: &mut Backoff,
        told: &mut HashMap<String, Decision>,
    ) -> Option<DateTime<Utc>> {
        let mut next = None;
        let observed = observe::observe(self, &registry.runs, &registry.removals);
        for step in decide::decide(&observed) {
            let name = match &step {
                Step::Restore { restore, decision: _ } => restore.name_any(),
                Step::Run { uid, decision: _ } => uid.clone(),
            };
            if let Some(until) = backoff.held(&name, now) {
                next = earlier(next, Some(until));
                continue;
            }
            if let Step::Restore { restore: _, decision } = &step {
                tell(&name, decision, told);
            }
            match act::act(self, registry, step).await {
                Ok(()) => backoff.succeeded(&name),
                Err(error) => {
                    let error = &error as &dyn std::error::Error;
                    tracing::warn!(restore = name, error, "cannot carry out what is next for a restore");
                    next = earlier(next, Some(backoff.failed(&name, now)));
                }
            }
        }
        told.retain(|name, _| self.restores.get(name).is_some());
        next
    }
}

/// Logs a decision that is new.
fn tell(name: &str, decision: &Decision, told: &mut HashMap<String, Decision>) {
    if told.get(name) == Some(decision) {
        return;
    }
    match decision {
        Decision::LeaveAlone { owner } => {
            tracing::warn!(restore = name, ?owner, "restore in progress is not ours and is left alone");
        }
        Decision::AddFinalizer
        | Decision::Start
        | Decision::Resume
        | Decision::FailAfterRestart
        | Decision::Finish { .. }
        | Decision::Complete
        | Decision::Cancel
        | Decision::RemoveFiles
        | Decision::NoteRemoval { .. }
        | Decision::Wait { .. } => tracing::info!(restore = name, ?decision, "restore decided"),
    }
    told.insert(name.to_owned(), decision.clone());
}
