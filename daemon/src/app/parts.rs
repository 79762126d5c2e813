//! What runs side by side until the daemon is told to stop, or can't go on.

use std::time::Duration;

use anyhow::{Context, bail};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::controllers::leader;

/// How long runs may take to leave nothing half-written behind; longer than it takes to abort an upload.
const GRACE: Duration = Duration::from_secs(10);

pub(super) struct Parts {
    set: JoinSet<anyhow::Result<()>>,
    /// Everything ends.
    pub(super) stop: CancellationToken,
    /// The controllers end, the rest goes on.
    pub(super) stop_controllers: CancellationToken,
}

/// Why everything ends.
enum Cause {
    Asked,
    LeadLost,
    /// A part has ended, which none does by itself.
    Part(Result<anyhow::Result<()>, tokio::task::JoinError>),
}

impl Parts {
    pub(super) fn new(stop: CancellationToken) -> Self {
        Parts { set: JoinSet::new(), stop_controllers: stop.child_token(), stop }
    }

    /// Starts a part that is dropped when the daemon stops.
    pub(super) fn start(&mut self, part: impl Future<Output = anyhow::Result<()>> + Send + 'static) {
        let stop = self.stop.clone();
        self.set.spawn(async move { stop.run_until_cancelled(part).await.unwrap_or(Ok(())) });
    }

    /// Starts a part that ends by itself when controllers are to end, in its own time.
    pub(super) fn start_controller(&mut self, part: impl Future<Output = ()> + Send + 'static) {
        self.set.spawn(async move {
            part.await;
            Ok(())
        });
    }

    /// Returns when everything has ended, because it was asked to, because the lead is lost, or because a part failed.
    pub(super) async fn until_stopped(mut self, lead_lost: impl Future<Output = ()>) -> anyhow::Result<()> {
        let cause = self.cause(lead_lost).await;
        tracing::info!("stopping");
        self.stop.cancel();
        let grace = match &cause {
            Cause::LeadLost => leader::TIME_TO_END,
            Cause::Asked | Cause::Part(_) => GRACE,
        };
        let all = async { while self.set.join_next().await.is_some() {} };
        if tokio::time::timeout(grace, all).await.is_err() {
            tracing::warn!(seconds = grace.as_secs(), "some parts did not stop in time");
        }
        match cause {
            Cause::Asked => Ok(()),
            Cause::LeadLost => bail!("the lead was lost: another replica may have it"),
            Cause::Part(ended) => {
                ended.context("a part of the daemon panicked")??;
                bail!("a part of the daemon ended by itself");
            }
        }
    }

    async fn cause(&mut self, lead_lost: impl Future<Output = ()>) -> Cause {
        let mut lead_lost = std::pin::pin!(lead_lost);
        loop {
            tokio::select! {
                biased;
                () = self.stop.cancelled() => return Cause::Asked,
                () = &mut lead_lost => return Cause::LeadLost,
                Some(ended) = self.set.join_next() => {
                    // A part that ends because of the signal may be seen before the signal itself.
                    if self.stop.is_cancelled() {
                        return Cause::Asked;
                    }
                    // Controllers that were told to end do so one by one.
                    if self.stop_controllers.is_cancelled() && matches!(ended, Ok(Ok(()))) {
                        continue;
                    }
                    return Cause::Part(ended);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use super::*;

    fn parts() -> Parts {
        Parts::new(CancellationToken::new())
    }

    #[tokio::test]
    async fn a_part_that_fails_ends_everything_and_says_why() {
        let mut parts = parts();
        parts.start(pending());
        parts.start(async { bail!("the disk is full") });
        let error = parts.until_stopped(pending()).await.unwrap_err();
        assert_eq!(error.to_string(), "the disk is full");
    }

    #[tokio::test]
    async fn controllers_may_end_when_they_are_told_and_the_rest_goes_on() {
        let mut parts = parts();
        let (stop, controllers) = (parts.stop.clone(), parts.stop_controllers.clone());
        let told = controllers.clone();
        parts.start(pending());
        parts.start_controller(async move { told.cancelled().await });
        controllers.cancel();
        let ended = tokio::spawn(parts.until_stopped(pending()));
        tokio::task::yield_now().await;
        assert!(!ended.is_finished());
        stop.cancel();
        ended.await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn a_lost_lead_ends_everything() {
        let mut parts = parts();
        parts.start(pending());
        let error = parts.until_stopped(std::future::ready(())).await.unwrap_err();
        assert_eq!(error.to_string(), "the lead was lost: another replica may have it");
    }
}
