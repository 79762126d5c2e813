//! What makes a controller look again: a change it was told of, or an instant that has come.
//!
//! Takes signals from caches and runs, gives one wake-up for any number of them. What to do is left to the driver,
//! which re-reads everything: a signal says that something changed, never what.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::sync::Notify;
use tokio::time::Instant;

/// No controller sleeps longer than this, so that a clock that jumped is noticed.
const LONGEST_SLEEP: Duration = Duration::from_secs(10);

/// A look goes over all objects of a copy. Where changes come one after the other, looks are this far apart for each of
/// them, so that the cost of a change doesn't grow with their number.
const APART_FOR_EACH: Duration = Duration::from_micros(20);
/// Well below what a schedule may be late.
const FARTHEST_APART: Duration = Duration::from_millis(250);

/// A bell that remembers having been rung.
#[derive(Clone, Debug, Default)]
pub struct Wake(Arc<Bell>);

#[derive(Debug, Default)]
struct Bell {
    rung: Notify,
    /// Size of the largest copy that has rung since the last look.
    objects: AtomicUsize,
    last_look: Mutex<Option<Instant>>,
}

impl Wake {
    /// Makes the next [`Wake::until`] return at once.
    pub fn ring(&self) {
        self.0.rung.notify_one();
    }

    /// The same, but not too soon after the last time, for a change among so many objects.
    pub fn ring_among(&self, objects: usize) {
        self.0.objects.fetch_max(objects, Ordering::Relaxed);
        self.ring();
    }

    /// Returns when the bell was rung, or `next` has come, or the longest sleep is over.
    pub async fn until(&self, next: Option<DateTime<Utc>>, now: DateTime<Utc>) {
        tokio::select! {
            () = self.0.rung.notified() => (),
            () = tokio::time::sleep(sleep(next, now)) => (),
        }
        let last = *self.0.last_look.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(last) = last {
            tokio::time::sleep_until(last + apart(self.0.objects.load(Ordering::Relaxed))).await;
        }
        self.0.objects.store(0, Ordering::Relaxed);
        *self.0.last_look.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }
}

fn apart(objects: usize) -> Duration {
    u32::try_from(objects).map_or(FARTHEST_APART, |objects| (APART_FOR_EACH * objects).min(FARTHEST_APART))
}

fn sleep(next: Option<DateTime<Utc>>, now: DateTime<Utc>) -> Duration {
    let left = next.map_or(LONGEST_SLEEP, |next| (next - now).to_std().unwrap_or(Duration::ZERO));
    left.min(LONGEST_SLEEP)
}

/// The earlier of two instants, where there is one.
pub fn earlier(one: Option<DateTime<Utc>>, other: Option<DateTime<Utc>>) -> Option<DateTime<Utc>> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, None) => one,
        (None, other) => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> DateTime<Utc> {
        "2026-11-23T10:00:00Z".parse().unwrap()
    }

    #[tokio::test]
    async fn a_ring_before_the_wait_is_not_lost() {
        let wake = Wake::default();
        wake.ring();
        let waited = tokio::time::timeout(LONGEST_SLEEP / 2, wake.until(None, now())).await;
        assert!(waited.is_ok());
    }

    #[test]
    fn looks_keep_apart_where_a_change_is_one_among_many_objects() {
        assert_eq!(apart(0), Duration::ZERO);
        assert_eq!(apart(10), Duration::from_micros(200));
        assert_eq!(apart(10_000), Duration::from_millis(200));
        assert_eq!(apart(usize::MAX), FARTHEST_APART);
    }

    #[test]
    fn a_sleep_ends_at_the_instant_and_never_lasts_longer_than_the_longest() {
        let after = |seconds: i64| sleep(Some(now() + chrono::Duration::seconds(seconds)), now());
        assert_eq!(after(-5), Duration::ZERO);
        assert_eq!(after(3), Duration::from_secs(3));
        assert_eq!(after(3600), LONGEST_SLEEP);
        assert_eq!(sleep(None, now()), LONGEST_SLEEP);
    }

    #[test]
    fn the_earlier_of_two_instants_wins_and_none_never_does() {
        let later = now() + chrono::Duration::hours(1);
        assert_eq!(earlier(Some(later), Some(now())), Some(now()));
        assert_eq!(earlier(Some(later), None), Some(later));
        assert_eq!(earlier(None, None), None);
    }
}
