//! Wiring: the one place that knows every part of the daemon.
//!
//! Takes the options of `holdfast run`, starts everything, and ends when it is told to: controllers stop deciding, runs
//! are interrupted and stay claimed, so that the next start takes them up again.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use holdfast_policy::duration::GoDuration;
use k8s_openapi::api::core::v1::Namespace;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config};
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::cli::version;
use crate::clock::Clock;
use crate::cluster::Cluster;
use crate::controllers::OnRestart;
use crate::controllers::claim::Claim;
use crate::controllers::schedule::FirstRun;
use crate::controllers::stores::Stores;
use crate::controllers::watched::{Record, Watched};
use crate::controllers::{backup, location, restore, schedule};
use crate::engine::backup::Defaults;
use crate::intake;
use crate::intake::origin::Given;

pub mod crds;
pub mod listen;

use listen::Health;
pub use listen::ListenAddress;

/// How long runs may take to leave nothing half-written behind; longer than it takes to abort an upload.
const GRACE: Duration = Duration::from_secs(10);

/// What the daemon is told at its start.
pub struct Options {
    pub namespace: String,
    pub cluster_name: Option<String>,
    pub kubeconfig: Option<PathBuf>,
    pub policies: Given,
    pub mode: Mode,
    pub crds: crds::Absent,
    pub metrics_address: ListenAddress,
    pub concurrent_backups: usize,
    pub concurrent_restores: usize,
    pub on_restart: OnRestart,
    pub store_validation_frequency: GoDuration,
    pub default_backup_ttl: GoDuration,
    pub default_item_operation_timeout: GoDuration,
    pub default_backup_storage_location: String,
    pub first_run: FirstRun,
    pub clock: Clock,
}

/// Who carries out what policies ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// This daemon.
    Full,
    /// A Velero server that runs beside it.
    Policy,
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
    let client = connect(options.kubeconfig.as_deref()).await?;
    require_namespace(&client, &options.namespace).await?;
    crds::ensure(&client, options.crds).await?;

    let mut parts = Parts { set: JoinSet::new(), stop };
    let health = Health::new();
    if let Some((listener, address)) = listen::bind(&options.metrics_address).await? {
        tracing::info!(%address, "serving metrics and probes");
        let served = health.clone();
        parts.start(async move { Ok(listen::serve(listener, served).await?) });
    }
    let intake = intake::Options {
        policies: options.policies.clone(),
        namespace: options.namespace.clone(),
        cluster_name: options.cluster_name.clone(),
    };
    let (publisher, clock, stop) = (client.clone(), options.clock.clone(), parts.stop.clone());
    parts.start(async move { Ok(intake::run(intake, publisher, clock, stop).await?) });
    match options.mode {
        Mode::Full => start_controllers(&client, &options, &mut parts).await,
        Mode::Policy => (),
    }
    if !parts.stop.is_cancelled() {
        health.ready();
        tracing::info!("controllers started");
    }
    let outcome = parts.until_stopped().await;
    health.stopping();
    outcome
}

/// What runs side by side until the daemon is told to stop.
struct Parts {
    set: JoinSet<anyhow::Result<()>>,
    stop: CancellationToken,
}

impl Parts {
    /// Starts a part that is dropped when the daemon stops.
    fn start(&mut self, part: impl Future<Output = anyhow::Result<()>> + Send + 'static) {
        let stop = self.stop.clone();
        self.set.spawn(async move { stop.run_until_cancelled(part).await.unwrap_or(Ok(())) });
    }

    /// Starts a part that ends by itself when the daemon stops, in its own time.
    fn start_controller(&mut self, part: impl Future<Output = ()> + Send + 'static) {
        self.set.spawn(async move {
            part.await;
            Ok(())
        });
    }

    async fn until_stopped(mut self) -> anyhow::Result<()> {
        let ended = tokio::select! {
            () = self.stop.cancelled() => None,
            ended = self.set.join_next() => ended,
        };
        // A part that ends because of the signal may be seen before the signal itself.
        let unasked = ended.filter(|_| !self.stop.is_cancelled());
        tracing::info!("stopping");
        self.stop.cancel();
        let all = async { while self.set.join_next().await.is_some() {} };
        if tokio::time::timeout(GRACE, all).await.is_err() {
            tracing::warn!(seconds = GRACE.as_secs(), "some parts did not stop in time");
        }
        match unasked {
            None => Ok(()),
            Some(ended) => {
                ended.context("a part of the daemon panicked")??;
                bail!("a part of the daemon ended by itself");
            }
        }
    }
}

/// Starts a controller per kind, once what there is at the start is known.
async fn start_controllers(client: &Client, options: &Options, parts: &mut Parts) {
    let namespace = &options.namespace;
    let locations = watch(client, namespace, parts);
    let backups = watch(client, namespace, parts);
    let restores = watch(client, namespace, parts);
    let schedules = watch(client, namespace, parts);
    let all_filled =
        async { tokio::join!(locations.filled(), backups.filled(), restores.filled(), schedules.filled()) };
    tokio::select! {
        _ = all_filled => (),
        () = parts.stop.cancelled() => return,
    }

    let stores = Stores::new(client, namespace);
    let cluster = Cluster::new(client.clone());
    let claim = Claim { holder: holder(options), epoch: 1 };
    let location = location::Controller {
        locations: locations.clone(),
        stores: stores.clone(),
        clock: options.clock.clone(),
        default_frequency: options.store_validation_frequency,
    };
    let backup = backup::Controller {
        backups: backups.clone(),
        locations: locations.clone(),
        stores: stores.clone(),
        cluster: cluster.clone(),
        clock: options.clock.clone(),
        claim: claim.clone(),
        limit: options.concurrent_backups,
        on_restart: options.on_restart,
        defaults: Defaults {
            location: options.default_backup_storage_location.clone(),
            ttl: options.default_backup_ttl,
            item_operation_timeout: options.default_item_operation_timeout,
            ..Defaults::default()
        },
    };
    let restore = restore::Controller {
        namespace: namespace.clone(),
        restores,
        backups: backups.clone(),
        locations: locations.clone(),
        stores: stores.clone(),
        cluster,
        clock: options.clock.clone(),
        claim,
        limit: options.concurrent_restores,
        on_restart: options.on_restart,
        item_operation_timeout: options.default_item_operation_timeout,
    };
    let schedule = schedule::Controller {
        schedules,
        backups,
        locations,
        stores,
        clock: options.clock.clone(),
        default_location: options.default_backup_storage_location.clone(),
        first_run: options.first_run,
    };
    let stop = parts.stop.clone();
    parts.start_controller(location.run(stop.clone()));
    parts.start_controller(backup.run(stop.clone()));
    parts.start_controller(restore.run(stop.clone()));
    parts.start_controller(schedule.run(stop.clone()));
}

fn watch<K: Record>(client: &Client, namespace: &str, parts: &mut Parts) -> Arc<Watched<K>> {
    let watched = Arc::new(Watched::new(client, namespace));
    let followed = watched.clone();
    parts.start(async move {
        followed.follow().await;
        Ok(())
    });
    watched
}

/// A client for the cluster that the user names, or that the surroundings name.
pub async fn connect(kubeconfig: Option<&Path>) -> anyhow::Result<Client> {
    let config = match kubeconfig {
        Some(path) => {
            let file = Kubeconfig::read_from(path)
                .with_context(|| format!("cannot read the kubeconfig {}", path.display()))?;
            Config::from_custom_kubeconfig(file, &KubeConfigOptions::default())
                .await
                .with_context(|| format!("cannot use the kubeconfig {}", path.display()))?
        }
        None => Config::infer().await.context("cannot find out how to reach the cluster")?,
    };
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

/// Who claims the runs of this process.
fn holder(options: &Options) -> String {
    let host = std::env::var("HOSTNAME").ok().filter(|host| !host.is_empty());
    options.cluster_name.clone().or(host).unwrap_or_else(|| "holdfast".to_owned())
}

fn stop_at_signals() -> anyhow::Result<CancellationToken> {
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
