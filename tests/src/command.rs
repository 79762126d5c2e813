//! `holdfast` as a person runs it: one command, its output and its exit code.

use std::ffi::OsStr;
use std::process::Stdio;

use anyhow::Context;
use tokio::process::Command;

use crate::daemon;

/// How a command ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    pub code: i32,
    pub output: String,
    pub errors: String,
}

/// Runs it to its end, without any cluster unless an argument names one.
pub async fn holdfast<I: AsRef<OsStr>>(arguments: impl IntoIterator<Item = I>) -> anyhow::Result<Ended> {
    let program = daemon::program().await?;
    let output = Command::new(program)
        .args(arguments)
        .env_remove("KUBECONFIG")
        .env("HOME", "/nonexistent")
        .stdin(Stdio::null())
        .output()
        .await
        .with_context(|| format!("running {}", program.display()))?;
    Ok(Ended {
        code: output.status.code().context("the command was killed")?,
        output: String::from_utf8(output.stdout).context("standard output")?,
        errors: String::from_utf8(output.stderr).context("standard error")?,
    })
}
