//! DeleteBackupRequest: a backup goes, with its files, its snapshots and its Restores.
//!
//! The driver. Each deletion is a task of its own, and so many run at a time. All that a restart needs to know stands in the
//! request, in the Backup's phase and in the bucket, so that a deletion is taken up again wherever it was interrupted.

use std::collections::HashMap;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use holdfast_policy::velero;
use kube::ResourceExt;
use tokio_util::sync::CancellationToken;

use crate::actions::delete::Action;
use crate::clock::Clock;
use crate::cluster::Cluster;
use crate::engine::repositories::Repositories;

use super::backoff::Backoff;
use super::events::Events;
use super::runs::Runs;
use super::stores::Stores;
use super::wake::{Wake, earlier};
use super::watched::Watched;

mod act;
pub mod decide;
mod observe;
pub mod progress;
mod run;

use decide::Decision;
use run::End;

#[derive(Clone)]
pub struct Controller {
    pub requests: Arc<Watched<velero::DeleteBackupRequest>>,
    pub backups: Arc<Watched<velero::Backup>>,
    pub restores: Arc<Watched<velero::Restore>>,
    pub locations: Arc<Watched<velero::BackupStorageLocation>>,
    pub stores: Stores,
    pub cluster: Cluster,
    pub clock: Clock,
    pub events: Events,
    /// How many backups are deleted at a time.
    pub repositories: Repositories,
    pub limit: usize,
    /// The location of backups that name none and where none is marked as the default.
    pub default_location: String,
    pub actions: &'static [&'static dyn Action],
}

impl Controller {
    pub async fn run(self, stop: CancellationToken) {
        let wake = Wake::default();
        self.requests.ring_at_changes(&wake);
        // Whether a backup may be deleted depends on both.
        self.backups.ring_at_changes(&wake);
        self.locations.ring_at_changes(&wake);
        let runs = Runs::new(wake.clone());
        let mut backoff = Backoff::default();
        let mut told = HashMap::new();
        while !stop.is_cancelled() {
            let now = (self.clock)();
            let next = self.pass(now, &runs, &mut backoff, &mut told).await;
            tokio::select! {
                () = stop.cancelled() => (),
                () = wake.until(next, now) => (),
            }
        }
        // Their requests stay in progress: the next start takes them up again.
        runs.stop().await;
    }

    async fn pass(
        &self,
        now: DateTime<Utc>,
        runs: &Runs<End>,
        backoff: &mut Backoff,
        told: &mut HashMap<String, Decision>,
    ) -> Option<DateTime<Utc>> {
        let mut next = note_ends(runs, backoff, now);
        for (request, decision) in decide::decide(&observe::observe(self, runs), now) {
            let name = request.name_any();
            if let Some(until) = backoff.held(&name, now) {
                next = earlier(next, Some(until));
                continue;
            }
            next = earlier(next, decision.at());
            tell(&name, &decision, told);
            if let Err(error) = act::act(self, runs, &request, decision).await {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(request = name, error, "cannot carry out what is next for a deletion");
                next = earlier(next, Some(backoff.failed(&name, now)));
            }
        }
        told.retain(|name, _| self.requests.get(name).is_some());
        next
    }
}

/// What has ended is decided about anew; a run that could not even be noted waits a little.
fn note_ends(runs: &Runs<End>, backoff: &mut Backoff, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let mut next = None;
    for (uid, state) in runs.states() {
        match state.ended.as_deref() {
            None => continue,
            Some(End::Deleted | End::Kept | End::Withdrawn | End::Stopped) => backoff.succeeded(&state.name),
            Some(End::NotWritten { reason }) => {
                tracing::warn!(request = state.name, reason, "a deletion could not be written down");
                next = earlier(next, Some(backoff.failed(&state.name, now)));
            }
        }
        runs.forget(&uid);
    }
    next
}

/// Logs a decision that is new.
fn tell(name: &str, decision: &Decision, told: &mut HashMap<String, Decision>) {
    if told.get(name) == Some(decision) {
        return;
    }
    match decision {
        Decision::Refuse { refusal } => {
            tracing::warn!(request = name, %refusal, "backup is not deleted");
        }
        Decision::Wait { .. } => tracing::debug!(request = name, ?decision, "deletion waits"),
        Decision::Delete | Decision::Start(_) => (),
    }
    told.insert(name.to_owned(), decision.clone());
}
