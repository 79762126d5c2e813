//! What a run has taken up so far: keeps an object from being stored twice, counts, and gives the resource
//! list. It holds every object's name and a short hash, and nothing else that grows with the cluster.

use std::collections::{BTreeMap, HashSet};
use std::io::{self, Write};
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use serde::ser::{Serialize, SerializeMap, Serializer};
use sha2::{Digest, Sha256};

/// Names of one kind are kept in pieces of this size: one large piece would be copied whenever it grows.
const PIECE_BYTES: usize = 32 * 1024;

/// Shared by everything that stores objects for one run.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    seen: HashSet<[u8; 16]>,
    /// By `v1/Pod`.
    kinds: BTreeMap<String, Names>,
    started: u64,
    /// Namespaces in which something was collected.
    namespaces: HashSet<String>,
    /// Group-resources of which an object was listed and taken up.
    listed: HashSet<String>,
}

impl Ledger {
    /// Takes an object up; false when it was taken up before. `kind` is `v1/Pod`.
    pub(super) fn begin(&self, kind: &str, namespace: Option<&str>, name: &str) -> bool {
        let mut state = self.state();
        if !state.seen.insert(key(kind, namespace, name)) {
            return false;
        }
        state.started += 1;
        match state.kinds.get_mut(kind) {
            Some(names) => names.push(namespace, name),
            None => {
                let mut names = Names::default();
                names.push(namespace, name);
                state.kinds.insert(kind.to_owned(), names);
            }
        }
        true
    }

    /// Takes an object out of the counts and the list again; it still counts as seen.
    pub(super) fn withdraw(&self, kind: &str, namespace: Option<&str>, name: &str) {
        let mut state = self.state();
        if state.kinds.get_mut(kind).is_some_and(|names| names.remove(namespace, name)) {
            state.started -= 1;
        }
        state.kinds.retain(|_, names| !names.is_empty());
    }

    pub(super) fn has(&self, kind: &str, namespace: Option<&str>, name: &str) -> bool {
        self.state().seen.contains(&key(kind, namespace, name))
    }

    /// How many objects were taken up.
    pub(super) fn started(&self) -> u64 {
        self.state().started
    }

    /// Remembers that an object in `namespace` was collected.
    pub(super) fn enter_namespace(&self, namespace: &str) {
        let mut state = self.state();
        if !state.namespaces.contains(namespace) {
            state.namespaces.insert(namespace.to_owned());
        }
    }

    pub(super) fn entered(&self, namespace: &str) -> bool {
        self.state().namespaces.contains(namespace)
    }

    /// Remembers that the backup holds objects of this resource for their own sake.
    pub(super) fn enter_resource(&self, group_resource: &str) {
        self.state().listed.insert(group_resource.to_owned());
    }

    /// The resources entered, in order.
    pub(super) fn resources(&self) -> Vec<String> {
        let mut resources: Vec<String> = self.state().listed.iter().cloned().collect();
        resources.sort();
        resources
    }

    /// The resource list: names by kind, sorted, as gzipped JSON.
    pub(super) fn resource_list(&self) -> io::Result<Bytes> {
        let state = self.state();
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        serde_json::to_writer(&mut encoder, &ResourceList(&state.kinds))?;
        encoder.write_all(b"\n")?;
        Ok(encoder.finish()?.into())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing is half done while the lock is held, so a panic elsewhere leaves it usable.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn key(kind: &str, namespace: Option<&str>, name: &str) -> [u8; 16] {
    // A collision would lose an object without a word, so the hash is long and cryptographic.
    let mut hash = Sha256::new();
    for part in [kind, namespace.unwrap_or_default(), name] {
        hash.update(part);
        hash.update([0]);
    }
    let mut key = [0; 16];
    key.copy_from_slice(&hash.finalize()[..16]);
    key
}

/// Lines of `namespace/name` or `name`.
#[derive(Debug, Default)]
struct Names {
    pieces: Vec<String>,
}

impl Names {
    fn push(&mut self, namespace: Option<&str>, name: &str) {
        let length = namespace.map_or(0, |namespace| namespace.len() + 1) + name.len() + 1;
        if self.pieces.last().is_none_or(|piece| piece.len() + length > PIECE_BYTES) {
            let first = self.pieces.is_empty();
            self.pieces.push(if first { String::new() } else { String::with_capacity(PIECE_BYTES) });
        }
        let Some(piece) = self.pieces.last_mut() else { return };
        if let Some(namespace) = namespace {
            piece.push_str(namespace);
            piece.push('/');
        }
        piece.push_str(name);
        piece.push('\n');
    }

    /// Says whether it was there.
    fn remove(&mut self, namespace: Option<&str>, name: &str) -> bool {
        let line = match namespace {
            Some(namespace) => format!("{namespace}/{name}"),
            None => name.to_owned(),
        };
        let Some(piece) = self.pieces.iter_mut().find(|piece| piece.lines().any(|other| other == line))
        else {
            return false;
        };
        *piece = piece.lines().filter(|other| *other != line).flat_map(|other| [other, "\n"]).collect();
        true
    }

    fn is_empty(&self) -> bool {
        self.pieces.iter().all(String::is_empty)
    }

    fn sorted(&self) -> Vec<&str> {
        let mut names: Vec<&str> = self.pieces.iter().flat_map(|piece| piece.lines()).collect();
        names.sort_unstable();
        names
    }
}

struct ResourceList<'a>(&'a BTreeMap<String, Names>);

impl Serialize for ResourceList<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (kind, names) in self.0 {
            map.serialize_entry(kind, &names.sorted())?;
        }
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use flate2::read::GzDecoder;
    use pretty_assertions::assert_eq;

    use super::*;

    fn resource_list(ledger: &Ledger) -> String {
        let mut text = String::new();
        GzDecoder::new(ledger.resource_list().unwrap().as_ref()).read_to_string(&mut text).unwrap();
        text
    }

    #[test]
    fn an_object_is_taken_up_once() {
        let ledger = Ledger::default();
        assert!(ledger.begin("v1/Pod", Some("shop"), "web"));
        assert!(!ledger.begin("v1/Pod", Some("shop"), "web"));
        assert!(ledger.begin("v1/Pod", Some("blog"), "web"));
        assert!(ledger.begin("v1/Service", Some("shop"), "web"));
        assert!(ledger.has("v1/Pod", Some("blog"), "web"));
        assert!(!ledger.has("v1/Pod", None, "web"));
        assert_eq!(ledger.started(), 3);
    }

    #[test]
    fn the_resource_list_is_sorted_by_kind_and_name() {
        let ledger = Ledger::default();
        assert_eq!(resource_list(&ledger), "{}\n");
        for (kind, namespace, name) in [
            ("v1/Pod", Some("shop"), "b"),
            ("v1/Pod", Some("blog"), "c"),
            ("v1/Pod", Some("shop"), "a"),
            ("v1/Namespace", None, "shop"),
            ("apps/v1/Deployment", Some("shop"), "web"),
        ] {
            ledger.begin(kind, namespace, name);
        }
        assert_eq!(
            resource_list(&ledger),
            "{\"apps/v1/Deployment\":[\"shop/web\"],\"v1/Namespace\":[\"shop\"],\
             \"v1/Pod\":[\"blog/c\",\"shop/a\",\"shop/b\"]}\n"
        );
    }

    #[test]
    fn what_is_withdrawn_is_neither_counted_nor_listed_nor_taken_up_again() {
        let ledger = Ledger::default();
        for (kind, name) in [("v1/Pod", "web"), ("v1/Pod", "web-0"), ("v1/Secret", "web")] {
            ledger.begin(kind, Some("shop"), name);
        }
        ledger.withdraw("v1/Pod", Some("shop"), "web");
        ledger.withdraw("v1/Secret", Some("shop"), "web");
        ledger.withdraw("v1/Secret", Some("shop"), "web");
        assert_eq!(ledger.started(), 1);
        assert_eq!(resource_list(&ledger), "{\"v1/Pod\":[\"shop/web-0\"]}\n");
        assert!(!ledger.begin("v1/Pod", Some("shop"), "web"));
    }

    #[test]
    fn names_survive_the_change_to_another_piece() {
        let ledger = Ledger::default();
        let names: Vec<String> = (0..5_000).map(|n| format!("config-map-{n:05}")).collect();
        names.iter().for_each(|name| assert!(ledger.begin("v1/ConfigMap", Some("shop"), name)));
        let list: BTreeMap<String, Vec<String>> = serde_json::from_str(&resource_list(&ledger)).unwrap();
        let expected: Vec<String> = names.iter().map(|name| format!("shop/{name}")).collect();
        assert_eq!(list["v1/ConfigMap"], expected);
    }
}
