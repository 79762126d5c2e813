//! How old the newest good backup of a schedule may be, as its policy promises it.
//!
//! In: when and how a schedule runs, and when its newest good backup was started. Out: until when that backup is new
//! enough. A run is owed once it is due: it may start late by `startingDeadline` and take `maxRuntime`, and has until
//! the next run is due where the policy sets no `maxRuntime`. The newest good backup is new enough while no run that was
//! due after it has used up its time.

use chrono::{DateTime, TimeDelta, Utc};

use crate::cron;
use crate::duration::GoDuration;

/// What a schedule promises.
#[derive(Clone, Debug)]
pub struct Objective {
    pub cron: cron::Schedule,
    /// By how much every run is late.
    pub jitter: GoDuration,
    pub starting_deadline: Option<GoDuration>,
    pub max_runtime: Option<GoDuration>,
}

impl Objective {
    /// When the next run after an instant is due, jitter included.
    pub fn next_run(&self, after: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let late = self.jitter.to_chrono();
        let run = self.cron.next_after(after.checked_sub_signed(late)?)?;
        run.checked_add_signed(late)
    }

    /// Until when nothing newer than a backup that was started at `start` is owed; for ever where no run follows.
    pub fn kept_until(&self, start: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let owed = self.next_run(start)?;
        match self.max_runtime {
            Some(runtime) => {
                let deadline = self.starting_deadline.map_or(TimeDelta::zero(), |time| time.to_chrono());
                owed.checked_add_signed(deadline)?.checked_add_signed(runtime.to_chrono())
            }
            None => self.next_run(owed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    fn hours(hours: i64) -> Option<GoDuration> {
        Some(GoDuration::from_secs(hours * 3600))
    }

    fn nightly() -> Objective {
        Objective {
            cron: cron::Schedule::parse("0 1 * * *", Some(chrono_tz::Europe::Berlin)).unwrap(),
            jitter: GoDuration::from_secs(120),
            starting_deadline: None,
            max_runtime: None,
        }
    }

    #[test]
    fn runs_are_due_in_their_zone_and_late_by_the_jitter() {
        assert_eq!(nightly().next_run(at("2026-11-23T12:00:00Z")), Some(at("2026-11-24T00:02:00Z")));
        assert_eq!(nightly().next_run(at("2026-11-24T00:01:00Z")), Some(at("2026-11-24T00:02:00Z")));
        assert_eq!(nightly().next_run(at("2026-11-24T00:02:00Z")), Some(at("2026-11-25T00:02:00Z")));
    }

    #[test]
    fn a_run_has_until_the_next_one_unless_the_policy_bounds_it() {
        let started = at("2026-11-23T00:02:01Z");
        assert_eq!(nightly().kept_until(started), Some(at("2026-11-25T00:02:00Z")));
        let bounded = Objective { max_runtime: hours(2), ..nightly() };
        assert_eq!(bounded.kept_until(started), Some(at("2026-11-24T02:02:00Z")));
        let late = Objective { starting_deadline: hours(1), ..bounded };
        assert_eq!(late.kept_until(started), Some(at("2026-11-24T03:02:00Z")));
        // How long a run takes is open, so that the deadline of its start says nothing.
        let open = Objective { starting_deadline: hours(1), ..nightly() };
        assert_eq!(open.kept_until(started), Some(at("2026-11-25T00:02:00Z")));
    }
}
