//! The local times of an expression, whatever the zone: the `cron` crate does the counting.

use std::str::FromStr;

use chrono::NaiveDateTime;

use super::DayRule;
use super::field::Values;

/// Local times that match an expression.
#[derive(Clone, Debug)]
pub(super) struct Civil {
    /// The crate demands that both day fields match. Where either may, one engine each looks at one of them.
    engines: Vec<cron::Schedule>,
}

impl Civil {
    pub(super) fn new(
        minute: &Values,
        hour: &Values,
        day: &Values,
        month: &Values,
        weekday: &Values,
        rule: DayRule,
    ) -> Civil {
        let engine = |day: &str, weekday: &str| {
            let text = format!("0 {} {} {day} {} {weekday}", list(minute, 0), list(hour, 0), list(month, 0));
            cron::Schedule::from_str(&text).expect("lists of values in range are an expression of the crate")
        };
        // The crate counts weekdays from 1.
        let (days, weekdays) = (list(day, 0), list(weekday, 1));
        let engines = match rule {
            DayRule::Plain => vec![engine(&days, &weekdays)],
            DayRule::Either => vec![engine(&days, "*"), engine("*", &weekdays)],
        };
        Civil { engines }
    }

    /// The first matching local time after the given one.
    pub(super) fn next_after(&self, local: NaiveDateTime) -> Option<NaiveDateTime> {
        // UTC has neither gaps nor overlaps, so that the crate sees plain calendar time.
        let after = local.and_utc();
        self.engines
            .iter()
            .filter_map(|engine| engine.after(&after).next())
            .min()
            .map(|instant| instant.naive_utc())
    }
}

fn list(values: &Values, offset: u8) -> String {
    let items: Vec<String> = values.list().iter().map(|value| (value + offset).to_string()).collect();
    items.join(",")
}
