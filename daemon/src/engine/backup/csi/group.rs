//! Snapshots of volume groups: claims of one namespace with the same value of the group's label are snapshotted at one
//! point in time, by one VolumeGroupSnapshot (reference: velero-backup.md 6.8).
//!
//! In: a claim that is to be snapshotted and has the label. Out: it is held back with its member of the group's snapshot.
//! The first claim that comes has the whole group snapshotted, the others find theirs there. Which class is taken is
//! [`class`]'s matter, which claims belong to it [`roll`]'s, and how it is made [`cut`]'s.
//!
//! A group is kept whole or not at all: storage systems need not be able to delete one snapshot of a group, and claims that
//! are restored from different points in time are what the group is there to prevent. So the objects of the group stay
//! in the cluster until the backup is complete, and take all of its snapshots along when it is not.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;

use tokio::sync::OnceCell;

use super::facts::Claim;
use super::take::{Hold, Subject, Taken};
use super::{CsiSnapshots, failed_entry, volume_verdict};
use crate::actions::GROUP_VERSIONS;
use crate::cluster::write::WriteError;
use crate::cluster::{self, Discovery, Resource};
use crate::engine::backup::collect::Collector;

mod class;
mod cut;
mod facts;
mod object;
mod roll;
mod wholeness;

pub(super) use object::content_name;
pub(super) use wholeness::keep_whole;

const GROUPS: &str = "volumegroupsnapshots.groupsnapshot.storage.k8s.io";
const CONTENTS: &str = "volumegroupsnapshotcontents.groupsnapshot.storage.k8s.io";
const CLASSES: &str = "volumegroupsnapshotclasses.groupsnapshot.storage.k8s.io";

/// Which group: the namespace, and the value of the label.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Name {
    pub(super) namespace: String,
    pub(super) value: String,
}

/// A group that was snapshotted.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) namespace: String,
    /// Of the VolumeGroupSnapshot.
    pub(super) snapshot: String,
    /// Of the VolumeGroupSnapshot, by which its content and its members are known.
    pub(super) uid: String,
    /// The driver's name for the snapshot of the group.
    pub(super) handle: String,
    /// By the name of the claim.
    pub(super) members: BTreeMap<String, Member>,
}

/// The snapshot of one claim.
#[derive(Debug, Clone)]
pub(super) struct Member {
    pub(super) snapshot: String,
    pub(super) taken: Taken,
}

/// Snapshots of groups, by group; each is taken once, and fails once.
pub(super) type Groups = BTreeMap<Name, Arc<OnceCell<Result<Arc<Group>, Arc<Error>>>>>;

/// The kinds that groups need.
#[derive(Clone, Copy)]
struct Served<'a> {
    groups: &'a Resource,
    contents: &'a Resource,
    classes: &'a Resource,
}

/// Why a group has no snapshot. Each of its claims tells it.
#[derive(Debug, thiserror::Error)]
pub(in crate::engine::backup) enum Error {
    #[error(
        "the claim is of volume group {group:?} (label {label}), and the cluster does not serve \
         VolumeGroupSnapshots of groupsnapshot.storage.k8s.io (v1 or v1beta2), without which the group's volumes would be \
         snapshotted at different times: install them together with a driver that has them, or take the label off"
    )]
    NotServed { group: String, label: String },
    #[error(
        "the claim is of volume group {group:?} (label {label}), and the data of volume groups is not moved: leave the group's \
         snapshots where they are (snapshotMoveData: false), or take the label off"
    )]
    NotMoved { group: String, label: String },
    #[error("cannot list {kind}: {source}")]
    List { kind: &'static str, source: Box<cluster::Error> },
    #[error("cannot read an object of volume group {group:?}: {source}")]
    Malformed { group: String, source: serde_json::Error },
    #[error(transparent)]
    Verdict(Box<volume_verdict::Error>),
    #[error(
        "volume group {group:?} has claims whose volumes are no CSI volumes ({claims}), which no driver can snapshot together \
         with others: take the group's label off these, or skip them by a volume policy"
    )]
    NotCsi { group: String, claims: String },
    #[error(
        "volume group {group:?} has volumes of several drivers ({drivers}), and a driver can only snapshot its own: give \
         the claims of each driver a group of their own"
    )]
    Drivers { group: String, drivers: String },
    #[error("cannot take a snapshot of volume group {group:?}: {source}")]
    Class { group: String, source: class::Error },
    #[error("cannot take a snapshot of volume group {group:?}: {source}")]
    Secret { group: String, source: object::Unresolved },
    #[error("cannot create {kind} {name}: {source}")]
    Create { kind: &'static str, name: String, source: WriteError },
    #[error("cannot get {kind} {name}: {source}")]
    Get { kind: &'static str, name: String, source: Box<cluster::Error> },
    #[error("VolumeGroupSnapshot {name} was deleted before its time")]
    Gone { name: String },
    #[error("VolumeGroupSnapshot {name} has no snapshot after {seconds} s: {reason}")]
    NotTaken { name: String, seconds: u64, reason: String },
    #[error(
        "claim {claim} has come into volume group {group:?} while the group was snapshotted: back up once more"
    )]
    CameLate { group: String, claim: String },
    #[error("cannot mark {kind} {name}: {source}")]
    Mark { kind: &'static str, name: String, source: WriteError },
    #[error("a snapshot of VolumeGroupSnapshot {name}: {source}")]
    Member { name: String, source: Box<super::Error> },
}

impl From<volume_verdict::Error> for Error {
    fn from(error: volume_verdict::Error) -> Self {
        Error::Verdict(Box::new(error))
    }
}

impl CsiSnapshots {
    fn group(&self, name: &Name) -> Arc<OnceCell<Result<Arc<Group>, Arc<Error>>>> {
        match self.state().groups.entry(name.clone()) {
            Entry::Occupied(group) => group.get().clone(),
            Entry::Vacant(vacant) => vacant.insert(Arc::default()).clone(),
        }
    }
}

impl<'a> Served<'a> {
    fn find(discovery: &'a Discovery) -> Option<Self> {
        let kind = |name: &str| {
            let resource = discovery.by_group_resource(name);
            resource.filter(|resource| GROUP_VERSIONS.contains(&resource.version.as_str()))
        };
        Some(Self { groups: kind(GROUPS)?, contents: kind(CONTENTS)?, classes: kind(CLASSES)? })
    }
}

impl Collector<'_> {
    /// The value of the label that makes volume groups, if the claim has one.
    pub(super) fn volume_group_of(&self, claim: &Claim) -> Option<String> {
        claim.metadata.labels.get(self.group_label).filter(|value| !value.is_empty()).cloned()
    }

    /// Holds the claim back with its part of the group's snapshot.
    pub(super) async fn snapshot_in_group(
        &self,
        subject: Subject<'_>,
        value: String,
    ) -> Result<(), super::Error> {
        let started = (self.csi.clock)();
        let namespace = subject.item.namespace.clone().unwrap_or_default();
        let name = Name { namespace, value };
        let group = self.csi.group(&name);
        let taken = group
            .get_or_init(|| async {
                self.take_group(subject.served, &name).await.map(Arc::new).map_err(Arc::new)
            })
            .await;
        let found = taken.as_ref().map_err(Arc::clone).and_then(|group| {
            let member = group.members.get(&subject.item.name);
            let late = || Error::CameLate { group: name.value.clone(), claim: subject.item.name.clone() };
            Ok((group.clone(), member.cloned().ok_or_else(|| Arc::new(late()))?))
        });
        match found {
            Ok((group, Member { snapshot, taken })) => {
                self.hold(subject, Hold { snapshot, taken, class: None, group: Some(group), started });
                Ok(())
            }
            Err(error) => {
                self.volumes.keep(failed_entry(&subject, started, (self.csi.clock)()));
                Err(super::Error::Group(error))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_served_in_a_version_that_we_know_or_not_at_all() {
        let serves = |version: &str, names: &[&str]| {
            let resource = |name: &&str| Resource {
                group: "groupsnapshot.storage.k8s.io".to_owned(),
                version: version.to_owned(),
                plural: (*name).to_owned(),
                ..Resource::default()
            };
            let discovery = Discovery::from_served(names.iter().map(resource).collect());
            Served::find(&discovery).is_some()
        };
        let all = ["volumegroupsnapshots", "volumegroupsnapshotcontents", "volumegroupsnapshotclasses"];
        assert!(serves("v1", &all) && serves("v1beta2", &all));
        assert!(!serves("v1beta1", &all));
        assert!(!serves("v1", &all[..2]));
    }
}
