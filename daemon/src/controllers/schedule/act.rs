//! Making a schedule's backup, and noting in its status what was decided.

use chrono::{DateTime, Utc};
use holdfast_policy::time::from_chrono;
use holdfast_policy::velero;
use holdfast_policy::velero::{SchedulePhase, labels};
use kube::ResourceExt;

use crate::controllers::watched::{self, Watched};

use super::decide::{Decision, Next, Validation};
use super::template;

#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("cannot create the backup {backup}")]
    Create { backup: String, source: watched::Error },
    #[error("there is a backup {backup} already that this schedule did not make")]
    NameTaken { backup: String },
    #[error("cannot write the schedule's status")]
    Status(#[source] watched::Error),
}

/// Whether anything was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Did {
    Nothing,
    Something,
}

/// What a decision has to leave behind, in this order: a run that is made and not noted is found again by its annotation,
/// one that was noted and not made would be lost.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Writes {
    pub(super) backup: Option<velero::Backup>,
    pub(super) status: velero::ScheduleStatus,
}

/// Pure: what [`make`] and then [`note`] write.
pub(super) fn writes(schedule: &velero::Schedule, decision: &Decision, now: DateTime<Utc>) -> Writes {
    let Decision { validation, next } = decision;
    let mut status = schedule.status.clone();
    (status.phase, status.validation_errors) = match validation {
        Validation::Enabled => (Some(SchedulePhase::Enabled), Vec::new()),
        Validation::Failed { errors } => (Some(SchedulePhase::FailedValidation), errors.clone()),
    };
    let mut backup = None;
    match next {
        Next::Create { cause } => {
            let name = template::backup_name(&schedule.name_any(), cause.instant(now));
            backup = Some(template::backup(schedule, &name, cause.due(now)));
            status.last_backup = Some(from_chrono(now));
        }
        Next::AdoptLast { at } => status.last_backup = Some(from_chrono(*at)),
        Next::PutRight { at } => {
            status.last_backup = Some(from_chrono(*at));
            status.last_skipped = None;
        }
        Next::Skip { reason: _ } => status.last_skipped = Some(from_chrono(now)),
        Next::Invalid
        | Next::Paused
        | Next::LookIntoBucket
        | Next::AwaitLocation { .. }
        | Next::Blocked { .. }
        | Next::Sleep { .. }
        | Next::NeverAgain => (),
    }
    Writes { backup, status }
}

/// The first step: creates the backup, if there is one to create.
pub(super) async fn make(writes: &Writes, backups: &Watched<velero::Backup>) -> Result<(), Error> {
    match &writes.backup {
        Some(backup) => create(backup, backups).await,
        None => Ok(()),
    }
}

/// The second step: writes the status, if it is another.
pub(super) async fn note(
    schedule: &velero::Schedule,
    writes: Writes,
    schedules: &Watched<velero::Schedule>,
) -> Result<Did, Error> {
    let Writes { backup: _, status } = writes;
    if status == schedule.status {
        return Ok(Did::Nothing);
    }
    let after = velero::Schedule { status, ..schedule.clone() };
    match schedules.patch(schedule, &after).await {
        Ok(_) => Ok(Did::Something),
        // Deleted meanwhile: there is no status left to write.
        Err(error) if matches!(error.status(), Some(404 | 409)) => Ok(Did::Something),
        Err(error) => Err(Error::Status(error)),
    }
}

async fn create(backup: &velero::Backup, backups: &Watched<velero::Backup>) -> Result<(), Error> {
    let name = backup.name_any();
    match backups.create(backup).await {
        Ok(_) => {
            tracing::info!(backup = name, "backup created by its schedule");
            Ok(())
        }
        Err(error) if error.status() == Some(409) => {
            let schedule = |backup: &velero::Backup| backup.labels().get(labels::SCHEDULE_NAME).cloned();
            let taken_by = backups
                .fetch(&name)
                .await
                .map_err(|source| Error::Create { backup: name.clone(), source })?;
            // The daemon ended after it made this backup and before it noted that.
            if taken_by.is_some_and(|existing| schedule(&existing) == schedule(backup)) {
                Ok(())
            } else {
                Err(Error::NameTaken { backup: name })
            }
        }
        Err(source) => Err(Error::Create { backup: name, source }),
    }
}
