//! Checking a location, and writing what came out into its status.

use std::sync::Arc;
use std::time::Duration;

use holdfast_policy::time::from_chrono;
use holdfast_policy::velero;

use crate::clock::Clock;
use crate::controllers::runs::Runs;
use crate::controllers::stores::{self, Stores};
use crate::controllers::watched::{self, Watched};

use super::decide::Check;
use super::observe::Memory;

/// A bucket that has not answered by then is unavailable.
const TIME_OUT: Duration = Duration::from_secs(60);

pub(super) fn check(
    location: Arc<velero::BackupStorageLocation>,
    stores: &Stores,
    checks: &Runs<Check>,
    clock: &Clock,
    memory: &mut Memory,
) {
    let uid = location.metadata.uid.clone().unwrap_or_default();
    let name = location.metadata.name.clone().unwrap_or_default();
    memory.checked(&uid, location.spec.clone());
    let stores = stores.clone();
    let clock = clock.clone();
    checks.start(&uid, &name, |cancel| async move {
        let outcome = tokio::select! {
            outcome = tokio::time::timeout(TIME_OUT, look(&stores, &location)) => match outcome {
                Ok(outcome) => outcome,
                Err(_) => Err(format!("no answer within {} s", TIME_OUT.as_secs())),
            },
            () = cancel.cancelled() => Err("the daemon was stopped".to_owned()),
        };
        Check { at: clock(), outcome }
    });
}

async fn look(stores: &Stores, location: &velero::BackupStorageLocation) -> Result<(), String> {
    let store = stores.open(location).await.map_err(|error| stores::reason(&error))?;
    store.check().await.map_err(|error| stores::reason(&error))
}

pub(super) async fn record(
    location: &velero::BackupStorageLocation,
    check: &Check,
    locations: &Watched<velero::BackupStorageLocation>,
    checks: &Runs<Check>,
) -> Result<(), watched::Error> {
    let name = location.metadata.name.as_deref().unwrap_or_default();
    let mut after = location.clone();
    after.status.last_validation_time = Some(from_chrono(check.at));
    match &check.outcome {
        Ok(()) => {
            after.status.phase = Some(velero::LocationPhase::Available);
            after.status.message = None;
        }
        Err(reason) => {
            after.status.phase = Some(velero::LocationPhase::Unavailable);
            after.status.message = Some(format!("BackupStorageLocation \"{name}\" is unavailable: {reason}"));
        }
    }
    if after.status.phase != location.status.phase {
        tracing::info!(
            location = name,
            phase = ?after.status.phase,
            message = after.status.message,
            "location checked"
        );
    }
    match locations.patch(location, &after).await {
        Ok(_) => (),
        // Deleted while it was checked: there is nothing left to write to.
        Err(error) if matches!(error.status(), Some(404 | 409)) => (),
        Err(error) => return Err(error),
    }
    checks.forget(location.metadata.uid.as_deref().unwrap_or_default());
    Ok(())
}
