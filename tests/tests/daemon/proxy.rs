//! Stands in front of a bucket server and stops one of the requests, so that a daemon can be ended at exactly that one.

use std::sync::{Arc, Mutex};

use anyhow::Context as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

/// Which request is stopped.
#[derive(Clone, Debug)]
struct Trap {
    /// In its first line.
    text: String,
    /// Requests of the kind that pass before.
    pass: usize,
    when: When,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum When {
    /// The server never sees it.
    BeforeItIsSent,
    /// The server has done what it says, and nobody hears of that.
    BeforeTheAnswer,
}

/// Ends with its value.
pub(crate) struct Proxy {
    endpoint: String,
    trap: Arc<Mutex<Option<Trap>>>,
    caught: Arc<Semaphore>,
    _task: tokio_util::task::AbortOnDropHandle<()>,
}

impl Proxy {
    /// In front of `http://ADDRESS`.
    pub(crate) async fn start(server: &str) -> anyhow::Result<Proxy> {
        let server = server.strip_prefix("http://").context("an address without TLS")?.to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let endpoint = format!("http://{}", listener.local_addr()?);
        let trap = Arc::<Mutex<Option<Trap>>>::default();
        let caught = Arc::new(Semaphore::new(0));
        let (set, count) = (trap.clone(), caught.clone());
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                connections.spawn(serve(client, server.clone(), set.clone(), count.clone()));
            }
        });
        Ok(Proxy { endpoint, trap, caught, _task: tokio_util::task::AbortOnDropHandle::new(task) })
    }

    pub(crate) fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// Stops the request that writes something with `text` in its path after `pass` others did.
    pub(crate) fn set_trap(&self, text: &str, pass: usize, when: When) {
        let trap = Trap { text: text.to_owned(), pass, when };
        *self.trap.lock().expect("nobody panics while it holds the lock") = Some(trap);
    }

    pub(crate) fn remove_trap(&self) {
        *self.trap.lock().expect("nobody panics while it holds the lock") = None;
    }

    /// Returns once the request has been stopped.
    pub(crate) async fn caught(&self) {
        self.caught.acquire().await.expect("it is never closed").forget();
    }
}

/// One request, since the answer says that the connection ends.
async fn serve(
    mut client: TcpStream,
    server: String,
    trap: Arc<Mutex<Option<Trap>>>,
    caught: Arc<Semaphore>,
) -> anyhow::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(client.read_u8().await?);
    }
    let text = String::from_utf8(head)?;
    let (first, rest) = text.split_once("\r\n").context("a first line")?;
    let stopped = {
        let mut trap = trap.lock().expect("nobody panics while it holds the lock");
        let writes = first.starts_with("PUT ") || first.starts_with("POST ");
        match trap.as_mut().filter(|trap| writes && first.contains(&trap.text)) {
            None => None,
            Some(trap) if trap.pass > 0 => {
                trap.pass -= 1;
                None
            }
            Some(trap) => Some(trap.when),
        }
    };
    if stopped == Some(When::BeforeItIsSent) {
        caught.add_permits(1);
        return std::future::pending().await;
    }
    let mut server = TcpStream::connect(&server).await?;
    server.write_all(format!("{first}\r\nConnection: close\r\n{rest}").as_bytes()).await?;
    if stopped == Some(When::BeforeTheAnswer) {
        let (mut from_client, _to_client) = client.split();
        let (mut from_server, mut to_server) = server.split();
        let mut answer = Vec::new();
        tokio::select! {
            read = from_server.read_to_end(&mut answer) => drop(read?),
            sent = tokio::io::copy(&mut from_client, &mut to_server) => {
                sent?;
                from_server.read_to_end(&mut answer).await?;
            }
        }
        caught.add_permits(1);
        return std::future::pending().await;
    }
    copy_bidirectional(&mut client, &mut server).await?;
    Ok(())
}
