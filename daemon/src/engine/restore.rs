//! The restore of a backup: its archive is checked whole and indexed, a plan is made of the index, and the plan is
//! carried out wave by wave.
//!
//! In: a validated Restore, its Backup, the cluster, the store. Out: objects in the cluster, five files in the
//! bucket, and an [`Outcome`]. Phases, and what the Restore says of itself, are left to the controller. Nothing is
//! created before the archive has been read to its end and found sound.

mod compare;
mod create;
mod data_downloads;
mod existing;
mod facts;
mod fate;
mod files;
mod first_look;
mod hooks;
mod item;
mod leftovers;
mod look;
mod modifiers;
mod namespaces;
mod native;
mod new_kinds;
mod order;
mod owners;
mod plan;
mod pod_volumes;
mod policy;
mod preview;
mod priorities;
mod problems;
mod provisioned;
mod records;
mod reset;
mod restored_volumes;
mod run;
mod selection;
mod settings;
mod source;
mod validate;
mod versions;
mod volume_groups;
mod volumes;
mod webhooks;
mod wishes;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::time::Duration;

use holdfast_policy::time::to_chrono;
use holdfast_policy::velero;
use serde_json::Value;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::actions::restore::csi::Csi;
use crate::clock::Clock;
use crate::cluster::{self, Cluster};
use crate::engine::backup::ReadError;
use crate::engine::data_moves::Waiting;
use crate::engine::pod_volumes::PodVolumes;
use crate::engine::run_log::{self, Owner, Place, RunKind, RunLog};
use crate::engine::{ApiVersions, RunOptions};
use crate::store::BackupStore;

use modifiers::Modifiers;
use preview::Hand;
use problems::{tell_problems, tell_unknown_groups};
use records::Records;
use run::Run;
use settings::Settings;
use versions::Choice;
use wishes::{DryRun, Wishes};

pub use compare::Difference;
pub use fate::Fate;
pub use namespaces::Standing;
pub use policy::read_policy;
pub use preview::{Depth, PlannedNamespace, PlannedObject, Preview};
pub use source::Error as SourceError;
pub use validate::{Facts, ModifierSource, NON_RESTORABLE, Validated, modifier_config_map, validate};

/// One restore to carry out.
pub struct RestoreRun {
    /// Validated: its `backupName` is that of `backup`.
    pub restore: velero::Restore,
    pub backup: velero::Backup,
    pub cluster: Cluster,
    pub store: BackupStore,
    pub clock: Clock,
    pub progress: watch::Sender<Progress>,
    pub cancel: CancellationToken,
    pub timeouts: Timeouts,
    pub options: RunOptions,
    pub pod_volumes: PodVolumes,
}

/// How long a restore waits for others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// Definitions that are to be established, and hooks that set no limit themselves: Velero's `--resource-timeout`.
    pub resource: Duration,
    /// Namespaces that are on their way out: Velero's `--terminating-resource-timeout`.
    pub terminating: Duration,
    /// Services that answer webhooks.
    pub webhooks: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        let ten_minutes = Duration::from_secs(600);
        Self { resource: ten_minutes, terminating: ten_minutes, webhooks: Duration::from_secs(120) }
    }
}

/// Objects that are selected, and those of them that have been dealt with.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Progress {
    pub total: u64,
    pub done: u64,
    /// What the run waits for, where all else is done.
    pub moves: Option<Waiting>,
}

/// How a restore that was carried out went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outcome {
    pub warnings: u64,
    pub errors: u64,
    /// Objects in the resource list.
    pub items: u64,
    pub hooks: crate::hooks::Counts,
    pub moves: MoveCounts,
}

/// Moves of data that were asked for, and those that got through.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MoveCounts {
    pub attempted: u64,
    pub completed: u64,
}

/// Why a restore could not be carried out.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The restore would bring back empty volumes; nothing was created. The controller makes it a failed validation.
    #[error("the backup has data that can't be restored: {}", problems.join("; "))]
    Refused { problems: Vec<String> },
    #[error(transparent)]
    Source(#[from] SourceError),
    #[error("reading what the cluster serves failed")]
    Discover(#[source] cluster::Error),
    #[error("reading the configuration of item actions failed")]
    Configuration(#[source] cluster::Error),
    #[error("cannot look for snapshot locations")]
    SnapshotLocations(#[source] crate::engine::native::Error),
    #[error("reading the resource policy failed")]
    Policy(#[from] ReadError),
    #[error("reading the resource modifiers in ConfigMap {name} failed")]
    ReadModifiers { name: String, source: cluster::Error },
    #[error("resource modifiers in ConfigMap {name} can't be used: {reason}")]
    Modifiers { name: String, reason: String },
    #[error("reading back what the dry run reported failed")]
    Notes(#[source] crate::archive::Error),
    #[error("keeping the log failed")]
    Log(#[from] run_log::Error),
    #[error("the restore was cancelled")]
    Cancelled,
}

/// Carries out a restore, or tells what it would do where it is annotated as a dry run. Objects that fail, and files that
/// can't be written, are counted in the outcome; an error means that it could not be carried out.
pub async fn run(restore_run: RestoreRun) -> Result<Outcome, Error> {
    let store = restore_run.store.clone();
    let Opened { mut run, dry_run } = open(restore_run).await?;
    if let DryRun::Told(depth) = dry_run {
        let preview = run.look_ahead(depth).await;
        preview::tell(&run, &preview);
    } else {
        run.carry_out().await.map_err(Error::Discover)?;
        run.wait_for_files().await;
        run.wait_for_downloads().await;
        tokio::join!(run.finish_volumes(), run.wait_for_hooks(), run.remove_stand_ins());
    }
    if run.cancel.is_cancelled() {
        return Err(Error::Cancelled);
    }
    let items = run.records.listed() + run.bare_namespaces.len() as u64;
    run.log.info("Restore completed", &[("items", &items.to_string())]);
    let finished = run.log.finish()?;
    let counts = finished.counts;
    let unwritten = run.write_files(&store, finished).await;
    let errors = counts.errors + unwritten;
    let moves = run.downloads.ended();
    let moves = MoveCounts {
        attempted: moves.len() as u64,
        completed: moves.iter().filter(|ended| ended.problem.is_none()).count() as u64,
    };
    Ok(Outcome { warnings: counts.warnings, errors, items, hooks: run.hooks.counts(), moves })
}

/// What a restore would do, whether or not it is annotated as a dry run. Nothing is written, neither to the cluster nor to
/// the bucket.
pub async fn preview(restore_run: RestoreRun, depth: Depth) -> Result<Preview, Error> {
    let Opened { mut run, dry_run: _ } = open(restore_run).await?;
    let preview = run.look_ahead(depth).await;
    if run.cancel.is_cancelled() {
        return Err(Error::Cancelled);
    }
    let notes = preview::notes(&run.log.finish()?).map_err(Error::Notes)?;
    Ok(Preview { notes, ..preview })
}

/// A restore whose backup was read and found sound.
struct Opened {
    run: Run,
    dry_run: DryRun,
}

/// Everything up to the first object.
async fn open(restore_run: RestoreRun) -> Result<Opened, Error> {
    let RestoreRun {
        restore,
        backup,
        cluster,
        store,
        clock,
        progress,
        cancel,
        timeouts,
        options,
        pod_volumes,
    } = restore_run;
    let home = restore.metadata.namespace.clone().unwrap_or_default();
    let name = restore.metadata.name.clone().unwrap_or_default();
    let backup_name = backup.metadata.name.clone().unwrap_or_default();
    let owner = Owner { kind: RunKind::Restore, namespace: &home, name: &name };
    let run_clock = clock.clone();
    let log = RunLog::start(owner, options.log_format, clock)?;
    log.info("Starting restore", &[("backup", &backup_name)]);
    let discovery = cluster.discover().await.map_err(Error::Discover)?;
    tell_unknown_groups(&log, &discovery);
    let policy = match policy::parse(&read_policy(&cluster, &restore).await?) {
        Ok(policy) => policy,
        Err(problems) => return Err(Error::Refused { problems }),
    };
    let settings = match Settings::new(&restore, &policy, &discovery) {
        Ok(settings) => settings,
        Err(error) => return Err(Error::Refused { problems: vec![error.to_string()] }),
    };
    let volumes = source::volumes(&store, &backup_name).await?;
    let snapshots = source::native_snapshots(&store, &backup_name).await?;
    let uid = restore.metadata.uid.as_deref().unwrap_or_default();
    let natives = native::Natives::new(snapshots, cluster.client(), &home, (&backup_name, uid)).await;
    let natives = natives.map_err(Error::SnapshotLocations)?;
    let classes = facts::snapshot_classes(&cluster).await.map_err(Error::Configuration)?;
    let reach = volumes::Reach {
        snapshots: settings.snapshots,
        data_path: pod_volumes.data_path,
        drivers: classes.into_keys().collect(),
        native: natives.restorable(),
    };
    let problems = volumes::unreadable(&volumes, &settings.selection, &reach);
    if !problems.is_empty() {
        return Err(Error::Refused { problems });
    }
    let wishes = match Wishes::of(&restore) {
        Ok(wishes) => wishes,
        Err(problems) => return Err(Error::Refused { problems }),
    };
    let Wishes { remap, owner_references, dry_run } = wishes;
    let configuration = facts::configuration(&cluster, &home, remap).await;
    let configuration = configuration.map_err(Error::Configuration)?;
    let modifiers = modifiers(&cluster, &restore).await?;
    if let Some(reference) = restore.spec.resource_modifier.as_ref().filter(|_| modifiers.is_none()) {
        let kind = &reference.kind;
        let text = format!("resourceModifier names a {kind}, not a ConfigMap: no modifiers are applied");
        log.warning(Place::Velero, text);
    }
    let rules = match crate::hooks::restore::Rules::new(&restore.spec.hooks) {
        Ok(rules) => rules,
        Err(error) => return Err(Error::Refused { problems: vec![error.to_string()] }),
    };
    let choice = match options.api_versions {
        ApiVersions::All if versions::may_hold_several(&backup) => {
            Some(Choice::read(&cluster, &home, &discovery).await.map_err(Error::Configuration)?)
        }
        ApiVersions::All | ApiVersions::Preferred => None,
    };
    let kept = source::pod_volumes(&store, &backup_name).await?;
    // Most backups have none, and then nobody is asked.
    let (wait_container, server_image) = match kept.is_empty() {
        true => (None, None),
        false => (
            facts::wait_container(&cluster, &home).await.map_err(Error::Configuration)?,
            facts::server_image(&cluster, &home).await.map_err(Error::Configuration)?,
        ),
    };
    if let Some(problem) = pod_volumes.timeout_of(&restore.metadata).1 {
        log.warning(Place::Velero, problem);
    }
    let files = pod_volumes::Files::new(pod_volumes::Setting {
        configuration: wait_container,
        server_image,
        settings: pod_volumes.clone(),
        restore: restore.clone(),
        backup: backup.clone(),
        store: store.clone(),
        clock: run_clock.clone(),
        kept,
    });
    let source::Looked { index, heads, kinds } =
        source::index(&store, &backup_name, settings.selection.details.clone(), choice).await?;
    tell_problems(&log, &settings, &index.problems);
    let downloads = data_downloads::Downloads::new(data_downloads::Setting {
        kept: data_downloads::kept(&index, &backup),
        settings: pod_volumes,
        restore: restore.clone(),
        backup: backup.clone(),
        store: store.clone(),
        clock: run_clock,
    });
    let csi = match discovery.by_group_resource("volumesnapshots.snapshot.storage.k8s.io") {
        Some(_) => volumes::csi(&volumes, settings.snapshots, &backup_name, &restore),
        None => Csi::NotServed,
    };
    let run = Run {
        hand: Hand::Restores,
        timeouts,
        created: restore.metadata.creation_timestamp.as_ref().map(to_chrono),
        facts: facts::Facts::new(cluster.clone()),
        leftovers: leftovers::Leftovers::of(&settings.mapping),
        owner_references,
        cluster,
        settings,
        configuration,
        modifiers,
        files,
        downloads,
        hooks: hooks::Hooks::new(rules),
        by_place: source::by_place(&index),
        records: Records::new(index.items.len()),
        index,
        heads,
        kinds,
        csi,
        natives,
        volumes: volumes.into_iter().map(|volume| (volume.pv_name.clone(), volume)).collect(),
        discovery,
        log,
        streak: create::Streak::default(),
        provisioned_anew: Mutex::default(),
        missing_namespaces: BTreeSet::new(),
        bare_namespaces: Vec::new(),
        progress,
        cancel,
    };
    Ok(Opened { run, dry_run })
}

/// The rules that the Restore names, read again: what was validated may have changed since.
async fn modifiers(cluster: &Cluster, restore: &velero::Restore) -> Result<Option<Modifiers>, Error> {
    let Some(name) = modifier_config_map(&restore.spec) else { return Ok(None) };
    let home = restore.metadata.namespace.as_deref().unwrap_or_default();
    let read = cluster.read(&format!("/api/v1/namespaces/{home}/configmaps/{name}")).await;
    let json = read.map_err(|source| Error::ReadModifiers { name: name.to_owned(), source })?;
    let unusable = |reason: String| Error::Modifiers { name: name.to_owned(), reason };
    let config_map: Value = serde_json::from_slice(&json).map_err(|error| unusable(error.to_string()))?;
    let data: BTreeMap<String, String> = config_map
        .get("data")
        .map(|data| serde_json::from_value(data.clone()))
        .transpose()
        .map_err(|error| unusable(error.to_string()))?
        .unwrap_or_default();
    Modifiers::from_config_map(&data).map(Some).map_err(|error| unusable(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_can_move_between_threads() {
        fn is_send<T: Send>(_: impl FnOnce(RestoreRun) -> T) {}
        is_send(run);
    }
}
