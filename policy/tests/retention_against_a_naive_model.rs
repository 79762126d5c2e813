//! Random backups and rules beside a model that looks at every backup once for every rule, and what must hold for all.

use std::collections::BTreeSet;

use chrono::{DateTime, Datelike, Offset, TimeDelta, Timelike, Utc};
use chrono_tz::Tz;
use holdfast_policy::duration::GoDuration;
use holdfast_policy::model::Retention;
use holdfast_policy::ownership::Owner;
use holdfast_policy::retention::{Candidate, Reason, Rule, State, Subject, Verdict, decide, judge};
use holdfast_policy::velero::Backup;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::json;

const ZONES: [Tz; 4] = [Tz::UTC, Tz::Europe__Berlin, Tz::America__New_York, Tz::Australia__Lord_Howe];

fn now() -> DateTime<Utc> {
    "2026-11-23T12:00:00Z".parse().expect("it is an instant")
}

/// The backups start within a few days around changes of the clock, or spread over three years.
fn backups() -> impl Strategy<Value = Vec<(i64, State)>> {
    let state =
        select(vec![State::Good, State::Good, State::Good, State::Bad, State::Unfinished, State::Suspect]);
    let age = prop_oneof![0_i64..72, 670_i64..760, 0_i64..26_000];
    prop::collection::vec((age, state), 0..40)
}

fn rules() -> impl Strategy<Value = Retention> {
    let number = || option::of(0_u32..6);
    let keep_failed = option::of((0_i64..500).prop_map(|hours| GoDuration::from_secs(hours * 3600)));
    (number(), number(), number(), number(), number(), number(), number(), keep_failed).prop_map(
        |(keep_last, hourly, daily, weekly, monthly, yearly, minimum_good, keep_failed)| Retention {
            keep_last,
            hourly,
            daily,
            weekly,
            monthly,
            yearly,
            minimum_good,
            keep_failed,
        },
    )
}

fn candidates(backups: &[(i64, State)]) -> Vec<Candidate> {
    backups
        .iter()
        .enumerate()
        .map(|(index, (age, state))| Candidate {
            name: format!("b-{index:02}"),
            started: now() - TimeDelta::hours(*age),
            state: *state,
        })
        .collect()
}

type Period = fn(DateTime<Tz>) -> String;

const PERIODS: [Period; 5] = [
    |local| format!("{} {} {}", local.date_naive(), local.hour(), local.offset().fix()),
    |local| local.date_naive().to_string(),
    |local| format!("{:?}", local.iso_week()),
    |local| format!("{} {}", local.year(), local.month()),
    |local| local.year().to_string(),
];

/// Is this good backup kept by a rule?
fn is_kept(of: &Candidate, all: &[Candidate], rules: &Retention, zone: Tz) -> bool {
    let newer = |one: &&Candidate| {
        one.state == State::Good
            && (one.started > of.started || (one.started == of.started && one.name < of.name))
    };
    let rank = all.iter().filter(newer).count() as u32;
    let by_rank = [rules.keep_last, rules.minimum_good].into_iter().flatten().any(|limit| rank < limit);
    let limits = [rules.hourly, rules.daily, rules.weekly, rules.monthly, rules.yearly];
    by_rank
        || PERIODS.into_iter().zip(limits).any(|(period, limit)| {
            let own = period(of.started.with_timezone(&zone));
            let before: BTreeSet<String> =
                all.iter().filter(newer).map(|one| period(one.started.with_timezone(&zone))).collect();
            limit.is_some_and(|limit| !before.contains(&own) && (before.len() as u32) < limit)
        })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, ..ProptestConfig::default() })]

    #[test]
    fn keep_rules_agree_with_the_model(
        backups in backups(),
        rules in rules(),
        zone in select(ZONES.to_vec()),
    ) {
        let all = candidates(&backups);
        let verdicts = decide(&all, &rules, zone, now());
        for (candidate, verdict) in all.iter().zip(&verdicts) {
            let is_deleted = matches!(verdict, Verdict::Delete(_));
            let expected = match candidate.state {
                State::Unfinished | State::Suspect => false,
                State::Bad => rules
                    .keep_failed
                    .is_some_and(|time| now() - candidate.started >= time.to_chrono()),
                State::Good => !is_kept(candidate, &all, &rules, zone),
            };
            prop_assert_eq!(is_deleted, expected, "{:?} {:?}", candidate, verdict);
        }
    }

    #[test]
    fn nothing_brings_a_schedule_below_its_minimum_of_good_backups(
        backups in prop::collection::vec((0_i64..2000, any::<bool>(), option::of(-500_i64..500), 0_i64..50), 0..30),
        rules in rules(),
    ) {
        let text = serde_json::to_string(&rules).expect("rules are JSON");
        let all: Vec<Backup> = backups
            .iter()
            .enumerate()
            .map(|(index, (age, is_good, left, objects))| {
                serde_json::from_value(json!({
                    "metadata": {
                        "name": format!("b-{index:02}"), "labels": {"velero.io/schedule-name": "s"},
                        "annotations": {"holdfast.dev/retention": text},
                    },
                    "status": {
                        "phase": if *is_good { "Completed" } else { "Failed" },
                        "startTimestamp": now() - TimeDelta::hours(*age),
                        "expiration": left.map(|left| now() + TimeDelta::hours(left)),
                        "progress": {"itemsBackedUp": objects},
                    },
                }))
                .expect("it is a Backup")
            })
            .collect();
        let subjects: Vec<Subject<'_, Backup>> =
            all.iter().map(|backup| Subject { backup, owner: Owner::ThisCluster }).collect();
        let judgements = judge(&subjects, &[], now());
        let is_suspect = |index: usize| judgements[index].suspect.is_some();
        let good: Vec<usize> = (0..all.len())
            .filter(|index| backups[*index].1 && !is_suspect(*index))
            .collect();
        let kept = good.iter().filter(|index| matches!(judgements[**index].verdict, Verdict::Keep(_))).count();
        let minimum = rules.minimum_good.unwrap_or(0) as usize;
        prop_assert!(kept >= minimum.min(good.len()), "{} of {} good ones stay", kept, good.len());
        for (backup, judgement) in all.iter().zip(&judgements) {
            let expiration = backup.status.expiration.as_ref().map(holdfast_policy::time::to_chrono);
            let is_over = expiration.is_some_and(|at| at <= now());
            match &judgement.verdict {
                // What stays though its time is over has a reason, and gets time.
                Verdict::Keep(reasons) if is_over => {
                    prop_assert!(reasons.iter().any(|reason| matches!(reason, Reason::MinimumGood(_))));
                    prop_assert!(judgement.expiration.is_some_and(|at| at > now()));
                }
                Verdict::Delete(Rule::Ttl) => prop_assert!(is_over),
                Verdict::Keep(_) | Verdict::Delete(_) => (),
            }
        }
    }
}
