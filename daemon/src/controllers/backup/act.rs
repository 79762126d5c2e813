//! Carrying out what was decided about a Backup.

use std::sync::Arc;

use holdfast_policy::annotations;
use holdfast_policy::time::from_chrono;
use holdfast_policy::velero;
use holdfast_policy::velero::{BackupPhase, BackupProgress};
use kube::ResourceExt;

use crate::controllers::watched;
use crate::engine::backup::{
    Environment, KubernetesVersion, PolicySources, Prepared, ReadError, SnapshotCounts, existing_namespaces,
    prepare,
};
use crate::engine::native::{self, SnapshotLocations};

use super::decide::{Decision, OrphanDecision, Step, is_cancelled};
use super::run::{self, Attempt, Completion, End};
use super::{Controller, Registry, complete, observe};

/// Why a backup failed that was not to be taken up again, in Velero's words.
const INTERRUPTED: &str =
    "found a backup with status \"InProgress\" during the server starting, mark it as \"Failed\"";
/// Why a backup failed that a person ended.
const CANCELLED: &str = "backup execution failed: the backup was cancelled";

#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("cannot write the backup")]
    Write(#[from] watched::Error),
    #[error("cannot list the cluster's namespaces")]
    Namespaces { source: Box<dyn std::error::Error + Send + Sync> },
    #[error("cannot ask the cluster for its version")]
    Version { source: Box<kube::Error> },
    #[error("cannot read its resource policy")]
    Policy(#[source] Box<ReadError>),
    #[error("cannot look for snapshot locations")]
    SnapshotLocations(#[source] native::Error),
    #[error("its location is gone")]
    LocationGone,
    #[error("its metadata is not in the bucket: {reason}")]
    NotCompleted { reason: String },
}

pub(super) async fn act(controller: &Controller, registry: &Registry, step: Step) -> Result<(), Error> {
    match step {
        Step::Run { uid, decision: OrphanDecision::Cancel } => registry.cancel(&uid),
        Step::Run { uid, decision: OrphanDecision::Forget } => {
            tracing::info!(uid, "run of a deleted backup has ended");
            registry.forget(&uid);
        }
        Step::Backup { backup, decision } => match decision {
            Decision::Enqueue { position } | Decision::MoveUp { position } => {
                set_phase(controller, &backup, BackupPhase::Queued, position).await?;
            }
            Decision::MakeReady => set_phase(controller, &backup, BackupPhase::ReadyToStart, 0).await?,
            Decision::Start => start(controller, registry, &backup).await?,
            Decision::Resume => launch(controller, registry, backup, Attempt::AfterRestart).await?,
            Decision::FailAfterRestart => launch(controller, registry, backup, Attempt::None).await?,
            Decision::FailCancelled => fail(controller, &backup, CANCELLED.to_owned()).await?,
            Decision::Cancel => registry.cancel(uid(&backup)),
            Decision::Finish { end } => finish(controller, registry, &backup, &end).await?,
            Decision::Complete => complete(controller, registry, backup)?,
            Decision::NoteCompletion { completion } => {
                note_completion(controller, registry, &backup, &completion).await?;
            }
            Decision::Wait { reason: _ } | Decision::LeaveAlone { owner: _ } => (),
        },
    }
    Ok(())
}

fn uid(backup: &velero::Backup) -> &str {
    backup.metadata.uid.as_deref().unwrap_or_default()
}

async fn set_phase(
    controller: &Controller,
    backup: &velero::Backup,
    phase: BackupPhase,
    position: i64,
) -> Result<(), Error> {
    let mut after = backup.clone();
    after.status.phase = Some(phase);
    after.status.queue_position = position;
    // Not over a deletion that has begun meanwhile.
    controller.backups.patch_unchanged(backup, &after).await?;
    Ok(())
}

async fn start(controller: &Controller, registry: &Registry, backup: &velero::Backup) -> Result<(), Error> {
    let namespaces = existing_namespaces(&controller.cluster).await;
    let namespaces = namespaces.map_err(|source| Error::Namespaces { source: Box::new(source) })?;
    let version = controller.cluster.client().apiserver_version().await;
    let version = version.map_err(|source| Error::Version { source: Box::new(source) })?;
    let kubernetes =
        KubernetesVersion { git_version: version.git_version, major: version.major, minor: version.minor };
    let locations: Vec<velero::BackupStorageLocation> =
        controller.locations.all().iter().map(|location| location.as_ref().clone()).collect();
    let policies =
        PolicySources::read(&controller.cluster, backup, controller.global_policies.as_deref()).await;
    let policies = policies.map_err(|error| Error::Policy(Box::new(error)))?;
    let snapshot_locations = SnapshotLocations::new(
        controller.cluster.client(),
        backup.metadata.namespace.as_deref().unwrap_or_default(),
    );
    let snapshot_locations = snapshot_locations.list().await.map_err(Error::SnapshotLocations)?;
    let environment = Environment {
        locations: &locations,
        snapshot_locations: &snapshot_locations,
        namespaces: &namespaces,
        kubernetes: &kubernetes,
        defaults: &controller.defaults,
        policies: &policies,
    };
    match prepare(backup, environment, (controller.clock)()) {
        Prepared::Invalid(after) => {
            controller.backups.patch_unchanged(backup, &after).await?;
            Ok(())
        }
        Prepared::Ready(mut after) => {
            controller.claim.put_into(&mut after.metadata.annotations);
            after.annotations_mut().insert(annotations::CLUSTER.to_owned(), controller.cluster_name.clone());
            let claimed = controller.backups.patch_unchanged(backup, &after).await?;
            launch(controller, registry, claimed, Attempt::First).await
        }
    }
}

/// Starts the run of a backup that is in progress and ours.
async fn launch(
    controller: &Controller,
    registry: &Registry,
    backup: Arc<velero::Backup>,
    attempt: Attempt,
) -> Result<(), Error> {
    let Some(location) = observe::location_of(controller, &backup) else {
        return fail(controller, &backup, "backup execution failed: its location is gone".to_owned()).await;
    };
    let work = run::Work {
        backup: backup.clone(),
        location,
        attempt,
        stores: controller.stores.clone(),
        cluster: controller.cluster.clone(),
        backups: controller.backups.clone(),
        clock: controller.clock.clone(),
        turns: registry.turns.clone(),
        options: controller.options,
        pod_volumes: controller.pod_volumes.clone(),
    };
    registry.runs.start(uid(&backup), &backup.name_any(), |cancel| run::run(work, cancel));
    Ok(())
}

async fn finish(
    controller: &Controller,
    registry: &Registry,
    backup: &velero::Backup,
    end: &End,
) -> Result<(), Error> {
    match end {
        End::Done { outcome } => {
            let mut after = backup.clone();
            let archive_bytes = outcome.archive.archive_bytes.to_string();
            after.annotations_mut().insert(annotations::ARCHIVE_BYTES.to_owned(), archive_bytes);
            let status = &mut after.status;
            status.phase = Some(if outcome.errors == 0 {
                BackupPhase::Finalizing
            } else {
                BackupPhase::FinalizingPartiallyFailed
            });
            status.warnings = count(outcome.warnings);
            status.errors = count(outcome.errors);
            let items = count(outcome.items);
            status.progress = Some(BackupProgress { total_items: items, items_backed_up: items });
            let crate::hooks::Counts { attempted, failed } = outcome.hooks;
            status.hook_status =
                Some(velero::HookStatus { hooks_attempted: count(attempted), hooks_failed: count(failed) });
            let SnapshotCounts {
                native_attempted,
                native_completed,
                csi_attempted,
                csi_completed,
                moves_attempted,
                moves_completed,
            } = outcome.snapshots;
            status.volume_snapshots_attempted = count(native_attempted);
            status.volume_snapshots_completed = count(native_completed);
            status.csi_volume_snapshots_attempted = count(csi_attempted);
            status.csi_volume_snapshots_completed = count(csi_completed);
            // Snapshots of CSI drivers, and moves of their data, are the only operations that a run has.
            let (attempted, completed) = (csi_attempted + moves_attempted, csi_completed + moves_completed);
            status.backup_item_operations_attempted = count(attempted);
            status.backup_item_operations_completed = count(completed);
            status.backup_item_operations_failed = count(attempted.saturating_sub(completed));
            controller.backups.patch(backup, &after).await?;
        }
        End::Failed { reason } => {
            fail(controller, backup, format!("backup execution failed: {reason}")).await?;
        }
        End::GivenUp => fail(controller, backup, INTERRUPTED.to_owned()).await?,
        End::Stopped if is_cancelled(backup) => fail(controller, backup, CANCELLED.to_owned()).await?,
        // Nobody asked for the backup's end, so it is taken up again.
        End::Stopped => (),
    }
    registry.runs.forget(uid(backup));
    Ok(())
}

fn complete(controller: &Controller, registry: &Registry, backup: Arc<velero::Backup>) -> Result<(), Error> {
    let location = observe::location_of(controller, &backup).ok_or(Error::LocationGone)?;
    let work = complete::Work {
        backup: backup.clone(),
        location,
        stores: controller.stores.clone(),
        client: controller.cluster.client().clone(),
        clock: controller.clock.clone(),
    };
    registry.completions.start(uid(&backup), &backup.name_any(), |cancel| complete::run(work, cancel));
    Ok(())
}

async fn note_completion(
    controller: &Controller,
    registry: &Registry,
    backup: &velero::Backup,
    completion: &Completion,
) -> Result<(), Error> {
    match completion {
        Completion::Written { at } => {
            controller.backups.patch(backup, &complete::completed(backup, *at)).await?;
            registry.completions.forget(uid(backup));
            Ok(())
        }
        Completion::NotWritten { reason } => {
            registry.completions.forget(uid(backup));
            Err(Error::NotCompleted { reason: reason.clone() })
        }
    }
}

async fn fail(controller: &Controller, backup: &velero::Backup, reason: String) -> Result<(), Error> {
    let mut after = backup.clone();
    after.status.phase = Some(BackupPhase::Failed);
    after.status.failure_reason = Some(reason);
    after.status.completion_timestamp = Some(from_chrono((controller.clock)()));
    controller.backups.patch(backup, &after).await?;
    Ok(())
}

/// Counts in a status are signed, as in Go; none comes near the end of the range.
fn count(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
