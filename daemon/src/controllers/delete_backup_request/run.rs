//! One deletion, from its request to nothing.
//!
//! First all is read, then the Backup's record in the bucket is marked; from there on there is no way back. Data outside
//! the folder goes first, as only the folder's files know it; then the folder; then the Restores, whose finalizers need the
//! Backup; then the Backup, and the request last. What fails is written into the request and tried again; each step finds
//! what an earlier attempt has done already.

use std::sync::Arc;
use std::time::Duration;

use futures::{TryStreamExt, stream};
use holdfast_policy::velero;
use holdfast_policy::velero::{BackupPhase, DeleteBackupRequestPhase, labels, short_name};
use kube::ResourceExt;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::Controller;
use super::decide::Start;
use super::progress;
use crate::actions::delete::Context;
use crate::controllers::events::{Notice, Severity};
use crate::controllers::stores::reason;
use crate::controllers::watched;
use crate::engine::delete::{self, Data, Record};

/// How long a backup's Restores may take to go, as with Velero.
const RESTORES_TIME_OUT: Duration = Duration::from_secs(60);
const RESTORES_POLL: Duration = Duration::from_millis(100);
/// How many objects of one backup are deleted at a time.
const OBJECTS_AT_A_TIME: usize = 8;

/// How a deletion ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum End {
    Deleted,
    /// The request says why.
    Kept,
    /// The custom resources could not be written, so they still say what is to be done.
    NotWritten {
        reason: String,
    },
    /// Nobody asks for it any more.
    Withdrawn,
    /// It was asked to end.
    Stopped,
}

pub(super) struct Work {
    pub(super) controller: Controller,
    pub(super) request: Arc<velero::DeleteBackupRequest>,
    pub(super) start: Start,
    pub(super) attempt: Attempt,
}

/// Whether an earlier attempt may have come some way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Attempt {
    First,
    Later,
}

/// Why a backup is not deleted.
enum Failure {
    Write(watched::Error),
    /// Nothing was deleted.
    Before {
        errors: Vec<String>,
        again: Again,
    },
    /// The backup may be none any more, and some of it is still there.
    Midway {
        errors: Vec<String>,
    },
}

/// Whether trying again could help.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Again {
    Yes,
    No,
}

impl From<watched::Error> for Failure {
    fn from(error: watched::Error) -> Self {
        Failure::Write(error)
    }
}

pub(super) async fn run(work: Work, cancel: CancellationToken) -> End {
    tokio::select! {
        end = work.carry_out() => end,
        // Wherever this ends it, the next attempt finds out.
        () = cancel.cancelled() => End::Stopped,
    }
}

impl Work {
    async fn carry_out(mut self) -> End {
        let outcome = self.delete().await;
        let noted = match outcome {
            Ok(()) => self.note_success().await.map(|()| End::Deleted),
            Err(Failure::Write(error)) => Err(error),
            Err(Failure::Before { errors, again }) => self.note_failure(errors, again).await,
            Err(Failure::Midway { errors }) => self.write_errors(errors, Again::Yes).await,
        };
        noted.unwrap_or_else(|error| match error.status() {
            // Only of the request: nothing else is written that may be gone.
            Some(404) => End::Withdrawn,
            Some(_) | None => End::NotWritten { reason: reason(&error) },
        })
    }

    fn backup_name(&self) -> &str {
        &self.request.spec.backup_name
    }

    async fn delete(&mut self) -> Result<(), Failure> {
        self.begin().await?;
        self.delete_data().await?;
        self.delete_restores().await?;
        if let Some(backup) = &self.start.backup {
            self.controller.backups.delete(backup.as_ref()).await?;
        }
        Ok(())
    }

    /// Makes the request and the Backup say what is going on.
    async fn begin(&mut self) -> Result<(), Failure> {
        let Controller { requests, backups, .. } = &self.controller;
        stream::iter(self.start.others.iter().map(Ok))
            .try_for_each_concurrent(OBJECTS_AT_A_TIME, |other| requests.delete(other.as_ref()))
            .await?;
        let mut request = self.request.as_ref().clone();
        request.status.phase = Some(DeleteBackupRequestPhase::InProgress);
        request.status.errors = Vec::new();
        let labels = request.labels_mut();
        labels.entry(labels::BACKUP_NAME.to_owned()).or_insert_with(|| short_name(self.backup_name()));
        if let Some(uid) = self.start.backup.as_ref().and_then(|backup| backup.uid()) {
            labels.entry(labels::BACKUP_UID.to_owned()).or_insert(uid);
        }
        let location = self.start.location.name_any();
        request.annotations_mut().insert(progress::LOCATION.to_owned(), location);
        self.request = requests.patch(&self.request, &request).await?;
        if let Some(backup) = &self.start.backup {
            if backup.status_phase() == BackupPhase::Deleting {
                self.attempt = Attempt::Later;
            }
            let mut deleting = backup.as_ref().clone();
            progress::begin(&mut deleting);
            // A run that starts meanwhile is a conflict, and refused by the next look.
            self.start.backup = Some(backups.patch_unchanged(backup, &deleting).await?);
        }
        Ok(())
    }

    async fn delete_data(&self) -> Result<(), Failure> {
        let Controller { stores, cluster, actions, repositories, .. } = &self.controller;
        let name = self.backup_name();
        let failed_before = |error: &dyn std::error::Error| match self.attempt {
            Attempt::First => Failure::Before { errors: vec![reason(error)], again: Again::Yes },
            // How far the earlier one has come can't be told.
            Attempt::Later => Failure::Midway { errors: vec![reason(error)] },
        };
        let store = stores.open(&self.start.location).await.map_err(|error| failed_before(&error))?;
        let record = delete::record(&store, name).await.map_err(|error| failed_before(&error))?;
        self.require_understanding(&record)?;
        let failed = |errors| match record {
            Record::Marked(..) => Failure::Midway { errors },
            Record::Absent | Record::Unreadable { .. } | Record::Whole(_) => {
                Failure::Before { errors, again: Again::Yes }
            }
        };
        let midway = |error: delete::Error| Failure::Midway { errors: vec![reason(&error)] };
        let data = match record {
            Record::Marked(_, Data::Gone) => Vec::new(),
            Record::Marked(_, Data::MayBeThere)
            | Record::Absent
            | Record::Unreadable { .. }
            | Record::Whole(_) => {
                let survey = delete::survey(&store, name).await;
                let survey = survey.map_err(|error| failed(vec![reason(&error)]))?;
                for warning in &survey.warnings {
                    tracing::warn!(backup = name, warning, "deletion of a backup passes something over");
                }
                survey.data
            }
        };
        let is_any = !data.is_empty();
        let (files, data) = delete::pod_volumes::take(data, &self.start.location.name_any());
        let (snapshots, data) = delete::native::take(data);
        let undeletable = delete::undeletable(&data, actions);
        if !undeletable.is_empty() {
            return Err(failed(undeletable));
        }
        let home = self.request.namespace().unwrap_or_default();
        let snapshots = delete::native::open(&snapshots, name, cluster.client(), &home).await;
        let snapshots = snapshots.map_err(failed)?;
        // A mark whose answer got lost is there all the same, so from here on there is no way back.
        if is_any {
            delete::mark(&store, &record, Data::MayBeThere).await.map_err(midway)?;
            let cx = Context { backup: name, location: &self.start.location, cluster };
            let deleted = delete::volumes(&data, actions, &cx).await;
            let forgotten = delete::pod_volumes::delete(&files, name, repositories, &store).await;
            let removed = delete::native::delete(snapshots).await;
            let errors: Vec<String> =
                [deleted, forgotten, removed].into_iter().filter_map(Result::err).flatten().collect();
            if !errors.is_empty() {
                return Err(Failure::Midway { errors });
            }
        }
        delete::mark(&store, &record, Data::Gone).await.map_err(midway)?;
        delete::files(&store, name).await.map_err(midway)
    }

    /// Refuses what would be a guess.
    fn require_understanding(&self, record: &Record) -> Result<(), Failure> {
        let refused = |error: String| Failure::Before { errors: vec![error], again: Again::No };
        match (&self.start.backup, record) {
            // It was deleted from the cluster before its deletion had begun in the bucket.
            (None, Record::Whole(_) | Record::Unreadable { .. }) => {
                Err(refused("backup deletion failed: backup not found".to_owned()))
            }
            (None, Record::Absent | Record::Marked(..)) => Ok(()),
            (Some(backup), _) => match progress::rule(&self.request) {
                None => Ok(()),
                Some(rule) => match delete::unlike_its_record(backup, record) {
                    None => Ok(()),
                    Some(why) => Err(refused(format!(
                        "backup deletion failed: rule {rule} deletes no backup whose metadata in the bucket is not \
                         readable and current: {why}"
                    ))),
                },
            },
        }
    }

    async fn delete_restores(&self) -> Result<(), Failure> {
        let Controller { restores, .. } = &self.controller;
        let of_backup = || {
            let all = restores.all().into_iter();
            all.filter(|restore| restore.spec.backup_name.as_deref() == Some(self.backup_name()))
        };
        stream::iter(of_backup().map(Ok))
            .try_for_each_concurrent(OBJECTS_AT_A_TIME, async |restore| {
                if restore.metadata.deletion_timestamp.is_some() {
                    return Ok(());
                }
                restores.delete(restore.as_ref()).await
            })
            .await?;
        let deadline = Instant::now() + RESTORES_TIME_OUT;
        loop {
            let left: Vec<String> = of_backup().map(|restore| restore.name_any()).collect();
            if left.is_empty() {
                return Ok(());
            }
            if Instant::now() > deadline {
                let error = format!("error deleting restores: still there are {}", left.join(", "));
                return Err(Failure::Midway { errors: vec![error] });
            }
            tokio::time::sleep(RESTORES_POLL).await;
        }
    }

    /// The request goes last, with all others for the same backup.
    async fn note_success(&self) -> Result<(), watched::Error> {
        let Controller { requests, .. } = &self.controller;
        let rule = progress::rule(&self.request).unwrap_or("none");
        tracing::info!(backup = self.backup_name(), rule, "backup deleted");
        let all = requests.all().into_iter();
        let same = all.filter(|request| request.spec.backup_name == self.backup_name());
        stream::iter(same.map(Ok))
            .try_for_each_concurrent(OBJECTS_AT_A_TIME, async |request| {
                requests.delete(request.as_ref()).await
            })
            .await
    }

    /// Nothing is gone, so the Backup is again what it was.
    async fn note_failure(&self, errors: Vec<String>, again: Again) -> Result<End, watched::Error> {
        if let Some(backup) = &self.start.backup {
            let mut after = backup.as_ref().clone();
            progress::take_back(&mut after);
            self.controller.backups.patch(backup, &after).await?;
        }
        self.write_errors(errors, again).await
    }

    async fn write_errors(&self, errors: Vec<String>, again: Again) -> Result<End, watched::Error> {
        let text = errors.join("; ");
        tracing::warn!(backup = self.backup_name(), errors = text, "backup could not be deleted");
        let mut after = self.request.as_ref().clone();
        after.status.phase = Some(DeleteBackupRequestPhase::Processed);
        after.status.errors = errors;
        match again {
            Again::Yes => progress::fail(&mut after, (self.controller.clock)()),
            Again::No => progress::give_up(&mut after),
        }
        self.controller.requests.patch(&self.request, &after).await?;
        if let Some(backup) = &self.start.backup {
            let notice = Notice {
                severity: Severity::Warning,
                reason: "DeletionFailed",
                action: "Delete",
                note: text,
            };
            self.controller.events.tell(backup.as_ref(), notice).await;
        }
        Ok(End::Kept)
    }
}
