//! The files of restored pods' volumes: their pods wait in an init container, while the agents of their nodes restore what
//! PodVolumeRestores ask for.
//!
//! In: the backup's list of PodVolumeBackups, and each pod once before and once after its creation. Out: volumes with their
//! files, or errors that say which are without. The run waits for all of them behind its last object.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use chrono::{DateTime, Utc};
use holdfast_policy::time::to_chrono;
use holdfast_policy::velero;
use holdfast_policy::velero::{DataPathPhase, PodVolumeBackup, UploaderType, labels};
use serde_json::Value;
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use super::item::Item;
use super::restored_volumes::Moved;
use super::run::Run;
use crate::clock::Clock;
use crate::engine::pod_volumes::PodVolumes;
use crate::engine::run_log::{Message, Place};
use crate::store::BackupStore;

mod object;
mod transfer;
pub(crate) mod wait_container;

use transfer::Pod;
use wait_container::Settings as Container;

/// The files of one run.
pub(crate) struct Files {
    settings: PodVolumes,
    restore: Arc<velero::Restore>,
    location: String,
    store: BackupStore,
    clock: Clock,
    deadline: DateTime<Utc>,
    /// By namespace and name of the pod in the backup.
    by_pod: BTreeMap<(String, String), Vec<Kept>>,
    container: Container,
    /// One task for each pod. They end with this value.
    running: Mutex<JoinSet<()>>,
    moved: Arc<Mutex<Vec<Moved>>>,
}

/// A volume whose files the backup has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Kept {
    volume: String,
    snapshot: String,
    uploader: UploaderType,
    bytes: i64,
    /// The namespace whose repository has it.
    namespace: String,
    /// Of the pod's volume, where it is one of a claim.
    claim: Option<String>,
}

/// Tells when the files of a pod are back, or it is known that they won't be.
pub(crate) struct FilesDone(oneshot::Receiver<std::convert::Infallible>);

impl FilesDone {
    pub(crate) async fn wait(self) {
        let Err(_ended) = self.0.await;
    }
}

/// What the files of one run are restored with.
pub(crate) struct Setting {
    pub(crate) settings: PodVolumes,
    pub(crate) restore: velero::Restore,
    pub(crate) backup: velero::Backup,
    pub(crate) store: BackupStore,
    pub(crate) clock: Clock,
    pub(crate) kept: Vec<PodVolumeBackup>,
    /// The data of the ConfigMap that configures the init container, if there is one.
    pub(crate) configuration: Option<BTreeMap<String, String>>,
    /// Of the Deployment `velero`.
    pub(crate) server_image: Option<String>,
}

impl Files {
    pub(crate) fn new(setting: Setting) -> Self {
        let Setting { settings, restore, backup, store, clock, kept, configuration, server_image } = setting;
        let (timeout, _) = settings.timeout_of(&restore.metadata);
        let timeout = chrono::Duration::from_std(timeout).unwrap_or(chrono::Duration::MAX);
        let started = restore.status.start_timestamp.as_ref().map_or_else(|| clock(), to_chrono);
        let image = settings.helper_image.clone().or(server_image);
        Self {
            deadline: started.checked_add_signed(timeout).unwrap_or(DateTime::<Utc>::MAX_UTC),
            container: Container::new(configuration.unwrap_or_default(), image),
            location: backup.spec.storage_location.unwrap_or_default(),
            by_pod: by_pod(kept),
            restore: Arc::new(restore),
            settings,
            store,
            clock,
            running: Mutex::default(),
            moved: Arc::default(),
        }
    }

    /// What has ended of the transfers into volumes of claims.
    pub(crate) fn moved(&self) -> Vec<Moved> {
        std::mem::take(&mut *self.moved.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Volumes of a pod whose files come back, as far as the pod still has them.
    fn of_pod(&self, source_namespace: &str, pod: &str, object: &Value) -> Vec<Kept> {
        let key = (source_namespace.to_owned(), pod.to_owned());
        let kept = self.by_pod.get(&key).map(Vec::as_slice).unwrap_or_default();
        let volumes = object.pointer("/spec/volumes").and_then(Value::as_array);
        let has = |name: &str| {
            volumes.into_iter().flatten().any(|volume| {
                volume["name"] == name
                    && volume.get("projected").is_none()
                    && volume.get("downwardAPI").is_none()
            })
        };
        kept.iter().filter(|kept| has(&kept.volume)).cloned().collect()
    }
}

fn by_pod(kept: Vec<PodVolumeBackup>) -> BTreeMap<(String, String), Vec<Kept>> {
    let mut by_pod: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for backup in kept.into_iter().filter(|backup| backup.status_phase() == DataPathPhase::Completed) {
        let PodVolumeBackup { mut metadata, spec, status } = backup;
        let Some(snapshot) = status.snapshot_id else { continue };
        let namespace = spec.pod.namespace.unwrap_or_default();
        let kept = Kept {
            volume: spec.volume,
            snapshot,
            uploader: spec.uploader_type.unwrap_or(UploaderType::Restic),
            bytes: status.progress.total_bytes,
            namespace: namespace.clone(),
            claim: metadata.annotations.as_mut().and_then(|annotations| annotations.remove(labels::PVC_NAME)),
        };
        by_pod.entry((namespace, spec.pod.name.unwrap_or_default())).or_default().push(kept);
    }
    by_pod
}

impl Run {
    /// Puts the container in front that waits for the pod's volumes, where files of it come back.
    pub(crate) fn hold_back(&self, item: &Item<'_>, object: &mut Value) -> Result<(), wait_container::Error> {
        if &*item.entry.group_resource != "pods" {
            return Ok(());
        }
        let kept =
            self.files.of_pod(item.entry.namespace.as_deref().unwrap_or_default(), &item.entry.name, object);
        if kept.is_empty() {
            return Ok(());
        }
        let volumes: Vec<&str> = kept.iter().map(|kept| kept.volume.as_str()).collect();
        let restore = self.files.restore.metadata.uid.as_deref().unwrap_or_default();
        self.files.container.put_in_front(object, &volumes, restore)
    }

    /// A pod was created, under this name and UID: its files are on their way from now on.
    /// Gives what tells of their end.
    pub(crate) fn start_files(
        &self,
        item: &Item<'_>,
        object: &Value,
        name: &str,
        uid: &str,
    ) -> Option<FilesDone> {
        if &*item.entry.group_resource != "pods" {
            return None;
        }
        let kept =
            self.files.of_pod(item.entry.namespace.as_deref().unwrap_or_default(), &item.entry.name, object);
        if kept.is_empty() {
            return None;
        }
        let pod = Pod {
            namespace: item.target.unwrap_or_default().to_owned(),
            name: name.to_owned(),
            uid: uid.to_owned(),
        };
        let transfer = transfer::Transfer {
            pod,
            kept,
            settings: self.files.settings.clone(),
            restore: self.files.restore.clone(),
            location: self.files.location.clone(),
            store: self.files.store.clone(),
            clock: self.files.clock.clone(),
            deadline: self.files.deadline,
            client: self.cluster.client().clone(),
        };
        let log = self.log.clone();
        let moved = self.files.moved.clone();
        let (done, told) = oneshot::channel();
        self.files.running.lock().unwrap_or_else(PoisonError::into_inner).spawn(async move {
            for error in transfer.run(&log).await {
                log.error(Place::Velero, error);
            }
            let ended = transfer.ended().await;
            moved.lock().unwrap_or_else(PoisonError::into_inner).extend(ended);
            // Nobody may be waiting.
            drop(done);
        });
        Some(FilesDone(told))
    }

    /// Returns when all files are where they belong, or it is told which are not, or the run is cancelled.
    pub(crate) async fn wait_for_files(&self) {
        let mut running =
            std::mem::take(&mut *self.files.running.lock().unwrap_or_else(PoisonError::into_inner));
        if running.is_empty() {
            return;
        }
        self.log.info("Waiting for the files of restored volumes", &[("pods", &running.len().to_string())]);
        let all = async {
            while let Some(ended) = running.join_next().await {
                if let Err(error) = ended {
                    let text = Message::new("restoring the files of a pod's volumes failed");
                    self.log.error(Place::Velero, text.cause(&error));
                }
            }
        };
        // Cancelled, the caller ends the run as such.
        let _cancelled = self.cancel.run_until_cancelled(all).await;
    }
}
