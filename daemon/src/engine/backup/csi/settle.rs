//! The end of a run's snapshots: all of them are waited for together until the storage can use them; then they and their
//! claims are stored.
//!
//! What a snapshot comes to is an item operation, as in Velero; only that it has ended when the archive is written.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, Utc};
use holdfast_policy::velero::labels::BACKUP_UID;

use super::facts::Content;
use super::group::{self, Group};
use super::operation::{self, Operation};
use super::readiness::{self, Readiness};
use super::{CLAIMS, CLASSES, Error, Held, Served, object};
use crate::actions::backup::ItemReference;
use crate::archive;
use crate::cluster::{self, Item, ListScope, PAGE_SIZE, Resource};
use crate::engine::backup::collect::Collector;
use crate::engine::backup::items::{Admission, ItemError, Stored, Subject};
use crate::engine::backup::volume_entry::{CsiSnapshotInfo, Entry, Method, Success};

const FIRST_LOOK: Duration = Duration::from_millis(500);
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// By name.
type Contents = BTreeMap<String, (Content, Item)>;

impl Collector<'_> {
    /// Returns when every snapshot of the run can be used or never will be. An error ends the run.
    pub(in crate::engine::backup) async fn settle_snapshots(&self) -> Result<(), archive::Error> {
        let held = std::mem::take(&mut self.csi.state().held);
        let Some(served) = Served::find(self.discovery).filter(|_| !held.is_empty()) else { return Ok(()) };
        let attempted = held.len() as u64;
        self.volumes.count(|counts| counts.csi_attempted += attempted);
        let (contents, mut judged) = self.until_judged(served, &held).await;
        group::keep_whole(&held, &mut judged);
        let snapshots = self.list_own(served.snapshots).await;
        let snapshots: BTreeMap<(String, String), Item> = match snapshots {
            Ok(items) => items.into_iter().map(|item| (item_key(&item), item)).collect(),
            Err(error) => {
                tracing::warn!(backup = self.name, error = %error, "cannot list the backup's VolumeSnapshots");
                BTreeMap::new()
            }
        };
        for (held, readiness) in held.into_iter().zip(judged) {
            let outcome = match readiness {
                Readiness::Ready => {
                    let snapshot = snapshots.get(&(held.namespace.clone(), held.snapshot.clone()));
                    self.store_snapshot(served, &held, contents.get(&held.content), snapshot).await
                }
                Readiness::Never { reason } => Err(not_ready(&held, reason)),
                Readiness::NotYet => Err(not_ready(&held, readiness::LATE.to_owned())),
            };
            let is_ready = contents.get(&held.content).and_then(|(content, _)| content.status.ready_to_use);
            self.note_snapshot(&held, is_ready, outcome).await?;
        }
        Ok(())
    }

    /// Looks at all of them at once, by one list.
    async fn until_judged(&self, served: Served<'_>, held: &[Held]) -> (Contents, Vec<Readiness>) {
        let mut pause = FIRST_LOOK;
        loop {
            let now = (self.csi.clock)();
            let listed = self.list_own(served.contents).await.map(contents_of);
            let judged: Vec<Readiness> = held
                .iter()
                .map(|held| {
                    let waited = (now - held.started).to_std().unwrap_or_default();
                    let within = self.csi.ready_within;
                    match &listed {
                        Ok(contents) => {
                            let content = contents.get(&held.content).map(|(content, _)| content);
                            readiness::judge(content, held.problem.as_ref(), waited, within)
                        }
                        Err(error) if waited >= within => Readiness::Never { reason: error.to_string() },
                        Err(_) => Readiness::NotYet,
                    }
                })
                .collect();
            if !judged.contains(&Readiness::NotYet) {
                return (listed.unwrap_or_default(), judged);
            }
            if let Err(error) = listed {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(
                    backup = self.name,
                    error,
                    "cannot look at VolumeSnapshotContents, trying again"
                );
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 3 / 2).min(LOOK_EVERY);
        }
    }

    /// The objects of a kind that carry the backup's uid.
    async fn list_own(&self, resource: &Resource) -> Result<Vec<Item>, cluster::Error> {
        let label_selector = Some(format!("{BACKUP_UID}={}", self.csi.backup_uid));
        let mut pages =
            self.cluster.list(resource, ListScope { namespace: None, label_selector, page_size: PAGE_SIZE });
        let mut items = Vec::new();
        while let Some(page) = pages.next().await? {
            items.extend(page);
        }
        Ok(items)
    }

    /// Class, content, snapshot and claim, in this order.
    async fn store_snapshot(
        &self,
        served: Served<'_>,
        held: &Held,
        content: Option<&(Content, Item)>,
        snapshot: Option<&Item>,
    ) -> Result<(), ItemError> {
        let gone = || ItemError::Csi(Error::Gone { name: held.snapshot.clone() });
        let (content, content_item) = content.ok_or_else(gone)?;
        if content.handle() != Some(&held.handle) {
            return Err(not_ready(held, "its VolumeSnapshotContent has another handle meanwhile".to_owned()));
        }
        let mut content_item = content_item.clone();
        content_item.json = object::stored_content(&content_item.json)?;
        let mut snapshot = snapshot.ok_or_else(gone)?.clone();
        let group = held.group.as_deref().map(|group| group.handle.as_str());
        snapshot.json = object::stored_snapshot(&snapshot.json, content, &held.policy, group)?;
        if let Some(name) = held.class.clone() {
            let class = ItemReference { group_resource: CLASSES, namespace: None, name };
            self.store_additional(class, Admission::Always).await?;
        }
        for (resource, item) in [(served.contents, content_item), (served.snapshots, snapshot)] {
            match self.store(&Subject::new(resource), item, Admission::Always).await? {
                Stored::Now | Stored::Before => {}
                Stored::No => return Err(gone()),
            }
        }
        let Some(claims) = self.discovery.by_group_resource(CLAIMS) else { return Err(gone()) };
        let size = content.status.restore_size.max(held.restore_size);
        let mut claim = held.item.clone();
        claim.json = object::stored_claim(&claim.json, self.name, &held.snapshot, size)?;
        self.append(&Subject::new(claims), claim).await
    }

    /// Tells the volume info, the operations and the log. A snapshot that failed does not stay.
    async fn note_snapshot(
        &self,
        held: &Held,
        is_ready: Option<bool>,
        outcome: Result<(), ItemError>,
    ) -> Result<(), archive::Error> {
        let ended = (self.csi.clock)();
        let result = match &outcome {
            Ok(()) => Success::Succeeded,
            Err(_) => Success::Failed,
        };
        let problem = outcome.as_ref().err().map(ToString::to_string);
        match outcome {
            Ok(()) => self.volumes.count(|counts| counts.csi_completed += 1),
            Err(error) => {
                match held.group.as_deref() {
                    None => self.take_back(&held.namespace, &held.snapshot).await,
                    Some(Group { namespace, snapshot, uid, handle: _, members: _ }) => {
                        self.take_group_back(namespace, snapshot, uid).await;
                    }
                }
                if let Some(claims) = self.discovery.by_group_resource(CLAIMS) {
                    self.report(&Subject::new(claims), &held.item.name, Some(&held.namespace), error)?;
                }
            }
        }
        let operation = Operation {
            backup: &self.csi.backup,
            backup_uid: &self.csi.backup_uid,
            namespace: &held.namespace,
            snapshot: &held.snapshot,
            content: &held.content,
            started: held.started,
            ended,
            problem: problem.as_deref(),
        };
        let record = operation.record();
        self.volumes.list(|lists| lists.operations.push(record));
        self.volumes.keep(entry(held, is_ready, ended, result));
        Ok(())
    }
}

fn entry(held: &Held, ready_to_use: Option<bool>, ended: DateTime<Utc>, result: Success) -> Entry {
    Entry {
        pvc_name: Some(held.item.name.clone()),
        pvc_namespace: Some(held.namespace.clone()),
        pv_name: Some(held.volume.clone()),
        backup_method: Some(Method::CsiSnapshot),
        preserve_local_snapshot: true,
        start_timestamp: Some(held.started),
        completion_timestamp: Some(ended),
        result: Some(result),
        csi_snapshot_info: Some(CsiSnapshotInfo {
            snapshot_handle: held.handle.clone(),
            size: held.restore_size,
            driver: held.driver.clone(),
            vsc_name: held.content.clone(),
            operation_id: Some(operation::id(&held.namespace, &held.snapshot, held.started)),
            ready_to_use,
            volume_group_snapshot_handle: held.group.as_deref().map(|group| group.handle.clone()),
        }),
        pv_info: Some(held.volume_facts.clone()),
        ..Entry::default()
    }
}

fn not_ready(held: &Held, reason: String) -> ItemError {
    ItemError::Csi(Error::NotReady { name: held.snapshot.clone(), reason })
}

/// One that cannot be read is as good as gone, and is told as such.
fn contents_of(items: Vec<Item>) -> Contents {
    let parsed = items.into_iter().filter_map(|item| {
        let content: Content = serde_json::from_slice(&item.json).ok()?;
        Some((item.name.clone(), (content, item)))
    });
    parsed.collect()
}

fn item_key(item: &Item) -> (String, String) {
    (item.namespace.clone().unwrap_or_default(), item.name.clone())
}
