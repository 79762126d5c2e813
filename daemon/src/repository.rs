//! A restic-format repository of volume data in a bucket: takes a folder of the store, a password and a path, gives
//! snapshots. Which volume is read when, and whom that is told, is left to others.
//!
//! A repository is made by one process only ([`Repository::create`]); everybody else opens it. The format has locks, which
//! only its own command line takes: that nobody writes while unused data is deleted at once is the caller's to see to.

mod backend;
mod backup;
mod error;
mod forget;
mod open;
mod path;
mod progress;
mod prune;
mod restore;
mod source;
mod tags;

use std::fmt;

pub use backup::{Snapshot, VolumeBackup};
pub use error::Error;
pub use forget::Forgotten;
pub use progress::{Progress, Transferred};
pub use prune::Deletion;
pub use restore::{Damage, Sparse, VolumeRestore};
pub use tags::Tags;

use crate::store::RepositoryFolder;

/// One namespace's repository, which may not have been made yet.
#[derive(Debug, Clone)]
pub struct Repository {
    folder: RepositoryFolder,
    password: Password,
}

/// What all data of a repository is encrypted with.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(String);

impl Repository {
    pub fn new(folder: RepositoryFolder, password: Password) -> Self {
        Self { folder, password }
    }
}

impl Password {
    /// None where there is nothing but white space.
    pub fn new(text: &str) -> Option<Self> {
        // Velero hands the Secret's bytes on as they are, but for a line break that its tools put behind them.
        let text = text.trim_end_matches(['\r', '\n']);
        (!text.trim().is_empty()).then(|| Self(text.to_owned()))
    }

    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(…)")
    }
}
