//! The five files that a restore leaves in the bucket.

use bytes::Bytes;

use super::run::Run;
use crate::archive;
use crate::causes::with_causes;
use crate::engine::run_log::Finished;
use crate::store::{self, BackupStore, RestoreFile};

#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("packing it failed")]
    Pack(#[from] archive::Error),
    #[error("writing it into the bucket failed")]
    Write(#[from] store::Error),
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

    /// Gives the number of files that could not be written: the objects are restored all the same.
    pub(crate) async fn write_files(&self, store: &BackupStore, finished: Finished) -> u64 {
        let volumes = self.restored_volumes().await;
        let operations: Vec<_> = self.downloads.ended().iter().map(|ended| ended.record()).collect();
        let Finished { log_gz, results_gz, counts: _ } = finished;
        let files = [
            (RestoreFile::Logs, Ok(log_gz)),
            (RestoreFile::Results, Ok(results_gz)),
            (RestoreFile::ResourceList, self.resource_list()),
            (RestoreFile::ItemOperations, archive::gzip_json(&operations)),
            (RestoreFile::VolumeInfo, archive::gzip_json(&volumes)),
        ];
        let mut failures = 0;
        for (file, content) in files {
            if let Err(error) = self.write_file(store, file, content).await {
                failures += 1;
                let (restore, error) = (&self.settings.restore, with_causes(&error));
                tracing::error!(restore, ?file, error, "a file of the restore was not written");
            }
        }
        failures
    }

    async fn write_file(
        &self,
        store: &BackupStore,
        file: RestoreFile,
        content: Result<Bytes, archive::Error>,
    ) -> Result<(), Error> {
        Ok(store.put_restore_file(&self.settings.restore, file, content?).await?)
    }
}
