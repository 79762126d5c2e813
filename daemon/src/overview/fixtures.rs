//! A namespace in which a bit of everything has happened.

use serde_json::{Value, json};

use super::*;

pub(crate) fn now() -> DateTime<Utc> {
    "2026-11-23T10:00:00Z".parse().unwrap()
}

fn objects<K: serde::de::DeserializeOwned>(values: Vec<Value>) -> Vec<Arc<K>> {
    values.into_iter().map(|value| Arc::new(serde_json::from_value(value).unwrap())).collect()
}

pub(crate) fn facts() -> Facts {
    let condition = json!({
        "type": "Ready", "status": "False", "reason": "Refused", "message": "2 problems",
        "lastTransitionTime": "2026-11-23T09:00:00Z",
    });
    let policy_sets = vec![json!({
        "apiVersion": "holdfast.dev/v1alpha1", "kind": "PolicySet",
        "metadata": {"name": "main"},
        "spec": {"source": "directory /policies"},
        "status": {
            "conditions": [condition],
            "inForce": {"revision": "sha256:1234567890abcdef", "since": "2026-11-22T10:00:00Z", "objects": 4},
            "problemCount": 2,
            "problems": [{
                "severity": "error", "rule": "unknown-field", "file": "shop.yaml", "line": 12, "column": 3,
                "message": "there is no field `shedules`", "help": "did you mean `schedules`?",
            }],
            "scheduleCount": 2, "missedCount": 1,
            "schedules": [{
                "name": "shop-nightly", "policy": "shop", "recoveryPoint": "Missed",
                "lastGoodBackup": "shop-nightly-20261120010000", "lastGoodTime": "2026-11-20T01:00:00Z",
            }],
        },
    })];
    let locations = vec![
        json!({
            "metadata": {"name": "default"},
            "spec": {"provider": "aws", "default": true, "objectStorage": {"bucket": "backups", "prefix": "prod"}},
            "status": {"phase": "Available", "lastValidationTime": "2026-11-23T09:59:30Z"},
        }),
        json!({
            "metadata": {"name": "far"},
            "spec": {"provider": "azure", "accessMode": "ReadOnly", "objectStorage": {"bucket": "old"}},
            "status": {"phase": "Unavailable", "message": "no such container"},
        }),
    ];
    let schedules = vec![
        json!({
            "metadata": {"name": "all-hourly", "creationTimestamp": "2026-11-01T00:00:00Z"},
            "spec": {"schedule": "@hourly", "template": {}}, "status": {"phase": "Enabled"},
        }),
        json!({
            "metadata": {"name": "shop-nightly", "creationTimestamp": "2026-11-01T00:00:00Z"},
            "spec": {"schedule": "0 1 * * *", "template": {}}, "status": {"phase": "Enabled"},
        }),
        json!({
            "metadata": {"name": "shop-weekly", "labels": {"holdfast.dev/policy": "shop"}},
            "spec": {"schedule": "0 2 * * 0", "paused": true, "template": {}}, "status": {"phase": "Enabled"},
        }),
    ];
    let backup = |name: &str, schedule: &str, status: Value| {
        let labels =
            if schedule.is_empty() { json!({}) } else { json!({"velero.io/schedule-name": schedule}) };
        let value = json!({
            "metadata": {
                "name": name, "labels": labels, "annotations": {"holdfast.dev/archive-bytes": "2097152"},
            },
            "spec": {"storageLocation": "default"}, "status": status,
        });
        Arc::new(BackupSummary::of(&serde_json::from_value(value).unwrap()))
    };
    let backups = vec![
        backup(
            "all-hourly-20261123090000",
            "all-hourly",
            json!({
                "phase": "Completed", "warnings": 2, "progress": {"totalItems": 340, "itemsBackedUp": 340},
                "startTimestamp": "2026-11-23T09:00:00Z", "completionTimestamp": "2026-11-23T09:01:05Z",
                "expiration": "2026-12-23T09:00:00Z",
            }),
        ),
        backup(
            "mine",
            "",
            json!({
                "phase": "InProgress", "progress": {"totalItems": 300, "itemsBackedUp": 120},
                "startTimestamp": "2026-11-23T09:59:00Z",
            }),
        ),
        backup(
            "shop-nightly-20261123010000",
            "shop-nightly",
            json!({
                "phase": "Failed", "errors": 1, "startTimestamp": "2026-11-23T01:00:00Z",
                "completionTimestamp": "2026-11-23T01:00:02Z",
            }),
        ),
    ];
    let restores = vec![
        json!({
            "metadata": {"name": "back", "creationTimestamp": "2026-11-23T08:00:00Z"},
            "spec": {"backupName": "all-hourly-20261123070000"},
            "status": {
                "phase": "PartiallyFailed", "errors": 1, "warnings": 3,
                "progress": {"totalItems": 10, "itemsRestored": 9},
                "startTimestamp": "2026-11-23T08:00:01Z", "completionTimestamp": "2026-11-23T08:00:31Z",
            },
        }),
        json!({"metadata": {"name": "waiting"}, "spec": {"backupName": "mine"}}),
    ];
    let deletion_requests = vec![json!({
        "metadata": {"name": "d", "creationTimestamp": "2026-11-23T03:00:00Z"}, "spec": {"backupName": "old"},
        "status": {"phase": "Processed", "errors": ["the bucket is locked"]},
    })];
    Facts {
        namespace: "velero".to_owned(),
        policy_sets: objects(policy_sets),
        locations: objects(locations),
        schedules: objects(schedules),
        backups,
        restores: objects(restores),
        deletion_requests: objects(deletion_requests),
    }
}

#[test]
fn an_overview_tells_how_everything_fares() {
    let overview = overview(&facts(), now());
    insta::assert_json_snapshot!(overview);
}

#[test]
fn what_needs_attention_is_told_in_sentences() {
    let told: Vec<String> = attention(&overview(&facts(), now()))
        .into_iter()
        .map(|Attention { about, what, help }| format!("{about}: {what} {}", help.unwrap_or_default()))
        .collect();
    insta::assert_snapshot!(told.join("\n"));
    assert_eq!(attention(&overview(&Facts::default(), now())), []);
}
