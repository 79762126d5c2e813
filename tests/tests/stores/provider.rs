//! A fresh bucket of each provider, on servers that the tests of this process share.

use std::sync::{Arc, Mutex};

use anyhow::Context;
use holdfast::store::{BackupStore, Layer, LocationSettings};
use holdfast_policy::velero::{BackupStorageLocationSpec, ObjectStorageLocation};
use holdfast_tests::azure::{ACCOUNT, AzureServer};
use holdfast_tests::gcs::GcsServer;
use holdfast_tests::s3::{REGION, S3Server};
use object_store::ObjectStore;
use tempfile::TempDir;
use tokio::sync::OnceCell;

static S3: OnceCell<S3Server> = OnceCell::const_new();
static AZURE: OnceCell<AzureServer> = OnceCell::const_new();
static GCS: OnceCell<GcsServer> = OnceCell::const_new();

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Provider {
    Local,
    Aws,
    Azure,
    Gcp,
}

impl Provider {
    pub(crate) const ALL: [Self; 4] = [Self::Local, Self::Aws, Self::Azure, Self::Gcp];
    /// Those with a server.
    pub(crate) const SERVICES: [Self; 3] = [Self::Aws, Self::Azure, Self::Gcp];
}

/// A location's spec and the content of the Secret that it needs.
#[derive(Clone)]
pub(crate) struct Bucket {
    pub(crate) provider: Provider,
    pub(crate) spec: BackupStorageLocationSpec,
    pub(crate) secret: Option<String>,
    /// Where a service listens.
    pub(crate) port: Option<u16>,
    /// Held so that the folder stays.
    folder: Option<Arc<TempDir>>,
}

/// A bucket as the daemon's own code has it open, and the provider's client below that.
pub(crate) struct Open {
    pub(crate) store: BackupStore,
    pub(crate) raw: Arc<dyn ObjectStore>,
    pub(crate) prefix: object_store::path::Path,
}

impl Bucket {
    /// An empty one of a name that nobody else has.
    pub(crate) async fn new(provider: Provider) -> anyhow::Result<Bucket> {
        holdfast_tests::testbed::install_crypto_provider();
        let name = format!("b{}", uuid::Uuid::new_v4().simple());
        let mut bucket = Bucket {
            provider,
            spec: BackupStorageLocationSpec {
                object_storage: ObjectStorageLocation {
                    bucket: name.clone(),
                    ..ObjectStorageLocation::default()
                },
                default: true,
                ..BackupStorageLocationSpec::default()
            },
            secret: None,
            port: None,
            folder: None,
        };
        match provider {
            Provider::Local => {
                let folder = tempfile::tempdir().context("making a folder for buckets")?;
                std::fs::create_dir(folder.path().join(&name)).context("making a bucket")?;
                bucket.provider("local", &[("path", &folder.path().display().to_string())]);
                bucket.folder = Some(Arc::new(folder));
            }
            Provider::Aws => {
                let server = S3.get_or_try_init(S3Server::start).await?;
                server.create_bucket(&name).await?;
                let (_, port) = server.endpoint().rsplit_once(':').context("an endpoint with a port")?;
                bucket.port = Some(port.parse().context("a port")?);
                bucket.secret = Some(aws_secret(server.access_key(), server.secret_key()));
                bucket.provider("aws", &[("s3ForcePathStyle", "true"), ("region", REGION)]);
            }
            Provider::Azure => {
                let server = AZURE.get_or_try_init(AzureServer::start).await?;
                server.create_container(&name).await?;
                bucket.port = Some(server.port());
                bucket.secret = Some(azure_secret(server.key()));
                let account = [("storageAccount", ACCOUNT), ("storageAccountKeyEnvVar", "AZURE_STORAGE_KEY")];
                bucket.provider("azure", &account);
            }
            Provider::Gcp => {
                let server = GCS.get_or_try_init(GcsServer::start).await?;
                server.create_bucket(&name).await?;
                bucket.port = Some(server.port());
                bucket.secret = Some(server.service_account().to_owned());
                bucket.provider("gcp", &[]);
            }
        }
        if let Some(port) = bucket.port {
            bucket = bucket.at(port);
        }
        Ok(bucket)
    }

    /// The same bucket, at another port.
    pub(crate) fn at(mut self, port: u16) -> Bucket {
        let (key, path) = match self.provider {
            Provider::Local => return self,
            Provider::Aws => ("s3Url", String::new()),
            Provider::Azure => ("storageAccountURI", format!("/{ACCOUNT}")),
            Provider::Gcp => ("storeEndpoint", String::new()),
        };
        self.spec.config.insert(key.to_owned(), format!("http://127.0.0.1:{port}{path}"));
        self
    }

    pub(crate) fn with_prefix(mut self, prefix: &str) -> Bucket {
        self.spec.object_storage.prefix = Some(prefix.to_owned());
        self
    }

    pub(crate) fn name(&self) -> &str {
        &self.spec.object_storage.bucket
    }

    pub(crate) async fn open(&self) -> anyhow::Result<Open> {
        let secret = self.secret.clone().map(String::into_bytes);
        let settings = LocationSettings::parse("default", &self.spec, secret, None)?;
        let prefix = settings.prefix().clone();
        let below: Arc<Mutex<Option<Arc<dyn ObjectStore>>>> = Arc::default();
        let seen = below.clone();
        let layer: Layer = Arc::new(move |inner| {
            seen.lock().expect("nobody panics with this lock").get_or_insert(inner.clone());
            inner
        });
        let store = BackupStore::open(&settings).await?.through(&layer);
        let raw = below.lock().expect("nobody panics with this lock").clone();
        Ok(Open { store, raw: raw.context("the layer was not used")?, prefix })
    }

    fn provider(&mut self, name: &str, config: &[(&str, &str)]) {
        self.spec.provider = name.to_owned();
        self.spec.config =
            config.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    }
}

impl Open {
    pub(crate) fn path(&self, key: &str) -> object_store::path::Path {
        object_store::path::Path::parse(format!("{}/{key}", self.prefix)).expect("a key of a test")
    }
}

pub(crate) fn aws_secret(id: &str, secret: &str) -> String {
    format!("[default]\naws_access_key_id = {id}\naws_secret_access_key = {secret}\n")
}

pub(crate) fn azure_secret(key: &str) -> String {
    format!("AZURE_CLOUD_NAME=AzurePublicCloud\nAZURE_STORAGE_KEY=\"{key}\"\n")
}
