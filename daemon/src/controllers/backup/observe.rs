//! The Backups that have not ended, with the state of their locations and of the runs of this process.

use std::sync::Arc;

use holdfast_policy::velero;
use holdfast_policy::velero::{BackupPhase, Summarized};

use crate::controllers::location::default;

use super::decide::{Location, Observed, Unfinished};
use super::{Controller, Registry};

pub(super) fn observe(controller: &Controller, registry: &Registry) -> Observed {
    let unfinished = controller
        .backups
        .all()
        .into_iter()
        // A deletion is the deletion controller's, whatever the backup was doing.
        .filter(|backup| !backup.phase().has_ended() && backup.phase() != BackupPhase::Deleting)
        .filter_map(|backup| controller.backups.get(backup.name()))
        .filter(|backup| !controller.left_alone.contains(&backup.status_phase()))
        .map(|backup| {
            let location = match location_of(controller, &backup) {
                Some(location) if location.status.phase.is_none() => Location::NotChecked,
                Some(_) | None => Location::Settled,
            };
            Unfinished { backup, location }
        })
        .collect();
    Observed {
        unfinished,
        runs: registry.runs.states(),
        completions: registry.completions.states(),
        claim: controller.claim.clone(),
        limit: controller.limit,
        on_restart: controller.on_restart,
    }
}

/// Where the backup goes, or would go if it were started now.
pub(super) fn location_of(
    controller: &Controller,
    backup: &velero::Backup,
) -> Option<Arc<velero::BackupStorageLocation>> {
    match &backup.spec.storage_location {
        Some(name) => controller.locations.get(name),
        None => controller.locations.get(&default_location(controller)),
    }
}

/// The location of backups that name none.
pub(super) fn default_location(controller: &Controller) -> String {
    let locations = controller.locations.all();
    let marked = default::choose(locations.iter().map(Arc::as_ref)).name;
    marked.unwrap_or_else(|| controller.defaults.location.clone())
}
