//! `holdfast status`: how the backups of a cluster fare.

use std::process::ExitCode;

use serde::Serialize;

use super::flags::{ClusterFlags, Output};
use super::policies;
use super::table::Paint;
use crate::clock;
use crate::overview::{Attention, Overview, attention, overview};

mod read;
pub(super) mod tables;
mod text;

use read::Daemon;
pub(super) use read::facts;

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    cluster: ClusterFlags,
    /// How the answer is written.
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    output: Output,
}

/// What is told.
#[derive(Debug, Serialize)]
struct Status {
    namespace: String,
    daemon: Daemon,
    #[serde(flatten)]
    overview: Overview,
    attention: Vec<Attention>,
}

/// Exits with 0 when all is well, 1 when something needs attention, 2 when that could not be found out.
pub fn run(Args { cluster, output }: Args) -> anyhow::Result<ExitCode> {
    let now = clock::system()();
    let namespace = cluster.namespace.clone();
    let read = cluster.with_client(async |client| {
        let daemon = read::daemon(&client, &namespace, now).await?;
        Ok((daemon, facts(&client, &namespace).await?))
    });
    let (daemon, facts) = match read {
        Ok(read) => read,
        Err(error) => return Ok(policies::could_not_run(error)),
    };
    let overview = overview(&facts, now);
    let attention = daemon.attention().into_iter().chain(attention(&overview)).collect();
    let status = Status { namespace, daemon, overview, attention };
    policies::print(&match output {
        Output::Text => text::text(&status, now, Paint::of_output()),
        Output::Json | Output::Yaml => output.value(&status)?,
    })?;
    Ok(if status.attention.is_empty() { policies::CLEAN } else { ExitCode::from(policies::PROBLEMS) })
}
