//! The API-server calls that the engines need, made fast: discovery, paged LIST as raw bytes, GET, and the
//! writes of a restore. Which objects are wanted, and what to make of a failure, is left to the engines.

use bytes::Bytes;

mod discovery;
mod item;
mod list;
pub mod patience;
mod request;
mod resource;
mod split;
pub mod write;

pub use discovery::{Discovery, FailedGroup, version_priority};
pub use item::Item;
pub use list::{ListScope, PAGE_SIZE, Pages};
pub use request::Error;
pub use resource::Resource;

/// One cluster's API server; clones share its connections.
#[derive(Clone)]
pub struct Cluster {
    client: kube::Client,
}

impl Cluster {
    pub fn new(client: kube::Client) -> Self {
        Self { client }
    }

    pub fn client(&self) -> &kube::Client {
        &self.client
    }

    /// Everything the API server serves at this moment; nothing is remembered from an earlier call.
    pub async fn discover(&self) -> Result<Discovery, Error> {
        discovery::discover(&self.client).await
    }

    /// Starts to read a list; pages are read ahead while the caller works on the ones before.
    pub fn list(&self, resource: &Resource, scope: ListScope) -> Pages {
        Pages::start(self.client.clone(), resource.clone(), scope)
    }

    /// One object, or None where it (or its kind) does not exist.
    pub async fn get(
        &self,
        resource: &Resource,
        namespace: Option<&str>,
        name: &str,
    ) -> Result<Option<Item>, Error> {
        let path = resource.path(namespace, Some(name));
        let answer = match request::fetch(&self.client, &path, request::JSON).await {
            Ok(answer) => answer,
            Err(error) if error.is_not_found() => return Ok(None),
            Err(error) => return Err(error),
        };
        Item::parse(resource, &answer).map(Some).map_err(|source| Error::Malformed { path, source })
    }

    /// The answer to GET of any path, with the retries that every read has.
    pub async fn read(&self, path: &str) -> Result<Bytes, Error> {
        request::fetch(&self.client, path, request::JSON).await
    }
}
