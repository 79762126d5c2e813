//! `holdfast keys …`: the password of volume data.

use std::process::ExitCode;

use super::flags::ClusterFlags;
use super::policies;
use crate::app;
use crate::engine::repositories::secret;

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Print the password of the repositories of volume data, for a copy outside of the cluster.
    Export(ExportArgs),
}

#[derive(Debug, clap::Args)]
struct ExportArgs {
    #[command(flatten)]
    cluster: ClusterFlags,
}

pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    match args.command {
        Command::Export(args) => export(args),
    }
}

fn export(ExportArgs { cluster }: ExportArgs) -> anyhow::Result<ExitCode> {
    // Fails only where a provider is installed already, which then is this one.
    drop(rustls::crypto::ring::default_provider().install_default());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let password = runtime.block_on(async {
        let client = app::connect(&cluster.access).await?;
        anyhow::Ok(secret::read_password(&client, &cluster.namespace).await?)
    })?;
    eprintln!(
        "Whoever has this password and the bucket can read all volume data. Keep it where the cluster's end doesn't reach it: \
         without it the data is lost. It is key {} of Secret {} in namespace {}.",
        secret::KEY,
        secret::NAME,
        cluster.namespace
    );
    policies::print(&format!("{}\n", password.reveal()))?;
    Ok(ExitCode::SUCCESS)
}
