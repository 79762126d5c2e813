//! Delete actions: the data of volumes that a backup keeps outside its folder in the bucket, and what deletes it.
//!
//! In: what the backup's files tell of such data. Out: the data is gone, or a reason why not. Which data there is, and what
//! follows from a failure, is left to the engine; data that no action takes keeps its backup from being deleted.

mod csi;
mod csi_group;

use std::fmt;

use async_trait::async_trait;
use holdfast_policy::velero;
use serde_json::Value;

use crate::cluster::Cluster;

/// Data that outlives the backup's files, as they describe it.
#[derive(Clone, Debug, PartialEq)]
pub enum VolumeData {
    /// A snapshot that a provider's own interface made.
    Native {
        snapshot: String,
        /// Name of the VolumeSnapshotLocation.
        location: String,
        /// The entry of `volumesnapshots`.
        entry: Value,
    },
    /// A CSI snapshot, by the VolumeSnapshotContent in the archive.
    Csi { content: String, item: Value },
    /// CSI snapshots that were taken together, by the driver's name for the group; with the VolumeSnapshotContents in the
    /// archive.
    CsiGroup { group: String, contents: Vec<(String, Value)> },
    /// A snapshot that was moved into a repository, by the DataUpload in the archive.
    Moved { data_upload: String, item: Value },
    /// Files of a pod's volume in a repository, by the PodVolumeBackup.
    PodVolume { backup: String, snapshot: String, entry: Value },
}

/// As Velero begins the error about such data.
impl fmt::Display for VolumeData {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            VolumeData::Native { snapshot, .. } => write!(f, "error deleting snapshot {snapshot}"),
            VolumeData::Csi { content, .. } => write!(f, "error deleting CSI snapshot {content}"),
            VolumeData::CsiGroup { group, .. } => write!(f, "error deleting CSI group snapshot {group}"),
            VolumeData::Moved { data_upload, .. } => {
                write!(f, "error deleting moved snapshot data: DataUpload {data_upload}")
            }
            VolumeData::PodVolume { backup, snapshot, .. } => {
                write!(
                    f,
                    "error deleting pod volume snapshots: snapshot {snapshot} of PodVolumeBackup {backup}"
                )
            }
        }
    }
}

/// What actions may use.
pub struct Context<'a> {
    /// Name of the backup that is deleted.
    pub backup: &'a str,
    pub location: &'a velero::BackupStorageLocation,
    pub cluster: &'a Cluster,
}

/// Why data is still there.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Error(pub String);

/// One kind of data, and how it is deleted.
#[async_trait]
pub trait Action: fmt::Debug + Send + Sync {
    /// The name under which Velero knows the same action.
    fn name(&self) -> &'static str;

    fn takes(&self, data: &VolumeData) -> bool;

    /// Deletes the data. It may be gone already: a deletion that was interrupted is taken up again from its start.
    async fn delete(&self, data: &VolumeData, cx: &Context<'_>) -> Result<(), Error>;
}

/// All actions; the first that takes the data deletes it.
pub fn all() -> &'static [&'static dyn Action] {
    &[&csi::ACTION, &csi_group::ACTION]
}
