//! Writes the status of a source on its PolicySet: when it changed, and not too often.
//!
//! In: the state, what is known of runs, the time. Out: at most one write with the events of what is new in it, and when
//! to look again. What the status says is `status`'s matter, what is new `news`'s.

use chrono::{DateTime, TimeDelta, Utc};
use holdfast_policy::holdfast::policy_set::ScheduleHealth;
use holdfast_policy::holdfast::{PolicySet, PolicySetStatus};
use kube::Resource as _;
use tracing::warn;

use super::board::Board;
use super::health::{self, Promised};
use super::in_force::State;
use super::news;
use super::runs::Runs;
use super::status::{RECOVERY_POINTS_MET, status};
use crate::publish::events::{Events, News};
use crate::publish::report::Report;

/// What people wait for is told this often at most.
const BETWEEN_CHANGES: TimeDelta = TimeDelta::seconds(1);
/// Runs come and go all the time, and nobody waits for what they change here.
const BETWEEN_RUNS: TimeDelta = TimeDelta::seconds(10);
/// After a write that failed.
const RETRY: TimeDelta = TimeDelta::seconds(5);

/// More ConfigMaps of one source than this get no events of what is not theirs alone.
const CONFIG_MAPS_TOLD: usize = 10;

/// Who is told, and by what.
#[derive(Clone, Copy)]
pub struct Teller<'a> {
    pub board: Option<&'a Board>,
    pub runs: &'a Runs,
    pub events: &'a Events,
}

impl Teller<'_> {
    /// Gives the time at which to tell again, if nothing happens before.
    pub async fn tell(self, state: &mut State, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let Teller { board, runs, events: _ } = self;
        let board = board?;
        let health = runs.complete().then(|| all_health(state, runs, now));
        let expires = health.iter().flatten().filter_map(health::until).min();
        let known = match board.ensure(&state.name, &state.origin).await {
            Ok(known) => known,
            Err(error) => return Some(failed(state, &error, now)),
        };
        let before = known.status.clone().unwrap_or_default();
        let after = status(state, health, &before, known.metadata.generation, now);
        let again = match when(&before, &after, state.told, now) {
            When::Never => expires,
            When::At(at) => Some(at),
            When::Now => {
                if let Err(error) = board.write_status(&state.name, &after).await {
                    return Some(failed(state, &error, now));
                }
                state.told = Some(now);
                for news in news::news(&before, &after) {
                    self.send(state, Some(&known), &news).await;
                }
                expires
            }
        };
        again.map(|at| at.max(now + BETWEEN_CHANGES))
    }

    /// What was put back is in no status: it is over when it is told.
    pub async fn tell_of_drift(self, state: &State, report: &Report) {
        let known = self.board.and_then(|board| board.get(&state.name));
        for news in news::of_drift(report) {
            self.send(state, known.as_ref(), &news).await;
        }
    }

    async fn send(self, state: &State, known: Option<&PolicySet>, news: &News) {
        if let Some(known) = known {
            self.events.send(&known.object_ref(&()), news).await;
        }
        for map in news::concerned(&state.config_maps, state.trouble.as_ref(), CONFIG_MAPS_TOLD) {
            self.events.send(map, news).await;
        }
    }
}

fn failed(state: &State, error: &super::board::Error, now: DateTime<Utc>) -> DateTime<Utc> {
    warn!(source = %state.name, error = error as &dyn std::error::Error, "could not tell the state of a source");
    now + RETRY
}

fn all_health(state: &State, runs: &Runs, now: DateTime<Utc>) -> Vec<ScheduleHealth> {
    let promised = state.in_force.iter().flat_map(|in_force| &in_force.set.promised);
    let health = |promised: &Promised| {
        let name = &promised.name;
        health::health(promised, &runs.schedule(name), runs.newest_good(name), now)
    };
    promised.map(health).collect()
}

#[derive(Debug, PartialEq, Eq)]
enum When {
    /// Nothing is new.
    Never,
    Now,
    At(DateTime<Utc>),
}

fn when(
    before: &PolicySetStatus,
    after: &PolicySetStatus,
    told: Option<DateTime<Utc>>,
    now: DateTime<Utc>,
) -> When {
    if before == after {
        return When::Never;
    }
    let pause = match without_runs(before) == without_runs(after) {
        true => BETWEEN_RUNS,
        false => BETWEEN_CHANGES,
    };
    match told.map(|told| told + pause) {
        // A later one is from before the clock was put back.
        Some(at) if now < at && at <= now + pause => When::At(at),
        Some(_) | None => When::Now,
    }
}

fn without_runs(status: &PolicySetStatus) -> PolicySetStatus {
    let mut status = status.clone();
    status.schedules.clear();
    status.schedule_count = 0;
    status.missed_count = 0;
    status.conditions.retain(|condition| condition.type_ != RECOVERY_POINTS_MET);
    status
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_new_is_told_soon_and_what_runs_change_now_and_then() {
        let now: DateTime<Utc> = "2026-11-23T12:00:00Z".parse().unwrap();
        let ago = |milliseconds| Some(now - TimeDelta::milliseconds(milliseconds));
        let before = PolicySetStatus::default();
        let changed = PolicySetStatus { problem_count: 1, ..before.clone() };
        let ran = PolicySetStatus { schedules: vec![ScheduleHealth::default()], ..before.clone() };
        assert_eq!(when(&before, &before, None, now), When::Never);
        assert_eq!(when(&before, &changed, None, now), When::Now);
        assert_eq!(when(&before, &changed, ago(1000), now), When::Now);
        let in_half_a_second = now + TimeDelta::milliseconds(500);
        assert_eq!(when(&before, &changed, ago(500), now), When::At(in_half_a_second));
        assert_eq!(when(&before, &ran, ago(9500), now), When::At(in_half_a_second));
        assert_eq!(when(&before, &ran, ago(10_000), now), When::Now);
        assert_eq!(when(&before, &ran, Some(now + TimeDelta::hours(1)), now), When::Now, "a clock put back");
    }
}
