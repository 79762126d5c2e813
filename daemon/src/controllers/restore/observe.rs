//! The Restores that need something, with the state of their locations and of the runs of this process.

use std::sync::Arc;

use holdfast_policy::velero;

use super::decide::{Location, Observed, Pending};
use super::run::{End, Removal};
use super::{Controller, source};
use crate::controllers::runs::Runs;

pub(super) fn observe(controller: &Controller, runs: &Runs<End>, removals: &Runs<Removal>) -> Observed {
    let restores = controller
        .restores
        .all()
        .into_iter()
        .filter(|restore| {
            restore.metadata.deletion_timestamp.is_some() || !restore.status_phase().has_ended()
        })
        .filter(|restore| !controller.left_alone.contains(&restore.status_phase()))
        .map(|restore| Pending { location: location(controller, &restore), restore })
        .collect();
    Observed {
        restores,
        runs: runs.states(),
        removals: removals.states(),
        claim: controller.claim.clone(),
        limit: controller.limit,
        on_restart: controller.on_restart,
    }
}

fn location(controller: &Controller, restore: &Arc<velero::Restore>) -> Location {
    match source::location_of(controller, restore) {
        Some(location) if location.status.phase.is_none() => Location::NotChecked,
        Some(_) | None => Location::Settled,
    }
}
