//! A headless Chromium, where there is one.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use tokio::process::Command;

const NAMES: [&str; 4] = ["chromium-headless-shell", "chromium", "chromium-browser", "google-chrome"];
/// On a busy machine it takes half a minute to start.
const PATIENCE: Duration = Duration::from_secs(180);

pub(super) struct Browser(PathBuf);

/// What `prefers-color-scheme` says.
#[derive(Clone, Copy)]
pub(super) enum Scheme {
    Light,
    Dark,
}

impl Browser {
    pub(super) fn find() -> Option<Browser> {
        if let Some(named) = std::env::var_os("HOLDFAST_CHROMIUM") {
            return Some(Browser(named.into()));
        }
        let path = std::env::var_os("PATH")?;
        let folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
        let places = NAMES.iter().flat_map(|name| folders.iter().map(move |folder| folder.join(name)));
        places.into_iter().find(|place| place.is_file()).map(Browser)
    }

    /// Writes what it shows as PNG.
    pub(super) async fn picture(&self, url: &str, scheme: Scheme, to: &Path) -> anyhow::Result<()> {
        let scheme = match scheme {
            Scheme::Dark => 0,
            Scheme::Light => 1,
        };
        let arguments = [
            format!("--blink-settings=preferredColorScheme={scheme}"),
            format!("--screenshot={}", to.display()),
            "--window-size=1280,1120".to_owned(),
        ];
        self.run(&arguments, url).await.map(drop)
    }

    /// The document once its script has had time to fetch it again.
    pub(super) async fn document_after_a_while(&self, url: &str) -> anyhow::Result<String> {
        self.run(&["--dump-dom".to_owned(), "--virtual-time-budget=12000".to_owned()], url).await
    }

    async fn run(&self, arguments: &[String], url: &str) -> anyhow::Result<String> {
        let home = tempfile::tempdir().context("making a folder for the browser")?;
        let mut command = Command::new(&self.0);
        command
            .args([
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--disable-dev-shm-usage",
                "--hide-scrollbars",
            ])
            .args(["--enable-logging=stderr", "--no-first-run", "--disable-background-networking"])
            .arg(format!("--user-data-dir={}", home.path().display()))
            .args(arguments)
            .arg(url)
            .stdin(Stdio::null())
            .kill_on_drop(true);
        let output =
            tokio::time::timeout(PATIENCE, command.output()).await.context("the browser does not end")?;
        let output = output.with_context(|| format!("running {}", self.0.display()))?;
        let told = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "the browser failed: {told}");
        // What a page may not do by its policy, and errors of its script, come as messages of its console.
        ensure!(!told.contains(":CONSOLE"), "the browser complains: {told}");
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}
