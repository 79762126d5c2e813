//! Changing and removing a backup that exists, so that what there is at any moment is known for what it is.

use std::future::ready;
use std::sync::Arc;

use futures::{StreamExt, TryStreamExt};
use holdfast_policy::velero::{Amendment, amend_metadata_json};
use object_store::ObjectStore;
use object_store::path::Path;

use super::error::is_absent;
use super::layout::{BACKUPS, StoredFile, folder};
use super::{BackupStore, Error, LARGEST_BACKUP, Write};

/// Something that every request to a bucket goes through: it may count requests, slow them down or let them fail.
pub type Layer = Arc<dyn Fn(Arc<dyn ObjectStore>) -> Arc<dyn ObjectStore> + Send + Sync>;

/// As many as the largest bulk request takes.
const DELETED_AT_ONCE: usize = 1000;

/// Where deleting a folder failed.
enum Failure {
    InList(object_store::Error),
    AfterList(object_store::Error),
}

impl Failure {
    fn into_error(self) -> object_store::Error {
        match self {
            Self::InList(error) | Self::AfterList(error) => error,
        }
    }
}

impl BackupStore {
    /// The same bucket, seen through a layer.
    pub fn through(mut self, layer: &Layer) -> Self {
        self.connection.data = layer(self.connection.data);
        self.connection.probe = layer(self.connection.probe);
        self
    }

    /// Removes a backup with everything in its folder, `velero-backup.json` last: until then it is what tells of the
    /// others, so it has to say that it is no backup any more. Goes on after a file that can't be removed, keeps
    /// `velero-backup.json` in that case, and gives the first error.
    pub async fn delete_backup_record_last(&self, backup: &str) -> Result<(), Error> {
        let key = StoredFile::Backup { backup: backup.to_owned() }.key()?;
        let record = self.path(&key)?;
        let folder_key = folder(BACKUPS, backup)?;
        let folder_path = self.path(&folder_key)?;
        self.delete_below(&folder_key, &folder_path, Some(record)).await?;
        self.delete(&key).await?;
        self.connection.remove_emptied_folder(&folder_path).await
    }

    /// Changes what may be changed in the `velero-backup.json` of a backup that exists; everything else stays as it is.
    pub async fn amend_backup(&self, backup: &str, amendment: &Amendment) -> Result<(), Error> {
        let file = StoredFile::Backup { backup: backup.to_owned() };
        let key = file.key()?;
        let found = self.get(&file, LARGEST_BACKUP).await?;
        let found = found.ok_or_else(|| Error::Gone { key: key.clone() })?;
        let amended = amend_metadata_json(&found, amendment);
        let amended = amended.map_err(|source| Error::Decode { key, source })?;
        self.put(&file, amended.into(), Write::Overwrite).await
    }

    /// Is nothing left of this backup?
    pub async fn backup_folder_is_empty(&self, backup: &str) -> Result<bool, Error> {
        let key = folder(BACKUPS, backup)?;
        self.connection.ensure_present()?;
        match self.connection.probe.list(Some(&self.path(&key)?)).next().await {
            None => Ok(true),
            Some(Ok(_)) => Ok(false),
            Some(Err(error)) => Err(Error::List { folder: key, source: error.into() }),
        }
    }

    /// Deletes what is below a folder, or all of it but one file, and goes on after a file that can't be removed.
    pub(super) async fn delete_below(
        &self,
        key: &str,
        folder: &Path,
        kept: Option<Path>,
    ) -> Result<(), Error> {
        self.connection.ensure_present()?;
        let failed = |error: object_store::Error| Error::Delete { key: key.to_owned(), source: error.into() };
        match self.delete_once(folder, kept.clone()).await {
            Ok(()) => Ok(()),
            // The library repeats no bulk request whose connection broke, although deleting twice does no harm.
            Err(Failure::AfterList(_)) => {
                self.delete_once(folder, kept).await.map_err(|again| failed(again.into_error()))
            }
            Err(Failure::InList(error)) => Err(failed(error)),
        }
    }

    /// The provider's bulk request is used where it has one; elsewhere some are deleted at a time.
    async fn delete_once(&self, folder: &Path, kept: Option<Path>) -> Result<(), Failure> {
        let listed = self.connection.data.list(Some(folder)).map_ok(|object| object.location);
        let mut others = std::pin::pin!(listed.try_filter(|path| ready(Some(path) != kept.as_ref())));
        let mut first = None;
        let mut batch = Vec::new();
        loop {
            let next = others.try_next().await.map_err(Failure::InList)?;
            let is_last = next.is_none();
            batch.extend(next);
            if batch.len() < DELETED_AT_ONCE && !is_last {
                continue;
            }
            let paths = futures::stream::iter(std::mem::take(&mut batch).into_iter().map(Ok)).boxed();
            let mut deleted = self.connection.data.delete_stream(paths);
            while let Some(result) = deleted.next().await {
                match result {
                    Ok(_) => {}
                    Err(error) if is_absent(&error) => {}
                    Err(error) => first = first.or(Some(error)),
                }
            }
            if is_last {
                break;
            }
        }
        first.map_or(Ok(()), |error| Err(Failure::AfterList(error)))
    }
}
