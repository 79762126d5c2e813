//! Events that `kubectl describe` shows with an object.
//!
//! Takes an object and what has happened to it. Nothing depends on an event: one that can't be written is logged.

use kube::runtime::events::{Event, EventType, Recorder};

use super::watched::Record;

/// The API server takes notes of up to 1024 bytes.
const LONGEST_NOTE: usize = 1024;

/// Writes events in Holdfast's name.
#[derive(Clone)]
pub struct Events(Recorder);

/// Something to be told about an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    pub severity: Severity,
    /// CamelCase, for those who filter.
    pub reason: &'static str,
    pub action: &'static str,
    pub note: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    Normal,
    Warning,
}

impl Events {
    pub fn new(client: &kube::Client) -> Self {
        Events(Recorder::new(client.clone(), "holdfast".into()))
    }

    pub async fn tell<K: Record>(&self, object: &K, notice: Notice) {
        let Notice { severity, reason, action, note } = notice;
        let event = Event {
            type_: match severity {
                Severity::Normal => EventType::Normal,
                Severity::Warning => EventType::Warning,
            },
            reason: reason.to_owned(),
            note: Some(shortened(note)),
            action: action.to_owned(),
            secondary: None,
        };
        if let Err(error) = self.0.publish(&event, &object.object_ref(&())).await {
            let error = &error as &dyn std::error::Error;
            tracing::warn!(kind = %K::kind(&()), name = object.meta().name, error, "could not write an event");
        }
    }
}

fn shortened(mut note: String) -> String {
    const END: &str = " …";
    if note.len() > LONGEST_NOTE {
        note.truncate(note.floor_char_boundary(LONGEST_NOTE - END.len()));
        note.push_str(END);
    }
    note
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_fits_what_the_api_server_takes() {
        assert_eq!(shortened("short".to_owned()), "short");
        let long = shortened("é".repeat(600));
        assert!(long.len() <= LONGEST_NOTE && long.ends_with("é …"), "{}", long.len());
    }
}
