//! `holdfast crds`: all CustomResourceDefinitions as YAML, for `kubectl apply --server-side -f -`.

use std::io::Write;
use std::process::ExitCode;

use holdfast_policy::velero;

use crate::app;

#[derive(Debug, clap::Args)]
pub struct Args {}

/// Prints them.
pub fn run(Args {}: Args) -> anyhow::Result<ExitCode> {
    let mut output = std::io::stdout().lock();
    for definition in app::crds::all() {
        output.write_all(velero::crd_yaml(&definition).as_bytes())?;
    }
    Ok(ExitCode::SUCCESS)
}
