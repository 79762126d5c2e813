//! Which VolumeGroupSnapshotClass a group is snapshotted with (reference: velero-backup.md 6.8). Pure.
//!
//! In: what the claims, the backup and the classes themselves say. Out: the class, or why there is none.

use std::collections::{BTreeMap, BTreeSet};

use holdfast_policy::velero::labels::{CSI_GROUP_SNAPSHOT_CLASS, CSI_PVC_GROUP_SNAPSHOT_CLASS};
use serde::Deserialize;

use super::super::class::Metadata;

/// A class, as far as it decides.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Class {
    pub(super) metadata: Metadata,
    pub(super) driver: String,
    pub(super) deletion_policy: String,
    pub(super) parameters: BTreeMap<String, String>,
}

/// What people asked for.
pub(super) struct Wishes<'a> {
    pub(super) driver: &'a str,
    /// Annotations of each claim.
    pub(super) claims: Vec<&'a BTreeMap<String, String>>,
    /// Annotations of the backup.
    pub(super) backup: &'a BTreeMap<String, String>,
}

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(in crate::engine::backup) enum Error {
    #[error(
        "its claims name several VolumeGroupSnapshotClasses ({names}) in annotation {CSI_PVC_GROUP_SNAPSHOT_CLASS}: \
         let them name one"
    )]
    Disagreement { names: String },
    #[error("driver {driver} has no VolumeGroupSnapshotClass {name}, which annotation {annotation} names")]
    NotOfDriver { name: String, driver: String, annotation: String },
    #[error(
        "driver {driver} has no VolumeGroupSnapshotClass with the label {CSI_GROUP_SNAPSHOT_CLASS}: \"true\": label one, or \
         make one if the driver can snapshot groups"
    )]
    NoneLabelled { driver: String },
    #[error(
        "driver {driver} has several VolumeGroupSnapshotClasses with the label {CSI_GROUP_SNAPSHOT_CLASS}: \"true\" \
         ({names}): leave it to one of them, or name one in annotation {CSI_PVC_GROUP_SNAPSHOT_CLASS} of the claims"
    )]
    SeveralLabelled { driver: String, names: String },
}

/// The class that the claims name, then the one that the backup names for the driver, then the only one of the driver that
/// is labelled for Velero. What is named has to be there.
pub(super) fn choose<'a>(wishes: &Wishes<'_>, classes: &'a [Class]) -> Result<&'a Class, Error> {
    let Wishes { driver, claims, backup } = wishes;
    let of_driver: Vec<&Class> = classes.iter().filter(|class| class.driver == *driver).collect();
    let named = |name: &str, annotation: &str| {
        let found = of_driver.iter().copied().find(|class| class.metadata.name == name);
        found.ok_or_else(|| Error::NotOfDriver {
            name: name.to_owned(),
            driver: (*driver).to_owned(),
            annotation: annotation.to_owned(),
        })
    };
    let by_claims: BTreeSet<&str> = claims
        .iter()
        .filter_map(|annotations| annotations.get(CSI_PVC_GROUP_SNAPSHOT_CLASS).map(String::as_str))
        .collect();
    match Vec::from_iter(by_claims).as_slice() {
        [] => {}
        [name] => return named(name, CSI_PVC_GROUP_SNAPSHOT_CLASS),
        several => return Err(Error::Disagreement { names: several.join(", ") }),
    }
    let for_driver = format!("{CSI_GROUP_SNAPSHOT_CLASS}_{driver}");
    if let Some(name) = backup.get(&for_driver) {
        return named(name, &for_driver);
    }
    let is_labelled = |class: &&Class| {
        class.metadata.labels.get(CSI_GROUP_SNAPSHOT_CLASS).is_some_and(|value| value == "true")
    };
    let labelled: Vec<&Class> = of_driver.iter().copied().filter(is_labelled).collect();
    match labelled.as_slice() {
        [only] => Ok(only),
        [] => Err(Error::NoneLabelled { driver: (*driver).to_owned() }),
        several => {
            let names: Vec<&str> = several.iter().map(|class| class.metadata.name.as_str()).collect();
            Err(Error::SeveralLabelled { driver: (*driver).to_owned(), names: names.join(", ") })
        }
    }
}

#[cfg(test)]
mod tests {
    use pretty_assertions::assert_eq;

    use super::*;

    fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    fn class(name: &str, driver: &str, label: &str) -> Class {
        let labels = map(&[(CSI_GROUP_SNAPSHOT_CLASS, label)]);
        let metadata = Metadata { name: name.to_owned(), labels, ..Metadata::default() };
        Class { metadata, driver: driver.to_owned(), ..Class::default() }
    }

    fn chosen(claims: &[&str], backup: &[(&str, &str)], classes: &[Class]) -> Result<String, Error> {
        let claims: Vec<_> = claims.iter().map(|name| map(&[(CSI_PVC_GROUP_SNAPSHOT_CLASS, name)])).collect();
        let backup = map(backup);
        let wishes = Wishes { driver: "disk.example", claims: claims.iter().collect(), backup: &backup };
        choose(&wishes, classes).map(|class| class.metadata.name.clone())
    }

    #[test]
    fn the_claims_come_before_the_backup_before_the_label() {
        let classes = [
            class("other", "tape.example", "true"),
            class("plain", "disk.example", ""),
            class("not", "disk.example", "false"),
            class("labelled", "disk.example", "true"),
        ];
        let key = "velero.io/csi-volumegroupsnapshot-class_disk.example";
        for (claims, backup, expected) in [
            (&["plain", "plain"][..], &[(key, "not")][..], "plain"),
            (&[], &[(key, "not")], "not"),
            (&[], &[("velero.io/csi-volumegroupsnapshot-class_tape.example", "other")], "labelled"),
            (&[], &[], "labelled"),
        ] {
            assert_eq!(chosen(claims, backup, &classes).as_deref(), Ok(expected));
        }
    }

    #[test]
    fn what_is_named_has_to_be_there_and_the_label_has_to_be_that_of_one() {
        let driver = "disk.example".to_owned();
        let classes = [
            class("a", "disk.example", "true"),
            class("b", "disk.example", "true"),
            class("c", "tape.example", ""),
        ];
        let missing = Error::NotOfDriver {
            name: "c".to_owned(),
            driver: driver.clone(),
            annotation: CSI_PVC_GROUP_SNAPSHOT_CLASS.to_owned(),
        };
        assert_eq!(chosen(&["c"], &[], &classes), Err(missing));
        assert_eq!(chosen(&["a", "b"], &[], &classes), Err(Error::Disagreement { names: "a, b".to_owned() }));
        let several = Error::SeveralLabelled { driver: driver.clone(), names: "a, b".to_owned() };
        assert_eq!(chosen(&[], &[], &classes), Err(several));
        assert_eq!(chosen(&[], &[], &classes[2..]), Err(Error::NoneLabelled { driver }));
    }
}
