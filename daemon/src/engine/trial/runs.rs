//! When schedules run, beside what a test expects.

use chrono::{DateTime, SecondsFormat, Utc};
use holdfast_policy::compile::Target;
use holdfast_policy::model::policy_test::RunsCase;
use holdfast_policy::next::{NextRuns, next_runs};
use holdfast_policy::parse::Path;
use holdfast_policy::policy_test::Remark;
use holdfast_policy::validate::ValidPolicySet;

use super::Outcome;

pub(super) fn carry_out(cases: &[RunsCase], set: &ValidPolicySet, target: &Target, outcome: &mut Outcome) {
    for (index, case) in cases.iter().enumerate() {
        let path = Path::spec().key("runs").index(index);
        let RunsCase { schedule, after, due, backups } = case;
        let due = due.as_deref();
        let backups = backups.as_deref().unwrap_or_default();
        let count = due.unwrap_or_default().len().max(backups.len());
        // An empty list is an expectation as well.
        outcome.expectations += (due.unwrap_or_default().len() + backups.len()).max(1);
        let all = next_runs(set, target, *after, count.max(1));
        let Some(found) = all.into_iter().find(|runs| runs.schedule == *schedule) else { continue };
        let NextRuns { schedule, policy: _, cron: _, zone, jitter: _, suspended, runs } = found;
        if suspended {
            if count > 0 {
                let message = format!("{schedule} is suspended: it makes no runs");
                outcome.remarks.push(Remark::unmet(path.key("schedule"), message));
            }
            continue;
        }
        if count == 0 {
            let next = runs.first().map(|run| utc(run.due)).unwrap_or_default();
            let message =
                format!("{schedule} should make no runs: it is not suspended, and the next is due at {next}");
            outcome.remarks.push(Remark::unmet(path.key("due"), message));
            continue;
        }
        for (index, expected) in due.unwrap_or_default().iter().enumerate() {
            let message = match runs.get(index) {
                Some(run) if run.due == *expected => continue,
                Some(run) => format!(
                    "run {} of {schedule} should be due at {}: it is due at {}, which is {}",
                    index + 1,
                    utc(*expected),
                    utc(run.due),
                    run.due.with_timezone(&zone).format("%a %H:%M:%S %Z"),
                ),
                None => format!("{schedule} makes {} runs only", runs.len()),
            };
            outcome.remarks.push(Remark::unmet(path.key("due").index(index), message));
        }
        for (index, expected) in backups.iter().enumerate() {
            let message = match runs.get(index) {
                Some(run) if run.backup == *expected => continue,
                Some(run) => {
                    format!("backup {} should be called {expected}: it is called {}", index + 1, run.backup)
                }
                None => format!("{schedule} makes {} runs only", runs.len()),
            };
            outcome.remarks.push(Remark::unmet(path.key("backups").index(index), message));
        }
    }
}

fn utc(instant: DateTime<Utc>) -> String {
    instant.to_rfc3339_opts(SecondsFormat::Secs, true)
}
