//! Runs one backup: takes a Backup whose spec is valid and complete, a cluster and a store, and leaves in the
//! bucket the archive and all files beside it, `velero-backup.json` aside. That one says that the backup
//! exists, so the caller writes it last. After a failure nothing of the run is left.

use holdfast_policy::time::to_chrono;
use holdfast_policy::velero;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::archive;
use crate::clock::Clock;
use crate::cluster::{self, Cluster};
use crate::engine::RunOptions;
use crate::engine::pod_volumes::PodVolumes;
use crate::engine::run_log::{self, Owner, Place, RunKind, RunLog};
use crate::engine::select::{self, Selection, VOLUME_GROUP_LABEL};
use crate::hooks::Turns;
use crate::store::{self, BackupStore};

mod additional;
mod block;
mod collect;
pub(crate) mod csi;
mod data_uploads;
mod existing;
mod files;
mod hooks;
mod items;
mod ledger;
mod native;
mod pod_volumes;
mod policy;
mod prepare;
mod progress;
mod upload;
mod volume_entry;
mod volume_info;
mod volume_verdict;

pub use csi::leftovers;
pub use data_uploads::leftovers as move_leftovers;
pub use existing::existing_namespaces;
pub use native::clear_snapshots;
pub use policy::{PolicySource, PolicySources, ReadError};
pub use prepare::{Defaults, Environment, KubernetesVersion, Prepared, prepare};
pub use progress::Progress;
pub use volume_info::SnapshotCounts;

use collect::Collector;
use csi::CsiSnapshots;
use data_uploads::DataUploads;
use ledger::Ledger;
use native::Natives;
use pod_volumes::{Transfers, Which};
use upload::Upload;
use volume_info::VolumeInfo;

/// What a run needs.
pub struct BackupRun {
    /// As [`prepare`] gave it.
    pub backup: velero::Backup,
    pub cluster: Cluster,
    pub store: BackupStore,
    pub clock: Clock,
    /// Told at most once a second, and at the end.
    pub progress: watch::Sender<Progress>,
    pub cancel: CancellationToken,
    /// The same for all runs at a time.
    pub turns: Turns,
    pub options: RunOptions,
    pub pod_volumes: PodVolumes,
}

/// How a run ended that got through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outcome {
    pub warnings: u64,
    pub errors: u64,
    /// Objects taken up; those that failed are among them.
    pub items: u64,
    pub archive: archive::Stats,
    pub hooks: crate::hooks::Counts,
    pub snapshots: SnapshotCounts,
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    // Users and scripts know this sentence from Velero.
    #[error("backup already exists in object storage")]
    Exists,
    #[error("the backup was cancelled")]
    Cancelled,
    #[error("cannot tell whether the bucket has a backup of this name")]
    LookUp(#[source] store::Error),
    #[error("cannot learn what the cluster serves")]
    Discover(#[source] cluster::Error),
    #[error("cannot list the cluster's namespaces")]
    Namespaces(#[from] existing::Error),
    #[error("cannot read the backup's resource policy")]
    ReadPolicy(#[from] ReadError),
    #[error("invalid resource policies: {0}")]
    Policy(String),
    #[error("cannot resolve the backup's filters")]
    Select(#[from] select::Error),
    #[error("invalid backup hooks")]
    Hooks(#[from] crate::hooks::Error),
    #[error("cannot begin the archive")]
    Begin(#[source] store::Error),
    #[error("cannot write the archive")]
    Archive(#[from] archive::Error),
    #[error("cannot upload the archive")]
    Upload(#[source] store::Error),
    #[error("the upload of the archive ended before its time")]
    UploadGone,
    #[error("cannot keep the backup's log")]
    Log(#[from] run_log::Error),
    #[error("cannot encode what became of a snapshot")]
    Record(#[source] serde_json::Error),
    #[error("cannot encode the resource list")]
    ResourceList(#[source] std::io::Error),
    #[error("cannot upload a file beside the archive")]
    File(#[source] store::Error),
}

/// Runs the backup to its end.
pub async fn run(run: BackupRun) -> Result<Outcome, Error> {
    let name = run.backup.metadata.name.clone().unwrap_or_default();
    if run.store.backup_exists(&name).await.map_err(Error::LookUp)? {
        return Err(Error::Exists);
    }
    let store = run.store.clone();
    let natives = Natives::new(run.cluster.client(), &run.clock, &run.backup);
    let csi = CsiSnapshots::new(run.cluster.client(), &run.clock, &run.backup);
    let uploads =
        DataUploads::new(run.cluster.client(), &run.clock, &run.backup, &run.pod_volumes, &run.store);
    let outcome = store_all(run, &name, &natives, &csi, &uploads).await;
    if outcome.is_err() {
        clear(&store, &name).await;
        uploads.give_up().await;
        tokio::join!(natives.give_up(), csi.give_up());
    }
    outcome
}

async fn store_all(
    run: BackupRun,
    name: &str,
    natives: &Natives,
    csi: &CsiSnapshots,
    uploads: &DataUploads,
) -> Result<Outcome, Error> {
    let BackupRun { backup, cluster, store, clock, progress, cancel, turns, options, pod_volumes } = run;
    let namespace = backup.metadata.namespace.clone().unwrap_or_default();
    let started = backup.status.start_timestamp.as_ref().map_or_else(|| clock(), to_chrono);
    let owner = Owner { kind: RunKind::Backup, namespace: &namespace, name };
    let run_clock = clock.clone();
    let log = RunLog::start(owner, options.log_format, clock)?;
    log.info("Starting backup", &[]);

    // Read again: what was validated may have changed since, and a run may be one that is taken up again.
    let sources = PolicySources::read(&cluster, &backup, policy::global_of(&backup)).await?;
    let policy = sources.parse().map_err(|problems| Error::Policy(problems.join("; ")))?;
    let discovery = cluster.discover().await.map_err(Error::Discover)?;
    let existing = existing_namespaces(&cluster).await?;
    let selection = Selection::under(&backup.spec, &policy, &discovery, &existing)?;
    for warning in selection.fine.warnings() {
        log.warning(Place::Velero, warning.as_str());
    }
    let resolve = |name: &str| discovery.resolve(name).map(|resource| resource.group_resource());
    let rules = crate::hooks::backup::Rules::new(&backup.spec.hooks, resolve)?;
    let upload = Upload::begin(&store, name, started).await?;
    let (writer, upload) = upload.split();
    let transfers = Transfers::new(pod_volumes::Setting {
        settings: pod_volumes,
        client: cluster.client(),
        clock: &run_clock,
        store: &store,
        backup: &backup,
        started,
    });
    if let Some(problem) = transfers.timeout_problem() {
        log.error(Place::Velero, problem);
    }
    let collector = Collector {
        name,
        cluster: &cluster,
        api_versions: options.api_versions,
        discovery: &discovery,
        existing: &existing,
        selection: &selection,
        policy: &policy,
        ordered: &backup.spec.ordered_resources,
        log: &log,
        writer,
        ledger: Ledger::default(),
        volumes: VolumeInfo::new(&backup.spec),
        transfers,
        natives,
        csi,
        uploads,
        hooks: hooks::Hooks::new(rules, turns),
        blocks: block::Blocks::default(),
        group_label: backup.spec.volume_group_snapshot_label_key.as_deref().unwrap_or(VOLUME_GROUP_LABEL),
        bindings: tokio::sync::OnceCell::new(),
        waiting: progress::Waiting::default(),
    };
    let collected = cancel
        .run_until_cancelled(progress::telling(&progress, &collector, collect(&collector)))
        .await
        .unwrap_or(Err(Error::Cancelled));
    if collected.is_err() {
        collector.close_open_pods().await;
        collector.transfers.give_up().await;
    }
    let Collector { writer, ledger, volumes, hooks, .. } = collector;
    let archive = upload.end(writer, collected).await?;
    volumes.report_uncopied(&log);

    let items = ledger.started();
    log.info(&format!("Backed up a total of {items} items"), &[]);
    progress.send_replace(Progress { total: items, done: items, moves: uploads.waiting() });
    let counts = files::put(&store, name, &log, &ledger, &volumes).await?;
    if cancel.is_cancelled() {
        return Err(Error::Cancelled);
    }
    Ok(Outcome {
        warnings: counts.warnings,
        errors: counts.errors,
        items,
        archive,
        hooks: hooks.tally.counts(),
        snapshots: volumes.counts(),
    })
}

async fn collect(collector: &Collector<'_>) -> Result<(), Error> {
    collector.collect().await?;
    collector.wait_for_files(Which::All).await;
    collector.note_files().await;
    let (native, csi) = tokio::join!(collector.finish_snapshots(), collector.settle_snapshots());
    native.map_err(Error::Record)?;
    csi?;
    Ok(collector.settle_moves().await?)
}

/// Removes what a failed run left. A backup of this name that somebody else finished meanwhile stays.
async fn clear(store: &BackupStore, name: &str) {
    let cleared = match store.backup_exists(name).await {
        Ok(true) => return,
        Ok(false) => store.delete_backup_folder(name).await,
        Err(error) => Err(error),
    };
    if let Err(error) = cleared {
        // Without its metadata file nothing takes the rest for a backup, and the next run writes over it.
        tracing::warn!(backup = name, error = %error.with_causes(), "left files of a failed backup in the bucket");
    }
}
