//! The bucket of one BackupStorageLocation: typed put, get, list and delete of what a backup or a restore leaves there.
//!
//! In: a location's spec with its credentials. Out: [`BackupStore`], a handle that is cheap to clone. What the files mean is
//! left to others; their names, the providers, and how much memory an upload may take are settled here.

mod aws_keys;
mod credentials;
mod download;
mod error;
mod existing;
mod layout;
mod place;
mod providers;
mod ran;
mod repository;

mod settings;
mod upload;

#[cfg(test)]
mod tests;

use std::time::Duration;

use bytes::Bytes;
use holdfast_policy::compression::Compression;
use holdfast_policy::velero;
use http::Method;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload};
use serde::Deserialize;

pub use aws_keys::AwsKeys;
pub use download::{ArchiveObject, ArchiveRead, FileObject};
pub use error::{Error, Reason};
pub use existing::Layer;
pub use layout::{BackupFile, RestoreFile, StoredFile};
pub use place::{Creation, Marker, Ownership};
pub use ran::{Once, Record};
pub use repository::RepositoryFolder;
pub use settings::{LocationSettings, SettingsError};
pub use upload::ArchiveUpload;

use error::is_absent;
use layout::{BACKUPS, RESTORES, TOP_LEVEL_FOLDERS, folder};
use providers::Connection;

/// The Backup's own file; a large one has some thousand managed fields.
const LARGEST_BACKUP: u64 = 16 * 1024 * 1024;
/// The gzip files beside an archive. Logs are the largest: 70,000 lines take about 2 MiB.
const LARGEST_FILE: u64 = 64 * 1024 * 1024;
/// How many unexpected folders a message names, as in Velero's.
const FOLDERS_NAMED: usize = 3;

/// One location's place in its bucket.
#[derive(Debug, Clone)]
pub struct BackupStore {
    location: String,
    prefix: Path,
    compression: Compression,
    connection: Connection,
}

/// Whether a file may replace an older one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Write {
    CreateNew,
    Overwrite,
}

impl BackupStore {
    /// Makes the connection ready. A bucket that can't be reached is noticed by [`BackupStore::check`], or earlier.
    pub async fn open(settings: &LocationSettings) -> Result<Self, Error> {
        Ok(Self {
            location: settings.name().to_owned(),
            prefix: settings.prefix().clone(),
            compression: settings.compression(),
            connection: settings.connect().await?,
        })
    }

    /// Name of the BackupStorageLocation.
    pub fn location(&self) -> &str {
        &self.location
    }

    /// How archives are to be compressed here.
    pub fn compression(&self) -> Compression {
        self.compression
    }

    /// Is the bucket there, and does it hold nothing but the folders that Velero knows?
    pub async fn check(&self) -> Result<(), Error> {
        let mut unexpected = self.folders(&self.prefix).await?;
        unexpected.retain(|folder| !TOP_LEVEL_FOLDERS.contains(&folder.as_str()));
        if unexpected.is_empty() {
            return Ok(());
        }
        let total = unexpected.len();
        let named = unexpected[..total.min(FOLDERS_NAMED)].join(", ");
        Err(Error::UnexpectedFolders {
            named: if total > FOLDERS_NAMED { format!("{named}, … ({total} in all)") } else { named },
        })
    }

    /// Names of the folders below `backups/`, whatever they hold, sorted.
    pub async fn list_backups(&self) -> Result<Vec<String>, Error> {
        self.folders(&self.path(BACKUPS)?).await
    }

    /// Is the file there that decides whether a backup exists?
    pub async fn backup_exists(&self, backup: &str) -> Result<bool, Error> {
        self.exists(StoredFile::Backup { backup: backup.to_owned() }.key()?).await
    }

    async fn exists(&self, key: String) -> Result<bool, Error> {
        let path = self.path(&key)?;
        self.connection.ensure_present()?;
        // Not by HEAD: its answer doesn't tell a missing bucket from a missing file.
        match self.connection.probe.get(&path).await {
            Ok(_) => Ok(true),
            Err(error) if is_absent(&error) => Ok(false),
            Err(error) => Err(Error::Read { key, source: error.into() }),
        }
    }

    /// The Backup as the bucket has it. The caller compares the name inside with the folder's.
    pub async fn read_backup(&self, backup: &str) -> Result<Option<velero::Backup>, Error> {
        let file = StoredFile::Backup { backup: backup.to_owned() };
        let Some(json) = self.get(&file, LARGEST_BACKUP).await? else { return Ok(None) };
        let key = file.key()?;
        let kind: Kind = match serde_json::from_slice(&json) {
            Ok(kind) => kind,
            Err(source) => return Err(Error::Decode { key, source }),
        };
        if kind.api_version != "velero.io/v1" || kind.kind != "Backup" {
            return Err(Error::NotABackup { key, found: format!("{} {}", kind.api_version, kind.kind) });
        }
        serde_json::from_slice(&json).map(Some).map_err(|source| Error::Decode { key, source })
    }

    /// Writes `velero-backup.json`, and with it makes the backup exist.
    pub async fn put_backup(&self, backup: &velero::Backup, write: Write) -> Result<(), Error> {
        let name = backup.metadata.name.clone().unwrap_or_default();
        let file = StoredFile::Backup { backup: name };
        let json = velero::to_metadata_json(backup);
        self.put(&file, json.into(), write).await
    }

    /// Removes `velero-backup.json`: after that there is no such backup, whatever else its folder holds.
    pub async fn remove_backup(&self, backup: &str) -> Result<(), Error> {
        self.delete(&StoredFile::Backup { backup: backup.to_owned() }.key()?).await
    }

    pub async fn put_backup_file(&self, backup: &str, file: BackupFile, gzip: Bytes) -> Result<(), Error> {
        let file = StoredFile::BackupFile { backup: backup.to_owned(), file };
        self.put(&file, gzip, Write::Overwrite).await
    }

    /// The file as it is stored, still packed.
    pub async fn get_backup_file(&self, backup: &str, file: BackupFile) -> Result<Option<Bytes>, Error> {
        self.get(&StoredFile::BackupFile { backup: backup.to_owned(), file }, LARGEST_FILE).await
    }

    pub async fn put_restore_file(&self, restore: &str, file: RestoreFile, gzip: Bytes) -> Result<(), Error> {
        let file = StoredFile::RestoreFile { restore: restore.to_owned(), file };
        self.put(&file, gzip, Write::Overwrite).await
    }

    /// The file as it is stored, still packed.
    pub async fn get_restore_file(&self, restore: &str, file: RestoreFile) -> Result<Option<Bytes>, Error> {
        self.get(&StoredFile::RestoreFile { restore: restore.to_owned(), file }, LARGEST_FILE).await
    }

    /// Starts the upload of a backup's archive. Nothing can be seen of it before it is finished.
    pub async fn begin_archive(
        &self,
        backup: &str,
        compression: Compression,
    ) -> Result<ArchiveUpload, Error> {
        let key = StoredFile::Archive { backup: backup.to_owned(), compression }.key()?;
        let path = self.path(&key)?;
        self.connection.ensure_present()?;
        Ok(ArchiveUpload::new(self.connection.clone(), key, path))
    }

    /// A backup's archive, whichever codec it was written with.
    pub async fn read_archive(&self, backup: &str) -> Result<Option<ArchiveObject>, Error> {
        self.connection.ensure_present()?;
        for compression in Compression::ALL {
            let key = StoredFile::Archive { backup: backup.to_owned(), compression }.key()?;
            match self.connection.data.get(&self.path(&key)?).await {
                Ok(found) => return Ok(Some(ArchiveObject::new(key, compression, found))),
                Err(error) if is_absent(&error) => {}
                Err(error) => return Err(Error::Read { key, source: error.into() }),
            }
        }
        Ok(None)
    }

    /// Any file, as it is stored.
    pub async fn read_file(&self, file: &StoredFile) -> Result<Option<FileObject>, Error> {
        let key = file.key()?;
        self.connection.ensure_present()?;
        match self.connection.data.get(&self.path(&key)?).await {
            Ok(found) => Ok(Some(FileObject::new(key, found))),
            Err(error) if is_absent(&error) => Ok(None),
            Err(error) => Err(Error::Read { key, source: error.into() }),
        }
    }

    /// Removes a backup with everything in its folder; one that isn't there is removed already.
    pub async fn delete_backup_folder(&self, backup: &str) -> Result<(), Error> {
        // First what makes it a backup: an interrupted deletion leaves no backup without an archive.
        self.remove_backup(backup).await?;
        self.delete_folder(&folder(BACKUPS, backup)?).await
    }

    /// Removes everything that a restore left.
    pub async fn delete_restore_folder(&self, restore: &str) -> Result<(), Error> {
        self.delete_folder(&folder(RESTORES, restore)?).await
    }

    /// A URL that gives the file to whoever has it, for `lifetime`. Whether the file exists is not asked. None where the
    /// provider has no such thing.
    pub async fn sign(&self, file: &StoredFile, lifetime: Duration) -> Result<Option<String>, Error> {
        let Some(signer) = &self.connection.signer else { return Ok(None) };
        let key = file.key()?;
        let signed = signer.signed_url(Method::GET, &self.path(&key)?, lifetime).await;
        signed.map(|url| Some(url.into())).map_err(|error| Error::Sign { key, source: error.into() })
    }

    async fn folders(&self, parent: &Path) -> Result<Vec<String>, Error> {
        self.connection.ensure_present()?;
        let listed = self.connection.probe.list_with_delimiter(Some(parent)).await;
        let listed =
            listed.map_err(|error| Error::List { folder: format!("{parent}/"), source: error.into() })?;
        let mut names: Vec<String> =
            listed.common_prefixes.iter().filter_map(|path| path.filename().map(str::to_owned)).collect();
        names.sort();
        Ok(names)
    }

    async fn put(&self, file: &StoredFile, content: Bytes, write: Write) -> Result<(), Error> {
        let key = file.key()?;
        let path = self.path(&key)?;
        self.connection.ensure_present()?;
        match write {
            Write::Overwrite => self.put_as(&path, content, PutMode::Overwrite).await,
            Write::CreateNew => self.put_new(&path, content).await,
        }
        .map_err(|error| match error {
            object_store::Error::AlreadyExists { .. } | object_store::Error::Precondition { .. } => {
                Error::AlreadyExists { key: key.clone() }
            }
            error => Error::Write { key: key.clone(), source: error.into() },
        })
    }

    async fn put_new(&self, path: &Path, content: Bytes) -> object_store::Result<()> {
        let error = match self.put_as(path, content.clone(), PutMode::Create).await {
            Ok(()) => return Ok(()),
            Err(error) => error,
        };
        if matches!(error, object_store::Error::AlreadyExists { .. }) {
            // A request repeated after its answer got lost finds what it wrote itself.
            let stored = self.connection.data.get(path).await?;
            return if stored.meta.size == content.len() as u64 && stored.bytes().await? == content {
                Ok(())
            } else {
                Err(error)
            };
        }
        if !error::lacks_conditions(&error) {
            return Err(error);
        }
        // Some servers of the S3 kind know no conditional put; asking first is the best there is.
        match self.connection.data.head(path).await {
            Ok(_) => {
                Err(object_store::Error::AlreadyExists { path: path.to_string(), source: Box::new(error) })
            }
            Err(head) if is_absent(&head) => self.put_as(path, content, PutMode::Overwrite).await,
            Err(head) => Err(head),
        }
    }

    async fn put_as(&self, path: &Path, content: Bytes, mode: PutMode) -> object_store::Result<()> {
        let options = PutOptions { mode, tags: self.connection.tags.clone(), ..PutOptions::default() };
        self.connection.data.put_opts(path, PutPayload::from(content), options).await.map(drop)
    }

    async fn get(&self, file: &StoredFile, limit: u64) -> Result<Option<Bytes>, Error> {
        let key = file.key()?;
        self.connection.ensure_present()?;
        let found = match self.connection.data.get(&self.path(&key)?).await {
            Ok(found) => found,
            Err(error) if is_absent(&error) => return Ok(None),
            Err(error) => return Err(Error::Read { key, source: error.into() }),
        };
        if found.meta.size > limit {
            return Err(Error::TooLarge { key, size: found.meta.size, limit });
        }
        found.bytes().await.map(Some).map_err(|error| Error::Read { key, source: error.into() })
    }

    async fn delete(&self, key: &str) -> Result<(), Error> {
        self.connection.ensure_present()?;
        match self.connection.data.delete(&self.path(key)?).await {
            Ok(()) => Ok(()),
            Err(error) if is_absent(&error) => Ok(()),
            Err(error) => Err(Error::Delete { key: key.to_owned(), source: error.into() }),
        }
    }

    async fn delete_folder(&self, key: &str) -> Result<(), Error> {
        self.connection.ensure_present()?;
        let path = self.path(key)?;
        self.delete_below(key, &path, None).await?;
        self.connection.remove_emptied_folder(&path).await
    }

    fn path(&self, key: &str) -> Result<Path, Error> {
        let full = format!("{}/{key}", self.prefix);
        Path::parse(&full).map_err(|_| Error::Name { name: key.to_owned() })
    }
}

#[derive(Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Kind {
    api_version: String,
    kind: String,
}

impl Default for Kind {
    fn default() -> Self {
        Self { api_version: "no apiVersion".to_owned(), kind: "no kind".to_owned() }
    }
}
