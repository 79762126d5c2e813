//! Backups and restores as a user makes them: a custom resource is created, and the daemon does the rest.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, bail};
use holdfast_policy::velero::{
    Backup, BackupRepository, BackupRepositoryPhase, BackupRepositorySpec, BackupSpec, BackupStorageLocation,
    BackupStorageLocationSpec, ObjectStorageLocation, Restore, RestoreSpec, UploaderType, labels,
};
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::Namespace;
use kube::api::{ObjectMeta, PostParams};
use kube::{Api, Client, Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::time::Instant;

const POLL: Duration = Duration::from_millis(50);

/// The namespace of a daemon.
#[derive(Clone)]
pub struct Runs {
    client: Client,
    namespace: String,
}

impl Runs {
    /// Creates the namespace, unless it is there.
    pub async fn in_namespace(client: Client, namespace: &str) -> anyhow::Result<Runs> {
        let namespaces = Api::<Namespace>::all(client.clone());
        if namespaces.get_opt(namespace).await.context("looking for the daemon's namespace")?.is_none() {
            let metadata = ObjectMeta { name: Some(namespace.to_owned()), ..ObjectMeta::default() };
            let object = Namespace { metadata, ..Namespace::default() };
            namespaces
                .create(&PostParams::default(), &object)
                .await
                .with_context(|| format!("creating namespace {namespace}"))?;
        }
        Ok(Runs { client, namespace: namespace.to_owned() })
    }

    pub fn api<K>(&self) -> Api<K>
    where
        K: Resource<Scope = NamespaceResourceScope>,
        K::DynamicType: Default,
    {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// A location of provider `local`: the bucket is the folder `path/bucket`, which is created.
    pub async fn local_location(&self, name: &str, path: &Path, bucket: &str) -> anyhow::Result<()> {
        std::fs::create_dir_all(path.join(bucket)).context("creating the bucket's folder")?;
        let spec = BackupStorageLocationSpec {
            provider: "local".to_owned(),
            config: BTreeMap::from([("path".to_owned(), path.display().to_string())]),
            object_storage: ObjectStorageLocation {
                bucket: bucket.to_owned(),
                ..ObjectStorageLocation::default()
            },
            default: true,
            ..BackupStorageLocationSpec::default()
        };
        self.create(&BackupStorageLocation::new(name, spec)).await
    }

    /// What Velero's server makes before its node agent moves anything of a namespace into location `default`.
    pub async fn kopia_repository(&self, volume_namespace: &str) -> anyhow::Result<()> {
        let marks = [
            (labels::VOLUME_NAMESPACE, volume_namespace),
            (labels::STORAGE_LOCATION, "default"),
            (labels::REPOSITORY_TYPE, "kopia"),
        ];
        let spec = BackupRepositorySpec {
            volume_namespace: volume_namespace.to_owned(),
            backup_storage_location: "default".to_owned(),
            repository_type: Some(UploaderType::Kopia),
            ..BackupRepositorySpec::default()
        };
        let mut repository = BackupRepository { spec, ..BackupRepository::default() };
        repository.metadata.name = Some(format!("{volume_namespace}-default-kopia"));
        let marks = marks.map(|(label, value)| (label.to_owned(), value.to_owned()));
        repository.metadata.labels = Some(marks.into());
        repository.status.phase = Some(BackupRepositoryPhase::Ready);
        self.create(&repository).await
    }

    /// Creates it and returns it when it has ended, well or not.
    pub async fn backup(&self, name: &str, spec: BackupSpec, patience: Duration) -> anyhow::Result<Backup> {
        self.create(&Backup::new(name, spec)).await?;
        self.ended(name, patience, |backup: &Backup| backup.status_phase().has_ended()).await
    }

    /// Creates it and returns it when it has ended, well or not.
    pub async fn restore(
        &self,
        name: &str,
        spec: RestoreSpec,
        patience: Duration,
    ) -> anyhow::Result<Restore> {
        self.create(&Restore::new(name, spec)).await?;
        self.ended(name, patience, |restore: &Restore| restore.status_phase().has_ended()).await
    }

    /// Makes a backup of the bucket known to the cluster from its `velero-backup.json`.
    pub async fn adopt(&self, bucket: &Path, backup: &str) -> anyhow::Result<()> {
        let path = bucket.join("backups").join(backup).join("velero-backup.json");
        let text = std::fs::read(&path).with_context(|| format!("reading {}", path.display()))?;
        let mut object: Backup =
            serde_json::from_slice(&text).with_context(|| format!("parsing {}", path.display()))?;
        object.metadata = ObjectMeta {
            name: object.metadata.name,
            labels: object.metadata.labels,
            annotations: object.metadata.annotations,
            ..ObjectMeta::default()
        };
        self.create(&object).await
    }

    pub async fn create<K>(&self, object: &K) -> anyhow::Result<()>
    where
        K: Resource<Scope = NamespaceResourceScope> + Clone + std::fmt::Debug + Serialize + DeserializeOwned,
        K::DynamicType: Default,
    {
        let what = || format!("creating {} {}", K::kind(&K::DynamicType::default()), object.name_any());
        self.api::<K>().create(&PostParams::default(), object).await.with_context(what)?;
        Ok(())
    }

    /// Waits until it is there and the condition holds.
    pub async fn ended<K>(
        &self,
        name: &str,
        patience: Duration,
        mut condition: impl FnMut(&K) -> bool,
    ) -> anyhow::Result<K>
    where
        K: Resource<Scope = NamespaceResourceScope> + Clone + std::fmt::Debug + Serialize + DeserializeOwned,
        K::DynamicType: Default,
    {
        let kind = K::kind(&K::DynamicType::default()).into_owned();
        let api = self.api::<K>();
        let deadline = Instant::now() + patience;
        loop {
            let object = api.get_opt(name).await.with_context(|| format!("reading {kind} {name}"))?;
            if let Some(object) = object.as_ref().filter(|object| condition(object)) {
                return Ok(object.clone());
            }
            if Instant::now() > deadline {
                bail!("{kind} {name} has not ended after {patience:?}: {}", serde_json::to_string(&object)?);
            }
            tokio::time::sleep(POLL).await;
        }
    }
}
