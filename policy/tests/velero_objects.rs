//! What a running Velero 1.18.3 wrote, into its bucket and into its cluster, is read and written back without loss.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use holdfast_policy::velero::{self, Backup, BackupPhase, BackupStorageLocation, Restore, Schedule};
use holdfast_policy::yaml;
use pretty_assertions::assert_eq;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

fn data() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data")
}

/// Every `velero-backup.json` of the sample bucket, by the name of its backup.
fn metadata_files() -> BTreeMap<String, String> {
    fs::read_dir(data().join("velero-backups"))
        .unwrap()
        .map(|entry| {
            let path = entry.unwrap().path();
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            (name, fs::read_to_string(path).unwrap())
        })
        .collect()
}

fn objects_of(plural: &str) -> Vec<Value> {
    let text = fs::read_to_string(data().join(format!("velero-objects/{plural}.yaml"))).unwrap();
    let list: Value = yaml::from_str(&text).unwrap();
    list["items"].as_array().unwrap().clone()
}

/// Velero's clients write these though they are empty, and we don't.
const WRITTEN_THOUGH_EMPTY: [(&str, &str); 4] =
    [("/spec", "hooks"), ("/spec", "metadata"), ("/spec/template", "hooks"), ("/spec/template", "metadata")];

fn assert_survives<T: Serialize + DeserializeOwned>(plural: &str, at_least: usize) {
    let objects = objects_of(plural);
    assert!(objects.len() >= at_least, "{plural}: only {} objects", objects.len());
    for object in objects {
        let read: T = serde_json::from_value(object.clone()).unwrap();
        let written = serde_json::to_value(&read).unwrap();
        let mut expected = object;
        for (parent, key) in WRITTEN_THOUGH_EMPTY {
            if let Some(Value::Object(members)) = expected.pointer_mut(parent)
                && members.get(key) == Some(&json!({}))
            {
                members.remove(key);
            }
        }
        assert_eq!(written, expected);
    }
}

#[test]
fn every_backup_in_the_bucket_is_written_back_byte_for_byte() {
    let files = metadata_files();
    assert_eq!(files.len(), 18);
    for (name, text) in files {
        let backup: Backup = serde_json::from_str(&text).unwrap();
        assert_eq!(backup.metadata.name.as_ref(), Some(&name));
        assert_eq!(velero::to_metadata_json(&backup), text, "{name}");
    }
}

#[test]
fn the_phases_and_counts_of_the_bucket_are_understood() {
    let files = metadata_files();
    let partial: Backup = serde_json::from_str(&files["gold-partial"]).unwrap();
    assert_eq!(partial.status_phase(), BackupPhase::PartiallyFailed);
    assert_eq!(partial.status.errors, 4);
    assert_eq!(partial.status.hook_status.unwrap().hooks_failed, 3);
    assert_eq!(partial.spec.hooks.resources[0].pre[1].exec.command, ["/bin/never"]);
    let ttl: Backup = serde_json::from_str(&files["gold-ttl"]).unwrap();
    assert_eq!(ttl.status_phase(), BackupPhase::Completed);
}

#[test]
fn every_object_in_the_cluster_survives() {
    assert_survives::<Backup>("backups", 17);
    assert_survives::<Restore>("restores", 10);
    assert_survives::<Schedule>("schedules", 1);
    assert_survives::<BackupStorageLocation>("backupstoragelocations", 1);
}

#[test]
fn a_file_has_what_go_cannot_leave_out() {
    let text = velero::to_metadata_json(&Backup::new("b", velero::BackupSpec::default()));
    assert_eq!(
        text,
        r#"{
  "kind": "Backup",
  "apiVersion": "velero.io/v1",
  "metadata": {
    "name": "b"
  },
  "spec": {
    "metadata": {},
    "ttl": "0s",
    "hooks": {},
    "csiSnapshotTimeout": "0s",
    "itemOperationTimeout": "0s"
  },
  "status": {
    "hookStatus": {}
  }
}"#
    );
}

#[test]
fn text_is_escaped_as_velero_does_and_maps_are_sorted() {
    let backup: Backup = serde_json::from_value(json!({
        "metadata": { "name": "b", "annotations": { "name": "<&>", "a": "\u{2028}\u{e9}\"" } },
        "spec": { "orderedResources": { "pods": "b/a", "kind": "x" }, "orLabelSelectors": [
            { "matchExpressions": [{ "values": ["z"], "operator": "In", "key": "k" }] },
        ] },
    }))
    .unwrap();
    let text = velero::to_metadata_json(&backup);
    let annotations = "\"a\": \"\\u2028\u{e9}\\\"\",\n      \"name\": \"\\u003c\\u0026\\u003e\"";
    assert!(text.contains(annotations), "{text}");
    assert!(text.contains("\"kind\": \"x\",\n      \"pods\": \"b/a\""), "{text}");
    let expression =
        "{\n            \"key\": \"k\",\n            \"operator\": \"In\",\n            \"values\": [";
    assert!(text.contains(expression), "{text}");
    assert_eq!(serde_json::from_str::<Backup>(&text).unwrap().metadata, backup.metadata);
}
