//! The results document: collects messages under their headings and gives the JSON that
//! `velero backup describe` and `velero restore describe` read.

use std::collections::BTreeMap;
use std::io::{self, Write};

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use serde::{Serialize, Serializer};

use super::{Message, Place};

/// Bytes of message text kept for the document. A run over a broken cluster reports one message an object;
/// beyond this they are counted and stand in the log, which does not live in memory.
const KEPT_BYTES: usize = 512 * 1024;

/// Bytes of a dry run's plan kept for the document: a hundred thousand objects.
const KEPT_PLAN_BYTES: usize = 16 * 1024 * 1024;

/// All messages of one severity.
#[derive(Debug)]
pub(super) struct Verdicts {
    room: usize,
    velero: Vec<String>,
    cluster: Vec<String>,
    namespaces: BTreeMap<String, Vec<String>>,
    kept_bytes: usize,
    kept: u64,
    dropped: u64,
}

impl Default for Verdicts {
    fn default() -> Self {
        Self::with_room(KEPT_BYTES)
    }
}

impl Verdicts {
    pub(super) fn roomy() -> Self {
        Self::with_room(KEPT_PLAN_BYTES)
    }

    fn with_room(room: usize) -> Self {
        Self {
            room,
            velero: Vec::new(),
            cluster: Vec::new(),
            namespaces: BTreeMap::new(),
            kept_bytes: 0,
            kept: 0,
            dropped: 0,
        }
    }

    pub(super) fn add(&mut self, place: Place, text: String) {
        if self.kept_bytes + text.len() > self.room {
            self.dropped += 1;
            return;
        }
        self.kept += 1;
        self.kept_bytes += text.len();
        match place {
            Place::Velero => self.velero.push(text),
            Place::Cluster => self.cluster.push(text),
            Place::Namespace(namespace) => self.namespaces.entry(namespace).or_default().push(text),
        }
    }

    pub(super) fn count(&self) -> u64 {
        self.kept + self.dropped
    }
}

#[derive(Serialize)]
struct Headings<'a> {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    velero: Vec<&'a str>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    cluster: &'a [String],
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    namespaces: &'a BTreeMap<String, Vec<String>>,
}

impl Serialize for Verdicts {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let note = format!("{} more messages are in the log only", self.dropped);
        let mut velero: Vec<&str> = self.velero.iter().map(String::as_str).collect();
        if self.dropped > 0 {
            velero.push(&note);
        }
        Headings { velero, cluster: &self.cluster, namespaces: &self.namespaces }.serialize(serializer)
    }
}

#[derive(Serialize)]
pub(super) struct Results<'a> {
    pub(super) errors: &'a Verdicts,
    pub(super) warnings: &'a Verdicts,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) plan: Option<&'a Verdicts>,
}

impl Results<'_> {
    pub(super) fn gzip(&self) -> io::Result<Bytes> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        serde_json::to_writer(&mut encoder, self)?;
        encoder.write_all(b"\n")?;
        Ok(encoder.finish()?.into())
    }
}

/// The form of a backup's results: each part that exists, with a blank, its label and a slash in front.
pub(super) fn labelled(message: &Message) -> String {
    let parts = [
        ("resource", message.resource.as_deref()),
        ("name", message.name.as_deref()),
        ("message", Some(message.text.as_str())),
        ("error", message.cause.as_deref()),
    ];
    parts.iter().filter_map(|(label, part)| part.map(|part| format!(" {label}: /{part}"))).collect()
}

/// The form of a restore's results: the text, and its cause behind a colon.
pub(super) fn plain(message: &Message) -> String {
    match &message.cause {
        Some(cause) => format!("{}: {cause}", message.text),
        None => message.text.clone(),
    }
}
