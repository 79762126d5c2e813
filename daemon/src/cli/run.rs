//! `holdfast run`: the flags of the daemon, its log and its runtime.

mod features;
mod velero_flags;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::ValueEnum;
use holdfast_policy::duration::GoDuration;
use tracing_subscriber::EnvFilter;

use super::flags::ClusterFlags;
use super::policies::Hooks;
use crate::app::{self, ListenAddress};
use crate::clock;
use crate::controllers::OnRestart;
use crate::controllers::schedule::FirstRun;
use crate::controllers::switches::{Name, Purpose, Switches};
use crate::engine::node_agents::DataPath;
use crate::engine::restore::Timeouts;
use crate::engine::{self, RunOptions};
use crate::intake::origin::Given;
use crate::publish::mode::Mode;
use velero_flags::VeleroFlags;

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    cluster: ClusterFlags,
    /// The name of this cluster in buckets that it shares with others; without it the uid of namespace kube-system.
    #[arg(long)]
    cluster_name: Option<String>,
    /// What this process is called among its replicas. No two that run at a time may share it; a process that finds its
    /// own name in the lease takes over at once.
    #[arg(long, env = "POD_NAME")]
    instance: Option<String>,
    /// How long a Velero server in the namespace may take to answer before it is taken for absent; 0 asks none.
    #[arg(long, env = "HOLDFAST_VELERO_WAIT", default_value = "15s")]
    velero_wait: GoDuration,
    /// A directory of policy files to keep published, as DIR or NAME=DIR; may be given more than once.
    #[arg(long, value_name = "DIR")]
    policies: Vec<PathBuf>,
    /// A ConfigMap of policy files, as NAMESPACE/NAME or SOURCE=NAMESPACE/NAME; may be given more than once.
    #[arg(long, value_name = "NAMESPACE/NAME")]
    policy_configmap: Vec<String>,
    /// Keep the ConfigMaps that this label selector chooses published too.
    #[arg(long, value_name = "SELECTOR")]
    policy_selector: Option<String>,
    /// The namespaces in which --policy-selector looks; without any, Holdfast's own.
    #[arg(long, value_name = "NAMESPACE", value_delimiter = ',')]
    policy_namespaces: Vec<String>,
    #[command(flatten)]
    hooks: Hooks,
    /// What is done in this cluster.
    #[arg(long, value_enum, default_value_t = Mode::Full)]
    mode: Mode,
    /// Create the CustomResourceDefinitions of velero.io that the cluster lacks.
    #[arg(long)]
    install_crds: bool,
    /// Where /metrics, /healthz and /readyz are served: HOST:PORT, :PORT or none.
    #[arg(long, default_value = ":8085")]
    metrics_address: ListenAddress,
    /// Where downloads from locations without signed URLs are served: HOST:PORT, :PORT or none. Their URLs begin with the
    /// location's publicUrl, or else with this address.
    #[arg(long, default_value = "127.0.0.1:0")]
    download_address: ListenAddress,
    /// Where a page that tells how everything fares is served: HOST:PORT, :PORT or none.
    #[arg(long, default_value = "none")]
    web_address: ListenAddress,
    /// A file with the token that those who look at the page must show, as a bearer's or as a password.
    #[arg(long, value_name = "FILE", env = "HOLDFAST_WEB_TOKEN_FILE")]
    web_token_file: Option<PathBuf>,
    /// Only bring back: no backups, schedules, expiry and deletion.
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value_t = false)]
    restore_only: bool,
    /// Controllers that don't run, by the names that Velero gives them.
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    disable_controllers: Vec<Name>,
    /// How many backups run at a time.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..))]
    concurrent_backups: u32,
    /// How many restores run at a time.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..))]
    concurrent_restores: u32,
    /// How many backups are deleted at a time.
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..))]
    concurrent_deletions: u32,
    /// What happens to runs that were in progress when the daemon stopped.
    #[arg(long, value_enum, default_value_t = OnRestartArg::Resume)]
    on_restart: OnRestartArg,
    /// How often a location without a frequency of its own is checked; 0 means once.
    #[arg(long, default_value = "1m")]
    store_validation_frequency: GoDuration,
    /// How often a location without a period of its own is looked through for backups; 0 means a minute.
    #[arg(long, default_value = "1m")]
    backup_sync_period: GoDuration,
    /// How soon a backup whose deletion was refused is tried again; 0 means an hour. Backups expire at their instant.
    #[arg(long, default_value = "60m")]
    garbage_collection_frequency: GoDuration,
    /// How long a backup without a ttl of its own is kept.
    #[arg(long, default_value = "720h")]
    default_backup_ttl: GoDuration,
    /// How long the asynchronous operations of a backup or restore may take where it does not say.
    #[arg(long, default_value = "4h")]
    default_item_operation_timeout: GoDuration,
    /// How long a restore waits for definitions to be established and for hooks that set no limit; for services of webhooks
    /// that it restores no longer than two minutes of it.
    #[arg(long, default_value = "10m")]
    resource_timeout: GoDuration,
    /// How long a restore waits for namespaces that are terminating.
    #[arg(long, default_value = "10m")]
    terminating_resource_timeout: GoDuration,
    /// The location of backups that name none, where no location is marked as the default.
    #[arg(long, default_value = "default")]
    default_backup_storage_location: String,
    /// The snapshot location of each provider that has several, for backups that name none: `PROVIDER:NAME`.
    #[arg(long, value_name = "PROVIDER:NAME", value_delimiter = ',', value_parser = provider_and_name)]
    default_volume_snapshot_locations: Vec<(String, String)>,
    /// A ConfigMap in Holdfast's namespace whose volume policies every backup gets, behind its own.
    #[arg(long, value_name = "NAME")]
    global_backup_volume_policies_configmap: Option<String>,
    /// Whether a schedule that does not say skips its first backup.
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value_t = false)]
    schedule_skip_immediately: bool,
    /// Whether a backup that does not say takes the files of all pod volumes.
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value_t = false)]
    default_volumes_to_fs_backup: bool,
    /// Whether a backup that does not say moves the data of its snapshots to its location.
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value_t = false)]
    default_snapshot_move_data: bool,
    /// Who moves the files of pods' volumes.
    #[arg(long, value_enum, default_value_t = DataPathArg::Holdfast)]
    data_path: DataPathArg,
    /// How long reading, or restoring, the files of all pods' volumes of a backup may take.
    #[arg(long, alias = "pod-volume-operation-timeout", alias = "restic-timeout", default_value = "4h")]
    fs_backup_timeout: GoDuration,
    /// The image of the init container that holds restored pods back until their files are there; it has holdfast in it.
    /// Without this, that of the Deployment velero or holdfast in Holdfast's namespace.
    #[arg(long, value_name = "IMAGE")]
    restore_helper_image: Option<String>,
    /// Features of Velero's to turn on, by their names: with EnableAPIGroupVersions a backup holds every version that the API
    /// server serves of an object, and a restore takes the one that this API server prefers.
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    features: Vec<String>,
    /// How lines look, in the log of the daemon and in those of backups and restores.
    #[arg(long, value_enum, default_value_t = LogFormat::Text)]
    log_format: LogFormat,
    /// The least severe level that is logged.
    #[arg(long, value_enum, default_value_t = LogLevel::Info)]
    log_level: LogLevel,
    #[command(flatten)]
    velero: VeleroFlags,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum DataPathArg {
    /// `holdfast node-agent`, into repositories that restic reads, too.
    Holdfast,
    /// Velero's own node agent, into the kopia repositories that it has made.
    Velero,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum OnRestartArg {
    /// They are taken up again.
    Resume,
    /// They have failed.
    Fail,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum LogFormat {
    Text,
    Json,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum LogLevel {
    Trace,
    Debug,
    Info,
    #[value(alias = "warn")]
    Warning,
    #[value(alias = "fatal", alias = "panic")]
    Error,
}

/// An object that brings another along is stored inside the storing of the first: room for deep chains. What is not used
/// costs no memory.
const STACK_BYTES: usize = 8 << 20;

/// Runs the daemon until it is told to stop.
pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    start_log(args.log_format, args.log_level)?;
    args.velero.tell();
    // Fails only where a provider is installed already, which then is this one.
    drop(rustls::crypto::ring::default_provider().install_default());
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .thread_stack_size(STACK_BYTES)
        .enable_all()
        .build()
        .context("cannot start the asynchronous runtime")?;
    runtime.block_on(app::run(options(args)?))?;
    Ok(ExitCode::SUCCESS)
}

fn options(args: Args) -> anyhow::Result<app::Options> {
    let Args {
        cluster: ClusterFlags { namespace, access },
        cluster_name,
        instance,
        velero_wait,
        policies,
        policy_configmap,
        policy_selector,
        policy_namespaces,
        hooks,
        mode,
        install_crds,
        metrics_address,
        download_address,
        web_address,
        web_token_file,
        restore_only,
        disable_controllers,
        concurrent_backups,
        concurrent_restores,
        concurrent_deletions,
        on_restart,
        store_validation_frequency,
        backup_sync_period,
        garbage_collection_frequency,
        default_backup_ttl,
        default_item_operation_timeout,
        resource_timeout,
        terminating_resource_timeout,
        default_backup_storage_location,
        default_volume_snapshot_locations,
        global_backup_volume_policies_configmap,
        schedule_skip_immediately,
        default_volumes_to_fs_backup,
        default_snapshot_move_data,
        data_path,
        fs_backup_timeout,
        restore_helper_image,
        features,
        log_format,
        log_level: _,
        velero: _,
    } = args;
    if mode == Mode::Observe && install_crds {
        bail!("--mode observe writes nothing, and --install-crds would");
    }
    if mode != Mode::Full && restore_only {
        bail!("--restore-only is about what is carried out, and only --mode full carries anything out");
    }
    let purpose = if restore_only { Purpose::RestoreOnly } else { Purpose::BackupAndRestore };
    Ok(app::Options {
        namespace,
        cluster_name,
        instance,
        velero_wait,
        access,
        policies: Given {
            directories: policies,
            config_maps: policy_configmap,
            selector: policy_selector,
            selected_namespaces: policy_namespaces,
            hooks_in: hooks.allowed(),
        },
        mode,
        crds: if install_crds { app::crds::Absent::Create } else { app::crds::Absent::Refuse },
        metrics_address,
        download_address,
        web_address,
        web_token_file,
        purpose,
        switches: Switches::new(&disable_controllers, purpose).context("--disable-controllers")?,
        concurrent_backups: concurrent_backups as usize,
        concurrent_restores: concurrent_restores as usize,
        concurrent_deletions: concurrent_deletions as usize,
        on_restart: match on_restart {
            OnRestartArg::Resume => OnRestart::Resume,
            OnRestartArg::Fail => OnRestart::Fail,
        },
        store_validation_frequency,
        backup_sync_period: positive_or(backup_sync_period, 60),
        garbage_collection_frequency: positive_or(garbage_collection_frequency, 3600),
        default_backup_ttl,
        default_item_operation_timeout,
        default_volumes_to_fs_backup,
        default_snapshot_move_data,
        restore_timeouts: timeouts(resource_timeout, terminating_resource_timeout),
        default_backup_storage_location,
        default_snapshot_locations: default_volume_snapshot_locations.into_iter().collect(),
        data_path: match data_path {
            DataPathArg::Holdfast => DataPath::Holdfast,
            DataPathArg::Velero => DataPath::Velero,
        },
        restore_helper_image,
        fs_backup_timeout: positive_or(fs_backup_timeout, 4 * 3600).as_std().unwrap_or_default(),
        run_options: RunOptions {
            api_versions: features::api_versions(&features),
            log_format: match log_format {
                LogFormat::Text => engine::LogFormat::Text,
                LogFormat::Json => engine::LogFormat::Json,
            },
        },
        first_run: if schedule_skip_immediately { FirstRun::Skip } else { FirstRun::AtOnce },
        global_volume_policies: global_backup_volume_policies_configmap,
        clock: clock::system(),
    })
}

/// As Velero writes it. The provider may carry Velero's domain.
fn provider_and_name(text: &str) -> Result<(String, String), String> {
    let pair = text.split_once(':').filter(|(provider, name)| !provider.is_empty() && !name.is_empty());
    let (provider, name) = pair.ok_or("it has to be PROVIDER:NAME")?;
    Ok((provider.strip_prefix("velero.io/").unwrap_or(provider).to_owned(), name.to_owned()))
}

/// Nothing, or less, stands for what holds without the flag.
fn timeouts(resource: GoDuration, terminating: GoDuration) -> Timeouts {
    let usual = Timeouts::default();
    let given = |given: GoDuration| given.as_std().filter(|given| !given.is_zero());
    let resource = given(resource).unwrap_or(usual.resource);
    Timeouts {
        resource,
        terminating: given(terminating).unwrap_or(usual.terminating),
        webhooks: usual.webhooks.min(resource),
    }
}

/// As Velero reads its flag.
fn positive_or(period: GoDuration, seconds: i64) -> GoDuration {
    if period.is_zero() || period.is_negative() { GoDuration::from_secs(seconds) } else { period }
}

pub(super) fn start_log(format: LogFormat, level: LogLevel) -> anyhow::Result<()> {
    let directive = match level {
        LogLevel::Trace => "trace",
        LogLevel::Debug => "debug",
        LogLevel::Info => "info",
        LogLevel::Warning => "warn",
        LogLevel::Error => "error",
    };
    // HTTP libraries log every request below info; that is only wanted when everything is.
    let filter = match level {
        LogLevel::Trace => EnvFilter::new(directive),
        LogLevel::Debug | LogLevel::Info | LogLevel::Warning | LogLevel::Error => {
            EnvFilter::try_new(format!("warn,holdfast={directive}"))?
        }
    };
    let log = tracing_subscriber::fmt().with_writer(std::io::stderr).with_env_filter(filter);
    let started = match format {
        LogFormat::Text => log.with_ansi(false).try_init(),
        LogFormat::Json => log.json().flatten_event(true).try_init(),
    };
    started.map_err(|error| anyhow::anyhow!("cannot start the log: {error}"))
}
