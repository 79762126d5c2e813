//! One daemon for the tests of this binary, beside the shared node, with a bucket that is a folder.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Read as _;
use std::path::PathBuf;

use flate2::read::GzDecoder;
use holdfast_policy::velero::{Backup, Restore};
use holdfast_tests::{Daemon, DaemonOptions, Runs, Testbed};
use kube::Client;
use serde_json::{Value, json};
use tokio::sync::OnceCell;

use super::pods::PATIENCE;

const NAMESPACE: &str = "velero";

static STANDING: OnceCell<Standing> = OnceCell::const_new();

/// Ends with the process.
struct Standing {
    testbed: &'static Testbed,
    daemon: Daemon,
    folder: tempfile::TempDir,
}

/// What one test uses of it.
pub(super) struct Home {
    pub(super) testbed: &'static Testbed,
    pub(super) client: Client,
    pub(super) runs: Runs,
    standing: &'static Standing,
}

impl Home {
    pub(super) async fn get() -> Home {
        let standing = STANDING.get_or_try_init(Standing::start).await.unwrap();
        let client = standing.testbed.client().unwrap();
        let runs = Runs::in_namespace(client.clone(), NAMESPACE).await.unwrap();
        Home { testbed: standing.testbed, client, runs, standing }
    }

    pub(super) async fn namespace(&self, prefix: &str) -> String {
        self.testbed.namespace(prefix).await.unwrap()
    }

    /// Whether the daemon has logged a line that holds all of these texts.
    pub(super) fn daemon_log_has(&self, texts: &[&str]) -> bool {
        let log = self.standing.daemon.log_text();
        log.lines().any(|line| texts.iter().all(|text| line.contains(text)))
    }

    /// Runs a backup of one namespace with these hooks, under the namespace's name.
    pub(super) async fn back_up(&self, namespace: &str, hooks: Value) -> Backed {
        let spec = json!({
            "includedNamespaces": [namespace],
            "includedResources": ["pods", "persistentvolumeclaims"],
            "hooks": {"resources": hooks},
        });
        let spec = serde_json::from_value(spec).unwrap();
        let backup = self.runs.backup(namespace, spec, PATIENCE).await.unwrap();
        Backed { backup, folder: self.standing.folder.path().join("bucket/backups").join(namespace) }
    }

    /// Restores what [`Home::back_up`] made of a namespace into another one.
    pub(super) async fn restore(&self, backup: &str, target: &str, hooks: Value) -> Restored {
        let spec = json!({
            "backupName": backup,
            "namespaceMapping": {backup: target},
            "hooks": {"resources": hooks},
        });
        let spec = serde_json::from_value(spec).unwrap();
        let restore = self.runs.restore(target, spec, PATIENCE).await.unwrap();
        Restored { restore, folder: self.standing.folder.path().join("bucket/restores").join(target) }
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = self.standing.daemon.log_text();
            let tail: Vec<&str> = log.lines().rev().take(30).collect();
            for line in tail.iter().rev() {
                eprintln!("{line}");
            }
            eprintln!("{}", self.testbed.log_tails());
        }
    }
}

impl Standing {
    async fn start() -> anyhow::Result<Standing> {
        let testbed = Testbed::shared_with_node().await?;
        let runs = Runs::in_namespace(testbed.client()?, NAMESPACE).await?;
        let daemon = Daemon::start(testbed, DaemonOptions::default()).await?;
        let folder = tempfile::tempdir()?;
        runs.local_location("default", folder.path(), "bucket").await?;
        Ok(Standing { testbed, daemon, folder })
    }
}

/// A backup that has ended.
pub(super) struct Backed {
    pub(super) backup: Backup,
    folder: PathBuf,
}

/// A restore that has ended.
pub(super) struct Restored {
    pub(super) restore: Restore,
    folder: PathBuf,
}

impl Backed {
    /// `KIND NAME` of what is in the archive.
    pub(super) fn items(&self) -> BTreeSet<String> {
        let name = self.backup.metadata.name.as_deref().unwrap();
        let file = File::open(self.folder.join(format!("{name}.tar.gz"))).unwrap();
        let mut archive = tar::Archive::new(GzDecoder::new(file));
        let entries = archive.entries().unwrap().map(|entry| {
            let path = entry.unwrap().path().unwrap().to_string_lossy().into_owned();
            let parts: Vec<&str> = path.split('/').collect();
            match parts.as_slice() {
                ["resources", kind, "namespaces", _, file] => {
                    Some(format!("{kind} {}", file.trim_end_matches(".json")))
                }
                _ => None,
            }
        });
        entries.flatten().collect()
    }

    pub(super) fn log(&self) -> String {
        unzip(&self.folder, self.backup.metadata.name.as_deref().unwrap(), "logs")
    }

    pub(super) fn results(&self) -> Value {
        let text = unzip(&self.folder, self.backup.metadata.name.as_deref().unwrap(), "results");
        serde_json::from_str(&text).unwrap()
    }

    pub(super) fn resource_list(&self) -> Value {
        let text = unzip(&self.folder, self.backup.metadata.name.as_deref().unwrap(), "resource-list");
        serde_json::from_str(&text).unwrap()
    }

    /// Phase, hooks attempted, hooks failed, errors.
    pub(super) fn end(&self) -> (&'static str, i64, i64, i64) {
        let status = &self.backup.status;
        let hooks = status.hook_status.unwrap();
        (self.backup.status_phase().as_str(), hooks.hooks_attempted, hooks.hooks_failed, status.errors)
    }
}

impl Restored {
    pub(super) fn log(&self) -> String {
        unzip(&self.folder, &format!("restore-{}", self.restore.metadata.name.as_deref().unwrap()), "logs")
    }

    pub(super) fn results(&self) -> Value {
        let name = format!("restore-{}", self.restore.metadata.name.as_deref().unwrap());
        serde_json::from_str(&unzip(&self.folder, &name, "results")).unwrap()
    }

    /// Phase, hooks attempted, hooks failed, errors.
    pub(super) fn end(&self) -> (&'static str, i64, i64, i64) {
        let status = &self.restore.status;
        let hooks = status.hook_status.unwrap();
        (self.restore.status_phase().as_str(), hooks.hooks_attempted, hooks.hooks_failed, status.errors)
    }
}

fn unzip(folder: &std::path::Path, name: &str, what: &str) -> String {
    let path = [format!("{name}-{what}.json.gz"), format!("{name}-{what}.gz")]
        .into_iter()
        .map(|file| folder.join(file))
        .find(|path| path.exists())
        .unwrap();
    let mut text = String::new();
    GzDecoder::new(File::open(path).unwrap()).read_to_string(&mut text).unwrap();
    text
}
