//! The one error policy of all controllers: an act that failed is tried again later, each time after twice the wait.
//!
//! Takes the names of objects whose act failed or succeeded, gives which of them to leave alone until when.

use std::collections::HashMap;

use chrono::{DateTime, Duration, Utc};

const FIRST_WAIT_SECONDS: i64 = 1;
const LONGEST_WAIT_SECONDS: i64 = 60;

/// Which objects are left alone for now because acting on them failed.
#[derive(Debug, Default)]
pub struct Backoff {
    failures: HashMap<String, Failure>,
}

#[derive(Debug)]
struct Failure {
    times: u32,
    not_before: DateTime<Utc>,
}

impl Backoff {
    /// Until when this object is to be left alone, if it is.
    pub fn held(&self, name: &str, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        self.failures.get(name).map(|failure| failure.not_before).filter(|not_before| *not_before > now)
    }

    /// Notes a failure and gives the instant of the next try.
    pub fn failed(&mut self, name: &str, now: DateTime<Utc>) -> DateTime<Utc> {
        let failure = self.failures.entry(name.to_owned()).or_insert(Failure { times: 0, not_before: now });
        let wait = (FIRST_WAIT_SECONDS << failure.times.min(6)).min(LONGEST_WAIT_SECONDS);
        failure.times += 1;
        failure.not_before = now + Duration::seconds(wait);
        failure.not_before
    }

    pub fn succeeded(&mut self, name: &str) {
        self.failures.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_a_minute_and_end_with_a_success() {
        let now: DateTime<Utc> = "2026-11-23T10:00:00Z".parse().unwrap();
        let mut backoff = Backoff::default();
        let waits: Vec<i64> = (0..9).map(|_| (backoff.failed("nightly", now) - now).num_seconds()).collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
        assert_eq!(backoff.held("nightly", now), Some(now + Duration::seconds(60)));
        assert_eq!(backoff.held("nightly", now + Duration::seconds(60)), None);
        assert_eq!(backoff.held("hourly", now), None);
        backoff.succeeded("nightly");
        assert_eq!(backoff.held("nightly", now), None);
    }
}
