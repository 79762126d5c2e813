//! Whose a backup is, among the clusters that share a bucket.
//!
//! In: the annotations of a Backup and of its location, and the name of this cluster. Out: its owner. Backups carry the
//! name of the cluster that made them from their start, also in the bucket; what was found in a bucket without a name
//! (Velero's own) is nobody's. Which backups may expire or be thinned out is decided by this; what a person asks for
//! is not.

use std::collections::BTreeMap;

use crate::annotations::{ADOPTED_BY, CLUSTER, TAKE_OVER};

/// Whose a backup is, seen from this cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Owner {
    /// Made here, or by a cluster that the location says this one takes over.
    ThisCluster,
    /// Made by the cluster of this name.
    Other(String),
    /// Made by a server that gives no names.
    Nobody(Location),
}

/// What a location says about backups that name no cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Location {
    /// This cluster looks after them.
    Adopted,
    NotAdopted,
}

/// The owner of a backup with these annotations, in a location with those.
pub fn owner(
    backup: Option<&BTreeMap<String, String>>,
    location: Option<&BTreeMap<String, String>>,
    this_cluster: &str,
) -> Owner {
    let cluster = backup.and_then(|annotations| annotations.get(CLUSTER));
    owner_by_cluster(cluster.map(String::as_str), location, this_cluster)
}

/// The owner of a backup that names this cluster, in a location with these annotations.
pub fn owner_by_cluster(
    cluster: Option<&str>,
    location: Option<&BTreeMap<String, String>>,
    this_cluster: &str,
) -> Owner {
    let value = |key: &str| {
        let value = location.and_then(|annotations| annotations.get(key)).map(String::as_str);
        value.filter(|value| !value.is_empty())
    };
    match cluster.filter(|cluster| !cluster.is_empty()) {
        Some(cluster) if cluster == this_cluster => Owner::ThisCluster,
        Some(cluster) if value(TAKE_OVER) == Some(cluster) => Owner::ThisCluster,
        Some(cluster) => Owner::Other(cluster.to_owned()),
        None if value(ADOPTED_BY) == Some(this_cluster) => Owner::Nobody(Location::Adopted),
        None => Owner::Nobody(Location::NotAdopted),
    }
}

impl Owner {
    /// May this cluster end the backup on its own account, by its ttl or a keep rule?
    pub fn is_ours(&self) -> bool {
        match self {
            Owner::ThisCluster | Owner::Nobody(Location::Adopted) => true,
            Owner::Other(_) | Owner::Nobody(Location::NotAdopted) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owner_of(backup: &[(&str, &str)], location: &[(&str, &str)]) -> Owner {
        let map = |pairs: &[(&str, &str)]| {
            pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
        };
        owner(Some(&map(backup)), Some(&map(location)), "prod")
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
}
