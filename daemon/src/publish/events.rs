//! Kubernetes events: what people find under `kubectl describe`.
//!
//! In: what an event is about, and what it says. Out: an event, or one more occurrence of the same. A failure is logged
//! here and has no consequence: events are a courtesy, status and log hold the same.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use k8s_openapi::api::core::v1::ObjectReference;
use kube::runtime::events::{Event, EventType, Recorder};
use tracing::warn;

use super::mode::Mode;
use super::object::Key;

/// Notes that are remembered so that a repetition is counted and not written again.
const REMEMBERED: usize = 1000;
/// The API server takes notes of up to 1024 bytes.
const LONGEST_NOTE: usize = 1024;

/// Something to be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct News {
    pub weight: Weight,
    pub reason: &'static str,
    pub note: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weight {
    Normal,
    Warning,
}

/// Writes events. Clones share what was told.
#[derive(Clone)]
pub struct Events {
    client: kube::Client,
    mode: Mode,
    told: Arc<Mutex<HashMap<String, Recorder>>>,
}

impl Events {
    pub fn new(client: kube::Client, mode: Mode) -> Events {
        Events { client, mode, told: Arc::default() }
    }

    /// Does nothing for a daemon that only observes: an event is an object.
    pub async fn send(&self, regarding: &ObjectReference, news: &News) {
        match self.mode {
            Mode::Full | Mode::Policy => {}
            Mode::Observe => return,
        }
        let News { weight, reason, note } = news;
        let event = Event {
            type_: match weight {
                Weight::Normal => EventType::Normal,
                Weight::Warning => EventType::Warning,
            },
            reason: (*reason).to_owned(),
            note: Some(shorten(note.clone())),
            action: "Publish".to_owned(),
            secondary: None,
        };
        if let Err(error) = self.recorder(regarding, news).publish(&event, regarding).await {
            let (kind, name) = (regarding.kind.as_deref(), regarding.name.as_deref());
            warn!(kind, name, error = &error as &dyn std::error::Error, "could not write an event");
        }
    }

    /// A recorder takes all events of one reason for the same and keeps the first one's note, so that each note has a
    /// recorder of its own.
    fn recorder(&self, regarding: &ObjectReference, news: &News) -> Recorder {
        let ObjectReference { kind, namespace, name, uid, .. } = regarding;
        let key = format!("{kind:?} {namespace:?} {name:?} {uid:?} {} {}", news.reason, news.note);
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.len() >= REMEMBERED && !told.contains_key(&key) {
            told.clear();
        }
        told.entry(key).or_insert_with(|| Recorder::new(self.client.clone(), "holdfast".into())).clone()
    }
}

/// An object that policies generate; `kubectl describe` finds its events by `uid`.
pub fn regarding(namespace: &str, key: &Key, uid: Option<&str>) -> ObjectReference {
    ObjectReference {
        api_version: Some(key.kind.api_version()),
        kind: Some(key.kind.name().to_owned()),
        namespace: Some(namespace.to_owned()),
        name: Some(key.name.clone()),
        uid: uid.map(str::to_owned),
        ..ObjectReference::default()
    }
}

fn shorten(mut note: String) -> String {
    if note.len() > LONGEST_NOTE {
        let mut end = LONGEST_NOTE - 4;
        while !note.is_char_boundary(end) {
            end -= 1;
        }
        note.truncate(end);
        note.push_str(" ...");
    }
    note
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_notes_are_cut_between_characters() {
        assert_eq!(shorten("short".to_owned()), "short");
        let cut = shorten("ü".repeat(600));
        assert!(cut.len() <= LONGEST_NOTE && cut.ends_with("ü ..."), "{cut}");
    }
}
