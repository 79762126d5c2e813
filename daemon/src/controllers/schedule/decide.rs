//! Whether a Schedule's next backup is to be made now, later or not at all.
//!
//! A pure function of what was observed and of `now`. Making the backup and writing the status is left to `act`.

use std::sync::Arc;

use chrono::{DateTime, Duration, Utc};
use holdfast_policy::annotations;
use holdfast_policy::cron;
use holdfast_policy::duration::GoDuration;
use holdfast_policy::model::{CatchUp, ConcurrencyPolicy};
use holdfast_policy::time::to_chrono;
use holdfast_policy::velero;

use super::due::latest_due;
use super::settings::Settings;

/// Up to this much after its instant a run is on time: it keeps that instant's name, and `catchUp: None` lets it start.
const ON_TIME: Duration = Duration::seconds(60);

/// A last run further in the future than this was noted by a clock that has been put right since.
const CLOCK_WAS_WRONG: Duration = Duration::hours(1);

/// What the server does with the first backup of a schedule that doesn't say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FirstRun {
    AtOnce,
    Skip,
}

/// One Schedule and what it depends on.
#[derive(Clone, Debug)]
pub struct Observed {
    pub schedule: Arc<velero::Schedule>,
    /// Its backups in the cluster.
    pub backups: Vec<Run>,
    pub bucket: Bucket,
    pub first_run: FirstRun,
    pub pause: Pause,
}

/// A backup of the schedule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    pub name: String,
    pub created: DateTime<Utc>,
    pub scheduled_at: Option<DateTime<Utc>>,
    pub progress: Progress,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    Unfinished,
    Finished,
}

/// What is known of the schedule's backups in the bucket, which may be older than the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Bucket {
    /// Nobody has looked, because nobody needed to so far.
    NotLooked,
    /// The location can't be read, or not yet.
    NotReadable {
        location: String,
    },
    Looked {
        newest: Option<DateTime<Utc>>,
    },
}

/// Whether this process saw the schedule paused when it last looked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pause {
    NotSeen,
    JustEnded,
}

/// What the spec is found to be, as the status tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Validation {
    Enabled,
    Failed { errors: Vec<String> },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    pub validation: Validation,
    pub next: Next,
}

/// What comes next for a schedule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// The spec is wrong.
    Invalid,
    Paused,
    /// Whether the first backup is made depends on what the bucket holds.
    LookIntoBucket,
    /// The first backup waits until the bucket can be read.
    AwaitLocation {
        location: String,
    },
    /// Backups of this schedule exist that its status doesn't tell of: the newest counts as its last run.
    AdoptLast {
        at: DateTime<Utc>,
    },
    /// The status tells of a run in the future, from a clock that was wrong: the newest that can be believed takes its
    /// place.
    PutRight {
        at: DateTime<Utc>,
    },
    /// A run is left out, and the status remembers.
    Skip {
        reason: Skipped,
    },
    Create {
        cause: Cause,
    },
    /// A run is due and waits for an earlier one to finish.
    Blocked {
        by: String,
        until: Option<DateTime<Utc>>,
    },
    Sleep {
        until: DateTime<Utc>,
    },
    /// The expression has no instant left.
    NeverAgain,
}

/// Why a run is left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Skipped {
    /// The first one: `skipImmediately`.
    First,
    /// What was missed while the schedule was paused: `skipImmediately`.
    WhilePaused { due: DateTime<Utc> },
    /// `startingDeadline`.
    TooLate { due: DateTime<Utc> },
    /// `catchUp: None`.
    Missed { due: DateTime<Utc> },
    /// `concurrencyPolicy: Forbid`.
    Overlap { due: DateTime<Utc>, by: String },
}

/// Why a run is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The schedule is new.
    First,
    OnTime {
        due: DateTime<Utc>,
    },
    Late {
        due: DateTime<Utc>,
    },
}

impl Cause {
    /// The instant that the run's name carries.
    pub fn instant(self, now: DateTime<Utc>) -> DateTime<Utc> {
        match self {
            Cause::First | Cause::Late { due: _ } => now,
            Cause::OnTime { due } => due,
        }
    }

    /// The instant at which the run was due.
    pub fn due(self, now: DateTime<Utc>) -> DateTime<Utc> {
        match self {
            Cause::First => now,
            Cause::OnTime { due } | Cause::Late { due } => due,
        }
    }
}

pub fn decide(observed: &Observed, now: DateTime<Utc>) -> Decision {
    match validate(&observed.schedule) {
        Err(errors) => Decision { validation: Validation::Failed { errors }, next: Next::Invalid },
        Ok((cron, settings)) => {
            Decision { validation: Validation::Enabled, next: next(observed, &cron, settings, now) }
        }
    }
}

fn validate(schedule: &velero::Schedule) -> Result<(cron::Schedule, Settings), Vec<String>> {
    let settings = Settings::read(&schedule.metadata.annotations.clone().unwrap_or_default());
    let cron = if schedule.spec.schedule.trim().is_empty() {
        Err("Schedule must be a non-empty valid Cron expression".to_owned())
    } else {
        cron::Schedule::parse(&schedule.spec.schedule, None)
            .map_err(|error| format!("invalid schedule: {error}"))
    };
    match (cron, settings) {
        (Ok(cron), Ok(settings)) => Ok((cron, settings)),
        (cron, settings) => Err(cron.err().into_iter().chain(settings.err().into_iter().flatten()).collect()),
    }
}

fn next(observed: &Observed, cron: &cron::Schedule, settings: Settings, now: DateTime<Utc>) -> Next {
    let schedule = &observed.schedule;
    if schedule.spec.paused {
        return Next::Paused;
    }
    let base = match base(observed, now) {
        Base::None => return first(observed, cron, settings, now),
        Base::NotNoted { at } => return Next::AdoptLast { at },
        Base::InTheFuture { credible } => return Next::PutRight { at: credible },
        Base::At(at) => at,
    };
    let offset = jitter_offset(schedule, settings);
    match latest_due(cron, base - offset, now - offset) {
        Some(due) => due_now(observed, due + offset, settings, now),
        None => match cron.next_after(base - offset) {
            Some(instant) => Next::Sleep { until: instant + offset },
            None => Next::NeverAgain,
        },
    }
}

/// The instant after which the next run is looked for.
enum Base {
    /// There has been no run.
    None,
    /// A run was made and not noted, because the daemon ended in between.
    NotNoted {
        at: DateTime<Utc>,
    },
    /// What the status tells lies ahead; the last run that can be believed was then.
    InTheFuture {
        credible: DateTime<Utc>,
    },
    At(DateTime<Utc>),
}

fn base(observed: &Observed, now: DateTime<Utc>) -> Base {
    let credible = |instant: &DateTime<Utc>| *instant <= now + CLOCK_WAS_WRONG;
    let Observed { schedule, backups, bucket: _, first_run: _, pause: _ } = observed;
    let noted = [&schedule.status.last_backup, &schedule.status.last_skipped];
    let noted = noted.into_iter().flatten().map(to_chrono).max();
    let made = backups.iter().filter_map(|run| run.scheduled_at).filter(credible).max();
    match (noted, made) {
        (Some(noted), made) if !credible(&noted) => {
            let created = schedule.metadata.creation_timestamp.as_ref().map(to_chrono).filter(credible);
            Base::InTheFuture { credible: made.or(created).unwrap_or(now) }
        }
        (noted, Some(made)) if noted.is_none_or(|noted| noted < made) => Base::NotNoted { at: made },
        (Some(noted), _) => Base::At(noted),
        (None, _) => Base::None,
    }
}

fn first(observed: &Observed, cron: &cron::Schedule, settings: Settings, now: DateTime<Utc>) -> Next {
    if let Some(at) = observed.backups.iter().map(|run| run.created).max() {
        return Next::AdoptLast { at };
    }
    let skip = match observed.schedule.spec.skip_immediately {
        Some(skip) => skip,
        None => observed.first_run == FirstRun::Skip,
    };
    if skip {
        return Next::Skip { reason: Skipped::First };
    }
    match &observed.bucket {
        Bucket::NotLooked => Next::LookIntoBucket,
        Bucket::Looked { newest: Some(newest) } => Next::AdoptLast { at: *newest },
        Bucket::Looked { newest: None } => Next::Create { cause: Cause::First },
        // The wait is for the first run only: an instant of the expression that has come since makes a backup, which
        // then tells what is wrong with the location.
        Bucket::NotReadable { location } => {
            let created = observed.schedule.metadata.creation_timestamp.as_ref().map_or(now, to_chrono);
            let offset = jitter_offset(&observed.schedule, settings);
            match latest_due(cron, created - offset, now - offset) {
                Some(due) => due_now(observed, due + offset, settings, now),
                None => Next::AwaitLocation { location: location.clone() },
            }
        }
    }
}

fn due_now(observed: &Observed, due: DateTime<Utc>, settings: Settings, now: DateTime<Utc>) -> Next {
    let late_by = now - due;
    if observed.pause == Pause::JustEnded && observed.schedule.spec.skip_immediately == Some(true) {
        return Next::Skip { reason: Skipped::WhilePaused { due } };
    }
    match settings.starting_deadline.map(GoDuration::to_chrono) {
        Some(deadline) if late_by > deadline => return Next::Skip { reason: Skipped::TooLate { due } },
        Some(_) => (),
        None if settings.catch_up == CatchUp::None && late_by > ON_TIME => {
            return Next::Skip { reason: Skipped::Missed { due } };
        }
        None => (),
    }
    if let Some((run, until)) = blocking(observed, settings, now) {
        let by = run.name.clone();
        return match settings.concurrency_policy {
            ConcurrencyPolicy::Forbid => Next::Skip { reason: Skipped::Overlap { due, by } },
            ConcurrencyPolicy::Queue => Next::Blocked { by, until },
        };
    }
    let cause = if late_by <= ON_TIME { Cause::OnTime { due } } else { Cause::Late { due } };
    Next::Create { cause }
}

/// The unfinished run that holds up the next one longest, and when it stops doing so by its age.
fn blocking(
    observed: &Observed,
    settings: Settings,
    now: DateTime<Utc>,
) -> Option<(&Run, Option<DateTime<Utc>>)> {
    observed
        .backups
        .iter()
        .filter(|run| run.progress == Progress::Unfinished)
        .map(|run| (run, settings.max_runtime.map(|longest| run.created + longest.to_chrono())))
        .filter(|(_, until)| until.is_none_or(|until| until > now))
        .max_by_key(|(run, _)| (run.created, run.name.clone()))
}

fn jitter_offset(schedule: &velero::Schedule, settings: Settings) -> Duration {
    let Some(window) = settings.jitter else { return Duration::zero() };
    let namespace = schedule.metadata.namespace.as_deref().unwrap_or_default();
    let name = schedule.metadata.name.as_deref().unwrap_or_default();
    annotations::jitter_offset(namespace, name, window).to_chrono()
}

#[cfg(test)]
mod tests;
