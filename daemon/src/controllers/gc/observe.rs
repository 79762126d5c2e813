//! All backups, with their locations, schedules, the requests to delete them and the restores that use them.

use holdfast_policy::velero::RestorePhase;
use kube::ResourceExt;

use super::Controller;
use super::decide::{Observed, Seen};

pub(super) fn observe(controller: &Controller) -> Observed {
    let backups = controller.backups.all().into_iter();
    let backups = backups.map(|backup| {
        let location = controller.locations.get(backup.storage_location().unwrap_or_default());
        Seen { backup, location }
    });
    let restores = controller.restores.all().into_iter();
    let in_use = restores.filter(|restore| is_unfinished(restore.status_phase())).filter_map(|restore| {
        Some((restore.spec.backup_name.clone().filter(|name| !name.is_empty())?, restore.name_any()))
    });
    Observed {
        backups: backups.collect(),
        schedules: controller.schedules.all(),
        requests: controller.requests.all(),
        in_use: in_use.collect(),
        cluster: controller.cluster.clone(),
        frequency: controller.frequency,
    }
}

fn is_unfinished(phase: RestorePhase) -> bool {
    match phase {
        RestorePhase::New
        | RestorePhase::InProgress
        | RestorePhase::WaitingForPluginOperations
        | RestorePhase::WaitingForPluginOperationsPartiallyFailed
        | RestorePhase::Finalizing
        | RestorePhase::FinalizingPartiallyFailed => true,
        RestorePhase::FailedValidation
        | RestorePhase::Completed
        | RestorePhase::PartiallyFailed
        | RestorePhase::Failed => false,
    }
}
