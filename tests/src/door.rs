//! A door in front of a server: whoever wants in connects here, and the test shuts it, or has requests turned away.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::AbortHandle;

/// Not answered again by a client, so that a refusal is final.
const REFUSAL: &[u8] = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";

const PATIENCE: Duration = Duration::from_secs(120);

/// Open at first. Ends with the value.
pub struct Door {
    address: SocketAddr,
    shared: Arc<Shared>,
    task: AbortHandle,
}

struct Shared {
    state: watch::Sender<State>,
    rules: Mutex<BTreeMap<String, Rule>>,
    seen: watch::Sender<Vec<String>>,
}

#[derive(Clone, Copy)]
struct State {
    is_open: bool,
    /// How often it was shut. Who was let in before the last time is out, also where it was opened at once again.
    times_shut: u64,
}

/// What happens when a request begins with a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// It does not get through, and neither does anything after it.
    Shut,
    /// It is answered with 403; others get through.
    Refuse,
    /// It waits until the door is opened again; others get through.
    Hold,
}

impl Door {
    pub async fn before(port: u16) -> anyhow::Result<Door> {
        let listener = TcpListener::bind("127.0.0.1:0").await.context("binding a door")?;
        let address = listener.local_addr().context("reading a door's address")?;
        let shared = Arc::new(Shared {
            state: watch::Sender::new(State { is_open: true, times_shut: 0 }),
            rules: Mutex::default(),
            seen: watch::Sender::default(),
        });
        let task = tokio::spawn(accept(listener, port, shared.clone())).abort_handle();
        Ok(Door { address, shared, task })
    }

    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Cuts every connection, and each new one at once.
    pub fn shut(&self) {
        self.shared.shut();
    }

    /// Lets everything through again, whatever rules there were.
    pub fn open(&self) {
        self.shared.rules().clear();
        self.shared.state.send_modify(|state| state.is_open = true);
    }

    /// Lets everything through again but what other rules are about.
    pub fn open_again(&self, start: &str) {
        self.shared.rules().remove(start);
        self.shared.state.send_modify(|state| state.is_open = true);
    }

    /// From now on for requests whose first line begins with this (`PUT /bucket/backups/one/`).
    pub fn rule(&self, start: &str, rule: Rule) {
        self.shared.rules().insert(start.to_owned(), rule);
    }

    /// Waits until a request has come that a rule was made for.
    pub async fn met(&self, start: &str) -> anyhow::Result<()> {
        let mut seen = self.shared.seen.subscribe();
        let met = seen.wait_for(|seen| seen.iter().any(|one| one == start));
        let met = tokio::time::timeout(PATIENCE, met).await;
        met.with_context(|| format!("no request with {start}"))?.context("the door is gone")?;
        Ok(())
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        self.task.abort();
        self.shut();
    }
}

impl Shared {
    fn shut(&self) {
        self.state.send_modify(|state| {
            state.is_open = false;
            state.times_shut += 1;
        });
    }

    fn rules(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Rule>> {
        // Nothing under this lock can panic.
        self.rules.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn rule_for(&self, bytes: &[u8]) -> Option<(String, Rule)> {
        let rules = self.rules();
        let (start, rule) = rules.iter().find(|(start, _)| bytes.starts_with(start.as_bytes()))?;
        Some((start.clone(), *rule))
    }
}

async fn accept(listener: TcpListener, port: u16, shared: Arc<Shared>) {
    while let Ok((client, _)) = listener.accept().await {
        let shared = shared.clone();
        tokio::spawn(async move {
            let mut state = shared.state.subscribe();
            let at_entry = *state.borrow_and_update();
            if !at_entry.is_open {
                return;
            }
            tokio::select! {
                _ = pass(client, port, &shared) => (),
                _ = state.wait_for(|state| state.times_shut != at_entry.times_shut) => (),
            }
        });
    }
}

async fn pass(client: TcpStream, port: u16, shared: &Shared) -> std::io::Result<()> {
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = TcpStream::connect(("127.0.0.1", port)).await?.into_split();
    tokio::select! {
        refused = requests(&mut from_client, &mut to_server, shared) => {
            if refused? == Passed::Refused {
                to_client.write_all(REFUSAL).await?;
                to_client.shutdown().await?;
                // What is still on its way here would turn our answer into a reset.
                tokio::io::copy(&mut from_client, &mut tokio::io::sink()).await?;
            } else {
                tokio::io::copy(&mut from_server, &mut to_client).await?;
            }
        }
        copied = tokio::io::copy(&mut from_server, &mut to_client) => drop(copied?),
    }
    Ok(())
}

#[derive(PartialEq, Eq)]
enum Passed {
    All,
    Refused,
}

/// A client sends its next request after the answer to the last, so each begins with a read of its own.
async fn requests(
    from: &mut OwnedReadHalf,
    to: &mut OwnedWriteHalf,
    shared: &Shared,
) -> std::io::Result<Passed> {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let count = from.read(&mut buffer).await?;
        if count == 0 {
            to.shutdown().await?;
            return Ok(Passed::All);
        }
        let bytes = &buffer[..count];
        while let Some((start, rule)) = shared.rule_for(bytes) {
            if rule == Rule::Shut {
                shared.shut();
            }
            shared.seen.send_modify(|seen| seen.push(start));
            match rule {
                Rule::Shut => return std::future::pending().await,
                Rule::Refuse => return Ok(Passed::Refused),
                Rule::Hold => held(shared, bytes).await,
            }
        }
        to.write_all(bytes).await?;
    }
}

async fn held(shared: &Shared, bytes: &[u8]) {
    let mut changed = shared.state.subscribe();
    while shared.rule_for(bytes).is_some() && changed.changed().await.is_ok() {}
}
