//! What a person should look at, worst first.

use holdfast_policy::holdfast::policy_set::RecoveryPoint;
use holdfast_policy::velero::{BackupPhase, LocationPhase};
use serde::Serialize;

use super::policies::{Problem, Source};
use super::schedules::State;
use super::{Location, Overview, Schedule};

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Attention {
    /// An object, or a place in a file.
    pub about: String,
    pub what: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
}

/// Nothing where all is well.
pub fn attention(overview: &Overview) -> Vec<Attention> {
    let locations = overview.locations.iter().filter_map(of_location);
    let missed = overview.schedules.iter().flat_map(of_schedule);
    let sources = overview.sources.iter().flat_map(of_source);
    let failures = overview.deletions.failures.iter();
    let deletions = failures.map(|failure| {
        attend(format!("backup/{}", failure.backup), format!("could not be deleted: {}", failure.error))
    });
    locations.chain(missed).chain(sources).chain(deletions).collect()
}

fn attend(about: String, what: String) -> Attention {
    Attention { about, what, help: None }
}

fn of_location(location: &Location) -> Option<Attention> {
    let why = match location.phase {
        Some(LocationPhase::Available) => return None,
        Some(LocationPhase::Unavailable) => location.message.as_deref().unwrap_or("no reason is given"),
        None => "it was not looked at yet",
    };
    Some(attend(format!("location/{}", location.name), format!("can't be reached: {why}")))
}

fn of_schedule(schedule: &Schedule) -> Vec<Attention> {
    let about = || format!("schedule/{}", schedule.name);
    let mut all = Vec::new();
    match schedule.recovery_point {
        RecoveryPoint::Missed => {
            let newest = match (&schedule.last_good_backup, schedule.last_good_time) {
                (Some(name), Some(time)) => {
                    format!("the newest good one is {name} of {}", time.format("%F %H:%M UTC"))
                }
                _ => "there is no good one".to_owned(),
            };
            all.push(attend(about(), format!("no backup as new as its policy promises: {newest}")));
        }
        RecoveryPoint::Met | RecoveryPoint::Suspended | RecoveryPoint::Unknown => (),
    }
    let unwell = [BackupPhase::Failed, BackupPhase::PartiallyFailed, BackupPhase::FailedValidation];
    if let Some(phase) = schedule.last_phase.filter(|phase| unwell.contains(phase)) {
        all.push(attend(about(), format!("its newest backup is {phase}")));
    }
    match schedule.state {
        State::FailedValidation => {
            all.push(attend(about(), format!("is refused: {}", schedule.validation_errors.join("; "))));
        }
        State::New | State::Enabled | State::Paused => (),
    }
    all
}

fn of_source(source: &Source) -> Vec<Attention> {
    let told = |problem: &Problem| Attention {
        about: problem.about.clone(),
        what: problem.what.clone(),
        help: problem.help.clone(),
    };
    let mut all: Vec<Attention> = source
        .problems
        .iter()
        .chain(&source.notices)
        .chain(&source.waiting)
        .filter(|problem| problem.is_urgent)
        .map(told)
        .collect();
    for (what, count, shown) in [
        ("problems", source.problem_count, source.problems.len()),
        ("notices", source.notice_count, source.notices.len()),
    ] {
        let more = usize::try_from(count).unwrap_or_default().saturating_sub(shown);
        if more > 0 {
            all.push(attend(format!("policyset/{}", source.name), format!("{more} more {what}")));
        }
    }
    // Its problems say it better.
    if source.ready != "True" && all.is_empty() {
        let what = format!("is not ready: {}", source.message);
        all.push(attend(format!("policyset/{}", source.name), what));
    }
    all
}
