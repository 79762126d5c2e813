//! `holdfast adopt`: this cluster looks after the backups of a location that name no cluster, as Velero's own don't.

use std::process::ExitCode;

use anyhow::Context as _;
use chrono::{DateTime, Utc};
use holdfast_policy::adoption::{Given, Standing, adoption};
use holdfast_policy::annotations::ADOPTED_BY;
use holdfast_policy::ownership::Cluster;
use holdfast_policy::velero::{Backup, BackupStorageLocation, Schedule};
use kube::api::{Patch, PatchParams};
use kube::{Api, Client, ResourceExt};
use serde_json::json;

use super::flags::{ClusterFlags, Output};
use super::policies;
use super::retention::source::all;
use crate::{app, clock};

mod print;

/// The name under which the API server notes the write.
const FIELD_MANAGER: &str = "holdfast-adopt";

#[derive(Debug, clap::Args)]
pub struct Args {
    /// The BackupStorageLocation.
    #[arg(long, value_name = "NAME")]
    location: String,
    /// Adopt it. Without this, what would come of it is told and nothing is changed.
    #[arg(long)]
    yes: bool,
    /// The name of this cluster, as the daemon has it; without it the uid of namespace kube-system.
    #[arg(long)]
    cluster_name: Option<String>,
    #[command(flatten)]
    cluster: ClusterFlags,
    /// How the answer is written.
    #[arg(long, value_enum, default_value_t = Output::Text)]
    output: Output,
}

/// What came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    /// Nothing was written, as nobody said so.
    Told,
    Adopted,
    /// It was this cluster's before.
    Already,
    /// It is another cluster's, and stays so.
    Refused,
}

struct Read {
    backups: Vec<Backup>,
    schedules: Vec<Schedule>,
    location: BackupStorageLocation,
    cluster: Cluster,
}

/// Exits with 0 when the location is adopted or what would come of it was told, 1 when it is another cluster's, 2 when
/// the cluster could not be read or the location not be written.
pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    // Fails only where a provider is installed already, which then is this one.
    drop(rustls::crypto::ring::default_provider().install_default());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let now = clock::system()();
    Ok(match runtime.block_on(adopt(&args, now)) {
        Ok((Outcome::Refused, text)) => {
            policies::print(&text)?;
            ExitCode::from(policies::PROBLEMS)
        }
        Ok((Outcome::Told | Outcome::Adopted | Outcome::Already, text)) => {
            policies::print(&text)?;
            policies::CLEAN
        }
        Err(error) => policies::could_not_run(error),
    })
}

async fn adopt(args: &Args, now: DateTime<Utc>) -> anyhow::Result<(Outcome, String)> {
    let client = app::connect(&args.cluster.access).await?;
    let read = read(&client, args).await?;
    let Read { backups, schedules, location, cluster } = &read;
    let adoption = adoption(&Given { backups, schedules, location, cluster }, now);
    let outcome = match (&adoption.standing, args.yes) {
        (Standing::Taken(_), _) => Outcome::Refused,
        (Standing::Ours, _) => Outcome::Already,
        (Standing::Free, false) => Outcome::Told,
        (Standing::Free, true) => {
            write(&client, &args.cluster.namespace, location, cluster).await?;
            Outcome::Adopted
        }
    };
    let told = print::Told { location: &location.name_any(), cluster, adoption: &adoption, outcome };
    let text = match args.output {
        Output::Text => told.text(),
        Output::Json | Output::Yaml => args.output.written(told.json()),
    };
    Ok((outcome, text))
}

async fn read(client: &Client, args: &Args) -> anyhow::Result<Read> {
    let Args { location, yes: _, cluster_name, cluster, output: _ } = args;
    let namespace = &cluster.namespace;
    let locations: Api<BackupStorageLocation> = Api::namespaced(client.clone(), namespace);
    let found = locations.get_opt(location).await;
    let found = found.with_context(|| format!("cannot read BackupStorageLocation {location}"))?;
    Ok(Read {
        location: found.with_context(|| {
            format!("there is no BackupStorageLocation {location} in namespace {namespace}")
        })?,
        backups: all(client, namespace).await?,
        schedules: all(client, namespace).await?,
        cluster: app::cluster_name::find(client, cluster_name.as_deref()).await?,
    })
}

/// Only onto what was read: somebody may have adopted it since.
async fn write(
    client: &Client,
    namespace: &str,
    location: &BackupStorageLocation,
    cluster: &Cluster,
) -> anyhow::Result<()> {
    let locations: Api<BackupStorageLocation> = Api::namespaced(client.clone(), namespace);
    let patch = json!({"metadata": {
        "resourceVersion": location.resource_version(), "annotations": {ADOPTED_BY: cluster.name},
    }});
    let name = location.name_any();
    let parameters = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
    let written = locations.patch_metadata(&name, &parameters, &Patch::Merge(patch)).await;
    written.with_context(|| {
        format!("cannot annotate BackupStorageLocation {name}: if it was changed meanwhile, look at it and try again")
    })?;
    Ok(())
}
