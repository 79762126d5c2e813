//! What one round of publishing did, and what of it is news to people.
//!
//! In: an [`Outcome`] per object. Out: log lines and Kubernetes events for what was done, and for what stands in the
//! way, once, when it begins to.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ObjectReference;
use kube::runtime::events::{Event, EventType, Recorder};
use tracing::{info, warn};

use super::act::Outcome;
use super::conflict::FieldConflict;
use super::decide::{ApplyReason, LeaveReason};
use super::object::{ALLOW_PRUNE, APPROVE, Key};

/// The outcome of every object that a source asks for or once made.
#[derive(Debug, Default)]
pub struct Report {
    pub outcomes: BTreeMap<Key, Outcome>,
}

/// An object that is not as its policy wants it, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    pub reason: &'static str,
    pub note: String,
}

impl Notice {
    /// Whether a policy is not in force because of it, rather than waiting as it says itself.
    pub fn keeps_from_ready(&self) -> bool {
        matches!(self.reason, "Conflict" | "Failed" | "NotOurs" | "BeingDeleted" | "ClusterHasNoName")
    }
}

impl Report {
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
        Outcome::Failed(error) => Some(Notice { reason: "Failed", note: chain(error) }),
        Outcome::Left(reason) => left(reason),
    }
}

fn conflict(conflicts: &[FieldConflict]) -> Notice {
    Notice { reason: "Conflict", note: format!("not applied: {}", list(conflicts)) }
}

/// What is to be said about an object that was left; nothing where that is as it should be.
pub fn left(reason: &LeaveReason) -> Option<Notice> {
    let (reason, note) = match reason {
        LeaveReason::Conflict(conflicts) => return Some(conflict(conflicts)),
        LeaveReason::InStep
        | LeaveReason::RanBefore
        | LeaveReason::OtherCluster { .. }
        | LeaveReason::MayBeReferredTo => return None,
        LeaveReason::NotOurs { source: Some(source) } => (
            "NotOurs",
            format!("made by source {source}; to take it over, annotate it with {}", super::object::ADOPT),
        ),
        LeaveReason::NotOurs { source: None } => (
            "NotOurs",
            format!("not made by Holdfast; to take it over, annotate it with {}", super::object::ADOPT),
        ),
        LeaveReason::DriftReported { fields } => {
            ("Drift", format!("changed by somebody: {}", fields.join(", ")))
        }
        LeaveReason::BeingDeleted => ("BeingDeleted", "waits until its deletion is over".to_owned()),
        LeaveReason::AwaitsApproval { content_hash } => {
            ("AwaitsApproval", format!("the restore waits for {APPROVE}={content_hash} on its PolicySet"))
        }
        LeaveReason::ClusterHasNoName => (
            "ClusterHasNoName",
            "the restore names its clusters, and this one has no --cluster-name".to_owned(),
        ),
        LeaveReason::TooLate { not_after } => {
            ("TooLate", format!("the restore was to begin before {}", not_after.to_rfc3339()))
        }
        LeaveReason::NoCompletedBackup { schedule } => {
            ("NoCompletedBackup", format!("schedule {schedule} has no completed backup yet"))
        }
        LeaveReason::PruneHeld { gone, of, word } => (
            "PruneHeld",
            format!(
                "{gone} of {of} schedules are no longer asked for; removing so many waits for \
                 {ALLOW_PRUNE}={word} on their PolicySet"
            ),
        ),
        LeaveReason::NotPruned => {
            ("NotPruned", "no policy asks for it any more; only schedules are removed".to_owned())
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
pub async fn tell(
    recorder: &Recorder,
    namespace: &str,
    source: &str,
    report: &Report,
    before: &BTreeMap<Key, Notice>,
) {
    for (key, outcome) in &report.outcomes {
        if let Some(done) = done(outcome) {
            info!(source, kind = key.kind.name(), name = key.name, done, "published");
        }
        if let Outcome::Applied { reason: ApplyReason::Drifted { fields }, live } = outcome {
            let note = format!("put back what source {source} sets: {}", fields.join(", "));
            warn!(
                source,
                kind = key.kind.name(),
                name = key.name,
                fields = fields.join(", "),
                "put drift back"
            );
            send(recorder, namespace, key, &live.uid, "DriftReverted", note).await;
        }
    }
    for (key, notice) in report.notices() {
        if before.get(&key) == Some(&notice) {
            continue;
        }
        warn!(
            source,
            kind = key.kind.name(),
            name = key.name,
            reason = notice.reason,
            note = notice.note,
            "not as its policy wants it"
        );
        send(recorder, namespace, &key, "", notice.reason, notice.note).await;
    }
}

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

async fn send(recorder: &Recorder, namespace: &str, key: &Key, uid: &str, reason: &str, note: String) {
    let regarding = ObjectReference {
        api_version: Some(key.kind.api_version()),
        kind: Some(key.kind.name().to_owned()),
        namespace: Some(namespace.to_owned()),
        name: Some(key.name.clone()),
        uid: Some(uid.to_owned()).filter(|uid| !uid.is_empty()),
        ..ObjectReference::default()
    };
    let event = Event {
        type_: EventType::Warning,
        reason: reason.to_owned(),
        note: Some(shorten(note)),
        action: "Publish".to_owned(),
        secondary: None,
    };
    if let Err(error) = recorder.publish(&event, &regarding).await {
        warn!(%key, error = &error as &dyn std::error::Error, "could not write an event");
    }
}

/// The API server takes notes of up to 1024 bytes.
fn shorten(mut note: String) -> String {
    if note.len() > 1024 {
        let mut end = 1020;
        while !note.is_char_boundary(end) {
            end -= 1;
        }
        note.truncate(end);
        note.push_str(" ...");
    }
    note
}
