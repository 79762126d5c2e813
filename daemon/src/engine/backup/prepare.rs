//! Completes and checks a Backup before it runs. Pure: takes the Backup, what surrounds it and the time, and
//! gives the Backup as it is to be stored, either ready to run or with everything that is wrong with it.

use chrono::{DateTime, Utc};
use holdfast_policy::duration::GoDuration;
use holdfast_policy::time::from_chrono;
use holdfast_policy::velero::{self, AccessMode, Backup, BackupPhase, BackupSpec, LocationPhase, labels};

use crate::engine::select::{NamespaceFacts, complete_filters};

mod filters;

/// Version of the archive's format that runs write.
const FORMAT_VERSION: &str = "1.1.0";
const VOLUME_GROUP_LABEL: &str = "velero.io/volume-group";

/// What a Backup is checked against.
#[derive(Debug, Clone, Copy)]
pub struct Environment<'a> {
    /// All locations of the Backup's namespace.
    pub locations: &'a [velero::BackupStorageLocation],
    /// All namespaces of the cluster.
    pub namespaces: &'a [NamespaceFacts],
    pub kubernetes: &'a KubernetesVersion,
    pub defaults: &'a Defaults,
}

/// What the API server says it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KubernetesVersion {
    /// `v1.36.3`.
    pub git_version: String,
    pub major: String,
    pub minor: String,
}

/// What holds where a Backup says nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Defaults {
    /// The location to use where none is marked as default.
    pub location: String,
    pub ttl: GoDuration,
    pub csi_snapshot_timeout: GoDuration,
    pub item_operation_timeout: GoDuration,
    pub resource_timeout: GoDuration,
    pub volumes_to_fs_backup: bool,
    pub snapshot_move_data: bool,
}

impl Default for Defaults {
    fn default() -> Self {
        const MINUTE: i64 = 60;
        const HOUR: i64 = 60 * MINUTE;
        Self {
            location: "default".into(),
            ttl: GoDuration::from_secs(720 * HOUR),
            csi_snapshot_timeout: GoDuration::from_secs(10 * MINUTE),
            item_operation_timeout: GoDuration::from_secs(4 * HOUR),
            resource_timeout: GoDuration::from_secs(10 * MINUTE),
            volumes_to_fs_backup: false,
            snapshot_move_data: false,
        }
    }
}

/// The Backup with its spec completed and its status begun.
#[derive(Debug, Clone, PartialEq)]
pub enum Prepared {
    /// InProgress from now on.
    Ready(Backup),
    /// FailedValidation, with the reasons in its status.
    Invalid(Backup),
}

pub fn prepare(backup: &Backup, environment: Environment<'_>, now: DateTime<Utc>) -> Prepared {
    let mut backup = backup.clone();
    let ttl = complete_spec(&mut backup.spec, environment);
    let location = backup.spec.storage_location.clone().unwrap_or_default();
    complete_metadata(&mut backup, &location, environment);
    let mut problems = location_problems(&location, environment.locations);
    problems.extend(filters::problems(&backup.spec));
    problems.extend(other_problems(&backup.spec));

    let status = &mut backup.status;
    status.version = 1;
    status.format_version = Some(FORMAT_VERSION.into());
    status.expiration = now.checked_add_signed(ttl.to_chrono()).map(from_chrono);
    status.queue_position = 0;
    status.validation_errors = problems;
    if status.validation_errors.is_empty() {
        status.phase = Some(BackupPhase::InProgress);
        status.start_timestamp = Some(from_chrono(now));
        Prepared::Ready(backup)
    } else {
        status.phase = Some(BackupPhase::FailedValidation);
        Prepared::Invalid(backup)
    }
}

/// Fills in what the spec leaves open; gives the time to live.
fn complete_spec(spec: &mut BackupSpec, environment: Environment<'_>) -> GoDuration {
    let Environment { locations, namespaces, kubernetes: _, defaults } = environment;
    let ttl = spec.ttl_or(defaults.ttl);
    spec.ttl = Some(ttl);
    spec.csi_snapshot_timeout = Some(spec.csi_snapshot_timeout_or(defaults.csi_snapshot_timeout));
    spec.item_operation_timeout = Some(spec.item_operation_timeout_or(defaults.item_operation_timeout));
    spec.volume_group_snapshot_label_key.get_or_insert_with(|| VOLUME_GROUP_LABEL.into());
    spec.default_volumes_to_fs_backup = spec
        .default_volumes_to_fs_backup
        .or(spec.default_volumes_to_restic)
        .or(Some(defaults.volumes_to_fs_backup));
    spec.snapshot_move_data.get_or_insert(defaults.snapshot_move_data);
    spec.storage_location.get_or_insert_with(|| default_location(locations, &defaults.location));
    complete_filters(spec, namespaces);
    ttl
}

/// The newest of the locations marked as default, or the server's own default.
fn default_location(locations: &[velero::BackupStorageLocation], fallback: &str) -> String {
    let marked = locations.iter().filter(|location| location.spec.default);
    let newest =
        marked.max_by_key(|location| location.metadata.creation_timestamp.as_ref().map(|time| time.0));
    newest.and_then(|location| location.metadata.name.clone()).unwrap_or_else(|| fallback.to_owned())
}

fn complete_metadata(backup: &mut Backup, location: &str, environment: Environment<'_>) {
    let KubernetesVersion { git_version, major, minor } = environment.kubernetes;
    let timeout = environment.defaults.resource_timeout.to_string();
    let labels = backup.metadata.labels.get_or_insert_default();
    labels.insert(labels::STORAGE_LOCATION.into(), velero::short_name(location));
    let annotations = backup.metadata.annotations.get_or_insert_default();
    for (key, value) in [
        (labels::SOURCE_CLUSTER_GIT_VERSION, git_version),
        (labels::SOURCE_CLUSTER_MAJOR_VERSION, major),
        (labels::SOURCE_CLUSTER_MINOR_VERSION, minor),
        (labels::RESOURCE_TIMEOUT, &timeout),
    ] {
        annotations.insert(key.into(), value.clone());
    }
}

fn location_problems(name: &str, locations: &[velero::BackupStorageLocation]) -> Vec<String> {
    let Some(location) = locations.iter().find(|it| it.metadata.name.as_deref() == Some(name)) else {
        return vec![format!(
            "an existing backup storage location was not specified at backup creation time and the default {name} \
             was not found. Name one that exists and create a new backup"
        )];
    };
    let mut problems = Vec::new();
    if location.spec.access_mode_or_default() == AccessMode::ReadOnly {
        problems.push(format!(
            "backup can't be created because backup storage location {name} is currently in read-only mode"
        ));
    }
    // A location that nobody has looked at yet is waited for before it comes to this.
    if location.status.phase == Some(LocationPhase::Unavailable) {
        let reason = location.status.message.as_deref().unwrap_or("no reason is known");
        problems.push(format!(
            "backup can't be created because backup storage location {name} is in Unavailable status: {reason}"
        ));
    }
    problems
}

fn other_problems(spec: &BackupSpec) -> Vec<String> {
    let mut problems = Vec::new();
    if let Some(ttl) = spec.ttl.filter(|ttl| ttl.is_negative()) {
        problems.push(format!("invalid ttl {ttl}: it must not be negative"));
    }
    let policy = spec.resource_policy.as_ref().filter(|policy| policy.kind.eq_ignore_ascii_case("configmap"));
    if let Some(policy) = policy {
        // Running without the policy would take, or leave out, what the user decided otherwise about.
        problems.push(format!(
            "invalid resource policies: this version of Holdfast does not support ConfigMap {}",
            policy.name
        ));
    }
    problems
}

#[cfg(test)]
mod tests {
    use holdfast_policy::velero::BackupStorageLocation;
    use pretty_assertions::assert_eq;
    use serde_json::{Value, json};

    use super::*;
    use crate::engine::select::{SNAPSHOT_CONTENTS, SNAPSHOTS};

    fn location(name: &str, spec: Value, status: Value) -> BackupStorageLocation {
        let mut full = json!({"provider": "local", "objectStorage": {"bucket": "b"}});
        full.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
        serde_json::from_value(json!({"metadata": {"name": name}, "spec": full, "status": status})).unwrap()
    }

    fn locations() -> Vec<BackupStorageLocation> {
        vec![
            location("default", json!({}), json!({"phase": "Available"})),
            location("second", json!({"accessMode": "ReadOnly"}), json!({"phase": "Available"})),
            location("away", json!({}), json!({"phase": "Unavailable", "message": "no such host"})),
        ]
    }

    fn prepared(spec: Value, locations: &[BackupStorageLocation]) -> Prepared {
        let backup = json!({"metadata": {"name": "b1", "namespace": "velero"}, "spec": spec});
        let quiet = NamespaceFacts {
            name: "quiet".into(),
            labels: [("velero.io/exclude-from-backup".into(), "true".into())].into(),
            active: true,
        };
        let kubernetes =
            KubernetesVersion { git_version: "v1.36.3".into(), major: "1".into(), minor: "36".into() };
        let environment = Environment {
            locations,
            namespaces: &[quiet],
            kubernetes: &kubernetes,
            defaults: &Defaults::default(),
        };
        let now = "2026-05-01T10:00:00Z".parse().unwrap();
        prepare(&serde_json::from_value(backup).unwrap(), environment, now)
    }

    fn ready(spec: Value) -> Backup {
        match prepared(spec, &locations()) {
            Prepared::Ready(backup) => backup,
            Prepared::Invalid(backup) => panic!("{:?}", backup.status.validation_errors),
        }
    }

    fn errors(spec: Value) -> Vec<String> {
        match prepared(spec, &locations()) {
            Prepared::Ready(backup) => panic!("{backup:?}"),
            Prepared::Invalid(backup) => {
                assert_eq!(backup.status.phase, Some(BackupPhase::FailedValidation));
                assert_eq!(backup.status.start_timestamp, None);
                assert!(backup.status.expiration.is_some());
                backup.status.validation_errors
            }
        }
    }

    #[test]
    fn an_empty_spec_is_completed_as_velero_completes_it() {
        assert_eq!(
            serde_json::to_value(ready(json!({}))).unwrap(),
            json!({
                "apiVersion": "velero.io/v1",
                "kind": "Backup",
                "metadata": {
                    "name": "b1",
                    "namespace": "velero",
                    "labels": {"velero.io/storage-location": "default"},
                    "annotations": {
                        "velero.io/resource-timeout": "10m0s",
                        "velero.io/source-cluster-k8s-gitversion": "v1.36.3",
                        "velero.io/source-cluster-k8s-major-version": "1",
                        "velero.io/source-cluster-k8s-minor-version": "36",
                    },
                },
                "spec": {
                    "includedNamespaces": ["*"],
                    "excludedNamespaces": ["quiet"],
                    "excludedClusterScopedResources": [SNAPSHOT_CONTENTS],
                    "excludedNamespaceScopedResources": [SNAPSHOTS],
                    "ttl": "720h0m0s",
                    "csiSnapshotTimeout": "10m0s",
                    "itemOperationTimeout": "4h0m0s",
                    "volumeGroupSnapshotLabelKey": "velero.io/volume-group",
                    "defaultVolumesToFsBackup": false,
                    "snapshotMoveData": false,
                    "storageLocation": "default",
                },
                "status": {
                    "version": 1,
                    "formatVersion": "1.1.0",
                    "phase": "InProgress",
                    "startTimestamp": "2026-05-01T10:00:00Z",
                    "expiration": "2026-05-31T10:00:00Z",
                },
            })
        );
    }

    #[test]
    fn preparing_again_changes_nothing_but_times() {
        let spec = json!({"includedResources": ["pods", SNAPSHOTS], "ttl": "1h0m0s"});
        let once = ready(spec);
        assert_eq!(once.spec.included_resources, ["pods"]);
        assert_eq!(once.spec.excluded_resources, [SNAPSHOTS, SNAPSHOT_CONTENTS]);
        assert_eq!(ready(serde_json::to_value(&once.spec).unwrap()).spec, once.spec);
    }

    #[test]
    fn a_ttl_of_zero_is_unset_and_a_negative_one_invalid() {
        assert_eq!(ready(json!({"ttl": "0s"})).spec.ttl, Some(GoDuration::from_secs(720 * 3600)));
        assert_eq!(errors(json!({"ttl": "-1h0m0s"})), ["invalid ttl -1h0m0s: it must not be negative"]);
    }

    #[test]
    fn the_former_name_of_file_backups_still_counts() {
        assert_eq!(
            ready(json!({"defaultVolumesToRestic": true})).spec.default_volumes_to_fs_backup,
            Some(true)
        );
    }

    #[test]
    fn the_location_must_exist_be_writable_and_be_there() {
        let at = |name: &str| errors(json!({"storageLocation": name}));
        assert_eq!(
            at("second"),
            ["backup can't be created because backup storage location second is currently in read-only mode"]
        );
        assert_eq!(
            at("away"),
            [
                "backup can't be created because backup storage location away is in Unavailable status: no such host"
            ]
        );
        let missing = &at("nowhere")[0];
        let start = "an existing backup storage location was not specified at backup creation time and the default nowhere was not found.";
        assert!(missing.starts_with(start), "{missing}");
    }

    #[test]
    fn the_newest_of_two_default_locations_counts() {
        let marked = |name: &str, made: &str| {
            let mut location = location(name, json!({"default": true}), json!({"phase": "Available"}));
            location.metadata.creation_timestamp = Some(serde_json::from_value(json!(made)).unwrap());
            location
        };
        let mut locations = locations();
        locations.push(marked("newer", "2026-02-01T00:00:00Z"));
        locations.push(marked("older", "2026-01-01T00:00:00Z"));
        let Prepared::Ready(backup) = prepared(json!({}), &locations) else { panic!() };
        assert_eq!(backup.spec.storage_location.as_deref(), Some("newer"));
        assert_eq!(backup.metadata.labels.unwrap()["velero.io/storage-location"], "newer");
    }

    #[test]
    fn a_namespace_that_asks_to_be_left_out_cannot_be_included() {
        assert_eq!(
            errors(json!({"includedNamespaces": ["quiet"]})),
            [
                "Invalid included/excluded namespace lists: excludes list cannot contain an item in the includes list: quiet"
            ]
        );
    }

    #[test]
    fn a_resource_policy_is_never_ignored() {
        let spec = json!({"resourcePolicy": {"kind": "ConfigMap", "name": "policy"}});
        assert!(errors(spec)[0].starts_with("invalid resource policies: "));
    }
}
