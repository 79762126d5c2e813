//! The data of snapshots that was moved into a repository of Velero's, on its way back: claims are held apart from every
//! provisioner by a selector, and Velero's node agent makes their volumes of what DataDownloads ask for (reference:
//! velero-restore.md 5.11 point 3, 5.12).
//!
//! In: the DataUploads in the archive, and each claim once before and once after its creation. Out: claims with their volume,
//! or errors that say which are without. The run waits for all of them behind its last object. Velero hands what a
//! DataUpload came to on to itself in ConfigMaps; here the archive is at hand, so none is made.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use holdfast_policy::duration::GoDuration;
use holdfast_policy::time::to_chrono;
use holdfast_policy::velero;
use holdfast_policy::velero::{DataPathPhase, DataUpload, labels};
use serde_json::{Map, Value, json};
use tokio::task::JoinSet;

use super::item::{self, Item};
use super::run::Run;
use super::volumes::Snapshots;
use crate::archive::Index;
use crate::clock::Clock;
use crate::cluster;
use crate::engine::data_moves::{BUILT_IN, Waiting};
use crate::engine::node_agents::{self, DataPath};
use crate::engine::pod_volumes::PodVolumes;
use crate::engine::repositories::{self, Key};
use crate::engine::run_log::{Message, Place};
use crate::store::BackupStore;

mod object;
mod outcome;
mod transfer;

pub(crate) use outcome::{DataMovementInfo, Ended};
use transfer::Transfer;

const CLAIMS: &str = "persistentvolumeclaims";
const UPLOADS: &str = "datauploads.velero.io";
const ENDED_WITHIN: GoDuration = GoDuration::from_secs(4 * 60 * 60);

/// The moves back of one run.
pub(crate) struct Downloads {
    settings: PodVolumes,
    restore: Arc<velero::Restore>,
    backup: Arc<velero::Backup>,
    store: BackupStore,
    clock: Clock,
    ended_within: Duration,
    /// By namespace and name of the claim in the backup.
    kept: BTreeMap<(String, String), Kept>,
    /// One task for each claim. They end with this value.
    running: Mutex<JoinSet<()>>,
    ended: Arc<Mutex<Vec<Ended>>>,
}

/// What a DataUpload came to.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Kept {
    upload: String,
    phase: DataPathPhase,
    /// None also of a volume without any files.
    snapshot: Option<String>,
    data_mover: Option<String>,
    namespace: String,
    bytes: i64,
    node_os: Option<velero::NodeOs>,
}

/// Why a claim whose data was moved is not restored.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("its data was moved by DataUpload {upload}, which is not in the backup")]
    NotInBackup { upload: String },
    #[error("it names DataUpload {upload}, and the backup has {found} for it: its data may be in either")]
    MixedUp { upload: String, found: String },
    #[error("its data is not in the backup: DataUpload {upload} ended as {phase:?}")]
    NotMoved { upload: String, phase: DataPathPhase },
    #[error(
        "its data was moved by Velero's node agent, which only that can bring back: run with --data-path velero"
    )]
    NotOurs,
    #[error("its data was moved, and Velero's node-agent, which brings it back, is not ready")]
    NoAgent,
    #[error("cannot find out whether Velero's node agent is ready")]
    LookForAgent(#[source] Box<kube::Error>),
    #[error("the repository with its data is not ready")]
    Repository(#[from] repositories::Error),
    #[error("cannot find out whether it is there already")]
    LookForClaim(#[from] cluster::Error),
}

/// What the moves back of one run need.
pub(crate) struct Setting {
    pub(crate) settings: PodVolumes,
    pub(crate) restore: velero::Restore,
    pub(crate) backup: velero::Backup,
    pub(crate) store: BackupStore,
    pub(crate) clock: Clock,
    pub(crate) kept: BTreeMap<(String, String), Kept>,
}

/// The DataUploads of this backup in its archive, by namespace and name of the claim. Those of other backups, which come
/// along where Velero's namespace is backed up, are none of it.
pub(crate) fn kept(index: &Index, backup: &velero::Backup) -> BTreeMap<(String, String), Kept> {
    if backup.spec.snapshot_move_data != Some(true) {
        return BTreeMap::new();
    }
    let name = labels::short_name(backup.metadata.name.as_deref().unwrap_or_default());
    let uploads = index.items.iter().filter(|item| &*item.group_resource == UPLOADS);
    let uploads = uploads.filter_map(|item| {
        // One that can't be read is as good as none: its claim will say so.
        let upload: DataUpload = serde_json::from_slice(&index.read(item).ok()?).ok()?;
        let owner = upload.metadata.labels.as_ref().and_then(|labels| labels.get(labels::BACKUP_NAME));
        (owner == Some(&name)).then(|| {
            let DataUpload { metadata: _, spec, status } = upload;
            let kept = Kept {
                upload: item.name.to_string(),
                phase: status.phase.unwrap_or_default(),
                snapshot: status.snapshot_id,
                data_mover: spec.datamover,
                namespace: spec.source_namespace.clone(),
                bytes: status.progress.total_bytes,
                node_os: status.node_os,
            };
            ((spec.source_namespace, spec.source_pvc), kept)
        })
    });
    uploads.collect()
}

impl Downloads {
    pub(crate) fn new(setting: Setting) -> Self {
        let Setting { settings, restore, backup, store, clock, kept } = setting;
        let within = restore.spec.item_operation_timeout_or(ENDED_WITHIN);
        Self {
            ended_within: within.as_std().unwrap_or_default(),
            restore: Arc::new(restore),
            backup: Arc::new(backup),
            settings,
            store,
            clock,
            kept,
            running: Mutex::default(),
            ended: Arc::default(),
        }
    }

    /// Those that are over.
    pub(crate) fn ended(&self) -> Vec<Ended> {
        self.ended.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Claims, by their target place, that have no volume since their data could not be moved.
    pub(crate) fn without_volume(&self) -> BTreeSet<(String, String)> {
        let ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        ended.iter().filter(|ended| ended.problem.is_some()).map(Ended::claim).collect()
    }

    /// Before the claim is there: it would wait for good for what can't come.
    async fn ready_for(&self, kept: &Kept, client: &kube::Client) -> Result<(), Error> {
        match self.settings.data_path {
            DataPath::Holdfast => return Err(Error::NotOurs),
            DataPath::Velero => {}
        }
        // Other data movers answer for themselves.
        if kept.data_mover.as_deref().is_some_and(|mover| mover != BUILT_IN) {
            return Ok(());
        }
        let ready = node_agents::any_of_velero_is_ready(client, &self.settings.namespace).await;
        if !ready.map_err(|source| Error::LookForAgent(Box::new(source)))? {
            return Err(Error::NoAgent);
        }
        let location = self.backup.spec.storage_location.clone().unwrap_or_default();
        let key = Key { volume_namespace: kept.namespace.clone(), location };
        Ok(self.settings.repositories.ready(&key, &self.store, DataPath::Velero).await?)
    }
}

impl Run {
    /// Holds a claim whose data was moved apart from every provisioner. `from_backup` is the claim as it was.
    pub(crate) async fn hold_apart(
        &self,
        item: &Item<'_>,
        from_backup: &Value,
        claim: &mut Value,
    ) -> Result<(), item::Error> {
        let annotations = from_backup.pointer("/metadata/annotations");
        let upload = annotations.and_then(|annotations| annotations.get(labels::DATA_UPLOAD_NAME));
        let Some(upload) = upload.and_then(Value::as_str).filter(|name| !name.is_empty()) else {
            return Ok(());
        };
        let live = self.read_value(CLAIMS, item.target, &item.entry.name).await.map_err(Error::from)?;
        let ours = live.as_ref().filter(|live| self.made(live));
        if live.is_some() && ours.is_none() {
            // It keeps its volume, whatever is restored.
            return Ok(());
        }
        let Some(spec) = claim.get_mut("spec").and_then(Value::as_object_mut) else { return Ok(()) };
        for field in ["volumeName", "dataSource", "dataSourceRef"] {
            spec.remove(field);
        }
        if self.settings.snapshots == Snapshots::Unwanted {
            return Ok(());
        }
        let source = (item.entry.namespace.as_deref().unwrap_or_default(), &*item.entry.name);
        let kept = find(&self.downloads.kept, source, upload)?;
        if kept.phase != DataPathPhase::Completed {
            return Err(Error::NotMoved { upload: kept.upload.clone(), phase: kept.phase }.into());
        }
        if kept.snapshot.is_none() {
            let fields = [("claim", item.path())];
            let fields = fields.each_ref().map(|(key, value)| (*key, value.as_str()));
            self.log.info("The volume had no files, so the claim gets an empty one", &fields);
            return Ok(());
        }
        self.downloads.ready_for(kept, self.cluster.client()).await?;
        let mark = ours.and_then(|live| mark_of(live)).map_or_else(|| new_mark(item), str::to_owned);
        let selector = spec.entry("selector").or_insert(Value::Null);
        if !selector.is_object() {
            *selector = Value::Object(Map::new());
        }
        if !selector["matchLabels"].is_object() {
            selector["matchLabels"] = json!({});
        }
        selector["matchLabels"][labels::DYNAMIC_PV_RESTORE] = mark.into();
        Ok(())
    }

    /// A claim was created: its data is on its way from now on, if it was moved.
    pub(crate) fn start_download(&self, item: &Item<'_>, object: &Value) {
        if &*item.entry.group_resource != CLAIMS || mark_of(object).is_none() {
            return;
        }
        let source = (item.entry.namespace.as_deref().unwrap_or_default(), &*item.entry.name);
        let Some(kept) = self.downloads.kept.get(&(source.0.to_owned(), source.1.to_owned())) else { return };
        let uid = object_uid(self, item);
        let transfer = Transfer {
            claim: item.entry.name.to_string(),
            target: item.target.unwrap_or_default().to_owned(),
            source_uid: uid,
            kept: kept.clone(),
            restore: self.downloads.restore.clone(),
            backup: self.downloads.backup.clone(),
            namespace: self.downloads.settings.namespace.clone(),
            clock: self.downloads.clock.clone(),
            started: (self.downloads.clock)(),
            within: self.downloads.ended_within,
            client: self.cluster.client().clone(),
        };
        let (log, ended) = (self.log.clone(), self.downloads.ended.clone());
        self.downloads.running.lock().unwrap_or_else(PoisonError::into_inner).spawn(async move {
            let end = transfer.run(&log).await;
            if let Some(problem) = &end.problem {
                let text = format!("the data of claim {} was not moved back", end.claim().1);
                log.error(Place::Namespace(end.claim().0), Message::new(text).cause(problem));
            }
            ended.lock().unwrap_or_else(PoisonError::into_inner).push(end);
        });
    }

    /// Returns when all data is where it belongs, or it is told which is not, or the run is cancelled.
    pub(crate) async fn wait_for_downloads(&self) {
        let downloads = &self.downloads;
        let mut running =
            std::mem::take(&mut *downloads.running.lock().unwrap_or_else(PoisonError::into_inner));
        if running.is_empty() {
            return;
        }
        let attempted = (running.len() + downloads.ended().len()) as u64;
        self.log.info("Waiting for moved data to come back", &[("claims", &attempted.to_string())]);
        let tell = || {
            let has_errors = self.log.counts().errors > 0;
            let waiting = Waiting { attempted, ended: downloads.ended().len() as u64, has_errors };
            self.progress.send_modify(|progress| progress.moves = Some(waiting));
        };
        tell();
        let all = async {
            while let Some(ended) = running.join_next().await {
                if let Err(error) = ended {
                    let text = Message::new("moving the data of a claim back failed");
                    self.log.error(Place::Velero, text.cause(&error));
                }
                tell();
            }
        };
        // Cancelled, the caller ends the run as such.
        let _cancelled = self.cancel.run_until_cancelled(all).await;
    }
}

/// What the backup has of a claim's data, by the DataUpload that the claim names.
fn find<'a>(
    kept: &'a BTreeMap<(String, String), Kept>,
    (namespace, claim): (&str, &str),
    upload: &str,
) -> Result<&'a Kept, Error> {
    let name = upload.rsplit_once('/').map_or(upload, |(_, name)| name);
    match kept.get(&(namespace.to_owned(), claim.to_owned())) {
        Some(kept) if kept.upload == name => Ok(kept),
        Some(kept) => Err(Error::MixedUp { upload: name.to_owned(), found: kept.upload.clone() }),
        None => Err(Error::NotInBackup { upload: name.to_owned() }),
    }
}

/// The UID that the claim had when it was backed up.
fn object_uid(run: &Run, item: &Item<'_>) -> String {
    let claim: Option<Value> =
        run.index.read(item.entry).ok().and_then(|json| serde_json::from_slice(&json).ok());
    let uid = claim.as_ref().and_then(|claim| claim.pointer("/metadata/uid")).and_then(Value::as_str);
    uid.unwrap_or_default().to_owned()
}

fn mark_of(claim: &Value) -> Option<&str> {
    let marks = claim.pointer("/spec/selector/matchLabels")?;
    marks.get(labels::DYNAMIC_PV_RESTORE).and_then(Value::as_str)
}

/// One that no volume has.
fn new_mark(item: &Item<'_>) -> String {
    let id = uuid::Uuid::new_v4().simple().to_string();
    let target = item.target.unwrap_or_default();
    labels::short_name(&format!("{target}.{}.{}", item.entry.name, &id[..5]))
}

/// When the move was asked for.
fn asked_at(object: &velero::DataDownload, otherwise: DateTime<Utc>) -> DateTime<Utc> {
    object.metadata.creation_timestamp.as_ref().map_or(otherwise, to_chrono)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claim_gets_no_data_but_that_of_the_data_upload_that_it_names() {
        let kept = Kept {
            upload: "b1-9qv4d".to_owned(),
            phase: DataPathPhase::Completed,
            snapshot: Some("k01".to_owned()),
            data_mover: None,
            namespace: "shop".to_owned(),
            bytes: 1,
            node_os: None,
        };
        let all = BTreeMap::from([(("shop".to_owned(), "data".to_owned()), kept.clone())]);
        assert_eq!(find(&all, ("shop", "data"), "velero/b1-9qv4d").unwrap(), &kept);
        let refused = |source, upload| find(&all, source, upload).unwrap_err().to_string();
        let text = refused(("shop", "data"), "velero/b1-other");
        assert!(text.contains("names DataUpload b1-other, and the backup has b1-9qv4d"), "{text}");
        let text = refused(("shop", "logs"), "velero/b1-9qv4d");
        assert!(text.ends_with("which is not in the backup"), "{text}");
    }
}
