//! Taking one snapshot: a VolumeSnapshot is created and waited for until the driver has cut the snapshot.
//!
//! Until then the claim's pod stays as its hooks have put it. Whether the storage can use the snapshot yet is left to
//! [`super::settle`].

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::json;
use tokio::time::Instant;

use super::facts::{Claim, Content, Snapshot};
use super::group::Group;
use super::object::{self, Wanted};
use super::{Error, Held, Served, Volume, failed_entry, leftovers};
use crate::cluster::Item;
use crate::cluster::write::{Attempt, WriteError};
use crate::engine::backup::collect::Collector;
use crate::engine::backup::data_uploads::Moving;

/// Most drivers are quick.
const FIRST_LOOK: Duration = Duration::from_millis(250);
/// Half of what Velero waits between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(2500);

/// A claim whose volume is to be snapshotted.
pub(super) struct Subject<'a> {
    pub(super) item: Item,
    pub(super) claim: &'a Claim,
    pub(super) volume_name: &'a str,
    pub(super) volume: &'a Volume,
    pub(super) driver: &'a str,
    pub(super) served: Served<'a>,
}

/// A snapshot that the driver has cut.
#[derive(Debug, Clone)]
pub(super) struct Taken {
    pub(super) content: Content,
    pub(super) handle: String,
}

/// What a claim is held back with.
pub(super) struct Hold {
    pub(super) snapshot: String,
    pub(super) taken: Taken,
    /// None for the snapshots of a group, which has a class of its own.
    pub(super) class: Option<String>,
    pub(super) group: Option<Arc<Group>>,
    pub(super) started: DateTime<Utc>,
}

/// How far it has come.
enum Look {
    Taken(Taken),
    NotYet { reason: String },
}

impl Collector<'_> {
    /// Holds the claim back for the end of the run. What fails leaves nothing behind.
    pub(super) async fn take_snapshot(&self, subject: Subject<'_>, class: &str) -> Result<(), Error> {
        let csi = &self.csi;
        let started = (csi.clock)();
        let namespace = subject.item.namespace.clone().unwrap_or_default();
        let id = uuid::Uuid::new_v4().simple().to_string();
        let wanted = Wanted {
            backup: &csi.backup,
            backup_uid: &csi.backup_uid,
            namespace: &namespace,
            claim: &subject.item.name,
            labels: &subject.claim.metadata.labels,
            class,
            suffix: &id[..8],
        };
        let name = wanted.name();
        let taken = match self.create(&subject, &wanted).await {
            Ok(()) => self.until_cut(subject.served, &namespace, &name).await,
            Err(error) => Err(error),
        };
        let taken = match taken {
            Ok(taken) => taken,
            Err(error) => {
                self.take_back(&namespace, &name).await;
                self.volumes.keep(failed_entry(&subject, started, (csi.clock)()));
                return Err(error);
            }
        };
        if self.uploads.are_wanted() {
            self.tell_cut(&namespace, &name, &taken.handle);
            return self.move_snapshot(subject, class, name, started).await;
        }
        let class = Some(class.to_owned());
        self.hold(subject, Hold { snapshot: name, taken, class, group: None, started });
        Ok(())
    }

    pub(super) fn hold(&self, subject: Subject<'_>, hold: Hold) {
        let Subject { item, volume_name, volume, driver, claim: _, served: _ } = subject;
        let Hold { snapshot, taken: Taken { content, handle }, class, group, started } = hold;
        let namespace = item.namespace.clone().unwrap_or_default();
        self.tell_cut(&namespace, &snapshot, &handle);
        self.csi.state().held.push(Held {
            item,
            namespace,
            volume: volume_name.to_owned(),
            volume_facts: volume.facts.clone(),
            class,
            group,
            snapshot,
            content: content.metadata.name,
            handle,
            driver: driver.to_owned(),
            policy: content.spec.deletion_policy,
            restore_size: content.status.restore_size,
            problem: content.status.error,
            started,
        });
    }

    fn tell_cut(&self, namespace: &str, snapshot: &str, handle: &str) {
        let fields = [("volumeSnapshot", snapshot), ("namespace", namespace), ("handle", handle)];
        self.log.info("The driver has cut a snapshot", &fields);
    }

    /// Hands a snapshot over to who moves its data.
    async fn move_snapshot(
        &self,
        subject: Subject<'_>,
        class: &str,
        snapshot: String,
        started: DateTime<Utc>,
    ) -> Result<(), Error> {
        let Subject { item, claim, volume_name, volume, driver, served: _ } = subject;
        let namespace = item.namespace.clone().unwrap_or_default();
        let moving = Moving {
            item,
            uid: claim.metadata.uid.clone(),
            namespace,
            storage_class: claim.spec.storage_class_name.clone(),
            volume: volume_name.to_owned(),
            volume_facts: volume.facts.clone(),
            class: class.to_owned(),
            snapshot,
            driver: driver.to_owned(),
            started,
        };
        let (namespace, snapshot) = (moving.namespace.clone(), moving.snapshot.clone());
        let asked = self.ask_for_move(moving).await;
        if asked.is_err() {
            self.take_back(&namespace, &snapshot).await;
        }
        Ok(asked?)
    }

    async fn create(&self, subject: &Subject<'_>, wanted: &Wanted<'_>) -> Result<(), Error> {
        self.csi.state().has_asked = true;
        let name = wanted.name();
        let body = serde_json::to_vec(&wanted.object())?;
        let created =
            self.cluster.create(subject.served.snapshots, Some(wanted.namespace), body.into()).await;
        match created {
            Ok(_) | Err(WriteError::AlreadyExists { attempt: Attempt::AfterUnclearEnd, .. }) => Ok(()),
            Err(source) => Err(Error::Create { name, source }),
        }
    }

    pub(super) async fn until_cut(
        &self,
        served: Served<'_>,
        namespace: &str,
        name: &str,
    ) -> Result<Taken, Error> {
        let within = self.csi.taken_within;
        let (begun, mut pause) = (Instant::now(), FIRST_LOOK);
        let taken = loop {
            match self.look(served, namespace, name).await? {
                Look::Taken(taken) => break taken,
                Look::NotYet { reason } if begun.elapsed() >= within => {
                    return Err(Error::NotTaken { name: name.to_owned(), seconds: within.as_secs(), reason });
                }
                Look::NotYet { reason: _ } => {
                    tokio::time::sleep(pause).await;
                    pause = (pause * 3 / 2).min(LOOK_EVERY);
                }
            }
        };
        // From here on nobody who deletes the namespace deletes the snapshot, and what we leave can be found.
        let mut mark = json!({"metadata": {"labels": object::owner(&self.csi.backup, &self.csi.backup_uid)}});
        // A snapshot that is moved goes with its VolumeSnapshot, whoever removes that.
        if !self.uploads.are_wanted() {
            mark["spec"] = json!({"deletionPolicy": "Retain"});
        }
        let content = &taken.content.metadata.name;
        let marked = self.cluster.merge_patch(served.contents, None, content, mark.to_string().into()).await;
        marked.map_err(|source| Error::Mark { name: content.clone(), source })?;
        Ok(taken)
    }

    async fn look(&self, served: Served<'_>, namespace: &str, name: &str) -> Result<Look, Error> {
        let failed = |kind, name: &str| {
            let name = name.to_owned();
            move |source| Error::Get { kind, name, source }
        };
        let found = self.cluster.get(served.snapshots, Some(namespace), name).await;
        let found = found.map_err(failed("VolumeSnapshot", name))?;
        let found = found.ok_or_else(|| Error::Gone { name: name.to_owned() })?;
        let snapshot: Snapshot = serde_json::from_slice(&found.json)?;
        let not_yet = |problem: Option<&str>, otherwise: &str| Look::NotYet {
            reason: problem.unwrap_or(otherwise).to_owned(),
        };
        let Some(content_name) = snapshot.content() else {
            return Ok(not_yet(snapshot.problem(), "it is not bound to a VolumeSnapshotContent"));
        };
        let found = self.cluster.get(served.contents, None, content_name).await;
        let found = found.map_err(failed("VolumeSnapshotContent", content_name))?;
        let Some(found) = found else { return Ok(not_yet(None, "its VolumeSnapshotContent is not there")) };
        let content: Content = serde_json::from_slice(&found.json)?;
        match content.handle().map(str::to_owned) {
            Some(handle) => Ok(Look::Taken(Taken { content, handle })),
            None => {
                Ok(not_yet(content.problem().or(snapshot.problem()), "the driver has not given it a handle"))
            }
        }
    }

    pub(in crate::engine::backup) async fn take_back(&self, namespace: &str, snapshot: &str) {
        if let Err(error) = leftovers::take_back(&self.csi.client, namespace, snapshot).await {
            let error = &error as &dyn std::error::Error;
            tracing::warn!(namespace, snapshot, error, "left a VolumeSnapshot that failed");
        }
    }
}
