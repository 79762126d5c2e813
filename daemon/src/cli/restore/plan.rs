//! `holdfast restore plan`: what a restore would do to a cluster.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use holdfast_policy::velero;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::ListParams;
use kube::{Api, Client};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::print;
use super::spec::{Source, SpecArgs, read};
use crate::cli::flags::{ClusterFlags, Output};
use crate::cli::policies;
use crate::cluster::Cluster;
use crate::controllers::stores::Stores;
use crate::engine::RunOptions;
use crate::engine::pod_volumes::PodVolumes;
use crate::engine::restore::{
    Depth, Facts, ModifierSource, Preview, Progress, RestoreRun, Timeouts, modifier_config_map, preview,
    read_policy, validate,
};
use crate::{app, clock};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The backup to restore.
    #[arg(long, value_name = "NAME", required_unless_present = "file", conflicts_with = "file")]
    backup: Option<String>,
    /// A Restore in a file (YAML or JSON), with everything that its spec and its annotations can say.
    #[arg(short, long, value_name = "FILE")]
    file: Option<PathBuf>,
    #[command(flatten)]
    spec: SpecArgs,
    /// Ask the API server about each object, by a server-side dry run.
    #[arg(long)]
    server_side: bool,
    #[command(flatten)]
    cluster: ClusterFlags,
    /// How the plan is written.
    #[arg(long, value_enum, default_value_t = Output::Text)]
    output: Output,
}

/// Exits with 0 when nothing would change, 1 when something would, 2 when that could not be found out.
pub(super) fn run(args: Args) -> anyhow::Result<ExitCode> {
    // Fails only where a provider is installed already, which then is this one.
    drop(rustls::crypto::ring::default_provider().install_default());
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let output = args.output;
    match runtime.block_on(planned(args)) {
        Err(error) => Ok(policies::could_not_run(error)),
        Ok(preview) => {
            policies::print(&match output {
                Output::Text => print::text(&preview),
                Output::Json | Output::Yaml => output.written(print::json_text(&preview)),
            })?;
            Ok(match print::changes(&preview) {
                true => ExitCode::from(policies::PROBLEMS),
                false => policies::CLEAN,
            })
        }
    }
}

async fn planned(args: Args) -> anyhow::Result<Preview> {
    let Args { backup, file, spec, server_side, cluster, output: _ } = args;
    let ClusterFlags { namespace, access } = cluster;
    let mut restore = match file {
        Some(path) => read(&path)?,
        None => velero::Restore::new("plan", spec.into_spec(Source { backup, schedule: None })?),
    };
    restore.metadata.namespace = Some(namespace.clone());
    let client = app::connect(&access).await?;
    let home = Home { client: &client, namespace: &namespace };
    let (backup, location) = home.validate(&mut restore).await?;
    let store = Stores::new(&client, &namespace).open(&location).await;
    let run = RestoreRun {
        restore,
        backup,
        cluster: Cluster::new(client.clone()),
        store: store.context("opening the location of the backup")?,
        clock: clock::system(),
        progress: watch::channel(Progress::default()).0,
        cancel: CancellationToken::new(),
        timeouts: Timeouts::default(),
        options: RunOptions::default(),
        pod_volumes: PodVolumes::usual(&client, &namespace, &clock::system()),
    };
    let depth = if server_side { Depth::Server } else { Depth::Plan };
    preview(run, depth).await.context("planning the restore")
}

/// Where the resources of velero.io are.
struct Home<'a> {
    client: &'a Client,
    namespace: &'a str,
}

impl Home<'_> {
    /// As the daemon validates; gives the backup that is restored, and its location.
    async fn validate(
        &self,
        restore: &mut velero::Restore,
    ) -> anyhow::Result<(velero::Backup, velero::BackupStorageLocation)> {
        let Self { client, namespace } = *self;
        let backups: Api<velero::Backup> = Api::namespaced(client.clone(), namespace);
        let backups = match &restore.spec.backup_name {
            Some(name) => backups.get_opt(name).await.context("reading the backup")?.into_iter().collect(),
            None => {
                let label = velero::labels::SCHEDULE_NAME;
                let schedule = restore.spec.schedule_name.as_deref().unwrap_or_default();
                let of_schedule = ListParams::default().labels(&format!("{label}={schedule}"));
                backups.list(&of_schedule).await.context("reading the schedule's backups")?.items
            }
        };
        let locations: Api<velero::BackupStorageLocation> = Api::namespaced(client.clone(), namespace);
        let locations =
            locations.list(&ListParams::default()).await.context("reading the locations of backups")?.items;
        let config_map = match modifier_config_map(&restore.spec) {
            None => None,
            Some(name) => {
                let config_maps: Api<ConfigMap> = Api::namespaced(client.clone(), namespace);
                let found = config_maps.get_opt(name).await;
                let found = found.with_context(|| format!("reading ConfigMap {name}"))?;
                Some((name.to_owned(), found.map(|config_map| config_map.data.unwrap_or_default())))
            }
        };
        let modifiers = match &config_map {
            None => ModifierSource::NotNamed,
            Some((name, None)) => ModifierSource::Missing { name },
            Some((name, Some(data))) => ModifierSource::Found { name, data },
        };
        let policy = read_policy(&Cluster::new(client.clone()), restore).await?;
        let facts = Facts { backups: &backups, locations: &locations, modifiers, policy: &policy };
        let validated = validate(restore, facts);
        if !validated.problems.is_empty() {
            bail!("the restore would fail its validation: {}", validated.problems.join("; "));
        }
        restore.spec = validated.spec;
        let named = restore.spec.backup_name.as_deref();
        let backup = backups.into_iter().find(|backup| backup.metadata.name.as_deref() == named);
        let backup = backup.context("the backup is gone")?;
        let wanted = backup.spec.storage_location.as_deref();
        let location = locations.into_iter().find(|location| location.metadata.name.as_deref() == wanted);
        Ok((backup, location.context("the location of the backup is gone")?))
    }
}
