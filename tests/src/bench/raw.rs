//! What a bare client gets out of the API server: POSTs with many in flight, and a paged LIST by one connection.

use std::ops::Range;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use futures::{StreamExt, TryStreamExt, stream};
use kube::Client;
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::mix;
use super::report::{Measurement, Step};
use crate::testbed::Testbed;

const PAGE: usize = 500;
/// For the controllers to follow the last POST.
const PATIENCE: Duration = Duration::from_secs(900);

/// Creates the objects with these numbers, so many at a time.
pub(super) async fn create(
    testbed: &Testbed,
    objects: Range<usize>,
    in_flight: usize,
) -> anyhow::Result<Measurement> {
    mix::install_definition(testbed).await?;
    let client = testbed.client()?;
    let count = objects.len() as u64;
    let known = get(&client, "/api/v1/namespaces").await?;
    for namespace in mix::namespaces(objects.clone()) {
        if known.contains(&format!(r#""name":"{namespace}""#)) {
            continue;
        }
        let body = format!(r#"{{"apiVersion":"v1","kind":"Namespace","metadata":{{"name":"{namespace}"}}}}"#);
        post(&client, "/api/v1/namespaces", body.into_bytes()).await?;
    }
    // The definition is known to discovery a moment before its objects are accepted.
    while get(&client, &mix::KINDS[4].all_path()).await.is_err() {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let started = Instant::now();
    stream::iter(objects)
        .map(|number| {
            let client = client.clone();
            async move {
                let (path, body) = mix::object(number);
                post(&client, &path, body).await
            }
        })
        .buffer_unordered(in_flight)
        .try_collect::<()>()
        .await?;
    let elapsed = started.elapsed();
    Ok(Measurement { step: Step::RawPost { in_flight }, objects: count, elapsed, cost: None })
}

/// Reads the objects with these numbers one by one, so many at a time.
pub(super) async fn read(
    testbed: &Testbed,
    objects: Range<usize>,
    in_flight: usize,
) -> anyhow::Result<Measurement> {
    let client = testbed.client()?;
    let count = objects.len() as u64;
    let paths: Vec<String> = objects.map(mix::path).collect();
    get(&client, "/readyz").await.context("opening the connection")?;
    let started = Instant::now();
    stream::iter(&paths)
        .map(|path| get(&client, path))
        .buffer_unordered(in_flight)
        .try_for_each(async |_| Ok(()))
        .await?;
    let elapsed = started.elapsed();
    Ok(Measurement { step: Step::RawGet { in_flight }, objects: count, elapsed, cost: None })
}

/// Controllers answer Deployments with ReplicaSets and Services with slices; what they still do would be measured too.
pub(super) async fn wait_until_settled(testbed: &Testbed) -> anyhow::Result<()> {
    const ANSWERS: [(&str, &str); 2] = [
        ("/apis/apps/v1/deployments", "/apis/apps/v1/replicasets"),
        ("/api/v1/services", "/apis/discovery.k8s.io/v1/endpointslices"),
    ];
    let client = testbed.client()?;
    let deadline = Instant::now() + PATIENCE;
    for (asked, answered) in ANSWERS {
        // The Service `kubernetes` has no slice.
        while count(&client, answered).await? + 1 < count(&client, asked).await? {
            if Instant::now() > deadline {
                bail!("the controllers have not followed {asked} after {PATIENCE:?}");
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }
    Ok(())
}

/// The kinds of the mix, each in all namespaces, page after page.
pub(super) async fn list(testbed: &Testbed) -> anyhow::Result<Measurement> {
    let client = testbed.client()?;
    get(&client, "/readyz").await.context("opening the connection")?;
    let started = Instant::now();
    let mut objects = 0;
    for kind in &mix::KINDS {
        objects += count(&client, &kind.all_path()).await?;
    }
    Ok(Measurement { step: Step::RawList, objects, elapsed: started.elapsed(), cost: None })
}

#[derive(Deserialize)]
struct Page {
    metadata: PageMetadata,
    items: Vec<IgnoredAny>,
}

#[derive(Deserialize)]
struct PageMetadata {
    #[serde(default, rename = "continue")]
    token: String,
}

async fn count(client: &Client, path: &str) -> anyhow::Result<u64> {
    let mut objects = 0;
    let mut token = String::new();
    loop {
        let text = get(client, &format!("{path}?limit={PAGE}&continue={token}")).await?;
        let page: Page = serde_json::from_str(&text).with_context(|| format!("reading a page of {path}"))?;
        objects += page.items.len() as u64;
        token = page.metadata.token;
        if token.is_empty() {
            return Ok(objects);
        }
    }
}

async fn get(client: &Client, path: &str) -> anyhow::Result<String> {
    let request = http::Request::get(path).body(Vec::new()).context("building a request")?;
    client.request_text(request).await.with_context(|| format!("GET {path}"))
}

async fn post(client: &Client, path: &str, body: Vec<u8>) -> anyhow::Result<()> {
    let request = http::Request::post(path)
        .header(http::header::CONTENT_TYPE, "application/json")
        .body(body)
        .context("building a request")?;
    client.request_text(request).await.with_context(|| format!("POST {path}"))?;
    Ok(())
}
