//! The end of backups by themselves: their ttl, their schedule's keep rules, and what stands against both.

use std::fs;

use holdfast_policy::velero::{
    AccessMode, Backup, BackupPhase, BackupStorageLocation, DeleteBackupRequestPhase, LocationPhase, Restore,
    RestorePhase, RestoreSpec, labels, to_metadata_json,
};
use holdfast_tests::Daemon;
use holdfast_tests::command::holdfast;
use k8s_openapi::api::events::v1::Event;
use kube::api::{ListParams, Patch, PatchParams};
use kube::{Api, ResourceExt};
use pretty_assertions::assert_eq;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::deletion::{gone, requests_for};
use crate::home::{Home, PATIENCE, POLL, backup_of, logged};

/// A Completed backup of cluster `prod` that expired long ago, changed as a merge patch says.
pub(crate) fn backup(name: &str, change: Value) -> anyhow::Result<Backup> {
    let mut backup = json!({
        "metadata": {"name": name, "annotations": {"holdfast.dev/cluster": "prod"}},
        "spec": {"storageLocation": "default", "includedNamespaces": ["nowhere"]},
        "status": {
            "phase": "Completed", "startTimestamp": "2026-01-01T01:00:00Z", "expiration": "2026-02-01T01:00:00Z",
            "progress": {"totalItems": 100, "itemsBackedUp": 100},
        },
    });
    merge(&mut backup, change);
    Ok(serde_json::from_value(backup)?)
}

fn merge(into: &mut Value, from: Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (key, value) in from {
                if value.is_null() {
                    into.remove(&key);
                    continue;
                }
                merge(into.entry(key).or_insert(Value::Null), value);
            }
        }
        (into, from) => *into = from,
    }
}

/// Puts it into the bucket and the cluster.
pub(crate) async fn put(home: &Home, backup: &Backup) -> anyhow::Result<()> {
    record(home, backup)?;
    home.runs.create(backup).await
}

pub(crate) fn record(home: &Home, backup: &Backup) -> anyhow::Result<()> {
    let folder = home.bucket().join("backups").join(backup.name_any());
    fs::create_dir_all(&folder)?;
    Ok(fs::write(folder.join("velero-backup.json"), to_metadata_json(backup))?)
}

fn recorded(home: &Home, name: &str) -> anyhow::Result<Backup> {
    let path = home.bucket().join("backups").join(name).join("velero-backup.json");
    Ok(serde_json::from_slice(&fs::read(path)?)?)
}

/// The rule that an event on the backup names.
async fn ended_by(home: &Home, backup: &str) -> anyhow::Result<Option<String>> {
    let events: Api<Event> = Api::namespaced(home.testbed.client()?, &home.namespace);
    let events = events.list(&ListParams::default()).await?.items.into_iter();
    let mut of_backup = events.filter(|event| {
        let regarding = event.regarding.as_ref().and_then(|object| object.name.as_deref());
        regarding == Some(backup) && event.reason.as_deref() == Some("Ended")
    });
    Ok(of_backup.next().and_then(|event| event.note))
}

/// The backups of which `holdfast retention` tells that they go.
async fn told_to_go(home: &Home) -> anyhow::Result<Vec<String>> {
    let kubeconfig = format!("--kubeconfig={}", home.testbed.kubeconfig().display());
    let namespace = format!("--namespace={}", home.namespace);
    let arguments = ["retention", &kubeconfig, &namespace, "--cluster-name=prod", "--output=json"];
    let ended = holdfast(arguments).await?;
    anyhow::ensure!(ended.code == 0, "{ended:?}");
    let told: Value = serde_json::from_str(&ended.output)?;
    let backups = told["backups"].as_array().into_iter().flatten();
    let names = backups.filter(|it| it["verdict"] == "Delete").filter_map(|it| it["backup"].as_str());
    let mut names: Vec<String> = names.map(str::to_owned).collect();
    names.sort();
    Ok(names)
}

async fn prod(home: &Home) -> anyhow::Result<Daemon> {
    home.daemon(&["--cluster-name=prod", "--garbage-collection-frequency=1h"]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_whose_time_is_over_goes_with_its_restores_by_one_request() -> anyhow::Result<()> {
    let home = Home::new("expiry").await?;
    let application = home.application("app").await?;
    let daemon = home.daemon(&[]).await?;
    home.local_location().await?;
    let mut spec = backup_of(&application);
    spec.ttl = Some("15s".parse()?);
    let one = home.runs.backup("one", spec, PATIENCE).await?;
    assert_eq!(one.status_phase(), BackupPhase::Completed);
    let spec = RestoreSpec { backup_name: Some("one".to_owned()), ..RestoreSpec::default() };
    let restore = home.runs.restore("back", spec, PATIENCE).await?;
    assert_eq!(restore.status.phase, Some(RestorePhase::Completed));
    gone(&home, "one").await?;
    assert!(home.runs.api::<Restore>().get_opt("back").await?.is_none());
    assert!(home.files()?.is_empty(), "{:?}", home.files()?);
    let asked = |line: &&str| line.contains("backup is to be deleted") && line.contains("\"rule\":\"ttl\"");
    assert_eq!(daemon.log_text().lines().filter(asked).count(), 1);
    assert_eq!(ended_by(&home, "one").await?.as_deref(), Some("deleted by rule ttl: its ttl is over"));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_only_location_is_left_alone_and_the_backup_says_so() -> anyhow::Result<()> {
    let home = Home::new("read-only").await?;
    let daemon = prod(&home).await?;
    home.local_location().await?;
    home.location_is(LocationPhase::Available).await?;
    let mode = async |mode: AccessMode| {
        let patch = Patch::Merge(json!({"spec": {"accessMode": mode}}));
        home.runs.api::<BackupStorageLocation>().patch("default", &PatchParams::default(), &patch).await
    };
    mode(AccessMode::ReadOnly).await?;
    put(&home, &backup("over", json!({}))?).await?;
    let label =
        |backup: &Backup| backup.labels().get(labels::GC_FAILURE).map(String::as_str) == Some("BSLReadOnly");
    home.runs.ended("over", PATIENCE, label).await?;
    assert_eq!(requests_for(&home, "over").await?, []);
    mode(AccessMode::ReadWrite).await?;
    gone(&home, "over").await?;
    assert!(home.files()?.is_empty());
    drop(daemon);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_a_rule_has_understood_goes() -> anyhow::Result<()> {
    let home = Home::new("rules").await?;
    // For the definitions.
    home.daemon(&[]).await?.stop().await?;
    home.local_location().await?;
    let annotated = |annotations: Value| json!({"metadata": {"annotations": annotations}});
    let of = |schedule: &str, started: &str, rules: &str| {
        json!({
            "metadata": {
                "labels": {"velero.io/schedule-name": schedule},
                "annotations": {"holdfast.dev/retention": rules},
            },
            "status": {"startTimestamp": started, "expiration": "2999-01-01T00:00:00Z"},
        })
    };
    let keep_two = r#"{"keepLast":2}"#;
    for (name, change) in [
        ("over", json!({})),
        ("held", annotated(json!({"holdfast.dev/hold": "audit"}))),
        ("theirs", annotated(json!({"holdfast.dev/cluster": "old"}))),
        ("nobodys", annotated(json!({"holdfast.dev/cluster": null}))),
        ("later", json!({})),
        ("unreadable", json!({})),
        ("n-1", of("nightly", "2026-01-01T01:00:00Z", keep_two)),
        ("n-2", of("nightly", "2026-01-02T01:00:00Z", keep_two)),
        ("n-3", of("nightly", "2026-01-03T01:00:00Z", keep_two)),
    ] {
        put(&home, &backup(name, change)?).await?;
    }
    record(&home, &backup("later", json!({"status": {"expiration": "2999-01-01T00:00:00Z"}}))?)?;
    fs::write(home.bucket().join("backups/unreadable/velero-backup.json"), b"{")?;
    let mut last_good = of("weekly", "2026-01-01T01:00:00Z", r#"{"minimumGood":1}"#);
    last_good["status"]["expiration"] = json!("2026-02-01T01:00:00Z");
    put(&home, &backup("w-1", last_good)?).await?;
    let mut suspect = of("weekly", "2026-01-08T01:00:00Z", r#"{"minimumGood":1}"#);
    suspect["status"]["progress"] = json!({"totalItems": 3, "itemsBackedUp": 3});
    put(&home, &backup("w-2", suspect)?).await?;

    // What the command tells of the cluster is what the daemon then does.
    let told = told_to_go(&home).await?;
    assert_eq!(told, ["later", "n-1", "over", "unreadable"]);

    let daemon = prod(&home).await?;
    for name in ["over", "n-1"] {
        gone(&home, name).await?;
    }
    assert_eq!(
        ended_by(&home, "n-1").await?.as_deref(),
        Some("deleted by rule retention: no keep rule applies")
    );
    for name in ["later", "unreadable"] {
        let deadline = Instant::now() + PATIENCE;
        let errors = loop {
            let requests = requests_for(&home, name).await?;
            let processed = |phase| phase == Some(DeleteBackupRequestPhase::Processed);
            match requests.as_slice() {
                [request] if processed(request.status.phase) => break request.status.errors.clone(),
                _ => anyhow::ensure!(Instant::now() < deadline, "{requests:?}"),
            }
            tokio::time::sleep(POLL).await;
        };
        let begin = "backup deletion failed: rule ttl deletes no backup whose metadata in the bucket is not \
                     readable and current: ";
        assert!(errors.len() == 1 && errors[0].starts_with(begin), "{errors:?}");
    }
    let moved = |backup: &Backup| backup.status.expiration > recorded_expiration_long_ago();
    let last_good = home.runs.ended("w-1", PATIENCE, moved).await?;
    assert_eq!(recorded(&home, "w-1")?.status.expiration, last_good.status.expiration);
    let is_marked = |backup: &Backup| backup.annotations().contains_key("holdfast.dev/suspect");
    let suspect = home.runs.ended("w-2", PATIENCE, is_marked).await?;
    assert_eq!(suspect.annotations()["holdfast.dev/suspect"], "3 objects, after 100 in w-1");
    assert!(is_marked(&recorded(&home, "w-2")?));

    logged(&daemon, &["end of a backup decided", "\"backup\":\"w-1\""]).await?;
    let kept = home.runs.api::<Backup>().list(&ListParams::default()).await?;
    let kept: Vec<String> = kept.iter().map(ResourceExt::name_any).collect();
    let expected = ["held", "later", "n-2", "n-3", "nobodys", "theirs", "unreadable", "w-1", "w-2"];
    assert_eq!(kept, expected);
    for name in ["held", "n-2", "n-3", "nobodys", "theirs"] {
        assert_eq!(requests_for(&home, name).await?, [], "{name}");
    }
    Ok(())
}

fn recorded_expiration_long_ago() -> Option<k8s_openapi::apimachinery::pkg::apis::meta::v1::Time> {
    Some(holdfast_policy::time::from_chrono("2026-02-01T01:00:00Z".parse().expect("it is an instant")))
}
