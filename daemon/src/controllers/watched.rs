//! The objects of one kind in the daemon's namespace: read from a watched copy, written through it.
//!
//! Takes watch events and the answers of our own writes, gives snapshots that are never older than what we wrote
//! ourselves: a decision on a copy that lags behind would act twice. An object that can't be read as its kind is left
//! out and logged; the others go on. What to do with the objects is left to the controllers.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::StreamExt;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions};
use kube::core::DeserializeGuard;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event};
use kube::{Api, ResourceExt};
use serde_json::{Map, Value};
use tokio::sync::watch;

use super::kept::{Kept, version_of};
use super::wake::Wake;

pub use super::kept::Record;

/// The name under which the API server lists our writes in `managedFields`.
pub const FIELD_MANAGER: &str = "holdfast";

/// Longer than the API server's own limit of a minute for a request that is not a watch.
const REQUEST_TIME_OUT: Duration = Duration::from_secs(75);

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot {verb} {kind} {name}")]
    Refused { verb: &'static str, kind: String, name: String, source: Box<kube::Error> },
    #[error("cannot {verb} {kind} {name}: no answer within {} s", REQUEST_TIME_OUT.as_secs())]
    NoAnswer { verb: &'static str, kind: String, name: String },
    #[error("cannot write {kind} {name} as JSON")]
    Encode { kind: String, name: String, source: serde_json::Error },
}

impl Error {
    /// The HTTP status that the API server refused with.
    pub fn status(&self) -> Option<u16> {
        match self {
            Error::Refused { source, .. } => match source.as_ref() {
                kube::Error::Api(status) => Some(status.code),
                _ => None,
            },
            Error::NoAnswer { .. } | Error::Encode { .. } => None,
        }
    }
}

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

#[derive(Debug)]
struct Copy<K: Record> {
    objects: BTreeMap<String, K::Kept>,
    /// The newest resource version the watch has shown: what is absent at or below it is gone.
    seen: u128,
    /// A list under way, after which it takes the place of `objects`.
    listing: Option<Listing<K>>,
}

#[derive(Debug)]
struct Listing<K: Record> {
    listed: BTreeMap<String, K::Kept>,
    /// What we wrote since the list began: the list may not show it yet.
    written: BTreeMap<String, K::Kept>,
}

/// What a watch event or the answer to a write did to the copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    Changed,
    Unchanged,
}

impl<K: Record> Watched<K> {
    pub fn new(client: &kube::Client, namespace: &str) -> Self {
        Watched {
            api: Api::namespaced(client.clone(), namespace),
            guarded: Api::namespaced(client.clone(), namespace),
            copy: Mutex::new(Copy { objects: BTreeMap::new(), seen: 0, listing: None }),
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

    /// Asks the API server, for the rare question that the copy may not answer yet.
    pub async fn fetch(&self, name: &str) -> Result<Option<Arc<K>>, Error> {
        let found = self.answer("get", name, self.api.get_opt(name)).await?;
        Ok(found.map(|object| self.write_through(object)))
    }

    /// Creates an object.
    pub async fn create(&self, object: &K) -> Result<Arc<K>, Error> {
        let parameters =
            PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() };
        let created = self.answer("create", &object.name_any(), self.api.create(&parameters, object)).await?;
        Ok(self.write_through(created))
    }

    /// Sends what distinguishes `after` from `before`, if anything, for the object that `before` was read from: one that
    /// was deleted and made again meanwhile is refused with a conflict.
    pub async fn patch(&self, before: &K, after: &K) -> Result<Arc<K>, Error> {
        self.send_patch(before, after, None).await
    }

    /// The same, refused with a conflict too where somebody else has written since `before` was read.
    pub async fn patch_unchanged(&self, before: &K, after: &K) -> Result<Arc<K>, Error> {
        self.send_patch(before, after, before.meta().resource_version.clone()).await
    }

    async fn send_patch(&self, before: &K, after: &K, version: Option<String>) -> Result<Arc<K>, Error> {
        let name = before.name_any();
        let encode = |object: &K| {
            serde_json::to_value(object).map_err(|source| Error::Encode {
                kind: K::kind(&()).into_owned(),
                name: object.name_any(),
                source,
            })
        };
        let Some(mut patch) = difference(&encode(before)?, &encode(after)?) else {
            return Ok(Arc::new(before.clone()));
        };
        let preconditions = Map::from_iter(
            [("uid", before.meta().uid.clone()), ("resourceVersion", version)]
                .into_iter()
                .filter_map(|(field, value)| Some((field.to_owned(), Value::String(value?)))),
        );
        if let Value::Object(fields) = &mut patch {
            let metadata = fields.entry("metadata").or_insert_with(|| Value::Object(Map::new()));
            if let Value::Object(metadata) = metadata {
                metadata.extend(preconditions);
            }
        }
        let parameters =
            PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
        let patched =
            self.answer("patch", &name, self.api.patch(&name, &parameters, &Patch::Merge(patch))).await?;
        Ok(self.write_through(patched))
    }

    /// Deletes exactly this object; one that is gone already is fine.
    pub async fn delete(&self, object: &K) -> Result<(), Error> {
        let preconditions = Preconditions { uid: object.uid(), resource_version: None };
        let parameters = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
        let name = object.name_any();
        match self.answer("delete", &name, self.api.delete(&name, &parameters)).await {
            Ok(answer) => {
                // Without a status the answer is the object, which its finalizers keep for now.
                if answer.is_right() {
                    self.forget(object);
                }
                Ok(())
            }
            Err(error) if error.status() == Some(404) => Ok(()),
            Err(error) => Err(error),
        }
    }

    async fn answer<T>(
        &self,
        verb: &'static str,
        name: &str,
        request: impl Future<Output = Result<T, kube::Error>>,
    ) -> Result<T, Error> {
        let kind = K::kind(&()).into_owned();
        match tokio::time::timeout(REQUEST_TIME_OUT, request).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(source)) => {
                Err(Error::Refused { verb, kind, name: name.to_owned(), source: Box::new(source) })
            }
            Err(_) => Err(Error::NoAnswer { verb, kind, name: name.to_owned() }),
        }
    }

    fn write_through(&self, mut object: K) -> Arc<K> {
        object.managed_fields_mut().clear();
        let (name, kept) = (object.name_any(), K::Kept::keep(object.clone()));
        if lock(&self.copy).wrote(name, kept) == Change::Changed {
            self.ring();
        }
        Arc::new(object)
    }

    /// Takes an object out of the copy that the API server has said is gone, ahead of the watch.
    fn forget(&self, object: &K) {
        let mut copy = lock(&self.copy);
        let name = object.name_any();
        if copy.objects.get(&name).is_some_and(|held| held.uid() == object.meta().uid.as_deref()) {
            copy.objects.remove(&name);
            drop(copy);
            self.ring();
        }
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

impl<K: Record> Copy<K> {
    fn notice(&mut self, event: Event<DeserializeGuard<K>>) -> Change {
        match event {
            Event::Init => {
                self.listing = Some(Listing { listed: BTreeMap::new(), written: BTreeMap::new() });
                Change::Unchanged
            }
            Event::InitApply(guard) => {
                let (name, version, object) = open(guard);
                self.seen = self.seen.max(version);
                if let (Some(listing), Some(object)) = (&mut self.listing, object) {
                    listing.listed.insert(name, object);
                }
                Change::Unchanged
            }
            Event::InitDone => {
                let Some(Listing { mut listed, written }) = self.listing.take() else {
                    return Change::Unchanged;
                };
                for (name, object) in written {
                    if listed.get(&name).is_none_or(|listed| listed.version() < object.version()) {
                        listed.insert(name, object);
                    }
                }
                self.objects = listed;
                Change::Changed
            }
            Event::Apply(guard) => {
                let (name, version, object) = open(guard);
                self.seen = self.seen.max(version);
                if self.objects.get(&name).is_some_and(|held| held.version() >= version) {
                    return Change::Unchanged;
                }
                match object {
                    Some(object) => self.objects.insert(name, object),
                    None => self.objects.remove(&name),
                };
                Change::Changed
            }
            Event::Delete(guard) => {
                let (name, version, _) = open(guard);
                self.seen = self.seen.max(version);
                if self.objects.get(&name).is_some_and(|held| held.version() > version) {
                    return Change::Unchanged;
                }
                self.objects.remove(&name);
                Change::Changed
            }
        }
    }

    fn wrote(&mut self, name: String, object: K::Kept) -> Change {
        let version = object.version();
        if let Some(listing) = &mut self.listing {
            listing.written.insert(name.clone(), object.clone());
        }
        let newest = match self.objects.get(&name) {
            Some(held) => held.version(),
            // Absent although the watch is past our write: deleted since.
            None => self.seen,
        };
        if version <= newest {
            return Change::Unchanged;
        }
        self.objects.insert(name, object);
        Change::Changed
    }
}

fn open<K: Record>(guard: DeserializeGuard<K>) -> (String, u128, Option<K::Kept>) {
    match guard.0 {
        Ok(mut object) => {
            object.managed_fields_mut().clear();
            let (name, version) = (object.name_any(), version_of(&object));
            (name, version, Some(K::Kept::keep(object)))
        }
        Err(invalid) => {
            let name = invalid.metadata.name.clone().unwrap_or_default();
            tracing::warn!(
                kind = %K::kind(&()),
                name,
                error = %invalid.error,
                "object can't be read as its kind and is left alone"
            );
            let version = invalid.metadata.resource_version.as_deref().and_then(|text| text.parse().ok());
            (name, version.unwrap_or_default(), None)
        }
    }
}

/// The JSON merge patch from `before` to `after`; nothing where they are equal.
pub fn difference(before: &Value, after: &Value) -> Option<Value> {
    match (before, after) {
        (Value::Object(before), Value::Object(after)) => {
            let removed =
                before.keys().filter(|key| !after.contains_key(*key)).map(|key| (key.clone(), Value::Null));
            let changed = after.iter().filter_map(|(key, value)| match before.get(key) {
                Some(old) => difference(old, value).map(|patch| (key.clone(), patch)),
                None => Some((key.clone(), value.clone())),
            });
            let patch: Map<String, Value> = removed.chain(changed).collect();
            (!patch.is_empty()).then_some(Value::Object(patch))
        }
        (before, after) => (before != after).then(|| after.clone()),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing under these locks can panic half-way through a change, so what they guard is still whole.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::ConfigMap;
    use kube::core::ObjectMeta;
    use serde_json::json;

    use super::*;

    fn object(name: &str, version: u128) -> ConfigMap {
        ConfigMap {
            metadata: ObjectMeta {
                name: Some(name.to_owned()),
                resource_version: Some(version.to_string()),
                ..ObjectMeta::default()
            },
            ..ConfigMap::default()
        }
    }

    fn guarded(name: &str, version: u128) -> DeserializeGuard<ConfigMap> {
        DeserializeGuard(Ok(object(name, version)))
    }

    fn unreadable(name: &str, version: u128) -> DeserializeGuard<ConfigMap> {
        serde_json::from_value(json!({
            "metadata": {"name": name, "resourceVersion": version.to_string()},
            "data": 5,
        }))
        .unwrap()
    }

    fn copy() -> Copy<ConfigMap> {
        Copy { objects: BTreeMap::new(), seen: 0, listing: None }
    }

    fn content(copy: &Copy<ConfigMap>) -> Vec<(String, u128)> {
        let mut content: Vec<_> =
            copy.objects.values().map(|object| (object.name_any(), object.version())).collect();
        content.sort();
        content
    }

    #[test]
    fn an_older_watch_event_does_not_undo_our_own_write() {
        let mut copy = copy();
        copy.notice(Event::Apply(guarded("a", 5)));
        assert_eq!(copy.wrote("a".to_owned(), Arc::new(object("a", 9))), Change::Changed);
        assert_eq!(copy.notice(Event::Apply(guarded("a", 7))), Change::Unchanged);
        assert_eq!(content(&copy), [("a".to_owned(), 9)]);
    }

    #[test]
    fn a_late_answer_does_not_bring_a_deleted_object_back() {
        let mut copy = copy();
        copy.notice(Event::Apply(guarded("a", 5)));
        copy.notice(Event::Delete(guarded("a", 8)));
        assert_eq!(copy.wrote("a".to_owned(), Arc::new(object("a", 7))), Change::Unchanged);
        assert_eq!(content(&copy), []);
    }

    #[test]
    fn an_object_that_cannot_be_read_is_left_out_and_comes_back_when_mended() {
        let mut copy = copy();
        copy.notice(Event::Init);
        copy.notice(Event::InitApply(guarded("a", 1)));
        copy.notice(Event::InitApply(unreadable("b", 2)));
        copy.notice(Event::InitDone);
        assert_eq!(content(&copy), [("a".to_owned(), 1)]);
        copy.notice(Event::Apply(guarded("b", 3)));
        copy.notice(Event::Apply(unreadable("a", 4)));
        assert_eq!(content(&copy), [("b".to_owned(), 3)]);
    }

    #[test]
    fn a_new_list_drops_what_it_lacks_and_keeps_what_was_written_after_it() {
        let mut copy = copy();
        copy.notice(Event::Apply(guarded("gone", 3)));
        copy.notice(Event::Apply(guarded("kept", 4)));
        copy.wrote("written-before-and-gone".to_owned(), Arc::new(object("written-before-and-gone", 6)));
        copy.notice(Event::Init);
        copy.notice(Event::InitApply(guarded("kept", 4)));
        copy.wrote("fresh".to_owned(), Arc::new(object("fresh", 12)));
        copy.notice(Event::InitDone);
        assert_eq!(content(&copy), [("fresh".to_owned(), 12), ("kept".to_owned(), 4)]);
    }

    #[test]
    fn a_merge_patch_holds_what_differs_and_nulls_what_went_away() {
        let before = json!({"spec": {"a": 1, "b": [1, 2], "c": {"d": 1}}, "status": {"phase": "New"}});
        let after =
            json!({"spec": {"a": 1, "b": [2], "c": {}}, "status": {"phase": "Queued", "queuePosition": 1}});
        assert_eq!(
            difference(&before, &after),
            Some(json!({
                "spec": {"b": [2], "c": {"d": null}},
                "status": {"phase": "Queued", "queuePosition": 1},
            }))
        );
        assert_eq!(difference(&before, &before), None);
    }
}
