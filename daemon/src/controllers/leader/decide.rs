//! Whether a replica takes the lead or stands by. Pure.

use std::time::Duration;

use chrono::{DateTime, Utc};

/// A lease older than this has no holder, whatever our clock is worth: clocks that differ by more break much else.
const ABANDONED_AFTER: chrono::Duration = chrono::Duration::minutes(2);
/// A leader that went so recently has watched for other servers until now.
const RECENT: chrono::Duration = chrono::Duration::seconds(30);

/// What is known about the lead.
#[derive(Clone, Debug)]
pub struct Observed {
    pub lease: Option<Record>,
    /// For how long we have seen the lease as it is.
    pub unchanged_for: Duration,
    pub instance: String,
}

/// A Lease's content.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// None when it was given back.
    pub holder: Option<String>,
    pub renewed: Option<DateTime<Utc>>,
    pub duration: Duration,
    /// How often the lead has changed hands.
    pub transitions: i32,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    Take { epoch: u64, vacancy: Vacancy },
    StandBy { holder: String },
}

/// Why there is nobody in the lead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Vacancy {
    NoLease,
    Released {
        recently: bool,
    },
    /// Not renewed while we looked.
    Expired,
    /// Not renewed long before we looked.
    Abandoned,
    /// Held by an earlier process of our name, which is gone, or we would not run.
    OurPredecessor,
}

pub fn decide(observed: &Observed, now: DateTime<Utc>) -> Decision {
    let Some(record) = &observed.lease else {
        return Decision::Take { epoch: first_epoch(now), vacancy: Vacancy::NoLease };
    };
    let age = record.renewed.map(|renewed| now - renewed);
    let vacancy = match &record.holder {
        None => Vacancy::Released { recently: age.is_some_and(|age| age < RECENT) },
        Some(holder) if *holder == observed.instance => Vacancy::OurPredecessor,
        Some(_) if observed.unchanged_for >= record.duration => Vacancy::Expired,
        Some(_) if age.is_none_or(|age| age >= ABANDONED_AFTER) => Vacancy::Abandoned,
        Some(holder) => return Decision::StandBy { holder: holder.clone() },
    };
    Decision::Take { epoch: after(record.transitions), vacancy }
}

/// A Lease that was deleted must not begin below the claims that runs still carry, so a new one begins with the minutes
/// since 1970: the lead changes hands less often.
fn first_epoch(now: DateTime<Utc>) -> u64 {
    u64::try_from(now.timestamp() / 60).unwrap_or_default().max(1)
}

fn after(transitions: i32) -> u64 {
    u64::from(transitions.max(0).unsigned_abs()) + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> DateTime<Utc> {
        "2026-11-23T10:00:00Z".parse().unwrap()
    }

    fn record(holder: Option<&str>, seconds_ago: i64) -> Record {
        Record {
            holder: holder.map(str::to_owned),
            renewed: Some(now() - chrono::Duration::seconds(seconds_ago)),
            duration: Duration::from_secs(10),
            transitions: 6,
        }
    }

    #[test]
    fn a_replica_takes_the_lead_exactly_where_nobody_has_it() {
        let take = |vacancy| Decision::Take { epoch: 7, vacancy };
        let stand_by = Decision::StandBy { holder: "other".to_owned() };
        let cases = [
            (record(None, 1), 0, take(Vacancy::Released { recently: true })),
            (record(None, 3600), 0, take(Vacancy::Released { recently: false })),
            (record(Some("us"), 1), 0, take(Vacancy::OurPredecessor)),
            (record(Some("other"), 1), 0, stand_by.clone()),
            // By its own clock the lease is over, but clocks differ: only what we saw ourselves counts.
            (record(Some("other"), 60), 9, stand_by.clone()),
            (record(Some("other"), 60), 10, take(Vacancy::Expired)),
            // A leader whose clock is ahead.
            (record(Some("other"), -300), 9, stand_by),
            (record(Some("other"), -300), 10, take(Vacancy::Expired)),
            (record(Some("other"), 120), 0, take(Vacancy::Abandoned)),
            (Record { renewed: None, ..record(Some("other"), 0) }, 0, take(Vacancy::Abandoned)),
        ];
        for (record, unchanged_for, expected) in cases {
            let observed = Observed {
                lease: Some(record.clone()),
                unchanged_for: Duration::from_secs(unchanged_for),
                instance: "us".to_owned(),
            };
            assert_eq!(decide(&observed, now()), expected, "{record:?} unchanged for {unchanged_for} s");
        }
    }

    #[test]
    fn epochs_rise_even_if_the_lease_was_deleted() {
        let epoch = |lease: Option<Record>, now| {
            let observed = Observed { lease, unchanged_for: Duration::ZERO, instance: "us".to_owned() };
            match decide(&observed, now) {
                Decision::Take { epoch, vacancy: _ } => epoch,
                Decision::StandBy { holder } => panic!("stands by for {holder}"),
            }
        };
        let first = epoch(None, now());
        let transitions = i32::try_from(first).unwrap() + 3;
        let later = epoch(Some(Record { transitions, ..record(None, 1) }), now());
        assert_eq!(later, first + 4);
        assert!(epoch(None, now() + chrono::Duration::minutes(5)) > later);
    }
}
