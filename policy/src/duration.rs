//! Durations in the text form that Velero's resources carry: `720h0m0s`, `1.5h`, `300ms`.
//!
//! Takes and gives text, the standard library's and chrono's durations. What zero or an absent value stands for
//! is up to the field: most read them as "use the server's default".

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use chrono::TimeDelta;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

const NANOSECOND: u64 = 1;
const MICROSECOND: u64 = 1_000;
const MILLISECOND: u64 = 1_000_000;
const SECOND: u64 = 1_000_000_000;
const MINUTE: u64 = 60 * SECOND;
const HOUR: u64 = 60 * MINUTE;

const LAST_BEFORE_OVERFLOW: u64 = i64::MAX as u64 / 10;

/// A signed number of nanoseconds that reads and writes the duration text of Go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GoDuration(i64);

/// Why a text is no duration. The text itself is part of the message, as users see only that.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error("invalid duration {text:?}: a number with a unit is expected, like 30s, 1h30m or 720h")]
    Malformed { text: String },
    #[error("invalid duration {text:?}: a unit is missing after {number} (ns, us, ms, s, m or h)")]
    MissingUnit { text: String, number: String },
    #[error("invalid duration {text:?}: unknown unit {unit:?} (ns, us, ms, s, m or h)")]
    UnknownUnit { text: String, unit: String },
    #[error("invalid duration {text:?}: longer than 292 years")]
    OutOfRange { text: String },
}

impl GoDuration {
    pub const ZERO: Self = Self(0);

    pub const fn from_nanos(nanos: i64) -> Self {
        Self(nanos)
    }

    /// Saturates at 292 years.
    pub const fn from_secs(seconds: i64) -> Self {
        Self(seconds.saturating_mul(SECOND as i64))
    }

    /// Saturates at 292 years.
    pub fn from_std(duration: Duration) -> Self {
        Self(i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX))
    }

    /// None if negative.
    pub fn as_std(self) -> Option<Duration> {
        u64::try_from(self.0).ok().map(Duration::from_nanos)
    }

    pub fn to_chrono(self) -> TimeDelta {
        TimeDelta::nanoseconds(self.0)
    }

    pub const fn as_nanos(self) -> i64 {
        self.0
    }

    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }

    /// What a field means in which absent and zero both stand for the default.
    pub fn set_or(field: Option<Self>, default: Self) -> Self {
        field.filter(|duration| !duration.is_zero()).unwrap_or(default)
    }

    pub const fn is_negative(self) -> bool {
        self.0 < 0
    }
}

impl FromStr for GoDuration {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let out_of_range = || Error::OutOfRange { text: text.to_owned() };
        let (negative, magnitude) = match text.as_bytes().first() {
            Some(b'-') => (true, &text[1..]),
            Some(b'+') => (false, &text[1..]),
            _ => (false, text),
        };
        // Zero is the one number that needs no unit.
        if magnitude == "0" {
            return Ok(Self::ZERO);
        }
        if magnitude.is_empty() {
            return Err(Error::Malformed { text: text.to_owned() });
        }
        let mut total: u64 = 0;
        let mut rest = magnitude;
        while !rest.is_empty() {
            let (nanoseconds, remaining) = leading_term(text, rest)?;
            total = total.checked_add(nanoseconds).ok_or_else(out_of_range)?;
            rest = remaining;
        }
        if negative {
            // The most negative value has no positive twin.
            0i64.checked_sub_unsigned(total).map(Self).ok_or_else(out_of_range)
        } else {
            i64::try_from(total).map(Self).map_err(|_| out_of_range())
        }
    }
}

/// The nanoseconds of the first number and unit of `rest`, and what follows them.
fn leading_term<'a>(text: &str, rest: &'a str) -> Result<(u64, &'a str), Error> {
    let (whole, after_whole) = rest.split_at(rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len()));
    let (fraction, after_number) = match after_whole.strip_prefix('.') {
        Some(digits) => digits.split_at(digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len())),
        None => ("", after_whole),
    };
    if whole.is_empty() && fraction.is_empty() {
        return Err(Error::Malformed { text: text.to_owned() });
    }
    let (unit_name, remaining) = after_number
        .split_at(after_number.find(|c: char| c == '.' || c.is_ascii_digit()).unwrap_or(after_number.len()));
    let unit = match unit_name {
        "ns" => NANOSECOND,
        // The micro sign and the Greek letter mu look alike and are both written.
        "us" | "\u{b5}s" | "\u{3bc}s" => MICROSECOND,
        "ms" => MILLISECOND,
        "s" => SECOND,
        "m" => MINUTE,
        "h" => HOUR,
        "" => {
            let number = rest[..rest.len() - after_number.len()].to_owned();
            return Err(Error::MissingUnit { text: text.to_owned(), number });
        }
        _ => return Err(Error::UnknownUnit { text: text.to_owned(), unit: unit_name.to_owned() }),
    };
    let out_of_range = || Error::OutOfRange { text: text.to_owned() };
    let whole: u64 = if whole.is_empty() { 0 } else { whole.parse().map_err(|_| out_of_range())? };
    let nanoseconds = whole
        .checked_mul(unit)
        .and_then(|nanoseconds| nanoseconds.checked_add(fraction_of(unit, fraction)))
        .ok_or_else(out_of_range)?;
    Ok((nanoseconds, remaining))
}

/// `0.<digits>` of a unit. Computed with floats as Go does, so that both agree on the last nanosecond.
fn fraction_of(unit: u64, digits: &str) -> u64 {
    let mut numerator: u64 = 0;
    let mut denominator: f64 = 1.0;
    for digit in digits.bytes() {
        // Digits that no longer fit are finer than a nanosecond of any unit.
        if numerator > LAST_BEFORE_OVERFLOW {
            break;
        }
        numerator = numerator * 10 + u64::from(digit - b'0');
        denominator *= 10.0;
    }
    (numerator as f64 * (unit as f64 / denominator)) as u64
}

impl fmt::Display for GoDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let magnitude = self.0.unsigned_abs();
        if magnitude == 0 {
            return f.write_str("0s");
        }
        if self.0 < 0 {
            f.write_str("-")?;
        }
        if magnitude < MICROSECOND {
            return write!(f, "{magnitude}ns");
        }
        if magnitude < MILLISECOND {
            return write_decimal(f, magnitude, MICROSECOND, "\u{b5}s");
        }
        if magnitude < SECOND {
            return write_decimal(f, magnitude, MILLISECOND, "ms");
        }
        let (hours, minutes) = (magnitude / HOUR, magnitude / MINUTE % 60);
        if hours > 0 {
            write!(f, "{hours}h")?;
        }
        if hours > 0 || minutes > 0 {
            write!(f, "{minutes}m")?;
        }
        write_decimal(f, magnitude % MINUTE, SECOND, "s")
    }
}

fn write_decimal(f: &mut fmt::Formatter<'_>, nanoseconds: u64, unit: u64, name: &str) -> fmt::Result {
    write!(f, "{}", nanoseconds / unit)?;
    let remainder = nanoseconds % unit;
    if remainder > 0 {
        let width = unit.ilog10() as usize;
        let digits = format!("{remainder:0width$}");
        write!(f, ".{}", digits.trim_end_matches('0'))?;
    }
    f.write_str(name)
}

impl Serialize for GoDuration {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for GoDuration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

impl JsonSchema for GoDuration {
    fn schema_name() -> Cow<'static, str> {
        "GoDuration".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const H: i64 = HOUR as i64;
    const M: i64 = MINUTE as i64;
    const S: i64 = SECOND as i64;
    const MS: i64 = MILLISECOND as i64;
    const US: i64 = MICROSECOND as i64;

    #[test]
    fn every_form_of_duration_text_is_read() {
        for (text, nanoseconds) in [
            ("0", 0),
            ("-0", 0),
            ("+0", 0),
            ("0s", 0),
            ("5s", 5 * S),
            ("30s", 30 * S),
            ("1478s", 1478 * S),
            ("-5s", -5 * S),
            ("+5s", 5 * S),
            ("5.0s", 5 * S),
            ("5.6s", 5 * S + 600 * MS),
            ("5.s", 5 * S),
            (".5s", 500 * MS),
            ("1.0040s", S + 4 * MS),
            ("100.00100s", 100 * S + MS),
            ("10ns", 10),
            ("11us", 11 * US),
            ("12\u{b5}s", 12 * US),
            ("12\u{3bc}s", 12 * US),
            ("13ms", 13 * MS),
            ("14s", 14 * S),
            ("15m", 15 * M),
            ("16h", 16 * H),
            ("1.5h", 90 * M),
            ("3h30m", 3 * H + 30 * M),
            ("10.5s4m", 4 * M + 10 * S + 500 * MS),
            ("-2m3.4s", -(2 * M + 3 * S + 400 * MS)),
            ("1h2m3s4ms5us6ns", H + 2 * M + 3 * S + 4 * MS + 5 * US + 6),
            ("39h9m14.425s", 39 * H + 9 * M + 14 * S + 425 * MS),
            ("720h0m0s", 720 * H),
            ("52763797000ns", 52_763_797_000),
            ("0.3333333333333333333h", 20 * M),
            ("0.9223372036854775807h", 3_320_413_933_267),
            ("0.100000000000000000000h", 6 * M),
            ("9007199254740993ns", 9_007_199_254_740_993),
            ("9223372036854775807ns", i64::MAX),
            ("-9223372036854775808ns", i64::MIN),
            ("9223372036s854ms775us807ns", i64::MAX),
        ] {
            assert_eq!(text.parse(), Ok(GoDuration(nanoseconds)), "{text}");
        }
    }

    #[test]
    fn text_that_is_no_duration_is_refused_with_the_reason() {
        for (text, reason) in [
            ("", "a number with a unit is expected"),
            ("-", "a number with a unit is expected"),
            ("s", "a number with a unit is expected"),
            (".", "a number with a unit is expected"),
            ("-.", "a number with a unit is expected"),
            (".s", "a number with a unit is expected"),
            ("+.s", "a number with a unit is expected"),
            (" 3s", "a number with a unit is expected"),
            ("3", "a unit is missing after 3"),
            ("1h7", "a unit is missing after 7"),
            ("3d", "unknown unit \"d\""),
            ("3s ", "unknown unit \"s \""),
            ("1h-5m", "unknown unit \"h-\""),
            ("\u{85}\u{85}", "a number with a unit is expected"),
            ("3000000h", "longer than 292 years"),
            ("9223372036854775808ns", "longer than 292 years"),
            ("-9223372036854775809ns", "longer than 292 years"),
            ("99999999999999999999s", "longer than 292 years"),
        ] {
            let error = text.parse::<GoDuration>().unwrap_err().to_string();
            assert!(error.contains(reason), "{text:?}: {error}");
        }
    }

    #[test]
    fn durations_print_as_velero_prints_them() {
        for (nanoseconds, text) in [
            (0, "0s"),
            (1, "1ns"),
            (1100, "1.1\u{b5}s"),
            (2_200_000, "2.2ms"),
            (3_300_000_000, "3.3s"),
            (300 * MS, "300ms"),
            (1500 * MS, "1.5s"),
            (10 * M, "10m0s"),
            (4 * M + 5 * S, "4m5s"),
            (4 * M + 5 * S + MS, "4m5.001s"),
            (5 * H + 6 * M + 7 * S + MS, "5h6m7.001s"),
            (8 * M + 1, "8m0.000000001s"),
            (720 * H, "720h0m0s"),
            (-H, "-1h0m0s"),
            (i64::MAX, "2562047h47m16.854775807s"),
            (i64::MIN, "-2562047h47m16.854775808s"),
        ] {
            assert_eq!(GoDuration(nanoseconds).to_string(), text);
        }
    }

    #[test]
    fn json_is_the_text() {
        let read: GoDuration = serde_json::from_str(r#""1.5h""#).unwrap();
        assert_eq!(serde_json::to_string(&read).unwrap(), r#""1h30m0s""#);
        assert_eq!(serde_json::from_str::<Option<GoDuration>>("null").unwrap(), None);
        let error = serde_json::from_str::<GoDuration>(r#""soon""#).unwrap_err().to_string();
        assert!(error.contains("invalid duration \"soon\""), "{error}");
    }

    #[test]
    fn only_a_duration_that_is_not_negative_is_one_for_the_standard_library() {
        assert_eq!(GoDuration(-1).as_std(), None);
        assert_eq!(GoDuration(1500 * MS).as_std(), Some(Duration::from_millis(1500)));
        assert_eq!(GoDuration::from_std(Duration::from_millis(1500)), GoDuration(1500 * MS));
        assert_eq!(GoDuration::from_std(Duration::MAX), GoDuration(i64::MAX));
        assert_eq!(GoDuration(-H).to_chrono(), TimeDelta::hours(-1));
    }

    proptest! {
        #[test]
        fn what_is_printed_is_read_back(nanoseconds: i64) {
            let duration = GoDuration(nanoseconds);
            prop_assert_eq!(duration.to_string().parse(), Ok(duration));
        }

        #[test]
        fn no_text_makes_the_parser_panic(text in "[-+.0-9a-z\u{b5} ]{0,24}") {
            if let Ok(duration) = text.parse::<GoDuration>() {
                prop_assert_eq!(duration.to_string().parse(), Ok(duration));
            }
        }
    }
}
