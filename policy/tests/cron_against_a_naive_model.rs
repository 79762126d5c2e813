//! Random expressions around clock changes, beside a model that looks at every minute.

use chrono::{DateTime, Datelike, TimeDelta, TimeZone, Timelike, Utc};
use chrono_tz::Tz;
use holdfast_policy::cron::Schedule;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};

const ZONES: [Tz; 6] = [
    Tz::Europe__Berlin,
    Tz::America__New_York,
    Tz::Australia__Lord_Howe,
    Tz::Africa__Casablanca,
    Tz::America__Santiago,
    Tz::Asia__Kolkata,
];

/// Instants near which one of the zones changes its clock.
const STARTS: [&str; 7] = [
    "2026-03-29T00:10:30Z",
    "2026-10-25T00:00:00Z",
    "2026-03-08T06:30:00Z",
    "2026-11-01T05:15:00Z",
    "2026-04-04T14:45:00Z",
    "2026-10-03T15:00:00Z",
    "2026-09-06T03:30:00Z",
];

fn list(values: &[u32]) -> String {
    values.iter().map(u32::to_string).collect::<Vec<_>>().join(",")
}

fn minutes_after(start: DateTime<Utc>, hours: i64) -> impl Iterator<Item = DateTime<Utc>> {
    let first = DateTime::from_timestamp(start.timestamp().div_euclid(60) * 60 + 60, 0)
        .expect("an instant of this century");
    (0..hours * 60).map(move |minutes| first + TimeDelta::minutes(minutes))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn wildcards_match_every_instant_whose_local_time_does(
        minutes in subsequence(vec![0_u32, 7, 15, 29, 30, 31, 45, 59], 1..4),
        weekdays in subsequence(vec![0_u32, 1, 3, 6], 1..4),
        zone in select(ZONES.to_vec()),
        start in select(STARTS.to_vec()),
        offset in -300_i64..300,
    ) {
        let start: DateTime<Utc> = start.parse::<DateTime<Utc>>().unwrap() + TimeDelta::minutes(offset);
        let schedule =
            Schedule::parse(&format!("{} * * * {}", list(&minutes), list(&weekdays)), Some(zone)).unwrap();
        let expected: Vec<DateTime<Utc>> = minutes_after(start, 72)
            .filter(|instant| {
                let local = instant.with_timezone(&zone);
                minutes.contains(&local.minute()) && weekdays.contains(&local.weekday().num_days_from_sunday())
            })
            .take(8)
            .collect();
        let runs: Vec<DateTime<Utc>> = schedule.runs_after(start).take(expected.len()).collect();
        prop_assert_eq!(runs, expected);
    }

    #[test]
    fn a_fixed_time_happens_once_a_day(
        hour in 0_u32..5,
        minute in select(vec![0_u32, 15, 30, 45]),
        zone in select(ZONES.to_vec()),
        start in select(STARTS.to_vec()),
        offset in -300_i64..300,
    ) {
        let start: DateTime<Utc> = start.parse::<DateTime<Utc>>().unwrap() + TimeDelta::minutes(offset);
        let schedule = Schedule::parse(&format!("{minute} {hour} * * *"), Some(zone)).unwrap();
        let today = start.with_timezone(&zone).date_naive();
        let expected: Vec<DateTime<Utc>> = (-1..6)
            .map(|days| (today + TimeDelta::days(days)).and_hms_opt(hour, minute, 0).unwrap())
            .map(|local| {
                // What a gap leaves out happens at the first minute that exists after it.
                (0..300)
                    .find_map(|late| zone.from_local_datetime(&(local + TimeDelta::minutes(late))).earliest())
                    .unwrap()
                    .to_utc()
            })
            .filter(|instant| *instant > start)
            .take(4)
            .collect();
        let runs: Vec<DateTime<Utc>> = schedule.runs_after(start).take(expected.len()).collect();
        prop_assert_eq!(runs, expected);
    }
}
