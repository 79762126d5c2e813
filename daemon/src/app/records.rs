//! The objects that controllers and metrics look at: a watched copy per kind.

use std::sync::Arc;

use holdfast_policy::velero::{
    Backup, BackupStorageLocation, DeleteBackupRequest, DownloadRequest, PodVolumeBackup, Restore, Schedule,
    ServerStatusRequest,
};
use kube::Client;

use super::parts::Parts;
use crate::controllers::foreign_server::Lookout;
use crate::controllers::watched::{Observer, Record, Watched};
use crate::metrics::Figures;

pub(super) struct Records {
    pub(super) locations: Arc<Watched<BackupStorageLocation>>,
    pub(super) backups: Arc<Watched<Backup>>,
    pub(super) restores: Arc<Watched<Restore>>,
    pub(super) schedules: Arc<Watched<Schedule>>,
    pub(super) pod_volumes: Arc<Watched<PodVolumeBackup>>,
    pub(super) deletion_requests: Arc<Watched<DeleteBackupRequest>>,
    pub(super) download_requests: Arc<Watched<DownloadRequest>>,
    pub(super) status_requests: Arc<Watched<ServerStatusRequest>>,
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
            locations: watch(client, namespace, vec![lookout()], parts),
            backups: watch(client, namespace, vec![lookout(), figures()], parts),
            restores: watch(client, namespace, vec![lookout(), figures()], parts),
            schedules: watch(client, namespace, vec![figures()], parts),
            pod_volumes: watch(client, namespace, Vec::new(), parts),
            deletion_requests: watch(client, namespace, vec![figures()], parts),
            download_requests: watch(client, namespace, Vec::new(), parts),
            status_requests: watch(client, namespace, Vec::new(), parts),
        }
    }

    /// Returns once everything that there is at the start is known.
    pub(super) async fn filled(&self) {
        let Records {
            locations,
            backups,
            restores,
            schedules,
            pod_volumes,
            deletion_requests,
            download_requests,
            status_requests,
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
        );
    }
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
