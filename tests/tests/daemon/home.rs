//! A namespace with a daemon of its own, and a folder for its buckets.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use holdfast_policy::velero::{
    Backup, BackupPhase, BackupSpec, BackupStorageLocation, BackupStorageLocationSpec, ObjectStorageLocation,
};
use holdfast_tests::{Daemon, DaemonOptions, Runs, Testbed, waiting};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use kube::api::{ObjectMeta, PostParams};

/// How long anything may take that is over in a second on a quiet machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) const POLL: Duration = Duration::from_millis(50);

pub(crate) struct Home {
    pub(crate) testbed: &'static Testbed,
    pub(crate) namespace: String,
    pub(crate) runs: Runs,
    folder: tempfile::TempDir,
}

impl Home {
    pub(crate) async fn new(prefix: &str) -> anyhow::Result<Home> {
        Home::on(Testbed::shared().await?, prefix).await
    }

    /// In another cluster than [`Home::new`].
    pub(crate) async fn in_second_cluster(prefix: &str) -> anyhow::Result<Home> {
        Home::on(Testbed::shared_second().await?, prefix).await
    }

    async fn on(testbed: &'static Testbed, prefix: &str) -> anyhow::Result<Home> {
        let namespace = testbed.namespace(prefix).await?;
        let runs = Runs::in_namespace(testbed.client()?, &namespace).await?;
        let folder = tempfile::tempdir().context("making a folder for buckets")?;
        Ok(Home { testbed, namespace, runs, folder })
    }

    /// Starts a daemon here, with these arguments beside the usual ones.
    pub(crate) async fn daemon(&self, arguments: &[&str]) -> anyhow::Result<Daemon> {
        let mut options = DaemonOptions { namespace: self.namespace.clone(), ..DaemonOptions::default() };
        options.arguments.extend(arguments.iter().map(|argument| (*argument).to_owned()));
        Daemon::start(self.testbed, options).await
    }

    /// The location `default`, in a bucket that is an empty folder.
    pub(crate) async fn local_location(&self) -> anyhow::Result<()> {
        self.runs.local_location("default", self.folder.path(), "bucket").await
    }

    pub(crate) fn bucket(&self) -> PathBuf {
        self.folder.path().join("bucket")
    }

    /// The location `default` of provider aws at this endpoint, with credentials that are in no Secret yet.
    pub(crate) async fn s3_location(&self, endpoint: &str, bucket: &str) -> anyhow::Result<()> {
        let config = [("s3Url", endpoint), ("s3ForcePathStyle", "true"), ("region", "us-east-1")];
        let spec = BackupStorageLocationSpec {
            provider: "aws".to_owned(),
            config: config.map(|(key, value)| (key.to_owned(), value.to_owned())).into(),
            object_storage: ObjectStorageLocation {
                bucket: bucket.to_owned(),
                ..ObjectStorageLocation::default()
            },
            credential: Some(k8s_openapi::api::core::v1::SecretKeySelector {
                name: "cloud".to_owned(),
                key: "cloud".to_owned(),
                optional: None,
            }),
            default: true,
            ..BackupStorageLocationSpec::default()
        };
        self.runs.create(&BackupStorageLocation::new("default", spec)).await
    }

    /// The Secret that [`Home::s3_location`] names.
    pub(crate) async fn s3_credentials(&self, access_key: &str, secret_key: &str) -> anyhow::Result<()> {
        let text =
            format!("[default]\naws_access_key_id = {access_key}\naws_secret_access_key = {secret_key}\n");
        let secret = k8s_openapi::api::core::v1::Secret {
            metadata: ObjectMeta { name: Some("cloud".to_owned()), ..ObjectMeta::default() },
            string_data: Some(BTreeMap::from([("cloud".to_owned(), text)])),
            ..Default::default()
        };
        self.runs.create(&secret).await
    }

    /// A namespace with a ConfigMap `settings` in it.
    pub(crate) async fn application(&self, prefix: &str) -> anyhow::Result<String> {
        let namespace = self.testbed.namespace(prefix).await?;
        let settings = ConfigMap {
            metadata: ObjectMeta { name: Some("settings".to_owned()), ..ObjectMeta::default() },
            data: Some(BTreeMap::from([("colour".to_owned(), "green".to_owned())])),
            ..ConfigMap::default()
        };
        self.config_maps(&namespace)?
            .create(&PostParams::default(), &settings)
            .await
            .context("creating the application")?;
        Ok(namespace)
    }

    pub(crate) fn config_maps(&self, namespace: &str) -> anyhow::Result<Api<ConfigMap>> {
        Ok(Api::namespaced(self.testbed.client()?, namespace))
    }

    /// Waits until the location has been checked with this outcome.
    pub(crate) async fn location_is(
        &self,
        phase: holdfast_policy::velero::LocationPhase,
    ) -> anyhow::Result<BackupStorageLocation> {
        self.runs
            .ended("default", PATIENCE, |location: &BackupStorageLocation| {
                location.status.phase == Some(phase)
            })
            .await
    }

    pub(crate) async fn backup_is(&self, name: &str, phase: BackupPhase) -> anyhow::Result<Backup> {
        self.runs.ended(name, PATIENCE, |backup: &Backup| backup.status_phase() == phase).await
    }

    /// Files below the bucket, as paths from there, sorted; without what tells of the bucket itself.
    pub(crate) fn files(&self) -> anyhow::Result<Vec<String>> {
        let mut files = Vec::new();
        let mut folders = vec![self.bucket()];
        while let Some(folder) = folders.pop() {
            for entry in
                std::fs::read_dir(&folder).with_context(|| format!("listing {}", folder.display()))?
            {
                let entry = entry?;
                if entry.file_type()?.is_dir() {
                    folders.push(entry.path());
                } else {
                    files.push(entry.path().strip_prefix(self.bucket())?.display().to_string());
                }
            }
        }
        files.retain(|file| !file.starts_with("metadata/holdfast/"));
        files.sort();
        Ok(files)
    }
}

/// A Backup of one namespace.
pub(crate) fn backup_of(namespace: &str) -> BackupSpec {
    BackupSpec { included_namespaces: vec![namespace.to_owned()], ..BackupSpec::default() }
}

/// Waits until the daemon has logged a line that holds all of these texts.
pub(crate) async fn logged(daemon: &Daemon, texts: &[&str]) -> anyhow::Result<()> {
    waiting::logged(daemon, PATIENCE, texts).await
}
