//! The objects of a snapshot: the VolumeSnapshot that asks for it, and what is stored of it and of its claim, in Velero's
//! form (reference: velero-backup.md 6.7). Pure.

use std::collections::BTreeMap;

use bytes::Bytes;
use holdfast_policy::resource_policy::bytes_of;
use holdfast_policy::velero::{labels, short_name};
use serde_json::{Map, Value, json};

use super::facts::Content;

/// Names of objects are no longer (Kubernetes: object names).
const LONGEST_NAME: usize = 253;
const PREFIX: &str = "velero-";

/// What asks for a snapshot.
pub(super) struct Wanted<'a> {
    pub(super) backup: &'a str,
    pub(super) backup_uid: &'a str,
    pub(super) namespace: &'a str,
    pub(super) claim: &'a str,
    /// Of the claim.
    pub(super) labels: &'a BTreeMap<String, String>,
    pub(super) class: &'a str,
    /// Makes the name one that nobody has.
    pub(super) suffix: &'a str,
}

impl Wanted<'_> {
    pub(super) fn name(&self) -> String {
        let room = LONGEST_NAME - PREFIX.len() - 1 - self.suffix.len();
        let claim = &self.claim[..self.claim.floor_char_boundary(room)];
        format!("{PREFIX}{claim}-{}", self.suffix)
    }

    pub(super) fn object(&self) -> Value {
        let marks = marks(self.labels, self.backup, self.backup_uid);
        json!({
            "apiVersion": "snapshot.storage.k8s.io/v1",
            "kind": "VolumeSnapshot",
            "metadata": {"name": self.name(), "namespace": self.namespace, "labels": marks},
            "spec": {
                "source": {"persistentVolumeClaimName": self.claim},
                "volumeSnapshotClassName": self.class,
            },
        })
    }
}

/// The labels of a VolumeSnapshot: those of its claim, and of the backup.
pub(super) fn marks(claim: &BTreeMap<String, String>, backup: &str, uid: &str) -> BTreeMap<String, String> {
    let mut marks = claim.clone();
    // Of the restore that brought the claim, if any.
    marks.retain(|key, _| !key.starts_with("velero.io/restore-"));
    marks.extend(owner(backup, uid));
    marks
}

/// The labels by which a backup knows what it made. The uid tells backups of one name apart.
pub(super) fn owner(backup: &str, uid: &str) -> BTreeMap<String, String> {
    BTreeMap::from([
        (labels::BACKUP_NAME.to_owned(), short_name(backup)),
        (labels::BACKUP_UID.to_owned(), uid.to_owned()),
    ])
}

/// A VolumeSnapshot as it is stored: restores look for the handles and the driver in its annotations. `policy` is what
/// its content had before this backup changed it; `group` is the handle of the group's snapshot that it is part of.
pub(super) fn stored_snapshot(
    json: &Bytes,
    content: &Content,
    policy: &str,
    group: Option<&str>,
) -> Result<Bytes, serde_json::Error> {
    let mut object = disowned(json)?;
    if let Some(handle) = group {
        set(&mut object, "annotations", labels::CSI_GROUP_SNAPSHOT_HANDLE, handle.to_owned());
        // Its group is not stored, and would not be the same one.
        if let Some(metadata) = object["metadata"].as_object_mut() {
            metadata.remove("ownerReferences");
            metadata.remove("finalizers");
        }
    }
    for (key, value) in [
        (labels::CSI_CONTENT_DELETION_POLICY, policy.to_owned()),
        (labels::CSI_SNAPSHOT_HANDLE, content.handle().unwrap_or_default().to_owned()),
        (labels::CSI_DRIVER_NAME, content.spec.driver.clone()),
        (labels::CSI_SNAPSHOT_RESTORE_SIZE, binary_quantity(content.status.restore_size)),
    ] {
        set(&mut object, "annotations", key, value);
    }
    Ok(serde_json::to_vec(&object)?.into())
}

/// A VolumeSnapshotContent as it is stored.
pub(super) fn stored_content(json: &Bytes) -> Result<Bytes, serde_json::Error> {
    Ok(serde_json::to_vec(&disowned(json)?)?.into())
}

/// Without the label by which a run finds what it has to clear away: restored objects are none of that.
fn disowned(json: &Bytes) -> Result<Value, serde_json::Error> {
    let mut object: Value = serde_json::from_slice(json)?;
    if let Some(own) = object.pointer_mut("/metadata/labels").and_then(Value::as_object_mut) {
        own.remove(labels::BACKUP_UID);
    }
    Ok(object)
}

/// A claim as it is stored: it names its snapshot, and asks for room enough for it.
pub(super) fn stored_claim(
    json: &Bytes,
    backup: &str,
    snapshot: &str,
    restore_size: i64,
) -> Result<Bytes, serde_json::Error> {
    let mut object: Value = serde_json::from_slice(json)?;
    set(&mut object, "annotations", labels::VOLUME_SNAPSHOT_NAME, snapshot.to_owned());
    set(&mut object, "labels", labels::VOLUME_SNAPSHOT_NAME, short_name(snapshot));
    set(&mut object, "labels", labels::BACKUP_NAME, short_name(backup));
    let asked = object.pointer("/spec/resources/requests/storage").and_then(Value::as_str);
    let is_short = asked.and_then(bytes_of).is_none_or(|asked| asked < restore_size as f64);
    if restore_size > 0 && is_short {
        object["spec"]["resources"]["requests"]["storage"] = binary_quantity(restore_size).into();
    }
    Ok(serde_json::to_vec(&object)?.into())
}

/// A claim as it is stored whose snapshot's data was moved: it names its DataUpload, as `NAMESPACE/NAME`.
pub(in crate::engine::backup) fn moved_claim(
    json: &Bytes,
    backup: &str,
    snapshot: &str,
    upload: &str,
) -> Result<Bytes, serde_json::Error> {
    let mut object: Value = serde_json::from_slice(&stored_claim(json, backup, snapshot, 0)?)?;
    set(&mut object, "annotations", labels::DATA_UPLOAD_NAME, upload.to_owned());
    Ok(serde_json::to_vec(&object)?.into())
}

/// Sets an entry of one of the maps of the metadata, which is made if need be.
fn set(object: &mut Value, map: &str, key: &str, value: String) {
    let map = &mut object["metadata"][map];
    if !map.is_object() {
        *map = Value::Object(Map::new());
    }
    map[key] = Value::String(value);
}

/// Bytes as Kubernetes writes a quantity with binary suffixes: the largest one that divides them.
fn binary_quantity(bytes: i64) -> String {
    const SUFFIXES: [&str; 7] = ["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];
    let mut number = bytes;
    let mut suffixes = SUFFIXES.into_iter();
    let mut suffix = suffixes.next().unwrap_or_default();
    for next in suffixes {
        if number == 0 || number % 1024 != 0 {
            break;
        }
        (number, suffix) = (number / 1024, next);
    }
    format!("{number}{suffix}")
}

#[cfg(test)]
mod tests {
    use pretty_assertions::assert_eq;

    use super::*;

    fn wanted<'a>(claim: &'a str, labels: &'a BTreeMap<String, String>) -> Wanted<'a> {
        Wanted {
            backup: "nightly",
            backup_uid: "b-uid",
            namespace: "shop",
            claim,
            labels,
            class: "fast",
            suffix: "x7k2p",
        }
    }

    #[test]
    fn a_snapshot_carries_the_labels_of_its_claim_and_those_of_the_backup() {
        let labels = BTreeMap::from(
            [("app", "db"), ("velero.io/backup-name", "old"), ("velero.io/restore-name", "r")]
                .map(|(key, value)| (key.to_owned(), value.to_owned())),
        );
        assert_eq!(
            wanted("data", &labels).object(),
            json!({
                "apiVersion": "snapshot.storage.k8s.io/v1",
                "kind": "VolumeSnapshot",
                "metadata": {
                    "name": "velero-data-x7k2p", "namespace": "shop",
                    "labels": {
                        "app": "db", "velero.io/backup-name": "nightly", "velero.io/backup-uid": "b-uid",
                    },
                },
                "spec": {
                    "source": {"persistentVolumeClaimName": "data"}, "volumeSnapshotClassName": "fast",
                },
            })
        );
    }

    #[test]
    fn the_name_of_a_long_claim_is_cut() {
        let (long, none) = ("c".repeat(253), BTreeMap::new());
        let name = wanted(&long, &none).name();
        assert_eq!(name.len(), 253);
        assert!(name.starts_with("velero-ccc") && name.ends_with("c-x7k2p"), "{name}");
    }

    #[test]
    fn quantities_have_the_largest_suffix_that_divides_them() {
        for (bytes, text) in [
            (0, "0"),
            (1000, "1000"),
            (1024, "1Ki"),
            (1536, "1536"),
            (10 << 30, "10Gi"),
            (1 << 60, "1Ei"),
            (i64::MAX, "9223372036854775807"),
        ] {
            assert_eq!(binary_quantity(bytes), text);
        }
    }

    fn claim(storage: &str) -> Bytes {
        let spec = json!({"resources": {"requests": {"storage": storage}}});
        json!({"metadata": {"name": "data"}, "spec": spec}).to_string().into()
    }

    #[test]
    fn a_stored_claim_names_its_snapshot_and_asks_for_room_enough() {
        for (asked, expected) in [("1Gi", "2Gi"), ("2Gi", "2Gi"), ("3G", "3G"), ("x", "2Gi")] {
            let stored = stored_claim(&claim(asked), "nightly", "velero-data-1", 2 << 30).unwrap();
            let stored: Value = serde_json::from_slice(&stored).unwrap();
            assert_eq!(stored["spec"]["resources"]["requests"]["storage"], expected, "{asked}");
            assert_eq!(
                stored["metadata"],
                json!({
                    "name": "data",
                    "annotations": {"velero.io/volume-snapshot-name": "velero-data-1"},
                    "labels": {
                        "velero.io/backup-name": "nightly", "velero.io/volume-snapshot-name": "velero-data-1",
                    },
                })
            );
        }
        let unknown = stored_claim(&claim("1Gi"), "nightly", "velero-data-1", 0).unwrap();
        let unknown: Value = serde_json::from_slice(&unknown).unwrap();
        assert_eq!(unknown["spec"]["resources"]["requests"]["storage"], "1Gi");
    }

    #[test]
    fn a_claim_whose_data_was_moved_names_its_data_upload() {
        let stored = moved_claim(&claim("1Gi"), "nightly", "velero-data-1", "velero/nightly-9qv4d").unwrap();
        let stored: Value = serde_json::from_slice(&stored).unwrap();
        assert_eq!(
            stored["metadata"]["annotations"],
            json!({
                "velero.io/data-upload-name": "velero/nightly-9qv4d",
                "velero.io/volume-snapshot-name": "velero-data-1",
            })
        );
    }

    #[test]
    fn a_stored_snapshot_says_what_it_was_taken_with() {
        let content: Content = serde_json::from_value(json!({
            "spec": {"driver": "disk.example", "deletionPolicy": "Retain"},
            "status": {"snapshotHandle": "snap-1", "restoreSize": 1 << 20, "readyToUse": true},
        }))
        .unwrap();
        let labels = json!({"velero.io/backup-name": "nightly", "velero.io/backup-uid": "b-uid"});
        let snapshot: Bytes =
            json!({"metadata": {"name": "velero-data-1", "labels": labels}}).to_string().into();
        let stored: Value =
            serde_json::from_slice(&stored_snapshot(&snapshot, &content, "Delete", None).unwrap()).unwrap();
        assert_eq!(stored["metadata"]["labels"], json!({"velero.io/backup-name": "nightly"}));
        assert_eq!(
            stored["metadata"]["annotations"],
            json!({
                "velero.io/csi-vsc-deletion-policy": "Delete",
                "velero.io/csi-volumesnapshot-handle": "snap-1",
                "velero.io/csi-driver-name": "disk.example",
                "velero.io/csi-volumesnapshot-restore-size": "1Mi",
            })
        );
    }

    #[test]
    fn a_stored_snapshot_of_a_group_names_the_group_s_snapshot_and_leaves_the_group() {
        let metadata = json!({
            "name": "snapshot-1", "finalizers": ["snapshot.storage.kubernetes.io/volumesnapshot-in-group-protection"],
            "ownerReferences": [{"kind": "VolumeGroupSnapshot", "name": "velero-db-1", "uid": "g"}],
        });
        let snapshot: Bytes = json!({"metadata": metadata}).to_string().into();
        let stored = stored_snapshot(&snapshot, &Content::default(), "Delete", Some("group-1")).unwrap();
        let stored: Value = serde_json::from_slice(&stored).unwrap();
        let annotations = &stored["metadata"]["annotations"];
        assert_eq!(annotations["velero.io/csi-volumegroupsnapshot-handle"], "group-1");
        let keys: Vec<&String> = stored["metadata"].as_object().unwrap().keys().collect();
        assert_eq!(keys, ["annotations", "name"]);
    }
}
