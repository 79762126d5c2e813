//! Expiry and retention: backups whose time is over get a DeleteBackupRequest, by the judgement of the policy crate.
//!
//! The driver. It deletes nothing itself.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use futures::{StreamExt, stream};
use holdfast_policy::duration::GoDuration;
use holdfast_policy::ownership::Cluster;
use holdfast_policy::velero;
use holdfast_policy::velero::Summarized;
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;

use super::backoff::Backoff;
use super::events::Events;
use super::stores::Stores;
use super::wake::{Wake, earlier};
use super::watched::Watched;

mod act;
pub mod decide;
mod observe;

use decide::{Decision, Step};

/// How many backups are acted on at a time: a thousand may expire at one instant.
const ACTS_AT_A_TIME: usize = 16;
/// Changes are gathered for this long: one pass looks at every backup, and thousands may appear one by one.
const BETWEEN_PASSES: Duration = Duration::from_secs(1);

pub struct Controller {
    pub backups: Arc<Watched<velero::Backup>>,
    pub schedules: Arc<Watched<velero::Schedule>>,
    pub locations: Arc<Watched<velero::BackupStorageLocation>>,
    pub restores: Arc<Watched<velero::Restore>>,
    pub requests: Arc<Watched<velero::DeleteBackupRequest>>,
    pub stores: Stores,
    pub clock: Clock,
    pub events: Events,
    /// Whose backups may end here.
    pub cluster: Cluster,
    /// How soon a backup whose deletion was refused is asked for again.
    pub frequency: GoDuration,
}

impl Controller {
    pub async fn run(self, stop: CancellationToken) {
        let wake = Wake::default();
        self.backups.ring_at_changes(&wake);
        self.schedules.ring_at_changes(&wake);
        self.locations.ring_at_changes(&wake);
        self.restores.ring_at_changes(&wake);
        self.requests.ring_at_changes(&wake);
        let mut backoff = Backoff::default();
        let mut told = HashMap::new();
        while !stop.is_cancelled() {
            let now = (self.clock)();
            let next = self.pass(now, &mut backoff, &mut told).await;
            let pause = async {
                tokio::time::sleep(BETWEEN_PASSES).await;
                wake.until(next, now).await;
            };
            tokio::select! {
                () = stop.cancelled() => (),
                () = pause => (),
            }
        }
    }

    /// Gives the instant at which the next backup expires, or may be tried again.
    async fn pass(
        &self,
        now: DateTime<Utc>,
        backoff: &mut Backoff,
        told: &mut HashMap<String, Decision>,
    ) -> Option<DateTime<Utc>> {
        let mut next = None;
        let mut acts = Vec::new();
        for step in decide::decide(&observe::observe(self), now) {
            let name = step.backup.name().to_owned();
            if let Some(until) = backoff.held(&name, now) {
                next = earlier(next, Some(until));
                continue;
            }
            next = earlier(next, step.decision.at());
            tell(&name, &step.decision, told);
            if step.decision.is_act() {
                acts.push(step);
            }
        }
        told.retain(|name, _| self.backups.has(name));
        let outcomes: Vec<(String, Result<(), act::Error>)> = stream::iter(acts)
            .map(async |step: Step| (step.backup.name().to_owned(), act::act(self, step).await))
            .buffer_unordered(ACTS_AT_A_TIME)
            .collect()
            .await;
        for (backup, outcome) in outcomes {
            match outcome {
                Ok(()) => backoff.succeeded(&backup),
                Err(error) => {
                    let error = &error as &dyn std::error::Error;
                    tracing::warn!(backup, error, "cannot carry out what is next for a backup's end");
                    next = earlier(next, Some(backoff.failed(&backup, now)));
                }
            }
        }
        next
    }
}

/// Logs what is new about backups whose end has come or is put off.
fn tell(name: &str, decision: &Decision, told: &mut HashMap<String, Decision>) {
    if told.get(name) == Some(decision) {
        return;
    }
    match decision {
        Decision::Keep { .. } => {
            told.remove(name);
            return;
        }
        Decision::Wait { .. } => tracing::info!(backup = name, ?decision, "backup should go and waits"),
        Decision::MarkSuspect { .. }
        | Decision::MoveExpiration { .. }
        | Decision::Label { .. }
        | Decision::Request { .. } => tracing::info!(backup = name, ?decision, "end of a backup decided"),
    }
    told.insert(name.to_owned(), decision.clone());
}
