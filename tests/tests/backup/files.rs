//! What a backup leaves in the bucket: which files, what is in them, and nothing at all after a failure.

use std::collections::BTreeSet;

use anyhow::Context;
use holdfast::engine::backup::{self, Error, Progress};
use holdfast::engine::{LogFormat, RunOptions};
use holdfast_tests::Testbed;
use k8s_openapi::api::core::v1::{ConfigMap, PersistentVolume, PersistentVolumeClaim};
use kube::api::PostParams;
use kube::{Api, Client};
use pretty_assertions::assert_eq;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::runs::Bench;

pub(crate) async fn create<K>(api: &Api<K>, object: Value) -> anyhow::Result<()>
where
    K: Clone + DeserializeOwned + serde::Serialize + std::fmt::Debug,
{
    let object = serde_json::from_value(object).context("reading the object")?;
    api.create(&PostParams::default(), &object).await.context("creating the object")?;
    Ok(())
}

async fn create_config_map(
    client: &Client,
    namespace: &str,
    name: &str,
    labels: Value,
) -> anyhow::Result<()> {
    let api = Api::<ConfigMap>::namespaced(client.clone(), namespace);
    let data = json!({"text": "<b>&amp;</b> Grüße 世界 \u{2028}", "large": "x".repeat(2000)});
    create(&api, json!({"metadata": {"name": name, "labels": labels}, "data": data})).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_leaves_every_file_in_its_form() {
    let testbed = Testbed::shared().await.unwrap();
    let _logs = testbed.logs_on_panic();
    let client = testbed.client().unwrap();
    let namespace = testbed.namespace("files").await.unwrap();
    create_config_map(&client, &namespace, "plain", json!({"app": "web"})).await.unwrap();
    create_config_map(&client, &namespace, "hidden", json!({"velero.io/exclude-from-backup": "true"}))
        .await
        .unwrap();
    let bench = Bench::new(testbed).await.unwrap();
    let spec = json!({"includedNamespaces": [namespace], "includedResources": ["configmaps"]});
    let ran = bench.run("b1", spec).await.unwrap();

    let files = [
        "b1-itemoperations.json.gz",
        "b1-logs.gz",
        "b1-podvolumebackups.json.gz",
        "b1-resource-list.json.gz",
        "b1-results.gz",
        "b1-volumeinfo.json.gz",
        "b1-volumesnapshots.json.gz",
        "b1.tar.gz",
    ];
    assert_eq!(ran.files().unwrap(), BTreeSet::from(files.map(str::to_owned)));
    for (file, text) in [
        ("itemoperations.json.gz", "[]\n"),
        ("podvolumebackups.json.gz", "null\n"),
        ("results.gz", "{\"errors\":{},\"warnings\":{}}\n"),
        ("volumeinfo.json.gz", "[]\n"),
        ("volumesnapshots.json.gz", "null\n"),
    ] {
        assert_eq!(ran.text(file).unwrap(), text, "{file}");
    }
    assert_eq!(
        ran.json("resource-list.json.gz").unwrap(),
        json!({"v1/ConfigMap": [format!("{namespace}/kube-root-ca.crt"), format!("{namespace}/plain")]})
    );
    assert_eq!((ran.outcome.items, ran.outcome.archive.items), (2, 2));
    assert!(ran.text("logs.gz").unwrap().contains("level=info msg=\"Retrieved 3 items\" backup=velero/b1"));
}

#[tokio::test(flavor = "multi_thread")]
async fn items_mean_what_the_api_server_says() {
    let testbed = Testbed::shared().await.unwrap();
    let _logs = testbed.logs_on_panic();
    let client = testbed.client().unwrap();
    let namespace = testbed.namespace("meaning").await.unwrap();
    create_config_map(&client, &namespace, &"n".repeat(253), json!({})).await.unwrap();
    let bench = Bench::new(testbed).await.unwrap();
    let ran = bench.run("meaning", json!({"includedNamespaces": [namespace]})).await.unwrap();
    let index = ran.index().unwrap();
    assert!(index.items.len() >= 4, "{:?}", index.items);
    let discovery = bench.cluster.discover().await.unwrap();
    for item in index.items.iter().filter(|item| !item.group_resource.starts_with("events")) {
        let resource = discovery.by_group_resource(&item.group_resource).unwrap();
        let path = resource.path(item.namespace.as_deref(), Some(&item.name));
        let served: Value = serde_json::from_slice(&bench.cluster.read(&path).await.unwrap()).unwrap();
        let stored: Value = serde_json::from_slice(&index.read(item).unwrap()).unwrap();
        assert_eq!(stored, served, "{item}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bound_claim_brings_its_volume_and_an_entry_that_says_why_its_data_stayed() {
    let testbed = Testbed::shared().await.unwrap();
    let _logs = testbed.logs_on_panic();
    let client = testbed.client().unwrap();
    let namespace = testbed.namespace("volumes").await.unwrap();
    let volume = format!("vol-{namespace}");
    let spec = json!({
        "accessModes": ["ReadWriteOnce"],
        "capacity": {"storage": "1Gi"},
        "storageClassName": "",
        "hostPath": {"path": "/nowhere"},
        "claimRef": {"namespace": namespace, "name": "data"},
    });
    let metadata = json!({"name": volume, "labels": {"disk": "a"}});
    create(&Api::<PersistentVolume>::all(client.clone()), json!({"metadata": metadata, "spec": spec}))
        .await
        .unwrap();
    let claims = Api::<PersistentVolumeClaim>::namespaced(client.clone(), &namespace);
    let spec = json!({
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": "1Gi"}},
        "storageClassName": "",
        "volumeName": volume,
    });
    create(&claims, json!({"metadata": {"name": "data"}, "spec": spec})).await.unwrap();
    let bound = |claim: Option<&PersistentVolumeClaim>| {
        claim.and_then(|claim| claim.status.as_ref()?.phase.as_deref()) == Some("Bound")
    };
    kube::runtime::wait::await_condition(claims, "data", bound).await.unwrap();

    let bench = Bench::new(testbed).await.unwrap();
    let ran = bench.run("volumes", json!({"includedNamespaces": [namespace]})).await.unwrap();
    let items = ran.items().unwrap();
    let place = |wanted: String| items.iter().position(|item| *item == wanted).unwrap();
    assert!(
        place(format!("persistentvolumes {volume}"))
            < place(format!("persistentvolumeclaims {namespace}/data"))
    );
    assert_eq!(
        ran.json("volumeinfo.json.gz").unwrap(),
        json!([{
            "pvcName": "data",
            "pvcNamespace": namespace,
            "pvName": volume,
            "snapshotDataMoved": false,
            "preserveLocalSnapshot": false,
            "skipped": true,
            "skippedReason": "volumeSnapshot: no applicable volumesnapshotter found;",
            "pvInfo": {"reclaimPolicy": "Retain", "labels": {"disk": "a"}},
        }])
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_the_bucket_has_already_is_refused_and_nothing_is_touched() {
    let testbed = Testbed::shared().await.unwrap();
    let _logs = testbed.logs_on_panic();
    let bench = Bench::new(testbed).await.unwrap();
    let folder = bench.folder_of("taken");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("velero-backup.json"), "{}").unwrap();
    std::fs::write(folder.join("taken.tar.gz"), "precious").unwrap();
    let backup = bench.prepare("taken", json!({})).await.unwrap();
    let error = backup::run(bench.run_of(&backup)).await.unwrap_err();
    assert_eq!(error.to_string(), "backup already exists in object storage");
    assert_eq!(std::fs::read_to_string(folder.join("taken.tar.gz")).unwrap(), "precious");
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_backup_leaves_nothing() {
    let testbed = Testbed::shared().await.unwrap();
    let _logs = testbed.logs_on_panic();
    let bench = Bench::new(testbed).await.unwrap();
    let backup = bench.prepare("cancelled", json!({})).await.unwrap();
    let run = bench.run_of(&backup);
    run.cancel.cancel();
    assert!(matches!(backup::run(run).await, Err(Error::Cancelled)));
    let left = std::fs::read_dir(bench.folder_of("cancelled")).map(Iterator::count).unwrap_or_default();
    assert_eq!(left, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn progress_ends_with_everything_done() {
    let testbed = Testbed::shared().await.unwrap();
    let _logs = testbed.logs_on_panic();
    let namespace = testbed.namespace("progress").await.unwrap();
    let bench = Bench::new(testbed).await.unwrap();
    let backup = bench.prepare("progress", json!({"includedNamespaces": [namespace]})).await.unwrap();
    let run = bench.run_of(&backup);
    let progress = run.progress.subscribe();
    let outcome = backup::run(run).await.unwrap();
    assert_eq!(
        *progress.borrow(),
        Progress { total: outcome.items, done: outcome.items, ..Progress::default() }
    );
    assert!(outcome.items > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_follows_the_format_that_the_daemon_was_told() {
    let testbed = Testbed::shared().await.unwrap();
    let _logs = testbed.logs_on_panic();
    let namespace = testbed.namespace("format").await.unwrap();
    let mut bench = Bench::new(testbed).await.unwrap();
    let spec = json!({"includedNamespaces": [namespace], "orderedResources": {"configmaps": format!("{namespace}/no")}});
    let text = bench.run("text", spec.clone()).await.unwrap().text("logs.gz").unwrap();
    assert!(text.lines().all(|line| line.starts_with("time=\"")), "{text}");
    assert!(text.contains(" level=warning msg=\"Cannot find resource "), "{text}");
    bench.options = RunOptions { log_format: LogFormat::Json, ..RunOptions::default() };
    let text = bench.run("json", spec).await.unwrap().text("logs.gz").unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(lines.iter().all(|line| line["backup"] == "velero/json" && line["time"].is_string()), "{text}");
    let warnings: Vec<&Value> = lines.iter().filter(|line| line["level"] == "warning").collect();
    let expected = format!("Cannot find resource '{namespace}/no'.");
    assert_eq!(warnings.iter().map(|line| &line["msg"]).collect::<Vec<_>>(), [&json!(expected)]);
}
