//! Whose a backup is, among the clusters that share a bucket.
//!
//! In: the annotations of a Backup and of its location, and the name of this cluster. Out: its owner. Backups carry the
//! name of the cluster that made them from their start, also in the bucket; what was found in a bucket without a name
//! (Velero's own) is nobody's. Which backups may expire or be thinned out is decided by this; what a person asks for
//! is not.

use std::collections::BTreeMap;

use crate::annotations::{ADOPTED_BY, TAKE_OVER};
use crate::velero::{Mark, Summarized};

/// A cluster among those that share a bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cluster {
    pub name: String,
    pub named_by: NamedBy,
}

/// Who gave a cluster its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NamedBy {
    Person,
    /// Nobody: it is the uid of its namespace kube-system. A cluster that was copied has that of the original, so what
    /// was only found in a bucket is not ended by such a name.
    Uid,
}

impl Cluster {
    pub fn named(name: &str) -> Cluster {
        Cluster { name: name.to_owned(), named_by: NamedBy::Person }
    }
}

/// Whose a backup is, seen from this cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Owner {
    /// Made here, or by a cluster that the location says this one takes over.
    ThisCluster,
    /// Made by the cluster of this name.
    Other(String),
    /// Made by a server that gives no names.
    Nobody(Location),
    /// Ours by its name, but found in a bucket by a cluster that no person has named.
    Unconfirmed,
}

/// What a location says about backups that name no cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Location {
    /// This cluster looks after them.
    Adopted,
    NotAdopted,
}

/// The owner of a backup in a location with these annotations.
pub fn owner(backup: &impl Summarized, location: Option<&BTreeMap<String, String>>, this: &Cluster) -> Owner {
    let value = |key: &str| {
        let value = location.and_then(|annotations| annotations.get(key)).map(String::as_str);
        value.filter(|value| !value.is_empty())
    };
    let by_name = match backup.mark(Mark::Cluster).filter(|cluster| !cluster.is_empty()) {
        Some(cluster) if cluster == this.name => Owner::ThisCluster,
        Some(cluster) if value(TAKE_OVER) == Some(cluster) => Owner::ThisCluster,
        Some(cluster) => Owner::Other(cluster.to_owned()),
        None if value(ADOPTED_BY) == Some(this.name.as_str()) => Owner::Nobody(Location::Adopted),
        None => Owner::Nobody(Location::NotAdopted),
    };
    match this.named_by {
        NamedBy::Uid if by_name.is_ours() && backup.mark(Mark::Synced).is_some() => Owner::Unconfirmed,
        NamedBy::Uid | NamedBy::Person => by_name,
    }
}

impl Owner {
    /// May this cluster end the backup on its own account, by its ttl or a keep rule?
    pub fn is_ours(&self) -> bool {
        match self {
            Owner::ThisCluster | Owner::Nobody(Location::Adopted) => true,
            Owner::Other(_) | Owner::Nobody(Location::NotAdopted) | Owner::Unconfirmed => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::annotations::{CLUSTER, SYNCED};
    use crate::velero::Backup;

    fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    fn owner_for(this: &Cluster, backup: &[(&str, &str)], location: &[(&str, &str)]) -> Owner {
        let mut annotated = Backup::default();
        annotated.metadata.annotations = Some(map(backup));
        owner(&annotated, Some(&map(location)), this)
    }

    fn owner_of(backup: &[(&str, &str)], location: &[(&str, &str)]) -> Owner {
        owner_for(&Cluster::named("prod"), backup, location)
    }

    #[test]
    fn a_backup_belongs_to_the_cluster_it_names() {
        assert_eq!(owner_of(&[(CLUSTER, "prod")], &[]), Owner::ThisCluster);
        assert_eq!(owner_of(&[(CLUSTER, "old")], &[]), Owner::Other("old".to_owned()));
        // Adopting is about backups without a name, and not about those of others.
        assert_eq!(owner_of(&[(CLUSTER, "old")], &[(ADOPTED_BY, "prod")]), Owner::Other("old".to_owned()));
    }

    #[test]
    fn a_take_over_makes_the_backups_of_that_cluster_ours() {
        assert_eq!(owner_of(&[(CLUSTER, "old")], &[(TAKE_OVER, "old")]), Owner::ThisCluster);
        assert_eq!(owner_of(&[(CLUSTER, "older")], &[(TAKE_OVER, "old")]), Owner::Other("older".to_owned()));
    }

    #[test]
    fn a_backup_without_a_name_is_ours_once_its_location_was_adopted_by_us() {
        let adopted = owner_of(&[], &[(ADOPTED_BY, "prod")]);
        assert_eq!(adopted, Owner::Nobody(Location::Adopted));
        assert!(adopted.is_ours());
        for location in [&[][..], &[(ADOPTED_BY, "other")], &[(ADOPTED_BY, "")], &[(TAKE_OVER, "old")]] {
            let owner = owner_of(&[(CLUSTER, "")], location);
            assert_eq!(owner, Owner::Nobody(Location::NotAdopted));
            assert!(!owner.is_ours());
        }
    }

    #[test]
    fn a_cluster_without_a_given_name_ends_nothing_that_it_only_found() {
        let unnamed = Cluster { name: "uid".to_owned(), named_by: NamedBy::Uid };
        let of = |backup: &[_], location: &[_]| owner_for(&unnamed, backup, location);
        assert_eq!(of(&[(CLUSTER, "uid")], &[]), Owner::ThisCluster);
        let found = (SYNCED, "2026-11-23T10:00:00Z");
        for (backup, location) in [
            (vec![(CLUSTER, "uid"), found], vec![]),
            (vec![(CLUSTER, "old"), found], vec![(TAKE_OVER, "old")]),
            (vec![found], vec![(ADOPTED_BY, "uid")]),
        ] {
            assert_eq!(of(&backup, &location), Owner::Unconfirmed);
            assert!(!Owner::Unconfirmed.is_ours());
        }
        assert_eq!(of(&[(CLUSTER, "other"), found], &[]), Owner::Other("other".to_owned()));
        assert_eq!(of(&[found], &[]), Owner::Nobody(Location::NotAdopted));
        let named = owner_for(&Cluster::named("uid"), &[(CLUSTER, "uid"), found], &[]);
        assert_eq!(named, Owner::ThisCluster);
    }
}
