//! What can go wrong with a repository, in plain words.

use std::any::Any;
use std::path::PathBuf;

use rustic_core::RusticError;

use super::restore::Damage;
use crate::store;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot look for the repository {repository}")]
    Find { repository: String, source: store::Error },
    #[error("cannot make the repository {repository}")]
    Create { repository: String, source: Cause },
    #[error("there is no repository {repository}")]
    Missing { repository: String },
    #[error(
        "the repository {repository} was made with another password than the one in Secret velero-repo-credentials"
    )]
    Password { repository: String },
    #[error("cannot open the repository {repository}")]
    Open { repository: String, source: Cause },
    #[error("cannot read the folder {path} of the volume")]
    Folder { path: PathBuf, source: std::io::Error },
    #[error("cannot back up the volume")]
    Backup(#[source] Cause),
    #[error("{count} files of the volume could not be read, {first} among them")]
    Unreadable { count: usize, first: String },
    #[error("{text:?} is no snapshot ID")]
    SnapshotId { text: String },
    #[error("cannot read snapshot {id}")]
    Snapshot { id: String, source: Cause },
    #[error("snapshot {id} is not of this backup and volume: it lacks {missing}")]
    Mixed { id: String, missing: String },
    #[error("cannot restore the volume")]
    Restore(#[source] Cause),
    #[error("cannot read pack {pack} of the repository")]
    Pack { pack: String, source: Cause },
    #[error("blob {id} in pack {pack} of the repository is damaged")]
    Damaged {
        id: String,
        pack: String,
        #[source]
        damage: Damage,
    },
    #[error("cannot decrypt the repository")]
    Key(#[source] Damage),
    #[error("cannot write {path} of the volume")]
    Write { path: PathBuf, source: std::io::Error },
    #[error("cannot start a worker")]
    Worker(#[source] std::io::Error),
    #[error("the snapshot holds a path that leads elsewhere: {path}")]
    Escape { path: PathBuf },
    #[error("cannot make way for {path}")]
    InTheWay { path: PathBuf, source: std::io::Error },
    #[error("{count} files of the volume are not as in the snapshot, {first} among them")]
    Differs { count: usize, first: String },
    #[error("cannot forget snapshots")]
    Forget(#[source] Cause),
    #[error("cannot remove unused data")]
    Prune(#[source] Cause),
    #[error("cancelled")]
    Cancelled,
}

/// The library's own reason on one line.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Cause(String);

impl From<Box<RusticError>> for Cause {
    fn from(error: Box<RusticError>) -> Self {
        Self::of(&error)
    }
}

impl Cause {
    pub(super) fn of(error: &RusticError) -> Self {
        let text = error.display_log();
        Self(text.strip_prefix("Error: ").unwrap_or(&text).split_whitespace().collect::<Vec<_>>().join(" "))
    }

    /// Of a thread that panicked: the library does so where a file can't be written.
    pub(super) fn of_panic(payload: Box<dyn Any + Send>) -> Self {
        Self(match (payload.downcast_ref::<String>(), payload.downcast_ref::<&str>()) {
            (Some(text), _) => text.clone(),
            (None, Some(text)) => (*text).to_owned(),
            (None, None) => "the transfer broke off".to_owned(),
        })
    }
}

impl Error {
    /// The whole message, causes included, for a status or a log line.
    pub fn with_causes(&self) -> String {
        crate::causes::with_causes(self)
    }
}
