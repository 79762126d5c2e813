//! The times of a schedule.

use chrono_tz::{TZ_VARIANTS, Tz};

use super::reach::short;
use crate::cron::{self, DayRule, Schedule};
use crate::duration::GoDuration;
use crate::model::ScheduleEntry;
use crate::parse::{Findings, Path, RawDocument};
use crate::problem::{Rule, suggest};

/// The schedule's times, where they can be read.
pub(super) fn times(
    entry: &ScheduleEntry,
    path: &Path,
    raw: &RawDocument,
    findings: &mut Findings<'_>,
) -> Option<Schedule> {
    let zone = match entry.time_zone.as_deref().map(|name| (name, cron::zone(name))) {
        None => Ok(None),
        Some((_, Ok(zone))) => Ok(Some(zone)),
        Some((name, Err(error))) => {
            let problem = findings.add(raw, &path.key("timeZone"), Rule::TimeZone, error.to_string());
            problem.help = suggest::nearest(name, TZ_VARIANTS.iter().map(|zone| zone.name()))
                .map(|nearest| format!("did you mean {nearest}?"));
            Err(())
        }
    };
    let at = path.key("cron");
    let schedule = match Schedule::parse(&entry.cron, zone.unwrap_or_default()) {
        Ok(schedule) => schedule,
        Err(error) => {
            let rule = match error {
                cron::Error::UnknownZone(_) => Rule::TimeZone,
                _ => Rule::Cron,
            };
            let help = cron_help(&error, &entry.cron);
            findings.add(raw, &at, rule, format!("cron {:?}: {error}", entry.cron)).help = help;
            return None;
        }
    };
    let zone: Option<Tz> = zone.ok()?;
    if schedule.names_zone() && zone.is_some() {
        let message = "the zone is given twice: in `cron` and in `timeZone`";
        findings.add(raw, &path.key("timeZone"), Rule::Exclusive, message).help =
            Some("remove it from `cron`".to_owned());
    }
    match schedule.day_rule() {
        DayRule::Plain => {}
        DayRule::Either => {
            let message = "day of month and day of week are both restricted: here and in Kubernetes either may \
                           match, Velero 1.18 demands both";
            findings.add(raw, &at, Rule::DayRule, message).help =
                Some("make two schedules of it to be independent of that".to_owned());
        }
    }
    if let Some(jitter) = entry.jitter {
        fits_period(jitter, &schedule, &path.key("jitter"), raw, findings);
    }
    Some(schedule)
}

fn cron_help(error: &cron::Error, expression: &str) -> Option<String> {
    match error {
        cron::Error::FieldCount { count: 6 | 7 } => {
            Some("there is no field for seconds or years here".to_owned())
        }
        cron::Error::UnknownDescriptor(descriptor) => suggest::nearest(
            descriptor,
            ["@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly", "@every"],
        )
        .map(|nearest| format!("did you mean {nearest}?")),
        cron::Error::Value { .. } if expression.contains(['L', 'W', '#', 'H']) => {
            Some("`L`, `W`, `#` and `H` of other crons are unknown here".to_owned())
        }
        cron::Error::Empty
        | cron::Error::TooLong
        | cron::Error::UnknownZone(_)
        | cron::Error::NothingAfterZone(_)
        | cron::Error::FieldCount { .. }
        | cron::Error::Every(_)
        | cron::Error::EveryTooShort
        | cron::Error::EmptyItem { .. }
        | cron::Error::Value { .. }
        | cron::Error::Range { .. }
        | cron::Error::Step { .. }
        | cron::Error::NeverFires => None,
    }
}

fn fits_period(
    jitter: GoDuration,
    schedule: &Schedule,
    path: &Path,
    raw: &RawDocument,
    findings: &mut Findings<'_>,
) {
    let shortest = schedule.gaps().shortest;
    if jitter.to_chrono() >= shortest {
        let minutes = shortest.num_minutes();
        let message = format!("jitter {} is not below the time between two runs, {minutes}m", short(jitter));
        findings.add(raw, path, Rule::RunTimes, message);
    }
}
