//! Between the time type of Kubernetes objects and chrono's, which everything else here computes with.
//!
//! Kubernetes stores whole seconds in UTC, so both directions drop the fraction.

use chrono::{DateTime, Utc};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;

pub fn to_chrono(time: &Time) -> DateTime<Utc> {
    DateTime::from_timestamp(time.0.as_second(), 0).expect("chrono covers more years than jiff's timestamps")
}

/// Instants beyond the year 9999, or before -9999, become the last and the first that the format can say.
pub fn from_chrono(instant: DateTime<Utc>) -> Time {
    let seconds = instant.timestamp().clamp(Timestamp::MIN.as_second(), Timestamp::MAX.as_second());
    Time(Timestamp::from_second(seconds).expect("clamped to jiff's range"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn instant(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    #[test]
    fn a_time_survives_both_directions() {
        let noon = instant("2026-11-23T12:00:01Z");
        assert_eq!(to_chrono(&from_chrono(noon)), noon);
        assert_eq!(serde_json::to_string(&from_chrono(noon)).unwrap(), r#""2026-11-23T12:00:01Z""#);
    }

    #[test]
    fn fractions_of_a_second_are_dropped() {
        assert_eq!(
            to_chrono(&from_chrono(instant("2026-11-23T12:00:01.999Z"))),
            instant("2026-11-23T12:00:01Z")
        );
        let parsed: Time = serde_json::from_str(r#""2026-11-23T12:00:01.999Z""#).unwrap();
        assert_eq!(to_chrono(&parsed), instant("2026-11-23T12:00:01Z"));
    }

    #[test]
    fn instants_before_the_epoch_convert() {
        let before = instant("1969-12-31T23:59:59Z");
        assert_eq!(to_chrono(&from_chrono(before)), before);
    }

    #[test]
    fn an_instant_no_timestamp_can_say_becomes_the_nearest_that_it_can() {
        assert_eq!(from_chrono(DateTime::<Utc>::MAX_UTC).0.as_second(), Timestamp::MAX.as_second());
        assert_eq!(from_chrono(DateTime::<Utc>::MIN_UTC).0.as_second(), Timestamp::MIN.as_second());
    }
}
