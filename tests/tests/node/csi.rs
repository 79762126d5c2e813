//! CSI snapshots: what a pod wrote before the backup is read by a pod after the restore, and the driver passes the checks
//! that CSI's own makers have for one.

use std::process::Command;

use holdfast_policy::velero::{
    Backup, BackupPhase, DeleteBackupRequest, DeleteBackupRequestSpec, RestorePhase,
};
use holdfast_tests::csi::NAME;
use holdfast_tests::{CsiDriver, Daemon, DaemonOptions, Runs, Testbed, csi};
use k8s_openapi::api::core::v1::{Namespace, PersistentVolumeClaim};
use kube::api::{DeleteParams, PostParams};
use kube::{Api, Client};
use pretty_assertions::assert_eq;
use serde_json::{Value, json};

use super::pods::{self, PATIENCE, Scheduler, until};

/// Writes a file and a folder, and changes nothing any more.
const WRITE: &str =
    "mkdir -p /data/wal && echo rows > /data/table && echo changes > /data/wal/0001 && chmod 600 /data/table";
const READ: &str = "cat /data/table /data/wal/0001 && stat -c %a /data/table && ls -A /data";
const WRITTEN: &str = "rows\nchanges\n600\ntable\nwal\n";

/// A pod with a claim `data`.
fn database() -> Value {
    let mut pod = pods::idle("db", &["main"]);
    pod["spec"]["volumes"] = json!([{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}]);
    pod["spec"]["containers"][0]["volumeMounts"] = json!([{"name": "data", "mountPath": "/data"}]);
    pod
}

async fn claim(client: &Client, namespace: &str) {
    let claim: PersistentVolumeClaim = serde_json::from_value(json!({
        "metadata": {"name": "data"},
        "spec": {
            "accessModes": ["ReadWriteOnce"], "storageClassName": NAME,
            "resources": {"requests": {"storage": "1Mi"}},
        },
    }))
    .unwrap();
    let claims = Api::<PersistentVolumeClaim>::namespaced(client.clone(), namespace);
    claims.create(&PostParams::default(), &claim).await.unwrap();
}

pub(super) async fn what_a_pod_wrote_is_read_from_a_snapshot_in_the_same_and_in_another_namespace() {
    // Of its own: snapshots are served in the whole cluster.
    let testbed = Testbed::start_with_node().await.unwrap();
    let _logs = testbed.logs_on_panic();
    let driver = CsiDriver::start().unwrap();
    let _member = driver.join(&testbed).await.unwrap();
    let client = testbed.client().unwrap();
    let home = testbed.namespace("snapshots").await.unwrap();
    let runs = Runs::in_namespace(client.clone(), &home).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let options = DaemonOptions { namespace: home.clone(), ..DaemonOptions::default() };
    let _daemon = Daemon::start(&testbed, options).await.unwrap();
    runs.local_location("default", folder.path(), "bucket").await.unwrap();

    let shop = testbed.namespace("shop").await.unwrap();
    claim(&client, &shop).await;
    pods::run(&client, &shop, database()).await;
    pods::shell(&client, &shop, "db", "main", WRITE).await;
    assert_eq!(pods::shell(&client, &shop, "db", "main", READ).await, WRITTEN);
    let spec = serde_json::from_value(json!({"includedNamespaces": [shop]})).unwrap();
    let backup = runs.backup("one", spec, PATIENCE).await.unwrap();
    assert_eq!(backup.status_phase(), BackupPhase::Completed, "{:?}", backup.status);
    assert_eq!(backup.status.csi_volume_snapshots_completed, 1);
    pods::shell(&client, &shop, "db", "main", "rm -r /data/table /data/wal").await;

    let other = format!("{shop}-2");
    let scheduler = Scheduler::start(&client, &other);
    let spec = json!({"backupName": "one", "namespaceMapping": {&shop: other}});
    let restore = runs.restore("other", serde_json::from_value(spec).unwrap(), PATIENCE).await.unwrap();
    assert_eq!(restore.status_phase(), RestorePhase::Completed, "{:?}", restore.status);
    pods::wait_for(&client, &other, "db", pods::is_ready).await;
    assert_eq!(pods::shell(&client, &other, "db", "main", READ).await, WRITTEN);
    drop(scheduler);

    let namespaces: Api<Namespace> = Api::all(client.clone());
    namespaces.delete(&shop, &DeleteParams::default()).await.unwrap();
    until(async || namespaces.get_opt(&shop).await.unwrap().is_none()).await;
    until(async || driver.volumes().len() == 1).await;
    let _scheduler = Scheduler::start(&client, &shop);
    let spec = json!({"backupName": "one"});
    let restore = runs.restore("same", serde_json::from_value(spec).unwrap(), PATIENCE).await.unwrap();
    assert_eq!(restore.status_phase(), RestorePhase::Completed, "{:?}", restore.status);
    pods::wait_for(&client, &shop, "db", pods::is_ready).await;
    assert_eq!(pods::shell(&client, &shop, "db", "main", READ).await, WRITTEN);

    let spec = DeleteBackupRequestSpec { backup_name: "one".to_owned() };
    runs.create(&DeleteBackupRequest::new("one-deletion", spec)).await.unwrap();
    until(async || runs.api::<Backup>().get_opt("one").await.unwrap().is_none()).await;
    until(async || driver.snapshots().is_empty()).await;
}

pub(super) async fn the_driver_passes_the_checks_of_csi() {
    let program = csi::sanity_program().await.unwrap();
    let driver = CsiDriver::start().unwrap();
    let socket = driver.socket("sanity", None).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let output = Command::new(program)
        .arg(format!("--csi.endpoint={}", socket.display()))
        .arg(format!("--csi.mountdir={}", path("mount")))
        .arg(format!("--csi.stagingdir={}", path("staging")))
        .arg("--ginkgo.no-color")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    assert!(said.contains("0 Failed"), "{said}");
    assert_eq!(driver.snapshots(), []);
    assert_eq!(driver.volumes(), Vec::<String>::new());
}
