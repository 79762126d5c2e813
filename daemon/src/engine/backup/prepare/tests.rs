use holdfast_policy::velero::BackupStorageLocation;
use pretty_assertions::assert_eq;
use serde_json::{Value, json};

use super::*;
use crate::engine::backup::PolicySource;
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
    prepared_under(spec, locations, &PolicySources::default())
}

fn prepared_under(spec: Value, locations: &[BackupStorageLocation], policies: &PolicySources) -> Prepared {
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
        snapshot_locations: &[],
        namespaces: &[quiet],
        kubernetes: &kubernetes,
        defaults: &Defaults::default(),
        policies,
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
    assert_eq!(ready(json!({"defaultVolumesToRestic": true})).spec.default_volumes_to_fs_backup, Some(true));
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

fn source(name: &str, text: &str) -> PolicySource {
    let data = [("policy.yaml".to_owned(), text.to_owned())].into();
    PolicySource::Found { name: name.to_owned(), data }
}

fn errors_under(spec: Value, own: PolicySource, global: PolicySource) -> Vec<String> {
    match prepared_under(spec, &locations(), &PolicySources { own, global }) {
        Prepared::Ready(_) => Vec::new(),
        Prepared::Invalid(backup) => backup.status.validation_errors,
    }
}

#[test]
fn a_resource_policy_that_cannot_be_used_fails_the_validation() {
    let spec = json!({"resourcePolicy": {"kind": "ConfigMap", "name": "policy"}});
    let under = |own| errors_under(spec.clone(), own, PolicySource::NotNamed);
    assert_eq!(
        under(PolicySource::Missing { name: "policy".into() }),
        ["invalid resource policies: ConfigMap policy not found"]
    );
    assert_eq!(
        under(source("policy", "version: v2")),
        ["invalid resource policies: ConfigMap policy: version is \"v2\", but has to be \"v1\""]
    );
    assert_eq!(under(source("policy", "version: v1")), Vec::<String>::new());
    assert_eq!(
        errors(json!({"resourcePolicy": {"kind": "Secret", "name": "policy"}})),
        ["invalid resource policies: a policy is a ConfigMap, not a Secret"]
    );
}

#[test]
fn filters_of_a_policy_do_not_mix_with_the_older_filters() {
    let policy = "version: v1
includeExcludePolicy: {excludedNamespaceScopedResources: [secrets]}
clusterScopedFilterPolicy: {resourceFilters: [{kinds: [nodes]}]}
namespacedFilterPolicies: [{namespaces: [shop], resourceFilters: [{kinds: [cm]}]}]
";
    let spec = |resources: Value| json!({"includedResources": resources, "resourcePolicy": {"kind": "configmap", "name": "p"}});
    let found = errors_under(spec(json!(["pods"])), source("p", policy), PolicySource::NotNamed);
    let sections: Vec<_> = found
        .iter()
        .filter_map(|problem| problem.strip_prefix("invalid resource policies: ")?.split(' ').next())
        .collect();
    let expected = ["includeExcludePolicy", "clusterScopedFilterPolicy", "namespacedFilterPolicies"];
    assert_eq!(sections, expected);
    let found = errors_under(spec(json!([])), source("p", policy), PolicySource::NotNamed);
    assert_eq!(found, Vec::<String>::new());
    let volumes = "{version: v1, volumePolicies: [{conditions: {}, action: {type: skip}}]}";
    let found = errors_under(spec(json!(["pods"])), source("p", volumes), PolicySource::NotNamed);
    assert_eq!(found, Vec::<String>::new());
}

#[test]
fn the_servers_policies_are_noted_and_have_to_be_valid_too() {
    let global = source("global", "{version: v1, volumePolicies: [{action: {type: skip}}]}");
    let policies = PolicySources { own: PolicySource::NotNamed, global };
    assert_eq!(policies.parse().unwrap().volume_policies.len(), 1);
    let Prepared::Ready(backup) = prepared_under(json!({}), &locations(), &policies) else { panic!() };
    assert_eq!(backup.metadata.annotations.unwrap()[labels::GLOBAL_VOLUME_POLICY], "global");
    let found = errors_under(json!({}), PolicySource::NotNamed, source("global", "version: v3"));
    assert_eq!(
        found,
        ["invalid resource policies: ConfigMap global: version is \"v3\", but has to be \"v1\""]
    );
}
