//! Where a restore takes its objects from, as far as the cluster knows.

use std::sync::Arc;

use holdfast_policy::velero;
use holdfast_policy::velero::{Mark, Summarized};

use super::Controller;

/// The Backup that the restore names.
pub(super) fn backup_of(controller: &Controller, restore: &velero::Restore) -> Option<Arc<velero::Backup>> {
    controller.backups.get(restore.spec.backup_name.as_deref()?)
}

/// The location of that Backup.
pub(super) fn location_of(
    controller: &Controller,
    restore: &velero::Restore,
) -> Option<Arc<velero::BackupStorageLocation>> {
    controller.locations.get(backup_of(controller, restore)?.spec.storage_location.as_deref()?)
}

/// All Backups that the restore may mean: the one it names, or those of the schedule it names.
pub(super) fn candidates(controller: &Controller, restore: &velero::Restore) -> Vec<velero::Backup> {
    if let Some(backup) = backup_of(controller, restore) {
        return vec![backup.as_ref().clone()];
    }
    let Some(schedule) = &restore.spec.schedule_name else { return Vec::new() };
    let backups = controller.backups.all();
    let of_schedule = backups.iter().filter(|backup| backup.mark(Mark::Schedule) == Some(schedule));
    let whole = of_schedule.filter_map(|backup| controller.backups.get(backup.name()));
    whole.map(|backup| backup.as_ref().clone()).collect()
}
