//! The local times of an expression, whatever the zone: the `cron` crate does the counting.

use std::str::FromStr;
use std::sync::OnceLock;

use chrono::NaiveDateTime;

use super::field::Values;
use super::{DayRule, Fields};

/// Local times that match an expression.
#[derive(Clone, Debug)]
pub(super) struct Civil {
    /// In the crate's language, which demands that both day fields match. Where either may, one text each looks
    /// at one of them.
    texts: Vec<String>,
    /// Made when first asked for, as most expressions are only checked.
    engines: OnceLock<Vec<cron::Schedule>>,
}

impl Civil {
    pub(super) fn new(fields: &Fields) -> Civil {
        let Fields { minute, hour, day, month, weekday, days } = fields;
        let text = |day: &str, weekday: &str| {
            format!("0 {} {} {day} {} {weekday}", list(minute, 0), list(hour, 0), list(month, 0))
        };
        // The crate counts weekdays from 1.
        let (day, weekday) = (list(day, 0), list(weekday, 1));
        let texts = match days {
            DayRule::Plain => vec![text(&day, &weekday)],
            DayRule::Either => vec![text(&day, "*"), text("*", &weekday)],
        };
        Civil { texts, engines: OnceLock::new() }
    }

    fn engines(&self) -> &[cron::Schedule] {
        self.engines.get_or_init(|| {
            let engine = |text: &String| {
                cron::Schedule::from_str(text)
                    .expect("lists of values in range are an expression of the crate")
            };
            self.texts.iter().map(engine).collect()
        })
    }

    /// The first matching local time after the given one.
    pub(super) fn next_after(&self, local: NaiveDateTime) -> Option<NaiveDateTime> {
        // UTC has neither gaps nor overlaps, so that the crate sees plain calendar time.
        let after = local.and_utc();
        self.engines()
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
