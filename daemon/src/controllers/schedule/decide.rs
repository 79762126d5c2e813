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
    /// Backups of this schedule exist already: the newest counts as its last run.
    AdoptLast {
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
    let Some(base) = last_run(observed) else {
        return first(observed, cron, settings, now);
    };
    let base = if base > now + CLOCK_WAS_WRONG { now } else { base };
    let offset = jitter_offset(schedule, settings);
    match latest_due(cron, base - offset, now - offset) {
        Some(due) => due_now(observed, due + offset, settings, now),
        None => match cron.next_after(base - offset) {
            Some(instant) => Next::Sleep { until: instant + offset },
            None => Next::NeverAgain,
        },
    }
}

/// The instant after which the next run is looked for, once there has been a first.
fn last_run(observed: &Observed) -> Option<DateTime<Utc>> {
    let status = &observed.schedule.status;
    let noted = [&status.last_backup, &status.last_skipped].into_iter().flatten().map(to_chrono);
    // A run that was made but not noted because the daemon ended in between.
    let made = observed.backups.iter().filter_map(|run| run.scheduled_at);
    noted.chain(made).max()
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
mod tests {
    use pretty_assertions::assert_eq;
    use serde_json::{Value, json};

    use super::*;
    use holdfast_policy::annotations as settings;

    const CREATED: &str = "2026-11-23T10:00:00Z";

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    /// A schedule that runs every hour, was created at ten and has `changes` set by JSON pointer.
    fn hourly(changes: Value) -> Observed {
        let mut schedule = json!({
            "metadata": {
                "name": "shop", "namespace": "velero", "uid": "u", "creationTimestamp": CREATED,
                "annotations": {},
            },
            "spec": {"schedule": "0 * * * *", "template": {}},
            "status": {},
        });
        for (path, value) in changes.as_object().unwrap() {
            let (parent, key) = path.rsplit_once('/').unwrap();
            schedule.pointer_mut(parent).unwrap()[key.replace("~", "/")] = value.clone();
        }
        Observed {
            schedule: Arc::new(serde_json::from_value(schedule).unwrap()),
            backups: vec![],
            bucket: Bucket::Looked { newest: None },
            first_run: FirstRun::AtOnce,
            pause: Pause::NotSeen,
        }
    }

    fn annotated(key: &str, value: &str, last_backup: &str) -> Observed {
        let path = format!("/metadata/annotations/{}", key.replace('/', "~"));
        hourly(json!({path: value, "/status/lastBackup": last_backup}))
    }

    fn unfinished(name: &str, created: &str) -> Run {
        Run {
            name: name.to_owned(),
            created: at(created),
            scheduled_at: None,
            progress: Progress::Unfinished,
        }
    }

    fn next_at(observed: &Observed, now: &str) -> Next {
        let decision = decide(observed, at(now));
        assert_eq!(decision.validation, Validation::Enabled);
        decision.next
    }

    fn on_time(due: &str) -> Next {
        Next::Create { cause: Cause::OnTime { due: at(due) } }
    }

    fn late(due: &str) -> Next {
        Next::Create { cause: Cause::Late { due: at(due) } }
    }

    fn sleep(until: &str) -> Next {
        Next::Sleep { until: at(until) }
    }

    fn skip(reason: Skipped) -> Next {
        Next::Skip { reason }
    }

    #[test]
    fn the_first_backup_is_made_when_the_schedule_appears() {
        assert_eq!(next_at(&hourly(json!({})), "2026-11-23T10:00:01Z"), Next::Create { cause: Cause::First });
    }

    #[test]
    fn the_first_backup_is_skipped_where_the_schedule_or_the_server_says_so() {
        let now = "2026-11-23T10:00:01Z";
        let skipping = hourly(json!({"/spec/skipImmediately": true}));
        assert_eq!(next_at(&skipping, now), skip(Skipped::First));
        let by_server = Observed { first_run: FirstRun::Skip, ..hourly(json!({})) };
        assert_eq!(next_at(&by_server, now), skip(Skipped::First));
        let own_word =
            Observed { first_run: FirstRun::Skip, ..hourly(json!({"/spec/skipImmediately": false})) };
        assert_eq!(next_at(&own_word, now), Next::Create { cause: Cause::First });
        let skipped =
            hourly(json!({"/spec/skipImmediately": true, "/status/lastSkipped": "2026-11-23T10:00:01Z"}));
        assert_eq!(next_at(&skipped, "2026-11-23T10:00:02Z"), sleep("2026-11-23T11:00:00Z"));
        assert_eq!(next_at(&skipped, "2026-11-23T11:00:00Z"), on_time("2026-11-23T11:00:00Z"));
    }

    #[test]
    fn no_first_backup_is_made_where_there_are_backups_of_that_schedule() {
        let now = "2026-11-23T10:00:01Z";
        let not_looked = Observed { bucket: Bucket::NotLooked, ..hourly(json!({})) };
        assert_eq!(next_at(&not_looked, now), Next::LookIntoBucket);
        let newest = at("2026-11-20T03:00:00Z");
        let in_bucket = Observed { bucket: Bucket::Looked { newest: Some(newest) }, ..hourly(json!({})) };
        assert_eq!(next_at(&in_bucket, now), Next::AdoptLast { at: newest });
        let in_cluster = Observed {
            backups: vec![Run { progress: Progress::Finished, ..unfinished("b", "2026-11-21T03:00:00Z") }],
            ..hourly(json!({}))
        };
        assert_eq!(next_at(&in_cluster, now), Next::AdoptLast { at: at("2026-11-21T03:00:00Z") });
    }

    #[test]
    fn the_first_backup_waits_for_the_bucket_but_no_longer_than_to_the_next_instant() {
        let location = "default".to_owned();
        let waiting =
            Observed { bucket: Bucket::NotReadable { location: location.clone() }, ..hourly(json!({})) };
        assert_eq!(next_at(&waiting, "2026-11-23T10:59:59Z"), Next::AwaitLocation { location });
        assert_eq!(next_at(&waiting, "2026-11-23T11:00:00Z"), on_time("2026-11-23T11:00:00Z"));
    }

    #[test]
    fn later_backups_are_made_at_the_instants_of_the_expression() {
        let observed = hourly(json!({"/status/lastBackup": "2026-11-23T10:00:01Z"}));
        let cases = [
            ("2026-11-23T10:00:02Z", sleep("2026-11-23T11:00:00Z")),
            ("2026-11-23T10:59:59Z", sleep("2026-11-23T11:00:00Z")),
            ("2026-11-23T11:00:00Z", on_time("2026-11-23T11:00:00Z")),
            ("2026-11-23T11:01:00Z", on_time("2026-11-23T11:00:00Z")),
            ("2026-11-23T11:01:01Z", late("2026-11-23T11:00:00Z")),
            ("2026-11-30T15:20:00Z", late("2026-11-30T15:00:00Z")),
        ];
        for (now, expected) in cases {
            assert_eq!(next_at(&observed, now), expected, "{now}");
        }
    }

    #[test]
    fn a_run_on_time_is_named_by_its_instant_and_others_by_their_creation() {
        let now = at("2026-11-23T11:20:00Z");
        let due = at("2026-11-23T11:00:00Z");
        assert_eq!(Cause::OnTime { due }.instant(now), due);
        assert_eq!(Cause::Late { due }.instant(now), now);
        assert_eq!(Cause::First.instant(now), now);
    }

    #[test]
    fn a_run_that_was_made_but_not_noted_is_not_made_again() {
        let made = Run {
            scheduled_at: Some(at("2026-11-23T11:00:00Z")),
            progress: Progress::Finished,
            ..unfinished("shop-20261123110000", "2026-11-23T11:00:00Z")
        };
        let observed =
            Observed { backups: vec![made], ..hourly(json!({"/status/lastBackup": "2026-11-23T10:00:01Z"})) };
        assert_eq!(next_at(&observed, "2026-11-23T11:00:03Z"), sleep("2026-11-23T12:00:00Z"));
    }

    #[test]
    fn missed_runs_are_made_up_once_or_not_at_all() {
        let last = "2026-11-23T10:00:01Z";
        let now = "2026-11-23T14:30:00Z";
        let due = at("2026-11-23T14:00:00Z");
        let none = annotated(settings::CATCH_UP, "None", last);
        assert_eq!(next_at(&annotated(settings::CATCH_UP, "Last", last), now), late("2026-11-23T14:00:00Z"));
        assert_eq!(next_at(&none, now), skip(Skipped::Missed { due }));
        assert_eq!(next_at(&none, "2026-11-23T14:01:00Z"), on_time("2026-11-23T14:00:00Z"));
    }

    #[test]
    fn a_starting_deadline_wins_over_catching_up() {
        let due = at("2026-11-23T14:00:00Z");
        let deadline = |catch_up: &str| {
            hourly(json!({
                "/metadata/annotations": {
                    settings::STARTING_DEADLINE: "20m", settings::CATCH_UP: catch_up,
                },
                "/status/lastBackup": "2026-11-23T10:00:01Z",
            }))
        };
        for catch_up in ["Last", "None"] {
            assert_eq!(next_at(&deadline(catch_up), "2026-11-23T14:20:00Z"), late("2026-11-23T14:00:00Z"));
            assert_eq!(next_at(&deadline(catch_up), "2026-11-23T14:20:01Z"), skip(Skipped::TooLate { due }));
        }
    }

    #[test]
    fn an_unfinished_run_holds_up_the_next_or_cancels_it() {
        let last = "2026-11-23T10:00:01Z";
        let with_run = |observed| Observed { backups: vec![unfinished("b", last)], ..observed };
        let now = "2026-11-23T11:00:10Z";
        let by = "b".to_owned();
        let queue = with_run(annotated(settings::CONCURRENCY_POLICY, "Queue", last));
        assert_eq!(next_at(&queue, now), Next::Blocked { by: by.clone(), until: None });
        let plain = with_run(hourly(json!({"/status/lastBackup": last})));
        assert_eq!(next_at(&plain, now), Next::Blocked { by: by.clone(), until: None });
        let forbid = with_run(annotated(settings::CONCURRENCY_POLICY, "Forbid", last));
        let due = at("2026-11-23T11:00:00Z");
        assert_eq!(next_at(&forbid, now), skip(Skipped::Overlap { due, by }));
        assert_eq!(next_at(&forbid, "2026-11-23T10:30:00Z"), sleep("2026-11-23T11:00:00Z"));
    }

    #[test]
    fn a_run_that_takes_too_long_no_longer_holds_up_the_next() {
        let last = "2026-11-23T10:00:00Z";
        let observed = Observed {
            backups: vec![unfinished("b", last)],
            ..annotated(settings::MAX_RUNTIME, "90m", last)
        };
        let until = Some(at("2026-11-23T11:30:00Z"));
        assert_eq!(next_at(&observed, "2026-11-23T11:29:59Z"), Next::Blocked { by: "b".to_owned(), until });
        assert_eq!(next_at(&observed, "2026-11-23T11:30:00Z"), late("2026-11-23T11:00:00Z"));
    }

    #[test]
    fn a_paused_schedule_is_validated_and_makes_nothing() {
        let paused = hourly(json!({"/spec/paused": true}));
        assert_eq!(next_at(&paused, "2026-11-23T15:00:00Z"), Next::Paused);
        let wrong = decide(
            &hourly(json!({"/spec/paused": true, "/spec/schedule": "61 * * * *"})),
            at("2026-11-23T15:00:00Z"),
        );
        assert_eq!(wrong.next, Next::Invalid);
    }

    #[test]
    fn what_was_missed_in_a_pause_is_made_up_unless_it_is_to_be_skipped() {
        let last = "2026-11-23T10:00:01Z";
        let now = "2026-11-23T14:30:00Z";
        let due = at("2026-11-23T14:00:00Z");
        let plain = Observed { pause: Pause::JustEnded, ..hourly(json!({"/status/lastBackup": last})) };
        assert_eq!(next_at(&plain, now), late("2026-11-23T14:00:00Z"));
        let skipping = Observed {
            pause: Pause::JustEnded,
            ..hourly(json!({"/status/lastBackup": last, "/spec/skipImmediately": true}))
        };
        assert_eq!(next_at(&skipping, now), skip(Skipped::WhilePaused { due }));
        let earlier = Observed { pause: Pause::NotSeen, ..skipping };
        assert_eq!(next_at(&earlier, now), late("2026-11-23T14:00:00Z"));
    }

    #[test]
    fn jitter_moves_all_runs_of_a_schedule_by_the_same_time() {
        let observed = annotated(settings::JITTER, "30m", "2026-11-23T10:00:01Z");
        let offset = jitter_offset(
            &observed.schedule,
            Settings::read(&observed.schedule.metadata.annotations.clone().unwrap()).unwrap(),
        );
        assert!(offset > Duration::zero() && offset < Duration::minutes(30), "{offset}");
        for hour in [10, 11, 12] {
            let last = at("2026-11-23T00:00:00Z") + Duration::hours(hour) + offset;
            let mut observed = observed.clone();
            Arc::make_mut(&mut observed.schedule).status.last_backup =
                Some(holdfast_policy::time::from_chrono(last));
            let due = last + Duration::hours(1);
            assert_eq!(decide(&observed, last + Duration::seconds(1)).next, Next::Sleep { until: due });
            assert_eq!(decide(&observed, due).next, Next::Create { cause: Cause::OnTime { due } });
        }
    }

    #[test]
    fn a_clock_that_was_far_ahead_does_not_stop_the_schedule() {
        let observed = hourly(json!({"/status/lastBackup": "2031-01-01T00:00:00Z"}));
        assert_eq!(next_at(&observed, "2026-11-23T10:30:00Z"), sleep("2026-11-23T11:00:00Z"));
        let slightly = hourly(json!({"/status/lastBackup": "2026-11-23T11:00:00Z"}));
        assert_eq!(next_at(&slightly, "2026-11-23T10:59:50Z"), sleep("2026-11-23T12:00:00Z"));
    }

    #[test]
    fn everything_wrong_with_a_schedule_is_told() {
        let changes = json!({"/spec/schedule": "", "/metadata/annotations": {settings::JITTER: "soon"}});
        let decision = decide(&hourly(changes), at("2026-11-23T10:30:00Z"));
        let Validation::Failed { errors } = decision.validation else { panic!("{decision:?}") };
        assert_eq!(errors[0], "Schedule must be a non-empty valid Cron expression");
        assert!(errors[1].contains(settings::JITTER), "{errors:?}");
        let never = decide(&hourly(json!({"/spec/schedule": "0 0 31 2 *"})), at("2026-11-23T10:30:00Z"));
        let Validation::Failed { errors } = never.validation else { panic!("{never:?}") };
        assert!(errors[0].starts_with("invalid schedule: "), "{errors:?}");
    }
}
