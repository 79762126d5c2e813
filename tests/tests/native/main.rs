//! Snapshots by VolumeSnapshotLocations: from a Backup to the data of its volumes, and back.

mod aws;
mod cluster;
mod local;
