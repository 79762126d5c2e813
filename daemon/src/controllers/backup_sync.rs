//! Backups that are in a bucket and not in the cluster, and the reverse: the bucket is the source of truth.
//!
//! The driver. The period of a location counts from the start of a look; one that fails changes nothing.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use chrono::{DateTime, Duration, Utc};
use holdfast_policy::duration::GoDuration;
use holdfast_policy::time::from_chrono;
use holdfast_policy::velero;
use kube::ResourceExt;
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;

use super::backoff::Backoff;
use super::events::{Events, Notice, Severity};
use super::runs::Runs;
use super::stores::Stores;
use super::wake::{Wake, earlier};
use super::watched::Watched;

pub mod decide;
pub mod import;
mod pass;

use decide::Turn;

/// How long a folder without anything to bring in is left alone at first, and at most.
const FIRST_REST: Duration = Duration::minutes(1);
const LONGEST_REST: Duration = Duration::minutes(10);
/// How many folders a message names.
const FOLDERS_NAMED: usize = 8;

pub struct Controller {
    pub namespace: String,
    pub locations: Arc<Watched<velero::BackupStorageLocation>>,
    pub backups: Arc<Watched<velero::Backup>>,
    pub pod_volumes: Arc<Watched<velero::PodVolumeBackup>>,
    pub schedules: Arc<Watched<velero::Schedule>>,
    pub stores: Stores,
    pub clock: Clock,
    pub events: Events,
    pub brakes: Brakes,
    /// For locations that don't say.
    pub period: GoDuration,
}

/// Why Backups without files stay, by the uid of their location: what its status tells.
#[derive(Clone, Debug, Default)]
pub struct Brakes(Arc<Mutex<HashMap<String, String>>>);

impl Brakes {
    pub fn of(&self, location: &velero::BackupStorageLocation) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(location.metadata.uid.as_deref()?).cloned()
    }

    /// Tells whether this is news.
    fn set(&self, uid: &str, brake: Option<String>) -> bool {
        let mut brakes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match brake {
            Some(text) => brakes.insert(uid.to_owned(), text.clone()) != Some(text),
            None => brakes.remove(uid).is_some(),
        }
    }
}

/// What earlier looks at a location found, which no object tells.
#[derive(Debug, Default)]
struct Memory {
    /// Folders with nothing to bring in: how long they rest, and until when.
    left_alone: BTreeMap<String, (Duration, DateTime<Utc>)>,
    missing_since: BTreeMap<String, DateTime<Utc>>,
}

impl Controller {
    pub async fn run(self, stop: CancellationToken) {
        let wake = Wake::default();
        self.locations.ring_at_changes(&wake);
        let passes: Runs<pass::Outcome> = Runs::new(wake.clone());
        let mut backoff = Backoff::default();
        let mut memory: HashMap<String, Memory> = HashMap::new();
        while !stop.is_cancelled() {
            let now = (self.clock)();
            let mut next = None;
            let states = passes.states();
            for location in self.locations.all() {
                let uid = location.metadata.uid.clone().unwrap_or_default();
                match states.get(&uid).map(|state| &state.ended) {
                    Some(None) => continue,
                    Some(Some(outcome)) => {
                        let remembered = memory.entry(uid.clone()).or_default();
                        match self.note(&location, outcome, remembered).await {
                            true => backoff.succeeded(&uid),
                            false => drop(backoff.failed(&uid, now)),
                        }
                        passes.forget(&uid);
                        // What was written comes back as a change of the location, or its time comes.
                        next = earlier(next, Some(now + Duration::seconds(1)));
                    }
                    None => {
                        if let Some(until) = backoff.held(&uid, now) {
                            next = earlier(next, Some(until));
                            continue;
                        }
                        match decide::turn(&location, self.period, now) {
                            Turn::Now => {
                                self.start(&location, &passes, memory.entry(uid.clone()).or_default())
                            }
                            Turn::At(at) => next = earlier(next, Some(at)),
                            Turn::Never | Turn::Unavailable => (),
                        }
                    }
                }
            }
            memory
                .retain(|uid, _| self.locations.all().iter().any(|it| it.metadata.uid.as_ref() == Some(uid)));
            tokio::select! {
                () = stop.cancelled() => (),
                () = wake.until(next, now) => (),
            }
        }
        passes.stop().await;
    }

    fn start(
        &self,
        location: &Arc<velero::BackupStorageLocation>,
        passes: &Runs<pass::Outcome>,
        memory: &Memory,
    ) {
        let work = pass::Work {
            location: location.clone(),
            namespace: self.namespace.clone(),
            backups: self.backups.clone(),
            pod_volumes: self.pod_volumes.clone(),
            schedules: self.schedules.clone(),
            stores: self.stores.clone(),
            clock: self.clock.clone(),
            left_alone: memory.left_alone.iter().map(|(name, (_, until))| (name.clone(), *until)).collect(),
            missing_since: memory.missing_since.clone(),
        };
        let uid = location.metadata.uid.clone().unwrap_or_default();
        passes.start(&uid, &location.name_any(), |cancel| async move {
            let started = (work.clock)();
            tokio::select! {
                outcome = pass::run(work) => outcome,
                () = cancel.cancelled() => {
                    pass::Outcome { started, found: Err("the daemon was stopped".to_owned()) }
                }
            }
        });
    }

    /// Tells what came of a pass and remembers it. False asks for a pause before the next.
    async fn note(
        &self,
        location: &velero::BackupStorageLocation,
        outcome: &pass::Outcome,
        memory: &mut Memory,
    ) -> bool {
        let name = location.name_any();
        let found = match &outcome.found {
            Ok(found) => found,
            Err(reason) => {
                tracing::warn!(location = name, reason, "cannot look for backups in the bucket");
                return false;
            }
        };
        if !found.imported.is_empty() || !found.removed.is_empty() {
            tracing::info!(
                location = name,
                imported = found.imported.len(),
                removed = found.removed.len(),
                "backups brought in line with the bucket"
            );
        }
        for (backup, reason) in &found.failed {
            tracing::warn!(location = name, backup, reason, "cannot bring a backup in line with the bucket");
        }
        self.tell_passed_over(location, found, memory).await;
        memory.learn(found, outcome.started);
        self.tell_brake(location, found).await;
        let mut after = location.clone();
        after.status.last_synced_time = Some(from_chrono(outcome.started));
        match self.locations.patch(location, &after).await {
            Ok(_) => found.failed.is_empty(),
            Err(error) if matches!(error.status(), Some(404 | 409)) => true,
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(location = name, error, "cannot note when a location was looked at");
                false
            }
        }
    }

    async fn tell_passed_over(
        &self,
        location: &velero::BackupStorageLocation,
        found: &pass::Found,
        memory: &Memory,
    ) {
        let new: Vec<String> = found
            .passed_over
            .iter()
            .filter(|(folder, _)| !memory.left_alone.contains_key(*folder))
            .map(|(folder, why)| format!("{folder} ({why})"))
            .collect();
        if new.is_empty() {
            return;
        }
        let named = new[..new.len().min(FOLDERS_NAMED)].join(", ");
        let more = if new.len() > FOLDERS_NAMED {
            format!(" and {} more", new.len() - FOLDERS_NAMED)
        } else {
            String::new()
        };
        let note = format!("folders that hold no backup to bring in: {named}{more}");
        tracing::warn!(location = location.name_any(), note, "folders passed over");
        self.tell(location, Severity::Normal, "FoldersPassedOver", note).await;
    }

    async fn tell_brake(&self, location: &velero::BackupStorageLocation, found: &pass::Found) {
        let uid = location.metadata.uid.clone().unwrap_or_default();
        let text = found.brake.as_ref().map(ToString::to_string);
        if !self.brakes.set(&uid, text.clone()) {
            return;
        }
        match text {
            Some(note) => {
                tracing::warn!(location = location.name_any(), note, "backups without files stay");
                self.tell(location, Severity::Warning, "BackupsKept", note).await;
            }
            None => {
                tracing::info!(location = location.name_any(), "no backups without files are kept any more")
            }
        }
    }

    async fn tell(
        &self,
        location: &velero::BackupStorageLocation,
        severity: Severity,
        reason: &'static str,
        note: String,
    ) {
        self.events.tell(location, Notice { severity, reason, action: "Sync", note }).await;
    }
}

impl Memory {
    fn learn(&mut self, found: &pass::Found, now: DateTime<Utc>) {
        self.left_alone
            .retain(|folder, _| found.present.contains(folder) && !found.imported.contains(folder));
        for folder in found.passed_over.keys() {
            let rest =
                self.left_alone.get(folder).map_or(FIRST_REST, |(rest, _)| (*rest * 2).min(LONGEST_REST));
            self.left_alone.insert(folder.clone(), (rest, now + rest));
        }
        let mut missing_since = BTreeMap::new();
        for backup in &found.missing {
            let since = self.missing_since.get(backup).copied().unwrap_or(now);
            missing_since.insert(backup.clone(), since);
        }
        self.missing_since = missing_since;
    }
}
