//! What is to be done about the end of every backup.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use holdfast_policy::duration::GoDuration;
use holdfast_policy::ownership::{Cluster, owner};
use holdfast_policy::retention::{Judgement, Rule, Subject, Verdict, judge};
use holdfast_policy::time::to_chrono;
use holdfast_policy::velero::{
    AccessMode, BackupStorageLocation, BackupSummary, DeleteBackupRequest, DeleteBackupRequestPhase,
    LocationPhase, Mark, Schedule, Summarized,
};

use crate::controllers::delete_backup_request::progress;

#[derive(Clone, Debug)]
pub struct Observed {
    pub backups: Vec<Seen>,
    pub schedules: Vec<Arc<Schedule>>,
    pub requests: Vec<Arc<DeleteBackupRequest>>,
    /// Backups of which an unfinished restore, which has this name, needs the files.
    pub in_use: BTreeMap<String, String>,
    pub cluster: Cluster,
    pub frequency: GoDuration,
}

#[derive(Clone, Debug)]
pub struct Seen {
    pub backup: Arc<BackupSummary>,
    pub location: Option<Arc<BackupStorageLocation>>,
}

#[derive(Clone, Debug)]
pub struct Step {
    pub backup: Arc<BackupSummary>,
    pub location: Option<Arc<BackupStorageLocation>>,
    pub decision: Decision,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Decision {
    /// Its end has not come.
    Keep {
        until: Option<DateTime<Utc>>,
    },
    /// It has far fewer objects than the one before, which it says from now on.
    MarkSuspect {
        why: String,
    },
    /// Without it the schedule would have too few good backups.
    MoveExpiration {
        to: DateTime<Utc>,
    },
    /// Its location stands in the way, and a label on the Backup says so.
    Label {
        failure: Failure,
    },
    Request {
        rule: Rule,
    },
    Wait {
        until: Option<DateTime<Utc>>,
        reason: Wait,
    },
}

/// The values of Velero's label for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    NoLocation,
    ReadOnly,
}

impl Failure {
    pub fn as_str(self) -> &'static str {
        match self {
            Failure::NoLocation => "BSLNotFound",
            Failure::ReadOnly => "BSLReadOnly",
        }
    }
}

/// What a backup waits for whose end has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wait {
    /// There is a request for it already.
    Requested {
        request: String,
    },
    /// A request was refused lately.
    Refused {
        request: String,
    },
    LocationUnavailable,
    /// As its label says.
    Location {
        failure: Failure,
    },
    InUse {
        restore: String,
    },
    /// Another backup of the schedule has to be marked first, or this one would count for too much.
    Marks,
}

impl Decision {
    /// When it may be decided otherwise though nothing changes.
    pub fn at(&self) -> Option<DateTime<Utc>> {
        match self {
            Decision::Keep { until } | Decision::Wait { until, reason: _ } => *until,
            Decision::MarkSuspect { .. }
            | Decision::MoveExpiration { .. }
            | Decision::Label { .. }
            | Decision::Request { .. } => None,
        }
    }

    pub fn is_act(&self) -> bool {
        match self {
            Decision::Keep { .. } | Decision::Wait { .. } => false,
            Decision::MarkSuspect { .. }
            | Decision::MoveExpiration { .. }
            | Decision::Label { .. }
            | Decision::Request { .. } => true,
        }
    }
}

pub fn decide(observed: &Observed, now: DateTime<Utc>) -> Vec<Step> {
    let schedules: Vec<&Schedule> = observed.schedules.iter().map(Arc::as_ref).collect();
    let subjects: Vec<Subject<'_, BackupSummary>> = observed
        .backups
        .iter()
        .map(|seen| {
            let location = seen.location.as_ref().and_then(|location| location.metadata.annotations.as_ref());
            let owner = owner(seen.backup.as_ref(), location, &observed.cluster);
            Subject { backup: seen.backup.as_ref(), owner }
        })
        .collect();
    let judgements = judge(&subjects, &schedules, now);
    let unmarked: HashSet<&str> = observed
        .backups
        .iter()
        .zip(&judgements)
        .filter(|(_, judgement)| judgement.suspect.is_some())
        .filter_map(|(seen, _)| seen.backup.mark(Mark::Schedule))
        .collect();
    let mut requests: HashMap<&str, Vec<&DeleteBackupRequest>> = HashMap::new();
    for request in &observed.requests {
        requests.entry(request.spec.backup_name.as_str()).or_default().push(request);
    }
    let steps = observed.backups.iter().zip(judgements).map(|(seen, judgement)| {
        let name = seen.backup.name();
        let facts = Facts {
            seen,
            requests: requests.get(name).map(Vec::as_slice).unwrap_or_default(),
            restore: observed.in_use.get(name),
            is_group_marked: !seen
                .backup
                .mark(Mark::Schedule)
                .is_some_and(|schedule| unmarked.contains(schedule)),
            frequency: observed.frequency,
        };
        let decision = facts.decide(judgement, now);
        Step { backup: seen.backup.clone(), location: seen.location.clone(), decision }
    });
    steps.collect()
}

struct Facts<'a> {
    seen: &'a Seen,
    requests: &'a [&'a DeleteBackupRequest],
    restore: Option<&'a String>,
    is_group_marked: bool,
    frequency: GoDuration,
}

impl Facts<'_> {
    fn decide(&self, judgement: Judgement, now: DateTime<Utc>) -> Decision {
        let Judgement { verdict, suspect, expiration } = judgement;
        if let Some(why) = suspect {
            return Decision::MarkSuspect { why };
        }
        if let Some(to) = expiration {
            return match self.location() {
                Ok(()) => Decision::MoveExpiration { to },
                // Where nothing can be written, nothing can be deleted either.
                Err(reason) => Decision::Wait { until: None, reason },
            };
        }
        match verdict {
            Verdict::Keep(_) => {
                let until = self.seen.backup.expiration();
                Decision::Keep { until: until.filter(|until| *until > now) }
            }
            Verdict::Delete(rule) => self.end(rule, now),
        }
    }

    fn end(&self, rule: Rule, now: DateTime<Utc>) -> Decision {
        let wait = |until, reason| Decision::Wait { until, reason };
        if !self.is_group_marked {
            return wait(None, Wait::Marks);
        }
        if let Some(restore) = self.restore {
            return wait(None, Wait::InUse { restore: restore.clone() });
        }
        match self.location() {
            Ok(()) => (),
            Err(Wait::Location { failure }) if self.label() != Some(failure.as_str()) => {
                return Decision::Label { failure };
            }
            Err(reason) => return wait(None, reason),
        }
        for request in self.requests {
            let name = request.metadata.name.clone().unwrap_or_default();
            match request.status_phase() {
                DeleteBackupRequestPhase::New | DeleteBackupRequestPhase::InProgress => {
                    return wait(None, Wait::Requested { request: name });
                }
                DeleteBackupRequestPhase::Processed if progress::retry_at(request).is_some() => {
                    return wait(None, Wait::Requested { request: name });
                }
                DeleteBackupRequestPhase::Processed => {
                    let created = request.metadata.creation_timestamp.as_ref().map(to_chrono);
                    let until = created.map(|created| created + self.frequency.to_chrono());
                    if let Some(until) = until.filter(|until| *until > now) {
                        return wait(Some(until), Wait::Refused { request: name });
                    }
                }
            }
        }
        Decision::Request { rule }
    }

    fn location(&self) -> Result<(), Wait> {
        let Some(location) = &self.seen.location else {
            return Err(Wait::Location { failure: Failure::NoLocation });
        };
        match location.status.phase {
            Some(LocationPhase::Available) => (),
            Some(LocationPhase::Unavailable) | None => return Err(Wait::LocationUnavailable),
        }
        if location.access_mode() == AccessMode::ReadOnly {
            return Err(Wait::Location { failure: Failure::ReadOnly });
        }
        Ok(())
    }

    fn label(&self) -> Option<&str> {
        self.seen.backup.mark(Mark::DeletionFailure)
    }
}

#[cfg(test)]
mod tests;
