//! The tags of snapshots and of volumes made of them. Pure.

use std::collections::BTreeMap;

use aws_sdk_ec2::types::Tag;

use super::super::{BACKUP_TAG, BACKUP_UID_TAG, VOLUME_TAG};
use super::{Binding, Error};

/// What EC2 takes.
const MOST: usize = 50;
/// Of AWS itself: nobody else may set these.
const RESERVED: &str = "aws:";

/// What binds the snapshot first, then the Backup's labels, then the volume's own tags, as far as EC2 takes them.
pub(super) fn of_snapshot(binding: &Binding, volume: &[Tag]) -> Vec<Tag> {
    let Binding { backup, backup_uid, volume: name, labels } = binding;
    let ours = [(BACKUP_TAG, backup), (VOLUME_TAG, name), (BACKUP_UID_TAG, backup_uid)];
    let ours = ours.map(|(key, value)| (key.to_owned(), value.clone()));
    let labels = labels.iter().map(|(key, value)| (key.clone(), value.clone()));
    distinct(ours.into_iter().chain(labels).chain(pairs(volume)))
}

/// What the volume had: what binds the snapshot is not of it.
pub(super) fn of_volume(snapshot: &[Tag]) -> Vec<Tag> {
    let ours = [BACKUP_TAG, VOLUME_TAG, BACKUP_UID_TAG];
    distinct(pairs(snapshot).filter(|(key, _)| !ours.contains(&key.as_str())))
}

/// Refuses a snapshot of another backup or volume.
pub(super) fn check(snapshot: &str, tags: &[Tag], binding: &Binding) -> Result<(), Error> {
    let found: BTreeMap<String, String> = pairs(tags).collect();
    for (key, wanted) in [(BACKUP_TAG, &binding.backup), (VOLUME_TAG, &binding.volume)] {
        if found.get(key) != Some(wanted) {
            return Err(Error(format!(
                "snapshot {snapshot} is not of this backup and volume: its tag {key} is {:?}, not {wanted:?}",
                found.get(key).map_or("", String::as_str)
            )));
        }
    }
    Ok(())
}

fn pairs(tags: &[Tag]) -> impl Iterator<Item = (String, String)> {
    tags.iter().filter_map(|tag| Some((tag.key()?.to_owned(), tag.value().unwrap_or_default().to_owned())))
}

/// The first of each key.
fn distinct(pairs: impl Iterator<Item = (String, String)>) -> Vec<Tag> {
    let mut seen = std::collections::BTreeSet::new();
    let kept = pairs.filter(|(key, _)| !key.starts_with(RESERVED) && seen.insert(key.clone())).take(MOST);
    kept.map(|(key, value)| Tag::builder().key(key).value(value).build()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tag(key: &str, value: &str) -> Tag {
        Tag::builder().key(key).value(value).build()
    }

    fn binding() -> Binding {
        Binding {
            backup: "one".to_owned(),
            backup_uid: "u".to_owned(),
            volume: "pv".to_owned(),
            labels: BTreeMap::from([("team".to_owned(), "shop".to_owned())]),
        }
    }

    #[test]
    fn what_binds_a_snapshot_is_never_pushed_out_by_other_tags() {
        let many: Vec<Tag> = (0..60).map(|at| tag(&format!("k{at}"), "v")).collect();
        let tags = of_snapshot(&binding(), &many);
        assert_eq!(tags.len(), MOST);
        assert!(check("snap", &tags, &binding()).is_ok());
        let own = [tag(BACKUP_TAG, "other"), tag("aws:cloudformation:stack", "s"), tag("name", "db")];
        let tags = of_snapshot(&binding(), &own);
        assert!(check("snap", &tags, &binding()).is_ok());
        assert_eq!(of_volume(&tags), [tag("team", "shop"), tag("name", "db")]);
    }

    #[test]
    fn a_snapshot_of_another_backup_or_volume_is_refused() {
        for (backup, volume) in [("two", "pv"), ("one", "other"), ("", "")] {
            let tags = [tag(BACKUP_TAG, backup), tag(VOLUME_TAG, volume)];
            assert!(check("snap", &tags, &binding()).is_err());
        }
        assert!(check("snap", &[], &binding()).is_err());
    }
}
