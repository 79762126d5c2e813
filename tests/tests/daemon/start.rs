//! What the daemon needs to start, and what it says of itself while it runs.

use holdfast_tests::{Daemon, DaemonOptions, Testbed};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{ListParams, Patch, PatchParams};
use kube::{Api, ResourceExt};
use pretty_assertions::assert_eq;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::home::Home;

/// The whole answer to a GET.
async fn get(metrics_url: &str, path: &str) -> anyhow::Result<String> {
    let address = metrics_url.trim_start_matches("http://").trim_end_matches("/metrics");
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(format!("GET {path} HTTP/1.0\r\n\r\n").as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}

#[tokio::test(flavor = "multi_thread")]
async fn probes_and_metrics_are_served() -> anyhow::Result<()> {
    let home = Home::new("probes").await?;
    let daemon = home.daemon(&[]).await?;
    for path in ["/healthz", "/readyz"] {
        let answer = get(&daemon.metrics_url(), path).await?;
        assert!(answer.starts_with("HTTP/1.0 200") && answer.ends_with("ok"), "{answer}");
    }
    let metrics = get(&daemon.metrics_url(), "/metrics").await?;
    assert!(metrics.contains("holdfast_build_info"), "{metrics}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_definitions_it_names_them_and_tells_how_to_get_them() -> anyhow::Result<()> {
    let testbed = Testbed::start().await?;
    let namespace = testbed.namespace("bare").await?;
    let options = || DaemonOptions { namespace: namespace.clone(), ..DaemonOptions::default() };
    let refused = Daemon::start(&testbed, DaemonOptions { arguments: vec![], ..options() }).await;
    let Err(error) = refused else { anyhow::bail!("it started") };
    let text = format!("{error:#}");
    for expected in ["backups.velero.io", "datadownloads.velero.io", "holdfast crds", "--install-crds"] {
        assert!(text.contains(expected), "{expected} is not in: {text}");
    }

    let definitions: Api<CustomResourceDefinition> = Api::all(testbed.client()?);
    assert_eq!(definitions.list(&ListParams::default()).await?.items.len(), 0);
    let daemon = Daemon::start(&testbed, options()).await?;
    let created = definitions.list(&ListParams::default()).await?.items;
    assert_eq!(created.iter().filter(|it| it.spec.group == "velero.io").count(), 13);
    drop(daemon);

    // What is there is somebody's: it is not touched.
    let name = "backups.velero.io";
    let mark = serde_json::json!({"metadata": {"annotations": {"whose": "somebody's"}}});
    definitions.patch(name, &PatchParams::default(), &Patch::Merge(mark)).await?;
    let before = definitions.get(name).await?.resource_version();
    let _daemon = Daemon::start(&testbed, options()).await?;
    assert_eq!(definitions.get(name).await?.resource_version(), before);
    Ok(())
}
