//! Cutting a process off between any two of its steps: a fuse that counts writes to the API server and requests to the
//! bucket, and blows at the one that it was set to.

use std::fmt;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};

use chrono::{DateTime, Utc};
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use holdfast::controllers::stores::Stores;
use holdfast::controllers::watched::{Record, Watched};
use holdfast::store::Layer;
use http::{Method, Request, Response};
use http_body_util::BodyExt;
use kube::Client;
use kube::client::Body;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, ObjectStoreExt,
    PutMultipartOptions, PutOptions, PutPayload, PutResult,
};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::home::Home;

/// No work of these tests has as many steps.
const MOST_STEPS: i64 = 80;
const AT_A_TIME: usize = 6;

/// What becomes of the step whose number has come, and of all after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The process ends before the step.
    CutOffBefore,
    /// The step is done, and the process ends before it learns so.
    CutOffAfter,
    /// The step fails, and only this one.
    Fails,
}

/// Counts the steps of a life: writes to the API server, and all requests to the bucket.
#[derive(Debug)]
pub(crate) struct Fuse {
    left: AtomicI64,
    fault: Fault,
    pub(crate) blown: CancellationToken,
}

impl Fuse {
    pub(crate) fn new(steps: i64, fault: Fault) -> Arc<Fuse> {
        Arc::new(Fuse { left: AtomicI64::new(steps), fault, blown: CancellationToken::new() })
    }

    /// Carries out a step, if it comes to that.
    async fn step<T, E>(
        &self,
        work: impl Future<Output = Result<T, E>>,
        failure: impl FnOnce() -> Result<T, E>,
    ) -> Result<T, E> {
        let left = self.left.fetch_sub(1, Ordering::SeqCst);
        match (left, self.fault) {
            (1.., _) => work.await,
            (0, Fault::Fails) => {
                self.blown.cancel();
                failure()
            }
            (_, Fault::Fails) => work.await,
            (0, Fault::CutOffAfter) => {
                let done = work.await;
                self.blown.cancel();
                drop(done);
                std::future::pending().await
            }
            (_, Fault::CutOffBefore | Fault::CutOffAfter) => {
                self.blown.cancel();
                std::future::pending().await
            }
        }
    }
}

#[derive(Debug)]
struct Fused {
    bucket: Arc<dyn ObjectStore>,
    fuse: Arc<Fuse>,
}

fn broken<T>() -> object_store::Result<T> {
    Err(object_store::Error::Generic { store: "bucket", source: "a fault of the test".into() })
}

impl fmt::Display for Fused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.bucket.fmt(f)
    }
}

#[async_trait::async_trait]
impl ObjectStore for Fused {
    async fn put_opts(
        &self,
        at: &Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> object_store::Result<PutResult> {
        self.fuse.step(self.bucket.put_opts(at, payload, options), broken).await
    }

    async fn put_multipart_opts(
        &self,
        at: &Path,
        options: PutMultipartOptions,
    ) -> object_store::Result<Box<dyn MultipartUpload>> {
        self.bucket.put_multipart_opts(at, options).await
    }

    async fn get_opts(&self, at: &Path, options: GetOptions) -> object_store::Result<GetResult> {
        self.fuse.step(self.bucket.get_opts(at, options), broken).await
    }

    fn delete_stream(
        &self,
        paths: BoxStream<'static, object_store::Result<Path>>,
    ) -> BoxStream<'static, object_store::Result<Path>> {
        let (bucket, fuse) = (self.bucket.clone(), self.fuse.clone());
        let deleted = paths.then(move |path| {
            let (bucket, fuse) = (bucket.clone(), fuse.clone());
            async move {
                let path = path?;
                fuse.step(bucket.delete(&path), broken).await.map(|()| path)
            }
        });
        deleted.boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, object_store::Result<ObjectMeta>> {
        let (listed, fuse) = (self.bucket.list(prefix), self.fuse.clone());
        let listing = async move { fuse.step(async { Ok(listed) }, broken).await };
        futures::stream::once(listing).try_flatten().boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> object_store::Result<ListResult> {
        self.fuse.step(self.bucket.list_with_delimiter(prefix), broken).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> object_store::Result<()> {
        self.bucket.copy_opts(from, to, options).await
    }
}

fn fused_client(real: Client, namespace: &str, fuse: &Arc<Fuse>) -> Client {
    let fuse = fuse.clone();
    let service = tower::service_fn(move |request: Request<Body>| {
        let (real, fuse) = (real.clone(), fuse.clone());
        async move {
            let is_write = request.method() != Method::GET;
            let sent = async {
                let answer: Response<Body> = real.send(request).await?;
                Ok::<_, kube::Error>(answer.map(BodyExt::boxed_unsync))
            };
            // An API server that fails answers so; how that is met is not these tests' matter.
            if is_write && fuse.fault != Fault::Fails {
                fuse.step(sent, || unreachable!("only buckets fail")).await
            } else {
                sent.await
            }
        }
    });
    Client::new(service, namespace)
}

/// A client and stores that end where the fuse does; without one, at nothing.
pub(crate) fn through(home: &Home, fuse: Option<&Arc<Fuse>>) -> anyhow::Result<(Client, Stores)> {
    let (real, namespace) = (home.testbed.client()?, home.namespace.as_str());
    let Some(fuse) = fuse else {
        let stores = Stores::new(&real, namespace);
        return Ok((real, stores));
    };
    let client = fused_client(real, namespace, fuse);
    let fuse = fuse.clone();
    let layer: Layer = Arc::new(move |bucket| Arc::new(Fused { bucket, fuse: fuse.clone() }));
    let stores = Stores::new(&client, namespace).through(layer);
    Ok((client, stores))
}

pub(crate) fn watch<K: Record>(client: &Client, namespace: &str, tasks: &mut JoinSet<()>) -> Arc<Watched<K>> {
    let watched = Arc::new(Watched::new(client, namespace));
    let followed = watched.clone();
    tasks.spawn(async move { followed.follow().await });
    watched
}

/// A clock that stands still until it is moved.
#[derive(Clone)]
pub(crate) struct TestClock(Arc<Mutex<DateTime<Utc>>>);

impl TestClock {
    pub(crate) fn new() -> TestClock {
        TestClock(Arc::new(Mutex::new("2026-11-23T10:00:00Z".parse().expect("it is an instant"))))
    }

    pub(crate) fn clock(&self) -> holdfast::clock::Clock {
        let clock = self.clone();
        Arc::new(move || *clock.0.lock().expect("no test panics while it holds the clock"))
    }

    pub(crate) fn advance(&self, minutes: i64) {
        *self.0.lock().expect("no test panics while it holds the clock") +=
            chrono::Duration::minutes(minutes);
    }
}

/// Sets the fuse to one step after another, until the work is over before it blows. Gives the number of steps.
pub(crate) async fn every_step(
    fault: Fault,
    one: impl AsyncFn(i64, Fault) -> anyhow::Result<bool>,
) -> anyhow::Result<i64> {
    // For the definitions.
    Home::new("definitions").await?.daemon(&[]).await?.stop().await?;
    let one = &one;
    let mut outcomes = futures::stream::iter(0..MOST_STEPS)
        .map(|steps| async move { (steps, one(steps, fault).await) })
        .buffered(AT_A_TIME);
    while let Some((steps, outcome)) = outcomes.next().await {
        match outcome {
            Ok(true) => (),
            Ok(false) => return Ok(steps),
            Err(error) => return Err(error.context(format!("{fault:?} at step {steps}"))),
        }
    }
    anyhow::bail!("it has more than {MOST_STEPS} steps")
}
