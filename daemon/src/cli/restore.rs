//! `holdfast restore …`: what can be asked about restores without making one.

use std::process::ExitCode;

mod plan;
mod print;

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Print what restoring a backup would do to a cluster, and change nothing.
    Plan(Box<plan::Args>),
}

pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    match args.command {
        Command::Plan(args) => plan::run(*args),
    }
}
