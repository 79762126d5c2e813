//! `holdfast crds`: the CustomResourceDefinitions of velero.io as YAML, for `kubectl apply --server-side -f -`.

use std::io::Write;
use std::process::ExitCode;

use holdfast_policy::velero;

#[derive(Debug, clap::Args)]
pub struct Args {}

/// Prints them all.
pub fn run(Args {}: Args) -> anyhow::Result<ExitCode> {
    std::io::stdout().write_all(velero::crds_yaml().as_bytes())?;
    Ok(ExitCode::SUCCESS)
}
