//! `holdfast backup …`: backups that are made because a person says so.

use std::process::ExitCode;

mod now;

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Make a backup as a policy's schedule would, now.
    ///
    /// Exits with 0 when the backup is whole (or was made, with --no-wait), 1 when it is not, 2 when none could be made.
    Now(now::Args),
}

pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    match args.command {
        Command::Now(args) => now::run(args),
    }
}
