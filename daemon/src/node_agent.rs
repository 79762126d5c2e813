//! The agent of one node: carries out the PodVolumeBackups and PodVolumeRestores of the pods that run there.
//!
//! In: the custom resources, the kubelet's folder of pods and the repositories in the buckets. Out: snapshots, files in
//! volumes, and the objects' status. Which volumes are to be moved is the engine's matter.
//!
//! The driver. A Lease for the node keeps a second agent from doing the same work; the next process goes on with what one
//! left in progress.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use holdfast_policy::velero;
use kube::Client;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::controllers::backoff::Backoff;
use crate::controllers::claim::Claim;
use crate::controllers::leader::Candidate;
use crate::controllers::runs::Runs;
use crate::controllers::stores::Stores;
use crate::controllers::wake::{Wake, earlier};
use crate::controllers::watched::Watched;
use crate::engine::node_agents;

mod act;
pub mod decide;
mod done_file;
mod observe;
mod task;
mod transfer;
mod volume;

pub use done_file::{FOLDER, wait_for_all};

use decide::Decision;
use transfer::End;

/// How soon a pod that a volume is to be restored into is looked at again: nothing tells of its init containers.
const LOOK_AT_PODS: chrono::Duration = chrono::Duration::seconds(1);
/// How long transfers may take to notice that they are to end.
const TIME_TO_END: Duration = Duration::from_secs(10);

pub struct Options {
    pub client: Client,
    /// Where the resources of velero.io are.
    pub namespace: String,
    pub node: String,
    /// What this process is called; no other live process has this name.
    pub instance: String,
    /// The kubelet's folder of pods.
    pub pods: PathBuf,
    /// Transfers at a time.
    pub concurrency: usize,
    pub clock: Clock,
}

/// What the agent of a node works with.
struct Agent {
    client: Client,
    namespace: String,
    node: String,
    pods: PathBuf,
    concurrency: usize,
    clock: Clock,
    claim: Claim,
    stores: Stores,
    locations: Arc<Watched<velero::BackupStorageLocation>>,
    backups: Arc<Watched<velero::PodVolumeBackup>>,
    restores: Arc<Watched<velero::PodVolumeRestore>>,
    runs: Runs<End>,
}

/// How the agent ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    Asked,
    /// Another process has taken the node over.
    LeaseLost,
}

/// Runs until it is told to stop.
pub async fn run(options: Options, stop: CancellationToken) -> Ended {
    let Options { client, namespace, node, instance, pods, concurrency, clock } = options;
    let candidate = Candidate {
        client: client.clone(),
        namespace: namespace.clone(),
        lease: node_agents::lease_name(&node),
        instance,
        about: BTreeMap::new(),
        clock: clock.clone(),
    };
    let leading = candidate.lead(|holder| tracing::info!(holder, node, "another agent has this node"));
    let Some(leadership) = stop.run_until_cancelled(leading).await else { return Ended::Asked };
    let wake = Wake::default();
    let agent = Agent {
        stores: Stores::new(&client, &namespace),
        locations: Arc::new(Watched::new(&client, &namespace)),
        backups: Arc::new(Watched::new(&client, &namespace)),
        restores: Arc::new(Watched::new(&client, &namespace)),
        runs: Runs::new(wake.clone()),
        claim: leadership.claim.clone(),
        client,
        namespace,
        node,
        pods,
        concurrency,
        clock,
    };
    let mut followed = JoinSet::new();
    let (locations, backups, restores) =
        (agent.locations.clone(), agent.backups.clone(), agent.restores.clone());
    followed.spawn(async move { locations.follow().await });
    followed.spawn(async move { backups.follow().await });
    followed.spawn(async move { restores.follow().await });
    let lost = leadership.lost();
    let ended = tokio::select! {
        () = agent.work(&wake) => Ended::Asked,
        () = stop.cancelled() => Ended::Asked,
        () = lost => Ended::LeaseLost,
    };
    // What is under way stays in progress and claimed: the next agent of this node does it again.
    if tokio::time::timeout(TIME_TO_END, agent.runs.stop()).await.is_err() {
        tracing::warn!(seconds = TIME_TO_END.as_secs(), "some transfers did not stop in time");
    }
    leadership.release().await;
    ended
}

impl Agent {
    async fn work(&self, wake: &Wake) {
        tokio::join!(self.locations.filled(), self.backups.filled(), self.restores.filled());
        self.backups.ring_at_changes(wake);
        self.restores.ring_at_changes(wake);
        self.locations.ring_at_changes(wake);
        tracing::info!(node = self.node, "node agent started");
        let mut backoff = Backoff::default();
        loop {
            let now = (self.clock)();
            let next = self.pass(now, &mut backoff).await;
            wake.until(next, now).await;
        }
    }

    async fn pass(&self, now: DateTime<Utc>, backoff: &mut Backoff) -> Option<DateTime<Utc>> {
        let observed = observe::observe(self).await;
        let mut next = None;
        for step in decide::decide(&observed.states(), self.concurrency) {
            if let Decision::Wait { reason: decide::Waiting::ForPod } = step.decision {
                next = earlier(next, Some(now + LOOK_AT_PODS));
                continue;
            }
            if let Some(until) = backoff.held(&step.uid, now) {
                next = earlier(next, Some(until));
                continue;
            }
            match act::act(self, &observed, &step).await {
                Ok(()) => backoff.succeeded(&step.uid),
                Err(error) => {
                    let error = &error as &dyn std::error::Error;
                    tracing::warn!(
                        uid = step.uid,
                        error,
                        "cannot carry out what is next for a volume's files"
                    );
                    next = earlier(next, Some(backoff.failed(&step.uid, now)));
                }
            }
        }
        next
    }
}
