//! Contents of CSI snapshots come back as references to the snapshot that the storage has kept.

use serde_json::{Value, json};

use super::csi::{self, Csi};
use super::{Action, Answers, Context, Effect, Error, Question, remove, text};

pub(super) const ACTION: Action = Action {
    name: "velero.io/csi-volumesnapshotcontent-restorer",
    applies_to: &[csi::CONTENTS],
    questions,
    apply,
};

const SECRET_NAME: &str = "csi.storage.k8s.io/snapshotter-secret-name";
const SECRET_NAMESPACE: &str = "csi.storage.k8s.io/snapshotter-secret-namespace";

fn questions(item: &Value, context: &Context<'_>) -> Vec<Question> {
    match context.csi {
        Csi::NotServed | Csi::Unwanted => Vec::new(),
        Csi::Wanted(_) => vec![Question::SnapshotClass { driver: text(item, "/spec/driver").to_owned() }],
    }
}

fn apply(item: &mut Value, context: &Context<'_>, answers: &Answers) -> Result<Effect, Error> {
    let snapshots = match context.csi {
        Csi::NotServed => return Ok(Effect::default()),
        Csi::Unwanted => return Ok(Effect::skip("the restore wants no snapshots")),
        Csi::Wanted(snapshots) => snapshots,
    };
    let old_name = text(item, "/metadata/name").to_owned();
    snapshots.check_owner(&old_name, context.from_backup)?;
    let handle = csi::handle(context.from_backup, &old_name)?;
    snapshots.check(&old_name, handle)?;
    let name = snapshots.name(text(context.from_backup, "/spec/volumeSnapshotRef/name"));
    item["metadata"]["name"] = json!(name);
    item["spec"]["deletionPolicy"] = json!("Retain");
    item["spec"]["source"] = json!({"snapshotHandle": handle});
    let namespace = text(context.from_backup, "/spec/volumeSnapshotRef/namespace");
    let namespace = context.namespace_mapping.get(namespace).map_or(namespace, String::as_str);
    item["spec"]["volumeSnapshotRef"]["name"] = json!(name);
    item["spec"]["volumeSnapshotRef"]["namespace"] = json!(namespace);
    for field in ["uid", "resourceVersion"] {
        remove(item, "/spec/volumeSnapshotRef", field);
    }
    match answers.snapshot_classes.get(text(context.from_backup, "/spec/driver")) {
        Some(class) => item["spec"]["volumeSnapshotClassName"] = json!(class),
        None => remove(item, "/spec", "volumeSnapshotClassName"),
    }
    let additional_items = csi::secret(item, SECRET_NAME, SECRET_NAMESPACE);
    Ok(Effect { additional_items, ..Effect::default() })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::fixtures::run_with;
    use super::*;

    fn content() -> Value {
        json!({
            "metadata": {
                "name": "snapcontent-1", "labels": {"velero.io/backup-name": "nightly"},
                "annotations": {SECRET_NAME: "key", SECRET_NAMESPACE: "storage"},
            },
            "spec": {
                "deletionPolicy": "Delete", "driver": "disk.example", "volumeSnapshotClassName": "old",
                "source": {"volumeHandle": "vol-1"},
                "volumeSnapshotRef": {
                    "kind": "VolumeSnapshot", "namespace": "shop", "name": "velero-data-1",
                    "uid": "u", "resourceVersion": "3",
                },
            },
            "status": {"snapshotHandle": "snap-1"},
        })
    }

    fn restored(mut item: Value, answers: &Answers) -> Result<(Value, Effect), Error> {
        let change = |setting: &mut super::super::fixtures::Setting| {
            setting.csi = csi::fixtures::wanted();
            setting.namespace_mapping = BTreeMap::from([("shop".to_owned(), "copy".to_owned())]);
        };
        let effect = run_with(&ACTION, &mut item, change, answers)?;
        Ok((item, effect))
    }

    #[test]
    fn a_content_refers_to_the_stored_snapshot_and_moves_with_its_namespace() {
        let snapshot_classes = BTreeMap::from([("disk.example".to_owned(), "new".to_owned())]);
        let answers = Answers { snapshot_classes, ..Answers::default() };
        let (item, effect) = restored(content(), &answers).unwrap();
        assert_eq!(item["metadata"]["name"], csi::fixtures::name());
        assert_eq!(
            item["spec"],
            json!({
                "deletionPolicy": "Retain", "driver": "disk.example", "volumeSnapshotClassName": "new",
                "source": {"snapshotHandle": "snap-1"},
                "volumeSnapshotRef": {
                    "kind": "VolumeSnapshot", "namespace": "copy", "name": csi::fixtures::name(),
                },
            })
        );
        assert_eq!(effect.additional_items[0].namespace.as_deref(), Some("storage"));
        assert_eq!(effect.additional_items[0].name, "key");
    }

    #[test]
    fn without_a_class_of_the_driver_there_is_none() {
        let (item, _) = restored(content(), &Answers::default()).unwrap();
        assert_eq!(item["spec"].get("volumeSnapshotClassName"), None);
    }

    #[test]
    fn contents_without_a_handle_with_another_one_or_of_another_backup_are_refused() {
        for (pointer, value) in [
            ("/status", json!({})),
            ("/status/snapshotHandle", json!("snap-2")),
            ("/metadata/labels", json!({"velero.io/backup-name": "weekly"})),
        ] {
            let mut item = content();
            *item.pointer_mut(pointer).unwrap() = value;
            assert!(restored(item, &Answers::default()).is_err(), "{pointer}");
        }
    }
}
