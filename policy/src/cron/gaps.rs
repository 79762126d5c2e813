//! How much time passes between the runs of an expression, for rules that compare it with other durations.

use chrono::{Datelike, Days, NaiveDate, TimeDelta};

use super::{DayRule, Fields};

/// Times between two runs, with days of 24 hours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gaps {
    pub shortest: TimeDelta,
    pub longest: TimeDelta,
    pub average: TimeDelta,
}

/// Eight whole years, leap days included.
const DAYS_LOOKED_AT: i64 = 2922;

pub(super) fn between_runs(fields: &Fields) -> Gaps {
    let times: Vec<i64> = fields
        .hour
        .list()
        .iter()
        .flat_map(|hour| fields.minute.list().iter().map(|minute| i64::from(*hour) * 60 + i64::from(*minute)))
        .collect();
    let (first, last) = (times.first().copied().unwrap_or(0), times.last().copied().unwrap_or(0));
    let within: Vec<i64> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
    let days = between_days(fields);
    let overnight = |days: i64| days * 24 * 60 - (last - first);
    let shortest = within.iter().copied().chain([overnight(days.shortest)]).min().unwrap_or(0);
    let longest = within.iter().copied().chain([overnight(days.longest)]).max().unwrap_or(0);
    let runs = days.count * i64::try_from(times.len()).unwrap_or(i64::MAX);
    Gaps {
        shortest: TimeDelta::minutes(shortest),
        longest: TimeDelta::minutes(longest),
        average: TimeDelta::seconds(days.looked_at * 24 * 3600 / runs.max(1)),
    }
}

struct Between {
    shortest: i64,
    longest: i64,
    count: i64,
    looked_at: i64,
}

fn between_days(fields: &Fields) -> Between {
    let every_month = fields.month.list().len() == 12;
    let every_date = fields.day.is_star() || fields.day.list().len() == 31;
    let every_weekday = fields.weekday.is_star() || fields.weekday.list().len() == 7;
    let either = fields.days == DayRule::Either;
    let every_day = if either { every_date || every_weekday } else { every_date && every_weekday };
    if every_month && every_day {
        return Between { shortest: 1, longest: 1, count: 1, looked_at: 1 };
    }
    // Without dates, months and years don't matter.
    let looked_at = if every_month && every_date && !either { 14 } else { DAYS_LOOKED_AT };
    let start = NaiveDate::from_ymd_opt(2024, 1, 1).expect("the first of January is a date");
    let mut between = Between { shortest: i64::MAX, longest: 0, count: 0, looked_at };
    let mut previous: Option<i64> = None;
    for (number, day) in (0..looked_at).map(|number| (number, start + Days::new(number.unsigned_abs()))) {
        if !matches(fields, day) {
            continue;
        }
        between.count += 1;
        if let Some(previous) = previous.replace(number) {
            between.shortest = between.shortest.min(number - previous);
            between.longest = between.longest.max(number - previous);
        }
    }
    if between.longest == 0 {
        between.shortest = looked_at;
        between.longest = looked_at;
    }
    between
}

fn matches(fields: &Fields, day: NaiveDate) -> bool {
    let has = |values: &[u8], value: u32| values.iter().any(|other| u32::from(*other) == value);
    let date = has(fields.day.list(), day.day());
    let weekday = has(fields.weekday.list(), day.weekday().num_days_from_sunday());
    let day_matches = match fields.days {
        DayRule::Plain => date && weekday,
        DayRule::Either => date || weekday,
    };
    has(fields.month.list(), day.month()) && day_matches
}

#[cfg(test)]
mod tests {
    use super::super::Schedule;

    #[test]
    fn gaps_are_those_of_the_calendar() {
        for (expression, shortest, longest, average) in [
            ("0 1 * * *", 24, 24, 24 * 60),
            ("0 * * * *", 1, 1, 60),
            ("0 1 * * 1-5", 24, 72, 2016),
            ("0 9-17 * * *", 1, 16, 160),
            ("0 0 1 * *", 28 * 24, 31 * 24, 43830),
            ("0 0 * * 0", 168, 168, 168 * 60),
        ] {
            let gaps = Schedule::parse(expression, None).unwrap().gaps();
            assert_eq!(gaps.shortest.num_hours(), shortest, "{expression}");
            assert_eq!(gaps.longest.num_hours(), longest, "{expression}");
            assert_eq!(gaps.average.num_minutes(), average, "{expression}");
        }
    }
}
