//! What backups and restores of pods' files have in common.

use std::time::Duration;

use holdfast_policy::duration::GoDuration;
use holdfast_policy::velero::labels::POD_VOLUME_TIMEOUT;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
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
    /// How long the transfers of a run may take: as its annotation says, or as usual. With it, what is wrong with the
    /// annotation.
    pub(crate) fn timeout_of(&self, run: &ObjectMeta) -> (Duration, Option<String>) {
        let text = run.annotations.as_ref().and_then(|annotations| annotations.get(POD_VOLUME_TIMEOUT));
        match text.map(|text| text.parse::<GoDuration>()) {
            None => (self.timeout, None),
            Some(Ok(timeout)) => (timeout.as_std().unwrap_or(self.timeout), None),
            Some(Err(problem)) => {
                (self.timeout, Some(format!("annotation {POD_VOLUME_TIMEOUT} is not a duration: {problem}")))
            }
        }
    }

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
