//! Taking the snapshot of a group: a VolumeGroupSnapshot is created and waited for until the driver has cut the snapshot
//! and every claim has its VolumeSnapshot. What fails leaves nothing behind.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::future::try_join_all;
use serde_json::json;
use tokio::time::Instant;

use super::super::{Served as SnapshotsServed, leftovers, object as single};
use super::class::{self, Class, Wishes};
use super::facts::{GroupContent, GroupSnapshot, MemberSnapshot};
use super::object::{self, Chooser, Wanted};
use super::roll::{Present, Roll};
use super::{CLASSES, Error, Group, Member, Name, Served};
use crate::cluster::write::{Attempt, WriteError};
use crate::cluster::{ListScope, PAGE_SIZE, Resource};
use crate::engine::backup::collect::Collector;

const GROUP: &str = "VolumeGroupSnapshot";
const CONTENT: &str = "VolumeGroupSnapshotContent";
const SNAPSHOTS: &str = "volumesnapshots.snapshot.storage.k8s.io";
/// Most drivers are quick.
const FIRST_LOOK: Duration = Duration::from_millis(250);
const LOOK_EVERY: Duration = Duration::from_millis(2500);

/// A VolumeGroupSnapshot in the cluster.
struct Asked<'a> {
    group: &'a Name,
    name: String,
    uid: String,
    served: Served<'a>,
    snapshots: SnapshotsServed<'a>,
}

/// A group whose snapshot the driver has cut.
struct Cut {
    content: String,
    handle: String,
    /// VolumeSnapshots by claim.
    members: BTreeMap<String, String>,
}

/// How far it has come.
enum Look {
    Cut(Cut),
    NotYet { reason: String },
}

impl Collector<'_> {
    pub(super) async fn take_group(
        &self,
        snapshots: SnapshotsServed<'_>,
        group: &Name,
    ) -> Result<Group, Error> {
        let Some(served) = Served::find(self.discovery) else {
            return Err(Error::NotServed { group: group.value.clone(), label: self.group_label.to_owned() });
        };
        if self.uploads.are_wanted() {
            return Err(Error::NotMoved { group: group.value.clone(), label: self.group_label.to_owned() });
        }
        let roll = self.call_roll(group).await?;
        let classes = self.read_group_classes(served, group).await?;
        let claims = roll.present.iter().map(|claim| &claim.annotations).collect();
        let wishes = Wishes { driver: &roll.driver, claims, backup: &self.csi.wishes };
        let class = class::choose(&wishes, &classes)
            .map_err(|source| Error::Class { group: group.value.clone(), source })?;
        let id = uuid::Uuid::new_v4().simple().to_string();
        let wanted = Wanted {
            api_version: served.groups.api_version(),
            backup: &self.csi.backup,
            backup_uid: &self.csi.backup_uid,
            namespace: &group.namespace,
            label: self.group_label,
            value: &group.value,
            class,
            suffix: &id[..8],
        };
        let handles = match roll.chooser {
            Chooser::Label => Vec::new(),
            Chooser::Content => self.volume_handles(group, &roll).await?,
        };
        self.keep_out(served.groups, Some(&group.namespace), &wanted.name());
        let uid = self.ask_for_group(served, &wanted, roll.chooser).await?;
        self.keep_out(served.contents, None, &object::content_name(&uid));
        let asked = Asked { group, name: wanted.name(), uid, served, snapshots };
        let taken = match roll.chooser {
            Chooser::Label => Ok(()),
            Chooser::Content => self.name_volumes(&asked, &wanted, &handles).await,
        };
        let taken = match taken {
            Ok(()) => self.until_group_is_cut(&asked, &roll).await,
            Err(error) => Err(error),
        };
        if taken.is_err() {
            self.take_group_back(&group.namespace, &asked.name, &asked.uid).await;
        }
        taken
    }

    /// What is there for the length of the backup only is not stored, in whatever version it is listed: a VolumeGroupSnapshot
    /// that is restored would ask for a new one.
    fn keep_out(&self, resource: &Resource, namespace: Option<&str>, name: &str) {
        for version in self.discovery.versions(&resource.group_resource()) {
            let version = Resource { version: version.to_owned(), ..resource.clone() };
            let kind = format!("{}/{}", version.api_version(), version.kind);
            self.ledger.begin(&kind, namespace, name);
            self.ledger.withdraw(&kind, namespace, name);
        }
    }

    async fn read_group_classes(&self, served: Served<'_>, group: &Name) -> Result<Vec<Class>, Error> {
        let mut classes = Vec::new();
        let mut pages = self.cluster.list(served.classes, ListScope::everything());
        let unlisted = |source| Error::List { kind: CLASSES, source: Box::new(source) };
        while let Some(items) = pages.next().await.map_err(unlisted)? {
            for item in items {
                let class = serde_json::from_slice(&item.json);
                classes
                    .push(class.map_err(|source| Error::Malformed { group: group.value.clone(), source })?);
            }
        }
        Ok(classes)
    }

    /// Gives the uid of the VolumeGroupSnapshot.
    async fn ask_for_group(
        &self,
        served: Served<'_>,
        wanted: &Wanted<'_>,
        chooser: Chooser,
    ) -> Result<String, Error> {
        self.csi.state().has_asked = true;
        let (namespace, name) = (Some(wanted.namespace), wanted.name());
        let body = wanted.snapshot(chooser).to_string();
        match self.cluster.create(served.groups, namespace, body.into()).await {
            Ok(written) => Ok(written.uid),
            Err(WriteError::AlreadyExists { attempt: Attempt::AfterUnclearEnd, .. }) => {
                let found = self.cluster.get(served.groups, namespace, &name).await;
                let found = found.map_err(|source| Error::Get {
                    kind: GROUP,
                    name: name.clone(),
                    source: Box::new(source),
                })?;
                let found = found.ok_or(Error::Gone { name })?;
                let snapshot: GroupSnapshot = serde_json::from_slice(&found.json)
                    .map_err(|source| Error::Malformed { group: wanted.value.to_owned(), source })?;
                Ok(snapshot.metadata.uid)
            }
            Err(source) => Err(Error::Create { kind: GROUP, name, source }),
        }
    }

    /// Makes the content of a VolumeGroupSnapshot that selects nothing.
    async fn name_volumes(
        &self,
        asked: &Asked<'_>,
        wanted: &Wanted<'_>,
        handles: &[String],
    ) -> Result<(), Error> {
        let unresolved = |source| Error::Secret { group: asked.group.value.clone(), source };
        let body = wanted.content(&asked.uid, handles).map_err(unresolved)?.to_string();
        match self.cluster.create(asked.served.contents, None, body.into()).await {
            Ok(_) | Err(WriteError::AlreadyExists { attempt: Attempt::AfterUnclearEnd, .. }) => Ok(()),
            Err(source) => {
                Err(Error::Create { kind: CONTENT, name: object::content_name(&asked.uid), source })
            }
        }
    }

    async fn until_group_is_cut(&self, asked: &Asked<'_>, roll: &Roll) -> Result<Group, Error> {
        let within = self.csi.taken_within;
        let (begun, mut pause) = (Instant::now(), FIRST_LOOK);
        let cut = loop {
            match self.look_at_group(asked, roll).await? {
                Look::Cut(cut) => break cut,
                Look::NotYet { reason } if begun.elapsed() >= within => {
                    let (name, seconds) = (asked.name.clone(), within.as_secs());
                    return Err(Error::NotTaken { name, seconds, reason });
                }
                Look::NotYet { reason: _ } => {
                    tokio::time::sleep(pause).await;
                    pause = (pause * 3 / 2).min(LOOK_EVERY);
                }
            }
        };
        let Cut { content, handle, members } = cut;
        // From here on nobody who deletes the namespace deletes the snapshots, and what we leave can be found.
        let mark = json!({
            "metadata": {"labels": single::owner(&self.csi.backup, &self.csi.backup_uid)},
            "spec": {"deletionPolicy": "Retain"},
        });
        let marked = self.cluster.merge_patch(asked.served.contents, None, &content, mark.to_string().into());
        marked.await.map_err(|source| Error::Mark { kind: CONTENT, name: content, source })?;
        let taking = roll.present.iter().filter_map(|claim| {
            let snapshot = members.get(&claim.name)?.clone();
            Some(self.take_member(asked, claim, snapshot))
        });
        let members = try_join_all(taking).await?.into_iter().collect();
        Ok(Group {
            namespace: asked.group.namespace.clone(),
            snapshot: asked.name.clone(),
            uid: asked.uid.clone(),
            handle,
            members,
        })
    }

    /// The VolumeSnapshot gets the labels of one that is taken by itself.
    async fn take_member(
        &self,
        asked: &Asked<'_>,
        claim: &Present,
        snapshot: String,
    ) -> Result<(String, Member), Error> {
        let labels = single::marks(&claim.labels, &self.csi.backup, &self.csi.backup_uid);
        let mark = json!({"metadata": {"labels": labels}}).to_string();
        let namespace = &asked.group.namespace;
        let marked = self
            .cluster
            .merge_patch(asked.snapshots.snapshots, Some(namespace), &snapshot, mark.into())
            .await;
        marked.map_err(|source| Error::Mark { kind: "VolumeSnapshot", name: snapshot.clone(), source })?;
        let taken = self.until_cut(asked.snapshots, namespace, &snapshot).await;
        let failed = |source| Error::Member { name: asked.name.clone(), source: Box::new(source) };
        Ok((claim.name.clone(), Member { snapshot, taken: taken.map_err(failed)? }))
    }

    async fn look_at_group(&self, asked: &Asked<'_>, roll: &Roll) -> Result<Look, Error> {
        let Asked { group, name, uid, served, snapshots } = asked;
        let malformed = |source| Error::Malformed { group: group.value.clone(), source };
        let found = self.cluster.get(served.groups, Some(&group.namespace), name).await;
        let found = found.map_err(|source| Error::Get {
            kind: GROUP,
            name: name.clone(),
            source: Box::new(source),
        })?;
        let found = found.ok_or_else(|| Error::Gone { name: name.clone() })?;
        let snapshot: GroupSnapshot = serde_json::from_slice(&found.json).map_err(malformed)?;
        let content_name = snapshot.content().map_or_else(|| object::content_name(uid), str::to_owned);
        let found = self.cluster.get(served.contents, None, &content_name).await;
        let unread =
            |source| Error::Get { kind: CONTENT, name: content_name.clone(), source: Box::new(source) };
        let content: GroupContent = match found.map_err(unread)? {
            Some(found) => serde_json::from_slice(&found.json).map_err(malformed)?,
            None => GroupContent::default(),
        };
        let not_yet = |otherwise: &str| {
            let reason = content.problem().or(snapshot.problem()).unwrap_or(otherwise);
            Ok(Look::NotYet { reason: reason.to_owned() })
        };
        let Some(handle) = content.handle() else {
            return not_yet("the driver has not given the group a handle");
        };
        let mut members = BTreeMap::new();
        let scope = ListScope {
            namespace: Some(group.namespace.clone()),
            label_selector: None,
            page_size: PAGE_SIZE,
        };
        let mut pages = self.cluster.list(snapshots.snapshots, scope);
        let unlisted = |source| Error::List { kind: SNAPSHOTS, source: Box::new(source) };
        while let Some(items) = pages.next().await.map_err(unlisted)? {
            for item in items {
                let member: MemberSnapshot = serde_json::from_slice(&item.json).map_err(malformed)?;
                if member.is_of(uid) {
                    members.insert(member.claim().to_owned(), member.metadata.name);
                }
            }
        }
        let is_wanted = |claim: &String| roll.present.iter().any(|present| present.name == *claim);
        if let Some(claim) = members.keys().find(|claim| !is_wanted(claim)) {
            return Err(Error::CameLate { group: group.value.clone(), claim: claim.clone() });
        }
        if members.len() < roll.present.len() {
            return not_yet("not every claim of the group has a VolumeSnapshot");
        }
        let handle = handle.to_owned();
        Ok(Look::Cut(Cut { content: content_name, handle, members }))
    }

    /// With all of its snapshots.
    pub(in super::super) async fn take_group_back(&self, namespace: &str, name: &str, uid: &str) {
        if let Err(error) = leftovers::take_group_back(&self.csi.client, namespace, name, uid).await {
            let error = &error as &dyn std::error::Error;
            tracing::warn!(
                namespace,
                volumeGroupSnapshot = name,
                error,
                "left a VolumeGroupSnapshot that failed"
            );
        }
    }
}
