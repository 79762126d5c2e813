//! What a Restore asks for in annotations, as Velero's spec has no field for it.
//!
//! In: the Restore. Out: [`Wishes`], or everything that is wrong with the annotations.

use holdfast_policy::annotations::{DRY_RUN, OWNER_REFERENCES, REMAP, remap};
use holdfast_policy::model::remap::Remap;
use holdfast_policy::velero;

use super::preview::Depth;

#[derive(Debug, Default, PartialEq)]
pub(crate) struct Wishes {
    /// Without namespaces, which are the spec's.
    pub(crate) remap: Remap,
    pub(crate) owner_references: OwnerReferences,
    pub(crate) dry_run: DryRun,
}

/// Whether the restore is carried out.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DryRun {
    #[default]
    No,
    Told(Depth),
}

/// What becomes of the owners that an object had.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OwnerReferences {
    /// Forgotten; controllers adopt what they select.
    #[default]
    Drop,
    /// Kept where the owner is restored too.
    Remap,
}

impl Wishes {
    pub(crate) fn of(restore: &velero::Restore) -> Result<Self, Vec<String>> {
        let annotations = restore.metadata.annotations.clone().unwrap_or_default();
        let mut problems = Vec::new();
        let remap = remap(&annotations).unwrap_or_else(|error| {
            problems.push(format!("annotation {REMAP} can't be read: {error}"));
            None
        });
        let remap = remap.unwrap_or_default();
        if !remap.namespaces.is_empty() {
            problems.push(format!("annotation {REMAP}: namespaces are mapped by spec.namespaceMapping"));
        }
        let Remap { namespaces: _, storage_classes, images, nodes } = &remap;
        for (key, names) in [("storageClasses", storage_classes), ("images", images), ("nodes", nodes)] {
            // Nothing is part of every name.
            if names.iter().any(|(old, new)| old.is_empty() || new.is_empty()) {
                problems.push(format!("annotation {REMAP}: {key} has an empty name"));
            }
        }
        let owner_references = match annotations.get(OWNER_REFERENCES).map(String::as_str) {
            None | Some("drop") => OwnerReferences::Drop,
            Some("remap") => OwnerReferences::Remap,
            Some(other) => {
                problems.push(format!("annotation {OWNER_REFERENCES} is {other:?}, not remap or drop"));
                OwnerReferences::Drop
            }
        };
        // A word that is not understood must not become a restore that changes the cluster.
        let dry_run = match annotations.get(DRY_RUN).map(String::as_str) {
            None | Some("false") => DryRun::No,
            Some("true") => DryRun::Told(Depth::Plan),
            Some("server") => DryRun::Told(Depth::Server),
            Some(other) => {
                problems.push(format!("annotation {DRY_RUN} is {other:?}, not true, server or false"));
                DryRun::No
            }
        };
        if problems.is_empty() { Ok(Self { remap, owner_references, dry_run }) } else { Err(problems) }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn wishes(annotations: Value) -> Result<Wishes, Vec<String>> {
        let metadata = json!({"metadata": {"name": "rs", "annotations": annotations}, "spec": {}});
        Wishes::of(&serde_json::from_value(metadata).unwrap())
    }

    #[test]
    fn nothing_is_asked_for_unless_it_is_said() {
        assert_eq!(wishes(json!(null)), Ok(Wishes::default()));
        assert_eq!(wishes(json!({OWNER_REFERENCES: "drop"})), Ok(Wishes::default()));
        let remap = wishes(json!({OWNER_REFERENCES: "remap"})).unwrap();
        assert_eq!(remap.owner_references, OwnerReferences::Remap);
    }

    #[test]
    fn a_dry_run_is_asked_for_in_two_depths() {
        let dry_run = |word: &str| wishes(json!({DRY_RUN: word})).unwrap().dry_run;
        assert_eq!(dry_run("true"), DryRun::Told(Depth::Plan));
        assert_eq!(dry_run("server"), DryRun::Told(Depth::Server));
        assert_eq!(dry_run("false"), DryRun::No);
    }

    #[test]
    fn names_are_read_from_the_annotation_that_policies_write() {
        let text = r#"{"images":{"old/":"new/"},"nodes":{"n1":"n2"},"storageClasses":{"slow":"fast"}}"#;
        let remap = wishes(json!({REMAP: text})).unwrap().remap;
        assert_eq!(remap.images["old/"], "new/");
        assert_eq!((remap.nodes["n1"].as_str(), remap.storage_classes["slow"].as_str()), ("n2", "fast"));
    }

    #[test]
    fn everything_that_is_wrong_is_told() {
        let text = r#"{"namespaces":{"a":"b"},"images":{"":"x"}}"#;
        assert_eq!(
            wishes(json!({REMAP: text, OWNER_REFERENCES: "keep", DRY_RUN: "yes"})),
            Err(vec![
                "annotation holdfast.dev/remap: namespaces are mapped by spec.namespaceMapping".to_owned(),
                "annotation holdfast.dev/remap: images has an empty name".to_owned(),
                "annotation holdfast.dev/owner-references is \"keep\", not remap or drop".to_owned(),
                "annotation holdfast.dev/dry-run is \"yes\", not true, server or false".to_owned(),
            ])
        );
        let broken = wishes(json!({REMAP: r#"{"imges":{}}"#})).unwrap_err();
        assert!(broken[0].contains("imges"), "{broken:?}");
    }
}
