//! Which version of a kind is restored, where the backup has several: Velero's EnableAPIGroupVersions.
//!
//! In: the versions that the archive and the target have, and an order that the user wishes. Out: the version for every
//! kind of which another one than the source's preferred is taken.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use holdfast_policy::velero;
use serde::Deserialize;

use crate::archive::{StoredVersions, Twins};
use crate::cluster::{Cluster, Discovery, Error, version_priority};

/// The archive's format from which on it has folders of versions.
const FIRST_FORMAT: &str = "1.1.0";
/// Velero's names of the ConfigMap and its key.
const CONFIG_MAP: &str = "enableapigroupversions";
const KEY: &str = "restoreResourcesVersionPriority";

/// What choosing goes by.
#[derive(Debug)]
pub(crate) struct Choice {
    discovery: Discovery,
    /// Versions by group resource, the first wanted most.
    wishes: BTreeMap<String, Vec<String>>,
}

/// Whether the backup has anything to choose from.
pub(crate) fn may_hold_several(backup: &velero::Backup) -> bool {
    backup.status.format_version.as_deref().is_some_and(|version| version >= FIRST_FORMAT)
}

impl Choice {
    /// Reads the wishes from the ConfigMap of the daemon's namespace, where it is there.
    pub(crate) async fn read(cluster: &Cluster, home: &str, discovery: &Discovery) -> Result<Self, Error> {
        #[derive(Deserialize)]
        struct ConfigMap {
            #[serde(default)]
            data: BTreeMap<String, String>,
        }
        let path = format!("/api/v1/namespaces/{home}/configmaps/{CONFIG_MAP}");
        let wishes = match cluster.read(&path).await {
            Ok(json) => {
                let config_map: ConfigMap =
                    serde_json::from_slice(&json).map_err(|source| Error::Malformed { path, source })?;
                config_map.data.get(KEY).map(|text| wishes(text)).unwrap_or_default()
            }
            Err(error) if error.is_not_found() => BTreeMap::new(),
            Err(error) => return Err(error),
        };
        Ok(Self { discovery: discovery.clone(), wishes })
    }

    /// By group resource.
    pub(crate) fn choose(&self, twins: &Twins) -> BTreeMap<String, String> {
        let mut chosen = BTreeMap::new();
        for (group_resource, stored) in twins.versions() {
            let wished = self.wishes.get(group_resource).map(Vec::as_slice).unwrap_or_default();
            let version = version(&stored, &self.discovery.versions(group_resource), wished);
            if version != stored.preferred {
                chosen.insert(group_resource.to_owned(), version.to_owned());
            }
        }
        chosen
    }
}

/// `served` is in the order of the target's discovery: its preferred version comes first.
fn version<'a>(stored: &StoredVersions<'a>, served: &[&str], wished: &[String]) -> &'a str {
    let mut all: Vec<&'a str> = [stored.preferred].into_iter().chain(stored.others.iter().copied()).collect();
    all.sort_by_key(|version| Reverse(version_priority(version)));
    let has = |wanted: &str| all.iter().copied().find(|version| *version == wanted);
    let is_served = |version: &&'a str| served.contains(version);
    let by_wish = wished.iter().find_map(|wish| has(wish).filter(is_served));
    by_wish
        .or_else(|| served.first().and_then(|preferred| has(preferred)))
        .or_else(|| Some(stored.preferred).filter(is_served))
        .or_else(|| all.iter().copied().find(is_served))
        .unwrap_or(stored.preferred)
}

/// Lines of `resource.group=v1,v2`. As with Velero, others mean nothing.
fn wishes(text: &str) -> BTreeMap<String, Vec<String>> {
    let line = |line: &str| {
        let line: String = line.chars().filter(|char| !char.is_whitespace()).collect();
        match line.split('=').collect::<Vec<_>>()[..] {
            [kind, versions] if !kind.is_empty() && !versions.is_empty() => {
                Some((kind.to_owned(), versions.split(',').map(str::to_owned).collect()))
            }
            _ => None,
        }
    };
    text.lines().filter_map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wish_comes_before_the_target_s_preference_and_that_before_the_source_s() {
        let stored =
            |preferred, others: &[&'static str]| StoredVersions { preferred, others: others.to_vec() };
        let none: [&str; 0] = [];
        // what the archive has, what the target serves with its preferred version first, wishes, what is chosen
        let table: [(StoredVersions<'static>, &[&str], &[&str], &str); 8] = [
            (stored("v1", &["v2beta1"]), &["v2", "v1"], &none, "v1"),
            (stored("v1", &["v2beta1", "v2"]), &["v2", "v1"], &none, "v2"),
            (stored("v1", &["v2beta1", "v2"]), &["v2", "v2beta1", "v1"], &["v3", "v2beta1"], "v2beta1"),
            (stored("v1", &["v2"]), &["v2", "v1"], &["v3"], "v2"),
            (stored("v3", &["v1beta1", "v2", "v1"]), &["v4", "v1", "v2"], &none, "v2"),
            (stored("v3", &["v1alpha1", "v1beta1"]), &["v4", "v1alpha1", "v1beta1"], &none, "v1beta1"),
            (stored("v3", &["v2"]), &["v4"], &none, "v3"),
            (stored("v3", &["v2"]), &none, &["v2"], "v3"),
        ];
        for (stored, served, wished, expected) in table {
            let wished: Vec<String> = wished.iter().map(ToString::to_string).collect();
            let found = version(&stored, served, &wished);
            assert_eq!(found, expected, "{stored:?} into {served:?}, wished {wished:?}");
        }
    }

    #[test]
    fn lines_that_are_no_wishes_mean_nothing() {
        let found = wishes("rockbands.music.example.io = v2beta1, v2\n\nx=y=z\nnothing\n=v1\na.b=v1");
        let lists: Vec<String> =
            found.iter().map(|(kind, versions)| format!("{kind} {}", versions.join(","))).collect();
        assert_eq!(lists, ["a.b v1", "rockbands.music.example.io v2beta1,v2"]);
    }

    #[test]
    fn archives_before_the_first_format_have_no_choice() {
        let backup = |version: Option<&str>| {
            let mut backup = velero::Backup::new("b", velero::BackupSpec::default());
            backup.status.format_version = version.map(str::to_owned);
            backup
        };
        assert!(may_hold_several(&backup(Some("1.1.0"))));
        assert!(!may_hold_several(&backup(Some("1.0.0"))));
        assert!(!may_hold_several(&backup(None)));
    }
}
