//! One request to a server of the testbed, for what no client library is at hand: is it ready, make a bucket.

use std::time::Duration;

use anyhow::{Context, bail};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct Request<'a> {
    pub(crate) port: u16,
    pub(crate) method: &'a str,
    /// With the query.
    pub(crate) path: &'a str,
    pub(crate) headers: &'a [(&'a str, &'a str)],
    pub(crate) body: &'a str,
}

/// The answer with its head. Fails unless it is a 2xx.
pub(crate) async fn send(request: Request<'_>) -> anyhow::Result<String> {
    let what = format!("{} {} on port {}", request.method, request.path, request.port);
    let answered = tokio::time::timeout(PATIENCE, exchange(request)).await;
    let answer = answered.with_context(|| format!("no answer to {what}"))?.with_context(|| what.clone())?;
    let status = answer.split(' ').nth(1).unwrap_or_default();
    if !status.starts_with('2') {
        bail!("{what}: {answer}");
    }
    Ok(answer)
}

async fn exchange(request: Request<'_>) -> anyhow::Result<String> {
    let Request { port, method, path, headers, body } = request;
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.context("connecting")?;
    let mut head = format!("{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n");
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    let text = format!("{head}Content-Length: {}\r\n\r\n{body}", body.len());
    stream.write_all(text.as_bytes()).await.context("sending")?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.context("reading the answer")?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}
