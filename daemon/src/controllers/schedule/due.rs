//! The newest instant of a cron expression in a stretch of time, without counting through all of them.

use chrono::{DateTime, Duration, Utc};
use holdfast_policy::cron;

/// How far back to look first, and then ever further.
const FIRST_LOOK: Duration = Duration::minutes(2);

/// The newest instant after `base` and not after `now`.
///
/// A daemon that was away for a month must not step through 43,200 minutes for each of a thousand schedules: instants of
/// the clock don't depend on where one starts, so it looks back from `now` in stretches that double. `@every` counts from
/// `base`, so there the whole periods are divided out.
pub(super) fn latest_due(
    schedule: &cron::Schedule,
    base: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Option<DateTime<Utc>> {
    let first = schedule.next_after(base).filter(|first| *first <= now)?;
    if schedule.text().starts_with("@every") {
        let period = (first - base).num_seconds().max(1);
        return Some(first + Duration::seconds((now - first).num_seconds() / period * period));
    }
    let mut look = FIRST_LOOK;
    let mut newest = loop {
        let from = now - look;
        if from <= first {
            break first;
        }
        match schedule.next_after(from).filter(|instant| *instant <= now) {
            Some(instant) => break instant,
            None => look = look * 2,
        }
    };
    while let Some(instant) = schedule.next_after(newest).filter(|instant| *instant <= now) {
        newest = instant;
    }
    Some(newest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    fn latest(expression: &str, base: &str, now: &str) -> Option<DateTime<Utc>> {
        latest_due(&cron::Schedule::parse(expression, None).unwrap(), at(base), at(now))
    }

    #[test]
    fn the_newest_instant_is_found_however_long_ago_the_base_is() {
        let cases = [
            ("* * * * *", "2026-11-23T10:00:00Z", "2026-11-23T10:00:59Z", None),
            ("* * * * *", "2026-11-23T10:00:00Z", "2026-11-23T10:01:00Z", Some("2026-11-23T10:01:00Z")),
            ("* * * * *", "2026-01-01T00:00:00Z", "2026-11-23T10:01:30Z", Some("2026-11-23T10:01:00Z")),
            ("0 1 * * *", "2026-11-01T01:00:00Z", "2026-11-23T00:59:59Z", Some("2026-11-22T01:00:00Z")),
            ("0 1 1 1 *", "2020-06-01T00:00:00Z", "2026-11-23T00:59:59Z", Some("2026-01-01T01:00:00Z")),
            ("* 3 * * *", "2026-11-01T00:00:00Z", "2026-11-23T20:00:00Z", Some("2026-11-23T03:59:00Z")),
            ("@every 7m", "2026-11-23T10:00:00Z", "2026-11-23T10:06:59Z", None),
            ("@every 7m", "2026-11-23T10:00:00Z", "2026-11-23T10:07:00Z", Some("2026-11-23T10:07:00Z")),
            ("@every 7m", "2026-11-23T10:00:00Z", "2026-11-24T10:00:00Z", Some("2026-11-24T09:55:00Z")),
        ];
        for (expression, base, now, expected) in cases {
            assert_eq!(latest(expression, base, now), expected.map(at), "{expression} {base} {now}");
        }
    }
}
