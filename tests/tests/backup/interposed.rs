//! A client of the same API server whose requests are looked at on the way: some wait, some are refused.

use std::sync::Arc;

use bytes::Bytes;
use futures::future::BoxFuture;
use holdfast::cluster::Cluster;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use kube::Client;
use kube::client::Body;
use serde_json::Value;

/// What becomes of a request.
pub(crate) enum Way {
    Through,
    /// This answer instead.
    Refused(StatusCode, Value),
}

/// Asks `look` about each request, by its path with the query.
pub(crate) fn cluster_seen_by<F>(real: Client, look: F) -> Cluster
where
    F: Fn(String) -> BoxFuture<'static, Way> + Send + Sync + 'static,
{
    let look = Arc::new(look);
    let service = tower::service_fn(move |request: Request<Body>| {
        let (real, look) = (real.clone(), look.clone());
        async move {
            let path = request.uri().path_and_query().map(ToString::to_string).unwrap_or_default();
            match look(path).await {
                Way::Through => Ok::<_, kube::Error>(real.send(request).await?.map(BodyExt::boxed_unsync)),
                Way::Refused(code, status) => {
                    let body = Full::new(Bytes::from(status.to_string())).map_err(|never| match never {});
                    let answer = Response::builder().status(code).body(body.boxed_unsync());
                    Ok(answer.expect("a status and a body make an answer"))
                }
            }
        }
    });
    Cluster::new(Client::new(service, "default"))
}

/// Something that a request waits for, and that it has come so far.
#[derive(Clone)]
pub(crate) struct Gate {
    reached: Arc<tokio::sync::Semaphore>,
    open: Arc<tokio::sync::Semaphore>,
}

impl Gate {
    pub(crate) fn new() -> Gate {
        Gate {
            reached: Arc::new(tokio::sync::Semaphore::new(0)),
            open: Arc::new(tokio::sync::Semaphore::new(0)),
        }
    }

    /// In the request's way: tells that it is here, and waits.
    pub(crate) async fn pass(&self) {
        self.reached.add_permits(1);
        drop(self.open.acquire().await.expect("gates are never closed"));
    }

    pub(crate) async fn reached(&self) {
        drop(self.reached.acquire().await.expect("gates are never closed"));
    }

    /// For everybody from now on.
    pub(crate) fn open(&self) {
        self.open.add_permits(1);
    }
}
