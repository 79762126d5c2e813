//! A verdict on every backup of a cluster: by its schedule's keep rules, its ttl, what holds it, and whose it is.

use std::collections::{BTreeMap, HashMap};

use chrono::{DateTime, TimeDelta, Utc};
use chrono_tz::Tz;

use super::{Candidate, Reason, Rule, State, Verdict, decide, has_far_fewer};
use crate::annotations;
use crate::cron;
use crate::model::Retention;
use crate::ownership::{Location, Owner};
use crate::velero::{BackupPhase, Mark, Schedule, Summarized};

/// A backup that `minimumGood` keeps gets this much more time ...
const MORE_TIME: TimeDelta = TimeDelta::hours(24);
/// ... as soon as less than this is left. Whoever else reads the bucket goes by the expiration.
const LITTLE_TIME: TimeDelta = TimeDelta::hours(1);

/// A backup to be judged.
#[derive(Clone, Debug)]
pub struct Subject<'a, B> {
    pub backup: &'a B,
    pub owner: Owner,
}

/// What is to become of a backup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judgement {
    pub verdict: Verdict,
    /// Why it has just been found suspect. It carries no mark of that yet; without one it would count as good once the
    /// backup before it is gone.
    pub suspect: Option<String>,
    /// The expiration that it has to get, for `minimumGood` to hold against its ttl.
    pub expiration: Option<DateTime<Utc>>,
}

/// The judgement on each subject, in the order given.
///
/// The rules and the zone are those of the Schedule, where it is there, and otherwise those that the newest backup
/// carries. A rule deletes only backups that carry rules; `minimumGood` keeps the others too.
pub fn judge<B: Summarized>(
    subjects: &[Subject<'_, B>],
    schedules: &[&Schedule],
    now: DateTime<Utc>,
) -> Vec<Judgement> {
    let schedules: HashMap<&str, &Schedule> = schedules
        .iter()
        .filter_map(|schedule| Some((schedule.metadata.name.as_deref()?, *schedule)))
        .collect();
    let mut groups: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    let mut judgements: Vec<Judgement> = subjects.iter().map(|subject| by_ttl_alone(subject, now)).collect();
    for (index, subject) in subjects.iter().enumerate() {
        let schedule = subject.backup.mark(Mark::Schedule).filter(|name| !name.is_empty());
        if let Some(schedule) = schedule.filter(|_| subject.owner.is_ours()) {
            groups.entry(schedule).or_default().push(index);
        }
    }
    for (schedule, mut members) in groups {
        members.sort_by_key(|index| {
            let backup = subjects[*index].backup;
            (backup.started(), backup.name())
        });
        let members: Vec<(usize, &B)> =
            members.into_iter().map(|index| (index, subjects[index].backup)).collect();
        judge_group(schedules.get(schedule).copied(), &members, &mut judgements, now);
    }
    judgements
}

/// `members` are sorted, the oldest first.
fn judge_group<B: Summarized>(
    schedule: Option<&Schedule>,
    members: &[(usize, &B)],
    judgements: &mut [Judgement],
    now: DateTime<Utc>,
) {
    let suspects = suspects(members);
    for ((index, _), suspect) in members.iter().zip(&suspects) {
        judgements[*index].suspect = match suspect {
            Some(Suspect::Found(why)) => Some(why.clone()),
            Some(Suspect::Marked) | None => None,
        };
    }
    let (rules, zone) = match rules(schedule, members) {
        Ok(Some(rules)) => rules,
        Ok(None) => return,
        Err(error) => {
            for (index, _) in members {
                if let Verdict::Keep(reasons) = &mut judgements[*index].verdict {
                    reasons.push(Reason::UnreadableRules(error.clone()));
                }
            }
            return;
        }
    };
    // What is being deleted takes nobody's place.
    let counted: Vec<(usize, &B, Candidate)> = members
        .iter()
        .zip(&suspects)
        .filter(|((_, backup), _)| backup.phase() != BackupPhase::Deleting)
        .map(|((index, backup), suspect)| (*index, *backup, candidate(*backup, suspect.is_some())))
        .collect();
    let candidates: Vec<Candidate> = counted.iter().map(|(_, _, candidate)| candidate.clone()).collect();
    for ((index, backup, _), verdict) in counted.into_iter().zip(decide(&candidates, &rules, zone, now)) {
        let judgement = &mut judgements[index];
        let (verdict, expiration) = combine(backup, verdict, judgement.verdict.clone(), now);
        judgement.verdict = verdict;
        judgement.expiration = expiration;
    }
}

/// One verdict of the keep rules' and the ttl's, and the expiration that makes it hold.
fn combine(
    backup: &impl Summarized,
    by_rules: Verdict,
    by_ttl: Verdict,
    now: DateTime<Utc>,
) -> (Verdict, Option<DateTime<Utc>>) {
    if let Some(why) = backup.mark(Mark::Hold) {
        return (Verdict::Keep(vec![Reason::Held(why.to_owned())]), None);
    }
    match (by_rules, by_ttl) {
        (Verdict::Delete(rule), _) if backup.mark(Mark::Retention).is_some() => (Verdict::Delete(rule), None),
        (Verdict::Delete(_), by_ttl) => (by_ttl, None),
        (Verdict::Keep(reasons), by_ttl) => {
            let is_needed = reasons.iter().any(|reason| matches!(reason, Reason::MinimumGood(_)));
            let little = backup.expiration().is_some_and(|at| at < now + LITTLE_TIME);
            match by_ttl {
                Verdict::Delete(rule) if !is_needed => (Verdict::Delete(rule), None),
                Verdict::Delete(_) | Verdict::Keep(_) => {
                    let expiration = (is_needed && little).then(|| now + MORE_TIME);
                    (Verdict::Keep(reasons), expiration)
                }
            }
        }
    }
}

fn by_ttl_alone<B: Summarized>(subject: &Subject<'_, B>, now: DateTime<Utc>) -> Judgement {
    let Subject { backup, owner } = subject;
    let expiration = backup.expiration();
    let is_over = expiration.is_some_and(|at| at <= now);
    let keep = |reason| Verdict::Keep(vec![reason]);
    let verdict = match owner {
        Owner::Other(cluster) => keep(Reason::OtherCluster(cluster.clone())),
        Owner::Nobody(Location::NotAdopted) => keep(Reason::NotAdopted),
        Owner::Unconfirmed => keep(Reason::NoClusterName),
        Owner::ThisCluster | Owner::Nobody(Location::Adopted) => {
            match (state(backup.phase()), backup.mark(Mark::Hold)) {
                (State::Unfinished, _) => keep(Reason::Unfinished),
                // Nothing holds what has begun to go.
                (_, _) if backup.phase() == BackupPhase::Deleting && is_over => Verdict::Delete(Rule::Ttl),
                (_, _) if backup.phase() == BackupPhase::Deleting => keep(Reason::BeingDeleted),
                (_, Some(why)) => keep(Reason::Held(why.to_owned())),
                (_, None) if is_over => Verdict::Delete(Rule::Ttl),
                (_, None) => keep(expiration.map_or(Reason::NoTtl, Reason::Ttl)),
            }
        }
    };
    Judgement { verdict, suspect: None, expiration: None }
}

fn rules<B: Summarized>(
    schedule: Option<&Schedule>,
    members: &[(usize, &B)],
) -> Result<Option<(Retention, Tz)>, String> {
    let (text, zone) = match schedule {
        Some(schedule) => {
            let zone = cron::Schedule::parse(&schedule.spec.schedule, None);
            let text = schedule.metadata.annotations.as_ref().and_then(|map| map.get(annotations::RETENTION));
            (text.map(String::as_str), zone.map_or(Tz::UTC, |cron| cron.zone()))
        }
        None => {
            let newest = members.iter().rev().find(|(_, backup)| backup.mark(Mark::Retention).is_some());
            let Some((_, backup)) = newest else { return Ok(None) };
            let zone = backup.mark(Mark::TimeZone).map_or(Ok(Tz::UTC), cron::zone);
            (backup.mark(Mark::Retention), zone.map_err(|error| error.to_string())?)
        }
    };
    let rules = text.map(annotations::retention).transpose().map_err(|error| error.to_string())?;
    Ok(rules.map(|rules| (rules, zone)))
}

enum Suspect {
    /// It says so itself.
    Marked,
    Found(String),
}

/// A backup with less than half of the objects of the one before it.
fn suspects<B: Summarized>(members: &[(usize, &B)]) -> Vec<Option<Suspect>> {
    let mut before: Option<(&B, i64)> = None;
    members
        .iter()
        .map(|(_, backup)| {
            let (is_completed, is_ended) = match backup.phase() {
                BackupPhase::Completed => (true, true),
                BackupPhase::PartiallyFailed => (false, true),
                BackupPhase::New
                | BackupPhase::Queued
                | BackupPhase::ReadyToStart
                | BackupPhase::FailedValidation
                | BackupPhase::InProgress
                | BackupPhase::WaitingForPluginOperations
                | BackupPhase::WaitingForPluginOperationsPartiallyFailed
                | BackupPhase::Finalizing
                | BackupPhase::FinalizingPartiallyFailed
                | BackupPhase::Failed
                | BackupPhase::Deleting => (false, false),
            };
            let objects = backup.items_backed_up();
            let last = before;
            if is_ended {
                before = Some((backup, objects));
            }
            if backup.mark(Mark::Suspect).is_some() {
                return Some(Suspect::Marked);
            }
            let (last, objects_before) = last.filter(|_| is_completed)?;
            has_far_fewer(objects, objects_before).then(|| {
                Suspect::Found(format!("{objects} objects, after {objects_before} in {}", last.name()))
            })
        })
        .collect()
}

fn candidate(backup: &impl Summarized, is_suspect: bool) -> Candidate {
    Candidate {
        name: backup.name().to_owned(),
        started: backup.started().unwrap_or_default(),
        state: match state(backup.phase()) {
            State::Good if is_suspect => State::Suspect,
            state => state,
        },
    }
}

fn state(phase: BackupPhase) -> State {
    match phase {
        BackupPhase::New
        | BackupPhase::Queued
        | BackupPhase::ReadyToStart
        | BackupPhase::InProgress
        | BackupPhase::WaitingForPluginOperations
        | BackupPhase::WaitingForPluginOperationsPartiallyFailed
        | BackupPhase::Finalizing
        | BackupPhase::FinalizingPartiallyFailed => State::Unfinished,
        BackupPhase::Completed => State::Good,
        BackupPhase::FailedValidation
        | BackupPhase::PartiallyFailed
        | BackupPhase::Failed
        | BackupPhase::Deleting => State::Bad,
    }
}

#[cfg(test)]
mod tests;
