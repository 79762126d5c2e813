//! A namespace with a daemon whose location is a bucket of any provider.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::TryStreamExt;
use holdfast_policy::velero::{
    Backup, BackupPhase, BackupSpec, BackupStorageLocation, DeleteBackupRequest, DeleteBackupRequestSpec,
    LocationPhase, labels, short_name,
};
use holdfast_tests::{Daemon, DaemonOptions, Runs, Testbed, waiting};
use k8s_openapi::api::core::v1::{ConfigMap, Secret, SecretKeySelector};
use kube::api::{ObjectMeta, PostParams};
use kube::{Api, ResourceExt};

use crate::provider::{Bucket, Open};

/// How long anything may take that is over in seconds on a quiet machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

pub(crate) struct Home {
    pub(crate) testbed: &'static Testbed,
    pub(crate) namespace: String,
    pub(crate) runs: Runs,
}

impl Home {
    pub(crate) async fn new(prefix: &str) -> anyhow::Result<Home> {
        let testbed = Testbed::shared().await?;
        let namespace = testbed.namespace(prefix).await?;
        let runs = Runs::in_namespace(testbed.client()?, &namespace).await?;
        Ok(Home { testbed, namespace, runs })
    }

    pub(crate) async fn daemon(&self, arguments: &[&str]) -> anyhow::Result<Daemon> {
        let mut options = DaemonOptions { namespace: self.namespace.clone(), ..DaemonOptions::default() };
        options.arguments.extend(arguments.iter().map(|argument| (*argument).to_owned()));
        Daemon::start(self.testbed, options).await
    }

    /// Makes the location and its Secret, and waits until the bucket was found good.
    pub(crate) async fn location(&self, name: &str, bucket: &Bucket) -> anyhow::Result<()> {
        let mut spec = bucket.spec.clone();
        if let Some(secret) = &bucket.secret {
            let object = Secret {
                metadata: ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() },
                string_data: Some(BTreeMap::from([("cloud".to_owned(), secret.clone())])),
                ..Secret::default()
            };
            self.runs.create(&object).await?;
            spec.credential =
                Some(SecretKeySelector { name: name.to_owned(), key: "cloud".to_owned(), optional: None });
        }
        self.runs.create(&BackupStorageLocation::new(name, spec)).await?;
        let is_available =
            |location: &BackupStorageLocation| location.status.phase == Some(LocationPhase::Available);
        self.runs.ended(name, PATIENCE, is_available).await?;
        Ok(())
    }

    /// A namespace with a ConfigMap `settings` in it.
    pub(crate) async fn application(&self) -> anyhow::Result<(String, Api<ConfigMap>)> {
        let namespace = self.testbed.namespace("app").await?;
        let settings = ConfigMap {
            metadata: ObjectMeta { name: Some("settings".to_owned()), ..ObjectMeta::default() },
            data: Some(BTreeMap::from([("colour".to_owned(), "green".to_owned())])),
            ..ConfigMap::default()
        };
        let api = Api::namespaced(self.testbed.client()?, &namespace);
        api.create(&PostParams::default(), &settings).await?;
        Ok((namespace, api))
    }

    pub(crate) async fn backup_is(&self, name: &str, phase: BackupPhase) -> anyhow::Result<Backup> {
        self.runs.ended(name, PATIENCE, |backup: &Backup| backup.status_phase() == phase).await
    }

    /// A DeleteBackupRequest as the command line makes it.
    pub(crate) async fn ask_for_deletion(&self, backup: &Backup) -> anyhow::Result<()> {
        let name = backup.name_any();
        let metadata = ObjectMeta {
            name: Some(format!("{name}-deletion")),
            labels: Some(BTreeMap::from([
                (labels::BACKUP_NAME.to_owned(), short_name(&name)),
                (labels::BACKUP_UID.to_owned(), backup.uid().unwrap_or_default()),
            ])),
            ..ObjectMeta::default()
        };
        let spec = DeleteBackupRequestSpec { backup_name: name };
        let request = DeleteBackupRequest { metadata, spec, ..DeleteBackupRequest::default() };
        self.runs.create(&request).await
    }

    pub(crate) async fn gone(&self, backup: &str) -> anyhow::Result<()> {
        let backups = self.runs.api::<Backup>();
        let gone = async || Ok(backups.get_opt(backup).await?.is_none().then_some(()));
        waiting::until("the end of the backup", PATIENCE, gone).await
    }
}

/// A Backup of one namespace.
pub(crate) fn backup_of(namespace: &str) -> BackupSpec {
    BackupSpec { included_namespaces: vec![namespace.to_owned()], ..BackupSpec::default() }
}

/// What stands below `backups/` in the bucket, without the folder's name, sorted.
pub(crate) async fn backup_keys(open: &Open) -> anyhow::Result<Vec<String>> {
    let folder = open.path("backups");
    let listed: Vec<_> = open.raw.list(Some(&folder)).try_collect().await?;
    let start = format!("{folder}/");
    let mut keys: Vec<String> =
        listed.iter().map(|object| object.location.to_string().replacen(&start, "", 1)).collect();
    keys.sort();
    Ok(keys)
}

/// The names of all files of one backup.
pub(crate) fn all_keys(name: &str, archive: &str) -> Vec<String> {
    let mut keys: Vec<String> = [
        "-itemoperations.json.gz",
        "-logs.gz",
        "-podvolumebackups.json.gz",
        "-resource-list.json.gz",
        "-results.gz",
        "-volumeinfo.json.gz",
        "-volumesnapshots.json.gz",
        archive,
    ]
    .map(|end| format!("{name}/{name}{end}"))
    .into();
    keys.push(format!("{name}/velero-backup.json"));
    keys.sort();
    keys
}

/// Waits until the daemon has logged a line that holds all of these texts.
pub(crate) async fn logged(daemon: &Daemon, texts: &[&str]) -> anyhow::Result<()> {
    waiting::logged(daemon, PATIENCE, texts).await
}
