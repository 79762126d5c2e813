//! Where a file of a bucket can be fetched: the daemon answers a DownloadRequest with a URL.

use std::time::Duration;

use anyhow::{Context as _, bail};
use holdfast_policy::annotations::SERVED_BY;
use holdfast_policy::velero::{DownloadRequest, DownloadRequestSpec, DownloadTarget};
use kube::api::{DeleteParams, PostParams};
use kube::runtime::wait::await_condition;
use kube::{Api, Client, ResourceExt as _};

use crate::controllers::download_request::decide::Server;

/// The URL that the daemon gives.
pub(super) async fn address(
    client: &Client,
    namespace: &str,
    target: DownloadTarget,
    server: Server,
    patience: Duration,
) -> anyhow::Result<String> {
    let requests: Api<DownloadRequest> = Api::namespaced(client.clone(), namespace);
    // As the velero command names them.
    let name = format!("{}-{}", target.name, uuid::Uuid::new_v4());
    let mut request = DownloadRequest::new(&name, DownloadRequestSpec { target: Some(target) });
    match server {
        Server::Bucket => (),
        Server::Daemon => drop(request.annotations_mut().insert(SERVED_BY.to_owned(), "daemon".to_owned())),
    }
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
