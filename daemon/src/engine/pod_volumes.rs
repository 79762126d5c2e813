//! What backups and restores of pods' files have in common.

use std::time::Duration;

use kube::Client;

use super::node_agents::DataPath;
use super::repositories::Repositories;
use crate::clock::Clock;

/// The init container that holds a restored pod back until its volumes are complete. Velero's name for it.
pub const RESTORE_WAIT: &str = "restore-wait";

const USUAL_TIMEOUT: Duration = Duration::from_secs(4 * 3600);

/// How runs have the files of volumes moved. The same for all runs of a daemon.
#[derive(Clone)]
pub struct PodVolumes {
    /// Where the resources of velero.io are.
    pub namespace: String,
    pub repositories: Repositories,
    pub data_path: DataPath,
    /// How long all transfers of one run may take together, from its start.
    pub timeout: Duration,
    /// The image of the container that holds restored pods back; without it that of the Deployment `velero`.
    pub helper_image: Option<String>,
}

impl PodVolumes {
    /// As without any flags.
    pub fn usual(client: &Client, namespace: &str, clock: &Clock) -> Self {
        Self {
            namespace: namespace.to_owned(),
            repositories: Repositories::new(client.clone(), namespace, clock.clone()),
            data_path: DataPath::default(),
            timeout: USUAL_TIMEOUT,
            helper_image: None,
        }
    }
}
