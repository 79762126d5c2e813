//! What is next for every DeleteBackupRequest.
//!
//! The checks, their order and their texts are Velero's. Otherwise than there, a request in progress is taken up again after
//! a restart, and one that failed is tried again.

use std::collections::HashMap;
use std::sync::Arc;

use chrono::{DateTime, Duration, Utc};
use holdfast_policy::annotations::HOLD;
use holdfast_policy::time::to_chrono;
use holdfast_policy::velero::{
    AccessMode, Backup, BackupPhase, BackupStorageLocation, DeleteBackupRequest,
    DeleteBackupRequestPhase as Phase, LocationPhase, labels,
};

use super::progress;

/// How long a request that was processed can be looked at.
const LIFETIME: Duration = Duration::hours(24);

#[derive(Clone, Debug)]
pub struct Observed {
    pub requests: Vec<Requested>,
    /// How many deletions may be under way.
    pub limit: usize,
}

#[derive(Clone, Debug)]
pub struct Requested {
    pub request: Arc<DeleteBackupRequest>,
    pub backup: Option<Arc<Backup>>,
    /// Of the backup, or of the request where a deletion has begun.
    pub location_name: String,
    pub location: Option<Arc<BackupStorageLocation>>,
    pub work: Work,
}

/// What this process does about a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    None,
    UnderWay,
    Ended,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Decision {
    Start(Box<Start>),
    Refuse {
        refusal: Refusal,
    },
    Wait {
        until: Option<DateTime<Utc>>,
        reason: Wait,
    },
    /// It was processed long ago.
    Delete,
}

/// What a deletion starts from.
#[derive(Clone, Debug, PartialEq)]
pub struct Start {
    /// Gone where somebody deleted it after the deletion had begun, or where only the request was left to do.
    pub backup: Option<Arc<Backup>>,
    pub location: Arc<BackupStorageLocation>,
    /// Requests for the same backup, which this one stands for.
    pub others: Vec<Arc<DeleteBackupRequest>>,
}

/// Why a backup is not deleted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("spec.backupName is required")]
    NoName,
    #[error("backup is still in progress")]
    InProgress,
    #[error("backup not found")]
    NoBackup,
    /// Only a rule's request is refused for it.
    #[error("backup is held: {why}")]
    Held { why: String },
    #[error("backup storage location {name} not found")]
    NoLocation { name: String },
    #[error("cannot delete backup because backup storage location {name} is currently in read-only mode")]
    ReadOnly { name: String },
    #[error("cannot delete backup because backup storage location {name} is currently in Unavailable state")]
    Unavailable { name: String },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wait {
    UnderWay,
    /// So many others are under way.
    SlotsTaken {
        by: usize,
    },
    /// Another request for the same backup is being carried out.
    Other {
        request: String,
    },
    LocationNotChecked,
    /// It failed, and is tried again.
    Retry,
    /// It was processed, and can be looked at.
    Lifetime,
}

impl Decision {
    /// When it may be decided otherwise though nothing changes.
    pub fn at(&self) -> Option<DateTime<Utc>> {
        match self {
            Decision::Wait { until, reason: _ } => *until,
            Decision::Start(_) | Decision::Refuse { .. } | Decision::Delete => None,
        }
    }
}

/// Oldest requests first.
pub fn decide(observed: &Observed, now: DateTime<Utc>) -> Vec<(Arc<DeleteBackupRequest>, Decision)> {
    let mut requests: Vec<&Requested> = observed.requests.iter().collect();
    requests.sort_by_key(|one| {
        let metadata = &one.request.metadata;
        (metadata.creation_timestamp.as_ref().map(|time| time.0), metadata.name.as_deref())
    });
    let mut by_backup: HashMap<&str, Vec<&Requested>> = HashMap::new();
    for one in &requests {
        by_backup.entry(one.request.spec.backup_name.as_str()).or_default().push(one);
    }
    let mut under_way = requests.iter().filter(|one| one.work == Work::UnderWay).count();
    // A request that starts takes the others for the same backup away, so those are decided about no more.
    let mut stood_for: Vec<&str> = Vec::new();
    let mut decided = Vec::with_capacity(requests.len());
    for one in requests {
        let backup_name = one.request.spec.backup_name.as_str();
        let same = if backup_name.is_empty() { &[][..] } else { by_backup[backup_name].as_slice() };
        if stood_for.contains(&backup_name) {
            continue;
        }
        let decision = decide_one(one, same, under_way, observed.limit, now);
        if matches!(decision, Decision::Start(_)) {
            under_way += 1;
            stood_for.push(backup_name);
        }
        decided.push((one.request.clone(), decision));
    }
    decided
}

fn decide_one(
    one: &Requested,
    same: &[&Requested],
    under_way: usize,
    limit: usize,
    now: DateTime<Utc>,
) -> Decision {
    let wait = |reason| Decision::Wait { until: None, reason };
    let request = &one.request;
    match one.work {
        Work::UnderWay => return wait(Wait::UnderWay),
        Work::None | Work::Ended => (),
    }
    if let Some(other) = same.iter().find(|other| other.work == Work::UnderWay) {
        let request = other.request.metadata.name.clone().unwrap_or_default();
        return wait(Wait::Other { request });
    }
    match (request.status_phase(), progress::retry_at(request)) {
        (Phase::Processed, Some(at)) if at > now => {
            return Decision::Wait { until: Some(at), reason: Wait::Retry };
        }
        (Phase::Processed, None) => {
            let until = request.metadata.creation_timestamp.as_ref().map(|time| to_chrono(time) + LIFETIME);
            return match until {
                Some(until) if until > now => Decision::Wait { until: Some(until), reason: Wait::Lifetime },
                Some(_) | None => Decision::Delete,
            };
        }
        (Phase::Processed, Some(_)) | (Phase::New | Phase::InProgress, _) => (),
    }
    match check(one) {
        Err(refusal) => Decision::Refuse { refusal },
        Ok(Checked::LocationNotChecked) => wait(Wait::LocationNotChecked),
        Ok(Checked::Ready(_)) if under_way >= limit => wait(Wait::SlotsTaken { by: under_way }),
        Ok(Checked::Ready(location)) => {
            let others = same.iter().map(|other| &other.request);
            let others = others.filter(|other| other.metadata.uid != request.metadata.uid);
            Decision::Start(Box::new(Start {
                backup: one.backup.clone(),
                location,
                others: others.cloned().collect(),
            }))
        }
    }
}

enum Checked {
    Ready(Arc<BackupStorageLocation>),
    LocationNotChecked,
}

fn check(one: &Requested) -> Result<Checked, Refusal> {
    let Requested { request, backup, location_name, location, work: _ } = one;
    if request.spec.backup_name.is_empty() {
        return Err(Refusal::NoName);
    }
    if backup.as_ref().is_some_and(|backup| is_running(backup.status_phase())) {
        return Err(Refusal::InProgress);
    }
    if backup.is_none() && progress::location(request).is_none() {
        return Err(Refusal::NoBackup);
    }
    if progress::rule(request).is_some()
        && let Some(backup) = backup
    {
        check_rule(request, backup)?;
    }
    let name = || location_name.clone();
    let location = location.as_ref().ok_or_else(|| Refusal::NoLocation { name: name() })?;
    if location.access_mode() == AccessMode::ReadOnly {
        return Err(Refusal::ReadOnly { name: name() });
    }
    match location.status.phase {
        Some(LocationPhase::Available) => Ok(Checked::Ready(location.clone())),
        Some(LocationPhase::Unavailable) => Err(Refusal::Unavailable { name: name() }),
        None => Ok(Checked::LocationNotChecked),
    }
}

/// What a rule has decided may have changed since, until the deletion has begun.
fn check_rule(request: &DeleteBackupRequest, backup: &Backup) -> Result<(), Refusal> {
    if backup.status_phase() == BackupPhase::Deleting {
        return Ok(());
    }
    let uid = request.metadata.labels.as_ref().and_then(|labels| labels.get(labels::BACKUP_UID));
    if uid != backup.metadata.uid.as_ref() {
        return Err(Refusal::NoBackup);
    }
    match backup.metadata.annotations.as_ref().and_then(|annotations| annotations.get(HOLD)) {
        Some(why) => Err(Refusal::Held { why: why.clone() }),
        None => Ok(()),
    }
}

/// Does somebody write to the backup's folder? What is still queued may be deleted.
fn is_running(phase: BackupPhase) -> bool {
    match phase {
        BackupPhase::InProgress
        | BackupPhase::WaitingForPluginOperations
        | BackupPhase::WaitingForPluginOperationsPartiallyFailed
        | BackupPhase::Finalizing
        | BackupPhase::FinalizingPartiallyFailed => true,
        BackupPhase::New
        | BackupPhase::Queued
        | BackupPhase::ReadyToStart
        | BackupPhase::FailedValidation
        | BackupPhase::Completed
        | BackupPhase::PartiallyFailed
        | BackupPhase::Failed
        | BackupPhase::Deleting => false,
    }
}

#[cfg(test)]
mod tests;
