//! What of a status is news: pure.
//!
//! In: the status that people could read so far, and the one from now on. Out: events, each told once, across restarts
//! too, because what was told stands in the status before.

use holdfast_policy::holdfast::PolicySetStatus;
use holdfast_policy::holdfast::policy_set::{ObjectNotice, RecoveryPoint, ScheduleHealth, Waiting};
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use super::in_force::Trouble;
use super::status::FOREIGN_SERVER;
use crate::publish::act::Outcome;
use crate::publish::decide::ApplyReason;
use crate::publish::events::{News, Weight};
use crate::publish::object::ALLOW_PRUNE;
use crate::publish::report::{DRIFT_REVERTED, Reason, Report};

/// Of one sort at a time; the status has the rest.
const TOLD: usize = 20;

pub fn news(before: &PolicySetStatus, after: &PolicySetStatus) -> Vec<News> {
    let mut news: Vec<News> = of_source(before, after).into_iter().collect();
    let notices = after.notices.iter().filter(|notice| !before.notices.contains(notice));
    news.extend(notices.filter_map(of_notice).take(TOLD));
    let waiting = after.waiting.iter().filter(|waiting| !before.waiting.contains(waiting));
    news.extend(waiting.map(of_waiting).take(TOLD));
    let missed = after.schedules.iter().filter(|schedule| missed(schedule));
    let fresh = missed.filter(|schedule| {
        !before.schedules.iter().any(|known| known.name == schedule.name && self::missed(known))
    });
    news.extend(fresh.map(of_missed).take(TOLD));
    news
}

fn stalled(status: &PolicySetStatus) -> Option<&Condition> {
    status.conditions.iter().find(|condition| condition.type_ == "Stalled" && condition.status == "True")
}

fn of_source(before: &PolicySetStatus, after: &PolicySetStatus) -> Option<News> {
    let text = |condition: &Condition| (condition.reason.clone(), condition.message.clone());
    match (stalled(before), stalled(after)) {
        (was, Some(now)) if was.map(text) != Some(text(now)) => {
            let reason = STALLED.into_iter().find(|reason| *reason == now.reason).unwrap_or("Stalled");
            let note = match reason {
                FOREIGN_SERVER => now.message.clone(),
                _ => format!("{}: what was in force stays in force", now.message),
            };
            Some(News { weight: Weight::Warning, reason, note })
        }
        (_, Some(_)) => None,
        (was, None) => {
            let in_force = after.in_force.as_ref()?;
            let same = before.in_force.as_ref().is_some_and(|known| known.revision == in_force.revision);
            if same && was.is_none() {
                return None;
            }
            let commit = in_force.git_revision.as_ref().map(|commit| format!(", commit {commit}"));
            let note = format!(
                "{} objects are asked for by revision {}{}",
                in_force.objects,
                &in_force.revision[..in_force.revision.len().min(12)],
                commit.unwrap_or_default()
            );
            Some(News { weight: Weight::Normal, reason: "InForce", note })
        }
    }
}

/// The reasons for which a source is stalled.
const STALLED: [&str; 4] = ["SourceUnavailable", "Invalid", "NameTaken", FOREIGN_SERVER];

fn of_notice(notice: &ObjectNotice) -> Option<News> {
    let ObjectNotice { kind, name, reason, note } = notice;
    let reason = Reason::from_name(reason)?;
    // These are told with the word that they wait for.
    if matches!(reason, Reason::PruneHeld | Reason::AwaitsApproval) {
        return None;
    }
    let note = format!("{kind} {name}: {note}");
    Some(News { weight: Weight::Warning, reason: reason.name(), note })
}

fn of_waiting(waiting: &Waiting) -> News {
    let Waiting { annotation, value, lets } = waiting;
    let reason = if annotation == ALLOW_PRUNE { Reason::PruneHeld } else { Reason::AwaitsApproval };
    let note = format!("waits for {annotation}={value} on the PolicySet, which lets {lets}");
    News { weight: Weight::Warning, reason: reason.name(), note }
}

fn missed(schedule: &ScheduleHealth) -> bool {
    schedule.recovery_point == RecoveryPoint::Missed
}

fn of_missed(schedule: &ScheduleHealth) -> News {
    let newest = match &schedule.last_good_backup {
        Some(backup) => format!("the newest is {backup}"),
        None => "there is none".to_owned(),
    };
    let note = format!("schedule {} has no good backup that is new enough: {newest}", schedule.name);
    News { weight: Weight::Warning, reason: "RecoveryPointMissed", note }
}

/// What was put back in a round.
pub fn of_drift(report: &Report) -> Vec<News> {
    let drifted = report.outcomes.iter().filter_map(|(key, outcome)| match outcome {
        Outcome::Applied { reason: ApplyReason::Drifted { fields }, live: _ } => Some((key, fields)),
        Outcome::Applied { .. }
        | Outcome::Created
        | Outcome::Refused(_)
        | Outcome::Pruned
        | Outcome::Left(_)
        | Outcome::Failed(_) => None,
    });
    let tell = |(key, fields): (_, &Vec<String>)| News {
        weight: Weight::Warning,
        reason: DRIFT_REVERTED,
        note: format!("{key}: put back {}", fields.join(", ")),
    };
    drifted.map(tell).take(TOLD).collect()
}

/// The ConfigMaps that news is about: those with problems, or all where it is nobody's in particular.
pub fn concerned<'a>(
    maps: &'a [ObjectReference],
    trouble: Option<&Trouble>,
    at_most: usize,
) -> Vec<&'a ObjectReference> {
    let broken: Vec<&ObjectReference> = match trouble {
        Some(Trouble::Invalid(problems)) => {
            let has_problem = |map: &&ObjectReference| {
                let (namespace, name) = (map.namespace.as_deref(), map.name.as_deref());
                let folder =
                    format!("configmap/{}/{}/", namespace.unwrap_or_default(), name.unwrap_or_default());
                problems.iter().any(|problem| problem.place.file.starts_with(&folder))
            };
            maps.iter().filter(has_problem).take(at_most).collect()
        }
        Some(Trouble::Source(_) | Trouble::Taken { .. }) | None => Vec::new(),
    };
    match broken.is_empty() {
        false => broken,
        true if maps.len() <= at_most => maps.iter().collect(),
        true => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use holdfast_policy::holdfast::policy_set::InForce;
    use holdfast_policy::time::from_chrono;
    use pretty_assertions::assert_eq;

    use super::*;

    fn stalled_for(reason: &str, message: &str) -> PolicySetStatus {
        let condition = Condition {
            type_: "Stalled".to_owned(),
            status: "True".to_owned(),
            reason: reason.to_owned(),
            message: message.to_owned(),
            observed_generation: None,
            last_transition_time: from_chrono(chrono::DateTime::UNIX_EPOCH),
        };
        PolicySetStatus { conditions: vec![condition], in_force: Some(in_force("1")), ..Default::default() }
    }

    fn in_force(revision: &str) -> InForce {
        InForce {
            revision: revision.to_owned(),
            git_revision: None,
            since: from_chrono(chrono::DateTime::UNIX_EPOCH),
            objects: 7,
        }
    }

    fn told(before: &PolicySetStatus, after: &PolicySetStatus) -> Vec<String> {
        let tell = |News { weight, reason, note }: News| format!("{weight:?} {reason}: {note}");
        news(before, after).into_iter().map(tell).collect()
    }

    #[test]
    fn a_problem_is_told_when_it_begins_when_it_changes_and_when_it_ends() {
        let good = PolicySetStatus { in_force: Some(in_force("1")), ..Default::default() };
        let bad = stalled_for("Invalid", "a.yaml:1:1: unknown kind");
        let warning = "Warning Invalid: a.yaml:1:1: unknown kind: what was in force stays in force";
        assert_eq!(told(&good, &bad), [warning]);
        assert_eq!(told(&bad, &bad), [""; 0]);
        let gone = stalled_for("SourceUnavailable", "found no ConfigMap");
        let warning = "Warning SourceUnavailable: found no ConfigMap: what was in force stays in force";
        assert_eq!(told(&bad, &gone), [warning]);
        assert_eq!(told(&gone, &good), ["Normal InForce: 7 objects are asked for by revision 1"]);
        assert_eq!(told(&good, &good), [""; 0]);
    }

    #[test]
    fn what_stands_in_the_way_what_waits_and_what_is_missed_is_told_once() {
        let before = PolicySetStatus::default();
        let notice = |reason: &str, note: &str| ObjectNotice {
            kind: "Schedule".to_owned(),
            name: "shop-nightly".to_owned(),
            reason: reason.to_owned(),
            note: note.to_owned(),
        };
        let after = PolicySetStatus {
            notices: vec![notice("Conflict", "not applied"), notice("PruneHeld", "held")],
            waiting: vec![Waiting {
                annotation: ALLOW_PRUNE.to_owned(),
                value: "1234".to_owned(),
                lets: "4 of 5 schedules be removed".to_owned(),
            }],
            schedules: vec![ScheduleHealth {
                name: "shop-nightly".to_owned(),
                recovery_point: RecoveryPoint::Missed,
                ..Default::default()
            }],
            ..before.clone()
        };
        assert_eq!(
            told(&before, &after),
            [
                "Warning Conflict: Schedule shop-nightly: not applied",
                "Warning PruneHeld: waits for holdfast.dev/allow-prune=1234 on the PolicySet, which lets 4 of 5 \
                 schedules be removed",
                "Warning RecoveryPointMissed: schedule shop-nightly has no good backup that is new enough: there \
                 is none",
            ]
        );
        assert_eq!(told(&after, &after), [""; 0]);
        assert_eq!(told(&after, &before), [""; 0]);
    }
}
