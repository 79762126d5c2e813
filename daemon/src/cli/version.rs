//! `holdfast version`: which Holdfast this is, and which Velero it speaks as.

use std::io::Write;
use std::process::ExitCode;

/// Our own version.
pub const TEXT: &str = env!("CARGO_PKG_VERSION");

/// The release of Velero whose resources and bucket layout are read and written.
pub const VELERO: &str = "v1.18.3";

#[derive(Debug, clap::Args)]
pub struct Args {}

pub fn run(Args {}: Args) -> anyhow::Result<ExitCode> {
    writeln!(std::io::stdout(), "holdfast {TEXT} (Velero {VELERO})")?;
    Ok(ExitCode::SUCCESS)
}
