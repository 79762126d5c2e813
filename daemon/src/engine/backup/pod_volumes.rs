//! The files of pods' volumes: asks the agents of the pods' nodes for copies, by PodVolumeBackups, and waits for them.
//!
//! In: pods with the names of volumes that are to be read. Out: PodVolumeBackups that have ended, as entries of the volume
//! info and of the list beside the archive, and what went wrong as messages. Which volumes are chosen is
//! [`super::volume_info`]'s matter, reading them is the agents'.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, Utc};
use holdfast_policy::velero;
use holdfast_policy::velero::PodVolumeBackup;
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, Client};
use tokio::sync::OnceCell;

use super::collect::Collector;
use crate::causes::with_causes;
use crate::clock::Clock;
use crate::cluster::Item;
use crate::engine::node_agents;
use crate::engine::pod_volumes::PodVolumes;
use crate::engine::repositories::{self, Key};
use crate::engine::run_log::{Message, Place};
use crate::store::BackupStore;

mod object;
mod subject;
mod wait;

use object::Wanted;
use subject::{Readable, Subject};
pub(super) use wait::Which;

const PODS: &str = "pods";

/// The transfers of one run.
pub(super) struct Transfers {
    settings: PodVolumes,
    client: Client,
    clock: Clock,
    store: BackupStore,
    backup: velero::Backup,
    /// For all together.
    deadline: DateTime<Utc>,
    /// What an interrupted attempt asked for was taken back.
    cleared: OnceCell<()>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// By name of the PodVolumeBackup.
    begun: BTreeMap<String, Begun>,
    /// By namespace and name: one that several pods mount is read once.
    claims: BTreeSet<(String, String)>,
    ready_repositories: BTreeSet<Key>,
    is_late: bool,
}

/// A transfer that was asked for.
#[derive(Clone)]
struct Begun {
    pod: (String, String),
    claim: Option<Claim>,
}

/// The claim behind a pod's volume.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Claim {
    name: String,
    uid: String,
    volume: String,
}

/// What a run of transfers needs.
pub(super) struct Setting<'a> {
    pub(super) settings: PodVolumes,
    pub(super) client: &'a Client,
    pub(super) clock: &'a Clock,
    pub(super) store: &'a BackupStore,
    pub(super) backup: &'a velero::Backup,
    pub(super) started: DateTime<Utc>,
}

/// Why the volumes of a pod can't be read, or one of them.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("no node agent is running on node {node}")]
    NoAgent { node: String },
    #[error("cannot find out whether a node agent is running on node {node}")]
    LookForAgent { node: String, source: Box<kube::Error> },
    #[error("the repository is not ready")]
    Repository(#[from] repositories::Error),
    #[error("cannot create a PodVolumeBackup for volume {volume}")]
    Create { volume: String, source: Box<kube::Error> },
    #[error("cannot take back what an interrupted attempt has asked for")]
    Clear(#[source] Box<kube::Error>),
    #[error("cannot read {what} of volume {volume}")]
    Claim { what: &'static str, volume: String, source: Box<kube::Error> },
    #[error("{what} of volume {volume} is not there")]
    NoClaim { what: &'static str, volume: String },
}

impl Transfers {
    pub(super) fn new(setting: Setting<'_>) -> Self {
        let Setting { settings, client, clock, store, backup, started } = setting;
        let (timeout, _) = settings.timeout_of(&backup.metadata);
        Self {
            deadline: started + chrono::Duration::from_std(timeout).unwrap_or(chrono::Duration::MAX),
            settings,
            client: client.clone(),
            clock: clock.clone(),
            store: store.clone(),
            backup: backup.clone(),
            cleared: OnceCell::new(),
            state: Mutex::default(),
        }
    }

    /// What is wrong with the annotation that limits the time.
    pub(super) fn timeout_problem(&self) -> Option<String> {
        self.settings.timeout_of(&self.backup.metadata).1
    }

    fn api(&self) -> Api<PodVolumeBackup> {
        Api::namespaced(self.client.clone(), &self.settings.namespace)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn location(&self) -> &str {
        self.backup.spec.storage_location.as_deref().unwrap_or_default()
    }
}

impl Collector<'_> {
    /// Asks for copies of these volumes of a pod. What keeps it from that is told and keeps nothing else back.
    pub(super) async fn read_files(&self, item: &Item, volumes: &[String]) -> Result<(), serde_json::Error> {
        if volumes.is_empty() {
            return Ok(());
        }
        let pod: Pod = serde_json::from_slice(&item.json)?;
        let subject = match Subject::of(&pod) {
            Ok(subject) => subject,
            Err(reason) => {
                let names = volumes.join(", ");
                self.tell_pod(item, &format!("{reason}, so the files of its volumes are not read: {names}"));
                return Ok(());
            }
        };
        let mut readable = Vec::new();
        for volume in volumes {
            match subject.look_at(volume) {
                Readable::Yes => readable.push(volume),
                Readable::No { reason } => self.tell_pod(item, &format!("volume {volume} {reason}")),
            }
        }
        if readable.is_empty() {
            return Ok(());
        }
        if let Err(error) = self.prepare_files(&subject).await {
            self.report_pod(item, &error);
            return Ok(());
        }
        for volume in readable {
            match self.begin_files(&subject, volume).await {
                Ok(None) => {}
                Ok(Some(reason)) => self.tell_pod(item, &format!("volume {volume} {reason}")),
                Err(error) => self.report_pod(item, &error),
            }
        }
        Ok(())
    }

    /// What all volumes of a pod need.
    async fn prepare_files(&self, subject: &Subject<'_>) -> Result<(), Error> {
        let transfers = &self.transfers;
        let PodVolumes { namespace, repositories, data_path, timeout: _, helper_image: _ } =
            &transfers.settings;
        let node = || subject.node.to_owned();
        let now = (transfers.clock)();
        let there = node_agents::is_there(&transfers.client, namespace, subject.node, *data_path, now).await;
        let there = there.map_err(|source| Error::LookForAgent { node: node(), source: Box::new(source) })?;
        if !there {
            return Err(Error::NoAgent { node: node() });
        }
        let key =
            Key { volume_namespace: subject.namespace.to_owned(), location: transfers.location().to_owned() };
        if !transfers.state().ready_repositories.contains(&key) {
            repositories.ready(&key, &transfers.store, *data_path).await?;
            transfers.state().ready_repositories.insert(key);
        }
        transfers.cleared.get_or_try_init(|| transfers.clear()).await?;
        Ok(())
    }

    /// Gives the reason where the volume is left out.
    async fn begin_files(&self, subject: &Subject<'_>, volume: &str) -> Result<Option<String>, Error> {
        let transfers = &self.transfers;
        let claim = match subject.claim_of(volume) {
            None => None,
            Some(claim) => match transfers.claim(subject, volume, &claim).await? {
                Ok(claim) => Some(claim),
                Err(reason) => return Ok(Some(reason)),
            },
        };
        if let Some(claim) = &claim {
            let key = (subject.namespace.to_owned(), claim.name.clone());
            if !transfers.state().claims.insert(key) {
                self.log.info(
                    "Another pod's volume of the same claim is read already",
                    &[("volume", volume), ("pod", subject.name), ("namespace", subject.namespace)],
                );
                return Ok(None);
            }
        }
        let wanted = Wanted { subject, volume, claim: claim.as_ref() };
        let object = wanted.object(&transfers.backup, transfers.settings.data_path);
        let created = transfers.create(&object).await;
        let created = created
            .map_err(|source| Error::Create { volume: volume.to_owned(), source: Box::new(source) })?;
        let pod = (subject.namespace.to_owned(), subject.name.to_owned());
        transfers.state().begun.insert(created, Begun { pod, claim });
        Ok(None)
    }

    fn tell_pod(&self, item: &Item, text: &str) {
        let message = Message::new(text).resource(PODS).name(&item.name);
        self.log.warning(Place::of(item.namespace.as_deref()), message);
    }

    fn report_pod(&self, item: &Item, error: &Error) {
        let message = Message::new("Error backing up the files of volumes").resource(PODS).name(&item.name);
        self.log.error(Place::of(item.namespace.as_deref()), message.cause(&with_causes(error)));
    }
}
