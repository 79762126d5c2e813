//! `holdfast completion`: what a shell completes.

use std::process::ExitCode;

use clap::CommandFactory as _;
use clap_complete::Shell;

use super::{Cli, policies};

#[derive(Debug, clap::Args)]
pub struct Args {
    #[arg(value_enum)]
    shell: Shell,
}

/// Prints a script for the shell to read.
pub fn run(Args { shell }: Args) -> anyhow::Result<ExitCode> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "holdfast", &mut script);
    policies::print(&String::from_utf8(script)?)?;
    Ok(policies::CLEAN)
}
