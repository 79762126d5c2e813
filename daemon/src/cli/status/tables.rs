//! The parts of an overview as tables. Pure.

use chrono::{DateTime, Utc};
use holdfast_policy::holdfast::policy_set::RecoveryPoint;
use holdfast_policy::velero::LocationPhase;

use crate::cli::get::tones;
use crate::cli::table::{Cell, Table, Tone, ago, ahead};
use crate::overview::{Location, Run, Schedule, Source, State};

pub(in crate::cli) fn of_sources(sources: &[Source]) -> Table {
    let mut table = Table::new(&["POLICIES", "READY", "REASON", "OBJECTS", "PROBLEMS", "MISSED", "REVISION"]);
    for source in sources {
        let tone = if source.ready == "True" { Tone::Good } else { Tone::Bad };
        let worry =
            |count: i64| Cell::toned(count.to_string(), if count > 0 { Tone::Bad } else { Tone::Plain });
        let revision = source.git_revision.as_ref().or(source.revision.as_ref());
        table.row([
            source.name.as_str().into(),
            Cell::toned(&source.ready, tone),
            source.reason.as_str().into(),
            source.objects.to_string().into(),
            worry(source.problem_count),
            worry(source.missed_count),
            revision.map_or("-", |revision| short(revision)).into(),
        ]);
    }
    table
}

/// Enough of a hash to find it by.
fn short(revision: &str) -> &str {
    let hash = revision.strip_prefix("sha256:").unwrap_or(revision);
    hash.get(..12).unwrap_or(hash)
}

pub(in crate::cli) fn of_locations(locations: &[Location], now: DateTime<Utc>) -> Table {
    let mut table = Table::new(&["LOCATION", "PHASE", "ACCESS", "BUCKET", "VALIDATED", "BACKUPS"]);
    for location in locations {
        let (phase, tone) = match location.phase {
            Some(phase @ LocationPhase::Available) => (phase.as_str(), Tone::Good),
            Some(phase @ LocationPhase::Unavailable) => (phase.as_str(), Tone::Bad),
            None => ("-", Tone::Doubtful),
        };
        let default = if location.is_default { " (default)" } else { "" };
        table.row([
            format!("{}{default}", location.name).into(),
            Cell::toned(phase, tone),
            location.access_mode.as_str().into(),
            format!("{}: {}", location.provider, location.bucket).into(),
            ago(location.last_validated, now).into(),
            location.backups.to_string().into(),
        ]);
    }
    table
}

pub(in crate::cli) fn of_schedules(schedules: &[Schedule], now: DateTime<Utc>) -> Table {
    let mut table = Table::new(&[
        "SCHEDULE",
        "POLICY",
        "STATE",
        "CRON",
        "LAST",
        "LAST GOOD",
        "NEXT RUN",
        "RECOVERY POINT",
    ]);
    for schedule in schedules {
        let (state, tone) = match schedule.state {
            State::New => ("New", Tone::Plain),
            State::Enabled => ("Enabled", Tone::Good),
            State::Paused => ("Paused", Tone::Doubtful),
            State::FailedValidation => ("FailedValidation", Tone::Bad),
        };
        let (point, point_tone) = match schedule.recovery_point {
            RecoveryPoint::Met => ("Met", Tone::Good),
            RecoveryPoint::Missed => ("Missed", Tone::Bad),
            RecoveryPoint::Suspended => ("Suspended", Tone::Doubtful),
            RecoveryPoint::Unknown => ("Unknown", Tone::Plain),
        };
        let last = match schedule.last_phase {
            Some(phase) => Cell::toned(phase.as_str(), tones::of_backup(phase)),
            None => "-".into(),
        };
        table.row([
            schedule.name.as_str().into(),
            schedule.policy.as_deref().unwrap_or("-").into(),
            Cell::toned(state, tone),
            schedule.cron.as_str().into(),
            last,
            match schedule.last_good_time {
                None => "never".into(),
                time => format!("{} ago", ago(time, now)).into(),
            },
            match schedule.next_run {
                None => "-".into(),
                time => format!("in {}", ahead(time, now)).into(),
            },
            Cell::toned(point, point_tone),
        ]);
    }
    table
}

pub(super) fn of_running(running: &[Run], now: DateTime<Utc>) -> Table {
    let mut table = Table::new(&["UNFINISHED", "PHASE", "ITEMS", "SINCE"]);
    for run in running {
        table.row([
            format!("{}/{}", run.kind.word(), run.name).into(),
            run.phase.as_str().into(),
            format!("{}/{}", run.items_done, run.items).into(),
            ago(run.started, now).into(),
        ]);
    }
    table
}
