//! The runs of the next days, day by day and schedule by schedule.
//!
//! Takes schedules and `now`, gives for each day in UTC which schedules run, when first, and how often. A schedule that
//! runs every minute is not counted to the end.

use std::sync::Arc;

use chrono::{DateTime, Days, NaiveDate, Utc};
use holdfast_policy::velero;
use serde::Serialize;

use super::schedules::{State, objective, state};

/// How many runs of one schedule are walked through: a week's, at two an hour.
const RUNS: usize = 400;

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Day {
    pub date: NaiveDate,
    /// Those that run, the earliest first.
    pub schedules: Vec<DaysRuns>,
}

/// What a schedule does on one day.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DaysRuns {
    pub schedule: String,
    pub first: DateTime<Utc>,
    pub count: usize,
    /// There are more than were counted.
    pub or_more: bool,
}

/// The days from today on. Of so many schedules that the walk would get long, those behind are left out, and their
/// number is told.
pub fn calendar(
    namespace: &str,
    schedules: &[Arc<velero::Schedule>],
    now: DateTime<Utc>,
    days: u64,
    at_most: usize,
) -> (Vec<Day>, usize) {
    let today = now.date_naive();
    let mut calendar: Vec<Day> = (0..days)
        .filter_map(|ahead| today.checked_add_days(Days::new(ahead)))
        .map(|date| Day { date, schedules: Vec::new() })
        .collect();
    let running: Vec<_> = schedules.iter().filter(|schedule| is_running(schedule)).collect();
    for schedule in running.iter().take(at_most) {
        enter(&mut calendar, namespace, schedule, now);
    }
    for day in &mut calendar {
        day.schedules.sort_by_key(|runs| runs.first);
    }
    (calendar, running.len().saturating_sub(at_most))
}

fn is_running(schedule: &velero::Schedule) -> bool {
    match state(schedule) {
        State::New | State::Enabled => true,
        State::Paused | State::FailedValidation => false,
    }
}

fn enter(calendar: &mut [Day], namespace: &str, schedule: &velero::Schedule, now: DateTime<Utc>) {
    let Some(objective) = objective(namespace, schedule) else { return };
    let name = schedule.metadata.name.as_deref().unwrap_or_default();
    let mut at = now;
    for walked in 1..=RUNS {
        let Some(next) = objective.next_run(at) else { return };
        let Some(day) = calendar.iter_mut().find(|day| day.date == next.date_naive()) else { return };
        match day.schedules.last_mut().filter(|runs| runs.schedule == name) {
            Some(runs) => runs.count += 1,
            None => day.schedules.push(DaysRuns {
                schedule: name.to_owned(),
                first: next,
                count: 1,
                or_more: false,
            }),
        }
        if walked == RUNS
            && let Some(runs) = day.schedules.last_mut()
        {
            runs.or_more = true;
        }
        at = next;
    }
}

#[cfg(test)]
mod tests {
    use pretty_assertions::assert_eq;
    use serde_json::json;

    use super::*;

    fn schedule(name: &str, cron: &str, paused: bool) -> Arc<velero::Schedule> {
        let value =
            json!({"metadata": {"name": name}, "spec": {"schedule": cron, "paused": paused, "template": {}}});
        Arc::new(serde_json::from_value(value).unwrap())
    }

    #[test]
    fn each_day_tells_first_runs_and_counts_and_what_is_too_much_is_cut() {
        let schedules = [
            schedule("hourly", "@hourly", false),
            schedule("minutely", "* * * * *", false),
            schedule("nightly", "0 1 * * *", false),
            schedule("paused", "0 1 * * *", true),
            schedule("wrong", "soon", false),
        ];
        let now = "2026-11-23T22:30:00Z".parse().unwrap();
        let (days, left_out) = calendar("velero", &schedules, now, 3, 3);
        assert_eq!(left_out, 1);
        let told: Vec<String> = days
            .iter()
            .flat_map(|day| {
                day.schedules.iter().map(|runs| {
                    let more = if runs.or_more { "+" } else { "" };
                    format!(
                        "{} {} {} {}{more}",
                        day.date,
                        runs.first.format("%H:%M"),
                        runs.schedule,
                        runs.count
                    )
                })
            })
            .collect();
        assert_eq!(
            told,
            [
                "2026-11-23 22:31 minutely 89",
                "2026-11-23 23:00 hourly 1",
                "2026-11-24 00:00 hourly 24",
                "2026-11-24 00:00 minutely 311+",
                "2026-11-24 01:00 nightly 1",
                "2026-11-25 00:00 hourly 24",
                "2026-11-25 01:00 nightly 1",
            ]
        );
    }
}
