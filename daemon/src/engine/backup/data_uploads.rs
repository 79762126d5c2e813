//! The data of CSI snapshots on its way into a repository of Velero's, where a backup asks for it (`snapshotMoveData`) and the
//! data path is Velero's node agent (reference: velero-backup.md 6.7).
//!
//! In: claims whose snapshot was cut. Out: a DataUpload for each, which Velero's agent carries out, and at the end of the run
//! the DataUpload as it ended and the claim in the archive ([`settle`]). No agent of Holdfast's moves snapshots: without
//! Velero's the backup says so, and the snapshots stay where they are.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use holdfast_policy::duration::GoDuration;
use holdfast_policy::velero;
use holdfast_policy::velero::DataUpload;
use kube::api::PostParams;
use kube::{Api, Client};
use tokio::sync::OnceCell;

use super::collect::Collector;
use super::items::Subject;
use super::volume_entry::PersistentVolumeInfo;
use crate::clock::Clock;
use crate::cluster::Item;
use crate::cluster::patience::{until_admitted, until_answered};
use crate::cluster::write::FIELD_MANAGER;
use crate::engine::data_moves::{BUILT_IN, Waiting};
use crate::engine::node_agents::{self, DataPath};
use crate::engine::pod_volumes::PodVolumes;
use crate::engine::repositories::{self, Key};
use crate::engine::run_log::Place;
use crate::store::BackupStore;

pub mod leftovers;
mod object;
mod outcome;
mod settle;

use object::Wanted;

const UPLOADS: &str = "datauploads.velero.io";
const KIND: &str = "velero.io/v2alpha1/DataUpload";
const ENDED_WITHIN: GoDuration = GoDuration::from_secs(4 * 60 * 60);
const NOT_MOVED: &str = "The backup asks for the data of its CSI snapshots to be moved (snapshotMoveData), which only Velero's \
                         node agent does (--data-path velero): the snapshots stay on the storage that made them";

/// The moves of one run.
pub(super) struct DataUploads {
    client: Client,
    clock: Clock,
    store: BackupStore,
    settings: PodVolumes,
    backup: velero::Backup,
    ended_within: Duration,
    mode: Mode,
    agent: OnceCell<()>,
    state: Mutex<State>,
}

/// What becomes of the data of snapshots.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Stays,
    /// It was to be moved, and nobody here does that.
    StaysAgainstWishes,
    Moves,
}

#[derive(Default)]
struct State {
    has_told: bool,
    ready_repositories: BTreeSet<Key>,
    asked: Vec<Asked>,
    waiting: Option<Waiting>,
}

/// A claim whose data is on its way.
pub(super) struct Asked {
    pub(super) claim: Moving,
    /// Name of the DataUpload.
    upload: String,
    operation: String,
}

/// A claim whose snapshot was cut to be moved.
pub(super) struct Moving {
    /// The claim as it would be stored without a snapshot.
    pub(super) item: Item,
    pub(super) uid: String,
    pub(super) namespace: String,
    pub(super) storage_class: String,
    pub(super) volume: String,
    pub(super) volume_facts: PersistentVolumeInfo,
    pub(super) class: String,
    pub(super) snapshot: String,
    pub(super) driver: String,
    pub(super) started: DateTime<Utc>,
}

/// Why the data of a claim is not moved, so that the claim is not stored.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error(
        "the data of the snapshot is to be moved, and the cluster does not serve DataUploads of velero.io"
    )]
    NotServed,
    #[error(
        "the data of the snapshot is to be moved, and Velero's node-agent is not ready: no pod of DaemonSet node-agent is"
    )]
    NoAgent,
    #[error("cannot find out whether Velero's node agent is ready: {0}")]
    LookForAgent(#[source] Box<kube::Error>),
    #[error("the data of the snapshot is to be moved, and its repository is not ready: {0}")]
    Repository(#[from] repositories::Error),
    #[error("cannot create DataUpload {name}: {source}")]
    Create { name: String, source: Box<kube::Error> },
    #[error("the data of the snapshot was not moved: DataUpload {name}: {reason}")]
    NotMoved { name: String, reason: String },
    #[error("cannot read DataUpload {name}: {source}")]
    Get { name: String, source: crate::cluster::Error },
}

impl DataUploads {
    pub(super) fn new(
        client: &Client,
        clock: &Clock,
        backup: &velero::Backup,
        settings: &PodVolumes,
        store: &BackupStore,
    ) -> Self {
        let mode = match (backup.spec.snapshot_move_data, settings.data_path) {
            (None | Some(false), _) => Mode::Stays,
            (Some(true), DataPath::Holdfast) => Mode::StaysAgainstWishes,
            (Some(true), DataPath::Velero) => Mode::Moves,
        };
        Self {
            client: client.clone(),
            clock: clock.clone(),
            store: store.clone(),
            settings: settings.clone(),
            ended_within: backup.spec.item_operation_timeout_or(ENDED_WITHIN).as_std().unwrap_or_default(),
            backup: backup.clone(),
            mode,
            agent: OnceCell::new(),
            state: Mutex::default(),
        }
    }

    /// Whether snapshots are cut to be moved.
    pub(super) fn are_wanted(&self) -> bool {
        self.mode == Mode::Moves
    }

    /// Whether Velero's own agent moves them. Other data movers answer for themselves, and for the snapshots that they took over.
    fn is_built_in(&self) -> bool {
        self.backup.spec.datamover.as_deref().is_none_or(|mover| mover == BUILT_IN)
    }

    /// None before the run has come to waiting for moves alone.
    pub(super) fn waiting(&self) -> Option<Waiting> {
        self.state().waiting
    }

    /// After a run that ended early: what is not moved yet won't be.
    pub(super) async fn give_up(&self) {
        if !self.are_wanted() {
            return;
        }
        let uid = self.backup.metadata.uid.as_deref().unwrap_or_default();
        if let Err(error) = leftovers::clear(&self.client, &self.settings.namespace, uid).await {
            let error = &error as &dyn std::error::Error;
            tracing::warn!(backup = self.name(), error, "left DataUploads of a backup that ended early");
        }
    }

    /// Whether a snapshot of a claim of this namespace could be moved. Before it is cut: one that can't be moved is none.
    async fn ready_for(&self, namespace: &str) -> Result<(), Error> {
        if !self.is_built_in() {
            return Ok(());
        }
        self.agent.get_or_try_init(|| self.find_agent()).await?;
        let location = self.backup.spec.storage_location.clone().unwrap_or_default();
        let key = Key { volume_namespace: namespace.to_owned(), location };
        if !self.state().ready_repositories.contains(&key) {
            self.settings.repositories.ready(&key, &self.store, DataPath::Velero).await?;
            self.state().ready_repositories.insert(key);
        }
        Ok(())
    }

    async fn find_agent(&self) -> Result<(), Error> {
        let found = node_agents::any_of_velero_is_ready(&self.client, &self.settings.namespace).await;
        match found {
            Ok(true) => Ok(()),
            Ok(false) => Err(Error::NoAgent),
            Err(source) => Err(Error::LookForAgent(Box::new(source))),
        }
    }

    fn api(&self) -> Api<DataUpload> {
        Api::namespaced(self.client.clone(), &self.settings.namespace)
    }

    fn name(&self) -> &str {
        self.backup.metadata.name.as_deref().unwrap_or_default()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Collector<'_> {
    /// Before a snapshot is cut.
    pub(super) async fn prepare_move(&self, namespace: &str) -> Result<(), Error> {
        match self.uploads.mode {
            Mode::Stays => Ok(()),
            Mode::StaysAgainstWishes => {
                if !std::mem::replace(&mut self.uploads.state().has_told, true) {
                    self.log.error(Place::Velero, NOT_MOVED);
                }
                Ok(())
            }
            Mode::Moves => match self.discovery.by_group_resource(UPLOADS) {
                Some(_) => self.uploads.ready_for(namespace).await,
                None => Err(Error::NotServed),
            },
        }
    }

    /// Asks for the move of a snapshot that was cut.
    pub(super) async fn ask_for_move(&self, claim: Moving) -> Result<(), Error> {
        let uploads = &self.uploads;
        let id = uuid::Uuid::new_v4().simple().to_string();
        let wanted = Wanted { backup: &uploads.backup, claim: &claim, suffix: &id[..5] };
        let object = wanted.object();
        let (upload, operation) = (wanted.name(), wanted.operation());
        // It is stored as it ended, so nobody is to store it as it is listed meanwhile; and it is in no list, as in Velero.
        self.ledger.begin(KIND, Some(&uploads.settings.namespace), &upload);
        self.ledger.withdraw(KIND, Some(&uploads.settings.namespace), &upload);
        let parameters =
            PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() };
        let api = uploads.api();
        let created = until_admitted(|| api.create(&parameters, &object)).await;
        if let Err(source) = created {
            self.volumes.keep(outcome::entry(&claim, (uploads.clock)(), true));
            return Err(Error::Create { name: upload, source: Box::new(source) });
        }
        let fields =
            [("dataUpload", upload.as_str()), ("namespace", &claim.namespace), ("claim", &claim.item.name)];
        self.log.info("The data of a snapshot is to be moved", &fields);
        uploads.state().asked.push(Asked { claim, upload, operation });
        Ok(())
    }

    async fn stored_upload(&self, name: &str) -> Result<Option<Item>, Error> {
        let Some(resource) = self.discovery.by_group_resource(UPLOADS) else { return Ok(None) };
        let found = self.cluster.get(resource, Some(&self.uploads.settings.namespace), name).await;
        found.map_err(|source| Error::Get { name: name.to_owned(), source })
    }

    fn upload_subject(&self) -> Option<Subject<'_>> {
        self.discovery.by_group_resource(UPLOADS).map(Subject::new)
    }
}

impl DataUploads {
    async fn list(&self) -> kube::Result<Vec<DataUpload>> {
        let uid = self.backup.metadata.uid.as_deref().unwrap_or_default();
        leftovers::list(&self.client, &self.settings.namespace, uid).await
    }

    /// One that takes too long.
    async fn cancel(&self, name: &str) {
        let api = self.api();
        let cancelled = until_answered(|| leftovers::cancel(&api, name)).await;
        if let Err(error) = cancelled {
            let error = &error as &dyn std::error::Error;
            tracing::warn!(name, error, "cannot give up a DataUpload");
        }
    }
}
