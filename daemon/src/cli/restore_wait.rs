//! `holdfast restore-wait`: what holds a restored pod back until its volumes are complete.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;

use super::run::{LogFormat, LogLevel, start_log};
use crate::node_agent;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// UID of the Restore.
    restore: String,
    /// The folder below which the pod's volumes are mounted.
    #[arg(long, value_name = "DIR", default_value = "/restores")]
    volumes: PathBuf,
}

/// Returns when all volumes are complete.
pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    let Args { restore, volumes } = args;
    start_log(LogFormat::Text, LogLevel::Info)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime
        .block_on(node_agent::wait_for_all(&volumes, &restore))
        .with_context(|| format!("cannot look for volumes below {}", volumes.display()))?;
    Ok(ExitCode::SUCCESS)
}
