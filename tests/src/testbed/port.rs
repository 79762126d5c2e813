//! Starting a server on a free port. Between the choice and the server's own bind somebody else may take it, so
//! a server that ends for this reason is started again on another one.

use std::net::TcpListener;
use std::time::Duration;

use anyhow::{Context, bail};
use tokio::time::Instant;

use crate::process::{Launch, Lifetime, POLL, Server};

const ATTEMPTS: usize = 8;
const PATIENCE: Duration = Duration::from_secs(120);

/// Starts what `launch` says for a port, and returns when `ready` (given the port and the log's text) says so.
pub(crate) async fn serve<'a>(
    launch: impl Fn(u16) -> Launch<'a>,
    lifetime: Lifetime<'_>,
    started: &mut (dyn FnMut(&Server) -> anyhow::Result<()> + Send),
    ready: impl AsyncFn(u16, &str) -> bool,
) -> anyhow::Result<(Server, u16)> {
    let deadline = Instant::now() + PATIENCE;
    for _ in 0..ATTEMPTS {
        let port = free_port()?;
        let mut server = Server::start(launch(port), lifetime)?;
        started(&server)?;
        loop {
            if let Some(status) = server.ended()? {
                if server.log_text().to_lowercase().contains("address already in use") {
                    break;
                }
                bail!("{} ended at its start ({status})\n{}", server.name, server.log_tail());
            }
            if ready(port, &server.log_text()).await {
                return Ok((server, port));
            }
            if Instant::now() > deadline {
                bail!("{} is not ready after {PATIENCE:?}\n{}", server.name, server.log_tail());
            }
            tokio::time::sleep(POLL).await;
        }
    }
    bail!("{ATTEMPTS} ports in a row were taken by somebody else between the choice and the start")
}

fn free_port() -> anyhow::Result<u16> {
    let listener = TcpListener::bind("127.0.0.1:0").context("looking for a free port on 127.0.0.1")?;
    Ok(listener.local_addr().context("reading the address of a new socket")?.port())
}
