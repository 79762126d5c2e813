//! Wiring: the one place that knows every part of the daemon.
//!
//! Takes the options of `holdfast run`, starts everything, and ends when it is told to: controllers stop deciding, runs
//! are interrupted and stay claimed, so that the next start takes them up again.

use std::collections::BTreeMap;
use std::path::PathBuf;

use std::time::Duration;

use anyhow::{Context, bail};
use holdfast_policy::annotations::{MODE, VERSION};
use holdfast_policy::duration::GoDuration;
use holdfast_policy::ownership;
use k8s_openapi::api::core::v1::Namespace;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch as watch_channel;
use tokio_util::sync::CancellationToken;

use crate::cli::flags::Access;
use crate::cli::version;
use crate::clock::Clock;
use crate::controllers::OnRestart;
use crate::controllers::foreign_server::{self, Lookout};
use crate::controllers::leader::{self, Candidate, Leadership};
use crate::controllers::schedule::FirstRun;
use crate::controllers::switches::{Purpose, Switches};
use crate::downloads::Links;
use crate::engine::RunOptions;
use crate::engine::node_agents::DataPath;
use crate::engine::restore::Timeouts;
use crate::intake;
use crate::intake::origin::Given;
use crate::publish::mode::Mode;
use crate::web::Page;

pub mod cluster_name;
mod controllers;
pub mod crds;
mod downloads;
pub mod listen;
mod page;
mod parts;
mod records;
mod stall;
mod volume_policies;

use listen::Health;
pub use listen::ListenAddress;
use parts::Parts;

/// What the daemon is told at its start.
pub struct Options {
    pub namespace: String,
    pub cluster_name: Option<String>,
    /// What this process is called among its replicas; made up where it is not given.
    pub instance: Option<String>,
    /// How long a Velero server may take to answer before it is taken for absent.
    pub velero_wait: GoDuration,
    pub access: Access,
    pub policies: Given,
    pub mode: Mode,
    pub crds: crds::Absent,
    pub metrics_address: ListenAddress,
    pub download_address: ListenAddress,
    pub web_address: ListenAddress,
    /// Where the token is that those who look at the page must show.
    pub web_token_file: Option<PathBuf>,
    pub purpose: Purpose,
    pub switches: Switches,
    pub concurrent_backups: usize,
    pub concurrent_restores: usize,
    pub concurrent_deletions: usize,
    pub on_restart: OnRestart,
    pub store_validation_frequency: GoDuration,
    pub backup_sync_period: GoDuration,
    pub garbage_collection_frequency: GoDuration,
    pub default_backup_ttl: GoDuration,
    pub default_volumes_to_fs_backup: bool,
    pub default_snapshot_move_data: bool,
    pub default_item_operation_timeout: GoDuration,
    pub restore_timeouts: Timeouts,
    pub run_options: RunOptions,
    pub data_path: DataPath,
    pub fs_backup_timeout: Duration,
    pub restore_helper_image: Option<String>,
    pub default_backup_storage_location: String,
    /// By provider, without Velero's domain.
    pub default_snapshot_locations: BTreeMap<String, String>,
    pub first_run: FirstRun,
    /// The ConfigMap whose volume policies every backup gets.
    pub global_volume_policies: Option<String>,
    pub clock: Clock,
}

/// Runs until SIGTERM or SIGINT.
pub async fn run(options: Options) -> anyhow::Result<()> {
    tracing::info!(
        version = version::TEXT,
        velero = version::VELERO,
        namespace = options.namespace,
        "starting"
    );
    let stop = stop_at_signals()?;
    let client = connect(&options.access).await?;
    require_namespace(&client, &options.namespace).await?;
    let kinds = crds::ensure(&client, options.crds).await?;
    volume_policies::require(&client, &options.namespace, options.global_volume_policies.as_deref()).await?;
    let cluster = cluster_name::find(&client, options.cluster_name.as_deref()).await?;
    cluster_name::warn_if_not_given(&cluster, options.mode, options.purpose);

    let mut parts = Parts::new(stop.clone());
    let health = Health::new();
    if let Some((listener, address)) = listen::bind(&options.metrics_address).await? {
        tracing::info!(%address, "serving metrics and probes");
        let served = health.clone();
        parts.start(async move { Ok(listen::serve(listener, served).await?) });
    }
    let page = page::start(&client, &options, &health, &mut parts).await?;
    let links = match options.mode {
        Mode::Full => downloads::start(&client, &options, &mut parts).await?,
        Mode::Policy | Mode::Observe => None,
    };
    if options.mode == Mode::Observe {
        if let Some(page) = &page {
            page::show_alone(page, &client, &options.namespace, &mut parts);
        }
        start_intake(&client, &options, watch_channel::channel(None).1, &mut parts);
        health.ready(options.purpose);
        tracing::info!("controllers started");
        return parts.until_stopped(std::future::pending()).await;
    }
    let candidate = Candidate {
        client: client.clone(),
        namespace: options.namespace.clone(),
        lease: leader::NAME.to_owned(),
        instance: options.instance.clone().unwrap_or_else(unique_instance),
        about: BTreeMap::from([
            (MODE.to_owned(), options.mode.name().to_owned()),
            (VERSION.to_owned(), version::TEXT.to_owned()),
        ]),
        clock: options.clock.clone(),
    };
    let leading = candidate.lead(|holder| {
        tracing::info!(holder, "standing by");
        health.standing_by(holder);
    });
    let Some(leadership) = stop.run_until_cancelled(leading).await else {
        return parts.until_stopped(std::future::pending()).await;
    };
    let start =
        Start { client: &client, options: &options, this: &cluster, health: &health, links, page, kinds };
    let started = tokio::select! {
        started = start.everything(&leadership, &mut parts) => started,
        // Told by `until_stopped`.
        () = leadership.lost() => Ok(()),
    };
    let outcome = match started {
        Ok(()) => parts.until_stopped(leadership.lost()).await,
        Err(error) => {
            stop.cancel();
            parts.until_stopped(leadership.lost()).await.and(Err(error))
        }
    };
    health.stopping();
    leadership.release().await;
    outcome
}

/// What the start of the leader needs.
struct Start<'a> {
    client: &'a Client,
    options: &'a Options,
    /// Who this cluster is in buckets that it shares.
    this: &'a ownership::Cluster,
    health: &'a Health,
    links: Option<Links>,
    page: Option<Page>,
    kinds: foreign_server::Kinds,
}

impl Start<'_> {
    async fn everything(&self, leadership: &Leadership, parts: &mut Parts) -> anyhow::Result<()> {
        let Start { client, options, this: _, health, links: _, ref page, kinds } = *self;
        if options.mode == Mode::Full {
            let patience = options.velero_wait.as_std().unwrap_or_default();
            let patience = foreign_server::patience(patience, leadership.before, kinds);
            let alone = foreign_server::require_none(client, &options.namespace, patience);
            let stop = parts.stop.clone();
            match stop.run_until_cancelled(alone).await {
                Some(alone) => alone?,
                None => return Ok(()),
            }
        }
        let (foreign_server, told_of_server) = watch_channel::channel(None);
        start_intake(client, options, told_of_server, parts);
        if let (Mode::Policy, Some(page)) = (options.mode, page) {
            page::show_alone(page, client, &options.namespace, parts);
        }
        if options.mode == Mode::Full {
            let lookout = Lookout::new(leadership.since);
            let stall = stall::at_foreign_write(
                lookout.clone(),
                client.clone(),
                options.namespace.clone(),
                health.clone(),
                foreign_server,
                parts.stop_controllers.clone(),
            );
            parts.start(async move {
                stall.await;
                Ok(())
            });
            controllers::start(self, &leadership.claim, &lookout, parts).await;
        }
        if !parts.stop_controllers.is_cancelled() {
            health.ready(options.purpose);
            tracing::info!("controllers started");
        }
        Ok(())
    }
}

fn start_intake(
    client: &Client,
    options: &Options,
    foreign_server: watch_channel::Receiver<Option<String>>,
    parts: &mut Parts,
) {
    let intake = intake::Options {
        policies: options.policies.clone(),
        namespace: options.namespace.clone(),
        cluster_name: options.cluster_name.clone(),
        default_location: options.default_backup_storage_location.clone(),
        mode: options.mode,
        foreign_server,
        purpose: options.purpose,
    };
    let (publisher, clock, stop) = (client.clone(), options.clock.clone(), parts.stop.clone());
    parts.start(async move { Ok(intake::run(intake, publisher, clock, stop).await?) });
}

/// A client for the cluster that the user names, or that the surroundings name.
pub async fn connect(Access { kubeconfig, context }: &Access) -> anyhow::Result<Client> {
    let options = KubeConfigOptions { context: context.clone(), ..KubeConfigOptions::default() };
    let mut config = match (kubeconfig, context) {
        (Some(path), _) => {
            let file = Kubeconfig::read_from(path)
                .with_context(|| format!("cannot read the kubeconfig {}", path.display()))?;
            Config::from_custom_kubeconfig(file, &options)
                .await
                .with_context(|| format!("cannot use the kubeconfig {}", path.display()))?
        }
        (None, Some(context)) => Config::from_kubeconfig(&options)
            .await
            .with_context(|| format!("cannot use the context {context}"))?,
        (None, None) => Config::infer().await.context("cannot find out how to reach the cluster")?,
    };
    // The client's own would repeat a write whose end is unclear. Whoever asks knows what may be asked again.
    config.default_retry = false;
    Client::try_from(config).context("cannot prepare the connection to the cluster")
}

async fn require_namespace(client: &Client, name: &str) -> anyhow::Result<()> {
    let namespaces: Api<Namespace> = Api::all(client.clone());
    let found = namespaces.get_opt(name).await.with_context(|| format!("cannot read namespace {name}"))?;
    match found {
        Some(_) => Ok(()),
        None => bail!("namespace {name} does not exist: create it with `kubectl create namespace {name}`"),
    }
}

/// A name that no other process has, for one that was given none.
pub fn unique_instance() -> String {
    let host = std::env::var("HOSTNAME").ok().filter(|host| !host.is_empty());
    format!("{}_{}", host.as_deref().unwrap_or("holdfast"), uuid::Uuid::new_v4())
}

pub fn stop_at_signals() -> anyhow::Result<CancellationToken> {
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?;
    let stop = CancellationToken::new();
    let signalled = stop.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => (),
            _ = interrupt.recv() => (),
        }
        signalled.cancel();
    });
    Ok(stop)
}
