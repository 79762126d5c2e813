//! The objects of one kind in the daemon's namespace: read from a watched copy, written through it.
//!
//! Takes watch events and the answers of our own writes, gives snapshots that are never older than what we wrote
//! ourselves: a decision on a copy that lags behind would act twice. An object that can't be read as its kind is left
//! out and logged; the others go on. What to do with the objects is left to the controllers.

use std::fmt::Debug;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::StreamExt;
use kube::Api;
use kube::core::DeserializeGuard;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event};
use tokio::sync::watch;

use super::kept::Kept;
use super::wake::Wake;

mod copy;
mod difference;
mod writes;

pub use super::kept::Record;
use copy::{Change, Copy};
pub use writes::Error;

/// The name under which the API server lists our writes in `managedFields`.
pub const FIELD_MANAGER: &str = "holdfast";

/// Sees what the API server says, object by object and with `managedFields`, for those who need more than snapshots.
pub trait Observer<K>: Debug + Send + Sync {
    fn see(&self, seen: Seen<'_, K>);
}

/// One thing that the API server has said.
#[derive(Debug)]
pub enum Seen<'a, K> {
    /// All objects follow, one by one; those that don't are gone.
    ListBegins,
    Listed(&'a K),
    ListEnds,
    Changed(&'a K),
    Gone(&'a K),
}

/// The watched objects of one kind.
#[derive(Debug)]
pub struct Watched<K: Record> {
    api: Api<K>,
    guarded: Api<DeserializeGuard<K>>,
    copy: Mutex<Copy<K>>,
    filled: watch::Sender<bool>,
    listeners: Mutex<Vec<Wake>>,
    observers: Vec<Arc<dyn Observer<K>>>,
}

impl<K: Record> Watched<K> {
    pub fn new(client: &kube::Client, namespace: &str) -> Self {
        Watched {
            api: Api::namespaced(client.clone(), namespace),
            guarded: Api::namespaced(client.clone(), namespace),
            copy: Mutex::new(Copy::empty()),
            filled: watch::Sender::new(false),
            listeners: Mutex::new(Vec::new()),
            observers: Vec::new(),
        }
    }

    /// Shows them everything from the first list on.
    pub fn shown_to(self, observers: Vec<Arc<dyn Observer<K>>>) -> Self {
        Watched { observers, ..self }
    }

    /// Rings this bell at every change from now on.
    pub fn ring_at_changes(&self, wake: &Wake) {
        lock(&self.listeners).push(wake.clone());
    }

    /// Follows the API server for ever.
    pub async fn follow(&self) {
        let events = watcher::watcher(self.guarded.clone(), watcher::Config::default()).default_backoff();
        let mut events = std::pin::pin!(events);
        while let Some(event) = events.next().await {
            match event {
                Ok(event) => self.notice(event),
                Err(error) => {
                    tracing::warn!(
                        kind = %K::kind(&()),
                        error = &error as &dyn std::error::Error,
                        "watch interrupted, trying again"
                    );
                }
            }
        }
    }

    /// Returns once everything that was there at the start is known.
    pub async fn filled(&self) {
        // The sender lives as long as `self`, so the wait can't fail.
        self.filled.subscribe().wait_for(|filled| *filled).await.map(drop).unwrap_or_default();
    }

    pub fn get(&self, name: &str) -> Option<Arc<K>> {
        let kept = lock(&self.copy).objects.get(name).cloned();
        kept.map(|kept| kept.whole())
    }

    /// Whether there is one of this name.
    pub fn has(&self, name: &str) -> bool {
        lock(&self.copy).objects.contains_key(name)
    }

    /// A glance at every object, in the order of their names.
    pub fn all(&self) -> Vec<<K::Kept as Kept<K>>::Glance> {
        lock(&self.copy).objects.values().map(Kept::glance).collect()
    }

    fn notice(&self, event: Event<DeserializeGuard<K>>) {
        self.show(&event);
        let done = matches!(event, Event::InitDone);
        let change = lock(&self.copy).notice(event);
        if done {
            self.filled.send_replace(true);
        }
        if change == Change::Changed {
            self.ring();
        }
    }

    fn show(&self, event: &Event<DeserializeGuard<K>>) {
        for observer in &self.observers {
            match event {
                Event::Init => observer.see(Seen::ListBegins),
                Event::InitApply(DeserializeGuard(Ok(object))) => observer.see(Seen::Listed(object)),
                Event::InitDone => observer.see(Seen::ListEnds),
                Event::Apply(DeserializeGuard(Ok(object))) => observer.see(Seen::Changed(object)),
                Event::Delete(DeserializeGuard(Ok(object))) => observer.see(Seen::Gone(object)),
                Event::InitApply(DeserializeGuard(Err(_)))
                | Event::Apply(DeserializeGuard(Err(_)))
                | Event::Delete(DeserializeGuard(Err(_))) => (),
            }
        }
    }

    fn ring(&self) {
        let objects = lock(&self.copy).objects.len();
        for listener in lock(&self.listeners).iter() {
            listener.ring_among(objects);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing under these locks can panic half-way through a change, so what they guard is still whole.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
