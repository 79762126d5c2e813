//! Snapshots that providers' own interfaces make: the locations of a cluster, opened, and what a backup's files tell of such
//! snapshots. Taking, restoring and deleting them is that of `backup`, `restore` and `delete`.

pub(crate) mod choice;
mod locations;
mod record;

pub use locations::{Error, Purpose, SnapshotLocations};
pub use record::{Phase, SnapshotRecord, SnapshotSpec, SnapshotStatus};
