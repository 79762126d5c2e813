//! A LIST of any length: a task reads it page by page and hands over small batches through a bounded channel,
//! so that the next page is on its way while the caller works, and memory depends on neither the length of
//! the list nor the size of a page.

use std::collections::HashSet;
use std::ops::ControlFlow;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

use super::request::{self, Error};
use super::split::{self, ListMetadata, Splitter};
use super::{Item, Resource};

/// Objects a page, where nothing else is asked for.
pub const PAGE_SIZE: u32 = 500;

/// Bytes of objects that make a batch.
const BATCH_BYTES: usize = 256 * 1024;
/// Batches that wait between reader and caller.
const BATCHES_AHEAD: usize = 2;
/// Expired tokens in a row, without a page between them, after which a list fails.
const EXPIRIES_IN_A_ROW: u32 = 5;

/// Which objects of a resource are listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListScope {
    /// None lists all namespaces.
    pub namespace: Option<String>,
    pub label_selector: Option<String>,
    pub page_size: u32,
}

impl ListScope {
    /// All objects of a resource, wherever they are.
    pub fn everything() -> Self {
        Self { namespace: None, label_selector: None, page_size: PAGE_SIZE }
    }
}

/// A list being read. Each object that exists from beginning to end comes at least once. It comes twice only
/// when the list's token expires at a server that gives no other to go on with, and the list starts again:
/// callers that mind keep the keys that they have seen.
pub struct Pages {
    batches: mpsc::Receiver<Result<Batch, Error>>,
    remaining: u64,
    _reader: AbortOnDropHandle<()>,
}

struct Batch {
    items: Vec<Item>,
    /// How many follow, told once a page.
    remaining: Option<u64>,
}

impl Pages {
    pub(super) fn start(client: kube::Client, resource: Resource, scope: ListScope) -> Self {
        let (output, batches) = mpsc::channel(BATCHES_AHEAD);
        let reader = Reader { client, resource, scope, output };
        Self { batches, remaining: 0, _reader: AbortOnDropHandle::new(tokio::spawn(reader.run())) }
    }

    /// The next objects, never an empty batch; None at the end. After an error nothing more comes.
    pub async fn next(&mut self) -> Result<Option<Vec<Item>>, Error> {
        while let Some(batch) = self.batches.recv().await {
            let Batch { items, remaining } = batch?;
            self.remaining = remaining.unwrap_or(self.remaining.saturating_sub(items.len() as u64));
            if !items.is_empty() {
                return Ok(Some(items));
            }
        }
        self.remaining = 0;
        Ok(None)
    }

    /// How many objects the server said are still to come; 0 where it does not say.
    pub fn remaining(&self) -> u64 {
        self.remaining
    }
}

struct Reader {
    client: kube::Client,
    resource: Resource,
    scope: ListScope,
    output: mpsc::Sender<Result<Batch, Error>>,
}

/// Why reading ended early.
enum Stop {
    /// The caller dropped its end.
    Unwanted,
    Failed(Error),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

impl Reader {
    async fn run(self) {
        if let Err(Stop::Failed(error)) = self.read_list().await {
            // The caller may be gone by now, and then nobody wants to know.
            self.output.send(Err(error)).await.ok();
        }
    }

    async fn read_list(&self) -> Result<(), Stop> {
        let mut token = None;
        let mut expiries = 0;
        loop {
            match self.read_page(token.as_deref()).await {
                Ok(ControlFlow::Continue(next)) => {
                    expiries = 0;
                    token = Some(next);
                }
                Ok(ControlFlow::Break(())) => return Ok(()),
                Err(Stop::Failed(error)) if error.is_gone() && expiries < EXPIRIES_IN_A_ROW => {
                    expiries += 1;
                    token = match error {
                        // Goes on behind the last key, in the state of now.
                        Error::Refused { go_on_with, .. } => go_on_with,
                        _ => None,
                    };
                }
                Err(stop) => return Err(stop),
            }
        }
    }

    /// Reads one page to its end, in as many tries as it takes; gives the next page's token.
    async fn read_page(&self, token: Option<&str>) -> Result<ControlFlow<(), String>, Stop> {
        let path = self.path(token);
        let mut given = HashSet::new();
        let mut tries = 0;
        let metadata = loop {
            tries += 1;
            let error = match self.try_page(&path, &mut given).await {
                Ok(metadata) => break metadata,
                Err(Stop::Failed(error)) => error,
                Err(Stop::Unwanted) => return Err(Stop::Unwanted),
            };
            let Some(pause) = request::pause(&error, tries) else { return Err(error.into()) };
            tokio::time::sleep(pause).await;
        };
        Ok(match metadata.next.filter(|token| !token.is_empty()) {
            Some(next) => ControlFlow::Continue(next),
            None => ControlFlow::Break(()),
        })
    }

    /// Reads one page once. `given` holds the keys handed over so far: where the answer broke off, the next
    /// try leaves them out.
    async fn try_page(&self, path: &str, given: &mut HashSet<String>) -> Result<ListMetadata, Stop> {
        let mut answer = request::open(&self.client, path, request::JSON).await?;
        let mut splitter = Splitter::new();
        let mut items = Vec::new();
        let mut bytes = 0;
        let given_before = given.clone();
        while let Some(piece) = request::next_bytes(&mut answer, path).await? {
            splitter
                .push(&piece, |json| {
                    let item = Item::parse(&self.resource, json)?;
                    if given_before.is_empty() || !given_before.contains(&key(&item)) {
                        bytes += item.json.len();
                        items.push(item);
                    }
                    Ok(())
                })
                .map_err(|source| Error::Malformed { path: path.into(), source })?;
            if bytes >= BATCH_BYTES {
                bytes = 0;
                self.give(std::mem::take(&mut items), None, given).await?;
            }
        }
        let metadata = splitter.finish().map_err(|error| match error {
            split::Error::Unfinished => Error::Truncated { path: path.into() },
            split::Error::Metadata(source) => Error::Malformed { path: path.into(), source },
        })?;
        let remaining = metadata.remaining_item_count.unwrap_or_default();
        self.give(items, Some(remaining), given).await?;
        Ok(metadata)
    }

    async fn give(
        &self,
        items: Vec<Item>,
        remaining: Option<u64>,
        given: &mut HashSet<String>,
    ) -> Result<(), Stop> {
        given.extend(items.iter().map(key));
        self.output.send(Ok(Batch { items, remaining })).await.map_err(|_| Stop::Unwanted)
    }

    fn path(&self, token: Option<&str>) -> String {
        let ListScope { namespace, label_selector, page_size } = &self.scope;
        let mut path = self.resource.path(namespace.as_deref(), None);
        path.push_str(&format!("?limit={page_size}"));
        for (parameter, value) in [("labelSelector", label_selector.as_deref()), ("continue", token)] {
            if let Some(value) = value {
                path.push_str(&format!("&{parameter}={}", utf8_percent_encode(value, NON_ALPHANUMERIC)));
            }
        }
        path
    }
}

fn key(item: &Item) -> String {
    match &item.namespace {
        Some(namespace) => format!("{namespace}/{}", item.name),
        None => item.name.clone(),
    }
}
