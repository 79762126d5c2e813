//! `holdfast restore …`: asking what a restore would do, and making one.

use std::process::ExitCode;

mod plan;
mod print;
mod run;
mod spec;

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Print what restoring a backup would do to a cluster, and change nothing.
    Plan(Box<plan::Args>),
    /// Restore a backup, and wait for the end with progress.
    Run(Box<run::Args>),
}

pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    match args.command {
        Command::Plan(args) => plan::run(*args),
        Command::Run(args) => run::run(*args),
    }
}
