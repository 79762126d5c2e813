//! What changes for a location of Velero's once this cluster looks after it. Pure.
//!
//! In: the location, the Backups and Schedules of the cluster, the cluster's name, and what time it is. Out: which
//! backups will expire that are left alone now, and which Schedules run at other instants than Velero runs them at.
//! Nothing is written here.

use chrono::{DateTime, Utc};

use crate::annotations::{ADOPTED_BY, OWNED_BY, TAKE_OVER};
use crate::cron::{self, DayRule};
use crate::ownership::{Cluster, Location, Owner, owner};
use crate::retention::{Reason, Subject, Verdict, judge};
use crate::time::to_chrono;
use crate::velero::{Backup, BackupStorageLocation, Schedule, labels};

/// Who looks after the backups of a location that name no cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Nobody yet.
    Free,
    /// This cluster, already.
    Ours,
    /// The cluster of this name: it looks after them, or it writes there.
    Taken(String),
}

/// A backup that names no cluster.
#[derive(Clone, Debug)]
pub struct Found<'a> {
    pub backup: &'a Backup,
    pub fate: Fate,
}

/// What becomes of a backup once its location is adopted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// At once, as its time is over.
    Now,
    At(DateTime<Utc>),
    /// It stays, for these reasons.
    Stays(Vec<Reason>),
}

/// A Schedule that runs otherwise here.
#[derive(Clone, Debug)]
pub struct Other<'a> {
    pub schedule: &'a Schedule,
    pub change: Change,
}

/// How a Schedule runs otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Its first backup is made at once, and not only at the first instant.
    First,
    /// Day of month and day of week are both given: either may match here, where Velero demands both.
    EitherDay { next: Option<DateTime<Utc>> },
    /// Velero runs it twice on a day on which clocks are put back, and here it runs once.
    ClockChange { at: DateTime<Utc> },
    /// The expression is refused here.
    Refused(cron::Error),
}

#[derive(Clone, Debug)]
pub struct Adoption<'a> {
    pub standing: Standing,
    /// By name.
    pub backups: Vec<Found<'a>>,
    /// By name, each once for every change.
    pub schedules: Vec<Other<'a>>,
}

/// What the cluster has.
#[derive(Clone, Copy, Debug)]
pub struct Given<'a> {
    pub backups: &'a [Backup],
    pub schedules: &'a [Schedule],
    pub location: &'a BackupStorageLocation,
    pub cluster: &'a Cluster,
}

pub fn adoption<'a>(given: &Given<'a>, now: DateTime<Utc>) -> Adoption<'a> {
    let mut schedules: Vec<Other<'a>> =
        given.schedules.iter().flat_map(|one| others(given, one, now)).collect();
    schedules.sort_by_key(|other| other.schedule.metadata.name.as_deref());
    Adoption { standing: standing(given.location, given.cluster), backups: fates(given, now), schedules }
}

fn standing(location: &BackupStorageLocation, cluster: &Cluster) -> Standing {
    let value = |key: &str| {
        let value = location.metadata.annotations.as_ref().and_then(|annotations| annotations.get(key));
        value.filter(|value| !value.is_empty() && **value != cluster.name)
    };
    let adopted = location.metadata.annotations.as_ref().and_then(|annotations| annotations.get(ADOPTED_BY));
    match (value(ADOPTED_BY), value(OWNED_BY)) {
        (Some(other), _) => Standing::Taken(other.clone()),
        (None, Some(other)) if value(TAKE_OVER) != Some(other) => Standing::Taken(other.clone()),
        (None, _) if adopted == Some(&cluster.name) => Standing::Ours,
        (None, _) => Standing::Free,
    }
}

/// Judged as if the location were adopted, among all backups of the cluster: keep rules count the others too.
fn fates<'a>(given: &Given<'a>, now: DateTime<Utc>) -> Vec<Found<'a>> {
    let mut adopted = given.location.metadata.annotations.clone().unwrap_or_default();
    adopted.insert(ADOPTED_BY.to_owned(), given.cluster.name.clone());
    let is_here = |backup: &Backup| backup.spec.storage_location == given.location.metadata.name;
    let subjects: Vec<Subject<'a, Backup>> = given
        .backups
        .iter()
        .map(|backup| {
            let location = is_here(backup).then_some(&adopted);
            Subject { backup, owner: owner(backup, location, given.cluster) }
        })
        .collect();
    let schedules: Vec<&Schedule> = given.schedules.iter().collect();
    let judgements = judge(&subjects, &schedules, now);
    let mut found: Vec<Found<'a>> = subjects
        .iter()
        .zip(judgements)
        .filter(|(subject, _)| {
            is_here(subject.backup) && is_of_nobody(subject.backup, &adopted, given.cluster)
        })
        .map(|(subject, judgement)| {
            let expiration =
                judgement.expiration.or(subject.backup.status.expiration.as_ref().map(to_chrono));
            let fate = match (judgement.verdict, expiration) {
                (Verdict::Delete(_), _) => Fate::Now,
                (Verdict::Keep(reasons), Some(at)) if reasons.iter().all(is_until_its_time) => Fate::At(at),
                (Verdict::Keep(reasons), _) => Fate::Stays(reasons),
            };
            Found { backup: subject.backup, fate }
        })
        .collect();
    found.sort_by_key(|found| found.backup.metadata.name.as_deref());
    found
}

/// Whether a backup names no cluster, whoever named this one.
fn is_of_nobody(
    backup: &Backup,
    location: &std::collections::BTreeMap<String, String>,
    cluster: &Cluster,
) -> bool {
    let named = Cluster::named(&cluster.name);
    match owner(backup, Some(location), &named) {
        Owner::Nobody(Location::Adopted | Location::NotAdopted) => true,
        Owner::ThisCluster | Owner::Other(_) | Owner::Unconfirmed => false,
    }
}

/// Whether what keeps a backup ends with its ttl.
fn is_until_its_time(reason: &Reason) -> bool {
    match reason {
        Reason::Ttl(_)
        | Reason::Last(_)
        | Reason::Newest(..)
        | Reason::FailedLately
        | Reason::NothingSaid
        | Reason::Suspect
        | Reason::UnreadableRules(_) => true,
        Reason::Unfinished
        | Reason::MinimumGood(_)
        | Reason::Held(_)
        | Reason::OtherCluster(_)
        | Reason::NotAdopted
        | Reason::NoClusterName
        | Reason::BeingDeleted
        | Reason::NoTtl => false,
    }
}

/// The changes of one Schedule that writes into the location.
fn others<'a>(given: &Given<'a>, schedule: &'a Schedule, now: DateTime<Utc>) -> Vec<Other<'a>> {
    let named = schedule.spec.template.storage_location.as_deref().filter(|name| !name.is_empty());
    let is_here = match named {
        Some(name) => Some(name) == given.location.metadata.name.as_deref(),
        None => given.location.spec.default,
    };
    if !is_here || schedule.spec.paused {
        return Vec::new();
    }
    let changes = match cron::Schedule::parse(&schedule.spec.schedule, None) {
        Ok(cron) => changes(given, schedule, &cron, now),
        Err(error) => vec![Change::Refused(error)],
    };
    changes.into_iter().map(|change| Other { schedule, change }).collect()
}

fn changes(given: &Given<'_>, schedule: &Schedule, cron: &cron::Schedule, now: DateTime<Utc>) -> Vec<Change> {
    let mut changes = Vec::new();
    let has_run =
        schedule.status.last_backup.is_some() || given.backups.iter().any(|backup| is_of(schedule, backup));
    if !has_run && schedule.spec.skip_immediately != Some(true) {
        changes.push(Change::First);
    }
    match cron.day_rule() {
        DayRule::Plain => (),
        DayRule::Either => changes.push(Change::EitherDay { next: cron.next_after(now) }),
    }
    if let Some(at) = cron.next_repeated_hour(now) {
        changes.push(Change::ClockChange { at });
    }
    changes
}

fn is_of(schedule: &Schedule, backup: &Backup) -> bool {
    let of = backup.metadata.labels.as_ref().and_then(|labels| labels.get(labels::SCHEDULE_NAME));
    of.is_some() && of == schedule.metadata.name.as_ref()
}

#[cfg(test)]
mod tests;
