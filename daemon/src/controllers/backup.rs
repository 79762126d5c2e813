//! Backup: the queue, and the runs that put objects into the bucket.
//!
//! The driver. A run is started by an act and seen again by the next observe, so that a restart finds the same states.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use holdfast_policy::velero;
use kube::ResourceExt;
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::cluster::Cluster;
use crate::engine::RunOptions;
use crate::engine::backup::Defaults;
use crate::engine::pod_volumes::PodVolumes;
use crate::hooks::Turns;

use super::OnRestart;
use super::backoff::Backoff;
use super::claim::Claim;
use super::runs::Runs;
use super::stores::Stores;
use super::wake::{Wake, earlier};
use super::watched::Watched;

mod act;
mod complete;
pub mod decide;
mod hooks_overlap;
mod observe;
pub mod run;

use decide::{Decision, Step};
use run::{Completion, End};

pub struct Controller {
    pub backups: Arc<Watched<velero::Backup>>,
    pub locations: Arc<Watched<velero::BackupStorageLocation>>,
    pub stores: Stores,
    pub cluster: Cluster,
    pub clock: Clock,
    pub claim: Claim,
    /// Backups say from their start which cluster made them.
    pub cluster_name: String,
    pub limit: usize,
    /// Phases that nobody works on: their controllers are disabled.
    pub left_alone: BTreeSet<velero::BackupPhase>,
    pub on_restart: OnRestart,
    pub defaults: Defaults,
    /// The ConfigMap whose volume policies every backup gets.
    pub global_policies: Option<String>,
    pub options: RunOptions,
    pub pod_volumes: PodVolumes,
}

/// What this process has under way.
struct Registry {
    runs: Runs<End>,
    completions: Runs<Completion>,
    turns: Turns,
}

impl Registry {
    fn cancel(&self, uid: &str) {
        let cancelled = [self.runs.cancel(uid), self.completions.cancel(uid)];
        if cancelled.contains(&true) {
            tracing::info!(uid, "run of a backup is cancelled");
        }
    }

    fn forget(&self, uid: &str) {
        self.runs.forget(uid);
        self.completions.forget(uid);
    }
}

impl Controller {
    pub async fn run(self, stop: CancellationToken) {
        let wake = Wake::default();
        self.backups.ring_at_changes(&wake);
        self.locations.ring_at_changes(&wake);
        let registry = Registry {
            runs: Runs::new(wake.clone()),
            completions: Runs::new(wake.clone()),
            turns: Turns::default(),
        };
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
        // Their Backups stay in progress and claimed: the next start takes them up again.
        registry.runs.stop().await;
        registry.completions.stop().await;
    }

    async fn pass(
        &self,
        now: DateTime<Utc>,
        registry: &Registry,
        backoff: &mut Backoff,
        told: &mut HashMap<String, Decision>,
    ) -> Option<DateTime<Utc>> {
        let mut next = None;
        let observed = observe::observe(self, registry);
        for step in decide::decide(&observed) {
            let name = match &step {
                Step::Backup { backup, decision: _ } => backup.name_any(),
                Step::Run { uid, decision: _ } => uid.clone(),
            };
            if let Some(until) = backoff.held(&name, now) {
                next = earlier(next, Some(until));
                continue;
            }
            if let Step::Backup { backup: _, decision } = &step {
                tell(&name, decision, told);
            }
            match act::act(self, registry, step).await {
                Ok(()) => backoff.succeeded(&name),
                Err(error) => {
                    let error = &error as &dyn std::error::Error;
                    tracing::warn!(backup = name, error, "cannot carry out what is next for a backup");
                    next = earlier(next, Some(backoff.failed(&name, now)));
                }
            }
        }
        told.retain(|name, _| self.backups.has(name));
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
            tracing::warn!(backup = name, ?owner, "backup in progress is not ours and is left alone");
        }
        Decision::Enqueue { .. }
        | Decision::MoveUp { .. }
        | Decision::MakeReady
        | Decision::Start
        | Decision::Resume
        | Decision::FailAfterRestart
        | Decision::FailCancelled
        | Decision::Cancel
        | Decision::Finish { .. }
        | Decision::Complete
        | Decision::NoteCompletion { .. }
        | Decision::Wait { .. } => tracing::info!(backup = name, ?decision, "backup decided"),
    }
    told.insert(name.to_owned(), decision.clone());
}
