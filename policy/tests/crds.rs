//! The committed CRDs are those of the code, and have the names, columns and marks of Velero's.
//!
//! `UPDATE=1 cargo test -p holdfast-policy` writes them anew.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::{env, fs};

use holdfast_policy::velero;
use holdfast_policy::yaml;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use pretty_assertions::assert_eq;
use serde_json::{Value, json};

fn committed() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../schemas/crds")
}

fn crd(kind: &str) -> CustomResourceDefinition {
    velero::crds().into_iter().find(|crd| crd.spec.names.kind == kind).unwrap()
}

fn schema(kind: &str) -> Value {
    serde_json::to_value(&crd(kind).spec.versions[0].schema.as_ref().unwrap().open_api_v3_schema).unwrap()
}

/// The schema of a field, by its path: `spec.hooks.resources[].pre`.
fn field(kind: &str, path: &str) -> Value {
    let mut schema = schema(kind);
    for name in path.split('.') {
        let (name, is_list) = name.strip_suffix("[]").map_or((name, false), |name| (name, true));
        schema = schema["properties"][name].clone();
        assert!(schema.is_object(), "{kind} has no {path}");
        if is_list {
            schema = schema["items"].clone();
        }
    }
    schema
}

/// Calls `visit` with the path and the schema of everything that a kind may contain.
fn walk(path: &str, schema: &Value, visit: &mut impl FnMut(&str, &Value)) {
    visit(path, schema);
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        walk(&format!("{path}.{name}"), property, visit);
    }
    for (nested, suffix) in [("items", "[]"), ("additionalProperties", "{}")] {
        if schema[nested].is_object() {
            walk(&format!("{path}{suffix}"), &schema[nested], visit);
        }
    }
}

/// `visit` with everything of all kinds.
fn walk_all(visit: &mut impl FnMut(&str, &Value)) {
    for crd in velero::crds() {
        let kind = crd.spec.names.kind;
        walk(&kind, &schema(&kind), visit);
    }
}

/// The paths at which the kinds have a keyword, with its value. A Schedule's template is left out: it is a Backup's
/// spec once more.
fn places_of(keyword: &str) -> Vec<(String, Value)> {
    let mut places = Vec::new();
    walk_all(&mut |path, schema| {
        if let Some(value) = schema.get(keyword)
            && !path.starts_with("Schedule.spec.template.")
        {
            places.push((path.to_owned(), value.clone()));
        }
    });
    places
}

fn paths_of(keyword: &str) -> Vec<String> {
    places_of(keyword).into_iter().map(|(path, _)| path).collect()
}

#[test]
fn committed_files_are_what_the_code_gives() {
    let files: BTreeMap<String, String> = velero::crds()
        .iter()
        .map(|crd| (format!("velero.io_{}.yaml", crd.spec.names.plural), velero::crd_yaml(crd)))
        .collect();
    assert_eq!(files.len(), 13);
    if env::var_os("UPDATE").is_some() {
        fs::create_dir_all(committed()).unwrap();
        for (name, text) in &files {
            fs::write(committed().join(name), text).unwrap();
        }
    }
    let found: BTreeMap<String, String> = fs::read_dir(committed())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.file_name().unwrap().to_str().unwrap().starts_with("velero.io_"))
        .map(|path| {
            (path.file_name().unwrap().to_str().unwrap().to_owned(), fs::read_to_string(path).unwrap())
        })
        .collect();
    assert_eq!(found, files, "run UPDATE=1 cargo test -p holdfast-policy and read the difference");
}

#[test]
fn one_text_holds_all_of_them() {
    let text = velero::crds_yaml();
    let documents: Vec<CustomResourceDefinition> =
        text.split("---\n").skip(1).map(|document| yaml::from_str(document).unwrap()).collect();
    assert_eq!(documents, velero::crds());
}

#[test]
fn names_versions_and_columns_are_velero_s() {
    let table: Vec<String> = velero::crds()
        .iter()
        .map(|crd| {
            let spec = &crd.spec;
            let names = &spec.names;
            let version = &spec.versions[0];
            assert_eq!(spec.versions.len(), 1);
            assert_eq!((version.served, version.storage), (true, true));
            assert_eq!((spec.group.as_str(), spec.scope.as_str()), ("velero.io", "Namespaced"));
            assert_eq!(crd.metadata.name, Some(format!("{}.velero.io", names.plural)));
            assert_eq!(crd.metadata.labels, Some(BTreeMap::from([("component".into(), "velero".into())])));
            assert_eq!(names.list_kind, Some(format!("{}List", names.kind)));
            assert_eq!(names.singular, Some(names.kind.to_lowercase()));
            assert_eq!(names.categories, None);
            format!(
                "{} {} {} {:?}",
                names.kind,
                names.plural,
                version.name,
                names.short_names.as_deref().unwrap_or_default()
            )
        })
        .collect();
    assert_eq!(
        table,
        [
            "Backup backups v1 []",
            "Restore restores v1 []",
            "Schedule schedules v1 []",
            "BackupStorageLocation backupstoragelocations v1 [\"bsl\"]",
            "VolumeSnapshotLocation volumesnapshotlocations v1 [\"vsl\"]",
            "DeleteBackupRequest deletebackuprequests v1 []",
            "DownloadRequest downloadrequests v1 []",
            "ServerStatusRequest serverstatusrequests v1 [\"ssr\"]",
            "BackupRepository backuprepositories v1 []",
            "PodVolumeBackup podvolumebackups v1 []",
            "PodVolumeRestore podvolumerestores v1 []",
            "DataUpload datauploads v2alpha1 []",
            "DataDownload datadownloads v2alpha1 []",
        ]
    );
}

#[test]
fn printer_columns_are_velero_s() {
    let mut columns = BTreeMap::new();
    for crd in velero::crds() {
        let lines: Vec<String> = crd.spec.versions[0]
            .additional_printer_columns
            .iter()
            .flatten()
            .map(|column| {
                let format = column.format.as_ref().map_or(String::new(), |format| format!("/{format}"));
                let priority = column.priority.map_or(String::new(), |priority| format!(" {priority}"));
                format!("{} {} {}{format}{priority}", column.name, column.json_path, column.type_)
            })
            .collect();
        if !lines.is_empty() {
            columns.insert(crd.spec.names.kind, lines);
        }
    }
    let status = "Status .status.phase string";
    let started = "Started .status.startTimestamp date";
    let done = "Bytes Done .status.progress.bytesDone integer/int64";
    let total = "Total Bytes .status.progress.totalBytes integer/int64";
    let incremental = "Incremental Bytes .status.incrementalBytes integer/int64 10";
    let location = "Storage Location .spec.backupStorageLocation string";
    let age = "Age .metadata.creationTimestamp date";
    let node = "Node .status.node string";
    let expected: [(&str, &[&str]); 8] = [
        (
            "Schedule",
            &[
                status,
                "Schedule .spec.schedule string",
                "LastBackup .status.lastBackup date",
                age,
                "Paused .spec.paused boolean",
            ],
        ),
        (
            "BackupStorageLocation",
            &[
                "Phase .status.phase string",
                "Last Validated .status.lastValidationTime date",
                age,
                "Default .spec.default boolean",
            ],
        ),
        ("DeleteBackupRequest", &["BackupName .spec.backupName string", status]),
        ("BackupRepository", &[age, "Repository Type .spec.repositoryType string"]),
        (
            "PodVolumeBackup",
            &[
                status,
                started,
                done,
                total,
                incremental,
                location,
                age,
                node,
                "Uploader .spec.uploaderType string",
            ],
        ),
        (
            "PodVolumeRestore",
            &[status, started, done, total, location, age, node, "Uploader Type .spec.uploaderType string"],
        ),
        ("DataUpload", &[status, started, done, total, incremental, location, age, node]),
        ("DataDownload", &[status, started, done, total, location, age, node]),
    ];
    let expected: BTreeMap<String, Vec<String>> = expected
        .into_iter()
        .map(|(kind, lines)| (kind.to_owned(), lines.iter().map(|line| (*line).to_owned()).collect()))
        .collect();
    assert_eq!(columns, expected);
}

#[test]
fn no_kind_has_a_status_subresource_or_requires_spec_or_status() {
    for crd in velero::crds() {
        let version = &crd.spec.versions[0];
        let subresources = serde_json::to_value(&version.subresources).unwrap();
        let expected = if version.additional_printer_columns.is_some() { json!({}) } else { Value::Null };
        assert_eq!(subresources, expected, "{}", crd.spec.names.kind);
        assert_eq!(schema(&crd.spec.names.kind)["required"], Value::Null);
    }
}

#[test]
fn every_field_is_described() {
    let mut bare = Vec::new();
    walk_all(&mut |path, schema| {
        // Values of maps and plain items of lists have no name of their own.
        let is_named = !path.ends_with("{}") && !path.ends_with("[]");
        if is_named
            && !path.ends_with(".metadata")
            && schema["description"].as_str().is_none_or(str::is_empty)
        {
            bare.push(path.to_owned());
        }
    });
    assert_eq!(bare, ["Backup.spec.metadata"; 0]);
}

#[test]
fn everything_has_one_type() {
    walk_all(&mut |path, schema| assert!(schema["type"].is_string(), "{path}: {}", schema["type"]));
}

#[test]
fn required_fields_are_velero_s() {
    let required: BTreeMap<String, Vec<String>> = places_of("required")
        .into_iter()
        .filter(|(path, _)| !path.ends_with("matchExpressions[]"))
        .map(|(path, names)| {
            let mut names: Vec<String> = serde_json::from_value(names).unwrap();
            names.sort();
            (path, names)
        })
        .collect();
    let expected: &[(&str, &[&str])] = &[
        ("Backup.spec.hooks.resources[]", &["name"]),
        ("Backup.spec.hooks.resources[].pre[]", &["exec"]),
        ("Backup.spec.hooks.resources[].pre[].exec", &["command"]),
        ("Backup.spec.hooks.resources[].post[]", &["exec"]),
        ("Backup.spec.hooks.resources[].post[].exec", &["command"]),
        ("Backup.spec.resourcePolicy", &["kind", "name"]),
        ("Restore.spec.hooks.resources[]", &["name"]),
        ("Restore.spec.hooks.resources[].postHooks[].exec", &["command"]),
        ("Restore.spec.resourceModifier", &["kind", "name"]),
        ("Restore.spec.resourcePolicy", &["kind", "name"]),
        ("Schedule.spec", &["schedule", "template"]),
        ("BackupStorageLocation.spec", &["objectStorage", "provider"]),
        ("BackupStorageLocation.spec.credential", &["key"]),
        ("BackupStorageLocation.spec.objectStorage", &["bucket"]),
        ("BackupStorageLocation.spec.objectStorage.caCertRef", &["key"]),
        ("VolumeSnapshotLocation.spec", &["provider"]),
        ("VolumeSnapshotLocation.spec.credential", &["key"]),
        ("DeleteBackupRequest.spec", &["backupName"]),
        ("DownloadRequest.spec", &["target"]),
        ("DownloadRequest.spec.target", &["kind", "name"]),
        ("ServerStatusRequest.status.plugins[]", &["kind", "name"]),
        ("BackupRepository.spec", &["backupStorageLocation", "maintenanceFrequency", "volumeNamespace"]),
        ("PodVolumeBackup.spec", &["backupStorageLocation", "node", "pod", "repoIdentifier", "volume"]),
        (
            "PodVolumeRestore.spec",
            &["backupStorageLocation", "pod", "repoIdentifier", "snapshotID", "sourceNamespace", "volume"],
        ),
        (
            "DataUpload.spec",
            &["backupStorageLocation", "operationTimeout", "snapshotType", "sourceNamespace", "sourcePVC"],
        ),
        ("DataUpload.spec.csiSnapshot", &["storageClass", "volumeSnapshot"]),
        (
            "DataDownload.spec",
            &["backupStorageLocation", "operationTimeout", "snapshotID", "sourceNamespace", "targetVolume"],
        ),
        ("DataDownload.spec.targetVolume", &["namespace", "pv", "pvc"]),
    ];
    let expected: BTreeMap<String, Vec<String>> = expected
        .iter()
        .map(|(path, names)| ((*path).to_owned(), names.iter().map(|name| (*name).to_owned()).collect()))
        .collect();
    assert_eq!(required, expected);
}

#[test]
fn the_template_of_a_schedule_is_the_spec_of_a_backup() {
    let mut template = field("Schedule", "spec.template");
    let mut spec = field("Backup", "spec");
    for schema in [&mut template, &mut spec] {
        schema.as_object_mut().unwrap().remove("description");
    }
    assert_eq!(template, spec);
}

#[test]
fn null_is_allowed_where_velero_allows_it() {
    let mut fields: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for path in paths_of("nullable") {
        let (parent, name) = path.rsplit_once('.').unwrap();
        fields.entry(parent.to_owned()).or_default().push(name.to_owned());
    }
    let found: BTreeMap<String, String> =
        fields.into_iter().map(|(parent, names)| (parent, names.join(" "))).collect();
    let hook = "excludedNamespaces excludedResources includedNamespaces includedResources labelSelector";
    let expected = BTreeMap::from(
        [
            (
                "Backup.spec",
                "defaultVolumesToFsBackup defaultVolumesToRestic excludedClusterScopedResources excludedNamespaceScopedResources \
                 excludedNamespaces excludedResources includeClusterResources includedClusterScopedResources \
                 includedNamespaceScopedResources includedNamespaces includedResources labelSelector orLabelSelectors \
                 orderedResources snapshotMoveData snapshotVolumes uploaderConfig",
            ),
            ("Backup.spec.hooks", "resources"),
            ("Backup.spec.hooks.resources[]", hook),
            (
                "Backup.status",
                "completionTimestamp expiration hookStatus progress startTimestamp validationErrors",
            ),
            (
                "Restore.spec",
                "excludedNamespaces excludedResources existingResourcePolicy includeClusterResources includedNamespaces \
                 includedResources labelSelector orLabelSelectors preserveNodePorts resourceModifier resourcePolicy \
                 restorePVs restoreStatus uploaderConfig",
            ),
            ("Restore.spec.hooks.resources[]", hook),
            ("Restore.spec.hooks.resources[].postHooks[].exec", "waitForReady"),
            ("Restore.spec.restoreStatus", "excludedResources includedResources"),
            ("Restore.spec.uploaderConfig", "writeSparseFiles"),
            ("Restore.status", "completionTimestamp hookStatus progress startTimestamp validationErrors"),
            ("Schedule.spec", "useOwnerReferencesInBackup"),
            ("Schedule.status", "lastBackup lastSkipped"),
            ("BackupStorageLocation.spec", "backupSyncPeriod validationFrequency"),
            ("BackupStorageLocation.status", "lastSyncedTime lastValidationTime"),
            ("DeleteBackupRequest.status", "errors"),
            ("DownloadRequest.status", "expiration"),
            ("ServerStatusRequest.status", "plugins processedTimestamp"),
            ("BackupRepository.spec", "repositoryConfig"),
            ("BackupRepository.status", "lastMaintenanceTime"),
            ("BackupRepository.status.recentMaintenance[]", "completeTimestamp startTimestamp"),
            ("PodVolumeBackup.spec", "uploaderSettings"),
            ("PodVolumeBackup.status", "acceptedTimestamp completionTimestamp startTimestamp"),
            ("PodVolumeRestore.spec", "uploaderSettings"),
            ("PodVolumeRestore.status", "acceptedTimestamp completionTimestamp startTimestamp"),
            ("DataUpload.spec", "csiSnapshot dataMoverConfig"),
            ("DataUpload.status", "acceptedTimestamp completionTimestamp dataMoverResult startTimestamp"),
            ("DataDownload.status", "acceptedTimestamp completionTimestamp startTimestamp"),
        ]
        .map(|(parent, names)| (parent.to_owned(), names.to_owned())),
    );
    assert_eq!(found, expected);
}

#[test]
fn words_are_those_of_velero() {
    let words: BTreeMap<String, Vec<String>> = places_of("enum")
        .into_iter()
        .map(|(path, words)| (path, serde_json::from_value(words).unwrap()))
        .collect();
    let transfer = "New Accepted Prepared InProgress Canceling Canceled Completed Failed";
    let on_error = "Continue Fail";
    let location = "Available Unavailable";
    let access = "ReadOnly ReadWrite";
    // The empty word at the end of some is after the last blank.
    let uploader = "kopia restic ";
    let expected = BTreeMap::from(
        [
            (
                "Backup.status.phase",
                "New Queued ReadyToStart FailedValidation InProgress WaitingForPluginOperations \
                 WaitingForPluginOperationsPartiallyFailed Finalizing FinalizingPartiallyFailed Completed PartiallyFailed \
                 Failed Deleting",
            ),
            ("Backup.spec.hooks.resources[].pre[].exec.onError", on_error),
            ("Backup.spec.hooks.resources[].post[].exec.onError", on_error),
            (
                "Restore.status.phase",
                "New FailedValidation InProgress WaitingForPluginOperations WaitingForPluginOperationsPartiallyFailed \
                 Completed PartiallyFailed Failed Finalizing FinalizingPartiallyFailed",
            ),
            ("Restore.spec.hooks.resources[].postHooks[].exec.onError", on_error),
            ("Schedule.status.phase", "New Enabled FailedValidation"),
            ("BackupStorageLocation.spec.accessMode", access),
            ("BackupStorageLocation.status.accessMode", access),
            ("BackupStorageLocation.status.phase", location),
            ("VolumeSnapshotLocation.status.phase", location),
            ("DeleteBackupRequest.status.phase", "New InProgress Processed"),
            (
                "DownloadRequest.spec.target.kind",
                "BackupLog BackupContents BackupVolumeSnapshots BackupItemOperations BackupResourceList BackupResults \
                 RestoreLog RestoreResults RestoreResourceList RestoreItemOperations CSIBackupVolumeSnapshots \
                 CSIBackupVolumeSnapshotContents BackupVolumeInfos RestoreVolumeInfo",
            ),
            ("DownloadRequest.status.phase", "New Processed"),
            ("ServerStatusRequest.status.phase", "New Processed"),
            ("BackupRepository.spec.repositoryType", uploader),
            ("BackupRepository.status.phase", "New Ready NotReady"),
            ("BackupRepository.status.recentMaintenance[].result", "Succeeded Failed"),
            ("PodVolumeBackup.spec.uploaderType", uploader),
            ("PodVolumeBackup.status.phase", transfer),
            ("PodVolumeRestore.spec.uploaderType", uploader),
            ("PodVolumeRestore.status.phase", transfer),
            ("DataUpload.status.nodeOS", "auto linux windows"),
            ("DataUpload.status.phase", transfer),
            ("DataDownload.spec.nodeOS", "auto linux windows"),
            ("DataDownload.status.phase", transfer),
        ]
        .map(|(path, words)| (path.to_owned(), words.split(' ').map(str::to_owned).collect::<Vec<_>>())),
    );
    assert_eq!(words, expected);
}

#[test]
fn other_marks_are_where_velero_has_them() {
    let atomic_maps = paths_of("x-kubernetes-map-type");
    assert!(places_of("x-kubernetes-map-type").iter().all(|(_, value)| value == "atomic"));
    let mut others: Vec<&str> = atomic_maps
        .iter()
        .filter(|path| !path.ends_with(".labelSelector") && !path.ends_with(".orLabelSelectors[]"))
        .map(String::as_str)
        .collect();
    others.sort_unstable();
    assert_eq!(
        others,
        [
            "Backup.spec.resourcePolicy",
            "BackupStorageLocation.spec.credential",
            "BackupStorageLocation.spec.objectStorage.caCertRef",
            "PodVolumeBackup.spec.pod",
            "PodVolumeRestore.spec.pod",
            "Restore.spec.resourceModifier",
            "Restore.spec.resourcePolicy",
            "VolumeSnapshotLocation.spec.credential",
        ]
    );
    assert_eq!(atomic_maps.len() - others.len(), 6, "{atomic_maps:?}");

    let atomic_lists = places_of("x-kubernetes-list-type");
    assert!(atomic_lists.iter().all(|(path, value)| {
        value == "atomic"
            && (path.ends_with(".matchExpressions") || path.ends_with(".matchExpressions[].values"))
    }));
    assert_eq!(atomic_lists.len(), 2 * 6, "{atomic_lists:?}");

    let init = "Restore.spec.hooks.resources[].postHooks[].init.initContainers";
    assert_eq!(paths_of("x-kubernetes-preserve-unknown-fields"), [init.to_owned(), format!("{init}[]")]);

    assert_eq!(
        places_of("minItems"),
        [
            ("Backup.spec.hooks.resources[].post[].exec.command".to_owned(), json!(1)),
            ("Backup.spec.hooks.resources[].pre[].exec.command".to_owned(), json!(1)),
            ("Restore.spec.hooks.resources[].postHooks[].exec.command".to_owned(), json!(1)),
        ]
    );
    assert_eq!(
        places_of("default"),
        [
            ("BackupStorageLocation.spec.credential.name".to_owned(), json!("")),
            ("BackupStorageLocation.spec.objectStorage.caCertRef.name".to_owned(), json!("")),
            ("VolumeSnapshotLocation.spec.credential.name".to_owned(), json!("")),
        ]
    );

    let with_format = |format: &str| -> Vec<String> {
        places_of("format").into_iter().filter(|(_, value)| value == format).map(|(path, _)| path).collect()
    };
    assert_eq!(with_format("byte"), ["BackupStorageLocation.spec.objectStorage.caCert"]);
    assert_eq!(
        with_format("int64"),
        [
            "PodVolumeBackup.status.incrementalBytes",
            "PodVolumeBackup.status.progress.bytesDone",
            "PodVolumeBackup.status.progress.totalBytes",
            "PodVolumeRestore.spec.snapshotSize",
            "PodVolumeRestore.status.progress.bytesDone",
            "PodVolumeRestore.status.progress.totalBytes",
            "DataUpload.status.incrementalBytes",
            "DataUpload.status.progress.bytesDone",
            "DataUpload.status.progress.totalBytes",
            "DataDownload.spec.snapshotSize",
            "DataDownload.status.progress.bytesDone",
            "DataDownload.status.progress.totalBytes",
        ]
    );
    assert!(
        places_of("format")
            .iter()
            .all(|(_, format)| ["byte", "int64", "date-time"].iter().any(|f| format == f))
    );
    assert!(places_of("pattern").is_empty());
}
