//! What became of policies in the cluster, as their status tells it: when Schedules last ran, and which Backups are good.
//!
//! In: watches. Out: small records; the objects themselves are not kept. Status alone is made of them: what is
//! published never depends on how a run ended.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, Utc};
use futures::{StreamExt as _, TryStreamExt as _};
use holdfast_policy::annotations::SUSPECT;
use holdfast_policy::retention::has_far_fewer;
use holdfast_policy::time::to_chrono;
use holdfast_policy::velero::labels::SCHEDULE_NAME;
use kube::ResourceExt as _;
use kube::api::{Api, DynamicObject};
use kube::runtime::{WatchStreamExt as _, watcher};
use serde_json::Value;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::publish::object::Kind;
use crate::publish::observe::resource;

/// A backup that is whole.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Good {
    pub started: DateTime<Utc>,
    pub name: String,
}

/// A backup that has ended with an archive, as retention counts them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Ended {
    started: DateTime<Utc>,
    name: String,
    whole: bool,
    /// It says so itself.
    suspect: bool,
    objects: i64,
}

impl Ended {
    fn is_good(&self, before: Option<&Ended>) -> bool {
        let far_fewer = before.is_some_and(|before| has_far_fewer(self.objects, before.objects));
        self.whole && !self.suspect && !far_fewer
    }
}

/// What the cluster says about a Schedule.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ran {
    pub created: Option<DateTime<Utc>>,
    /// The newest instant that was run or skipped.
    pub last: Option<DateTime<Utc>>,
    pub paused: bool,
}

const WATCHED: [Kind; 2] = [Kind::Schedule, Kind::Backup];

/// The records. Clones share them.
#[derive(Clone, Default)]
pub struct Runs {
    known: Arc<Mutex<Known>>,
    changed: Arc<Notify>,
}

#[derive(Default)]
struct Known {
    listed: BTreeSet<Kind>,
    schedules: BTreeMap<String, Ran>,
    /// The Schedule of each Backup that has ended.
    backups: BTreeMap<String, (String, Ended)>,
    ended: BTreeMap<String, BTreeSet<Ended>>,
}

impl Runs {
    /// Watches until `shutdown`.
    pub fn start(client: &kube::Client, namespace: &str, shutdown: &CancellationToken) -> Runs {
        let runs = Runs::default();
        for kind in WATCHED {
            let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, &resource(kind));
            let follow = follow(kind, api, runs.clone());
            tokio::spawn(shutdown.clone().run_until_cancelled_owned(follow));
        }
        runs
    }

    /// Returns when a record changed since the last call.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Whether everything that there was at the start is known.
    pub fn complete(&self) -> bool {
        self.lock().listed.len() == WATCHED.len()
    }

    fn listed(&self, kind: Kind) {
        self.lock().listed.insert(kind);
        self.changed.notify_one();
    }

    pub fn schedule(&self, name: &str) -> Ran {
        self.lock().schedules.get(name).cloned().unwrap_or_default()
    }

    /// The newest good Backup of a Schedule.
    pub fn newest_good(&self, schedule: &str) -> Option<Good> {
        let known = self.lock();
        let mut newest_first = known.ended.get(schedule)?.iter().rev().peekable();
        while let Some(ended) = newest_first.next() {
            if ended.is_good(newest_first.peek().copied()) {
                return Some(Good { started: ended.started, name: ended.name.clone() });
            }
        }
        None
    }

    fn put(&self, kind: Kind, object: &DynamicObject) {
        let changed = match kind {
            Kind::Schedule => self.lock().put_schedule(object.name_any(), ran(object)),
            Kind::Backup => self.lock().put_backup(object.name_any(), ended(object)),
            Kind::ConfigMap | Kind::BackupStorageLocation | Kind::VolumeSnapshotLocation | Kind::Restore => {
                false
            }
        };
        if changed {
            self.changed.notify_one();
        }
    }

    fn remove(&self, kind: Kind, name: &str) {
        let mut known = self.lock();
        let changed = match kind {
            Kind::Schedule => known.schedules.remove(name).is_some(),
            Kind::Backup => known.put_backup(name.to_owned(), None),
            Kind::ConfigMap | Kind::BackupStorageLocation | Kind::VolumeSnapshotLocation | Kind::Restore => {
                false
            }
        };
        drop(known);
        if changed {
            self.changed.notify_one();
        }
    }

    fn names(&self, kind: Kind) -> BTreeSet<String> {
        let known = self.lock();
        match kind {
            Kind::Schedule => known.schedules.keys().cloned().collect(),
            Kind::Backup => known.backups.keys().cloned().collect(),
            Kind::ConfigMap | Kind::BackupStorageLocation | Kind::VolumeSnapshotLocation | Kind::Restore => {
                BTreeSet::new()
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        // No code panics while it holds the lock, and the maps are whole after every call.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn put_schedule(&mut self, name: String, ran: Ran) -> bool {
        let before = self.schedules.insert(name, ran.clone());
        before.is_none_or(|before| before != ran)
    }

    fn put_backup(&mut self, name: String, fresh: Option<(String, Ended)>) -> bool {
        let before = match &fresh {
            Some(fresh) => self.backups.insert(name, fresh.clone()),
            None => self.backups.remove(&name),
        };
        if before == fresh {
            return false;
        }
        if let Some((schedule, ended)) = before
            && let Some(of_schedule) = self.ended.get_mut(&schedule)
        {
            of_schedule.remove(&ended);
            if of_schedule.is_empty() {
                self.ended.remove(&schedule);
            }
        }
        if let Some((schedule, ended)) = fresh {
            self.ended.entry(schedule).or_default().insert(ended);
        }
        true
    }
}

fn ran(schedule: &DynamicObject) -> Ran {
    let noted = ["lastBackup", "lastSkipped"].map(|field| instant(&schedule.data["status"][field]));
    Ran {
        created: schedule.metadata.creation_timestamp.as_ref().map(to_chrono),
        last: noted.into_iter().flatten().max(),
        paused: schedule.data["spec"]["paused"].as_bool().unwrap_or(false),
    }
}

/// Nothing for a Backup that has no archive or is going, or that no Schedule made.
fn ended(backup: &DynamicObject) -> Option<(String, Ended)> {
    let schedule = backup.labels().get(SCHEDULE_NAME)?.clone();
    let status = &backup.data["status"];
    let whole = match status["phase"].as_str()? {
        "Completed" => true,
        "PartiallyFailed" => false,
        _ => return None,
    };
    let ended = Ended {
        started: instant(&status["startTimestamp"])?,
        name: backup.name_any(),
        whole,
        suspect: backup.annotations().contains_key(SUSPECT),
        // Velero leaves a count of zero out.
        objects: status["progress"]["itemsBackedUp"].as_i64().unwrap_or(0),
    };
    Some((schedule, ended))
}

fn instant(value: &Value) -> Option<DateTime<Utc>> {
    Some(DateTime::parse_from_rfc3339(value.as_str()?).ok()?.to_utc())
}

async fn follow(kind: Kind, api: Api<DynamicObject>, runs: Runs) {
    // A Backup of 10,000 items is not small, and nothing of it is kept.
    let config = watcher::Config::default().page_size(200);
    let mut events = watcher(api, config).default_backoff().boxed();
    let mut before = BTreeSet::new();
    let mut broken = false;
    loop {
        match events.try_next().await {
            Ok(None) => return,
            Ok(Some(watcher::Event::Init)) => before = runs.names(kind),
            Ok(Some(watcher::Event::InitApply(object))) => {
                before.remove(&object.name_any());
                runs.put(kind, &object);
            }
            Ok(Some(watcher::Event::InitDone)) => {
                for name in std::mem::take(&mut before) {
                    runs.remove(kind, &name);
                }
                runs.listed(kind);
            }
            Ok(Some(watcher::Event::Apply(object))) => runs.put(kind, &object),
            Ok(Some(watcher::Event::Delete(object))) => runs.remove(kind, &object.name_any()),
            Err(error) => {
                if !broken {
                    let error = &error as &dyn std::error::Error;
                    warn!(kind = kind.name(), error, "watching for the status of policies failed, trying on");
                }
                broken = true;
                continue;
            }
        }
        broken = false;
    }
}

#[cfg(test)]
mod tests {
    use pretty_assertions::assert_eq;
    use serde_json::json;

    use super::*;

    fn object(value: Value) -> DynamicObject {
        serde_json::from_value(value).unwrap()
    }

    fn backup(name: &str, phase: &str, started: &str) -> DynamicObject {
        object(json!({
            "metadata": {"name": name, "labels": {SCHEDULE_NAME: "shop-nightly"}},
            "status": {"phase": phase, "startTimestamp": started},
        }))
    }

    #[test]
    fn the_newest_good_backup_follows_what_ends_well_and_what_goes() {
        let runs = Runs::default();
        let newest = || runs.newest_good("shop-nightly").map(|good| good.name);
        runs.put(Kind::Backup, &backup("b", "Completed", "2026-11-24T00:00:00Z"));
        runs.put(Kind::Backup, &backup("a", "Completed", "2026-11-23T00:00:00Z"));
        runs.put(Kind::Backup, &backup("c", "PartiallyFailed", "2026-11-25T00:00:00Z"));
        assert_eq!(newest().as_deref(), Some("b"));
        runs.put(Kind::Backup, &backup("b", "Deleting", "2026-11-24T00:00:00Z"));
        assert_eq!(newest().as_deref(), Some("a"));
        runs.remove(Kind::Backup, "a");
        assert_eq!(newest(), None);
        runs.remove(Kind::Backup, "c");
        assert!(runs.lock().ended.is_empty());
    }

    #[test]
    fn a_suspect_backup_is_not_the_last_good_one() {
        let runs = Runs::default();
        let newest = || runs.newest_good("shop-nightly").map(|good| good.name);
        let with = |name: &str, phase: &str, started: &str, objects: i64| {
            let mut backup = backup(name, phase, started);
            backup.data["status"]["progress"] = json!({"itemsBackedUp": objects});
            backup
        };
        runs.put(Kind::Backup, &with("a", "Completed", "2026-11-21T00:00:00Z", 100));
        runs.put(Kind::Backup, &with("b", "PartiallyFailed", "2026-11-22T00:00:00Z", 90));
        let mut few = with("c", "Completed", "2026-11-23T00:00:00Z", 44);
        runs.put(Kind::Backup, &few);
        assert_eq!(newest().as_deref(), Some("a"));
        // The mark stays when the one before it goes.
        few.metadata.annotations =
            Some([(SUSPECT.to_owned(), "44 objects, after 90 in b".to_owned())].into());
        runs.put(Kind::Backup, &few);
        runs.remove(Kind::Backup, "b");
        runs.remove(Kind::Backup, "a");
        assert_eq!(newest(), None);
        runs.put(Kind::Backup, &with("d", "Completed", "2026-11-24T00:00:00Z", 40));
        assert_eq!(newest().as_deref(), Some("d"));
    }

    #[test]
    fn a_schedule_counts_what_it_ran_and_what_it_skipped() {
        let schedule = object(json!({
            "metadata": {"name": "shop-nightly", "creationTimestamp": "2026-11-20T00:00:00Z"},
            "spec": {"paused": true},
            "status": {"lastBackup": "2026-11-23T00:00:00Z", "lastSkipped": "2026-11-24T00:00:00Z"},
        }));
        let runs = Runs::default();
        runs.put(Kind::Schedule, &schedule);
        let at = |text: &str| Some(text.parse().unwrap());
        let expected =
            Ran { created: at("2026-11-20T00:00:00Z"), last: at("2026-11-24T00:00:00Z"), paused: true };
        assert_eq!(runs.schedule("shop-nightly"), expected);
    }
}
