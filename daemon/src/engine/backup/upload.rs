//! The way of the archive into the bucket: a writer whose output a task sends on while the run collects.

use chrono::{DateTime, Utc};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::Error;
use crate::archive::{Stats, Writer};
use crate::store::{self, ArchiveUpload, BackupStore};

/// Chunks between the writer and the upload; a chunk has about 256 KiB.
const CHUNKS_WAITING: usize = 4;

/// An archive being written and sent.
pub(super) struct Upload {
    writer: Writer,
    rest: Sending,
}

/// The sending half. Nothing is visible in the bucket before [`Sending::end`].
pub(super) struct Sending {
    task: JoinHandle<Result<ArchiveUpload, store::Error>>,
}

impl Upload {
    pub(super) async fn begin(
        store: &BackupStore,
        name: &str,
        modified: DateTime<Utc>,
    ) -> Result<Self, Error> {
        let compression = store.compression();
        let mut upload = store.begin_archive(name, compression).await.map_err(Error::Begin)?;
        let (output, mut chunks) = mpsc::channel(CHUNKS_WAITING);
        let writer = Writer::start(compression, modified, output);
        let task = tokio::spawn(async move {
            while let Some(chunk) = chunks.recv().await {
                if let Err(error) = upload.write(chunk).await {
                    drop(chunks);
                    abort(upload).await;
                    return Err(error);
                }
            }
            Ok(upload)
        });
        Ok(Self { writer, rest: Sending { task } })
    }

    pub(super) fn split(self) -> (Writer, Sending) {
        (self.writer, self.rest)
    }
}

impl Sending {
    /// Ends the archive well when everything was collected, and otherwise takes it back.
    pub(super) async fn end(self, writer: Writer, collected: Result<(), Error>) -> Result<Stats, Error> {
        let written = match collected {
            Ok(()) => writer.finish().await.map_err(Error::from),
            Err(error) => {
                drop(writer);
                Err(error)
            }
        };
        // The upload's own failure explains that of the writer, which only finds nobody to write to.
        let upload = self.task.await.map_err(|_| Error::UploadGone)?.map_err(Error::Upload)?;
        match written {
            Ok(stats) => {
                upload.finish().await.map_err(Error::Upload)?;
                Ok(stats)
            }
            Err(error) => {
                abort(upload).await;
                Err(error)
            }
        }
    }
}

async fn abort(upload: ArchiveUpload) {
    if let Err(error) = upload.abort().await {
        // The bucket's own rule for unfinished uploads removes it; the run fails for a reason of its own.
        tracing::warn!(error = %error.with_causes(), "could not take back an unfinished upload");
    }
}
