//! Keeps transfers and the deletion of unused data from meeting in one repository.
//!
//! Whoever deletes marks the BackupRepository first and looks for transfers in progress after that. A transfer is marked
//! as in progress first and looks for the mark after that. So at least one of two that begin together sees the other: the
//! transfer then waits, and the deletion is put off.

use std::time::Duration;

use chrono::{DateTime, SecondsFormat, Utc};
use holdfast_policy::velero::{DataPathPhase, PodVolumeBackup, PodVolumeRestore, UploaderType};
use kube::api::ListParams;
use kube::{Api, Client, ResourceExt};
use serde_json::json;

use super::{Error, Key, Repositories, failed, find};
use crate::clock::Clock;
use crate::cluster::patience::until_answered;
use crate::repository::Deletion;
use crate::store::BackupStore;

/// Annotation on a BackupRepository: somebody deletes unused data, and was there at this instant.
pub const PRUNING: &str = "holdfast.dev/pruning";

/// Annotation on a BackupRepository: snapshots were forgotten at this instant.
pub const ASKED: &str = "holdfast.dev/pruning-asked";

/// How often the mark is renewed.
const RENEW: Duration = Duration::from_secs(30);
/// A mark older than this was left by a process that is gone.
const STALE: chrono::Duration = chrono::Duration::minutes(5);
const LOOK: Duration = Duration::from_secs(1);

/// Waits until nobody deletes data in the repository.
pub async fn wait_until_over(
    client: &Client,
    namespace: &str,
    key: &Key,
    clock: &Clock,
) -> Result<(), Error> {
    loop {
        let found = find(client, namespace, key).await?;
        let mark = found.and_then(|found| found.annotations().get(PRUNING).cloned());
        match mark {
            Some(mark) if is_fresh(&mark, clock()) => tokio::time::sleep(LOOK).await,
            Some(_) | None => return Ok(()),
        }
    }
}

/// What a pass over a repository has come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pruned {
    /// Nothing unused is left.
    Wholly,
    /// Somebody wrote meanwhile: a later pass deletes.
    Marked,
}

impl Repositories {
    /// Removes the data that no snapshot needs: at once where nobody transfers anything, else in two passes.
    pub async fn prune(&self, key: &Key, store: &BackupStore) -> Result<Pruned, Error> {
        let Some(object) = find(&self.client, &self.namespace, key).await? else {
            return Ok(Pruned::Wholly);
        };
        let name = object.name_any();
        self.mark(&name, Some((self.clock)())).await?;
        let pruned = async {
            let (deletion, pruned) = match self.transfers(key).await? {
                0 => (Deletion::Now, Pruned::Wholly),
                _ => (Deletion::Marked, Pruned::Marked),
            };
            self.open(key, store).await?.prune(deletion).await?;
            Ok(pruned)
        };
        let ended = tokio::select! {
            pruned = pruned => pruned,
            never = self.renew(&name) => match never {},
        };
        let unmarked = self.mark(&name, None).await;
        unmarked.and(ended)
    }

    /// Has the unused data removed soon.
    pub async fn ask_for_pruning(&self, key: &Key) -> Result<(), Error> {
        let Some(object) = find(&self.client, &self.namespace, key).await? else { return Ok(()) };
        let now = (self.clock)().to_rfc3339_opts(SecondsFormat::Secs, true);
        self.patch(&object.name_any(), json!({"metadata": {"annotations": {ASKED: now}}})).await.map(drop)
    }

    async fn renew(&self, name: &str) -> std::convert::Infallible {
        loop {
            tokio::time::sleep(RENEW).await;
            if let Err(error) = self.mark(name, Some((self.clock)())).await {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(repository = name, error, "cannot say that unused data is being deleted");
            }
        }
    }

    async fn mark(&self, name: &str, at: Option<DateTime<Utc>>) -> Result<(), Error> {
        let at = at.map(|at| at.to_rfc3339_opts(SecondsFormat::Secs, true));
        self.patch(name, json!({"metadata": {"annotations": {PRUNING: at}}})).await.map(drop)
    }

    /// How many transfers of the repository are in progress.
    async fn transfers(&self, key: &Key) -> Result<usize, Error> {
        let backups: Api<PodVolumeBackup> = Api::namespaced(self.client.clone(), &self.namespace);
        let restores: Api<PodVolumeRestore> = Api::namespaced(self.client.clone(), &self.namespace);
        // Lists without a resource version are answered by what is stored, not by a cache that may lag behind.
        let parameters = ListParams::default();
        let backups = until_answered(|| backups.list(&parameters)).await;
        let backups = backups.map_err(failed("find transfers of", &key.name()))?;
        let restores = until_answered(|| restores.list(&parameters)).await;
        let restores = restores.map_err(failed("find transfers of", &key.name()))?;
        let backups = backups.items.iter().filter(|backup| {
            backup.spec.backup_storage_location == key.location
                && backup.spec.pod.namespace.as_ref() == Some(&key.volume_namespace)
                && is_under_way(backup.spec.uploader_type, backup.status_phase())
        });
        let restores = restores.items.iter().filter(|restore| {
            restore.spec.backup_storage_location == key.location
                && restore.spec.source_namespace == key.volume_namespace
                && is_under_way(restore.spec.uploader_type, restore.status_phase())
        });
        Ok(backups.count() + restores.count())
    }
}

fn is_under_way(uploader: Option<UploaderType>, phase: DataPathPhase) -> bool {
    let moving = match phase {
        DataPathPhase::InProgress | DataPathPhase::Canceling => true,
        DataPathPhase::New
        | DataPathPhase::Accepted
        | DataPathPhase::Prepared
        | DataPathPhase::Canceled
        | DataPathPhase::Completed
        | DataPathPhase::Failed => false,
    };
    moving && uploader != Some(UploaderType::Kopia)
}

fn is_fresh(mark: &str, now: DateTime<Utc>) -> bool {
    mark.parse::<DateTime<Utc>>().is_ok_and(|at| now - at < STALE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_that_nobody_renews_holds_nobody_up() {
        let fresh = |now: &str| is_fresh("2026-11-26T10:00:00Z", now.parse().unwrap());
        assert!(fresh("2026-11-26T10:04:00Z"));
        assert!(!fresh("2026-11-26T10:06:00Z"));
        assert!(!is_fresh("yesterday", "2026-11-26T10:04:00Z".parse().unwrap()));
    }
}
