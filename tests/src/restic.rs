//! The stock `restic`: another reader of the repositories that the daemon writes.

use std::ffi::OsStr;
use std::path::Path;
use std::process::Stdio;

use anyhow::{Context, ensure};
use tokio::process::Command;

use crate::node;

/// Whether this machine has it. Where it must, its absence fails the test that asks.
pub fn is_there() -> bool {
    let found = std::process::Command::new("restic").arg("version").stdout(Stdio::null()).status();
    let there = found.is_ok_and(|status| status.success());
    let message = "restic is missing (Debian package restic)";
    assert!(there || std::env::var_os(node::REQUIRED).is_none(), "{message}");
    if !there {
        eprintln!("nothing is tested: {message}");
    }
    there
}

/// Runs it on a repository in a folder; gives what it prints.
pub async fn restic<I: AsRef<OsStr>>(
    repository: &Path,
    password: &str,
    arguments: impl IntoIterator<Item = I>,
) -> anyhow::Result<String> {
    let output = Command::new("restic")
        .arg("--no-cache")
        .arg("--repo")
        .arg(repository)
        .args(arguments)
        .env("RESTIC_PASSWORD", password)
        .stdin(Stdio::null())
        .output()
        .await
        .context("running restic")?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "restic ended with {}: {errors}", output.status);
    String::from_utf8(output.stdout).context("restic's output")
}
