//! The formats of single values, and why a value doesn't have one.

use chrono::{DateTime, Utc};

use crate::duration::GoDuration;
use crate::model::shape::{GO_DURATION, POSITIVE_GO_DURATION};

pub(super) const DATE_TIME: &str = "date-time";

/// Why the text is not of the format.
pub(super) fn explain(format: &str, text: &str) -> Option<String> {
    match format {
        GO_DURATION => go_duration(text).err(),
        POSITIVE_GO_DURATION => positive_go_duration(text).err(),
        DATE_TIME => date_time(text).err(),
        _ => None,
    }
}

pub(super) fn go_duration(text: &str) -> Result<(), String> {
    let duration: GoDuration = text.parse().map_err(|error| format!("{error}"))?;
    if duration.is_negative() {
        return Err(format!("invalid duration {text:?}: it is negative"));
    }
    Ok(())
}

pub(super) fn positive_go_duration(text: &str) -> Result<(), String> {
    go_duration(text)?;
    match text.parse::<GoDuration>() {
        Ok(duration) if duration.is_zero() => {
            Err(format!("invalid duration {text:?}: it must be more than zero"))
        }
        Ok(_) | Err(_) => Ok(()),
    }
}

pub(super) fn date_time(text: &str) -> Result<(), String> {
    text.parse::<DateTime<Utc>>()
        .map(|_| ())
        .map_err(|_| format!("invalid time {text:?}: RFC 3339 is expected, as in 2026-12-01T00:00:00Z"))
}
