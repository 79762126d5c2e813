//! What backups and restores of pods' files have in common.

use std::time::Duration;

use super::node_agents::DataPath;
use super::repositories::Repositories;

/// The init container that holds a restored pod back until its volumes are complete. Velero's name for it.
pub const RESTORE_WAIT: &str = "restore-wait";

/// How runs have the files of volumes moved. The same for all runs of a daemon.
#[derive(Clone)]
pub struct PodVolumes {
    /// Where the resources of velero.io are.
    pub namespace: String,
    pub repositories: Repositories,
    pub data_path: DataPath,
    /// How long all transfers of one run may take together, from its start.
    pub timeout: Duration,
}
