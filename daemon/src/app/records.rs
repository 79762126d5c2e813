//! The objects that controllers and metrics look at: a watched copy per kind.

use std::sync::Arc;

use holdfast_policy::holdfast::PolicySet;
use holdfast_policy::velero::{
    Backup, BackupRepository, BackupStorageLocation, DeleteBackupRequest, DownloadRequest, PodVolumeBackup,
    Restore, Schedule, ServerStatusRequest,
};
use kube::api::ListParams;
use kube::{Api, Client};

use super::parts::Parts;
use crate::controllers::foreign_server::Lookout;
use crate::controllers::watched::{Observer, Record, Watched};
use crate::metrics::Figures;

pub(super) struct Records {
    pub(super) policy_sets: Arc<Watched<PolicySet>>,
    pub(super) locations: Arc<Watched<BackupStorageLocation>>,
    pub(super) backups: Arc<Watched<Backup>>,
    pub(super) restores: Arc<Watched<Restore>>,
    pub(super) schedules: Arc<Watched<Schedule>>,
    pub(super) pod_volumes: Arc<Watched<PodVolumeBackup>>,
    pub(super) deletion_requests: Arc<Watched<DeleteBackupRequest>>,
    pub(super) download_requests: Arc<Watched<DownloadRequest>>,
    pub(super) status_requests: Arc<Watched<ServerStatusRequest>>,
    pub(super) repositories: Arc<Watched<BackupRepository>>,
}

impl Records {
    /// Begins to follow all kinds. The lookout sees those whose status another server would write, the figures those that
    /// are counted.
    pub(super) fn watch(
        client: &Client,
        namespace: &str,
        lookout: &Lookout,
        figures: &Figures,
        parts: &mut Parts,
    ) -> Records {
        let lookout = || Arc::new(lookout.clone());
        let figures = || Arc::new(figures.clone());
        Records {
            policy_sets: policy_sets(client, namespace, parts),
            locations: watch(client, namespace, vec![lookout()], parts),
            backups: watch(client, namespace, vec![lookout(), figures()], parts),
            restores: watch(client, namespace, vec![lookout(), figures()], parts),
            schedules: watch(client, namespace, vec![figures()], parts),
            pod_volumes: watch(client, namespace, Vec::new(), parts),
            deletion_requests: watch(client, namespace, vec![figures()], parts),
            download_requests: watch(client, namespace, Vec::new(), parts),
            status_requests: watch(client, namespace, Vec::new(), parts),
            repositories: watch(client, namespace, vec![figures()], parts),
        }
    }

    /// Returns once everything that there is at the start is known.
    pub(super) async fn filled(&self) {
        let Records {
            // Only told of, and nothing waits for it.
            policy_sets: _,
            locations,
            backups,
            restores,
            schedules,
            pod_volumes,
            deletion_requests,
            download_requests,
            status_requests,
            repositories,
        } = self;
        tokio::join!(
            locations.filled(),
            backups.filled(),
            restores.filled(),
            schedules.filled(),
            pod_volumes.filled(),
            deletion_requests.filled(),
            download_requests.filled(),
            status_requests.filled(),
            repositories.filled(),
        );
    }
}

/// Where the cluster lacks the kind there are none, and nothing is wrong.
pub(super) fn policy_sets(client: &Client, namespace: &str, parts: &mut Parts) -> Arc<Watched<PolicySet>> {
    let watched = Arc::new(Watched::new(client, namespace));
    let api: Api<PolicySet> = Api::namespaced(client.clone(), namespace);
    let followed = watched.clone();
    parts.start(async move {
        let asked = api.list(&ListParams::default().limit(1)).await;
        if matches!(asked, Err(kube::Error::Api(status)) if status.code == 404) {
            return std::future::pending().await;
        }
        followed.follow().await;
        Ok(())
    });
    watched
}

pub(super) fn watch<K: Record>(
    client: &Client,
    namespace: &str,
    observers: Vec<Arc<dyn Observer<K>>>,
    parts: &mut Parts,
) -> Arc<Watched<K>> {
    let watched = Arc::new(Watched::new(client, namespace).shown_to(observers));
    let followed = watched.clone();
    parts.start(async move {
        followed.follow().await;
        Ok(())
    });
    watched
}
