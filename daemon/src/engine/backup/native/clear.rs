//! What an attempt at a backup that was interrupted has left with the providers of its snapshot locations.

use holdfast_policy::velero;
use kube::Client;

use crate::causes::with_causes;
use crate::engine::native::{self, Purpose, SnapshotLocations};
use crate::engine::repositories::secret::SecretError;

/// What of an interrupted attempt may still be there, and why.
#[derive(Debug, thiserror::Error)]
#[error("{}", .0.join("; "))]
pub struct NotCleared(Vec<String>);

/// Deletes the snapshots of an attempt that was interrupted, in all locations that can be reached.
pub async fn clear_snapshots(client: &Client, backup: &velero::Backup) -> Result<(), NotCleared> {
    let namespace = backup.metadata.namespace.as_deref().unwrap_or_default();
    let uid = backup.metadata.uid.as_deref().unwrap_or_default();
    if uid.is_empty() {
        return Ok(());
    }
    let locations = SnapshotLocations::new(client, namespace);
    let mut errors = Vec::new();
    for name in &backup.spec.volume_snapshot_locations {
        if let Err(error) = clear_location(&locations, name, uid).await {
            errors.push(with_causes(&error));
        }
    }
    if errors.is_empty() { Ok(()) } else { Err(NotCleared(errors)) }
}

async fn clear_location(locations: &SnapshotLocations, name: &str, uid: &str) -> Result<(), native::Error> {
    let snapshotter = match locations.open(name, Purpose::RestoreOrDelete).await {
        // Nothing was ever made with a password that is not there.
        Err(native::Error::Password(SecretError::Missing)) => return Ok(()),
        opened => opened?,
    };
    let cleared = snapshotter.delete_all_of(uid).await;
    cleared.map_err(|source| native::Error::Provider { name: name.to_owned(), source })
}
