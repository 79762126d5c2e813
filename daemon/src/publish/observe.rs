//! What the cluster has of the kinds that policies keep in step, and what else a decision needs from it.
//!
//! In: a client and a namespace. Out: [`Observed`], which follows the API server by watches on metadata alone, and
//! single reads. Nothing is decided or changed here.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use futures::{StreamExt as _, TryStreamExt as _};
use holdfast_policy::compile::RestoreFrom;
use kube::api::{Api, ApiResource, DynamicObject, ListParams};
use kube::core::PartialObjectMeta;
use kube::runtime::{WatchStreamExt as _, watcher};
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::memory::Memory;
use super::object::{Desired, Key, Kind, Lifecycle, Live, SOURCE};

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("could not read {key}")]
    Read {
        key: Key,
        #[source]
        source: kube::Error,
    },
    #[error("could not list objects of kind {kind}")]
    List {
        kind: &'static str,
        #[source]
        source: kube::Error,
    },
    #[error("could not list the backups of schedule {schedule}")]
    ListBackups {
        schedule: String,
        #[source]
        source: kube::Error,
    },
}

/// The live objects of the watched kinds. Clones share them.
#[derive(Clone)]
pub struct Observed {
    objects: Arc<Mutex<BTreeMap<Key, Arc<Live>>>>,
    changed: Arc<Notify>,
    complete: watch::Receiver<usize>,
    watched: usize,
}

impl Observed {
    /// Starts to watch; the watches end with `shutdown`.
    pub fn start(client: &kube::Client, namespace: &str, shutdown: &CancellationToken) -> Observed {
        let (complete_sender, complete) = watch::channel(0);
        let complete_sender = Arc::new(complete_sender);
        let kinds: Vec<Kind> =
            Kind::ALL.into_iter().filter(|kind| kind.lifecycle() != Lifecycle::CreatedOnce).collect();
        let observed =
            Observed { objects: Arc::default(), changed: Arc::default(), complete, watched: kinds.len() };
        for kind in kinds {
            let api: Api<PartialObjectMeta<DynamicObject>> =
                Api::namespaced_with(client.clone(), namespace, &resource(kind));
            let follow = follow(kind, api, observed.clone(), Arc::clone(&complete_sender));
            let shutdown = shutdown.clone();
            tokio::spawn(async move { shutdown.run_until_cancelled_owned(follow).await });
        }
        observed
    }

    /// Returns once every kind was listed; that takes for ever while their CRDs are missing.
    pub async fn complete(&self) {
        let mut complete = self.complete.clone();
        // An error means that the watches have ended, and then nobody waits for them any more.
        if complete.wait_for(|kinds| *kinds >= self.watched).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Returns when an object changed in a way that matters since the last call.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }

    pub fn objects(&self) -> BTreeMap<Key, Arc<Live>> {
        self.lock().clone()
    }

    /// Takes the answer to a write of our own, so that the next decision need not wait for the watch to tell it.
    pub fn note(&self, key: Key, live: Live) {
        self.put(key, live);
    }

    fn put(&self, key: Key, live: Live) -> bool {
        let mut objects = self.lock();
        let matters = match objects.get(&key) {
            Some(known) if !live.is_later_than(known) => return false,
            Some(known) => !known.matters_as(&live),
            None => true,
        };
        objects.insert(key, Arc::new(live));
        matters
    }

    fn remove(&self, key: &Key) {
        self.lock().remove(key);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<Key, Arc<Live>>> {
        // No code panics while it holds the lock, and a map is whole after every call.
        self.objects.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub fn resource(kind: Kind) -> ApiResource {
    ApiResource {
        group: kind.group().to_owned(),
        version: "v1".to_owned(),
        api_version: kind.api_version(),
        kind: kind.name().to_owned(),
        plural: kind.plural().to_owned(),
    }
}

async fn follow(
    kind: Kind,
    api: Api<PartialObjectMeta<DynamicObject>>,
    observed: Observed,
    complete: Arc<watch::Sender<usize>>,
) {
    let config = match kind.lifecycle() {
        // Objects of others must be seen, or they would be taken for missing.
        Lifecycle::KeptInStep => watcher::Config::default(),
        Lifecycle::CreatedWhenMissing | Lifecycle::CreatedOnce => watcher::Config::default().labels(SOURCE),
    };
    let mut events = watcher(api, config).default_backoff().boxed();
    let mut listed: BTreeMap<Key, Arc<Live>> = BTreeMap::new();
    let mut first = true;
    let mut broken = false;
    loop {
        let event = match events.try_next().await {
            Ok(Some(event)) => event,
            Ok(None) => return,
            Err(error) => {
                if !broken {
                    warn!(
                        kind = kind.name(),
                        error = &error as &dyn std::error::Error,
                        "watching objects failed, trying on"
                    );
                }
                broken = true;
                continue;
            }
        };
        if broken {
            info!(kind = kind.name(), "watching objects works again");
            broken = false;
        }
        match event {
            watcher::Event::Init => listed.clear(),
            watcher::Event::InitApply(object) => {
                let (key, live) = read(kind, object);
                listed.insert(key, Arc::new(live));
            }
            watcher::Event::InitDone => {
                observed.replace(kind, std::mem::take(&mut listed));
                if first {
                    complete.send_modify(|kinds| *kinds += 1);
                    first = false;
                }
                observed.changed.notify_one();
            }
            watcher::Event::Apply(object) => {
                let (key, live) = read(kind, object);
                if observed.put(key, live) {
                    observed.changed.notify_one();
                }
            }
            watcher::Event::Delete(object) => {
                observed.remove(&read(kind, object).0);
                observed.changed.notify_one();
            }
        }
    }
}

impl Observed {
    fn replace(&self, kind: Kind, listed: BTreeMap<Key, Arc<Live>>) {
        let mut objects = self.lock();
        objects.retain(|key, _| key.kind != kind);
        objects.extend(listed);
    }
}

fn read(kind: Kind, object: PartialObjectMeta<DynamicObject>) -> (Key, Live) {
    let mut metadata = object.metadata;
    let name = metadata.name.take().unwrap_or_default();
    (Key { kind, name }, Live::from_metadata(metadata))
}

/// Reads one object's metadata from the API server.
pub async fn get(client: &kube::Client, namespace: &str, key: &Key) -> Result<Option<Live>, Error> {
    let api: Api<PartialObjectMeta<DynamicObject>> =
        Api::namespaced_with(client.clone(), namespace, &resource(key.kind));
    let object = api.get_opt(&key.name).await.map_err(|source| Error::Read { key: key.clone(), source })?;
    Ok(object.map(|object| read(key.kind, object).1))
}

/// The newest Backup of a Schedule that is Completed, by start time.
pub async fn newest_completed(
    client: &kube::Client,
    namespace: &str,
    schedule: &str,
) -> Result<Option<String>, Error> {
    let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, &resource(Kind::Backup));
    let of_schedule = ListParams::default().labels(&format!("velero.io/schedule-name={schedule}"));
    let backups = api
        .list(&of_schedule)
        .await
        .map_err(|source| Error::ListBackups { schedule: schedule.to_owned(), source })?;
    let completed = backups.items.into_iter().filter_map(|backup| {
        let status = backup.data.get("status")?;
        let started = status.get("startTimestamp")?.as_str()?.to_owned();
        (status.get("phase")?.as_str()? == "Completed").then_some((started, backup.metadata.name?))
    });
    // RFC 3339 in UTC with whole seconds sorts as text.
    Ok(completed.max().map(|(_, name)| name))
}

/// Where single reads go.
#[derive(Clone, Copy)]
pub struct Place<'a> {
    pub client: &'a kube::Client,
    pub namespace: &'a str,
}

impl Place<'_> {
    /// All objects of the kinds that are watched, read once.
    pub async fn list(&self) -> Result<BTreeMap<Key, Arc<Live>>, Error> {
        let mut live = BTreeMap::new();
        for kind in Kind::ALL.into_iter().filter(|kind| kind.lifecycle() != Lifecycle::CreatedOnce) {
            let api: Api<PartialObjectMeta<DynamicObject>> =
                Api::namespaced_with(self.client.clone(), self.namespace, &resource(kind));
            let listed = api
                .list(&ListParams::default())
                .await
                .map_err(|source| Error::List { kind: kind.name(), source })?;
            live.extend(listed.items.into_iter().map(|object| {
                let (key, object) = read(kind, object);
                (key, Arc::new(object))
            }));
        }
        Ok(live)
    }

    /// Those of the one-shot objects that are asked for, not known to have been made, and there.
    pub async fn one_shots(
        &self,
        desired: &[Desired],
        memory: &Memory,
    ) -> Result<BTreeMap<Key, Arc<Live>>, Error> {
        let Place { client, namespace } = *self;
        let unknown = desired
            .iter()
            .map(|desired| &desired.key)
            .filter(|key| key.kind.lifecycle() == Lifecycle::CreatedOnce && !memory.ran().contains(*key));
        let reads = unknown.map(|key| async move {
            let live = get(client, namespace, key).await?;
            Ok(live.map(|live| (key.clone(), Arc::new(live))))
        });
        // Collected: with the closure kept in it the future could not move between threads.
        let reads: Vec<_> = reads.collect();
        let mut reads = futures::stream::iter(reads).buffer_unordered(super::REQUESTS);
        let mut live = BTreeMap::new();
        while let Some(read) = reads.next().await {
            live.extend(read?);
        }
        Ok(live)
    }

    /// For Restores that are still to be made of the latest backup: that backup, by Schedule.
    pub async fn newest_completed(
        &self,
        desired: &[Desired],
        live: &BTreeMap<Key, Arc<Live>>,
        memory: &Memory,
    ) -> Result<BTreeMap<String, String>, Error> {
        let mut newest = BTreeMap::new();
        for desired in desired {
            let done = live.contains_key(&desired.key) || memory.ran().contains(&desired.key);
            let Some(RestoreFrom::LatestOf { schedule }) =
                desired.gate.as_ref().filter(|_| !done).map(|gate| &gate.from)
            else {
                continue;
            };
            if let Some(backup) = newest_completed(self.client, self.namespace, schedule).await? {
                newest.insert(schedule.clone(), backup);
            }
        }
        Ok(newest)
    }
}
