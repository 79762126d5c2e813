//! Waiting for something to come about, by looking again and again until patience ends.

use std::time::Duration;

use anyhow::ensure;
use tokio::time::Instant;

use crate::Daemon;

const POLL: Duration = Duration::from_millis(50);

/// Returns what a look finds. Where none finds anything in time, the error says what was waited for.
pub async fn until<T>(
    what: &str,
    patience: Duration,
    mut look: impl AsyncFnMut() -> anyhow::Result<Option<T>>,
) -> anyhow::Result<T> {
    let deadline = Instant::now() + patience;
    loop {
        if let Some(found) = look().await? {
            return Ok(found);
        }
        ensure!(Instant::now() < deadline, "{what}: not after {patience:?}");
        tokio::time::sleep(POLL).await;
    }
}

/// Waits until the daemon has logged a line that holds all of these texts.
pub async fn logged(daemon: &Daemon, patience: Duration, texts: &[&str]) -> anyhow::Result<()> {
    let says_so = |line: &str| texts.iter().all(|text| line.contains(text));
    let found = async || Ok(daemon.log_text().lines().any(says_so).then_some(()));
    let waited = until("a line in the log", patience, found).await;
    waited.map_err(|error| error.context(format!("nothing logged with {texts:?}:\n{}", daemon.log_text())))
}
