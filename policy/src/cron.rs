//! Cron expressions: five fields as cron(8) and Kubernetes' CronJob read them, descriptors, `@every`, time zones.
//!
//! In: an expression and the zone it is read in. Out: the next run after an instant, as an argument and never
//! from a clock. The `cron` crate enumerates local times; what the fields mean, that day of month and day of week
//! are alternatives, and what daylight saving does to a local time is decided here:
//! - minute and hour without `*`, `?` or a step: the run happens once on every day that matches. A time that a gap
//!   leaves out happens at the first instant after the gap, one that an overlap repeats happens the first time.
//! - otherwise, and with `@every`: runs follow elapsed time, so that what a gap leaves out doesn't happen, and what
//!   an overlap repeats happens twice.

mod civil;
mod field;
mod gaps;
mod zoned;

use chrono::{DateTime, LocalResult, TimeDelta, TimeZone, Timelike, Utc};
use chrono_tz::Tz;

use crate::duration::{self, GoDuration};
use civil::Civil;
pub use field::Field;
use field::Values;
pub use gaps::Gaps;

const LONGEST: usize = 1024;

/// An expression that is right and fires.
#[derive(Clone, Debug)]
pub struct Schedule {
    text: String,
    zone: Tz,
    zone_in_text: bool,
    timing: Timing,
    days: DayRule,
    gaps: Gaps,
}

#[derive(Clone, Debug)]
enum Timing {
    /// Local times that a day gives to exactly one instant.
    Fixed(Civil),
    /// Every instant whose local time matches.
    Elapsed(Civil),
    Every(TimeDelta),
}

/// Whether the expression means the same to every version of Velero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DayRule {
    /// At most one of day of month and day of week is restricted.
    Plain,
    /// Both are restricted: either may match here, where Velero 1.18 demands both.
    Either,
}

/// The fields of an expression.
struct Fields {
    minute: Values,
    hour: Values,
    day: Values,
    month: Values,
    weekday: Values,
    days: DayRule,
}

/// Why an expression is wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error("the expression is empty")]
    Empty,
    #[error("the expression has more than {LONGEST} characters")]
    TooLong,
    #[error("unknown time zone {0:?}: an IANA name such as Europe/Berlin is expected")]
    UnknownZone(String),
    #[error("{0} is followed by nothing")]
    NothingAfterZone(String),
    #[error("{count} field{} where five are expected: minute, hour, day of month, month, day of week", if *count == 1 { "" } else { "s" })]
    FieldCount { count: usize },
    #[error("unknown descriptor {0:?}: @yearly, @monthly, @weekly, @daily, @hourly and @every are known")]
    UnknownDescriptor(String),
    #[error("@every: {0}")]
    Every(duration::Error),
    #[error("@every: a second is the least")]
    EveryTooShort,
    #[error("{field}: an item of the list is empty")]
    EmptyItem { field: Field },
    #[error("{field}: {text:?} is not a value from {low} to {high}{}", field.names())]
    Value { field: Field, text: String, low: u8, high: u8 },
    #[error("{field}: {text:?} is not a range: only one `-` is possible")]
    Range { field: Field, text: String },
    #[error("{field}: {text:?} is not a step: a whole number above zero is expected")]
    Step { field: Field, text: String },
    #[error("it never fires: no month that it names has such a day")]
    NeverFires,
}

impl Schedule {
    /// Reads an expression. A zone inside it (`CRON_TZ=`, `TZ=`) wins over the one given; without either it is UTC.
    pub fn parse(expression: &str, zone: Option<Tz>) -> Result<Schedule, Error> {
        if expression.len() > LONGEST {
            return Err(Error::TooLong);
        }
        let (own_zone, text) = zone_prefix(expression.trim())?;
        let zone_in_text = own_zone.is_some();
        let zone = own_zone.or(zone).unwrap_or(Tz::UTC);
        let text = text.trim();
        if text.is_empty() {
            return Err(Error::Empty);
        }
        if let Some(rest) = text.strip_prefix("@every") {
            let delay = every(text, rest)?;
            let timing = Timing::Every(delay);
            let gaps = Gaps { shortest: delay, longest: delay, average: delay };
            return Ok(Schedule {
                text: text.to_owned(),
                zone,
                zone_in_text,
                timing,
                days: DayRule::Plain,
                gaps,
            });
        }
        let spelled = match text {
            "@yearly" | "@annually" => "0 0 1 1 *",
            "@monthly" => "0 0 1 * *",
            "@weekly" => "0 0 * * 0",
            "@daily" | "@midnight" => "0 0 * * *",
            "@hourly" => "0 * * * *",
            other if other.starts_with('@') => return Err(Error::UnknownDescriptor(other.to_owned())),
            fields => fields,
        };
        let fields: Vec<&str> = spelled.split_whitespace().collect();
        let [minute, hour, day, month, weekday] = fields.as_slice() else {
            return Err(Error::FieldCount { count: fields.len() });
        };
        let minute = Values::parse(Field::Minute, minute)?;
        let hour = Values::parse(Field::Hour, hour)?;
        let day = Values::parse(Field::DayOfMonth, day)?;
        let month = Values::parse(Field::Month, month)?;
        let weekday = Values::parse(Field::DayOfWeek, weekday)?;
        let days = if day.is_star() || weekday.is_star() { DayRule::Plain } else { DayRule::Either };
        if days == DayRule::Plain && !some_month_has_a_day(&month, &day) {
            return Err(Error::NeverFires);
        }
        let canonical = if text.starts_with('@') {
            text.to_owned()
        } else {
            [&minute, &hour, &day, &month, &weekday].map(Values::canonical).join(" ")
        };
        let fixed = minute.is_fixed() && hour.is_fixed();
        let fields = Fields { minute, hour, day, month, weekday, days };
        let gaps = gaps::between_runs(&fields);
        let civil = Civil::new(&fields);
        let timing = if fixed { Timing::Fixed(civil) } else { Timing::Elapsed(civil) };
        Ok(Schedule { text: canonical, zone, zone_in_text, timing, days, gaps })
    }

    /// The first run after an instant; none where the calendar (up to the year 2100) has none.
    pub fn next_after(&self, after: DateTime<Utc>) -> Option<DateTime<Utc>> {
        match &self.timing {
            Timing::Every(delay) => {
                let fraction = TimeDelta::nanoseconds(i64::from(after.nanosecond()));
                after.checked_add_signed(*delay)?.checked_sub_signed(fraction)
            }
            Timing::Fixed(civil) => zoned::next_fixed(civil, self.zone, after),
            Timing::Elapsed(civil) => zoned::next_elapsed(civil, self.zone, after),
        }
    }

    /// The runs after an instant, in order.
    pub fn runs_after(&self, after: DateTime<Utc>) -> impl Iterator<Item = DateTime<Utc>> + '_ {
        std::iter::successors(self.next_after(after), |last| self.next_after(*last))
    }

    /// The first run within a year whose time of day comes twice because clocks are put back; this crate runs it once.
    /// None where runs follow elapsed time.
    pub fn next_repeated_hour(&self, after: DateTime<Utc>) -> Option<DateTime<Utc>> {
        match &self.timing {
            Timing::Every(_) | Timing::Elapsed(_) => None,
            Timing::Fixed(_) => {
                let year = after.checked_add_signed(TimeDelta::days(366))?;
                let mut runs = self.runs_after(after).take_while(|run| *run <= year);
                runs.find(|run| {
                    let local = run.with_timezone(&self.zone).naive_local();
                    matches!(self.zone.from_local_datetime(&local), LocalResult::Ambiguous(..))
                })
            }
        }
    }

    /// The expression without its zone, in words that every version of Velero reads: Sunday is 0, and what some
    /// refuse (ranges that wrap around, steps beyond the range) is written as a list.
    pub fn text(&self) -> &str {
        &self.text
    }

    pub fn zone(&self) -> Tz {
        self.zone
    }

    /// Whether the expression itself named its zone.
    pub fn names_zone(&self) -> bool {
        self.zone_in_text
    }

    pub fn day_rule(&self) -> DayRule {
        self.days
    }

    /// How much time passes between runs, with days of 24 hours.
    pub fn gaps(&self) -> Gaps {
        self.gaps
    }
}

/// The zone of an IANA name.
pub fn zone(name: &str) -> Result<Tz, Error> {
    name.parse().map_err(|_| Error::UnknownZone(name.to_owned()))
}

fn zone_prefix(expression: &str) -> Result<(Option<Tz>, &str), Error> {
    let Some(rest) = expression.strip_prefix("CRON_TZ=").or_else(|| expression.strip_prefix("TZ=")) else {
        return Ok((None, expression));
    };
    let Some((name, text)) = rest.split_once(char::is_whitespace) else {
        return Err(Error::NothingAfterZone(expression.to_owned()));
    };
    let unquoted = ['"', '\'']
        .into_iter()
        .find_map(|quote| name.strip_prefix(quote).and_then(|name| name.strip_suffix(quote)))
        .unwrap_or(name);
    Ok((Some(zone(unquoted)?), text))
}

fn every(text: &str, rest: &str) -> Result<TimeDelta, Error> {
    if !rest.starts_with(char::is_whitespace) {
        return Err(Error::UnknownDescriptor(text.to_owned()));
    }
    let duration: GoDuration = rest.trim().parse().map_err(Error::Every)?;
    if duration < GoDuration::from_secs(1) {
        return Err(Error::EveryTooShort);
    }
    Ok(TimeDelta::seconds(duration.to_chrono().num_seconds()))
}

fn some_month_has_a_day(months: &Values, days: &Values) -> bool {
    const LONGEST_OF_MONTH: [u8; 12] = [31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let first = days.list().first().copied().unwrap_or(u8::MAX);
    months.list().iter().any(|month| first <= LONGEST_OF_MONTH[usize::from(*month) - 1])
}

#[cfg(test)]
mod tests {
    use pretty_assertions::assert_eq;

    use super::*;

    fn instant(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    fn runs(expression: &str, zone: &str, after: &str, count: usize) -> Vec<String> {
        let schedule = Schedule::parse(expression, Some(zone.parse().unwrap())).unwrap();
        schedule
            .runs_after(instant(after))
            .take(count)
            .map(|run| run.to_rfc3339_opts(chrono::SecondsFormat::Secs, true))
            .collect()
    }

    fn reason(expression: &str) -> String {
        Schedule::parse(expression, None).unwrap_err().to_string()
    }

    #[test]
    fn a_fixed_time_in_the_gap_happens_once_right_after_it() {
        assert_eq!(
            runs("30 2 * * *", "Europe/Berlin", "2026-03-28T00:00:00Z", 3),
            ["2026-03-28T01:30:00Z", "2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z"]
        );
    }

    #[test]
    fn a_fixed_time_in_the_overlap_happens_once() {
        assert_eq!(
            runs("30 2 * * *", "Europe/Berlin", "2026-10-24T12:00:00Z", 2),
            ["2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"]
        );
    }

    #[test]
    fn several_fixed_times_of_one_gap_are_one_run() {
        assert_eq!(
            runs("15,45 2 * * *", "Europe/Berlin", "2026-03-28T12:00:00Z", 3),
            ["2026-03-29T01:00:00Z", "2026-03-30T00:15:00Z", "2026-03-30T00:45:00Z"]
        );
    }

    #[test]
    fn wildcards_follow_elapsed_time() {
        assert_eq!(
            runs("30 * * * *", "Europe/Berlin", "2026-10-24T23:00:00Z", 4),
            ["2026-10-24T23:30:00Z", "2026-10-25T00:30:00Z", "2026-10-25T01:30:00Z", "2026-10-25T02:30:00Z"]
        );
        assert_eq!(
            runs("*/30 2 * * *", "Europe/Berlin", "2026-03-28T12:00:00Z", 2),
            ["2026-03-30T00:00:00Z", "2026-03-30T00:30:00Z"]
        );
    }

    #[test]
    fn a_gap_of_half_an_hour_is_a_gap() {
        assert_eq!(
            runs("15 2 * * *", "Australia/Lord_Howe", "2026-10-03T10:00:00Z", 1),
            ["2026-10-03T15:30:00Z"]
        );
    }

    #[test]
    fn a_day_that_a_zone_leaves_out_still_runs() {
        assert_eq!(runs("0 12 30 * *", "Pacific/Apia", "2011-12-01T00:00:00Z", 1), ["2011-12-30T10:00:00Z"]);
    }

    #[test]
    fn either_day_field_may_match() {
        assert_eq!(
            runs("0 0 13 * 5", "UTC", "2026-11-01T00:00:00Z", 3),
            ["2026-11-06T00:00:00Z", "2026-11-13T00:00:00Z", "2026-11-20T00:00:00Z"]
        );
        assert_eq!(Schedule::parse("0 0 13 * 5", None).unwrap().day_rule(), DayRule::Either);
        assert_eq!(Schedule::parse("0 0 13 * ?", None).unwrap().day_rule(), DayRule::Plain);
    }

    #[test]
    fn ranges_wrap_around_and_sunday_has_two_numbers() {
        let text = |expression: &str| Schedule::parse(expression, None).unwrap().text().to_owned();
        assert_eq!(text("0 0 * * fri-mon"), "0 0 * * 0,1,5,6");
        assert_eq!(text("0 0 * * 7"), "0 0 * * 0");
        assert_eq!(text("0 0 * * 5-7"), "0 0 * * 0,5,6");
        assert_eq!(text("0 0 * * 7-2"), "0 0 * * 0-2");
        assert_eq!(text("0 0 * * 0-7"), "0 0 * * 0-6");
        assert_eq!(text("0 22-2 * dec-feb *"), "0 0-2,22,23 * 1,2,12 *");
        assert_eq!(text("0 22-4/2 * * *"), "0 0,2,4,22 * * *");
        assert_eq!(text("*/15 9-17 1,15 jan-mar mon-fri"), "*/15 9-17 1,15 jan-mar mon-fri");
        assert_eq!(text("*/60 */24 * * *"), "0 0 * * *");
        assert_eq!(text("@daily"), "@daily");
    }

    #[test]
    fn every_counts_from_the_last_run() {
        assert_eq!(
            runs("@every 1h30m", "UTC", "2026-11-23T12:34:56Z", 2),
            ["2026-11-23T14:04:56Z", "2026-11-23T15:34:56Z"]
        );
        let schedule = Schedule::parse("@every 90s", None).unwrap();
        assert_eq!(
            schedule.next_after(instant("2026-11-23T12:00:00.9Z")),
            Some(instant("2026-11-23T12:01:30Z"))
        );
    }

    #[test]
    fn a_zone_in_the_expression_wins() {
        let schedule = Schedule::parse("CRON_TZ=Asia/Kolkata 0 0 * * *", Some(Tz::Europe__Berlin)).unwrap();
        assert_eq!(schedule.zone(), Tz::Asia__Kolkata);
        assert_eq!(schedule.text(), "0 0 * * *");
        assert!(Schedule::parse("TZ=\"Asia/Kolkata\" @daily", None).is_ok());
    }

    #[test]
    fn leap_days_are_found() {
        assert_eq!(
            runs("0 0 29 2 *", "UTC", "2026-11-23T12:34:56Z", 2),
            ["2028-02-29T00:00:00Z", "2032-02-29T00:00:00Z"]
        );
    }

    #[test]
    fn wrong_expressions_say_why() {
        assert_eq!(reason(""), "the expression is empty");
        assert_eq!(
            reason("0 1 * *"),
            "4 fields where five are expected: minute, hour, day of month, month, day of week"
        );
        assert_eq!(reason("61 * * * *"), "minute: \"61\" is not a value from 0 to 59");
        assert_eq!(
            reason("* * * * monday"),
            "day of week: \"monday\" is not a value from 0 to 6, or sun to sat"
        );
        assert_eq!(
            reason("*/0 * * * *"),
            "minute: \"0\" is not a step: a whole number above zero is expected"
        );
        assert_eq!(reason("1-2-3 * * * *"), "minute: \"1-2-3\" is not a range: only one `-` is possible");
        assert_eq!(reason(",1 * * * *"), "minute: an item of the list is empty");
        assert_eq!(reason("0 0 31 2 *"), "it never fires: no month that it names has such a day");
        assert_eq!(reason("0 0 31 feb,apr,jun *"), "it never fires: no month that it names has such a day");
        assert_eq!(
            reason("@reboot"),
            "unknown descriptor \"@reboot\": @yearly, @monthly, @weekly, @daily, @hourly and @every are known"
        );
        assert_eq!(reason("@every 500ms"), "@every: a second is the least");
        assert_eq!(
            reason("CRON_TZ=Nowhere/City 0 0 * * *"),
            "unknown time zone \"Nowhere/City\": an IANA name such as Europe/Berlin is expected"
        );
        assert_eq!(reason("CRON_TZ=UTC"), "CRON_TZ=UTC is followed by nothing");
        assert!(Schedule::parse("0 0 31 2 1", None).is_ok(), "a weekday always comes");
    }
}
