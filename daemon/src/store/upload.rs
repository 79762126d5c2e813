//! Upload of an archive in parts: bounded memory, and nothing to be seen before it is finished.

use std::fmt;

use bytes::Bytes;
use object_store::path::Path;
use object_store::{MultipartUpload, ObjectStore, PutMultipartOptions, PutOptions, PutPayload};
use tokio::runtime::Handle;
use tokio::task::JoinSet;

use super::Error;
use super::providers::Connection;

/// Parts on their way at once, beside the one being filled: with a part of 5 MiB an upload takes 15 MiB at most.
const PARTS_IN_FLIGHT: usize = 2;

/// An archive on its way into the bucket. Dropped before [`ArchiveUpload::finish`] it leaves nothing behind, as far as the
/// provider can still be reached.
pub struct ArchiveUpload {
    connection: Connection,
    key: String,
    path: Path,
    gathered: Vec<Bytes>,
    gathered_bytes: usize,
    /// Started with the first full part; small archives need none.
    multipart: Option<Box<dyn MultipartUpload>>,
    parts: JoinSet<object_store::Result<()>>,
}

impl ArchiveUpload {
    pub(super) fn new(connection: Connection, key: String, path: Path) -> Self {
        Self {
            connection,
            key,
            path,
            gathered: Vec::new(),
            gathered_bytes: 0,
            multipart: None,
            parts: JoinSet::new(),
        }
    }

    /// Takes the next bytes, and waits while too many are on their way. After an error the upload can only be aborted.
    pub async fn write(&mut self, mut bytes: Bytes) -> Result<(), Error> {
        while !bytes.is_empty() {
            // All parts but the last have the same size: some providers insist on it.
            let room = self.connection.part_bytes - self.gathered_bytes;
            let piece = bytes.split_to(bytes.len().min(room));
            self.gathered_bytes += piece.len();
            self.gathered.push(piece);
            if self.gathered_bytes == self.connection.part_bytes {
                self.send_part().await.map_err(|error| self.failed(error))?;
            }
        }
        Ok(())
    }

    /// Sends what is left and makes the archive visible.
    pub async fn finish(mut self) -> Result<(), Error> {
        let finished = match self.multipart.is_some() {
            true => self.finish_parts().await,
            false => self.put_whole().await,
        };
        match finished {
            Ok(()) => {
                self.multipart = None;
                Ok(())
            }
            Err(error) => {
                let failed = self.failed(error);
                // The first failure is the one to tell; what this leaves, the provider's own clean-up takes.
                drop(self.abort_parts().await);
                Err(failed)
            }
        }
    }

    /// Throws away what was sent.
    pub async fn abort(mut self) -> Result<(), Error> {
        self.abort_parts().await.map_err(|error| self.failed(error))
    }

    async fn send_part(&mut self) -> object_store::Result<()> {
        while self.parts.len() >= PARTS_IN_FLIGHT {
            self.join_part().await?;
        }
        let payload = self.take_gathered();
        if self.multipart.is_none() {
            self.connection.ensure_present().map_err(local_failure)?;
            let options = PutMultipartOptions { tags: self.connection.tags.clone(), ..Default::default() };
            self.multipart = Some(self.connection.data.put_multipart_opts(&self.path, options).await?);
        }
        if let Some(multipart) = &mut self.multipart {
            self.parts.spawn(multipart.put_part(payload));
        }
        Ok(())
    }

    async fn finish_parts(&mut self) -> object_store::Result<()> {
        if self.gathered_bytes > 0 {
            self.send_part().await?;
        }
        while !self.parts.is_empty() {
            self.join_part().await?;
        }
        match &mut self.multipart {
            Some(multipart) => multipart.complete().await.map(drop),
            None => Ok(()),
        }
    }

    async fn put_whole(&mut self) -> object_store::Result<()> {
        self.connection.ensure_present().map_err(local_failure)?;
        let options = PutOptions { tags: self.connection.tags.clone(), ..Default::default() };
        let payload = self.take_gathered();
        self.connection.data.put_opts(&self.path, payload, options).await.map(drop)
    }

    async fn abort_parts(&mut self) -> object_store::Result<()> {
        // A part that arrives after the abort would stay for ever.
        self.parts.shutdown().await;
        match self.multipart.take() {
            Some(mut multipart) => multipart.abort().await,
            None => Ok(()),
        }
    }

    async fn join_part(&mut self) -> object_store::Result<()> {
        match self.parts.join_next().await {
            Some(Ok(sent)) => sent,
            Some(Err(source)) => Err(object_store::Error::JoinError { source }),
            None => Ok(()),
        }
    }

    fn take_gathered(&mut self) -> PutPayload {
        self.gathered_bytes = 0;
        self.gathered.drain(..).collect()
    }

    fn failed(&self, error: object_store::Error) -> Error {
        Error::Write { key: self.key.clone(), source: error.into() }
    }
}

fn local_failure(error: Error) -> object_store::Error {
    object_store::Error::Generic { store: "local", source: Box::new(error) }
}

impl Drop for ArchiveUpload {
    fn drop(&mut self) {
        let Some(mut multipart) = self.multipart.take() else { return };
        self.parts.abort_all();
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(async move { multipart.abort().await });
        }
    }
}

impl fmt::Debug for ArchiveUpload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ArchiveUpload").field("key", &self.key).finish_non_exhaustive()
    }
}
