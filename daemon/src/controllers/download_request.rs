//! DownloadRequest: a URL for a file of a backup or a restore, for the `velero` command line.
//!
//! The driver. The command line looks every 25 ms, so a watch event is acted on at once; a bucket that does not answer
//! holds up nobody else's request, because each is signed by a task of its own.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use holdfast_policy::velero;
use kube::ResourceExt;
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::downloads::Links;

use super::backoff::Backoff;
use super::runs::{RunState, Runs};
use super::stores::Stores;
use super::wake::{Wake, earlier};
use super::watched::Watched;

mod act;
pub mod decide;
mod observe;
pub mod target;

use decide::{Decision, Observed, Signed};

pub struct Controller {
    pub requests: Arc<Watched<velero::DownloadRequest>>,
    pub backups: Arc<Watched<velero::Backup>>,
    pub restores: Arc<Watched<velero::Restore>>,
    pub locations: Arc<Watched<velero::BackupStorageLocation>>,
    pub stores: Stores,
    pub clock: Clock,
    /// For buckets whose provider signs no URLs; none where the daemon serves no downloads.
    pub links: Option<Links>,
}

impl Controller {
    pub async fn run(self, stop: CancellationToken) {
        let wake = Wake::default();
        self.requests.ring_at_changes(&wake);
        // What a request names may be seen later than the request.
        self.backups.ring_at_changes(&wake);
        self.restores.ring_at_changes(&wake);
        self.locations.ring_at_changes(&wake);
        let signings = Runs::new(wake.clone());
        let mut backoff = Backoff::default();
        let mut told = HashMap::new();
        while !stop.is_cancelled() {
            let now = (self.clock)();
            let next = self.pass(now, &signings, &mut backoff, &mut told).await;
            tokio::select! {
                () = stop.cancelled() => (),
                () = wake.until(next, now) => (),
            }
        }
        signings.stop().await;
    }

    async fn pass(
        &self,
        now: DateTime<Utc>,
        signings: &Runs<Signed>,
        backoff: &mut Backoff,
        told: &mut HashMap<String, decide::Reason>,
    ) -> Option<DateTime<Utc>> {
        let states = signings.states();
        let observed = observe::observe(self, &states);
        forget_withdrawn(&observed, &states, signings);
        told.retain(|name, _| self.requests.get(name).is_some());
        let mut next = None;
        for one in observed {
            let name = one.request.name_any();
            if let Some(until) = backoff.held(&name, now) {
                next = earlier(next, Some(until));
                continue;
            }
            let decision = decide::decide(&one, now);
            match &decision {
                Decision::Sleep { until, reason } => {
                    next = earlier(next, Some(*until));
                    tell(&name, reason.as_ref(), told);
                }
                Decision::SetExpiration { reason } => tell(&name, reason.as_ref(), told),
                Decision::Delete | Decision::Sign { .. } | Decision::Signing | Decision::Record { .. } => (),
            }
            match act::act(self, signings, &one.request, decision).await {
                Ok(()) => backoff.succeeded(&name),
                Err(error) => {
                    let error = &error as &dyn std::error::Error;
                    tracing::warn!(request = name, error, "cannot answer a download request");
                    next = earlier(next, Some(backoff.failed(&name, now)));
                }
            }
        }
        next
    }
}

/// Ends the work for requests that are gone.
fn forget_withdrawn(
    observed: &[Observed],
    states: &BTreeMap<String, RunState<Signed>>,
    signings: &Runs<Signed>,
) {
    let is_wanted = |uid: &str| observed.iter().any(|one| one.request.metadata.uid.as_deref() == Some(uid));
    for (uid, state) in states.iter().filter(|(uid, _)| !is_wanted(uid)) {
        match state.ended {
            Some(_) => signings.forget(uid),
            None => {
                signings.cancel(uid);
            }
        }
    }
}

/// Logs once why a request gets no answer: the request itself has no place to say so.
fn tell(name: &str, reason: Option<&decide::Reason>, told: &mut HashMap<String, decide::Reason>) {
    let Some(reason) = reason else { return };
    if told.get(name) != Some(reason) {
        tracing::warn!(request = name, %reason, "download request can't be answered");
        told.insert(name.to_owned(), reason.clone());
    }
}
