//! Keeps copies and restores from meeting the removal of unused data, also those of another process: a lock on a file beside
//! the repository. The operating system lets go of it when the process ends, however it does.

use std::fs::{File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::Error;

const NAME: &str = "holdfast-local-volumes.lock";
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// Removing unused data of a large repository takes minutes.
const WITHIN: Duration = Duration::from_secs(3600);
/// Whoever only tidies up does not wait for a copy to end.
const TIDY_WITHIN: Duration = Duration::from_secs(5);

pub(super) struct Lock {
    path: PathBuf,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hold {
    Shared,
    Alone,
}

/// Held until it is dropped.
pub(super) struct Held(#[expect(dead_code, reason = "its end is what it is for")] File);

impl Lock {
    pub(super) fn new(folder: &Path) -> Self {
        Self { path: folder.join(NAME) }
    }

    pub(super) async fn hold(&self, hold: Hold) -> Result<Held, Error> {
        let held = self.within(hold, WITHIN).await?;
        held.ok_or_else(|| {
            let path = self.path.display();
            Error(format!("somebody has held {path} for {} s", WITHIN.as_secs()))
        })
    }

    /// None where somebody else is at it.
    pub(super) async fn try_alone(&self) -> Result<Option<Held>, Error> {
        self.within(Hold::Alone, TIDY_WITHIN).await
    }

    async fn within(&self, hold: Hold, limit: Duration) -> Result<Option<Held>, Error> {
        let failed = |error: std::io::Error| Error(format!("cannot lock {}: {error}", self.path.display()));
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(&self.path);
        let file = file.map_err(failed)?;
        let deadline = Instant::now() + limit;
        loop {
            let tried = match hold {
                Hold::Shared => file.try_lock_shared(),
                Hold::Alone => file.try_lock(),
            };
            match tried {
                Ok(()) => return Ok(Some(Held(file))),
                Err(TryLockError::WouldBlock) if Instant::now() >= deadline => return Ok(None),
                Err(TryLockError::WouldBlock) => sleep(LOOK_EVERY).await,
                Err(TryLockError::Error(error)) => return Err(failed(error)),
            }
        }
    }
}
