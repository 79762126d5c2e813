//! A daemon of one's own in a cluster with the tests' CSI driver, and claims whose volumes the driver has made. Pods there are
//! none: what a volume holds is read and written behind the driver.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use holdfast_policy::velero::{Backup, BackupSpec};
use holdfast_tests::csi::{Member, NAME};
use holdfast_tests::{CsiDriver, Daemon, DaemonOptions, Runs, Testbed, waiting};
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};
use kube::api::{DynamicObject, ListParams, PostParams};
use kube::core::{ApiResource, GroupVersionKind};
use kube::{Api, Client, ResourceExt};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::OnceCell;

/// How long anything may take that is over in seconds on a quiet machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(150);

/// The storage of all tests of this process, and its part in the first cluster.
static STORAGE: OnceCell<(CsiDriver, Member)> = OnceCell::const_new();
static SECOND: OnceCell<Member> = OnceCell::const_new();

pub(crate) struct Place {
    pub(crate) testbed: &'static Testbed,
    pub(crate) driver: &'static CsiDriver,
    pub(crate) client: Client,
    /// The daemon's namespace.
    pub(crate) home: String,
    pub(crate) runs: Runs,
    folder: TempDir,
}

/// A claim that is bound.
#[derive(Clone)]
pub(crate) struct Bound {
    /// Name of the PersistentVolume.
    pub(crate) volume: String,
    /// The driver's id.
    pub(crate) id: String,
    pub(crate) folder: PathBuf,
}

impl Place {
    pub(crate) async fn new() -> anyhow::Result<Place> {
        let testbed = Testbed::shared().await?;
        Place::in_cluster(testbed, storage().await?).await
    }

    /// In a second cluster with the same storage.
    pub(crate) async fn in_second_cluster() -> anyhow::Result<Place> {
        let driver = storage().await?;
        let testbed = Testbed::shared_second().await?;
        SECOND.get_or_try_init(|| driver.join(testbed)).await?;
        Place::in_cluster(testbed, driver).await
    }

    async fn in_cluster(testbed: &'static Testbed, driver: &'static CsiDriver) -> anyhow::Result<Place> {
        let client = testbed.client()?;
        let home = testbed.namespace("home").await?;
        let runs = Runs::in_namespace(client.clone(), &home).await?;
        Ok(Place { testbed, driver, client, home, runs, folder: tempfile::tempdir()? })
    }

    /// With a location `default`.
    pub(crate) async fn daemon(&self) -> anyhow::Result<Daemon> {
        self.daemon_with(&[]).await
    }

    /// With further arguments.
    pub(crate) async fn daemon_with(&self, arguments: &[&str]) -> anyhow::Result<Daemon> {
        let mut options = DaemonOptions { namespace: self.home.clone(), ..DaemonOptions::default() };
        options.arguments.extend(arguments.iter().map(|argument| (*argument).to_owned()));
        let daemon = Daemon::start(self.testbed, options).await?;
        if !self.bucket().exists() {
            self.runs.local_location("default", self.folder.path(), "bucket").await?;
        }
        Ok(daemon)
    }

    pub(crate) async fn bare_daemon(&self) -> anyhow::Result<Daemon> {
        let options = DaemonOptions { namespace: self.home.clone(), ..DaemonOptions::default() };
        Daemon::start(self.testbed, options).await
    }

    pub(crate) fn bucket(&self) -> PathBuf {
        self.folder.path().join("bucket")
    }

    /// A claim whose volume the driver makes, and which holds a file `table` with its own name.
    pub(crate) async fn claim(&self, namespace: &str, name: &str) -> anyhow::Result<Bound> {
        self.labelled_claim(namespace, name, json!({"app": "db"})).await
    }

    pub(crate) async fn labelled_claim(
        &self,
        namespace: &str,
        name: &str,
        labels: Value,
    ) -> anyhow::Result<Bound> {
        let claim: PersistentVolumeClaim = serde_json::from_value(json!({
            "metadata": {"name": name, "labels": labels},
            "spec": {
                "accessModes": ["ReadWriteOnce"], "storageClassName": NAME,
                "resources": {"requests": {"storage": "1Mi"}},
            },
        }))?;
        let claims = Api::<PersistentVolumeClaim>::namespaced(self.client.clone(), namespace);
        claims.create(&PostParams::default(), &claim).await?;
        let bound = self.bound(namespace, name).await?;
        fs::write(bound.folder.join("table"), name)?;
        Ok(bound)
    }

    /// Waits until the claim has its volume.
    pub(crate) async fn bound(&self, namespace: &str, name: &str) -> anyhow::Result<Bound> {
        let claims = Api::<PersistentVolumeClaim>::namespaced(self.client.clone(), namespace);
        let bound = async || {
            let claim = claims.get_opt(name).await?;
            let phase = claim.as_ref().and_then(|claim| claim.status.as_ref()?.phase.clone());
            let volume = claim.and_then(|claim| claim.spec?.volume_name);
            Ok(volume.filter(|_| phase.as_deref() == Some("Bound")))
        };
        let volume = waiting::until(&format!("a volume for {namespace}/{name}"), PATIENCE, bound).await?;
        let object = Api::<PersistentVolume>::all(self.client.clone()).get(&volume).await?;
        let id = object.spec.and_then(|spec| spec.csi).map(|source| source.volume_handle).unwrap_or_default();
        let folder = self.driver.volume_folder(&id);
        Ok(Bound { volume, id, folder })
    }

    pub(crate) async fn claims(&self, namespace: &str) -> anyhow::Result<Vec<String>> {
        let claims = Api::<PersistentVolumeClaim>::namespaced(self.client.clone(), namespace);
        Ok(claims.list(&ListParams::default()).await?.items.iter().map(ResourceExt::name_any).collect())
    }

    pub(crate) async fn back_up(&self, name: &str, spec: Value) -> anyhow::Result<Backup> {
        let spec: BackupSpec = serde_json::from_value(spec)?;
        self.runs.backup(name, spec, PATIENCE).await
    }

    /// What a file of the bucket holds, unpacked.
    pub(crate) fn stored(&self, folder: &str, file: &str) -> anyhow::Result<Value> {
        let path = self.bucket().join(folder).join(file);
        let packed = flate2::read::GzDecoder::new(fs::File::open(path)?);
        Ok(serde_json::from_reader(packed)?)
    }

    /// Writes such a file.
    pub(crate) fn store(&self, folder: &str, file: &str, content: &Value) -> anyhow::Result<()> {
        let path = self.bucket().join(folder).join(file);
        let mut packed = flate2::write::GzEncoder::new(fs::File::create(path)?, flate2::Compression::fast());
        serde_json::to_writer(&mut packed, content)?;
        packed.finish()?;
        Ok(())
    }

    /// The objects of a backup's archive by their plain paths.
    pub(crate) fn archive(&self, backup: &str) -> anyhow::Result<BTreeMap<String, Value>> {
        let path = self.bucket().join("backups").join(backup).join(format!("{backup}.tar.gz"));
        let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(fs::File::open(path)?));
        let mut objects = BTreeMap::new();
        for entry in archive.entries()? {
            let entry = entry?;
            let path = entry.path()?.display().to_string();
            let Some(plain) =
                path.strip_prefix("resources/").filter(|path| !path.contains("-preferredversion"))
            else {
                continue;
            };
            objects.insert(plain.to_owned(), serde_json::from_reader(entry)?);
        }
        Ok(objects)
    }

    /// Names of the VolumeSnapshots of a namespace.
    pub(crate) async fn snapshots(&self, namespace: &str) -> anyhow::Result<Vec<String>> {
        let resource = resource("VolumeSnapshot");
        let snapshots = Api::<DynamicObject>::namespaced_with(self.client.clone(), namespace, &resource);
        let found = snapshots.list(&ListParams::default()).await?;
        Ok(found.items.iter().map(ResourceExt::name_any).collect())
    }

    /// Names of the VolumeSnapshotContents that stand for a handle.
    pub(crate) async fn contents(&self, handle: &str) -> anyhow::Result<Vec<String>> {
        let contents =
            Api::<DynamicObject>::all_with(self.client.clone(), &resource("VolumeSnapshotContent"));
        let found = contents.list(&ListParams::default()).await?;
        let of_handle = |content: &&DynamicObject| {
            content.data.pointer("/status/snapshotHandle").and_then(Value::as_str) == Some(handle)
        };
        Ok(found.items.iter().filter(of_handle).map(ResourceExt::name_any).collect())
    }

    /// Handles of the storage's snapshots of a volume.
    pub(crate) fn handles(&self, volume: &Bound) -> Vec<String> {
        let of_volume = self.driver.snapshots().into_iter().filter(|snapshot| snapshot.source == volume.id);
        of_volume.map(|snapshot| snapshot.id).collect()
    }

    /// Waits until the storage has none of a volume, and the cluster no object of one.
    pub(crate) async fn nothing_left(&self, namespace: &str, volume: &Bound) -> anyhow::Result<()> {
        let nothing = async || {
            let is_clean = self.handles(volume).is_empty() && self.snapshots(namespace).await?.is_empty();
            Ok(is_clean.then_some(()))
        };
        waiting::until("the snapshots to go", PATIENCE, nothing).await
    }

    /// Waits until no object of a snapshot is in the cluster.
    pub(crate) async fn released(&self, namespace: &str, handle: &str) -> anyhow::Result<()> {
        let released = async || {
            let gone = self.snapshots(namespace).await?.is_empty() && self.contents(handle).await?.is_empty();
            Ok(gone.then_some(()))
        };
        waiting::until("the objects of the snapshot to go", PATIENCE, released).await
    }
}

async fn storage() -> anyhow::Result<&'static CsiDriver> {
    let start = async || {
        let driver = CsiDriver::start()?;
        let member = driver.join(Testbed::shared().await?).await?;
        anyhow::Ok((driver, member))
    };
    Ok(&STORAGE.get_or_try_init(start).await?.0)
}

pub(crate) fn resource(kind: &str) -> ApiResource {
    let plural = format!("{}s", kind.to_lowercase());
    ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk("snapshot.storage.k8s.io", "v1", kind), &plural)
}

/// What a volume's file `table` holds.
pub(crate) fn table(folder: &Path) -> anyhow::Result<String> {
    Ok(fs::read_to_string(folder.join("table"))?)
}
