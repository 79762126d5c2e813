//! Which backups of a schedule to keep, and why.
//!
//! In: the backups of one schedule, its rules, its zone, and what time it is. Out: a verdict for each backup. Nothing
//! is deleted here; whoever does so says which rule it was. [`decide`] does not look at the ttl: it ends backups by itself,
//! and only `minimumGood` holds against it. [`judge`] sees all of it: every backup of a cluster, whose it is, what holds
//! it, and its ttl.

use std::collections::HashSet;
use std::fmt;

use chrono::{DateTime, Datelike, SecondsFormat, Timelike, Utc};
use chrono_tz::Tz;

use crate::model::Retention;

mod judge;

pub use judge::{Judgement, Subject, judge};

/// A backup, as far as retention looks at it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    pub name: String,
    pub started: DateTime<Utc>,
    pub state: State,
}

/// What became of a backup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Completed.
    Good,
    /// Ended in another way.
    Bad,
    /// Completed, with far fewer objects than the one before.
    Suspect,
    /// Not ended yet.
    Unfinished,
}

/// What happens to a backup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It stays, for all of these reasons.
    Keep(Vec<Reason>),
    Delete(Rule),
}

/// Why a backup stays.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    Unfinished,
    /// One of the newest of `keepLast`, counted from 1.
    Last(u32),
    /// The newest of its period, counted from 1.
    Newest(Period, u32),
    /// One of `minimumGood`: it stays beyond its ttl as well.
    MinimumGood(u32),
    /// It failed less than `keepFailed` ago.
    FailedLately,
    /// It failed, and nothing says how long such backups stay: their ttl does.
    NothingSaid,
    /// It has far fewer objects than the one before: it is not good, and a person should look at it.
    Suspect,
    /// Somebody wants it kept, for this reason.
    Held(String),
    /// The cluster of this name made it and decides about it.
    OtherCluster(String),
    /// Nobody knows which cluster made it, and nobody has adopted its location.
    NotAdopted,
    /// It was found in a bucket, and nobody has given this cluster a name.
    NoClusterName,
    BeingDeleted,
    /// Its ttl is not over.
    Ttl(DateTime<Utc>),
    /// It says of no instant that it ends then.
    NoTtl,
    /// Its schedule's retention can't be read, so only the ttl counts.
    UnreadableRules(String),
}

/// The rule by which a backup goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rule {
    /// It is good, and no rule keeps it.
    NotKept,
    /// It failed, longer ago than `keepFailed`.
    KeepFailed,
    /// Its ttl is over.
    Ttl,
}

impl Rule {
    pub const ALL: [Rule; 3] = [Rule::NotKept, Rule::KeepFailed, Rule::Ttl];

    /// One word, for annotations and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Rule::NotKept => "retention",
            Rule::KeepFailed => "keepFailed",
            Rule::Ttl => "ttl",
        }
    }
}

/// A period of the calendar.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Period {
    Hour,
    Day,
    Week,
    Month,
    Year,
}

impl Period {
    /// Tells periods apart.
    fn of(self, started: DateTime<Utc>, zone: Tz) -> (i32, u32, u32, i32) {
        let local = started.with_timezone(&zone);
        match self {
            // The two hours of an overlap are two hours.
            Period::Hour => {
                use chrono::Offset as _;
                (local.year(), local.ordinal(), local.hour(), local.offset().fix().local_minus_utc())
            }
            Period::Day => (local.year(), local.ordinal(), 0, 0),
            Period::Week => (local.iso_week().year(), local.iso_week().week(), 0, 0),
            Period::Month => (local.year(), local.month(), 0, 0),
            Period::Year => (local.year(), 0, 0, 0),
        }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Rule::NotKept => "no keep rule applies",
            Rule::KeepFailed => "it failed longer ago than that",
            Rule::Ttl => "its ttl is over",
        })
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reason::Unfinished => formatter.write_str("unfinished"),
            Reason::Last(number) => write!(formatter, "keepLast {number}"),
            Reason::Newest(Period::Hour, number) => write!(formatter, "hourly {number}"),
            Reason::Newest(Period::Day, number) => write!(formatter, "daily {number}"),
            Reason::Newest(Period::Week, number) => write!(formatter, "weekly {number}"),
            Reason::Newest(Period::Month, number) => write!(formatter, "monthly {number}"),
            Reason::Newest(Period::Year, number) => write!(formatter, "yearly {number}"),
            Reason::MinimumGood(number) => write!(formatter, "minimumGood {number}"),
            Reason::FailedLately => formatter.write_str("failed lately"),
            Reason::NothingSaid => formatter.write_str("failed, until its ttl"),
            Reason::Suspect => formatter.write_str("suspect, until its ttl"),
            Reason::Held(why) => write!(formatter, "held: {why}"),
            Reason::OtherCluster(cluster) => write!(formatter, "cluster {cluster} decides about it"),
            Reason::NotAdopted => formatter.write_str("its location is not adopted"),
            Reason::NoClusterName => {
                formatter.write_str("it was found in the bucket, and nobody has named this cluster")
            }
            Reason::BeingDeleted => formatter.write_str("being deleted"),
            Reason::Ttl(until) => {
                write!(formatter, "ttl until {}", until.to_rfc3339_opts(SecondsFormat::Secs, true))
            }
            Reason::NoTtl => formatter.write_str("no ttl"),
            Reason::UnreadableRules(error) => write!(formatter, "retention can't be read: {error}"),
        }
    }
}

/// The verdict on each backup, in the order given. Only good backups count for keep rules, newest first, and only
/// periods that have one.
pub fn decide(candidates: &[Candidate], rules: &Retention, zone: Tz, now: DateTime<Utc>) -> Vec<Verdict> {
    let Retention { keep_last, hourly, daily, weekly, monthly, yearly, minimum_good, keep_failed } = rules;
    let mut newest_first: Vec<usize> = (0..candidates.len()).collect();
    newest_first.sort_by_key(|index| {
        let candidate = &candidates[*index];
        (std::cmp::Reverse(candidate.started), candidate.name.as_str())
    });
    let mut last = Counter::of(*keep_last);
    let mut minimum = Counter::of(*minimum_good);
    let mut periods = [
        PeriodCounter::of(Period::Hour, *hourly),
        PeriodCounter::of(Period::Day, *daily),
        PeriodCounter::of(Period::Week, *weekly),
        PeriodCounter::of(Period::Month, *monthly),
        PeriodCounter::of(Period::Year, *yearly),
    ];
    let mut verdicts = vec![Verdict::Delete(Rule::NotKept); candidates.len()];
    for index in newest_first {
        let candidate = &candidates[index];
        verdicts[index] = match candidate.state {
            State::Unfinished => Verdict::Keep(vec![Reason::Unfinished]),
            State::Suspect => Verdict::Keep(vec![Reason::Suspect]),
            State::Bad => match keep_failed {
                None => Verdict::Keep(vec![Reason::NothingSaid]),
                Some(time) if now - candidate.started < time.to_chrono() => {
                    Verdict::Keep(vec![Reason::FailedLately])
                }
                Some(_) => Verdict::Delete(Rule::KeepFailed),
            },
            State::Good => {
                let mut reasons: Vec<Reason> = last.take().map(Reason::Last).into_iter().collect();
                reasons
                    .extend(periods.iter_mut().filter_map(|counter| counter.take(candidate.started, zone)));
                reasons.extend(minimum.take().map(Reason::MinimumGood));
                if reasons.is_empty() { Verdict::Delete(Rule::NotKept) } else { Verdict::Keep(reasons) }
            }
        };
    }
    verdicts
}

/// Whether a backup has so few objects, after that many in the one before it, that a person should look at it.
pub fn has_far_fewer(objects: i64, before: i64) -> bool {
    objects.saturating_mul(2) < before
}

/// Gives out the numbers from 1 to a limit.
struct Counter {
    given: u32,
    limit: u32,
}

impl Counter {
    fn of(limit: Option<u32>) -> Counter {
        Counter { given: 0, limit: limit.unwrap_or(0) }
    }

    fn take(&mut self) -> Option<u32> {
        (self.given < self.limit).then(|| {
            self.given += 1;
            self.given
        })
    }
}

/// Gives a number to the first backup of each period.
struct PeriodCounter {
    period: Period,
    counter: Counter,
    seen: HashSet<(i32, u32, u32, i32)>,
}

impl PeriodCounter {
    fn of(period: Period, limit: Option<u32>) -> PeriodCounter {
        PeriodCounter { period, counter: Counter::of(limit), seen: HashSet::new() }
    }

    fn take(&mut self, started: DateTime<Utc>, zone: Tz) -> Option<Reason> {
        if self.counter.limit == 0 || !self.seen.insert(self.period.of(started, zone)) {
            return None;
        }
        self.counter.take().map(|number| Reason::Newest(self.period, number))
    }
}

#[cfg(test)]
mod tests {
    use pretty_assertions::assert_eq;

    use super::*;
    use crate::duration::GoDuration;

    fn good(started: &str) -> Candidate {
        Candidate { name: started.to_owned(), started: started.parse().unwrap(), state: State::Good }
    }

    fn bad(started: &str) -> Candidate {
        Candidate { state: State::Bad, ..good(started) }
    }

    fn verdicts(candidates: &[Candidate], rules: &Retention, zone: Tz) -> Vec<String> {
        let now = "2026-11-23T12:00:00Z".parse().unwrap();
        decide(candidates, rules, zone, now)
            .into_iter()
            .map(|verdict| match verdict {
                Verdict::Keep(reasons) => {
                    reasons.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
                }
                Verdict::Delete(rule) => format!("delete: {rule}"),
            })
            .collect()
    }

    #[test]
    fn a_backup_stays_while_one_rule_keeps_it() {
        let candidates = [
            good("2026-11-23T10:00:00Z"),
            good("2026-11-23T01:00:00Z"),
            good("2026-11-22T10:00:00Z"),
            good("2026-11-21T10:00:00Z"),
            good("2026-11-20T10:00:00Z"),
        ];
        let rules = Retention { keep_last: Some(1), daily: Some(3), ..Retention::default() };
        assert_eq!(
            verdicts(&candidates, &rules, Tz::UTC),
            [
                "keepLast 1, daily 1",
                "delete: no keep rule applies",
                "daily 2",
                "daily 3",
                "delete: no keep rule applies",
            ]
        );
    }

    #[test]
    fn only_periods_with_a_good_backup_count() {
        let candidates =
            [good("2026-11-23T10:00:00Z"), bad("2026-11-22T10:00:00Z"), good("2026-10-01T10:00:00Z")];
        let rules = Retention {
            daily: Some(2),
            keep_failed: Some(GoDuration::from_secs(3600)),
            ..Retention::default()
        };
        assert_eq!(
            verdicts(&candidates, &rules, Tz::UTC),
            ["daily 1", "delete: it failed longer ago than that", "daily 2"]
        );
    }

    #[test]
    fn days_are_those_of_the_schedules_zone() {
        // 23:30 and 00:30 in Berlin, the same day in UTC.
        let candidates = [good("2026-11-22T23:30:00Z"), good("2026-11-22T22:30:00Z")];
        let rules = Retention { daily: Some(2), ..Retention::default() };
        assert_eq!(verdicts(&candidates, &rules, Tz::Europe__Berlin), ["daily 1", "daily 2"]);
        assert_eq!(verdicts(&candidates, &rules, Tz::UTC), ["daily 1", "delete: no keep rule applies"]);
    }

    #[test]
    fn the_two_hours_of_an_overlap_are_two() {
        let candidates = [good("2026-10-25T01:30:00Z"), good("2026-10-25T00:30:00Z")];
        let rules = Retention { hourly: Some(5), ..Retention::default() };
        assert_eq!(verdicts(&candidates, &rules, Tz::Europe__Berlin), ["hourly 1", "hourly 2"]);
    }

    #[test]
    fn weeks_start_on_monday_and_belong_to_one_year() {
        let candidates =
            [good("2027-01-03T10:00:00Z"), good("2026-12-28T10:00:00Z"), good("2026-12-27T10:00:00Z")];
        let rules = Retention { weekly: Some(5), ..Retention::default() };
        assert_eq!(
            verdicts(&candidates, &rules, Tz::UTC),
            ["weekly 1", "delete: no keep rule applies", "weekly 2"]
        );
    }

    #[test]
    fn failed_and_unfinished_backups_take_no_good_ones_place() {
        let candidates = [
            Candidate { state: State::Unfinished, ..good("2026-11-23T11:59:00Z") },
            bad("2026-11-23T11:30:00Z"),
            bad("2026-11-23T09:30:00Z"),
            good("2026-11-23T08:00:00Z"),
            good("2026-11-23T07:00:00Z"),
        ];
        let rules = Retention {
            minimum_good: Some(1),
            keep_failed: Some(GoDuration::from_secs(3600)),
            ..Retention::default()
        };
        assert_eq!(
            verdicts(&candidates, &rules, Tz::UTC),
            [
                "unfinished",
                "failed lately",
                "delete: it failed longer ago than that",
                "minimumGood 1",
                "delete: no keep rule applies",
            ]
        );
        let silent = Retention { keep_last: Some(1), ..Retention::default() };
        assert_eq!(verdicts(&candidates[1..2], &silent, Tz::UTC), ["failed, until its ttl"]);
    }
}
