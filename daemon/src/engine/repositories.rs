//! The repositories of volume data as the cluster knows them: one BackupRepository for each namespace and location.
//!
//! In: a namespace whose volumes are to be kept, and the store of a location. Out: a repository that is there. Only the
//! leader makes repositories and deletes data in them; node agents open what was made.

use std::sync::Arc;

use holdfast_policy::duration::GoDuration;
use holdfast_policy::time::from_chrono;
use holdfast_policy::velero;
use holdfast_policy::velero::{
    BackupRepository, BackupRepositoryPhase, BackupRepositorySpec, UploaderType, labels,
};
use kube::api::{ListParams, ObjectMeta, Patch, PatchParams, PostParams};
use kube::{Api, Client, ResourceExt};
use serde_json::json;
use tokio::sync::Mutex;

use crate::causes::with_causes;
use crate::clock::Clock;
use crate::cluster::patience::{until_admitted, until_answered};
use crate::cluster::write::FIELD_MANAGER;
use crate::engine::node_agents::DataPath;
use crate::repository::{self, Password, Repository};
use crate::store::{self, BackupStore};

mod identifier;
pub mod pruning;
pub mod secret;

pub use pruning::Pruned;

use secret::{Made, SecretError};

/// As Velero tidies up repositories of this format.
const MAINTENANCE_EVERY: GoDuration = GoDuration::from_secs(7 * 24 * 3600);

/// Which repository.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    pub volume_namespace: String,
    /// Name of the BackupStorageLocation.
    pub location: String,
}

/// Handle on all of them; clones share what keeps two from making the same one.
#[derive(Clone)]
pub struct Repositories {
    client: Client,
    namespace: String,
    clock: Clock,
    making: Arc<Mutex<()>>,
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot {verb} BackupRepository {name}")]
    Api { verb: &'static str, name: String, source: Box<kube::Error> },
    #[error("there are {count} BackupRepositories of namespace {namespace} in location {location}")]
    Several { count: usize, namespace: String, location: String },
    #[error(
        "Velero has made no kopia repository for volumes of namespace {namespace} in location {location}, and Holdfast makes none"
    )]
    NotVeleros { namespace: String, location: String },
    #[error("cannot read BackupStorageLocation {name}")]
    Location { name: String, source: Box<kube::Error> },
    #[error(transparent)]
    Password(#[from] SecretError),
    #[error(transparent)]
    Store(#[from] store::Error),
    #[error(transparent)]
    Repository(#[from] repository::Error),
}

impl Key {
    fn name(&self) -> String {
        format!("{}-{}-restic", self.volume_namespace, self.location)
    }

    fn labels(&self, format: UploaderType) -> [(&'static str, String); 3] {
        [
            (labels::VOLUME_NAMESPACE, labels::short_name(&self.volume_namespace)),
            (labels::STORAGE_LOCATION, labels::short_name(&self.location)),
            (labels::REPOSITORY_TYPE, format.as_str().to_owned()),
        ]
    }
}

impl Repositories {
    pub fn new(client: Client, namespace: &str, clock: Clock) -> Self {
        Self { client, namespace: namespace.to_owned(), clock, making: Arc::default() }
    }

    /// Returns when the repository can be written to by whoever moves the data.
    pub async fn ready(&self, key: &Key, store: &BackupStore, data_path: DataPath) -> Result<(), Error> {
        match data_path {
            DataPath::Holdfast => self.ensure(key, store).await.map(drop),
            DataPath::Velero => {
                let found = find_of(&self.client, &self.namespace, key, UploaderType::Kopia).await?;
                let is_ready = |found: BackupRepository| found.status_phase() == BackupRepositoryPhase::Ready;
                if found.is_some_and(is_ready) {
                    return Ok(());
                }
                let Key { volume_namespace: namespace, location } = key.clone();
                Err(Error::NotVeleros { namespace, location })
            }
        }
    }

    /// The repository, which is made where it isn't there.
    pub async fn ensure(&self, key: &Key, store: &BackupStore) -> Result<BackupRepository, Error> {
        let _alone = self.making.lock().await;
        let found = find(&self.client, &self.namespace, key).await?;
        if let Some(found) = &found
            && found.status_phase() == BackupRepositoryPhase::Ready
        {
            return Ok(found.clone());
        }
        let known = match found {
            Some(found) => found,
            None => self.create(key).await?,
        };
        let made = self.make(key, store).await;
        let status = match &made {
            Ok(()) => json!({
                "phase": BackupRepositoryPhase::Ready,
                "message": null,
                "lastMaintenanceTime": from_chrono((self.clock)()),
            }),
            Err(error) => json!({"phase": BackupRepositoryPhase::NotReady, "message": with_causes(error)}),
        };
        let noted = self.patch(&known.name_any(), json!({"status": status})).await;
        made?;
        noted
    }

    /// The repository, whether or not it was made.
    pub async fn open(&self, key: &Key, store: &BackupStore) -> Result<Repository, Error> {
        let password = secret::read_password(&self.client, &self.namespace).await?;
        Ok(Repository::new(store.restic_repository(&key.volume_namespace)?, password))
    }

    async fn make(&self, key: &Key, store: &BackupStore) -> Result<(), Error> {
        let password = password(&self.client, &self.namespace).await?;
        let repository = Repository::new(store.restic_repository(&key.volume_namespace)?, password);
        Ok(repository.create().await?)
    }

    async fn create(&self, key: &Key) -> Result<BackupRepository, Error> {
        let locations: Api<velero::BackupStorageLocation> =
            Api::namespaced(self.client.clone(), &self.namespace);
        let location = until_answered(|| locations.get_opt(&key.location)).await;
        let location = location
            .map_err(|source| Error::Location { name: key.location.clone(), source: Box::new(source) })?;
        let object = BackupRepository {
            metadata: ObjectMeta {
                name: Some(key.name()),
                labels: Some(
                    key.labels(UploaderType::Restic).map(|(key, value)| (key.to_owned(), value)).into(),
                ),
                ..ObjectMeta::default()
            },
            spec: BackupRepositorySpec {
                volume_namespace: key.volume_namespace.clone(),
                backup_storage_location: key.location.clone(),
                repository_type: Some(UploaderType::Restic),
                restic_identifier: location
                    .and_then(|location| identifier::of(&location.spec, &key.volume_namespace)),
                maintenance_frequency: MAINTENANCE_EVERY,
                ..BackupRepositorySpec::default()
            },
            ..BackupRepository::default()
        };
        let parameters =
            PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() };
        let api = self.api();
        let created = until_admitted(|| api.create(&parameters, &object)).await;
        created.map_err(failed("create", &key.name()))
    }

    async fn patch(&self, name: &str, patch: serde_json::Value) -> Result<BackupRepository, Error> {
        let parameters =
            PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
        let (api, patch) = (self.api(), Patch::Merge(patch));
        let patched = until_answered(|| api.patch(name, &parameters, &patch)).await;
        patched.map_err(failed("patch", name))
    }

    fn api(&self) -> Api<BackupRepository> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }
}

/// The password of all volume data, which is made where there is none.
pub(in crate::engine) async fn password(client: &Client, namespace: &str) -> Result<Password, SecretError> {
    let (password, made) = secret::ensure_password(client, namespace).await?;
    match made {
        Made::Before => {}
        Made::Now => {
            tracing::warn!(secret = secret::NAME, namespace, "{}", secret::KEEP_A_COPY);
            secret::tell_made(client, namespace).await;
        }
    }
    Ok(password)
}

/// The BackupRepository of restic's format, by its labels.
async fn find(client: &Client, namespace: &str, key: &Key) -> Result<Option<BackupRepository>, Error> {
    find_of(client, namespace, key, UploaderType::Restic).await
}

async fn find_of(
    client: &Client,
    namespace: &str,
    key: &Key,
    format: UploaderType,
) -> Result<Option<BackupRepository>, Error> {
    let api: Api<BackupRepository> = Api::namespaced(client.clone(), namespace);
    let selector = key.labels(format).map(|(key, value)| format!("{key}={value}")).join(",");
    let parameters = ListParams::default().labels(&selector);
    let listed = until_answered(|| api.list(&parameters)).await;
    let mut found = listed.map_err(failed("find", &key.name()))?.items;
    match found.len() {
        0 | 1 => Ok(found.pop()),
        count => Err(Error::Several {
            count,
            namespace: key.volume_namespace.clone(),
            location: key.location.clone(),
        }),
    }
}

fn failed(verb: &'static str, name: &str) -> impl FnOnce(kube::Error) -> Error {
    let name = name.to_owned();
    move |source| Error::Api { verb, name, source: Box::new(source) }
}
