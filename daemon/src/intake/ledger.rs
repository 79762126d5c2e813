//! Looks into the buckets for what ran once, and notes there what did.
//!
//! In: objects that are about to be made, and such that were. Out: verdicts. A bucket may take its time or not answer at
//! all, so that both are done aside: a question is answered `Asking` until there is an answer, and [`Ledger::changed`]
//! tells when there is one.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use futures::FutureExt as _;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

pub mod place;

use crate::publish::bucket::{Creation, Verdict};
use crate::publish::mode::Mode;
use crate::publish::object::{Desired, Key, Kind};
use crate::store::{Once, Record};
use place::{Asked, Places, Unread};

/// A bucket that gives no answer in this time counts as one that can't be read.
const PATIENCE: Duration = Duration::from_secs(30);
/// What is older is asked again.
const FRESH: TimeDelta = TimeDelta::seconds(30);
/// A bucket that could not be read may be readable soon.
const ASK_AGAIN: TimeDelta = TimeDelta::seconds(5);

#[derive(Clone)]
pub struct Ledger {
    inner: Arc<Inner>,
}

struct Inner {
    places: Places,
    cluster_name: Option<String>,
    mode: Mode,
    shutdown: CancellationToken,
    known: Mutex<Known>,
    changed: Notify,
}

#[derive(Default)]
struct Known {
    verdicts: HashMap<Key, (Verdict, DateTime<Utc>)>,
    notes: HashMap<Key, (Note, DateTime<Utc>)>,
}

/// What became of noting that something ran.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Note {
    Writing,
    Written,
    Failed { why: String },
}

/// What is noted, with nothing borrowed.
struct Entry {
    asked: Asked,
    source: String,
    policy: String,
    content_hash: String,
}

impl Ledger {
    pub fn new(
        places: Places,
        cluster_name: Option<String>,
        mode: Mode,
        shutdown: CancellationToken,
    ) -> Ledger {
        let (known, changed) = (Mutex::default(), Notify::new());
        Ledger { inner: Arc::new(Inner { places, cluster_name, mode, shutdown, known, changed }) }
    }

    /// Returns when there is an answer that was not there at the last call.
    pub async fn changed(&self) {
        self.inner.changed.notified().await;
    }

    /// What is known now; what is not, or not any more, is asked.
    pub fn verdicts(&self, asked: &[Asked], now: DateTime<Utc>) -> BTreeMap<Key, Verdict> {
        asked.iter().map(|asked| (asked.key.clone(), self.verdict(asked, now))).collect()
    }

    fn verdict(&self, asked: &Asked, now: DateTime<Utc>) -> Verdict {
        let key = &asked.key;
        let mut known = self.lock();
        match known.verdicts.get(key) {
            Some((verdict @ (Verdict::Ran | Verdict::Asking), _)) => return verdict.clone(),
            Some((verdict @ Verdict::Unread { .. }, at)) if (now - *at).abs() < ASK_AGAIN => {
                return verdict.clone();
            }
            Some((verdict @ Verdict::NotRun, at)) if (now - *at).abs() < FRESH => return verdict.clone(),
            Some(_) | None => {}
        }
        // What was found last is as good as anything until there is news.
        let last = known.verdicts.insert(key.clone(), (Verdict::Asking, now));
        drop(known);
        let (ledger, asked) = (self.clone(), asked.clone());
        self.aside(async move {
            let verdict = ledger.ask(&asked).await;
            ledger.lock().verdicts.insert(asked.key, (verdict, now));
            ledger.inner.changed.notify_one();
        });
        match last {
            Some((unread @ Verdict::Unread { .. }, _)) => unread,
            Some(_) | None => Verdict::Asking,
        }
    }

    async fn ask(&self, asked: &Asked) -> Verdict {
        let cluster = self.inner.cluster_name.as_deref();
        let looked = tokio::time::timeout(PATIENCE, self.inner.places.look(asked, cluster)).await;
        let looked = looked.unwrap_or_else(|_| Err(no_answer()));
        match (looked, self.inner.mode) {
            (Ok(true), _) => {
                info!(kind = asked.key.kind.name(), name = asked.key.name, "ran before, as its bucket tells");
                Verdict::Ran
            }
            (Ok(false), _) => Verdict::NotRun,
            (Err(Unread::NoLocation(why)), _) | (Err(Unread::Bucket(why)), Mode::Full | Mode::Observe) => {
                Verdict::Unread { why }
            }
            // Buckets are Velero's matter there, and what it can read may be closed to us.
            (Err(Unread::Bucket(why)), Mode::Policy) => {
                warn!(name = asked.key.name, why, "no bucket tells whether it ran before, going on without");
                Verdict::NotRun
            }
        }
    }

    /// Notes that it ran, unless that is done. A daemon that only observes notes nothing.
    pub fn note(&self, source: &str, desired: &Desired, now: DateTime<Utc>) {
        match self.inner.mode {
            Mode::Full | Mode::Policy => {}
            Mode::Observe => return,
        }
        let key = &desired.key;
        let mut known = self.lock();
        match known.notes.get(key) {
            Some((Note::Writing | Note::Written, _)) => return,
            Some((Note::Failed { .. }, at)) if (now - *at).abs() < FRESH => return,
            Some(_) | None => {}
        }
        known.notes.insert(key.clone(), (Note::Writing, now));
        drop(known);
        let entry = Entry {
            asked: Asked::of(&Creation { desired, backup: None }),
            source: source.to_owned(),
            policy: desired.policy.clone(),
            content_hash: desired.content_hash.clone(),
        };
        let ledger = self.clone();
        self.aside(async move {
            let note = ledger.write(&entry, now).await;
            if let Note::Failed { why } = &note {
                warn!(name = entry.asked.key.name, why, "could not note in the bucket that it ran");
            }
            ledger.lock().notes.insert(entry.asked.key, (note, now));
            ledger.inner.changed.notify_one();
        });
    }

    /// Why it could not be noted that something ran.
    pub fn failed_note(&self, key: &Key) -> Option<String> {
        match self.lock().notes.get(key) {
            Some((Note::Failed { why }, _)) => Some(why.clone()),
            Some((Note::Writing | Note::Written, _)) | None => None,
        }
    }

    async fn write(&self, entry: &Entry, now: DateTime<Utc>) -> Note {
        let Entry { asked, source, policy, content_hash } = entry;
        let cluster = self.inner.cluster_name.as_deref();
        let record = Record {
            kind: asked.key.kind.name(),
            name: &asked.key.name,
            cluster,
            source,
            policy,
            content_hash,
            noted: now.to_rfc3339(),
        };
        let written = tokio::time::timeout(PATIENCE, self.inner.places.note(asked, cluster, &record)).await;
        match written.unwrap_or_else(|_| Err(no_answer())) {
            Ok(location) => {
                debug!(name = asked.key.name, location, "noted that it ran");
                Note::Written
            }
            Err(unread) => Note::Failed { why: unread.to_string() },
        }
    }

    fn aside(&self, work: impl Future<Output = ()> + Send + 'static) {
        tokio::spawn(self.inner.shutdown.clone().run_until_cancelled_owned(work).map(drop));
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        // No code panics while it holds the lock, and the maps are whole after every call.
        self.inner.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn no_answer() -> Unread {
    Unread::Bucket(format!("no answer within {} s", PATIENCE.as_secs()))
}

/// What the bucket calls it; a Restore has no name there in a cluster that has none.
fn once<'a>(key: &'a Key, cluster: Option<&'a str>) -> Option<Once<'a>> {
    match (key.kind, cluster) {
        (Kind::Backup, _) => Some(Once::Backup { name: &key.name }),
        (Kind::Restore, Some(cluster)) => Some(Once::Restore { name: &key.name, cluster }),
        (
            Kind::Restore
            | Kind::ConfigMap
            | Kind::BackupStorageLocation
            | Kind::VolumeSnapshotLocation
            | Kind::Schedule,
            _,
        ) => None,
    }
}
