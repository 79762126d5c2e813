//! The folder of one repository of volume data: objects by their key, as the repository's own format names them. What
//! they mean is left to `crate::repository`.

use std::ops::Range;

use bytes::Bytes;
use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{ObjectStoreExt, PutMode, PutOptions, PutPayload};

use super::error::is_absent;
use super::layout::check_name;
use super::{BackupStore, Error};

/// Where Velero has its repositories of this format, too.
const RESTIC: &str = "restic";

/// The restic repository of one namespace's volumes.
#[derive(Debug, Clone)]
pub struct RepositoryFolder {
    store: BackupStore,
    key: String,
}

impl BackupStore {
    /// Whether there is a repository isn't asked.
    pub fn restic_repository(&self, volume_namespace: &str) -> Result<RepositoryFolder, Error> {
        check_name(volume_namespace)?;
        Ok(RepositoryFolder { store: self.clone(), key: format!("{RESTIC}/{volume_namespace}") })
    }
}

impl RepositoryFolder {
    /// Below the location's prefix.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// Name, without folders, and size of everything below a folder.
    pub async fn list(&self, folder: &str) -> Result<Vec<(String, u64)>, Error> {
        self.store.connection.ensure_present()?;
        let (key, path) = self.path(folder)?;
        let named = |object: object_store::ObjectMeta| {
            object.location.filename().map(|name| (name.to_owned(), object.size))
        };
        let listed = self.store.connection.data.list(Some(&path)).map_ok(named);
        let listed: Result<Vec<_>, _> = listed.try_collect().await;
        match listed {
            Ok(objects) => Ok(objects.into_iter().flatten().collect()),
            Err(error) if is_absent(&error) => Ok(Vec::new()),
            Err(error) => Err(Error::List { folder: key, source: error.into() }),
        }
    }

    /// How large an object is, if it is there.
    pub async fn size(&self, name: &str) -> Result<Option<u64>, Error> {
        self.store.connection.ensure_present()?;
        let (key, path) = self.path(name)?;
        match self.store.connection.data.get(&path).await {
            Ok(found) => Ok(Some(found.meta.size)),
            Err(error) if is_absent(&error) => Ok(None),
            Err(error) => Err(Error::Read { key, source: error.into() }),
        }
    }

    pub async fn get(&self, name: &str) -> Result<Bytes, Error> {
        self.store.connection.ensure_present()?;
        let (key, path) = self.path(name)?;
        let found = match self.store.connection.data.get(&path).await {
            Ok(found) => found.bytes().await,
            Err(error) => Err(error),
        };
        found.map_err(|error| Error::Read { key, source: error.into() })
    }

    pub async fn get_range(&self, name: &str, range: Range<u64>) -> Result<Bytes, Error> {
        self.store.connection.ensure_present()?;
        let (key, path) = self.path(name)?;
        let found = self.store.connection.data.get_range(&path, range).await;
        found.map_err(|error| Error::Read { key, source: error.into() })
    }

    /// Names are hashes of contents, so writing one again changes nothing.
    pub async fn put(&self, name: &str, content: PutPayload) -> Result<(), Error> {
        self.store.connection.ensure_present()?;
        let (key, path) = self.path(name)?;
        let options = PutOptions {
            mode: PutMode::Overwrite,
            tags: self.store.connection.tags.clone(),
            ..PutOptions::default()
        };
        let written = self.store.connection.data.put_opts(&path, content, options).await;
        written.map(drop).map_err(|error| Error::Write { key, source: error.into() })
    }

    pub async fn delete(&self, name: &str) -> Result<(), Error> {
        let (key, _) = self.path(name)?;
        self.store.delete(&key).await
    }

    /// Removes the repository with all that is in it.
    pub async fn delete_all(&self) -> Result<(), Error> {
        self.store.delete_folder(&self.key).await
    }

    fn path(&self, name: &str) -> Result<(String, Path), Error> {
        let key = format!("{}/{name}", self.key);
        let path = self.store.path(&key)?;
        Ok((key, path))
    }
}
