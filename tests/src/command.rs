//! `holdfast` as a person runs it: one command, its output and its exit code.

use std::ffi::OsStr;
use std::path::Path;
use std::process::Stdio;

use anyhow::Context;
use tokio::process::Command;

use crate::daemon;
use crate::programs::{self, Program};

/// How a command ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    pub code: i32,
    pub output: String,
    pub errors: String,
}

/// Runs it to its end, without any cluster unless an argument names one.
pub async fn holdfast<I: AsRef<OsStr>>(arguments: impl IntoIterator<Item = I>) -> anyhow::Result<Ended> {
    ended(Command::new(daemon::program().await?).args(arguments)).await
}

/// The same as `kubectl holdfast`.
pub async fn kubectl_holdfast<I: AsRef<OsStr>>(
    kubectl: &Path,
    arguments: impl IntoIterator<Item = I>,
) -> anyhow::Result<Ended> {
    let folder = tempfile::tempdir().context("making a folder for the plugin")?;
    let plugin = folder.path().join("kubectl-holdfast");
    std::os::unix::fs::symlink(daemon::program().await?, &plugin).context("linking the plugin")?;
    let mut command = Command::new(kubectl);
    ended(command.arg("holdfast").args(arguments).env("PATH", folder.path())).await
}

/// Prometheus' own tool, built first where needed.
pub async fn promtool<I: AsRef<OsStr>>(arguments: impl IntoIterator<Item = I>) -> anyhow::Result<Ended> {
    ended(Command::new(programs::locate(Program::Promtool).await?).args(arguments)).await
}

/// Helm, built first where needed, with what it keeps in folders of its own.
pub async fn helm<I: AsRef<OsStr>>(arguments: impl IntoIterator<Item = I>) -> anyhow::Result<Ended> {
    let folder = tempfile::tempdir().context("making a folder for Helm")?;
    let mut command = Command::new(programs::locate(Program::Helm).await?);
    for name in ["HELM_CACHE_HOME", "HELM_CONFIG_HOME", "HELM_DATA_HOME"] {
        command.env(name, folder.path().join(name));
    }
    ended(command.args(arguments)).await
}

/// kubectl, built first where needed.
pub async fn kubectl<I: AsRef<OsStr>>(arguments: impl IntoIterator<Item = I>) -> anyhow::Result<Ended> {
    ended(Command::new(programs::locate(Program::Kubectl).await?).args(arguments)).await
}

async fn ended(command: &mut Command) -> anyhow::Result<Ended> {
    let command = command.env_remove("KUBECONFIG").env("HOME", "/nonexistent").stdin(Stdio::null());
    let output = command.output().await.with_context(|| format!("running {command:?}"))?;
    Ok(Ended {
        code: output.status.code().context("the command was killed")?,
        output: String::from_utf8(output.stdout).context("standard output")?,
        errors: String::from_utf8(output.stderr).context("standard error")?,
    })
}
