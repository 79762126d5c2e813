//! One look at a location's bucket, and what follows from it.
//!
//! A task of its own, so that a bucket that is slow holds up nobody else's.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use futures::{StreamExt, stream};
use holdfast_policy::annotations::IMPORTING;
use holdfast_policy::velero;
use holdfast_policy::velero::{BackupPhase, Mark, Summarized};
use kube::ResourceExt;

use crate::clock::Clock;
use crate::controllers::stores::{Stores, reason};
use crate::controllers::watched::{self, Watched};
use crate::store::{self, BackupStore};

use super::decide::{self, Brake, Known, Look, Observed, Verdict};
use super::import;

/// Backups that are read, brought in or removed at a time.
const AT_A_TIME: usize = 16;
/// A hundred thousand folders come in a hundred pages.
const LISTING_TIME_OUT: Duration = Duration::from_secs(300);
/// Two small files.
const READING_TIME_OUT: Duration = Duration::from_secs(120);

/// What a pass takes.
pub(super) struct Work {
    pub(super) location: Arc<velero::BackupStorageLocation>,
    pub(super) namespace: String,
    pub(super) backups: Arc<Watched<velero::Backup>>,
    pub(super) pod_volumes: Arc<Watched<velero::PodVolumeBackup>>,
    pub(super) schedules: Arc<Watched<velero::Schedule>>,
    pub(super) stores: Stores,
    pub(super) clock: Clock,
    pub(super) left_alone: BTreeMap<String, DateTime<Utc>>,
    pub(super) missing_since: BTreeMap<String, DateTime<Utc>>,
}

/// What came of a pass.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) started: DateTime<Utc>,
    pub(super) found: Result<Found, String>,
}

#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) imported: Vec<String>,
    pub(super) removed: Vec<String>,
    /// Folders that hold nothing to bring in, and why.
    pub(super) passed_over: BTreeMap<String, String>,
    /// Folders that are in the bucket.
    pub(super) present: std::collections::BTreeSet<String>,
    /// Backups without files, as decided about.
    pub(super) missing: Vec<String>,
    pub(super) brake: Option<Brake>,
    /// What could not be done, by backup; the next pass tries again.
    pub(super) failed: Vec<(String, String)>,
}

#[derive(Debug, thiserror::Error)]
enum Error {
    #[error(transparent)]
    Import(#[from] import::Error),
    #[error(transparent)]
    Cluster(#[from] watched::Error),
    #[error(transparent)]
    Store(#[from] store::Error),
    #[error("no answer within {} s", READING_TIME_OUT.as_secs())]
    NoAnswer,
}

/// What was done about a folder or a Backup.
enum Did {
    Imported,
    Removed,
    PassedOver(String),
    Nothing,
}

pub(super) async fn run(work: Work) -> Outcome {
    let started = (work.clock)();
    let since = tokio::time::Instant::now();
    let found = look(&work, started).await;
    let milliseconds = u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX);
    tracing::debug!(location = work.location.name_any(), milliseconds, "looked for backups in the bucket");
    Outcome { started, found }
}

async fn look(work: &Work, now: DateTime<Utc>) -> Result<Found, String> {
    // Before the listing: a backup that ends meanwhile must not be missed in a list that is older than it.
    let known = known(&work.backups);
    let store = work.stores.open(&work.location).await.map_err(|error| reason(&error))?;
    let listing = async {
        let folders = store.list_backups().await?;
        // After the list: a bucket that was exchanged meanwhile has lost its marker by now.
        let marker = store.read_marker().await?;
        Ok(Look { folders: folders.into_iter().collect(), marker: marker.map(|marker| marker.id) })
    };
    let look = match tokio::time::timeout(LISTING_TIME_OUT, listing).await {
        Ok(look) => look.map_err(|error: store::Error| reason(&error))?,
        Err(_) => return Err(format!("no answer within {} s", LISTING_TIME_OUT.as_secs())),
    };
    let unfinished = unfinished(&work.backups, &work.location);
    let observed = Observed {
        location: &work.location,
        look,
        known,
        left_alone: work.left_alone.clone(),
        missing_since: work.missing_since.clone(),
    };
    let plan = decide::decide(&observed, now);
    let mut found = Found {
        missing: decide::missing(&observed),
        brake: plan.brake,
        present: observed.look.folders,
        ..Found::default()
    };
    let schedules: Vec<(String, String)> = work
        .schedules
        .all()
        .iter()
        .map(|schedule| (schedule.name_any(), schedule.uid().unwrap_or_default()))
        .collect();
    let location = work.location.name_any();
    let into = import::Into { namespace: &work.namespace, location: &location, schedules: &schedules, now };
    let reads = stream::iter(plan.read).map(|folder| {
        let (store, into) = (&store, &into);
        async move {
            let did = in_time(bring_in(work, store, &folder, into, now)).await;
            (folder, did)
        }
    });
    gather(reads.buffer_unordered(AT_A_TIME), &mut found).await;
    let finishes = stream::iter(unfinished).map(|backup| {
        let (store, into) = (&store, &into);
        async move {
            let did = in_time(finish(work, store, &backup, into)).await;
            (backup.name_any(), did)
        }
    });
    gather(finishes.buffer_unordered(AT_A_TIME), &mut found).await;
    let removals = stream::iter(plan.remove).map(|name| {
        let store = &store;
        async move {
            let did = in_time(remove(work, store, &name)).await;
            (name, did)
        }
    });
    gather(removals.buffer_unordered(AT_A_TIME), &mut found).await;
    Ok(found)
}

async fn gather(outcomes: impl futures::Stream<Item = (String, Result<Did, Error>)>, found: &mut Found) {
    let mut outcomes = std::pin::pin!(outcomes);
    while let Some((name, outcome)) = outcomes.next().await {
        match outcome {
            Ok(Did::Imported) => found.imported.push(name),
            Ok(Did::Removed) => found.removed.push(name),
            Ok(Did::PassedOver(why)) => drop(found.passed_over.insert(name, why)),
            Ok(Did::Nothing) => (),
            Err(error) => found.failed.push((name, reason(&error))),
        }
    }
}

async fn in_time(act: impl Future<Output = Result<Did, Error>>) -> Result<Did, Error> {
    tokio::time::timeout(READING_TIME_OUT, act).await.unwrap_or(Err(Error::NoAnswer))
}

fn known(backups: &Watched<velero::Backup>) -> BTreeMap<String, Known> {
    let known = backups.all().into_iter().map(|backup| {
        let location_label = backup.mark(Mark::StorageLocation).map(str::to_owned);
        (backup.name().to_owned(), Known { location_label, phase: backup.phase() })
    });
    known.collect()
}

fn unfinished(
    backups: &Watched<velero::Backup>,
    location: &velero::BackupStorageLocation,
) -> Vec<Arc<velero::Backup>> {
    let unfinished = backups.all().into_iter().filter(|backup| {
        backup.mark(Mark::Importing).is_some()
            && backup.storage_location() == location.metadata.name.as_deref()
    });
    unfinished.filter_map(|backup| backups.get(backup.name())).collect()
}

async fn bring_in(
    work: &Work,
    store: &BackupStore,
    folder: &str,
    into: &import::Into<'_>,
    now: DateTime<Utc>,
) -> Result<Did, Error> {
    let found = match import::read(store, folder).await {
        Ok(Some(found)) => found,
        Ok(None) => return Ok(Did::PassedOver("it has no velero-backup.json".to_owned())),
        Err(error) if is_malformed(&error) => return Ok(Did::PassedOver(reason(&error))),
        Err(error) => return Err(error.into()),
    };
    let phase = match decide::judge(&found, now) {
        Verdict::Import => None,
        Verdict::ImportAsPartiallyFailed => Some(BackupPhase::PartiallyFailed),
        Verdict::Skip { phase } => return Ok(Did::PassedOver(format!("its phase is {}", phase.as_str()))),
    };
    let pod_volumes = match import::read_pod_volumes(store, folder).await {
        Ok(pod_volumes) => pod_volumes,
        Err(error) if is_malformed(&error) => return Ok(Did::PassedOver(reason(&error))),
        Err(error) => return Err(error.into()),
    };
    let mut backup = import::backup(found, phase, into);
    backup.annotations_mut().remove(IMPORTING);
    if !pod_volumes.is_empty() {
        backup.annotations_mut().insert(IMPORTING.to_owned(), "PodVolumeBackups".to_owned());
    }
    let created = match work.backups.create(&backup).await {
        Ok(created) => created,
        Err(error) => {
            return match error.status() {
                // Somebody made one of that name since the look began.
                Some(409) => Ok(Did::Nothing),
                Some(400 | 422) => Ok(Did::PassedOver(reason(&error))),
                _ => Err(error.into()),
            };
        }
    };
    if !pod_volumes.is_empty() {
        bring_in_pod_volumes(work, pod_volumes, &created, into).await?;
    }
    Ok(Did::Imported)
}

/// Goes on where an earlier import ended after it had made the Backup.
async fn finish(
    work: &Work,
    store: &BackupStore,
    backup: &Arc<velero::Backup>,
    into: &import::Into<'_>,
) -> Result<Did, Error> {
    let pod_volumes = import::read_pod_volumes(store, &backup.name_any()).await?;
    bring_in_pod_volumes(work, pod_volumes, backup, into).await?;
    Ok(Did::Nothing)
}

async fn bring_in_pod_volumes(
    work: &Work,
    pod_volumes: Vec<velero::PodVolumeBackup>,
    backup: &Arc<velero::Backup>,
    into: &import::Into<'_>,
) -> Result<(), Error> {
    for found in pod_volumes {
        match work.pod_volumes.create(&import::pod_volume(found, backup, into)).await {
            Ok(_) => (),
            Err(error) if error.status() == Some(409) => (),
            Err(error) => return Err(error.into()),
        }
    }
    let mut whole = velero::Backup::clone(backup);
    whole.annotations_mut().remove(IMPORTING);
    match work.backups.patch(backup, &whole).await {
        Ok(_) => Ok(()),
        Err(error) if matches!(error.status(), Some(404 | 409)) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Deletes the object alone: there is no data left that a DeleteBackupRequest could remove.
async fn remove(work: &Work, store: &BackupStore, name: &str) -> Result<Did, Error> {
    let Some(backup) = work.backups.get(name) else { return Ok(Did::Nothing) };
    // A list may be incomplete where a bucket's own answers are; this asks for the very file.
    if store.backup_exists(name).await? {
        return Ok(Did::Nothing);
    }
    work.backups.delete(&backup).await?;
    Ok(Did::Removed)
}

/// Whether reading it again at once would find the same.
fn is_malformed(error: &import::Error) -> bool {
    match error {
        import::Error::OtherName { .. } | import::Error::PodVolumes(_) => true,
        import::Error::Store(error) => matches!(
            error,
            store::Error::Decode { .. }
                | store::Error::NotABackup { .. }
                | store::Error::TooLarge { .. }
                | store::Error::Name { .. }
        ),
    }
}
