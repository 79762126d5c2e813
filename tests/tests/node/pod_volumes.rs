//! The files of volumes: what a pod wrote before the backup is read by a pod after the restore.

use holdfast_policy::velero::{
    Backup, BackupPhase, DeleteBackupRequest, DeleteBackupRequestSpec, Restore, RestorePhase,
};
use holdfast_tests::{Daemon, DaemonOptions, NodeAgent, NodeAgentOptions, Runs, node};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use kube::Api;
use kube::api::DeleteParams;
use pretty_assertions::assert_eq;
use serde_json::{Value, json};

use super::pods::{self, PATIENCE, Scheduler, until};
use super::shared;

/// Writes a file and a folder, and changes nothing any more.
const WRITE: &str =
    "mkdir -p /data/wal && echo rows > /data/table && echo changes > /data/wal/0001 && chmod 600 /data/table";
const READ: &str = "cat /data/table /data/wal/0001 && stat -c %a /data/table && ls -A /data";
const WRITTEN: &str = "rows\nchanges\n600\ntable\nwal\n";

/// A pod with a volume that opted in.
fn database() -> Value {
    let mut pod = pods::idle("db", &["main"]);
    pod["metadata"]["annotations"] = json!({"backup.velero.io/backup-volumes": "data"});
    pod["spec"]["volumes"] = json!([{"name": "data", "emptyDir": {}}]);
    pod["spec"]["containers"][0]["volumeMounts"] = json!([{"name": "data", "mountPath": "/data"}]);
    pod
}

pub(super) async fn what_a_pod_wrote_is_read_by_a_restored_pod_in_the_same_and_in_another_namespace() {
    let testbed = shared().await;
    let client = testbed.client().unwrap();
    let home = testbed.namespace("files").await.unwrap();
    let runs = Runs::in_namespace(client.clone(), &home).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let options = DaemonOptions { namespace: home.clone(), ..DaemonOptions::default() };
    let _daemon = Daemon::start(testbed, options).await.unwrap();
    runs.local_location("default", folder.path(), "bucket").await.unwrap();
    let helper: ConfigMap = serde_json::from_value(json!({
        "metadata": {"name": "restore-helper", "labels": {
            "velero.io/plugin-config": "", "velero.io/pod-volume-restore": "RestoreItemAction",
        }},
        "data": {"image": node::IMAGE, "command": "/velero-restore-helper", "secCtxRunAsUser": "0"},
    }))
    .unwrap();
    runs.create(&helper).await.unwrap();
    let (pods_directory, beside) = testbed.pods_of_node().unwrap();
    let agent = NodeAgentOptions {
        namespace: home.clone(),
        node: node::NAME.to_owned(),
        pods: pods_directory,
        beside: Some(beside),
    };
    let _agent = NodeAgent::start(testbed, agent).await.unwrap();

    let shop = testbed.namespace("shop").await.unwrap();
    pods::run(&client, &shop, database()).await;
    pods::shell(&client, &shop, "db", "main", WRITE).await;
    assert_eq!(pods::shell(&client, &shop, "db", "main", READ).await, WRITTEN);
    let spec = serde_json::from_value(json!({"includedNamespaces": [shop]})).unwrap();
    let backup = runs.backup("one", spec, PATIENCE).await.unwrap();
    assert_eq!(backup.status_phase(), BackupPhase::Completed, "{:?}", backup.status);

    let other = format!("{shop}-2");
    let _scheduler = Scheduler::start(&client, &other);
    let spec = json!({"backupName": "one", "namespaceMapping": {&shop: other}});
    let restore = runs.restore("other", serde_json::from_value(spec).unwrap(), PATIENCE).await.unwrap();
    assert_eq!(restore.status_phase(), RestorePhase::Completed, "{:?}", restore.status);
    pods::wait_for(&client, &other, "db", pods::is_ready).await;
    assert_eq!(pods::shell(&client, &other, "db", "main", READ).await, WRITTEN);

    let namespaces: Api<Namespace> = Api::all(client.clone());
    namespaces.delete(&shop, &DeleteParams::default()).await.unwrap();
    until(async || namespaces.get_opt(&shop).await.unwrap().is_none()).await;
    let _scheduler = Scheduler::start(&client, &shop);
    let spec = json!({"backupName": "one"});
    let restore = runs.restore("same", serde_json::from_value(spec).unwrap(), PATIENCE).await.unwrap();
    assert_eq!(restore.status_phase(), RestorePhase::Completed, "{:?}", restore.status);
    pods::wait_for(&client, &shop, "db", pods::is_ready).await;
    assert_eq!(pods::shell(&client, &shop, "db", "main", READ).await, WRITTEN);
    assert!(runs.api::<Restore>().get_opt("same").await.unwrap().is_some());

    let spec = DeleteBackupRequestSpec { backup_name: "one".to_owned() };
    runs.create(&DeleteBackupRequest::new("one-deletion", spec)).await.unwrap();
    until(async || runs.api::<Backup>().get_opt("one").await.unwrap().is_none()).await;
    let data = folder.path().join("bucket/restic").join(&shop).join("data");
    let is_empty = || !walk(&data).iter().any(|path| path.is_file());
    until(async || is_empty()).await;
}

fn walk(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let paths = entries.filter_map(Result::ok).map(|entry| entry.path());
    paths.flat_map(|path| if path.is_dir() { walk(&path) } else { vec![path] }).collect()
}
