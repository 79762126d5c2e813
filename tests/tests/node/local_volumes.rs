//! Volumes that are folders of the node: what a pod wrote before the backup is read by a pod after the restore.

use std::fs;

use holdfast_policy::velero::{
    BackupPhase, RestorePhase, VolumeSnapshotLocation, VolumeSnapshotLocationSpec,
};
use holdfast_tests::{Daemon, DaemonOptions, Runs};
use k8s_openapi::api::core::v1::{Namespace, PersistentVolume};
use kube::Api;
use kube::api::DeleteParams;
use pretty_assertions::assert_eq;
use serde_json::json;

use super::pods::{self, PATIENCE, Scheduler, until};
use super::shared;

const WRITE: &str = "mkdir -p /data/wal && echo rows > /data/table && echo changes > /data/wal/0001 && chown -R 999:999 /data && chmod 700 /data";
const READ: &str = "cat /data/table /data/wal/0001 && stat -c '%a %u' /data";
const WRITTEN: &str = "rows\nchanges\n700 999\n";

pub(super) async fn what_a_pod_wrote_to_the_node_is_read_by_a_restored_pod_in_the_same_and_in_another_namespace()
 {
    let testbed = shared().await;
    let client = testbed.client().unwrap();
    let home = testbed.namespace("copies").await.unwrap();
    let runs = Runs::in_namespace(client.clone(), &home).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let options = DaemonOptions { namespace: home.clone(), ..DaemonOptions::default() };
    let _daemon = Daemon::start(testbed, options).await.unwrap();
    runs.local_location("default", folder.path(), "bucket").await.unwrap();
    let copies = folder.path().join("copies");
    fs::create_dir(&copies).unwrap();
    let spec = VolumeSnapshotLocationSpec {
        provider: "local".to_owned(),
        config: [("path".to_owned(), copies.display().to_string())].into(),
        ..VolumeSnapshotLocationSpec::default()
    };
    runs.create(&VolumeSnapshotLocation::new("copies", spec)).await.unwrap();

    let shop = testbed.namespace("shop").await.unwrap();
    let data = folder.path().join("data");
    fs::create_dir(&data).unwrap();
    pods::shared_volume(&client, &shop, "data", &data).await;
    let mut pod = pods::idle("db", &["main"]);
    pod["spec"]["volumes"] = json!([{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}]);
    pod["spec"]["containers"][0]["volumeMounts"] = json!([{"name": "data", "mountPath": "/data"}]);
    pods::run(&client, &shop, pod).await;
    pods::shell(&client, &shop, "db", "main", WRITE).await;
    assert_eq!(pods::shell(&client, &shop, "db", "main", READ).await, WRITTEN);

    let spec = serde_json::from_value(json!({"includedNamespaces": [shop]})).unwrap();
    let backup = runs.backup("one", spec, PATIENCE).await.unwrap();
    assert_eq!(backup.status_phase(), BackupPhase::Completed, "{:?}", backup.status);
    assert_eq!(backup.status.volume_snapshots_completed, 1);

    let other = format!("{shop}-2");
    let _scheduler = Scheduler::start(&client, &other);
    let spec = json!({"backupName": "one", "namespaceMapping": {&shop: other}});
    let restore = runs.restore("other", serde_json::from_value(spec).unwrap(), PATIENCE).await.unwrap();
    assert_eq!(restore.status_phase(), RestorePhase::Completed, "{:?}", restore.status);
    pods::wait_for(&client, &other, "db", pods::is_ready).await;
    assert_eq!(pods::shell(&client, &other, "db", "main", READ).await, WRITTEN);

    let namespaces: Api<Namespace> = Api::all(client.clone());
    let volumes: Api<PersistentVolume> = Api::all(client.clone());
    namespaces.delete(&shop, &DeleteParams::default()).await.unwrap();
    until(async || namespaces.get_opt(&shop).await.unwrap().is_none()).await;
    let name = format!("vol-{shop}-data");
    volumes.delete(&name, &DeleteParams::default()).await.unwrap();
    until(async || volumes.get_opt(&name).await.unwrap().is_none()).await;
    fs::remove_dir_all(&data).unwrap();
    let _scheduler = Scheduler::start(&client, &shop);
    let spec = json!({"backupName": "one"});
    let restore = runs.restore("same", serde_json::from_value(spec).unwrap(), PATIENCE).await.unwrap();
    assert_eq!(restore.status_phase(), RestorePhase::Completed, "{:?}", restore.status);
    pods::wait_for(&client, &shop, "db", pods::is_ready).await;
    assert_eq!(pods::shell(&client, &shop, "db", "main", READ).await, WRITTEN);
}
