//! A daemon on a real API server, and volumes that are folders of the test.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use holdfast_policy::velero::{
    Backup, BackupSpec, DeleteBackupRequest, DeleteBackupRequestSpec, Restore, VolumeSnapshotLocation,
    VolumeSnapshotLocationSpec,
};
use holdfast_tests::{Daemon, DaemonOptions, Runs, Testbed, waiting};
use k8s_openapi::api::core::v1::{Namespace, PersistentVolume, PersistentVolumeClaim};
use kube::api::{DeleteParams, PostParams};
use kube::{Api, Client};
use serde_json::{Value, json};
use tempfile::TempDir;

/// How long anything may take that is over in seconds on a quiet machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

pub(crate) struct Cluster {
    pub(crate) testbed: &'static Testbed,
    pub(crate) client: Client,
    pub(crate) home: String,
    pub(crate) runs: Runs,
    folder: TempDir,
}

impl Cluster {
    pub(crate) async fn new() -> anyhow::Result<Cluster> {
        let testbed = Testbed::shared().await?;
        let client = testbed.client()?;
        let home = testbed.namespace("home").await?;
        let runs = Runs::in_namespace(client.clone(), &home).await?;
        Ok(Cluster { testbed, client, home, runs, folder: tempfile::tempdir()? })
    }

    /// With a location `default`.
    pub(crate) async fn daemon(&self) -> anyhow::Result<Daemon> {
        self.daemon_with(Vec::new()).await
    }

    /// With a location `default`, and variables in its environment.
    pub(crate) async fn daemon_with(
        &self,
        environment: Vec<(&'static str, String)>,
    ) -> anyhow::Result<Daemon> {
        let options = DaemonOptions { namespace: self.home.clone(), environment, ..DaemonOptions::default() };
        let daemon = Daemon::start(self.testbed, options).await?;
        self.runs.local_location("default", self.folder.path(), "bucket").await?;
        Ok(daemon)
    }

    pub(crate) fn bucket(&self) -> PathBuf {
        self.folder.path().join("bucket")
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) async fn snapshot_location(
        &self,
        name: &str,
        provider: &str,
        config: &[(&str, &str)],
    ) -> anyhow::Result<()> {
        let config = config.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        let spec = VolumeSnapshotLocationSpec {
            provider: provider.to_owned(),
            config: config.collect(),
            ..VolumeSnapshotLocationSpec::default()
        };
        self.runs.create(&VolumeSnapshotLocation::new(name, spec)).await
    }

    /// Copies of volumes in the folder that is given back.
    pub(crate) async fn local_copies(&self) -> anyhow::Result<PathBuf> {
        let path = self.path("copies");
        fs::create_dir(&path)?;
        self.snapshot_location("copies", "local", &[("path", &path.display().to_string())]).await?;
        Ok(path.join("restic/local.volumes"))
    }

    /// A claim `data` bound to a volume that keeps its storage when it goes. Gives its name.
    pub(crate) async fn volume(&self, namespace: &str, source: Value) -> anyhow::Result<String> {
        let name = format!("vol-{namespace}");
        let mut spec = json!({
            "accessModes": ["ReadWriteOnce"], "capacity": {"storage": "1Gi"}, "storageClassName": "",
            "persistentVolumeReclaimPolicy": "Retain",
            "claimRef": {"namespace": namespace, "name": "data"},
        });
        let source = source.as_object().cloned().unwrap_or_default();
        spec.as_object_mut().into_iter().for_each(|spec| spec.extend(source.clone()));
        let volume: PersistentVolume =
            serde_json::from_value(json!({"metadata": {"name": name}, "spec": spec}))?;
        self.volumes().create(&PostParams::default(), &volume).await?;
        let claim: PersistentVolumeClaim = serde_json::from_value(json!({
            "metadata": {"name": "data"},
            "spec": {
                "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}},
                "storageClassName": "", "volumeName": name,
            },
        }))?;
        let claims: Api<PersistentVolumeClaim> = Api::namespaced(self.client.clone(), namespace);
        claims.create(&PostParams::default(), &claim).await?;
        self.bound(namespace).await?;
        Ok(name)
    }

    /// The volume that the claim `data` of a namespace gets.
    pub(crate) async fn bound(&self, namespace: &str) -> anyhow::Result<PersistentVolume> {
        let claims: Api<PersistentVolumeClaim> = Api::namespaced(self.client.clone(), namespace);
        let look = async || {
            let claim = claims.get("data").await?;
            let is_bound = claim.status.is_some_and(|status| status.phase.as_deref() == Some("Bound"));
            Ok(claim.spec.and_then(|spec| spec.volume_name).filter(|_| is_bound))
        };
        let name = waiting::until("a bound claim", PATIENCE, look).await?;
        Ok(self.volumes().get(&name).await?)
    }

    pub(crate) fn volumes(&self) -> Api<PersistentVolume> {
        Api::all(self.client.clone())
    }

    pub(crate) async fn back_up(&self, name: &str, namespace: &str) -> anyhow::Result<Backup> {
        let spec = BackupSpec { included_namespaces: vec![namespace.to_owned()], ..BackupSpec::default() };
        self.runs.backup(name, spec, PATIENCE).await
    }

    pub(crate) async fn restore(&self, name: &str, spec: Value) -> anyhow::Result<Restore> {
        self.runs.restore(name, serde_json::from_value(spec)?, PATIENCE).await
    }

    /// The namespace and its volume, gone.
    pub(crate) async fn lose(&self, namespace: &str, volume: &str) -> anyhow::Result<()> {
        let namespaces: Api<Namespace> = Api::all(self.client.clone());
        namespaces.delete(namespace, &DeleteParams::default()).await?;
        let look = async || Ok(namespaces.get_opt(namespace).await?.is_none().then_some(()));
        waiting::until("the end of the namespace", PATIENCE, look).await?;
        self.volumes().delete(volume, &DeleteParams::default()).await?;
        let look = async || Ok(self.volumes().get_opt(volume).await?.is_none().then_some(()));
        waiting::until("the end of the volume", PATIENCE, look).await
    }

    /// Returns when the backup and its request are gone.
    pub(crate) async fn delete_backup(&self, name: &str) -> anyhow::Result<()> {
        let spec = DeleteBackupRequestSpec { backup_name: name.to_owned() };
        let request = format!("{name}-deletion");
        self.runs.create(&DeleteBackupRequest::new(&request, spec)).await?;
        let backups = self.runs.api::<Backup>();
        let look = async || Ok(backups.get_opt(name).await?.is_none().then_some(()));
        waiting::until("the end of the backup", PATIENCE, look).await
    }

    /// Asks for a deletion that can't be carried out, and gives its errors.
    pub(crate) async fn deletion_fails(&self, name: &str) -> anyhow::Result<String> {
        let spec = DeleteBackupRequestSpec { backup_name: name.to_owned() };
        let request = format!("{name}-deletion");
        self.runs.create(&DeleteBackupRequest::new(&request, spec)).await?;
        let failed = |request: &DeleteBackupRequest| !request.status.errors.is_empty();
        let request = self.runs.ended(&request, PATIENCE, failed).await?;
        Ok(request.status.errors.join("\n"))
    }

    /// What a file of a backup holds, unpacked.
    pub(crate) fn stored(&self, backup: &str, file: &str) -> anyhow::Result<Value> {
        let path = self.bucket().join("backups").join(backup).join(format!("{backup}-{file}.json.gz"));
        Ok(serde_json::from_reader(GzDecoder::new(fs::File::open(path)?))?)
    }

    /// What a restore tells of volumes.
    pub(crate) fn restored(&self, restore: &str) -> anyhow::Result<Value> {
        let path = self.bucket().join("restores").join(restore).join(format!("{restore}-volumeinfo.json.gz"));
        Ok(serde_json::from_reader(GzDecoder::new(fs::File::open(path)?))?)
    }

    /// Paths in the archive of a backup.
    pub(crate) fn archived(&self, backup: &str) -> anyhow::Result<Vec<String>> {
        let path = self.bucket().join("backups").join(backup).join(format!("{backup}.tar.gz"));
        let mut archive = tar::Archive::new(GzDecoder::new(fs::File::open(path)?));
        archive.entries()?.map(|entry| Ok(entry?.path()?.display().to_string())).collect()
    }

    pub(crate) fn store(&self, backup: &str, file: &str, content: &Value) -> anyhow::Result<()> {
        let path = self.bucket().join("backups").join(backup).join(format!("{backup}-{file}.json.gz"));
        let mut packed = GzEncoder::new(fs::File::create(path)?, Compression::default());
        serde_json::to_writer(&mut packed, content)?;
        packed.finish()?;
        Ok(())
    }

    /// The messages of a backup's or restore's results that are errors.
    pub(crate) fn errors(&self, folder: &str, file: &str) -> anyhow::Result<String> {
        let path = self.bucket().join(folder).join(file);
        let results: Value = serde_json::from_reader(GzDecoder::new(fs::File::open(path)?))?;
        Ok(results["errors"].to_string())
    }
}

/// Contents by path below a folder.
pub(crate) fn files(folder: &Path) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut open = vec![folder.to_owned()];
    while let Some(path) = open.pop() {
        for entry in fs::read_dir(&path).into_iter().flatten().filter_map(Result::ok) {
            let path = entry.path();
            if path.is_dir() {
                open.push(path);
            } else {
                let name = path.strip_prefix(folder).map(|name| name.display().to_string());
                let content = fs::read(&path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
                found.insert(name.unwrap_or_default(), content.unwrap_or_default());
            }
        }
    }
    found
}
