//! What is known of the objects of one kind: watch events and answers to our own writes, each taken only where it is
//! newer than what is there.

use std::collections::BTreeMap;

use kube::ResourceExt;
use kube::core::DeserializeGuard;
use kube::runtime::watcher::Event;

use super::Record;
use crate::controllers::kept::{Kept, version_of};

/// The objects by name.
#[derive(Debug)]
pub(super) struct Copy<K: Record> {
    pub(super) objects: BTreeMap<String, K::Kept>,
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
pub(super) enum Change {
    Changed,
    Unchanged,
}

impl<K: Record> Copy<K> {
    pub(super) fn empty() -> Self {
        Copy { objects: BTreeMap::new(), seen: 0, listing: None }
    }

    pub(super) fn notice(&mut self, event: Event<DeserializeGuard<K>>) -> Change {
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

    /// Takes the answer to one of our own writes.
    pub(super) fn wrote(&mut self, name: String, object: K::Kept) -> Change {
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

/// Name, version and, unless it can't be read, what is kept of it.
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

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

    fn content(copy: &Copy<ConfigMap>) -> Vec<(String, u128)> {
        let mut content: Vec<_> =
            copy.objects.values().map(|object| (object.name_any(), object.version())).collect();
        content.sort();
        content
    }

    #[test]
    fn an_older_watch_event_does_not_undo_our_own_write() {
        let mut copy = Copy::empty();
        copy.notice(Event::Apply(guarded("a", 5)));
        assert_eq!(copy.wrote("a".to_owned(), Arc::new(object("a", 9))), Change::Changed);
        assert_eq!(copy.notice(Event::Apply(guarded("a", 7))), Change::Unchanged);
        assert_eq!(content(&copy), [("a".to_owned(), 9)]);
    }

    #[test]
    fn a_late_answer_does_not_bring_a_deleted_object_back() {
        let mut copy = Copy::empty();
        copy.notice(Event::Apply(guarded("a", 5)));
        copy.notice(Event::Delete(guarded("a", 8)));
        assert_eq!(copy.wrote("a".to_owned(), Arc::new(object("a", 7))), Change::Unchanged);
        assert_eq!(content(&copy), []);
    }

    #[test]
    fn an_object_that_cannot_be_read_is_left_out_and_comes_back_when_mended() {
        let mut copy = Copy::empty();
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
        let mut copy = Copy::empty();
        copy.notice(Event::Apply(guarded("gone", 3)));
        copy.notice(Event::Apply(guarded("kept", 4)));
        copy.wrote("written-before-and-gone".to_owned(), Arc::new(object("written-before-and-gone", 6)));
        copy.notice(Event::Init);
        copy.notice(Event::InitApply(guarded("kept", 4)));
        copy.wrote("fresh".to_owned(), Arc::new(object("fresh", 12)));
        copy.notice(Event::InitDone);
        assert_eq!(content(&copy), [("fresh".to_owned(), 12), ("kept".to_owned(), 4)]);
    }
}
