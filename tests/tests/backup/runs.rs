//! Runs backups the way the controller does, and reads back what they leave.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Read;
use std::path::PathBuf;

use anyhow::Context;
use flate2::read::GzDecoder;
use holdfast::archive::{self, Index, Limits};
use holdfast::clock;
use holdfast::cluster::Cluster;
use holdfast::engine::RunOptions;
use holdfast::engine::backup::{
    self, BackupRun, Defaults, Environment, KubernetesVersion, Outcome, PolicySources, Prepared, Progress,
    existing_namespaces,
};
use holdfast::engine::pod_volumes::PodVolumes;
use holdfast::hooks::Turns;
use holdfast::rights::Role;
use holdfast::store::{BackupStore, LocationSettings};
use holdfast_policy::compression::Compression;
use holdfast_policy::velero::{Backup, BackupStorageLocation};
use holdfast_tests::Testbed;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// A cluster to back up and a bucket to put it into.
pub(crate) struct Bench {
    pub(crate) cluster: Cluster,
    pub(crate) store: BackupStore,
    location: BackupStorageLocation,
    folder: tempfile::TempDir,
    /// The namespace of the Backups.
    home: String,
    pub(crate) options: RunOptions,
}

/// A backup that ran.
pub(crate) struct Ran {
    pub(crate) backup: Backup,
    pub(crate) outcome: Outcome,
    folder: PathBuf,
}

impl Bench {
    pub(crate) async fn new(testbed: &Testbed) -> anyhow::Result<Self> {
        Self::at_home_in(testbed, "velero").await
    }

    /// The same, with Backups and what they refer to in this namespace.
    pub(crate) async fn at_home_in(testbed: &Testbed, home: &str) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir().context("making a folder for the bucket")?;
        std::fs::create_dir(folder.path().join("backups")).context("making the bucket")?;
        let location: BackupStorageLocation = serde_json::from_value(json!({
            "metadata": {"name": "default"},
            "spec": {
                "provider": "local",
                "config": {"path": folder.path()},
                "objectStorage": {"bucket": "backups"},
            },
            "status": {"phase": "Available"},
        }))?;
        let settings = LocationSettings::parse("default", &location.spec, None, None)?;
        let store = BackupStore::open(&settings).await?;
        let account = testbed.account(home, &[Role::Observe, Role::Backup, Role::Hooks]).await?;
        Ok(Self {
            cluster: Cluster::new(account.client),
            store,
            location,
            folder,
            home: home.to_owned(),
            options: RunOptions::default(),
        })
    }

    /// The Backup as its controller would start it.
    pub(crate) async fn prepare(&self, name: &str, spec: Value) -> anyhow::Result<Backup> {
        let backup = json!({"metadata": {"name": name, "namespace": self.home}, "spec": spec});
        let backup = serde_json::from_value(backup).context("reading the Backup")?;
        let policies = PolicySources::read(&self.cluster, &backup, None).await?;
        let environment = Environment {
            snapshot_locations: &[],
            locations: std::slice::from_ref(&self.location),
            namespaces: &existing_namespaces(&self.cluster).await?,
            kubernetes: &KubernetesVersion::default(),
            defaults: &Defaults::default(),
            policies: &policies,
        };
        match backup::prepare(&backup, environment, clock::system()()) {
            Prepared::Ready(backup) => Ok(backup),
            Prepared::Invalid(backup) => anyhow::bail!("invalid: {:?}", backup.status.validation_errors),
        }
    }

    pub(crate) fn run_of(&self, backup: &Backup) -> BackupRun {
        BackupRun {
            backup: backup.clone(),
            cluster: self.cluster.clone(),
            store: self.store.clone(),
            clock: clock::system(),
            progress: watch::Sender::new(Progress::default()),
            cancel: CancellationToken::new(),
            turns: Turns::default(),
            options: self.options,
            pod_volumes: PodVolumes::usual(self.cluster.client(), &self.home, &clock::system()),
        }
    }

    pub(crate) async fn run(&self, name: &str, spec: Value) -> anyhow::Result<Ran> {
        let backup = self.prepare(name, spec).await?;
        // Spawned as the controller spawns it, so that the run has to be one that can move between threads.
        let outcome = tokio::spawn(backup::run(self.run_of(&backup))).await.context("running")??;
        Ok(self.ran(backup, outcome))
    }

    /// What a run left that was started by hand.
    pub(crate) fn ran(&self, backup: Backup, outcome: Outcome) -> Ran {
        let folder = self.folder_of(backup.metadata.name.as_deref().unwrap_or_default());
        Ran { backup, outcome, folder }
    }

    pub(crate) fn folder_of(&self, backup: &str) -> PathBuf {
        self.folder.path().join("backups/backups").join(backup)
    }
}

impl Ran {
    pub(crate) fn name(&self) -> &str {
        self.backup.metadata.name.as_deref().unwrap_or_default()
    }

    /// `GROUP-RESOURCE NAMESPACE/NAME` and `GROUP-RESOURCE NAME`, in the archive's order.
    pub(crate) fn items(&self) -> anyhow::Result<Vec<String>> {
        Ok(self.index()?.items.iter().map(ToString::to_string).collect())
    }

    pub(crate) fn index(&self) -> anyhow::Result<Index> {
        let path = self.folder.join(format!("{}.tar.gz", self.name()));
        let file = File::open(&path).with_context(|| format!("opening {}", path.display()))?;
        let index = archive::index(file, Compression::Gzip, tempfile::tempfile()?, Limits::default())?;
        anyhow::ensure!(index.problems.is_empty(), "{:?}", index.problems);
        Ok(index)
    }

    /// Every JSON entry of the archive with its object, by its name.
    pub(crate) fn entries(&self) -> anyhow::Result<BTreeMap<String, Value>> {
        let path = self.folder.join(format!("{}.tar.gz", self.name()));
        let file = File::open(&path).with_context(|| format!("opening {}", path.display()))?;
        let mut entries = BTreeMap::new();
        for entry in tar::Archive::new(GzDecoder::new(file)).entries()? {
            let mut entry = entry?;
            let name = String::from_utf8(entry.path_bytes().into_owned())?;
            if name.ends_with(".json") {
                let mut text = Vec::new();
                entry.read_to_end(&mut text).context("reading an entry")?;
                entries.insert(name, serde_json::from_slice(&text)?);
            }
        }
        Ok(entries)
    }

    pub(crate) fn files(&self) -> anyhow::Result<BTreeSet<String>> {
        let entries = std::fs::read_dir(&self.folder).context("reading the backup's folder")?;
        entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
    }

    /// One of the gzipped files, by what follows the backup's name.
    pub(crate) fn text(&self, suffix: &str) -> anyhow::Result<String> {
        let path = self.folder.join(format!("{}-{suffix}", self.name()));
        let file = File::open(&path).with_context(|| format!("opening {}", path.display()))?;
        let mut text = String::new();
        GzDecoder::new(file).read_to_string(&mut text).context("unpacking")?;
        Ok(text)
    }

    pub(crate) fn json(&self, suffix: &str) -> anyhow::Result<Value> {
        serde_json::from_str(&self.text(suffix)?).with_context(|| format!("parsing {suffix}"))
    }
}
