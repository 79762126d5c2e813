//! From a BackupStorageLocation to an open bucket.
//!
//! Takes a location, reads the Secrets it names (from the daemon's own namespace, whatever the location says) and gives
//! a store. A store that was opened for the same content is used again; new credentials are in force at the next use.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use holdfast_policy::velero;
use k8s_openapi::api::core::v1::{Secret, SecretKeySelector};
use kube::{Api, Client};
use sha2::{Digest, Sha256};

pub use crate::causes::with_causes as reason;
use crate::store::{self, BackupStore, Layer, LocationSettings, SettingsError};

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("only one of caCert and caCertRef may be set")]
    TwoCertificates,
    #[error("caCert is not text in PEM format")]
    CertificateNotText,
    #[error("cannot read Secret {name}")]
    ReadSecret { name: String, source: Box<kube::Error> },
    #[error("Secret {name} does not exist")]
    NoSecret { name: String },
    #[error("Secret {name} has no key {key}")]
    NoKey { name: String, key: String },
    #[error("cannot read the location's settings")]
    Encode(#[source] serde_json::Error),
    #[error(transparent)]
    Settings(#[from] SettingsError),
    #[error(transparent)]
    Open(#[from] store::Error),
}

/// Opens locations; clones share what they have opened.
#[derive(Clone)]
pub struct Stores {
    secrets: Api<Secret>,
    opened: Arc<Mutex<HashMap<String, Opened>>>,
    layer: Option<Layer>,
}

struct Opened {
    content: [u8; 32],
    store: BackupStore,
}

impl Stores {
    pub fn new(client: &Client, namespace: &str) -> Self {
        Stores { secrets: Api::namespaced(client.clone(), namespace), opened: Arc::default(), layer: None }
    }

    /// Opens every bucket through this layer from now on.
    pub fn through(self, layer: Layer) -> Self {
        Stores { layer: Some(layer), ..self }
    }

    pub async fn open(&self, location: &velero::BackupStorageLocation) -> Result<BackupStore, Error> {
        let name = location.metadata.name.clone().unwrap_or_default();
        let storage = &location.spec.object_storage;
        let credentials = match &location.spec.credential {
            Some(selector) => Some(self.secret(selector).await?),
            None => None,
        };
        let certificate = match (&storage.ca_cert, &storage.ca_cert_ref) {
            (Some(_), Some(_)) => return Err(Error::TwoCertificates),
            (Some(inline), None) => Some(inline.0.clone()),
            (None, Some(selector)) => Some(self.secret(selector).await?),
            (None, None) => None,
        };
        let content = fingerprint(location, credentials.as_deref(), certificate.as_deref())?;
        if let Some(store) = self.opened_for(&name, content) {
            return Ok(store);
        }
        let certificate =
            certificate.map(String::from_utf8).transpose().map_err(|_| Error::CertificateNotText)?;
        let settings = LocationSettings::parse(&name, &location.spec, credentials, certificate)?;
        let store = BackupStore::open(&settings).await?;
        let store = match &self.layer {
            Some(layer) => store.through(layer),
            None => store,
        };
        let opened = Opened { content, store: store.clone() };
        self.opened.lock().unwrap_or_else(PoisonError::into_inner).insert(name, opened);
        Ok(store)
    }

    fn opened_for(&self, name: &str, content: [u8; 32]) -> Option<BackupStore> {
        let opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        opened.get(name).filter(|opened| opened.content == content).map(|opened| opened.store.clone())
    }

    async fn secret(&self, selector: &SecretKeySelector) -> Result<Vec<u8>, Error> {
        let name = &selector.name;
        let secret = self
            .secrets
            .get_opt(name)
            .await
            .map_err(|source| Error::ReadSecret { name: name.clone(), source: Box::new(source) })?
            .ok_or_else(|| Error::NoSecret { name: name.clone() })?;
        let value = secret.data.and_then(|mut data| data.remove(&selector.key));
        Ok(value.ok_or_else(|| Error::NoKey { name: name.clone(), key: selector.key.clone() })?.0)
    }
}

/// What a store depends on, so that a change of any of it opens another.
fn fingerprint(
    location: &velero::BackupStorageLocation,
    credentials: Option<&[u8]>,
    certificate: Option<&[u8]>,
) -> Result<[u8; 32], Error> {
    let mut hash = Sha256::new();
    let spec = serde_json::to_vec(&location.spec).map_err(Error::Encode)?;
    for part in [Some(spec.as_slice()), credentials, certificate] {
        let length = part.map_or(u64::MAX, |part| part.len() as u64);
        hash.update(length.to_be_bytes());
        hash.update(part.unwrap_or_default());
    }
    Ok(hash.finalize().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_of_credentials_or_settings_is_another_store() {
        let location = velero::BackupStorageLocation::default();
        let mut other = location.clone();
        other.spec.config.insert("region".to_owned(), "eu-central-1".to_owned());
        let base = fingerprint(&location, Some(b"a"), None).unwrap();
        assert_eq!(base, fingerprint(&location, Some(b"a"), None).unwrap());
        assert_ne!(base, fingerprint(&location, Some(b"b"), None).unwrap());
        assert_ne!(base, fingerprint(&location, None, Some(b"a")).unwrap());
        assert_ne!(base, fingerprint(&other, Some(b"a"), None).unwrap());
    }
}
