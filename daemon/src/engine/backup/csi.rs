//! CSI snapshots of the volumes of claims (reference: velero-backup.md 6.7).
//!
//! In: claims on their way into the archive. Out: for each whose volume a driver can snapshot, and whose snapshot is wanted,
//! a VolumeSnapshot that is cut before the claim's pod goes on ([`take`]), and at the end of the run, when the storage has
//! made it usable, claim, snapshot, content and class in the archive ([`settle`]). The objects leave the cluster when the
//! backup is completed, or along with their snapshots when it fails ([`leftovers`]). Whether a snapshot is wanted is
//! [`super::volume_verdict`]'s matter. Claims of a volume group share one ([`group`]).
//!
//! Unlike in Velero the claim is stored once its snapshot can be used, and not at all where it never can: a claim in an
//! archive has its data.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use holdfast_policy::duration::GoDuration;
use holdfast_policy::velero;
use kube::Client;
use tokio::sync::OnceCell;

use super::collect::Collector;
use super::data_uploads;
use super::volume_entry::{CsiSnapshotInfo, Entry, Method, PersistentVolumeInfo, Success};
use super::volume_info::Approach;
use super::volume_verdict;
use crate::clock::Clock;
use crate::cluster::write::WriteError;
use crate::cluster::{self, Discovery, Item, ListScope, Resource};
use crate::engine::run_log::{Message, Place};

pub(crate) mod class;
mod facts;
mod group;
pub mod leftovers;
mod object;
mod operation;
mod readiness;
mod settle;
mod take;

use class::{Class, Wishes};
use facts::{Claim, Problem};
pub(super) use object::moved_claim;

const CLAIMS: &str = "persistentvolumeclaims";
const SNAPSHOTS: &str = "volumesnapshots.snapshot.storage.k8s.io";
const CONTENTS: &str = "volumesnapshotcontents.snapshot.storage.k8s.io";
const CLASSES: &str = "volumesnapshotclasses.snapshot.storage.k8s.io";
/// The only version that there is nowadays.
const VERSION: &str = "v1";

const TAKEN_WITHIN: GoDuration = GoDuration::from_secs(10 * 60);
const READY_WITHIN: GoDuration = GoDuration::from_secs(4 * 60 * 60);

const NOT_SERVED: &str = "the cluster does not serve VolumeSnapshots of snapshot.storage.k8s.io/v1";
/// Velero's words.
const NOT_CSI: &str = "skipped b/c it's not a CSI volume";

/// The snapshots of one run.
pub(super) struct CsiSnapshots {
    client: Client,
    clock: Clock,
    backup: String,
    backup_uid: String,
    /// Annotations of the backup.
    wishes: BTreeMap<String, String>,
    taken_within: Duration,
    ready_within: Duration,
    classes: OnceCell<Vec<Class>>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    held: Vec<Held>,
    groups: group::Groups,
    /// Some VolumeSnapshot was asked for.
    has_asked: bool,
}

/// A claim that waits for its snapshot.
struct Held {
    /// The claim as it would be stored without a snapshot.
    item: Item,
    namespace: String,
    volume: String,
    volume_facts: PersistentVolumeInfo,
    /// None in a group, whose class is of another kind.
    class: Option<String>,
    group: Option<Arc<group::Group>>,
    snapshot: String,
    content: String,
    handle: String,
    driver: String,
    /// Of the content, before we changed it.
    policy: String,
    /// Bytes; 0 where the driver has not said.
    restore_size: i64,
    /// That of a try before the one that cut the snapshot.
    problem: Option<Problem>,
    started: DateTime<Utc>,
}

/// What is known of a claim's volume.
#[derive(Debug, Clone)]
pub(super) struct Volume {
    /// None for one that is no CSI volume.
    pub(super) driver: Option<String>,
    pub(super) verdict: Option<holdfast_policy::model::volumes::VolumeActionType>,
    pub(super) facts: PersistentVolumeInfo,
}

/// The kinds that snapshots need.
#[derive(Clone, Copy)]
struct Served<'a> {
    snapshots: &'a Resource,
    contents: &'a Resource,
    classes: &'a Resource,
}

/// Why a claim is not stored.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error(transparent)]
    Verdict(#[from] volume_verdict::Error),
    #[error("cannot read the object: {0}")]
    Malformed(#[from] serde_json::Error),
    #[error("cannot list VolumeSnapshotClasses: {0}")]
    Classes(#[source] cluster::Error),
    #[error(transparent)]
    Group(Arc<group::Error>),
    #[error("cannot take a snapshot: {0}")]
    Class(#[from] class::Error),
    #[error("cannot create VolumeSnapshot {name}: {source}")]
    Create { name: String, source: WriteError },
    #[error("cannot get {kind} {name}: {source}")]
    Get { kind: &'static str, name: String, source: cluster::Error },
    #[error("VolumeSnapshot {name} was deleted before its time")]
    Gone { name: String },
    #[error("VolumeSnapshot {name} has no snapshot after {seconds} s: {reason}")]
    NotTaken { name: String, seconds: u64, reason: String },
    #[error("cannot mark VolumeSnapshotContent {name}: {source}")]
    Mark { name: String, source: WriteError },
    #[error("the snapshot of VolumeSnapshot {name} cannot be used: {reason}")]
    NotReady { name: String, reason: String },
    #[error(transparent)]
    Move(#[from] data_uploads::Error),
}

impl CsiSnapshots {
    pub(super) fn new(client: &Client, clock: &Clock, backup: &velero::Backup) -> Self {
        let velero::Backup { metadata, spec, status: _ } = backup;
        let within = |limit: GoDuration| limit.as_std().unwrap_or_default();
        Self {
            client: client.clone(),
            clock: clock.clone(),
            backup: metadata.name.clone().unwrap_or_default(),
            backup_uid: metadata.uid.clone().unwrap_or_default(),
            wishes: metadata.annotations.clone().unwrap_or_default(),
            taken_within: within(spec.csi_snapshot_timeout_or(TAKEN_WITHIN)),
            ready_within: within(spec.item_operation_timeout_or(READY_WITHIN)),
            classes: OnceCell::new(),
            state: Mutex::default(),
        }
    }

    /// Where nobody needs them any more, as after a run that ended early: nothing of them stays, snapshots included.
    pub(super) async fn give_up(&self) {
        if !self.state().has_asked {
            return;
        }
        if let Err(error) = leftovers::clear(&self.client, &self.backup_uid).await {
            let error = &error as &dyn std::error::Error;
            tracing::warn!(backup = self.backup, error, "left VolumeSnapshots of a backup that nobody needs");
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<'a> Served<'a> {
    fn find(discovery: &'a Discovery) -> Option<Self> {
        let kind =
            |name: &str| discovery.by_group_resource(name).filter(|resource| resource.version == VERSION);
        Some(Self { snapshots: kind(SNAPSHOTS)?, contents: kind(CONTENTS)?, classes: kind(CLASSES)? })
    }
}

impl Collector<'_> {
    /// Has a snapshot of a claim's volume taken, where one is wanted and possible. Gives the claim back where there is
    /// none; one with a snapshot is stored at the end of the run.
    pub(super) async fn snapshot_claim(&self, item: Item) -> Result<Option<Item>, Error> {
        let claim: Claim = serde_json::from_slice(&item.json)?;
        let served = Served::find(self.discovery);
        let Some(volume_name) = claim.volume() else {
            if served.is_some() {
                self.tell_unbound(&item)?;
            }
            return Ok(Some(item));
        };
        let Some(served) = served else {
            if self.volumes.known(volume_name).is_some_and(|volume| volume.driver.is_some()) {
                self.volumes.pass_over(volume_name, Approach::CsiSnapshot, NOT_SERVED);
            }
            return Ok(Some(item));
        };
        let key = (item.namespace.clone().unwrap_or_default(), item.name.clone());
        let Some(volume) = self.volume_of(volume_name, &key).await? else {
            self.tell_claim(
                &item,
                "The claim's PersistentVolume does not exist, so there is no snapshot of it",
            );
            return Ok(Some(item));
        };
        if !self.wants_snapshot(volume.verdict, Some(&key)).await? {
            return Ok(Some(item));
        }
        let Some(driver) = &volume.driver else {
            self.volumes.pass_over(volume_name, Approach::CsiSnapshot, NOT_CSI);
            return Ok(Some(item));
        };
        let subject = take::Subject { item, claim: &claim, volume_name, volume: &volume, driver, served };
        if let Some(group) = self.volume_group_of(&claim) {
            self.prepare_move(&key.0).await.map_err(|error| self.not_taken(&subject, error))?;
            self.snapshot_in_group(subject, group).await?;
            return Ok(None);
        }
        let classes = self.csi.classes.get_or_try_init(|| self.read_classes(served.classes)).await?;
        let wishes = Wishes { driver, claim: &claim.metadata.annotations, backup: &self.csi.wishes };
        let class = match class::choose(&wishes, classes) {
            Ok(class) => class,
            // Nobody asked for it in so many words, and the driver is not set up for it.
            Err(error @ class::Error::NoneOfDriver { .. }) if !self.insists_on_snapshot(volume.verdict) => {
                self.tell_claim(
                    &subject.item,
                    &format!("No snapshot of the claim's volume is taken: {error}"),
                );
                self.volumes.pass_over(volume_name, Approach::CsiSnapshot, &error.to_string());
                return Ok(Some(subject.item));
            }
            Err(error) => return Err(self.not_taken(&subject, error)),
        };
        self.prepare_move(&key.0).await.map_err(|error| self.not_taken(&subject, error))?;
        self.take_snapshot(subject, class).await?;
        Ok(None)
    }

    /// The volume info tells it too.
    fn not_taken(&self, subject: &take::Subject<'_>, error: impl Into<Error>) -> Error {
        let now = (self.csi.clock)();
        self.volumes.keep(failed_entry(subject, now, now));
        error.into()
    }

    /// One whose volume was stored is known; one that the filters left out is asked for.
    async fn volume_of(
        &self,
        name: &str,
        claim: &(String, String),
    ) -> Result<Option<Volume>, volume_verdict::Error> {
        if let Some(known) = self.volumes.known(name) {
            return Ok(Some(known));
        }
        let Some(item) = self.read_volume(name).await? else { return Ok(None) };
        let verdict = self.judge_volume(&item, Some(claim)).await?;
        Ok(Some(super::volume_info::look_at(&item, verdict)?))
    }

    async fn read_classes(&self, resource: &Resource) -> Result<Vec<Class>, Error> {
        let mut classes = Vec::new();
        let mut pages = self.cluster.list(resource, ListScope::everything());
        while let Some(items) = pages.next().await.map_err(Error::Classes)? {
            for item in items {
                classes.push(serde_json::from_slice(&item.json)?);
            }
        }
        Ok(classes)
    }

    /// What has no volume has no data. It is a warning all the same, unless a policy has decided about it.
    fn tell_unbound(&self, item: &Item) -> Result<(), serde_json::Error> {
        let facts = holdfast_policy::resource_policy::Volume::default().claimed_by(&item.json)?;
        if self.volumes.wants_snapshots() && self.policy.volume_policy(&facts).is_none() {
            self.tell_claim(item, "The claim is not bound to a volume, so there is no snapshot of it");
        }
        Ok(())
    }

    fn tell_claim(&self, item: &Item, text: &str) {
        let message = Message::new(text).resource(CLAIMS).name(&item.name);
        self.log.warning(Place::of(item.namespace.as_deref()), message);
    }
}

/// An entry of the volume info for a snapshot that failed before it had a name.
fn failed_entry(subject: &take::Subject<'_>, started: DateTime<Utc>, ended: DateTime<Utc>) -> Entry {
    Entry {
        pvc_name: Some(subject.item.name.clone()),
        pvc_namespace: subject.item.namespace.clone(),
        pv_name: Some(subject.volume_name.to_owned()),
        backup_method: Some(Method::CsiSnapshot),
        preserve_local_snapshot: true,
        start_timestamp: Some(started),
        completion_timestamp: Some(ended),
        result: Some(Success::Failed),
        csi_snapshot_info: Some(CsiSnapshotInfo {
            snapshot_handle: String::new(),
            size: 0,
            driver: subject.driver.to_owned(),
            vsc_name: String::new(),
            operation_id: None,
            ready_to_use: None,
            volume_group_snapshot_handle: None,
        }),
        pv_info: Some(subject.volume.facts.clone()),
        ..Entry::default()
    }
}
