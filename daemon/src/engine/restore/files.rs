//! The five files that a restore leaves in the bucket.

use bytes::Bytes;

use super::run::Run;
use crate::archive;
use crate::engine::run_log::Finished;
use crate::store::{self, BackupStore, RestoreFile};

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("packing file {file:?} of restore {restore} failed")]
    Pack { restore: String, file: RestoreFile, source: archive::Error },
    #[error("writing file {file:?} of restore {restore} failed")]
    Write { restore: String, file: RestoreFile, source: store::Error },
}

impl Run {
    /// The resource list: kind and target place of each object with what became of it.
    fn resource_list(&self) -> Result<Bytes, archive::Error> {
        let describe = |position: usize| {
            let item = &self.index.items[position];
            let kind = self.heads[position].map(|head| self.kinds.name(head.kind)).unwrap_or_default();
            (kind, self.target(item), &*item.name)
        };
        let namespaces: Vec<(String, String)> =
            self.bare_namespaces.iter().map(|name| ("v1/Namespace".to_owned(), name.clone())).collect();
        archive::gzip_json(&self.records.list(describe, &namespaces))
    }

    pub(crate) async fn write_files(&self, store: &BackupStore, finished: Finished) -> Result<(), Error> {
        let restore = &self.settings.restore;
        let packed = |file, result: Result<Bytes, archive::Error>| {
            result.map_err(|source| Error::Pack { restore: restore.clone(), file, source })
        };
        let nothing = || archive::gzip_json(&[(); 0]);
        let Finished { log_gz, results_gz, counts: _ } = finished;
        let files = [
            (RestoreFile::Logs, log_gz),
            (RestoreFile::Results, results_gz),
            (RestoreFile::ResourceList, packed(RestoreFile::ResourceList, self.resource_list())?),
            (RestoreFile::ItemOperations, packed(RestoreFile::ItemOperations, nothing())?),
            (RestoreFile::VolumeInfo, packed(RestoreFile::VolumeInfo, nothing())?),
        ];
        for (file, content) in files {
            let written = store.put_restore_file(restore, file, content).await;
            written.map_err(|source| Error::Write { restore: restore.clone(), file, source })?;
        }
        Ok(())
    }
}
