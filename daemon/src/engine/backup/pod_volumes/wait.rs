//! Waiting for transfers, giving them up, and what has become of them.

use std::time::Duration;

use chrono::{DateTime, Utc};
use holdfast_policy::time::to_chrono;
use holdfast_policy::velero::{DataPathPhase, PodVolumeBackup, UploaderType, labels};
use kube::ResourceExt;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams};
use serde_json::json;

use super::{Begun, Error, Transfers};
use crate::cluster::patience::until_answered;
use crate::cluster::write::FIELD_MANAGER;
use crate::engine::backup::collect::Collector;
use crate::engine::backup::volume_entry::{Entry, Method, PodVolumeInfo, Success};
use crate::engine::repositories::{self, Key};
use crate::engine::run_log::{Message, Place};
use crate::repository::Tags;

const POLL: Duration = Duration::from_secs(1);
/// How long agents may take to notice that a transfer is given up; one that is gone never does.
const GIVEN_UP_WITHIN: chrono::Duration = chrono::Duration::minutes(2);
const LATE: &str = "timed out waiting for all PodVolumeBackups to complete";

/// For which transfers to wait.
#[derive(Debug, Clone, Copy)]
pub(in crate::engine::backup) enum Which<'a> {
    OfPod { namespace: &'a str, name: &'a str },
    All,
}

impl Which<'_> {
    fn takes(self, begun: &Begun) -> bool {
        match self {
            Self::All => true,
            Self::OfPod { namespace, name } => begun.pod.0 == namespace && begun.pod.1 == name,
        }
    }
}

impl Transfers {
    /// Deletes what an interrupted attempt of the same backup has asked for, and the snapshots that came of it: agents then
    /// stop working on it.
    pub(super) async fn clear(&self) -> Result<(), Error> {
        let failed = |source| Error::Clear(Box::new(source));
        for left in self.list().await.map_err(failed)? {
            let (api, name) = (self.api(), left.name_any());
            let parameters = DeleteParams::default();
            match until_answered(|| api.delete(&name, &parameters)).await {
                Ok(_) => {}
                Err(kube::Error::Api(status)) if status.code == 404 => {}
                Err(error) => return Err(failed(error)),
            }
            if let Err(error) = self.forget(&left).await {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(name, error, "left a snapshot of a volume's files that no backup has");
            }
        }
        Ok(())
    }

    async fn forget(&self, left: &PodVolumeBackup) -> Result<(), repositories::Error> {
        if left.status.snapshot_id.is_none() || left.spec.uploader_type == Some(UploaderType::Kopia) {
            return Ok(());
        }
        let key = Key {
            volume_namespace: left.spec.pod.namespace.clone().unwrap_or_default(),
            location: left.spec.backup_storage_location.clone(),
        };
        let repositories = &self.settings.repositories;
        let repository = repositories.open(&key, &self.store).await?;
        repository.forget_all(&Tags::new(left.spec.tags.clone())).await?;
        repositories.ask_for_pruning(&key).await
    }

    /// After a run that ended early.
    pub(in crate::engine::backup) async fn give_up(&self) {
        if self.state().begun.is_empty() {
            return;
        }
        if let Err(error) = self.clear().await {
            let error = &error as &dyn std::error::Error;
            tracing::warn!(error, "left PodVolumeBackups of a backup that ended early");
        }
    }

    async fn list(&self) -> kube::Result<Vec<PodVolumeBackup>> {
        let uid = self.backup.metadata.uid.as_deref().unwrap_or_default();
        let selector = format!("{}={uid}", labels::BACKUP_UID);
        let (api, parameters) = (self.api(), ListParams::default().labels(&selector));
        Ok(until_answered(|| api.list(&parameters)).await?.items)
    }

    /// Those of them that have not ended.
    fn unfinished(&self, found: &[PodVolumeBackup], which: Which<'_>) -> Vec<PodVolumeBackup> {
        let state = self.state();
        let ours = |object: &&PodVolumeBackup| {
            state.begun.get(&object.name_any()).is_some_and(|begun| which.takes(begun))
        };
        found.iter().filter(ours).filter(|object| !object.status_phase().has_ended()).cloned().collect()
    }

    fn is_waited_for(&self, which: Which<'_>) -> bool {
        self.state().begun.values().any(|begun| which.takes(begun))
    }

    async fn cancel(&self, object: &PodVolumeBackup) -> kube::Result<()> {
        let patch = json!({"spec": {"cancel": true}, "status": {"message": LATE}});
        self.patch(object, patch).await
    }

    /// For one whose agent does not answer.
    async fn end(&self, object: &PodVolumeBackup) -> kube::Result<()> {
        let patch = json!({"status": {
            "phase": DataPathPhase::Canceled, "message": format!("{LATE}, and its node agent does not answer"),
        }});
        self.patch(object, patch).await
    }

    async fn patch(&self, object: &PodVolumeBackup, patch: serde_json::Value) -> kube::Result<()> {
        let parameters =
            PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
        self.api().patch(&object.name_any(), &parameters, &Patch::Merge(patch)).await.map(drop)
    }
}

impl Collector<'_> {
    /// Returns when all of these transfers have ended, one way or another.
    pub(in crate::engine::backup) async fn wait_for_files(&self, which: Which<'_>) {
        let transfers = &self.transfers;
        if !transfers.is_waited_for(which) {
            return;
        }
        loop {
            match transfers.list().await {
                Ok(found) => {
                    let unfinished = transfers.unfinished(&found, which);
                    if unfinished.is_empty() {
                        return;
                    }
                    let now = (transfers.clock)();
                    if now >= transfers.deadline {
                        self.give_up_late(&unfinished, now).await;
                    }
                }
                Err(error) => {
                    let error = &error as &dyn std::error::Error;
                    tracing::warn!(
                        backup = self.name,
                        error,
                        "cannot look at PodVolumeBackups, trying again"
                    );
                }
            }
            tokio::time::sleep(POLL).await;
        }
    }

    async fn give_up_late(&self, unfinished: &[PodVolumeBackup], now: DateTime<Utc>) {
        let transfers = &self.transfers;
        let first = !std::mem::replace(&mut transfers.state().is_late, true);
        if first {
            self.log.error(Place::Velero, LATE);
        }
        for object in unfinished {
            let done = if now >= transfers.deadline + GIVEN_UP_WITHIN {
                transfers.end(object).await
            } else if object.spec.cancel {
                Ok(())
            } else {
                transfers.cancel(object).await
            };
            if let Err(error) = done {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(
                    name = object.name_any(),
                    error,
                    "cannot give up a PodVolumeBackup, trying again"
                );
            }
        }
    }

    /// Notes what has become of all transfers, when they have ended.
    pub(in crate::engine::backup) async fn note_files(&self) {
        let transfers = &self.transfers;
        if !transfers.is_waited_for(Which::All) {
            return;
        }
        let found = match transfers.list().await {
            Ok(found) => found,
            Err(error) => {
                let message = Message::new("Error reading PodVolumeBackups").cause(&error);
                return self.log.error(Place::Velero, message);
            }
        };
        let begun = transfers.state().begun.clone();
        for (name, begun) in begun {
            let Some(object) = found.iter().find(|object| object.name_any() == name) else {
                let message = Message::new("A PodVolumeBackup of the backup is gone").name(&name);
                self.log.error(Place::Namespace(begun.pod.0), message);
                continue;
            };
            let phase = object.status_phase();
            if phase != DataPathPhase::Completed {
                let text = object.status.message.clone().unwrap_or_else(|| "no reason is given".to_owned());
                let message = Message::new(format!("pod volume backup {}", phase.as_str().to_lowercase()));
                let what = format!("volume {}: {text}", object.spec.volume);
                let message = message.resource("pods").name(&begun.pod.1).cause(&what);
                self.log.error(Place::Namespace(begun.pod.0.clone()), message);
            }
            match self.entry(object, &begun) {
                Some(entry) => self.volumes.keep(entry),
                None => self.log.warning(
                    Place::Namespace(begun.pod.0.clone()),
                    Message::new("The persistent volume of a claim is not in the backup").name(&name),
                ),
            }
            self.volumes.list(|lists| lists.pod_volume_backups.push(as_stored(object)));
        }
    }

    /// None where the volume's PersistentVolume isn't in the backup: its entry could not be used.
    fn entry(&self, object: &PodVolumeBackup, begun: &Begun) -> Option<Entry> {
        let PodVolumeBackup { metadata: _, spec, status } = object;
        let (namespace, pod) = begun.pod.clone();
        let has_ended_well = object.status_phase() == DataPathPhase::Completed;
        let entry = Entry {
            backup_method: Some(Method::PodVolumeBackup),
            start_timestamp: status.start_timestamp.as_ref().map(to_chrono),
            completion_timestamp: status.completion_timestamp.as_ref().map(to_chrono),
            result: Some(if has_ended_well { Success::Succeeded } else { Success::Failed }),
            pvb_info: Some(PodVolumeInfo {
                snapshot_handle: status.snapshot_id.clone(),
                size: Some(status.progress.total_bytes).filter(|bytes| *bytes > 0),
                incremental_size: Some(status.incremental_bytes).filter(|bytes| *bytes > 0),
                uploader_type: spec.uploader_type.unwrap_or(UploaderType::Restic).as_str().to_owned(),
                volume_name: spec.volume.clone(),
                pod_name: pod,
                pod_namespace: namespace.clone(),
                node_name: Some(spec.node.clone()),
                phase: object.status_phase().as_str().to_owned(),
            }),
            ..Entry::default()
        };
        let Some(claim) = &begun.claim else { return Some(entry) };
        let facts = self.volumes.volume_facts(&claim.volume)?;
        Some(Entry {
            pvc_name: Some(claim.name.clone()),
            pvc_namespace: Some(namespace),
            pv_name: Some(claim.volume.clone()),
            pv_info: Some(facts),
            ..entry
        })
    }
}

/// As the list beside the archive has it: without the notes of the API server's.
fn as_stored(object: &PodVolumeBackup) -> PodVolumeBackup {
    let mut object = object.clone();
    object.metadata.managed_fields = None;
    object
}
