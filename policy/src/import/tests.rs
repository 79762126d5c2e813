use pretty_assertions::assert_eq;

use super::*;

fn imported(schedules: Value, locations: Value) -> (String, Vec<String>) {
    let list = |value: Value| value.as_array().cloned().unwrap_or_default();
    let existing = Existing {
        schedules: list(schedules),
        storage_locations: list(locations),
        snapshot_locations: vec![],
    };
    let target = Target { namespace: "velero".into(), source: "policies".into(), cluster_name: None };
    let Imported { documents, remarks } = import(&existing, &target);
    let text = documents.iter().map(|document| document.text.as_str()).collect::<Vec<_>>().join("---\n");
    (text, remarks.iter().map(ToString::to_string).collect())
}

fn schedule(name: &str, spec: Value) -> Value {
    json!({"apiVersion": "velero.io/v1", "kind": "Schedule", "metadata": {"name": name, "labels": {"team": "x"}}, "spec": spec})
}

#[test]
fn a_schedule_of_velero_s_command_line_loses_nothing() {
    let template = json!({
        "csiSnapshotTimeout": "0s", "hooks": {}, "includedNamespaces": ["blog"], "itemOperationTimeout": "0s",
        "metadata": {}, "ttl": "48h0m0s",
    });
    let spec = json!({"schedule": "CRON_TZ=Europe/Berlin 0 1 * * *", "template": template, "useOwnerReferencesInBackup": false});
    let (text, remarks) = imported(json!([schedule("blog-nightly", spec)]), json!([]));
    assert_eq!(
        text,
        "apiVersion: holdfast.dev/v1alpha1\nkind: BackupPolicy\nmetadata:\n  name: blog\nspec:\n  schedules:\n  \
         - cron: 0 1 * * *\n    labels:\n      team: x\n    name: nightly\n    select:\n      namespaces:\n        \
         include:\n        - blog\n    timeZone: Europe/Berlin\n    ttl: 48h0m0s\n"
    );
    assert_eq!(
        remarks,
        [r#"Schedule blog-nightly: adopting it sets spec.template.metadata.labels: {"team":"x"}"#]
    );
}

#[test]
fn a_name_that_no_policy_would_give_is_kept() {
    let spec = json!({"schedule": "@daily", "template": {"includedNamespaces": ["a"], "ttl": "1h0m0s"}});
    let (text, remarks) = imported(json!([schedule("daily", spec)]), json!([]));
    assert!(text.contains("scheduleName: daily") && text.contains("name: main"), "{text}");
    assert_eq!(
        remarks,
        [r#"Schedule daily: adopting it sets spec.template.metadata: {"labels":{"team":"x"}}"#]
    );
}

#[test]
fn what_no_policy_says_is_named() {
    let spec = json!({
        "schedule": "0 1 * * *",
        "useOwnerReferencesInBackup": true,
        "template": {"includedNamespaces": ["a"], "ttl": "24h0m0s", "metadata": {"labels": {"a": "b"}}, "newInVelero": {"x": 1}},
    });
    let (_, remarks) = imported(json!([schedule("a-b", spec)]), json!([]));
    assert_eq!(
        remarks,
        [
            r#"Schedule a-b: no policy says spec.template.newInVelero: {"x":1}; it stays as it is until somebody changes it"#,
            "Schedule a-b: no policy says spec.useOwnerReferencesInBackup: true; it stays as it is until somebody changes it",
        ]
    );
}

#[test]
fn what_no_policy_can_ask_for_is_named_and_left_out() {
    let bad = json!({"schedule": "61 * * * *", "template": {}});
    let location = json!({"metadata": {"name": "x"}, "spec": {"provider": "acme.io/tape", "objectStorage": {"bucket": "b"}}});
    let mut ours = schedule("c-d", json!({"schedule": "@daily", "template": {}}));
    ours["metadata"]["labels"] = json!({MANAGED_BY: MANAGED_BY_HOLDFAST, SOURCE: "main"});
    let (text, remarks) = imported(json!([schedule("a-b", bad), ours]), json!([location]));
    assert_eq!(text, "");
    assert_eq!(remarks.len(), 3, "{remarks:?}");
    assert!(remarks[0].starts_with("BackupStorageLocation x: no policy can ask for it: "), "{}", remarks[0]);
    assert!(remarks[1].starts_with("Schedule a-b: no policy can ask for it: cron"), "{}", remarks[1]);
    assert_eq!(remarks[2], "Schedule c-d: left out: source main of Holdfast made it");
}

#[test]
fn the_newest_of_two_defaults_is_the_default() {
    let location = |name: &str, created: &str| {
        json!({
            "metadata": {"name": name, "creationTimestamp": created},
            "spec": {"provider": "aws", "default": true, "objectStorage": {"bucket": name}, "config": {"region": "r"}},
        })
    };
    let locations = json!([location("old", "2026-01-01T00:00:00Z"), location("new", "2026-02-01T00:00:00Z")]);
    let (text, remarks) = imported(json!([]), locations);
    assert_eq!(text.matches("default: true").count(), 1, "{text}");
    assert_eq!(
        remarks,
        [
            "BackupStorageLocation old: no policy says spec.default: true; it stays as it is until somebody changes it"
        ]
    );
}
