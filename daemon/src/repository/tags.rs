//! What a snapshot is of: `key=value` texts, as Velero tags its own.

use std::collections::BTreeMap;

use rustic_core::StringList;

/// The tags of one volume of one backup.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tags(BTreeMap<String, String>);

/// A volume is the same when these are, whichever backup it is of.
const OF_A_CLAIM: &str = "pvc-uid";
const OF_A_POD: &str = "pod-uid";
const OF_A_VOLUME: &str = "volume";
/// A backup's name comes again, its UID does not.
const OF_A_BACKUP: &str = "backup-uid";
/// Of a volume that is copied whole, no pod asked: as snapshots of a provider are tagged.
const OF_A_PERSISTENT_VOLUME: &str = "velero.io/pv";
const OF_A_NAMED_BACKUP: &str = "velero.io/backup";

impl Tags {
    pub fn new(tags: BTreeMap<String, String>) -> Self {
        Self(tags)
    }

    pub(super) fn texts(&self) -> impl Iterator<Item = String> {
        self.0.iter().map(|(key, value)| text(key, value))
    }

    /// Those that tell the volume: of a claim its own, else the pod's and the volume's name in it.
    pub(super) fn of_the_volume(&self) -> Vec<String> {
        let has = |key: &str| self.0.contains_key(key);
        let keys: &[&str] = match (has(OF_A_PERSISTENT_VOLUME), has(OF_A_CLAIM)) {
            (true, _) => &[OF_A_PERSISTENT_VOLUME],
            (false, true) => &[OF_A_CLAIM],
            (false, false) => &[OF_A_POD, OF_A_VOLUME],
        };
        keys.iter().filter_map(|key| self.0.get(*key).map(|value| text(key, value))).collect()
    }

    /// What a snapshot is tagged with; a text of another form is left out.
    pub(super) fn read(found: &StringList) -> BTreeMap<String, String> {
        let pair =
            |tag: &String| Some(tag.split_once('=')?).map(|(key, value)| (key.to_owned(), value.to_owned()));
        found.iter().filter_map(pair).collect()
    }

    /// The first of the tags that bind a snapshot to a backup and a volume and that a snapshot lacks.
    pub(super) fn missing_in(&self, found: &StringList) -> Option<String> {
        let binding: &[&str] = match self.0.contains_key(OF_A_PERSISTENT_VOLUME) {
            true => &[OF_A_NAMED_BACKUP, OF_A_PERSISTENT_VOLUME],
            false => &[OF_A_BACKUP, OF_A_POD, OF_A_VOLUME],
        };
        let wanted = binding.iter().map(|key| text(key, self.0.get(*key).map_or("", String::as_str)));
        wanted.into_iter().find(|tag| !found.contains(tag))
    }
}

fn text(key: &str, value: &str) -> String {
    format!("{key}={value}")
}
