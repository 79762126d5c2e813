//! One field of a cron expression: its text, and the values it stands for.

use std::fmt;

use super::Error;

/// Which field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    Minute,
    Hour,
    DayOfMonth,
    Month,
    DayOfWeek,
}

const MONTHS: [&str; 12] =
    ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const WEEKDAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

impl Field {
    fn low(self) -> u8 {
        match self {
            Field::Minute | Field::Hour | Field::DayOfWeek => 0,
            Field::DayOfMonth | Field::Month => 1,
        }
    }

    fn high(self) -> u8 {
        match self {
            Field::Minute => 59,
            Field::Hour => 23,
            Field::DayOfMonth => 31,
            Field::Month => 12,
            Field::DayOfWeek => 6,
        }
    }

    pub(super) fn names(self) -> &'static str {
        match self {
            Field::Minute | Field::Hour | Field::DayOfMonth => "",
            Field::Month => ", or jan to dec",
            Field::DayOfWeek => ", or sun to sat",
        }
    }

    fn value(self, text: &str) -> Result<u8, Error> {
        let names: &[&str] = match self {
            Field::Minute | Field::Hour | Field::DayOfMonth => &[],
            Field::Month => &MONTHS,
            Field::DayOfWeek => &WEEKDAYS,
        };
        let by_name = names.iter().zip(self.low()..).find(|(name, _)| name.eq_ignore_ascii_case(text));
        if let Some((_, value)) = by_name {
            return Ok(value);
        }
        // Sunday is 7 as well.
        let high = if self == Field::DayOfWeek { 7 } else { self.high() };
        text.bytes()
            .all(|byte| byte.is_ascii_digit())
            .then(|| text.parse::<u8>().ok())
            .flatten()
            .filter(|value| (self.low()..=high).contains(value))
            .ok_or_else(|| Error::Value {
                field: self,
                text: text.to_owned(),
                low: self.low(),
                high: self.high(),
            })
    }
}

impl fmt::Display for Field {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Field::Minute => "minute",
            Field::Hour => "hour",
            Field::DayOfMonth => "day of month",
            Field::Month => "month",
            Field::DayOfWeek => "day of week",
        })
    }
}

/// The values of a field.
#[derive(Clone, Debug)]
pub(super) struct Values {
    text: String,
    list: Vec<u8>,
    star: bool,
    fixed: bool,
    portable: bool,
}

impl Values {
    pub(super) fn parse(field: Field, text: &str) -> Result<Values, Error> {
        let mut values =
            Values { text: text.to_owned(), list: Vec::new(), star: false, fixed: true, portable: true };
        for item in text.split(',') {
            values.item(field, item)?;
        }
        values.list.sort_unstable();
        values.list.dedup();
        Ok(values)
    }

    /// `*`, `?`, `N`, `N-M`, and each of them with `/step`.
    fn item(&mut self, field: Field, item: &str) -> Result<(), Error> {
        if item.is_empty() {
            return Err(Error::EmptyItem { field });
        }
        let (range, step) = match item.split_once('/') {
            Some((range, step)) => (range, Some(step)),
            None => (item, None),
        };
        let step_size = step.map_or(Ok(1), |step| {
            let valid = !step.is_empty() && step.bytes().all(|byte| byte.is_ascii_digit());
            let size = if valid { step.parse::<u32>().unwrap_or(u32::MAX) } else { 0 };
            if size == 0 { Err(Error::Step { field, text: step.to_owned() }) } else { Ok(size) }
        })?;
        let (first, last) = if matches!(range, "*" | "?") {
            // A step makes a restriction of a wildcard, as far as the rule about days is concerned.
            self.star |= step_size == 1;
            self.fixed = false;
            (field.low(), field.high())
        } else {
            match range.split_once('-') {
                Some((_, rest)) if rest.contains('-') => {
                    return Err(Error::Range { field, text: range.to_owned() });
                }
                Some((first, last)) => (field.value(first)?, field.value(last)?),
                None => {
                    let value = field.value(range)?;
                    (value, if step.is_some() { field.high().max(value) } else { value })
                }
            }
        };
        self.fixed &= step.is_none();
        self.range(field, first, last, step_size);
        Ok(())
    }

    fn range(&mut self, field: Field, first: u8, last: u8, step: u32) {
        let low = u32::from(field.low());
        let size = u32::from(field.high()) - low + 1;
        let (first, last) = (u32::from(first), u32::from(last));
        let high = low + size - 1;
        let portable = first <= last && last <= high;
        // Sunday as 7 is the day after Saturday where a range ends, and 0 where it starts.
        let first = if first > high && last <= high { low } else { first };
        let end = if first <= last { last } else { last + size };
        // Velero 1.18 wants steps below the size of the range, except over all weekdays.
        let count = end - first + 1;
        let step_fits =
            step == 1 || step < count || (field == Field::DayOfWeek && step == size && count == size);
        self.portable &= portable && step_fits;
        let mut value = first;
        while value <= end {
            let wrapped = low + (value - low) % size;
            self.list.push(u8::try_from(wrapped).expect("the values of every field are below 60"));
            value = value.saturating_add(step);
        }
    }

    pub(super) fn list(&self) -> &[u8] {
        &self.list
    }

    /// Whether the field restricts nothing, as far as the rule about days is concerned.
    pub(super) fn is_star(&self) -> bool {
        self.star
    }

    /// Whether the field names its values, without wildcard or step.
    pub(super) fn is_fixed(&self) -> bool {
        self.fixed
    }

    /// The text, or a list where not every version of Velero reads the text.
    pub(super) fn canonical(&self) -> String {
        if self.portable {
            return self.text.clone();
        }
        let mut runs: Vec<(u8, u8)> = Vec::new();
        for value in &self.list {
            match runs.last_mut() {
                Some((_, last)) if *last + 1 == *value => *last = *value,
                _ => runs.push((*value, *value)),
            }
        }
        let items: Vec<String> = runs
            .into_iter()
            .map(|(first, last)| match last - first {
                0 => first.to_string(),
                1 => format!("{first},{last}"),
                _ => format!("{first}-{last}"),
            })
            .collect();
        items.join(",")
    }
}
