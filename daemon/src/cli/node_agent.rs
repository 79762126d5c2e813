//! `holdfast node-agent`: the flags of the agent of one node.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, bail};

use super::flags::ClusterFlags;
use super::run::{LogFormat, LogLevel, start_log};
use crate::node_agent::{Ended, Options};
use crate::{app, clock, node_agent};

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    cluster: ClusterFlags,
    /// The node, as the cluster names it.
    #[arg(long, env = "NODE_NAME")]
    node_name: String,
    /// What this process is called among those that run on the node one after the other. No two that run at a time may
    /// share it; a process that finds its own name in the lease takes over at once.
    #[arg(long, env = "POD_NAME")]
    instance: Option<String>,
    /// Where the kubelet's folder of pods is mounted.
    #[arg(long, value_name = "DIR", default_value = "/host_pods")]
    pods_directory: PathBuf,
    /// How many volumes are moved at a time.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    concurrency: u32,
    /// How lines of the log look.
    #[arg(long, value_enum, default_value_t = LogFormat::Text)]
    log_format: LogFormat,
    /// The least severe level that is logged.
    #[arg(long, value_enum, default_value_t = LogLevel::Info)]
    log_level: LogLevel,
}

/// Runs the agent until it is told to stop.
pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    let Args { cluster, node_name, instance, pods_directory, concurrency, log_format, log_level } = args;
    start_log(log_format, log_level)?;
    if !pods_directory.is_dir() {
        bail!("{} is no folder: mount the kubelet's folder of pods there", pods_directory.display());
    }
    // Fails only where a provider is installed already, which then is this one.
    drop(rustls::crypto::ring::default_provider().install_default());
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start the asynchronous runtime")?;
    let ended = runtime.block_on(async {
        let stop = app::stop_at_signals()?;
        let client = app::connect(&cluster.access).await?;
        let options = Options {
            client,
            namespace: cluster.namespace,
            node: node_name,
            instance: instance.unwrap_or_else(app::unique_instance),
            pods: pods_directory,
            concurrency: concurrency as usize,
            clock: clock::system(),
        };
        anyhow::Ok(node_agent::run(options, stop).await)
    })?;
    // A thread that reads a slow volume would hold up the end.
    runtime.shutdown_background();
    match ended {
        Ended::Asked => Ok(ExitCode::SUCCESS),
        Ended::LeaseLost => bail!("the lease of the node was lost: another agent may have it"),
    }
}
