//! Checking a location, and writing what came out into its status.

use std::sync::Arc;
use std::time::Duration;

use holdfast_policy::time::from_chrono;
use holdfast_policy::velero;

use crate::controllers::runs::Runs;
use crate::controllers::watched;

use super::decide::Check;
use super::observe::Memory;
use super::{Controller, place};

/// A bucket that has not answered by then is unavailable.
const TIME_OUT: Duration = Duration::from_secs(60);

pub(super) fn check(
    controller: &Controller,
    location: Arc<velero::BackupStorageLocation>,
    checks: &Runs<Check>,
    memory: &mut Memory,
) {
    let uid = location.metadata.uid.clone().unwrap_or_default();
    let name = location.metadata.name.clone().unwrap_or_default();
    memory.checked(&uid, location.spec.clone());
    let clock = controller.clock.clone();
    let work = place::Work {
        holds_backups: place::holds_backups(&controller.backups, &location),
        location,
        cluster_name: controller.cluster_name.clone(),
        claims: controller.claims,
        stores: controller.stores.clone(),
        clock: clock.clone(),
    };
    checks.start(&uid, &name, |cancel| async move {
        let outcome = tokio::select! {
            outcome = tokio::time::timeout(TIME_OUT, place::look(&work)) => match outcome {
                Ok(outcome) => outcome,
                Err(_) => Err(format!("no answer within {} s", TIME_OUT.as_secs())),
            },
            () = cancel.cancelled() => Err("the daemon was stopped".to_owned()),
        };
        Check { at: clock(), outcome }
    });
}

pub(super) async fn record(
    controller: &Controller,
    location: &velero::BackupStorageLocation,
    check: &Check,
    checks: &Runs<Check>,
) -> Result<(), watched::Error> {
    let name = location.metadata.name.as_deref().unwrap_or_default();
    let mut after = location.clone();
    after.status.last_validation_time = Some(from_chrono(check.at));
    match &check.outcome {
        Ok(place) => {
            place.put_into(&mut after);
            after.status.phase = Some(velero::LocationPhase::Available);
            after.status.message = controller.brakes.of(location).or_else(|| place.message());
        }
        Err(reason) => {
            after.status.phase = Some(velero::LocationPhase::Unavailable);
            after.status.message = Some(format!("BackupStorageLocation \"{name}\" is unavailable: {reason}"));
        }
    }
    if (after.status.phase, &after.status.message) != (location.status.phase, &location.status.message) {
        tracing::info!(
            location = name,
            phase = ?after.status.phase,
            message = after.status.message,
            "location checked"
        );
    }
    match controller.locations.patch(location, &after).await {
        Ok(_) => (),
        // Deleted while it was checked: there is nothing left to write to.
        Err(error) if matches!(error.status(), Some(404 | 409)) => (),
        Err(error) => return Err(error),
    }
    checks.forget(location.metadata.uid.as_deref().unwrap_or_default());
    Ok(())
}
