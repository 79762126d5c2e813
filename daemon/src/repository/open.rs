//! Making and opening a repository, and running the library's blocking work beside the runtime.

use std::sync::Arc;

use rustic_core::{
    ConfigOptions, Credentials, FileType, KeyOptions, OpenStatus, ReadBackend, RepositoryBackends,
    RepositoryOptions, RusticError, WriteBackend,
};
use tokio_util::sync::CancellationToken;

use super::backend::Backend;
use super::error::Cause;
use super::{Error, Progress, Repository, path};

/// The library restores with 20 threads, each of which may hold a pack and its contents unpacked: at restic's own 16 MiB
/// that came to 900 MiB, so this is the size that restic had before.
const PACK_SIZE: &str = "4 MiB";
/// Packs that grow with the repository would make memory grow with it.
const NO_GROWTH: u32 = 0;

pub(super) type Opened = rustic_core::Repository<OpenStatus>;

/// What one piece of work on a repository is told, and asked.
pub(super) struct Work {
    pub(super) progress: Progress,
    pub(super) cancel: CancellationToken,
}

impl Repository {
    /// Whether somebody made it.
    pub async fn exists(&self) -> Result<bool, Error> {
        let size = self.folder.size(path::CONFIG).await;
        let size = size.map_err(|source| Error::Find { repository: self.key(), source })?;
        Ok(size.is_some())
    }

    /// Makes the repository where there is none. Two that do this at a time would each lock the other out.
    pub async fn create(&self) -> Result<(), Error> {
        if self.exists().await? {
            return self.open_with(|_| Ok(())).await;
        }
        let password = self.password.reveal().to_owned();
        let repository = self.key();
        let work = Work { progress: Progress::default(), cancel: CancellationToken::new() };
        self.beside(work, Error::Restore, move |backend, progress| {
            let failed = |error: Box<RusticError>| Error::Create {
                repository: repository.clone(),
                source: Cause::from(error),
            };
            // Of one that was begun and has no data: with two keys the library might try the wrong one.
            for id in backend.list(FileType::Key).map_err(failed)? {
                backend.remove(FileType::Key, &id, false).map_err(failed)?;
            }
            let mut config = ConfigOptions::default().set_datapack_growfactor(NO_GROWTH);
            config.set_datapack_size = PACK_SIZE.parse().ok();
            let repository = library(backend, progress).map_err(failed)?;
            repository
                .init(&Credentials::Password(password), &KeyOptions::default(), &config)
                .map_err(failed)?;
            Ok(())
        })
        .await
    }

    /// Opens the repository and does something with it.
    pub(super) async fn open_with<T: Send + 'static>(
        &self,
        act: impl FnOnce(Opened) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let work = Work { progress: Progress::default(), cancel: CancellationToken::new() };
        self.work(work, Error::Prune, act).await
    }

    /// The same, with somebody to tell how far it is, and who may end it. `broken` is what a panic becomes.
    pub(super) async fn work<T: Send + 'static>(
        &self,
        work: Work,
        broken: fn(Cause) -> Error,
        act: impl FnOnce(Opened) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        self.work_on(work, broken, |opened, _| act(opened)).await
    }

    /// The same, with the bucket beside the library.
    pub(super) async fn work_on<T: Send + 'static>(
        &self,
        work: Work,
        broken: fn(Cause) -> Error,
        act: impl FnOnce(Opened, Arc<Backend>) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let password = self.password.reveal().to_owned();
        let repository = self.key();
        if !self.exists().await? {
            return Err(Error::Missing { repository });
        }
        self.beside(work, broken, move |backend, progress| {
            let opened = library(backend.clone(), progress)
                .and_then(|library| library.open(&Credentials::Password(password)))
                .map_err(|error| match error.is_incorrect_password() {
                    true => Error::Password { repository },
                    false => Error::Open { repository, source: Cause::from(error) },
                })?;
            act(opened, backend)
        })
        .await
    }

    /// Runs on a thread that may block; ends soon after the caller lost interest.
    async fn beside<T: Send + 'static>(
        &self,
        work: Work,
        broken: fn(Cause) -> Error,
        act: impl FnOnce(Arc<Backend>, Progress) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let Work { progress, cancel } = work;
        let cancel = cancel.child_token();
        let backend = Arc::new(Backend::new(self.folder.clone(), cancel.clone()));
        let ends_with_the_caller = cancel.clone().drop_guard();
        let done = tokio::task::spawn_blocking(move || act(backend, progress)).await;
        let cancelled = cancel.is_cancelled();
        drop(ends_with_the_caller);
        match done {
            Ok(Err(_)) | Err(_) if cancelled => Err(Error::Cancelled),
            Ok(done) => done,
            Err(error) => Err(broken(match error.try_into_panic() {
                Ok(payload) => Cause::of_panic(payload),
                Err(_) => return Err(Error::Cancelled),
            })),
        }
    }

    pub(super) fn key(&self) -> String {
        self.folder.key().to_owned()
    }
}

fn library(
    backend: Arc<Backend>,
    progress: Progress,
) -> Result<rustic_core::Repository<()>, Box<RusticError>> {
    // A copy on the node's disk would outlive the pod that it is for.
    let mut options = RepositoryOptions::default();
    options.no_cache = true;
    rustic_core::Repository::new_with_progress(&options, &RepositoryBackends::new(backend, None), progress)
}
