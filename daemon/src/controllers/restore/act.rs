//! Carrying out what was decided about a Restore.

use std::sync::Arc;

use holdfast_policy::time::from_chrono;
use holdfast_policy::velero;
use holdfast_policy::velero::{LocationPhase, RestorePhase, RestoreProgress, labels};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{Api, ResourceExt};

use crate::controllers::watched;
use crate::engine::backup::ReadError;
use crate::engine::restore::{Facts, ModifierSource, MoveCounts, modifier_config_map, read_policy, validate};

use super::decide::{Decision, OrphanDecision, Step};
use super::run::{self, End, Removal};
use super::{Controller, Registry, source};

#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("cannot write the restore")]
    Write(#[from] watched::Error),
    #[error("cannot read ConfigMap {name}")]
    Modifiers { name: String, source: Box<kube::Error> },
    #[error("cannot read the resource policy")]
    Policy(#[from] ReadError),
    #[error("its files in the bucket are still there: {reason}")]
    FilesStay { reason: String },
    #[error("its files in the bucket can't be removed while location {location} is unavailable")]
    LocationUnavailable { location: String },
}

pub(super) async fn act(controller: &Controller, registry: &Registry, step: Step) -> Result<(), Error> {
    match step {
        Step::Run { uid, decision: OrphanDecision::Cancel } => registry.cancel(&uid),
        Step::Run { uid, decision: OrphanDecision::Forget } => registry.forget(&uid),
        Step::Restore { restore, decision } => match decision {
            Decision::AddFinalizer => add_finalizer(controller, &restore).await?,
            Decision::Start => start(controller, registry, &restore).await?,
            Decision::Resume => launch(controller, registry, restore).await?,
            Decision::FailAfterRestart => {
                let reason = "found a restore with status \"InProgress\" during the server starting, \
                              mark it as \"Failed\"";
                fail(controller, &restore, reason.to_owned()).await?;
            }
            Decision::Finish { end } => finish(controller, registry, &restore, &end).await?,
            Decision::Complete => complete(controller, &restore).await?,
            Decision::Cancel => registry.cancel(uid(&restore)),
            Decision::RemoveFiles => remove_files(controller, registry, &restore).await?,
            Decision::NoteRemoval { removal } => {
                note_removal(controller, registry, &restore, &removal).await?
            }
            Decision::Wait { reason: _ } | Decision::LeaveAlone { owner: _ } => (),
        },
    }
    Ok(())
}

fn uid(restore: &velero::Restore) -> &str {
    restore.metadata.uid.as_deref().unwrap_or_default()
}

async fn add_finalizer(controller: &Controller, restore: &velero::Restore) -> Result<(), Error> {
    let mut after = restore.clone();
    after.finalizers_mut().push(labels::RESTORE_FINALIZER.to_owned());
    controller.restores.patch_unchanged(restore, &after).await?;
    Ok(())
}

async fn start(controller: &Controller, registry: &Registry, restore: &velero::Restore) -> Result<(), Error> {
    let config_map = match modifier_config_map(&restore.spec) {
        Some(name) => {
            let config_maps: Api<ConfigMap> =
                Api::namespaced(controller.cluster.client().clone(), &controller.namespace);
            let found = config_maps.get_opt(name).await;
            let found = found
                .map_err(|source| Error::Modifiers { name: name.to_owned(), source: Box::new(source) })?;
            Some((name, found))
        }
        None => None,
    };
    let data = config_map.as_ref().map(|(name, found)| {
        (*name, found.as_ref().map(|config_map| config_map.data.clone().unwrap_or_default()))
    });
    let modifiers = match &data {
        None => ModifierSource::NotNamed,
        Some((name, None)) => ModifierSource::Missing { name },
        Some((name, Some(data))) => ModifierSource::Found { name, data },
    };
    let backups = source::candidates(controller, restore);
    let locations: Vec<velero::BackupStorageLocation> =
        controller.locations.all().iter().map(|location| location.as_ref().clone()).collect();
    let policy = read_policy(&controller.cluster, restore).await?;
    let facts = Facts { backups: &backups, locations: &locations, modifiers, policy: &policy };
    let validated = validate(restore, facts);

    let mut after = restore.clone();
    after.spec = validated.spec;
    let timeout = after.spec.item_operation_timeout_or(controller.item_operation_timeout);
    after.spec.item_operation_timeout = Some(timeout);
    if !validated.problems.is_empty() {
        after.status.phase = Some(RestorePhase::FailedValidation);
        after.status.validation_errors = validated.problems;
        controller.restores.patch_unchanged(restore, &after).await?;
        return Ok(());
    }
    after.status.phase = Some(RestorePhase::InProgress);
    after.status.start_timestamp = Some(from_chrono((controller.clock)()));
    controller.claim.put_into(&mut after.metadata.annotations);
    let claimed = controller.restores.patch_unchanged(restore, &after).await?;
    launch(controller, registry, claimed).await
}

/// Starts the run of a restore that is in progress and ours.
async fn launch(
    controller: &Controller,
    registry: &Registry,
    restore: Arc<velero::Restore>,
) -> Result<(), Error> {
    let backup = source::backup_of(controller, &restore);
    let location = source::location_of(controller, &restore);
    let (Some(backup), Some(location)) = (backup, location) else {
        let reason = "restore execution failed: its backup or that backup's location is gone";
        return fail(controller, &restore, reason.to_owned()).await;
    };
    let work = run::Work {
        restore: restore.clone(),
        backup,
        location,
        stores: controller.stores.clone(),
        cluster: controller.cluster.clone(),
        restores: controller.restores.clone(),
        clock: controller.clock.clone(),
        timeouts: controller.timeouts,
        options: controller.options,
        pod_volumes: controller.pod_volumes.clone(),
    };
    registry.runs.start(uid(&restore), &restore.name_any(), |cancel| run::run(work, cancel));
    Ok(())
}

async fn finish(
    controller: &Controller,
    registry: &Registry,
    restore: &velero::Restore,
    end: &End,
) -> Result<(), Error> {
    match end {
        End::Done { outcome } => {
            let mut after = restore.clone();
            let status = &mut after.status;
            status.phase = Some(if outcome.errors == 0 {
                RestorePhase::Finalizing
            } else {
                RestorePhase::FinalizingPartiallyFailed
            });
            status.warnings = count(outcome.warnings);
            status.errors = count(outcome.errors);
            let items = count(outcome.items);
            status.progress = Some(RestoreProgress { total_items: items, items_restored: items });
            let crate::hooks::Counts { attempted, failed } = outcome.hooks;
            status.hook_status =
                Some(velero::HookStatus { hooks_attempted: count(attempted), hooks_failed: count(failed) });
            let MoveCounts { attempted, completed } = outcome.moves;
            status.restore_item_operations_attempted = count(attempted);
            status.restore_item_operations_completed = count(completed);
            status.restore_item_operations_failed = count(attempted.saturating_sub(completed));
            controller.restores.patch(restore, &after).await?;
        }
        End::Refused { problems } => {
            let mut after = restore.clone();
            after.status.phase = Some(RestorePhase::FailedValidation);
            after.status.validation_errors = problems.clone();
            after.status.start_timestamp = None;
            controller.restores.patch(restore, &after).await?;
        }
        End::Failed { reason } => {
            fail(controller, restore, format!("restore execution failed: {reason}")).await?;
        }
        // Nobody asked for the restore's end, so it is taken up again.
        End::Stopped => (),
    }
    registry.runs.forget(uid(restore));
    Ok(())
}

async fn complete(controller: &Controller, restore: &velero::Restore) -> Result<(), Error> {
    let mut after = restore.clone();
    after.status.phase = Some(if restore.status.errors == 0 {
        RestorePhase::Completed
    } else {
        RestorePhase::PartiallyFailed
    });
    after.status.completion_timestamp = Some(from_chrono((controller.clock)()));
    controller.restores.patch(restore, &after).await?;
    Ok(())
}

async fn fail(controller: &Controller, restore: &velero::Restore, reason: String) -> Result<(), Error> {
    let mut after = restore.clone();
    after.status.phase = Some(RestorePhase::Failed);
    after.status.failure_reason = Some(reason);
    after.status.completion_timestamp = Some(from_chrono((controller.clock)()));
    controller.restores.patch(restore, &after).await?;
    Ok(())
}

/// Counts in a status are signed, as in Go; none comes near the end of the range.
fn count(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

async fn remove_files(
    controller: &Controller,
    registry: &Registry,
    restore: &velero::Restore,
) -> Result<(), Error> {
    let Some(location) = source::location_of(controller, restore) else {
        // Without its backup nobody can say where its files would be.
        return remove_finalizer(controller, registry, restore).await;
    };
    if location.status.phase != Some(LocationPhase::Available) {
        return Err(Error::LocationUnavailable { location: location.name_any() });
    }
    let stores = controller.stores.clone();
    let name = restore.name_any();
    registry
        .removals
        .start(uid(restore), &name.clone(), |cancel| run::remove_files(name, location, stores, cancel));
    Ok(())
}

async fn note_removal(
    controller: &Controller,
    registry: &Registry,
    restore: &velero::Restore,
    removal: &Removal,
) -> Result<(), Error> {
    match removal {
        Removal::Removed => remove_finalizer(controller, registry, restore).await,
        Removal::NotRemoved { reason } => {
            registry.removals.forget(uid(restore));
            Err(Error::FilesStay { reason: reason.clone() })
        }
    }
}

async fn remove_finalizer(
    controller: &Controller,
    registry: &Registry,
    restore: &velero::Restore,
) -> Result<(), Error> {
    let mut after = restore.clone();
    after.finalizers_mut().retain(|finalizer| finalizer != labels::RESTORE_FINALIZER);
    match controller.restores.patch(restore, &after).await {
        Ok(_) => (),
        Err(error) if error.status() == Some(404) => (),
        Err(error) => return Err(error.into()),
    }
    registry.forget(uid(restore));
    Ok(())
}
