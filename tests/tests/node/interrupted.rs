//! The daemon ends in the middle of a hook, and another one goes on with the run.

use holdfast_policy::velero::{Backup, BackupPhase, Restore, RestorePhase};
use holdfast_tests::{Daemon, DaemonOptions, Runs};
use kube::Client;
use pretty_assertions::assert_eq;
use serde_json::{Value, json};

use super::pods::{self, Scheduler, until};
use super::shared;

/// The first time, it waits for ever; the second time it ends well.
const ONCE_FOR_EVER: &str = "echo begun >> /tmp/trace; [ $(wc -l < /tmp/trace) -gt 1 ] || sleep 100000";

/// A namespace with a daemon that may be killed.
struct Own {
    client: Client,
    namespace: String,
    runs: Runs,
    folder: tempfile::TempDir,
}

impl Own {
    async fn new() -> Own {
        let testbed = shared().await;
        let client = testbed.client().unwrap();
        let namespace = testbed.namespace("killed").await.unwrap();
        let runs = Runs::in_namespace(client.clone(), &namespace).await.unwrap();
        Own { client, namespace, runs, folder: tempfile::tempdir().unwrap() }
    }

    async fn daemon(&self) -> Daemon {
        let options = DaemonOptions { namespace: self.namespace.clone(), ..DaemonOptions::default() };
        Daemon::start(shared().await, options).await.unwrap()
    }

    async fn location(&self) {
        self.runs.local_location("default", self.folder.path(), "bucket").await.unwrap();
    }

    async fn back_up(&self, application: &str, name: &str, hooks: Value) {
        let spec = json!({
            "includedNamespaces": [application],
            "includedResources": ["pods"],
            "hooks": {"resources": hooks},
        });
        self.runs.create(&Backup::new(name, serde_json::from_value(spec).unwrap())).await.unwrap();
    }

    async fn backup_is(&self, name: &str, phase: BackupPhase) {
        until(async || self.runs.api::<Backup>().get(name).await.unwrap().status_phase() == phase).await;
    }

    async fn trace(&self, application: &str) -> String {
        pods::shell(&self.client, application, "db", "main", "cat /tmp/trace 2>/dev/null || true").await
    }
}

fn hook() -> Value {
    json!({"exec": {"command": ["sh", "-c", ONCE_FOR_EVER]}})
}

pub(super) async fn a_daemon_killed_in_a_backup_hook_takes_the_backup_up_again() {
    let own = Own::new().await;
    let daemon = own.daemon().await;
    own.location().await;
    let application = shared().await.namespace("killed-app").await.unwrap();
    pods::run(&own.client, &application, pods::idle("db", &["main"])).await;
    let mut slow = hook();
    slow["exec"]["timeout"] = json!("1h");
    own.back_up(&application, "one", json!([{"name": "a", "pre": [slow]}])).await;
    until(async || own.trace(&application).await == "begun\n").await;
    daemon.kill().unwrap();
    let bucket = own.folder.path().join("bucket/backups/one/velero-backup.json");
    assert!(!bucket.exists(), "half a backup looks whole");
    let _daemon = own.daemon().await;
    own.backup_is("one", BackupPhase::Completed).await;
    assert_eq!(own.trace(&application).await, "begun\nbegun\n");
    let hooks = own.runs.api::<Backup>().get("one").await.unwrap().status.hook_status.unwrap();
    assert_eq!((hooks.hooks_attempted, hooks.hooks_failed), (1, 0));
    assert!(bucket.exists());
}

pub(super) async fn a_daemon_killed_in_a_restore_hook_runs_the_hooks_of_its_pods_again() {
    let own = Own::new().await;
    let daemon = own.daemon().await;
    own.location().await;
    let application = shared().await.namespace("killed-app").await.unwrap();
    pods::run(&own.client, &application, pods::idle("db", &["main"])).await;
    own.back_up(&application, "one", json!([])).await;
    own.backup_is("one", BackupPhase::Completed).await;
    let target = format!("{application}-2");
    let _scheduler = Scheduler::start(&own.client, &target);
    let mut slow = hook();
    slow["exec"]["execTimeout"] = json!("1h");
    let spec = json!({
        "backupName": "one",
        "namespaceMapping": {application: target},
        "hooks": {"resources": [{"name": "a", "postHooks": [slow]}]},
    });
    own.runs.create(&Restore::new("back", serde_json::from_value(spec).unwrap())).await.unwrap();
    let there = |pod: &k8s_openapi::api::core::v1::Pod| pods::is_ready(pod);
    until(async || {
        own.runs.api::<Restore>().get("back").await.unwrap().status_phase() == RestorePhase::InProgress
    })
    .await;
    pods::wait_for(&own.client, &target, "db", there).await;
    until(async || own.trace(&target).await == "begun\n").await;
    daemon.kill().unwrap();
    let _daemon = own.daemon().await;
    until(async || {
        own.runs.api::<Restore>().get("back").await.unwrap().status_phase() == RestorePhase::Completed
    })
    .await;
    assert_eq!(own.trace(&target).await, "begun\nbegun\n");
    let hooks = own.runs.api::<Restore>().get("back").await.unwrap().status.hook_status.unwrap();
    assert_eq!((hooks.hooks_attempted, hooks.hooks_failed), (1, 0));
}
