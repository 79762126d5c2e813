//! The providers: one file each, and the list of them.
//!
//! In: a location's settings. Out: a [`Connection`], which is all that the rest of the store knows of a provider.

pub(super) mod aws;
mod azure;
mod gcp;
mod local;

use std::sync::Arc;
use std::time::Duration;

use object_store::path::Path;
use object_store::signer::Signer;
use object_store::{BackoffConfig, Certificate, ClientOptions, ObjectStore, RetryConfig, TagSet};

use super::settings::{Config, SettingsError};
use super::{Error, Reason};
use local::Folder;

/// One provider: its name in `spec.provider`, the keys it knows in `spec.config`, and what makes settings of them.
pub(super) struct Provider {
    pub(super) name: &'static str,
    pub(super) keys: &'static [&'static str],
    pub(super) parse: Parse,
}

type Parse = fn(&Config<'_>, Option<Vec<u8>>, Option<String>) -> Result<ProviderSettings, SettingsError>;

pub(super) const ALL: [Provider; 4] = [local::PROVIDER, aws::PROVIDER, azure::PROVIDER, gcp::PROVIDER];

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ProviderSettings {
    Local(local::Settings),
    Aws(aws::Settings),
    Azure(azure::Settings),
    Gcp(gcp::Settings),
}

impl ProviderSettings {
    pub(super) async fn connect(&self, bucket: &str) -> Result<Connection, Error> {
        match self {
            Self::Local(settings) => settings.connect(bucket),
            Self::Aws(settings) => settings.connect(bucket).await,
            Self::Azure(settings) => settings.connect(bucket),
            Self::Gcp(settings) => settings.connect(bucket),
        }
    }
}

/// A bucket, ready to be used.
#[derive(Debug, Clone)]
pub(super) struct Connection {
    /// For what must get through: waits out a provider's bad minute.
    pub(super) data: Arc<dyn ObjectStore>,
    /// For what only wants to know: gives up after some seconds.
    pub(super) probe: Arc<dyn ObjectStore>,
    pub(super) signer: Option<Arc<dyn Signer>>,
    /// Size of the parts that an upload is cut into.
    pub(super) part_bytes: usize,
    pub(super) tags: TagSet,
    /// Where the bucket is a folder that may have gone.
    pub(super) folder: Option<Folder>,
}

/// S3 takes no smaller parts, and 10,000 of them: archives up to 50 GB.
const PART_BYTES: usize = 5 * 1024 * 1024;

impl Connection {
    /// A connection to a service, one client for each kind of patience.
    fn to_service<S>(connect: impl Fn(Patience) -> object_store::Result<S>) -> object_store::Result<Self>
    where
        S: ObjectStore + Signer,
    {
        let data = Arc::new(connect(Patience::Data)?);
        let signer: Arc<dyn Signer> = Arc::<S>::clone(&data);
        Ok(Self {
            data,
            probe: Arc::new(connect(Patience::Probe)?),
            signer: Some(signer),
            part_bytes: PART_BYTES,
            tags: TagSet::default(),
            folder: None,
        })
    }

    /// Writing to a folder that is gone would make it anew, where nobody looks for it.
    pub(super) fn ensure_present(&self) -> Result<(), Error> {
        self.folder.as_ref().map_or(Ok(()), Folder::ensure_present)
    }

    /// Objects need no folders but on a disk, where an emptied one stays.
    pub(super) async fn remove_emptied_folder(&self, path: &Path) -> Result<(), Error> {
        match &self.folder {
            Some(folder) => folder.remove(path).await,
            None => Ok(()),
        }
    }
}

/// How long to try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Patience {
    Probe,
    Data,
}

impl Patience {
    fn retries(self) -> RetryConfig {
        let backoff = BackoffConfig::default();
        match self {
            Self::Probe => RetryConfig { backoff, max_retries: 2, retry_timeout: Duration::from_secs(10) },
            Self::Data => RetryConfig { backoff, max_retries: 10, retry_timeout: Duration::from_secs(120) },
        }
    }

    fn client_options(self) -> ClientOptions {
        let options = ClientOptions::new().with_connect_timeout(Duration::from_secs(5));
        match self {
            Self::Probe => options.with_timeout(Duration::from_secs(20)),
            // An archive is read as slowly as its objects are restored, so no time bounds the whole request; a server that
            // says nothing for this long is taken for gone.
            Self::Data => options.with_timeout_disabled().with_read_timeout(Duration::from_secs(120)),
        }
    }
}

/// Which servers are believed to be who they say.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Trust {
    System { extra_pem: Option<String> },
    Anyone,
}

impl Trust {
    fn parse(ca: Option<String>, skip_verification: bool) -> Result<Self, SettingsError> {
        if let Some(pem) = &ca {
            let certificates = Certificate::from_pem_bundle(pem.as_bytes());
            if certificates.map_or(0, |certificates| certificates.len()) == 0 {
                return Err(SettingsError::CaCertificate);
            }
        }
        Ok(if skip_verification { Self::Anyone } else { Self::System { extra_pem: ca } })
    }

    /// `endpoint` is the address of the server, where it isn't the provider's own.
    fn apply(&self, options: ClientOptions, endpoint: Option<&str>) -> object_store::Result<ClientOptions> {
        if endpoint.is_some_and(|url| url.starts_with("http://")) {
            // Nothing to verify, and no reason to fail where the system has no certificates.
            return Ok(options.with_allow_http(true).with_no_system_certificates(true));
        }
        match self {
            Self::Anyone => Ok(options.with_allow_invalid_certificates(true)),
            Self::System { extra_pem: None } => Ok(options),
            Self::System { extra_pem: Some(pem) } => {
                let certificates = Certificate::from_pem_bundle(pem.as_bytes())?;
                Ok(certificates.into_iter().fold(options, ClientOptions::with_root_certificate))
            }
        }
    }
}

fn failed(bucket: &str) -> impl Fn(object_store::Error) -> Error {
    move |error| Error::Connect { bucket: bucket.to_owned(), source: Reason::from(error) }
}
