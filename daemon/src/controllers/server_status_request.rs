//! ServerStatusRequest: tells the `velero` command line which server it talks to.
//!
//! The driver.

use std::sync::Arc;

use futures::{StreamExt, stream};
use holdfast_policy::time::from_chrono;
use holdfast_policy::velero;
use holdfast_policy::velero::ServerStatusRequestPhase as Phase;
use kube::ResourceExt;
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;

use super::backoff::Backoff;
use super::wake::{Wake, earlier};
use super::watched::{self, Watched};

pub mod decide;
mod plugins;

use decide::Decision;

/// As many as Velero answers.
const ANSWERS_AT_A_TIME: usize = 10;

pub struct Controller {
    pub requests: Arc<Watched<velero::ServerStatusRequest>>,
    pub clock: Clock,
    /// What we call ourselves.
    pub version: String,
}

impl Controller {
    pub async fn run(self, stop: CancellationToken) {
        let wake = Wake::default();
        self.requests.ring_at_changes(&wake);
        let mut backoff = Backoff::default();
        while !stop.is_cancelled() {
            let now = (self.clock)();
            let mut next = None;
            let mut acts = Vec::new();
            for request in self.requests.all() {
                if let Some(until) = backoff.held(&request.name_any(), now) {
                    next = earlier(next, Some(until));
                    continue;
                }
                match decide::decide(&request, now) {
                    Decision::Sleep { until } => next = earlier(next, Some(until)),
                    decision @ (Decision::Answer | Decision::Delete) => acts.push((request, decision)),
                }
            }
            let outcomes: Vec<_> = stream::iter(acts)
                .map(async |(request, decision)| (request.name_any(), self.act(&request, &decision).await))
                .buffer_unordered(ANSWERS_AT_A_TIME)
                .collect()
                .await;
            for (name, outcome) in outcomes {
                match outcome {
                    Ok(()) => backoff.succeeded(&name),
                    Err(error) => {
                        let error = &error as &dyn std::error::Error;
                        tracing::warn!(
                            request = name,
                            error,
                            "cannot answer a request for the server's status"
                        );
                        next = earlier(next, Some(backoff.failed(&name, now)));
                    }
                }
            }
            tokio::select! {
                () = stop.cancelled() => (),
                () = wake.until(next, now) => (),
            }
        }
    }

    async fn act(
        &self,
        request: &velero::ServerStatusRequest,
        decision: &Decision,
    ) -> Result<(), watched::Error> {
        match decision {
            Decision::Answer => {
                let mut after = request.clone();
                after.status.server_version = Some(self.version.clone());
                after.status.plugins = plugins::all();
                after.status.processed_timestamp = Some(from_chrono((self.clock)()));
                after.status.phase = Some(Phase::Processed);
                match self.requests.patch(request, &after).await {
                    Ok(_) => Ok(()),
                    // Whoever asked has taken the question back.
                    Err(error) if matches!(error.status(), Some(404 | 409)) => Ok(()),
                    Err(error) => Err(error),
                }
            }
            Decision::Delete => self.requests.delete(request).await,
            Decision::Sleep { until: _ } => Ok(()),
        }
    }
}
