//! A file of a bucket: asks the daemon for its address by a DownloadRequest, and fetches it.

use std::io::Write as _;
use std::time::Duration;

use anyhow::{Context as _, bail};
use flate2::write::MultiGzDecoder;
use holdfast_policy::velero::{DownloadRequest, DownloadRequestSpec, DownloadTarget};
use kube::api::{DeleteParams, PostParams};
use kube::runtime::wait::await_condition;
use kube::{Api, Client};

/// A bucket that is not reached in this time can't be reached from here.
const CONNECT: Duration = Duration::from_secs(15);
/// Between two pieces of a file.
const READ: Duration = Duration::from_secs(60);

/// What became of the fetch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Log {
    Written,
    /// The bucket has no such file.
    Absent,
}

/// The URL that the daemon gives.
pub(super) async fn address(
    client: &Client,
    namespace: &str,
    target: DownloadTarget,
    patience: Duration,
) -> anyhow::Result<String> {
    let requests: Api<DownloadRequest> = Api::namespaced(client.clone(), namespace);
    // As the velero command names them.
    let name = format!("{}-{}", target.name, uuid::Uuid::new_v4());
    let request = DownloadRequest::new(&name, DownloadRequestSpec { target: Some(target) });
    requests.create(&PostParams::default(), &request).await.context("cannot create a DownloadRequest")?;
    let answered =
        |request: Option<&DownloadRequest>| request.is_some_and(|it| it.status.download_url.is_some());
    let answer = tokio::time::timeout(patience, await_condition(requests.clone(), &name, answered)).await;
    // The daemon deletes what stays behind.
    drop(requests.delete(&name, &DeleteParams::default()).await);
    match answer {
        Ok(answer) => {
            let request = answer.context("cannot follow the DownloadRequest")?;
            request.and_then(|request| request.status.download_url).context("the DownloadRequest was deleted")
        }
        Err(_) => bail!(
            "no address for the log within {} s: does the daemon run, and is the backup's location available?",
            patience.as_secs()
        ),
    }
}

/// Writes the unpacked file to standard output.
pub(super) async fn print(url: &str, authority: Option<&[u8]>) -> anyhow::Result<Log> {
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
    let asked = client.get(url).send().await;
    let mut answer = asked.map_err(reqwest::Error::without_url).with_context(|| {
        format!("the bucket can't be reached from here: no answer from {host} (publicUrl in the location's config is where it can)")
    })?;
    match answer.status() {
        reqwest::StatusCode::NOT_FOUND => return Ok(Log::Absent),
        status if !status.is_success() => bail!("{host} answered {status}"),
        _ => {}
    }
    let mut output = MultiGzDecoder::new(std::io::stdout().lock());
    while let Some(piece) =
        answer.chunk().await.map_err(reqwest::Error::without_url).context("reading the log")?
    {
        match output.write_all(&piece) {
            // Whoever read has seen enough.
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => return Ok(Log::Written),
            written => written.context("unpacking the log")?,
        }
    }
    output.try_finish().context("unpacking the log")?;
    Ok(Log::Written)
}
