//! Whether a bucket is the one it was, and whose it is.
//!
//! In: what the bucket's own records say, and what the location remembers. Out: what is to be remembered and told. The
//! records are described in docs/format.md.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::SecondsFormat;
use holdfast_policy::annotations::{LOCATION_ID, OWNED_BY, TAKE_OVER};
use holdfast_policy::velero;
use holdfast_policy::velero::{AccessMode, BackupPhase, Mark, Summarized, labels};
use kube::ResourceExt;

use crate::clock::Clock;
use crate::controllers::stores::{self, Stores};
use crate::controllers::watched::Watched;
use crate::store::{self, BackupStore, Creation, Marker, Ownership};

use super::Claims;

/// Somebody else may be first with the next record; after that it is theirs.
const TRIES: u32 = 3;

pub(super) struct Work {
    pub(super) location: Arc<velero::BackupStorageLocation>,
    /// Does the cluster have Backups of this location that must have files?
    pub(super) holds_backups: bool,
    pub(super) cluster_name: String,
    pub(super) claims: Claims,
    pub(super) stores: Stores,
    pub(super) clock: Clock,
}

/// What a check found, beside that the bucket can be reached.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    pub identity: Identity,
    /// The other cluster that writes there, where the spec says that this one does.
    pub other_owner: Option<Ownership>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Identity {
    /// There is no marker, and there was none.
    #[default]
    Unmarked,
    /// As remembered, or to be remembered from now on.
    Known {
        id: String,
    },
    Lost {
        expected: String,
    },
    Another {
        expected: String,
        found: String,
    },
}

pub(super) fn holds_backups(
    backups: &Watched<velero::Backup>,
    location: &velero::BackupStorageLocation,
) -> bool {
    let label = labels::short_name(&location.name_any());
    backups.all().iter().any(|backup| {
        backup.mark(Mark::StorageLocation) == Some(&label)
            && matches!(backup.phase(), BackupPhase::Completed | BackupPhase::PartiallyFailed)
    })
}

pub(super) async fn look(work: &Work) -> Result<Place, String> {
    let store = work.stores.open(&work.location).await.map_err(|error| stores::reason(&error))?;
    store.check().await.map_err(|error| stores::reason(&error))?;
    let place = async {
        let other_owner = other_owner(work, &store).await?;
        let mut marker = store.read_marker().await?;
        if marker.is_none() && may_mark(work, other_owner.as_ref()) && is_worth_marking(work, &store).await? {
            let created = Marker {
                id: uuid::Uuid::new_v4().to_string(),
                cluster: work.cluster_name.clone(),
                created: now(work),
            };
            marker = match store.create_marker(&created).await? {
                Creation::Created => Some(created),
                Creation::Taken => store.read_marker().await?,
            };
        }
        let remembered = annotation(&work.location, LOCATION_ID);
        Ok(Place { identity: identity(remembered, marker.map(|marker| marker.id)), other_owner })
    };
    place.await.map_err(|error: store::Error| stores::reason(&error))
}

/// Who writes there, if it is not us. Says that it is us where nobody does, or where this cluster was told to take over.
async fn other_owner(work: &Work, store: &BackupStore) -> Result<Option<Ownership>, store::Error> {
    if work.location.spec.access_mode_or_default() == AccessMode::ReadOnly {
        return Ok(None);
    }
    let mut owner = store.read_owner().await?;
    if work.claims == Claims::Read {
        return Ok(owner.filter(|owner| owner.cluster != work.cluster_name));
    }
    for _ in 0..TRIES {
        let Some(next) = claim(owner.as_ref(), &work.cluster_name, annotation(&work.location, TAKE_OVER))
        else {
            break;
        };
        let record = Ownership { since: now(work), ..next };
        if store.create_owner(&record).await? == Creation::Created {
            tracing::info!(location = work.location.name_any(), %record, "this cluster writes here from now on");
        }
        owner = store.read_owner().await?;
    }
    Ok(owner.filter(|owner| owner.cluster != work.cluster_name))
}

/// The record by which this cluster becomes the owner, if it may and is not yet.
fn claim(owner: Option<&Ownership>, us: &str, take_over: Option<&str>) -> Option<Ownership> {
    let record =
        |epoch, took_over| Ownership { cluster: us.to_owned(), epoch, since: String::new(), took_over };
    match owner {
        None => Some(record(1, None)),
        Some(owner) if owner.cluster == us => None,
        Some(owner) if take_over == Some(owner.cluster.as_str()) => {
            Some(record(owner.epoch.checked_add(1)?, Some(owner.cluster.clone())))
        }
        Some(_) => None,
    }
}

fn may_mark(work: &Work, other_owner: Option<&Ownership>) -> bool {
    work.claims == Claims::Made
        && work.location.spec.access_mode_or_default() == AccessMode::ReadWrite
        && other_owner.is_none()
        && annotation(&work.location, LOCATION_ID).is_none()
}

/// A folder that became empty must not get a marker, which would say that its backups were removed on purpose.
async fn is_worth_marking(work: &Work, store: &BackupStore) -> Result<bool, store::Error> {
    Ok(!work.holds_backups || !store.list_backups().await?.is_empty())
}

fn identity(remembered: Option<&str>, found: Option<String>) -> Identity {
    match (remembered, found) {
        (None, None) => Identity::Unmarked,
        (None, Some(id)) => Identity::Known { id },
        (Some(expected), None) => Identity::Lost { expected: expected.to_owned() },
        (Some(expected), Some(id)) if expected == id => Identity::Known { id },
        (Some(expected), Some(found)) => Identity::Another { expected: expected.to_owned(), found },
    }
}

fn annotation<'a>(location: &'a velero::BackupStorageLocation, key: &str) -> Option<&'a str> {
    let value = location.metadata.annotations.as_ref()?.get(key)?;
    (!value.is_empty()).then_some(value)
}

fn now(work: &Work) -> String {
    (work.clock)().to_rfc3339_opts(SecondsFormat::Secs, true)
}

impl Place {
    /// What the location is to remember.
    pub(super) fn put_into(&self, location: &mut velero::BackupStorageLocation) {
        let annotations = location.metadata.annotations.get_or_insert_with(BTreeMap::new);
        if let Identity::Known { id } = &self.identity {
            annotations.insert(LOCATION_ID.to_owned(), id.clone());
        }
        match &self.other_owner {
            Some(owner) => drop(annotations.insert(OWNED_BY.to_owned(), owner.cluster.clone())),
            None => drop(annotations.remove(OWNED_BY)),
        }
        if annotations.is_empty() {
            location.metadata.annotations = None;
        }
    }

    /// What a person should know.
    pub(super) fn message(&self) -> Option<String> {
        let Place { identity, other_owner } = self;
        let identity = match identity {
            Identity::Unmarked | Identity::Known { .. } => None,
            Identity::Lost { expected } => Some(format!("the bucket has lost its marker {expected}")),
            Identity::Another { expected, found } => {
                Some(format!("the bucket has the marker {found} and not {expected}: it is another"))
            }
        };
        let identity = identity.map(|text| {
            format!(
                "{text}. No Backup is removed from the cluster for want of files. If the bucket was changed on purpose, \
                 remove the annotation {LOCATION_ID}"
            )
        });
        let owner = other_owner.as_ref().map(|owner| {
            let cluster = &owner.cluster;
            format!(
                "cluster {owner} writes here: this one only reads, until its StorageLocation says takeOver: {cluster}"
            )
        });
        match (identity, owner) {
            (None, None) => None,
            (Some(text), None) | (None, Some(text)) => Some(text),
            (Some(identity), Some(owner)) => Some(format!("{identity}. And {owner}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn owner(cluster: &str, epoch: u32) -> Ownership {
        Ownership {
            cluster: cluster.to_owned(),
            epoch,
            since: "2026-11-23T10:00:00Z".to_owned(),
            took_over: None,
        }
    }

    #[test]
    fn a_place_is_claimed_where_nobody_is_or_where_a_person_said_so() {
        let claimed = |owner: Option<Ownership>, take_over| {
            claim(owner.as_ref(), "us", take_over).map(|record| (record.epoch, record.took_over))
        };
        assert_eq!(claimed(None, None), Some((1, None)));
        assert_eq!(claimed(Some(owner("us", 4)), None), None);
        assert_eq!(claimed(Some(owner("them", 4)), None), None);
        assert_eq!(claimed(Some(owner("them", 4)), Some("others")), None);
        assert_eq!(claimed(Some(owner("them", 4)), Some("them")), Some((5, Some("them".to_owned()))));
        assert_eq!(claimed(Some(owner("them", u32::MAX)), Some("them")), None);
    }

    #[test]
    fn a_bucket_is_known_by_its_marker() {
        let known = |id: &str| Identity::Known { id: id.to_owned() };
        let found = |id: &str| Some(id.to_owned());
        assert_eq!(identity(None, None), Identity::Unmarked);
        assert_eq!(identity(None, found("a")), known("a"));
        assert_eq!(identity(Some("a"), found("a")), known("a"));
        assert_eq!(identity(Some("a"), None), Identity::Lost { expected: "a".to_owned() });
        let other = Identity::Another { expected: "a".to_owned(), found: "b".to_owned() };
        assert_eq!(identity(Some("a"), found("b")), other);
    }

    #[test]
    fn another_owner_makes_the_location_read_only_until_it_is_gone() {
        let mut location: velero::BackupStorageLocation = serde_json::from_value(json!({
            "metadata": {"name": "default"}, "spec": {"provider": "local", "objectStorage": {"bucket": "b"}},
        }))
        .unwrap();
        let theirs = Place { identity: Identity::Unmarked, other_owner: Some(owner("them", 2)) };
        theirs.put_into(&mut location);
        assert_eq!(location.access_mode(), AccessMode::ReadOnly);
        Place::default().put_into(&mut location);
        assert_eq!(location.access_mode(), AccessMode::ReadWrite);
        assert_eq!(location.metadata.annotations, None);
    }

    #[test]
    fn what_a_person_should_know_is_told() {
        let lost = Identity::Lost { expected: "m1".to_owned() };
        let another = Identity::Another { expected: "m1".to_owned(), found: "m2".to_owned() };
        let messages = [
            Place { identity: lost, other_owner: None },
            Place { identity: another, other_owner: Some(owner("them", 2)) },
            Place { identity: Identity::Unmarked, other_owner: Some(owner("them", 2)) },
        ]
        .map(|place| place.message().unwrap());
        let expected = [
            "the bucket has lost its marker m1. No Backup is removed from the cluster for want of files. If the bucket was \
             changed on purpose, remove the annotation holdfast.dev/location-id",
            "the bucket has the marker m2 and not m1: it is another. No Backup is removed from the cluster for want of \
             files. If the bucket was changed on purpose, remove the annotation holdfast.dev/location-id. And cluster them \
             (record 2, since 2026-11-23T10:00:00Z) writes here: this one only reads, until its StorageLocation says \
             takeOver: them",
            "cluster them (record 2, since 2026-11-23T10:00:00Z) writes here: this one only reads, until its \
             StorageLocation says takeOver: them",
        ];
        assert_eq!(messages, expected);
        assert_eq!(Place::default().message(), None);
    }
}
