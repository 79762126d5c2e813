//! One object of each kind with every field set: all of it is read, written back, and known to the CRD.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use holdfast_policy::velero::{self, Kind};
use pretty_assertions::assert_eq;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

fn sample(kind: &str) -> Value {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/data/velero-kinds")
        .join(format!("{}.json", kind.to_lowercase()));
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

fn schema(kind: &str) -> Value {
    let crd = velero::crds().into_iter().find(|crd| crd.spec.names.kind == kind).unwrap();
    serde_json::to_value(&crd.spec.versions[0].schema.as_ref().unwrap().open_api_v3_schema).unwrap()
}

/// The paths of all fields that a schema knows. What it leaves open is one path.
fn known_fields(path: &str, schema: &Value, fields: &mut BTreeSet<String>) {
    fields.insert(path.to_owned());
    if schema["items"].is_object() {
        known_fields(path, &schema["items"], fields);
    }
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        known_fields(&format!("{path}.{name}"), property, fields);
    }
}

/// The paths of all fields of a value, as far as the schema looks.
fn used_fields(path: &str, value: &Value, schema: &Value, fields: &mut BTreeSet<String>) {
    fields.insert(path.to_owned());
    match value {
        Value::Array(items) => {
            for item in items {
                used_fields(path, item, &schema["items"], fields);
            }
        }
        Value::Object(members) if schema["properties"].is_object() => {
            for (name, member) in members {
                used_fields(&format!("{path}.{name}"), member, &schema["properties"][name], fields);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_) => {}
    }
}

fn assert_complete<K>()
where
    K: Kind + Serialize + DeserializeOwned + Default + PartialEq + std::fmt::Debug,
{
    let sample = sample(K::KIND);
    let read: K = serde_json::from_value(sample.clone()).unwrap();
    assert_eq!(serde_json::to_value(&read).unwrap(), sample);
    assert_eq!(sample["apiVersion"], json!(K::api_version(&())));

    for part in ["spec", "status"] {
        let schema = &schema(K::KIND)["properties"][part];
        let (mut known, mut used) = (BTreeSet::new(), BTreeSet::new());
        known_fields(part, schema, &mut known);
        used_fields(part, &sample[part], schema, &mut used);
        assert_eq!(used, known, "{} is a sample of every field", K::KIND);
    }

    let bare: K = serde_json::from_value(json!({ "metadata": {} })).unwrap();
    assert_eq!(bare, K::default());
    let empty_status: K = serde_json::from_value(json!({ "status": {} })).unwrap();
    assert_eq!(empty_status, K::default());
}

macro_rules! each_kind_is_complete {
    ($($test:ident: $kind:ident,)+) => {
        $(#[test]
        fn $test() {
            assert_complete::<velero::$kind>();
        })+

        #[test]
        fn no_kind_is_forgotten() {
            let tested = [$(stringify!($kind)),+];
            let kinds: Vec<String> = velero::crds().into_iter().map(|crd| crd.spec.names.kind).collect();
            assert_eq!(tested.as_slice(), kinds);
        }
    };
}

each_kind_is_complete! {
    a_backup_is_complete: Backup,
    a_restore_is_complete: Restore,
    a_schedule_is_complete: Schedule,
    a_backup_storage_location_is_complete: BackupStorageLocation,
    a_volume_snapshot_location_is_complete: VolumeSnapshotLocation,
    a_delete_backup_request_is_complete: DeleteBackupRequest,
    a_download_request_is_complete: DownloadRequest,
    a_server_status_request_is_complete: ServerStatusRequest,
    a_backup_repository_is_complete: BackupRepository,
    a_pod_volume_backup_is_complete: PodVolumeBackup,
    a_pod_volume_restore_is_complete: PodVolumeRestore,
    a_data_upload_is_complete: DataUpload,
    a_data_download_is_complete: DataDownload,
}

#[test]
fn empty_members_of_transfers_are_read_as_absent() {
    let mut upload = sample("DataUpload");
    upload["status"] = json!({ "phase": "", "progress": {}, "dataMoverResult": null, "nodeOS": "" });
    let read: velero::DataUpload = serde_json::from_value(upload).unwrap();
    assert_eq!(read.status, velero::DataUploadStatus::default());
    assert_eq!(read.status_phase(), velero::DataPathPhase::New);
}

#[test]
fn a_repository_without_type_is_read() {
    let mut repository = sample("BackupRepository");
    repository["spec"]["repositoryType"] = json!("");
    repository["spec"]["maintenanceFrequency"] = json!("0s");
    let read: velero::BackupRepository = serde_json::from_value(repository).unwrap();
    assert_eq!(read.spec.repository_type, None);
    assert!(read.spec.maintenance_frequency.is_zero());
}
