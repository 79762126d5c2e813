//! How far a run has come, told to whoever watches, at most once a second.

use std::convert::Infallible;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::watch;

use super::Error;
use super::collect::Collector;
use crate::engine::data_moves;

const PERIOD: Duration = Duration::from_secs(1);

/// Objects known and objects done. `total` grows while the run finds more.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Progress {
    pub total: u64,
    pub done: u64,
    /// What the run waits for, where all else is done.
    pub moves: Option<data_moves::Waiting>,
}

/// Objects that the API server said are still to come, summed over the lists being read.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    objects: AtomicU64,
}

/// The share of one list in [`Waiting`]; gone with the list.
pub(super) struct Share<'a> {
    waiting: &'a Waiting,
    objects: u64,
}

impl Waiting {
    pub(super) fn share(&self) -> Share<'_> {
        Share { waiting: self, objects: 0 }
    }
}

impl Share<'_> {
    pub(super) fn set(&mut self, objects: u64) {
        self.waiting.objects.fetch_add(objects, Ordering::Relaxed);
        self.waiting.objects.fetch_sub(self.objects, Ordering::Relaxed);
        self.objects = objects;
    }
}

impl Drop for Share<'_> {
    fn drop(&mut self) {
        self.set(0);
    }
}

/// Runs `work` to its end and tells of its progress meanwhile.
pub(super) async fn telling(
    watch: &watch::Sender<Progress>,
    collector: &Collector<'_>,
    work: impl Future<Output = Result<(), Error>>,
) -> Result<(), Error> {
    tokio::select! {
        result = work => result,
        never = tell(watch, collector) => match never {},
    }
}

async fn tell(watch: &watch::Sender<Progress>, collector: &Collector<'_>) -> Infallible {
    loop {
        tokio::time::sleep(PERIOD).await;
        let done = collector.ledger.started();
        let total = done + collector.waiting.objects.load(Ordering::Relaxed);
        watch.send_replace(Progress { total, done, moves: collector.uploads.waiting() });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_that_ends_takes_its_share_along() {
        let waiting = Waiting::default();
        let mut one = waiting.share();
        let mut other = waiting.share();
        one.set(500);
        other.set(70);
        one.set(400);
        assert_eq!(waiting.objects.load(Ordering::Relaxed), 470);
        drop(one);
        assert_eq!(waiting.objects.load(Ordering::Relaxed), 70);
    }
}
