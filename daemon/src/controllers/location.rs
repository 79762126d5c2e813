//! BackupStorageLocation: whether the bucket can be reached, and which location is the default.
//!
//! The driver. A check runs as a task, so that a bucket that does not answer holds up nobody else's.

use std::sync::Arc;

use holdfast_policy::duration::GoDuration;
use holdfast_policy::velero;
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;

use super::backoff::Backoff;
use super::backup_sync::Brakes;
use super::runs::Runs;
use super::stores::Stores;
use super::wake::{Wake, earlier};
use super::watched::Watched;

mod act;
pub mod decide;
pub mod default;
mod observe;
mod place;

use decide::Decision;

/// Whether this daemon says in a bucket that it writes there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claims {
    Made,
    /// It only brings back.
    Read,
}

pub struct Controller {
    pub cluster_name: String,
    pub claims: Claims,
    pub backups: Arc<Watched<velero::Backup>>,
    pub brakes: Brakes,
    pub locations: Arc<Watched<velero::BackupStorageLocation>>,
    pub stores: Stores,
    pub clock: Clock,
    pub default_frequency: GoDuration,
}

impl Controller {
    pub async fn run(self, stop: CancellationToken) {
        let wake = Wake::default();
        self.locations.ring_at_changes(&wake);
        let checks = Runs::new(wake.clone());
        let mut backoff = Backoff::default();
        let mut memory = observe::Memory::default();
        let mut older_default = None;
        while !stop.is_cancelled() {
            let now = (self.clock)();
            let observed = observe::observe(&self.locations, &checks, &memory, self.default_frequency);
            report_older_default(&observed, &mut older_default);
            let mut next = None;
            for (location, decision) in decide::decide(&observed, now) {
                let name = location.metadata.name.clone().unwrap_or_default();
                if let Some(until) = backoff.held(&name, now) {
                    next = earlier(next, Some(until));
                    continue;
                }
                match decision {
                    Decision::Sleep { until } => next = earlier(next, Some(until)),
                    Decision::CheckedOnce | Decision::Checking => (),
                    Decision::Check { reason } => {
                        tracing::debug!(location = name, ?reason, "checking location");
                        act::check(&self, location, &checks, &mut memory);
                    }
                    Decision::Record { check } => {
                        match act::record(&self, &location, &check, &checks).await {
                            Ok(()) => backoff.succeeded(&name),
                            Err(error) => {
                                let error = &error as &dyn std::error::Error;
                                tracing::warn!(location = name, error, "cannot write the location's status");
                                next = earlier(next, Some(backoff.failed(&name, now)));
                            }
                        }
                    }
                }
            }
            tokio::select! {
                () = stop.cancelled() => (),
                () = wake.until(next, now) => (),
            }
        }
        checks.stop().await;
    }
}

/// Tells once about each location that is marked as the default but is not.
fn report_older_default(observed: &[decide::Observed], reported: &mut Option<Vec<String>>) {
    let chosen = default::choose(observed.iter().map(|one| one.location.as_ref()));
    if chosen.older.is_empty() {
        *reported = None;
    } else if reported.as_ref() != Some(&chosen.older) {
        tracing::warn!(
            default = chosen.name,
            older = chosen.older.join(", "),
            "several locations are marked as default: the newest counts"
        );
        *reported = Some(chosen.older);
    }
}
