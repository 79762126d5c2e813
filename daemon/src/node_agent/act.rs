//! Carrying out what was decided about a transfer.

use holdfast_policy::time::from_chrono;
use holdfast_policy::velero;
use holdfast_policy::velero::DataPathPhase as Phase;

use super::Agent;
use super::decide::{Decision, Step};
use super::observe::Observed;
use super::task::Task;
use super::transfer::{self, Attempt, End, in_status};
use crate::controllers::watched;
use crate::repository::Transferred;

#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("cannot write its status")]
    Write(#[from] watched::Error),
    #[error("there is no BackupStorageLocation {name}")]
    NoLocation { name: String },
}

/// What is written into the status of either kind.
struct Change<'a> {
    phase: Phase,
    message: Option<String>,
    end: Option<&'a End>,
}

pub(super) async fn act(agent: &Agent, observed: &Observed, step: &Step) -> Result<(), Error> {
    let Some(task) = observed.task(&step.uid) else {
        match step.decision {
            Decision::Stop => {
                agent.runs.cancel(&step.uid);
            }
            Decision::Forget => agent.runs.forget(&step.uid),
            Decision::Start
            | Decision::Resume
            | Decision::NoteCancelled
            | Decision::Finish { .. }
            | Decision::Wait { .. } => {}
        }
        return Ok(());
    };
    match &step.decision {
        Decision::Start => {
            let location = location(agent, task)?;
            let begun = begin(agent, task).await?;
            launch(agent, begun, location, Attempt::First);
        }
        Decision::Resume => {
            let location = location(agent, task)?;
            launch(agent, task.clone(), location, Attempt::Again);
        }
        Decision::Stop => {
            agent.runs.cancel(&step.uid);
        }
        Decision::Forget => agent.runs.forget(&step.uid),
        Decision::NoteCancelled => {
            let message = Some("cancelled before it began".to_owned());
            write(agent, task, Change { phase: Phase::Canceled, message, end: None }).await?;
        }
        Decision::Finish { end } => {
            finish(agent, task, end).await?;
            agent.runs.forget(&step.uid);
        }
        Decision::Wait { reason: _ } => {}
    }
    Ok(())
}

fn location(agent: &Agent, task: &Task) -> Result<std::sync::Arc<velero::BackupStorageLocation>, Error> {
    let name = task.location();
    agent.locations.get(name).ok_or_else(|| Error::NoLocation { name: name.to_owned() })
}

/// Marks it as in progress and ours.
async fn begin(agent: &Agent, task: &Task) -> Result<Task, Error> {
    let now = from_chrono((agent.clock)());
    Ok(match task {
        Task::Backup(backup) => {
            let mut after = backup.as_ref().clone();
            agent.claim.put_into(&mut after.metadata.annotations);
            after.status.phase = Some(Phase::InProgress);
            after.status.accepted_timestamp = Some(now.clone());
            after.status.start_timestamp = Some(now);
            Task::Backup(agent.backups.patch_unchanged(backup, &after).await?)
        }
        Task::Restore(restore) => {
            let mut after = restore.as_ref().clone();
            agent.claim.put_into(&mut after.metadata.annotations);
            after.status.phase = Some(Phase::InProgress);
            after.status.node = Some(agent.node.clone());
            after.status.accepted_timestamp = Some(now.clone());
            after.status.start_timestamp = Some(now);
            Task::Restore(agent.restores.patch_unchanged(restore, &after).await?)
        }
    })
}

fn launch(
    agent: &Agent,
    task: Task,
    location: std::sync::Arc<velero::BackupStorageLocation>,
    attempt: Attempt,
) {
    let (uid, name) = (task.uid(), task.name());
    tracing::info!(
        kind = task.kind(),
        name,
        volume = task.volume(),
        ?attempt,
        "moving the files of a volume"
    );
    let work = transfer::Work {
        task,
        attempt,
        location,
        client: agent.client.clone(),
        namespace: agent.namespace.clone(),
        clock: agent.clock.clone(),
        pods: agent.pods.clone(),
        stores: agent.stores.clone(),
        backups: agent.backups.clone(),
        restores: agent.restores.clone(),
    };
    agent.runs.start(&uid, &name, |cancel| transfer::run(work, cancel));
}

async fn finish(agent: &Agent, task: &Task, end: &End) -> Result<(), Error> {
    let (kind, name) = (task.kind(), task.name());
    let (phase, message) = match end {
        End::BackedUp { .. } | End::Restored { .. } => (Phase::Completed, None),
        End::Failed { reason } => {
            tracing::warn!(kind, name, reason, "the files of a volume were not moved");
            (Phase::Failed, Some(reason.clone()))
        }
        End::Stopped if task.is_cancelled() => (Phase::Canceled, Some("cancelled".to_owned())),
        // This process ends; another one does it again.
        End::Stopped => return Ok(()),
    };
    tracing::info!(kind, name, phase = phase.as_str(), "a volume is done");
    write(agent, task, Change { phase, message, end: Some(end) }).await
}

async fn write(agent: &Agent, task: &Task, change: Change<'_>) -> Result<(), Error> {
    let Change { phase, message, end } = change;
    let now = from_chrono((agent.clock)());
    match task {
        Task::Backup(backup) => {
            let mut after = backup.as_ref().clone();
            after.status.phase = Some(phase);
            after.status.message = message;
            after.status.completion_timestamp = Some(now);
            if let Some(End::BackedUp { snapshot, folder }) = end {
                after.status.snapshot_id = Some(snapshot.id.clone());
                after.status.path = Some(folder.display().to_string());
                after.status.incremental_bytes = i64::try_from(snapshot.added_bytes).unwrap_or(i64::MAX);
                after.status.progress =
                    in_status(Transferred { total: snapshot.bytes, done: snapshot.bytes });
            }
            agent.backups.patch(backup, &after).await?;
        }
        Task::Restore(restore) => {
            let mut after = restore.as_ref().clone();
            after.status.phase = Some(phase);
            after.status.message = message;
            after.status.completion_timestamp = Some(now);
            if let Some(End::Restored { transferred }) = end {
                after.status.progress = in_status(*transferred);
            }
            agent.restores.patch(restore, &after).await?;
        }
    }
    Ok(())
}
