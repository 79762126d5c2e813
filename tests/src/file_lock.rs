//! One process at a time: a lock on a file or folder that ends with the value, and with the process.

use std::fs::{File, TryLockError};
use std::path::Path;
use std::time::Duration;

use anyhow::Context;

const POLL: Duration = Duration::from_millis(100);

pub(crate) struct FileLock {
    #[expect(dead_code, reason = "closing it is what unlocks")]
    file: File,
}

impl FileLock {
    /// Waits for its turn, and says `notice` once when it has to. Asks again and again rather than block a
    /// thread, so that an interrupt is heard meanwhile.
    pub(crate) async fn take(path: &Path, notice: &str) -> anyhow::Result<FileLock> {
        let file = File::open(path).with_context(|| format!("opening {}", path.display()))?;
        let mut told = false;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(FileLock { file }),
                Err(TryLockError::WouldBlock) => {
                    if !told {
                        eprintln!("testbed: {notice}");
                        told = true;
                    }
                    tokio::time::sleep(POLL).await;
                }
                Err(TryLockError::Error(error)) => {
                    return Err(error).with_context(|| format!("locking {}", path.display()));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_second_waits_for_the_first() {
        let folder = tempfile::tempdir().expect("a folder");
        let first = FileLock::take(folder.path(), "waiting").await.expect("free");
        let mut second = Box::pin(FileLock::take(folder.path(), "waiting"));
        let early = tokio::time::timeout(POLL * 3, &mut second).await;
        assert!(early.is_err(), "both have it");
        drop(first);
        second.await.expect("free again");
    }
}
