//! Which VolumeSnapshotClass a snapshot is taken with (reference: velero-backup.md 6.7). Pure.
//!
//! In: what the claim, the backup and the classes themselves say. Out: the class's name, or why there is none.

use std::collections::BTreeMap;

use holdfast_policy::velero::labels::CSI_SNAPSHOT_CLASS;
use serde::Deserialize;

/// Annotation with which Kubernetes marks a driver's default class.
const IS_DEFAULT: &str = "snapshot.storage.kubernetes.io/is-default-class";

/// A class, as far as it decides.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub(crate) struct Class {
    pub(crate) metadata: Metadata,
    #[serde(default)]
    pub(crate) driver: String,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(crate) struct Metadata {
    pub(crate) name: String,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) annotations: BTreeMap<String, String>,
}

/// What people asked for.
pub(crate) struct Wishes<'a> {
    pub(crate) driver: &'a str,
    /// Annotations of the claim.
    pub(crate) claim: &'a BTreeMap<String, String>,
    /// Annotations of the backup.
    pub(crate) backup: &'a BTreeMap<String, String>,
}

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Error {
    #[error("there is no VolumeSnapshotClass of driver {driver}")]
    NoneOfDriver { driver: String },
    #[error(
        "driver {driver} has several VolumeSnapshotClasses ({names}), and none is marked: label one of them \
         {CSI_SNAPSHOT_CLASS}, or name one in that annotation on the claim"
    )]
    Several { driver: String, names: String },
}

/// The class that the claim names, then the one that the backup names for the driver, then the first that is labelled for
/// Velero, then the driver's default, then its only one. A name that fits no class of the driver counts as none.
pub(crate) fn choose<'a>(wishes: &Wishes<'_>, classes: &'a [Class]) -> Result<&'a str, Error> {
    let Wishes { driver, claim, backup } = wishes;
    let of_driver: Vec<&Class> =
        classes.iter().filter(|class| class.driver.eq_ignore_ascii_case(driver)).collect();
    let named = |name: Option<&String>| {
        let name = name?;
        of_driver.iter().find(|class| class.metadata.name.eq_ignore_ascii_case(name))
    };
    let for_driver = format!("{CSI_SNAPSHOT_CLASS}_{}", driver.to_ascii_lowercase());
    let labelled = || of_driver.iter().find(|class| class.metadata.labels.contains_key(CSI_SNAPSHOT_CLASS));
    let default = || of_driver.iter().find(|class| class.metadata.annotations.contains_key(IS_DEFAULT));
    let chosen = named(claim.get(CSI_SNAPSHOT_CLASS))
        .or_else(|| named(backup.get(&for_driver)))
        .or_else(labelled)
        .or_else(default);
    match (chosen, of_driver.as_slice()) {
        (Some(class), _) => Ok(&class.metadata.name),
        (None, [only]) => Ok(&only.metadata.name),
        (None, []) => Err(Error::NoneOfDriver { driver: (*driver).to_owned() }),
        (None, several) => {
            let names: Vec<&str> = several.iter().map(|class| class.metadata.name.as_str()).collect();
            Err(Error::Several { driver: (*driver).to_owned(), names: names.join(", ") })
        }
    }
}

#[cfg(test)]
mod tests {
    use pretty_assertions::assert_eq;

    use super::*;

    fn class(name: &str, driver: &str, label: Option<&str>, annotation: Option<&str>) -> Class {
        let one = |key: Option<&str>| key.map(|key| (key.to_owned(), String::new())).into_iter().collect();
        let metadata = Metadata { name: name.to_owned(), labels: one(label), annotations: one(annotation) };
        Class { metadata, driver: driver.to_owned() }
    }

    fn plain(name: &str) -> Class {
        class(name, "disk.example", None, None)
    }

    fn chosen(claim: &[(&str, &str)], backup: &[(&str, &str)], classes: &[Class]) -> Result<String, Error> {
        let map = |pairs: &[(&str, &str)]| {
            pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
        };
        let (claim, backup): (BTreeMap<_, _>, BTreeMap<_, _>) = (map(claim), map(backup));
        let wishes = Wishes { driver: "disk.example", claim: &claim, backup: &backup };
        choose(&wishes, classes).map(str::to_owned)
    }

    #[test]
    fn the_claim_comes_before_the_backup_before_the_marks_of_the_classes() {
        let classes = [
            class("other", "tape.example", Some(CSI_SNAPSHOT_CLASS), None),
            plain("a"),
            class("default", "disk.example", None, Some(IS_DEFAULT)),
            class("labelled", "DISK.example", Some(CSI_SNAPSHOT_CLASS), None),
        ];
        let backup_key = "velero.io/csi-volumesnapshot-class_disk.example";
        for (claim, backup, taken, expected) in [
            (&[(CSI_SNAPSHOT_CLASS, "A")][..], &[(backup_key, "default")][..], 4, "a"),
            (&[(CSI_SNAPSHOT_CLASS, "missing")], &[(backup_key, "a")], 4, "a"),
            (&[(CSI_SNAPSHOT_CLASS, "other")], &[], 4, "labelled"),
            (&[], &[("velero.io/csi-volumesnapshot-class_tape.example", "other")], 4, "labelled"),
            (&[], &[], 4, "labelled"),
            (&[], &[], 3, "default"),
            (&[], &[], 2, "a"),
        ] {
            assert_eq!(chosen(claim, backup, &classes[..taken]).as_deref(), Ok(expected));
        }
    }

    #[test]
    fn several_without_a_mark_are_no_choice_and_neither_is_none() {
        let names = "a, b".to_owned();
        let driver = "disk.example".to_owned();
        assert_eq!(
            chosen(&[], &[], &[plain("a"), plain("b")]),
            Err(Error::Several { driver: driver.clone(), names })
        );
        let other = class("a", "tape.example", Some(CSI_SNAPSHOT_CLASS), None);
        assert_eq!(chosen(&[], &[], &[other]), Err(Error::NoneOfDriver { driver }));
    }
}
