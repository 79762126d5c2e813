//! Fetches a packed file and writes it unpacked.

use std::io::Write as _;
use std::time::Duration;

use anyhow::{Context as _, bail};
use flate2::write::MultiGzDecoder;

/// A bucket that is not reached in this time can't be reached from here.
const CONNECT: Duration = Duration::from_secs(10);
/// Between two pieces of a file.
const READ: Duration = Duration::from_secs(60);

/// What became of it.
#[derive(Debug)]
pub(super) enum Fetched {
    Written,
    /// The bucket has no such file.
    Absent,
    /// There is no way from here.
    Unreachable {
        host: String,
        error: reqwest::Error,
    },
}

/// Writes the unpacked file to standard output. The authority is one whose word counts beside those of the system.
pub(super) async fn print(url: &str, authority: Option<&[u8]>) -> anyhow::Result<Fetched> {
    let mut builder = reqwest::Client::builder().connect_timeout(CONNECT).read_timeout(READ);
    if let Some(authority) = authority {
        for certificate in
            reqwest::Certificate::from_pem_bundle(authority).context("the location's caCert can't be read")?
        {
            builder = builder.add_root_certificate(certificate);
        }
    }
    let client = builder.build().context("cannot prepare the download")?;
    let host =
        reqwest::Url::parse(url).context("the daemon gave no URL")?.host_str().unwrap_or_default().to_owned();
    let mut answer = match client.get(url).send().await.map_err(reqwest::Error::without_url) {
        Ok(answer) => answer,
        Err(error) if error.is_connect() || error.is_timeout() => {
            return Ok(Fetched::Unreachable { host, error });
        }
        Err(error) => return Err(error).with_context(|| format!("asking {host} for the log")),
    };
    match answer.status() {
        reqwest::StatusCode::NOT_FOUND => return Ok(Fetched::Absent),
        status if !status.is_success() => bail!("{host} answered {status}"),
        _ => {}
    }
    let mut output = MultiGzDecoder::new(std::io::stdout().lock());
    while let Some(piece) =
        answer.chunk().await.map_err(reqwest::Error::without_url).context("reading the log")?
    {
        match output.write_all(&piece) {
            // Whoever read has seen enough.
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => return Ok(Fetched::Written),
            written => written.context("unpacking the log")?,
        }
    }
    output.try_finish().context("unpacking the log")?;
    Ok(Fetched::Written)
}
