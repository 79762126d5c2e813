//! The VolumeSnapshotLocations of the daemon's namespace, opened with what their providers need.

use std::collections::BTreeSet;
use std::sync::Arc;

use holdfast_policy::velero::VolumeSnapshotLocation;
use k8s_openapi::api::core::v1::{Node, Secret, SecretKeySelector};
use kube::api::ListParams;
use kube::{Api, Client, ResourceExt};

use crate::cluster::patience::until_answered;
use crate::engine::repositories::{self, secret};
use crate::snapshotters::{self, Needs, Opening, VolumeSnapshotter};

/// Handle on all of them.
#[derive(Clone)]
pub struct SnapshotLocations {
    client: Client,
    namespace: String,
}

/// What a location is opened for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// A first snapshot may need a password that is not there yet.
    Take,
    /// What was made with a password can't be read with another one.
    RestoreOrDelete,
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot read {what}")]
    Api { what: String, source: Box<kube::Error> },
    #[error("VolumeSnapshotLocation {name} does not exist")]
    Absent { name: String },
    #[error("Secret {name}, which VolumeSnapshotLocation {location} names, does not exist")]
    NoSecret { name: String, location: String },
    #[error("Secret {name}, which VolumeSnapshotLocation {location} names, has no key {key:?}")]
    NoKey { name: String, key: String, location: String },
    #[error(transparent)]
    Password(#[from] secret::SecretError),
    #[error("VolumeSnapshotLocation {name} can't be used")]
    Provider { name: String, source: snapshotters::Error },
}

impl SnapshotLocations {
    pub fn new(client: &Client, namespace: &str) -> Self {
        Self { client: client.clone(), namespace: namespace.to_owned() }
    }

    pub async fn list(&self) -> Result<Vec<VolumeSnapshotLocation>, Error> {
        let (api, parameters) = (self.api(), ListParams::default());
        let listed = until_answered(|| api.list(&parameters)).await;
        Ok(listed.map_err(failed("the VolumeSnapshotLocations"))?.items)
    }

    /// Names of the locations whose snapshots can be read here, as far as their settings tell.
    pub async fn usable(&self) -> Result<BTreeSet<String>, Error> {
        let usable =
            |location: &VolumeSnapshotLocation| snapshotters::provider(&location.spec.provider).is_ok();
        let listed = self.list().await?;
        Ok(listed.iter().filter(|location| usable(location)).map(ResourceExt::name_any).collect())
    }

    pub async fn open(&self, name: &str, purpose: Purpose) -> Result<Arc<dyn VolumeSnapshotter>, Error> {
        let api = self.api();
        let found = until_answered(|| api.get_opt(name)).await;
        let found = found.map_err(failed(&format!("VolumeSnapshotLocation {name}")))?;
        let location = found.ok_or_else(|| Error::Absent { name: name.to_owned() })?;
        let refused = |source| Error::Provider { name: name.to_owned(), source };
        let provider = snapshotters::provider(&location.spec.provider).map_err(refused)?;
        let credentials = match &location.spec.credential {
            Some(selector) => Some(self.secret(name, selector).await?),
            None => None,
        };
        let (password, nodes) = match provider.needs {
            Needs::Credentials => (None, BTreeSet::new()),
            Needs::PasswordAndNodes => (Some(self.password(purpose).await?), self.nodes().await?),
        };
        let opening =
            Opening { name: name.to_owned(), config: location.spec.config, credentials, password, nodes };
        provider.open(opening).await.map_err(refused)
    }

    async fn password(&self, purpose: Purpose) -> Result<crate::repository::Password, secret::SecretError> {
        match purpose {
            Purpose::Take => repositories::password(&self.client, &self.namespace).await,
            Purpose::RestoreOrDelete => secret::read_password(&self.client, &self.namespace).await,
        }
    }

    async fn nodes(&self) -> Result<BTreeSet<String>, Error> {
        let (nodes, parameters): (Api<Node>, _) = (Api::all(self.client.clone()), ListParams::default());
        let listed = until_answered(|| nodes.list_metadata(&parameters)).await;
        Ok(listed.map_err(failed("the cluster's nodes"))?.iter().map(ResourceExt::name_any).collect())
    }

    async fn secret(&self, location: &str, selector: &SecretKeySelector) -> Result<Vec<u8>, Error> {
        let SecretKeySelector { name, key, optional: _ } = selector;
        let location = || location.to_owned();
        let secrets: Api<Secret> = Api::namespaced(self.client.clone(), &self.namespace);
        let found = until_answered(|| secrets.get_opt(name)).await;
        let found = found.map_err(failed(&format!("Secret {name}")))?;
        let found = found.ok_or_else(|| Error::NoSecret { name: name.clone(), location: location() })?;
        let value = found.data.and_then(|mut data| data.remove(key));
        let none = || Error::NoKey { name: name.clone(), key: key.clone(), location: location() };
        Ok(value.ok_or_else(none)?.0)
    }

    fn api(&self) -> Api<VolumeSnapshotLocation> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }
}

fn failed(what: &str) -> impl FnOnce(kube::Error) -> Error {
    let what = what.to_owned();
    move |source| Error::Api { what, source: Box::new(source) }
}
