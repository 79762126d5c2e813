//! How the Schedules of a set in force fare: a pure function of the set, the records of runs and the time.
//!
//! In: what the set promises, what `runs` knows. Out: one [`ScheduleHealth`] per Schedule, and when that changes by
//! itself.

use chrono::{DateTime, Utc};
use holdfast_policy::holdfast::policy_set::{RecoveryPoint, ScheduleHealth};
use holdfast_policy::objective::Objective;
use holdfast_policy::time::{from_chrono, to_chrono};

use super::runs::{Good, Ran};

/// A Schedule that a set asks for.
#[derive(Clone, Debug)]
pub struct Promised {
    pub name: String,
    pub policy: String,
    pub suspended: bool,
    pub objective: Objective,
}

/// How one fares.
pub fn health(promised: &Promised, ran: &Ran, good: Option<Good>, now: DateTime<Utc>) -> ScheduleHealth {
    let Promised { name, policy, suspended, objective } = promised;
    // Without a backup the first run after the Schedule's creation is what is owed.
    let start = good.as_ref().map(|good| good.started).or(ran.created);
    let until = start.and_then(|start| objective.kept_until(start));
    let in_time = until.is_none_or(|until| now <= until);
    let recovery_point = match (suspended, in_time, &good) {
        (true, _, _) => RecoveryPoint::Suspended,
        (false, true, Some(_)) => RecoveryPoint::Met,
        (false, true, None) => RecoveryPoint::Unknown,
        (false, false, _) => RecoveryPoint::Missed,
    };
    let next_run = if *suspended || ran.paused { None } else { objective.next_run(now) };
    let jitter = Some(objective.jitter).filter(|jitter| !jitter.is_zero());
    ScheduleHealth {
        name: name.clone(),
        policy: policy.clone(),
        met_until: until.filter(|_| good.is_some() && !suspended).map(from_chrono),
        last_good_time: good.as_ref().map(|good| from_chrono(good.started)),
        last_good_backup: good.map(|good| good.name),
        next_run: next_run.map(from_chrono),
        time_zone: objective.cron.zone().name().to_owned(),
        jitter: jitter.map(|jitter| jitter.to_string()),
        recovery_point,
    }
}

/// When what was told stops being true, if nothing else happens before.
pub fn until(health: &ScheduleHealth) -> Option<DateTime<Utc>> {
    let met_until = health.met_until.as_ref().filter(|_| health.recovery_point == RecoveryPoint::Met);
    health.next_run.iter().chain(met_until).map(to_chrono).min()
}

#[cfg(test)]
mod tests {
    use holdfast_policy::cron;
    use holdfast_policy::duration::GoDuration;
    use pretty_assertions::assert_eq;

    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    fn promised() -> Promised {
        Promised {
            name: "shop-hourly".to_owned(),
            policy: "shop".to_owned(),
            suspended: false,
            objective: Objective {
                cron: cron::Schedule::parse("@hourly", None).unwrap(),
                jitter: GoDuration::from_secs(60),
                starting_deadline: None,
                max_runtime: Some(GoDuration::from_secs(600)),
            },
        }
    }

    fn created() -> Ran {
        Ran { created: Some(at("2026-11-23T09:30:00Z")), ..Ran::default() }
    }

    fn good() -> Option<Good> {
        Some(Good { started: at("2026-11-23T10:01:00Z"), name: "shop-hourly-20261123100100".to_owned() })
    }

    fn point(ran: &Ran, good: Option<Good>, now: &str) -> RecoveryPoint {
        health(&promised(), ran, good, at(now)).recovery_point
    }

    #[test]
    fn the_objective_is_met_until_a_later_run_has_used_up_its_time() {
        assert_eq!(point(&created(), good(), "2026-11-23T11:11:00Z"), RecoveryPoint::Met);
        assert_eq!(point(&created(), good(), "2026-11-23T11:11:01Z"), RecoveryPoint::Missed);
        // Nothing was owed yet, then the first run was.
        assert_eq!(point(&created(), None, "2026-11-23T10:11:00Z"), RecoveryPoint::Unknown);
        assert_eq!(point(&created(), None, "2026-11-23T10:11:01Z"), RecoveryPoint::Missed);
        assert_eq!(point(&Ran::default(), None, "2026-11-23T10:11:01Z"), RecoveryPoint::Unknown);
    }

    #[test]
    fn what_is_told_is_told_with_its_end() {
        let health = health(&promised(), &created(), good(), at("2026-11-23T10:30:00Z"));
        let expected = ScheduleHealth {
            name: "shop-hourly".to_owned(),
            policy: "shop".to_owned(),
            last_good_backup: Some("shop-hourly-20261123100100".to_owned()),
            last_good_time: Some(from_chrono(at("2026-11-23T10:01:00Z"))),
            next_run: Some(from_chrono(at("2026-11-23T11:01:00Z"))),
            time_zone: "UTC".to_owned(),
            jitter: Some("1m0s".to_owned()),
            recovery_point: RecoveryPoint::Met,
            met_until: Some(from_chrono(at("2026-11-23T11:11:00Z"))),
        };
        assert_eq!(health, expected);
        assert_eq!(until(&health), Some(at("2026-11-23T11:01:00Z")));
    }

    #[test]
    fn a_policy_that_suspends_promises_nothing_and_a_person_who_pauses_breaks_the_promise() {
        let suspended = Promised { suspended: true, ..promised() };
        let late = at("2026-11-23T12:00:00Z");
        let health = super::health(&suspended, &created(), good(), late);
        assert_eq!((health.recovery_point, health.next_run), (RecoveryPoint::Suspended, None));
        let paused = Ran { paused: true, ..created() };
        let health = super::health(&promised(), &paused, good(), late);
        assert_eq!((health.recovery_point, health.next_run), (RecoveryPoint::Missed, None));
    }
}
