//! `holdfast retention`: what stays and what goes, and why.

use std::fs;
use std::path::Path;

use holdfast_tests::command::{Ended, holdfast};
use pretty_assertions::assert_eq;
use serde_json::{Value, json};

const POLICY: &str = "
apiVersion: holdfast.dev/v1alpha1
kind: BackupPolicy
metadata: {name: shop}
spec:
  select: {namespaces: {include: [shop]}}
  ttl: 720h
  schedules:
  - {name: nightly, cron: '0 1 * * *', timeZone: Europe/Berlin, retention: {keepLast: 1, minimumGood: 1}}
";

fn backup(name: &str, started: &str, change: impl Fn(&mut Value)) -> Value {
    let mut backup = json!({
        "apiVersion": "velero.io/v1", "kind": "Backup",
        "metadata": {
            "name": name, "labels": {"velero.io/schedule-name": "shop-nightly"},
            "annotations": {"holdfast.dev/retention": r#"{"daily":2,"keepFailed":"24h"}"#, "holdfast.dev/cluster": "prod"},
        },
        "spec": {"storageLocation": "default"},
        "status": {
            "phase": "Completed", "startTimestamp": started, "expiration": "2026-12-20T00:00:00Z",
            "progress": {"totalItems": 100, "itemsBackedUp": 100},
        },
    });
    change(&mut backup);
    backup
}

fn backups() -> Value {
    let of_nobody = |backup: &mut Value| backup["metadata"] = json!({"name": "by-hand"});
    json!({"kind": "List", "apiVersion": "v1", "items": [
        backup("shop-nightly-20261120000000", "2026-11-20T00:00:00Z", |_| {}),
        backup("shop-nightly-20261121000000", "2026-11-21T00:00:00Z", |backup| {
            backup["metadata"]["annotations"]["holdfast.dev/hold"] = json!("audit 2026");
        }),
        backup("shop-nightly-20261122000000", "2026-11-22T00:00:00Z", |_| {}),
        backup("shop-nightly-20261122100000", "2026-11-22T10:00:00Z", |backup| {
            backup["status"]["phase"] = json!("PartiallyFailed");
        }),
        backup("shop-nightly-20261123000000", "2026-11-23T00:00:00Z", |_| {}),
        backup("shop-nightly-20261123100000", "2026-11-23T10:00:00Z", |backup| {
            backup["status"]["progress"]["itemsBackedUp"] = json!(7);
        }),
        backup("by-hand", "2026-11-01T00:00:00Z", of_nobody),
    ]})
}

async fn retention(folder: &Path, arguments: &[&str]) -> anyhow::Result<Ended> {
    let file = folder.join("backups.json");
    fs::write(&file, backups().to_string())?;
    let backups = format!("--backups={}", file.display());
    holdfast(["retention", backups.as_str()].iter().chain(arguments)).await
}

#[tokio::test]
async fn every_backup_is_told_with_the_reasons_to_keep_it_or_the_rule_that_ends_it() {
    let folder = tempfile::tempdir().unwrap();
    let ended = retention(folder.path(), &["--at=2026-11-23T12:00:00Z"]).await.unwrap();
    assert_eq!((ended.code, ended.errors.as_str()), (0, ""));
    insta::assert_snapshot!("now", ended.output);

    let later =
        retention(folder.path(), &["--at=2026-12-21T00:00:00Z", "--cluster-name=prod"]).await.unwrap();
    insta::assert_snapshot!("after_the_ttl", later.output);
}

#[tokio::test]
async fn rules_of_policy_files_take_the_place_of_those_in_force() {
    let folder = tempfile::tempdir().unwrap();
    let policy = folder.path().join("policy.yaml");
    fs::write(&policy, POLICY).unwrap();
    let policy = policy.display().to_string();
    let arguments = [policy.as_str(), "--at=2026-12-21T00:00:00Z", "--output=json"];
    let ended = retention(folder.path(), &arguments).await.unwrap();
    assert_eq!((ended.code, ended.errors.as_str()), (0, ""));
    let told: Value = serde_json::from_str(&ended.output).unwrap();
    let of = |name: &str| {
        let backups = told["backups"].as_array().unwrap();
        backups.iter().find(|backup| backup["backup"] == name).unwrap().clone()
    };
    let last_good = of("shop-nightly-20261123000000");
    assert_eq!(last_good["verdict"], "Keep");
    assert_eq!(last_good["reasons"], json!(["keepLast 1", "minimumGood 1"]));
    assert_eq!(last_good["newExpiration"], "2026-12-22T00:00:00Z");
    let older = of("shop-nightly-20261122000000");
    assert_eq!((&older["verdict"], &older["rule"]), (&json!("Delete"), &json!("retention")));

    fs::write(folder.path().join("policy.yaml"), "kind: Nothing\n").unwrap();
    assert_eq!(retention(folder.path(), &[policy.as_str()]).await.unwrap().code, 1);
    let nowhere = holdfast(["retention", "--backups=/nonexistent/backups.json"]).await.unwrap();
    assert_eq!(nowhere.code, 2, "{nowhere:?}");
    assert!(nowhere.errors.contains("cannot open /nonexistent/backups.json"), "{nowhere:?}");
}
