//! Writes an archive: items in, chunks of the compressed stream out.
//!
//! Formatting and compressing keep one core busy, so they have a thread of their own, fed and drained through bounded
//! channels: a slow upload slows down the reading of the cluster instead of filling memory.

use std::io::{self, Write};
use std::sync::{Mutex, PoisonError};
use std::thread;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use holdfast_policy::compression::Compression;
use tokio::sync::{mpsc, oneshot};

use super::Error;
use super::codec::Encoder;
use super::entry::{END_MARK, EntryFormat};
use super::path::{ItemPath, VERSION_ENTRY, VERSION_TEXT};

/// Items travel to the thread in batches, since waking it for each one costs as much as compressing it. Three batches wait at
/// most, so that about a megabyte (more only with objects near the API server's limit) stands between the two sides.
const BATCH_BYTES: usize = 256 * 1024;
const BATCH_ITEMS: usize = 256;
const BATCHES_WAITING: usize = 3;
/// Tar blocks are gathered before they are compressed; per call the codec has a fixed cost.
const GATHERED_BYTES: usize = 64 * 1024;
const CHUNK_BYTES: usize = 256 * 1024;

/// An archive being written. It is complete only when [`Writer::finish`] has said so; dropped earlier it leaves the output
/// without an end, which no reader accepts.
#[derive(Debug)]
pub struct Writer {
    input: mpsc::Sender<Message>,
    pending: Mutex<Batch>,
    outcome: oneshot::Receiver<Result<Stats, Error>>,
}

/// What a finished archive holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stats {
    pub items: u64,
    /// Bytes of the tar, before compression.
    pub tar_bytes: u64,
    /// Bytes of the compressed stream.
    pub archive_bytes: u64,
}

#[derive(Debug, Default)]
struct Batch {
    items: Vec<(ItemPath, Entries, Bytes)>,
    bytes: usize,
}

/// Under which names an item stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entries {
    /// The plain one and that of its version, which is the preferred one.
    PlainAndPreferred,
    /// That of its version, which is another one.
    OtherVersion,
}

#[derive(Debug)]
enum Message {
    Items(Batch),
    Finish,
}

impl Writer {
    /// Starts the thread. All entries carry `modified`; the chunks sent to `output` have about 256 KiB each.
    pub fn start(compression: Compression, modified: DateTime<Utc>, output: mpsc::Sender<Bytes>) -> Self {
        let (input, messages) = mpsc::channel(BATCHES_WAITING);
        let (report, outcome) = oneshot::channel();
        let run = move || {
            // Nobody listens when the writer was dropped, and then nobody wants to know.
            drop(report.send(write_all(compression, modified, messages, output)));
        };
        // Where no thread can be started, `finish` and `append` say that the writer is gone.
        drop(thread::Builder::new().name("archive-writer".to_owned()).spawn(run));
        Self { input, pending: Mutex::default(), outcome }
    }

    /// Adds an item of the preferred version under its two names, and waits while the archive is behind.
    ///
    /// An error about the item's name concerns this item only; after any other the archive is lost, and
    /// [`Writer::finish`] has the reason.
    pub async fn append(&self, path: ItemPath, json: Bytes) -> Result<(), Error> {
        self.append_as(Entries::PlainAndPreferred, path, json).await
    }

    /// The same for an item of any version.
    pub async fn append_as(&self, entries: Entries, path: ItemPath, json: Bytes) -> Result<(), Error> {
        path.check()?;
        if self.pending().push(path, entries, json) {
            // The place is reserved before the batch is taken, so that a caller who stops waiting loses no item.
            let place = self.input.reserve().await.map_err(|_| Error::WriterGone)?;
            place.send(Message::Items(std::mem::take(&mut *self.pending())));
        }
        Ok(())
    }

    /// Writes what is left and the end of the archive.
    pub async fn finish(self) -> Result<Stats, Error> {
        let rest = std::mem::take(&mut *self.pending());
        for message in [Message::Items(rest), Message::Finish] {
            if self.input.send(message).await.is_err() {
                break;
            }
        }
        self.outcome.await.unwrap_or(Err(Error::WriterGone))
    }

    fn pending(&self) -> std::sync::MutexGuard<'_, Batch> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Batch {
    /// Says whether it is time to send the batch.
    fn push(&mut self, path: ItemPath, entries: Entries, json: Bytes) -> bool {
        self.bytes += json.len();
        self.items.push((path, entries, json));
        self.bytes >= BATCH_BYTES || self.items.len() >= BATCH_ITEMS
    }
}

fn write_all(
    compression: Compression,
    modified: DateTime<Utc>,
    mut messages: mpsc::Receiver<Message>,
    output: mpsc::Sender<Bytes>,
) -> Result<Stats, Error> {
    let mut stream = Stream::new(compression, modified, output)?;
    stream.entry(VERSION_ENTRY, VERSION_TEXT)?;
    let mut name = String::new();
    while let Some(message) = messages.blocking_recv() {
        match message {
            Message::Items(batch) => {
                for (path, entries, json) in batch.items {
                    let names: &[fn(&ItemPath, &mut String)] = match entries {
                        Entries::PlainAndPreferred => &[ItemPath::plain, ItemPath::preferred],
                        Entries::OtherVersion => &[ItemPath::other_version],
                    };
                    for write_name in names {
                        name.clear();
                        write_name(&path, &mut name);
                        stream.entry(&name, &json)?;
                    }
                    stream.stats.items += 1;
                }
            }
            Message::Finish => return stream.finish(),
        }
    }
    // The writer was dropped: without the end mark nothing takes this for an archive.
    Err(Error::WriterGone)
}

/// The tar stream on its way through the codec.
struct Stream {
    format: EntryFormat,
    gathered: Vec<u8>,
    encoder: Encoder<Chunks>,
    stats: Stats,
}

impl Stream {
    fn new(
        compression: Compression,
        modified: DateTime<Utc>,
        output: mpsc::Sender<Bytes>,
    ) -> Result<Self, Error> {
        let chunks = Chunks { output, chunk: Vec::with_capacity(CHUNK_BYTES), sent: 0 };
        Ok(Self {
            format: EntryFormat::new(modified),
            gathered: Vec::with_capacity(2 * GATHERED_BYTES),
            encoder: Encoder::new(compression, chunks).map_err(Error::Compress)?,
            stats: Stats::default(),
        })
    }

    fn entry(&mut self, name: &str, content: &[u8]) -> Result<(), Error> {
        self.format.append(&mut self.gathered, name, content);
        if self.gathered.len() >= GATHERED_BYTES { self.compress() } else { Ok(()) }
    }

    fn compress(&mut self) -> Result<(), Error> {
        self.encoder.write_all(&self.gathered).map_err(lost)?;
        self.stats.tar_bytes += self.gathered.len() as u64;
        self.gathered.clear();
        // One large object must not hold its memory for the rest of the run.
        self.gathered.shrink_to(2 * GATHERED_BYTES);
        Ok(())
    }

    fn finish(mut self) -> Result<Stats, Error> {
        self.gathered.extend_from_slice(&END_MARK);
        self.compress()?;
        let mut chunks = self.encoder.finish().map_err(lost)?;
        chunks.send().map_err(lost)?;
        Ok(Stats { archive_bytes: chunks.sent, ..self.stats })
    }
}

fn lost(error: io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::BrokenPipe => Error::OutputClosed,
        _ => Error::Compress(error),
    }
}

/// Gathers the codec's output into chunks and hands them on.
struct Chunks {
    output: mpsc::Sender<Bytes>,
    chunk: Vec<u8>,
    sent: u64,
}

impl Chunks {
    fn send(&mut self) -> io::Result<()> {
        let chunk = std::mem::replace(&mut self.chunk, Vec::with_capacity(CHUNK_BYTES));
        if chunk.is_empty() {
            return Ok(());
        }
        self.sent += chunk.len() as u64;
        self.output.blocking_send(Bytes::from(chunk)).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

impl Write for Chunks {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = CHUNK_BYTES - self.chunk.len();
        let taken = bytes.len().min(room);
        self.chunk.extend_from_slice(&bytes[..taken]);
        if self.chunk.len() == CHUNK_BYTES {
            self.send()?;
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::path::UnusableName;
    use super::*;

    fn item(name: &str) -> (ItemPath, Bytes) {
        let path = ItemPath {
            group_resource: "configmaps".into(),
            version: "v1".into(),
            namespace: Some("shop".into()),
            name: name.into(),
        };
        (path, Bytes::from_static(b"{}"))
    }

    async fn collect(mut output: mpsc::Receiver<Bytes>) -> Vec<u8> {
        let mut archive = Vec::new();
        while let Some(chunk) = output.recv().await {
            archive.extend_from_slice(&chunk);
        }
        archive
    }

    fn names(tar_gz: &[u8]) -> Vec<String> {
        let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(tar_gz));
        let entries = archive.entries().unwrap();
        entries.map(|entry| String::from_utf8(entry.unwrap().path_bytes().into_owned()).unwrap()).collect()
    }

    #[tokio::test]
    async fn an_archive_without_items_holds_its_version_only() {
        let (output, chunks) = mpsc::channel(2);
        let writer = Writer::start(Compression::Gzip, DateTime::UNIX_EPOCH, output);
        let stats = writer.finish().await.unwrap();
        let archive = collect(chunks).await;
        assert_eq!(names(&archive), ["metadata/version"]);
        assert_eq!(stats, Stats { items: 0, tar_bytes: 4 * 512, archive_bytes: archive.len() as u64 });
    }

    #[tokio::test]
    async fn each_item_is_followed_by_its_twin_in_the_order_of_appending() {
        let (output, chunks) = mpsc::channel(2);
        let collected = tokio::spawn(collect(chunks));
        let writer = Writer::start(Compression::Gzip, DateTime::UNIX_EPOCH, output);
        // More than fit into one batch.
        for number in 0..1_000 {
            let (path, json) = item(&number.to_string());
            writer.append(path, json).await.unwrap();
        }
        assert_eq!(writer.finish().await.unwrap().items, 1_000);
        let expected = (0..1_000).flat_map(|number| {
            ["", "/v1-preferredversion"]
                .map(|version| format!("resources/configmaps{version}/namespaces/shop/{number}.json"))
        });
        let expected: Vec<String> = std::iter::once("metadata/version".to_owned()).chain(expected).collect();
        assert_eq!(names(&collected.await.unwrap()), expected);
    }

    #[tokio::test]
    async fn an_item_of_another_version_stands_below_that_version_only() {
        let (output, chunks) = mpsc::channel(2);
        let writer = Writer::start(Compression::Gzip, DateTime::UNIX_EPOCH, output);
        let (path, json) = item("a");
        let path = ItemPath { version: "v1beta1".into(), ..path };
        writer.append_as(Entries::OtherVersion, path, json).await.unwrap();
        assert_eq!(writer.finish().await.unwrap().items, 1);
        let expected = ["metadata/version", "resources/configmaps/v1beta1/namespaces/shop/a.json"];
        assert_eq!(names(&collect(chunks).await), expected);
    }

    #[tokio::test]
    async fn a_name_that_leads_elsewhere_costs_its_item_only() {
        let (output, chunks) = mpsc::channel(2);
        let writer = Writer::start(Compression::Gzip, DateTime::UNIX_EPOCH, output);
        let (path, json) = item("../../etc");
        let refused = writer.append(path, json).await.unwrap_err();
        assert!(matches!(refused, Error::Name(UnusableName { part: "name", .. })));
        let (path, json) = item("good");
        writer.append(path, json).await.unwrap();
        assert_eq!(writer.finish().await.unwrap().items, 1);
        assert_eq!(names(&collect(chunks).await).len(), 3);
    }

    #[tokio::test]
    async fn without_anyone_to_write_to_the_reason_is_told_at_the_end() {
        let (output, chunks) = mpsc::channel(1);
        drop(chunks);
        let writer = Writer::start(Compression::Zstd, DateTime::UNIX_EPOCH, output);
        assert!(matches!(writer.finish().await, Err(Error::OutputClosed)));
    }

    #[tokio::test]
    async fn a_dropped_writer_leaves_no_archive() {
        let (output, chunks) = mpsc::channel(2);
        let writer = Writer::start(Compression::Gzip, DateTime::UNIX_EPOCH, output);
        let (path, json) = item("a");
        writer.append(path, json).await.unwrap();
        drop(writer);
        assert_eq!(collect(chunks).await, Vec::<u8>::new());
    }
}
