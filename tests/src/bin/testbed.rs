//! The testbed on the command line: `cargo testbed up`, `down`, `env`.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use holdfast_tests::demo;
use holdfast_tests::standing::{self, With};

/// A Kubernetes control plane on this machine, for trying things out.
#[derive(Parser)]
#[command(name = "cargo testbed", bin_name = "cargo testbed")]
struct CommandLine {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Start a control plane that stays, and print the lines that make a shell use it.
    ///
    /// Use it as: eval "$(cargo testbed up --dir D)". Where it runs already, the lines are just printed again.
    Up {
        #[command(flatten)]
        at: At,
        /// Also start an S3 server (region us-east-1, path style) with a bucket `backups`.
        #[arg(long)]
        s3: bool,
    },
    /// End what `up` started in this directory and remove its data, the S3 server's buckets included. The logs stay.
    Down {
        #[command(flatten)]
        at: At,
    },
    /// Back up, lose, restore and compare a sample application, with the daemon and policies of this checkout.
    ///
    /// Takes the cluster of KUBECONFIG where that is set, and starts a throw-away one otherwise.
    Demo,
    /// Print the lines of `up` again.
    Env {
        #[command(flatten)]
        at: At,
    },
}

#[derive(Args)]
struct At {
    /// Where the testbed keeps its kubeconfig, data and logs. May exist.
    #[arg(long = "dir", value_name = "D")]
    directory: PathBuf,
}

#[tokio::main]
async fn main() -> anyhow::Result<ExitCode> {
    let lines = match CommandLine::parse().command {
        Command::Up { at, s3 } => {
            let with = if s3 { With::ControlPlaneAndS3 } else { With::ControlPlane };
            standing::up(&at.directory, with).await?.lines()
        }
        Command::Down { at } => {
            standing::down(&at.directory).await?;
            String::new()
        }
        Command::Demo => return demo::run().await,
        Command::Env { at } => standing::exports(&at.directory).await?.lines(),
    };
    std::io::stdout().write_all(lines.as_bytes())?;
    Ok(ExitCode::SUCCESS)
}
