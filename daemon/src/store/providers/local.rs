//! Provider `local`: a folder of the machine, or one that is mounted there.
//!
//! The bucket is a folder below `config.path` that exists. It is never created: a mount that is missing must be noticed, and
//! not be replaced by an empty folder on another disk.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use object_store::TagSet;
use object_store::local::LocalFileSystem;
use object_store::path::Path;

use super::{Connection, Error, Provider, ProviderSettings, Reason, failed};
use crate::store::settings::{Config, SettingsError};

pub(super) const PROVIDER: Provider = Provider { name: "local", keys: &["path", "publicUrl"], parse };

/// Nothing asks for large parts here, so that memory may be spared.
const PART_BYTES: usize = 1024 * 1024;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(in super::super) struct Settings {
    path: PathBuf,
}

fn parse(
    config: &Config<'_>,
    _credentials: Option<Vec<u8>>,
    _ca: Option<String>,
) -> Result<ProviderSettings, SettingsError> {
    let path = PathBuf::from(config.required("path")?);
    if !path.is_absolute() {
        let value = path.display().to_string();
        return Err(SettingsError::Value { key: "path", value, expected: "an absolute path" });
    }
    config.url("publicUrl")?;
    Ok(ProviderSettings::Local(Settings { path }))
}

impl Settings {
    pub(super) fn connect(&self, bucket: &str) -> Result<Connection, Error> {
        let folder = Folder { path: self.path.join(bucket) };
        folder.ensure_present()?;
        let files = LocalFileSystem::new_with_prefix(&folder.path).map_err(failed(bucket))?.with_fsync(true);
        let files = Arc::new(files);
        Ok(Connection {
            data: Arc::<LocalFileSystem>::clone(&files),
            probe: files,
            signer: None,
            part_bytes: PART_BYTES,
            tags: TagSet::default(),
            folder: Some(folder),
        })
    }
}

/// The bucket's folder.
#[derive(Debug, Clone)]
pub(in super::super) struct Folder {
    path: PathBuf,
}

impl Folder {
    pub(super) fn ensure_present(&self) -> Result<(), Error> {
        match std::fs::metadata(&self.path) {
            Ok(metadata) if metadata.is_dir() => Ok(()),
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                Err(Error::ReadKey { path: self.path.display().to_string(), source })
            }
            Ok(_) | Err(_) => Err(Error::FolderMissing { folder: self.path.display().to_string() }),
        }
    }

    /// Removes what is left of a folder whose objects were deleted, half-written files included.
    pub(super) async fn remove(&self, path: &Path) -> Result<(), Error> {
        let target = path.parts().fold(self.path.clone(), |target, part| target.join(part.as_ref()));
        let removed = tokio::task::spawn_blocking(move || std::fs::remove_dir_all(target)).await;
        let failed = |text: String| {
            let source = object_store::Error::Generic { store: "local", source: text.into() };
            Error::Delete { key: path.to_string(), source: Reason::from(source) }
        };
        match removed {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Ok(Err(error)) => Err(failed(error.to_string())),
            Err(error) => Err(failed(error.to_string())),
        }
    }
}
