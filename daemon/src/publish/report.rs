//! What one round of publishing did, and what of it is news to people.
//!
//! In: an [`Outcome`] per object. Out: log lines and Kubernetes events for what was done, and for what stands in the
//! way, once, when it begins to.

use std::collections::BTreeMap;
use std::sync::Arc;

use tracing::{info, warn};

use super::act::Outcome;
use super::conflict::FieldConflict;
use super::decide::{Action, ApplyReason, Deed, LeaveReason, Step};
use super::events::{Events, News, Weight, regarding};
use super::object::{ALLOW_PRUNE, APPROVE, Key, Live};

const LOOKING: &str = "this daemon only looks (--mode observe); publishing would";

/// The outcome of every object that a source asks for or once made.
#[derive(Debug, Default)]
pub struct Report {
    pub outcomes: BTreeMap<Key, Outcome>,
}

/// An object that is not as its policy wants it, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    pub reason: Reason,
    pub note: String,
}

/// Why an object is not as its policy wants it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    AwaitsApproval,
    BeingDeleted,
    BucketUnread,
    ClusterHasNoName,
    Conflict,
    Drift,
    Failed,
    NoCompletedBackup,
    NotNoted,
    NotOurs,
    NotPruned,
    PruneHeld,
    TooLate,
    WouldBeChanged,
    WouldBeCreated,
    WouldBeRemoved,
}

impl Reason {
    pub const ALL: [Reason; 16] = [
        Reason::AwaitsApproval,
        Reason::BeingDeleted,
        Reason::BucketUnread,
        Reason::ClusterHasNoName,
        Reason::Conflict,
        Reason::Drift,
        Reason::Failed,
        Reason::NoCompletedBackup,
        Reason::NotNoted,
        Reason::NotOurs,
        Reason::NotPruned,
        Reason::PruneHeld,
        Reason::TooLate,
        Reason::WouldBeChanged,
        Reason::WouldBeCreated,
        Reason::WouldBeRemoved,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Reason::AwaitsApproval => "AwaitsApproval",
            Reason::BeingDeleted => "BeingDeleted",
            Reason::BucketUnread => "BucketUnread",
            Reason::ClusterHasNoName => "ClusterHasNoName",
            Reason::Conflict => "Conflict",
            Reason::Drift => "Drift",
            Reason::Failed => "Failed",
            Reason::NoCompletedBackup => "NoCompletedBackup",
            Reason::NotNoted => "NotNoted",
            Reason::NotOurs => "NotOurs",
            Reason::NotPruned => "NotPruned",
            Reason::PruneHeld => "PruneHeld",
            Reason::TooLate => "TooLate",
            Reason::WouldBeChanged => "WouldBeChanged",
            Reason::WouldBeCreated => "WouldBeCreated",
            Reason::WouldBeRemoved => "WouldBeRemoved",
        }
    }

    pub fn from_name(name: &str) -> Option<Reason> {
        Reason::ALL.into_iter().find(|reason| reason.name() == name)
    }

    /// Whether a policy is not in force because of it, rather than waiting as it says itself.
    pub fn keeps_from_ready(self) -> bool {
        match self {
            Reason::BeingDeleted
            | Reason::BucketUnread
            | Reason::ClusterHasNoName
            | Reason::Conflict
            | Reason::Failed
            | Reason::NotOurs
            | Reason::WouldBeChanged
            | Reason::WouldBeCreated
            | Reason::WouldBeRemoved => true,
            Reason::AwaitsApproval
            | Reason::Drift
            | Reason::NoCompletedBackup
            | Reason::NotNoted
            | Reason::NotPruned
            | Reason::PruneHeld
            | Reason::TooLate => false,
        }
    }
}

impl Report {
    /// What there is to say where the actions are not carried out.
    pub fn of_looking(actions: Vec<Action>) -> Report {
        let reason = |step| match step {
            Step::Leave(reason) => reason,
            Step::CreateOnce | Step::CreateRestore { .. } | Step::Apply(ApplyReason::Missing) => {
                LeaveReason::OnlyObserved(Deed::Create)
            }
            Step::Apply(ApplyReason::Changed | ApplyReason::Adopted | ApplyReason::Drifted { .. }) => {
                LeaveReason::OnlyObserved(Deed::Change)
            }
            Step::Prune { .. } => LeaveReason::OnlyObserved(Deed::Remove),
        };
        let outcome = |Action { key, step }| (key, Outcome::Left(reason(step)));
        Report { outcomes: actions.into_iter().map(outcome).collect() }
    }

    /// How many objects were changed in this round.
    pub fn changes(&self) -> usize {
        let changed = |outcome: &&Outcome| match outcome {
            Outcome::Applied { .. } | Outcome::Created | Outcome::Pruned => true,
            Outcome::Refused(_) | Outcome::Left(_) | Outcome::Failed(_) => false,
        };
        self.outcomes.values().filter(changed).count()
    }

    pub fn failures(&self) -> usize {
        self.outcomes.values().filter(|outcome| matches!(outcome, Outcome::Failed(_))).count()
    }

    /// What keeps objects from being as their policies want them.
    pub fn notices(&self) -> BTreeMap<Key, Notice> {
        let notices = self.outcomes.iter();
        notices.filter_map(|(key, outcome)| Some((key.clone(), notice(outcome)?))).collect()
    }
}

fn notice(outcome: &Outcome) -> Option<Notice> {
    match outcome {
        Outcome::Applied { .. } | Outcome::Created | Outcome::Pruned => None,
        Outcome::Refused(conflicts) => Some(conflict(conflicts)),
        Outcome::Failed(error) => Some(Notice { reason: Reason::Failed, note: chain(error) }),
        Outcome::Left(reason) => left(reason),
    }
}

fn conflict(conflicts: &[FieldConflict]) -> Notice {
    Notice { reason: Reason::Conflict, note: format!("not applied: {}", list(conflicts)) }
}

/// What is to be said about an object that was left; nothing where that is as it should be.
pub fn left(reason: &LeaveReason) -> Option<Notice> {
    let (reason, note) = match reason {
        LeaveReason::Conflict(conflicts) => return Some(conflict(conflicts)),
        LeaveReason::InStep
        | LeaveReason::RanBefore
        | LeaveReason::BucketAsked
        | LeaveReason::OtherCluster { .. }
        | LeaveReason::MayBeReferredTo => return None,
        LeaveReason::BucketUnread { why } => {
            (Reason::BucketUnread, format!("waits until its bucket tells whether it ran before: {why}"))
        }
        LeaveReason::NotOurs { source: Some(source) } => (
            Reason::NotOurs,
            format!("made by source {source}; to take it over, annotate it with {}", super::object::ADOPT),
        ),
        LeaveReason::NotOurs { source: None } => (
            Reason::NotOurs,
            format!("not made by Holdfast; to take it over, annotate it with {}", super::object::ADOPT),
        ),
        LeaveReason::DriftReported { fields } => {
            (Reason::Drift, format!("changed by somebody: {}", fields.join(", ")))
        }
        LeaveReason::BeingDeleted => (Reason::BeingDeleted, "waits until its deletion is over".to_owned()),
        LeaveReason::AwaitsApproval { content_hash } => (
            Reason::AwaitsApproval,
            format!("the restore waits for {APPROVE}={content_hash} on its PolicySet"),
        ),
        LeaveReason::ClusterHasNoName => (
            Reason::ClusterHasNoName,
            "the restore names its clusters, and this one has no --cluster-name".to_owned(),
        ),
        LeaveReason::TooLate { not_after } => {
            (Reason::TooLate, format!("the restore was to begin before {}", not_after.to_rfc3339()))
        }
        LeaveReason::NoCompletedBackup { schedule } => {
            (Reason::NoCompletedBackup, format!("schedule {schedule} has no completed backup yet"))
        }
        LeaveReason::PruneHeld { gone, of, word } => (
            Reason::PruneHeld,
            format!(
                "{gone} of {of} schedules are no longer asked for; removing so many waits for \
                 {ALLOW_PRUNE}={word} on their PolicySet"
            ),
        ),
        LeaveReason::OnlyObserved(Deed::Create) => (Reason::WouldBeCreated, format!("{LOOKING} create it")),
        LeaveReason::OnlyObserved(Deed::Change) => (Reason::WouldBeChanged, format!("{LOOKING} change it")),
        LeaveReason::OnlyObserved(Deed::Remove) => (Reason::WouldBeRemoved, format!("{LOOKING} remove it")),
        LeaveReason::NotPruned => {
            (Reason::NotPruned, "no policy asks for it any more; only schedules are removed".to_owned())
        }
    };
    Some(Notice { reason, note })
}

fn list(conflicts: &[FieldConflict]) -> String {
    conflicts.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}

/// Tells what was done in this round, and what stands in the way now and did not before.
pub async fn tell(events: &Events, namespace: &str, source: &str, report: &Report, seen: &Seen<'_>) {
    for (key, outcome) in &report.outcomes {
        let (kind, name) = (key.kind.name(), key.name.as_str());
        if let Some(done) = done(outcome) {
            info!(source, kind, name, done, "published");
        }
        if let Outcome::Applied { reason: ApplyReason::Drifted { fields }, live } = outcome {
            let fields = fields.join(", ");
            warn!(source, kind, name, fields, "put drift back");
            let note = format!("put back what source {source} sets: {fields}");
            let news = News { weight: Weight::Warning, reason: DRIFT_REVERTED, note };
            events.send(&regarding(namespace, key, Some(&live.uid)), &news).await;
        }
    }
    for (key, notice) in report.notices() {
        if seen.notices.get(&key) == Some(&notice) {
            continue;
        }
        let Notice { reason, note } = notice;
        let (kind, name) = (key.kind.name(), key.name.as_str());
        warn!(source, kind, name, reason = reason.name(), note, "not as its policy wants it");
        // What is not there can't be described, and has its place on the PolicySet.
        if let Some(live) = seen.live.get(&key) {
            let news = News { weight: Weight::Warning, reason: reason.name(), note };
            events.send(&regarding(namespace, &key, Some(&live.uid)), &news).await;
        }
    }
}

/// What was known before the round.
pub struct Seen<'a> {
    pub live: &'a BTreeMap<Key, Arc<Live>>,
    pub notices: &'a BTreeMap<Key, Notice>,
}

/// The reason of the event that tells of drift.
pub const DRIFT_REVERTED: &str = "DriftReverted";

fn done(outcome: &Outcome) -> Option<&'static str> {
    match outcome {
        Outcome::Applied { reason: ApplyReason::Missing, .. } | Outcome::Created => Some("created"),
        Outcome::Applied { reason: ApplyReason::Changed, .. } => Some("changed"),
        Outcome::Applied { reason: ApplyReason::Adopted, .. } => Some("adopted"),
        Outcome::Pruned => Some("removed"),
        Outcome::Applied { reason: ApplyReason::Drifted { .. }, .. }
        | Outcome::Refused(_)
        | Outcome::Left(_)
        | Outcome::Failed(_) => None,
    }
}
