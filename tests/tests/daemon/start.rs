//! What the daemon needs to start, and what it says of itself while it runs.

use holdfast_policy::velero::Schedule;
use holdfast_tests::{Daemon, DaemonOptions, Testbed};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{ListParams, Patch, PatchParams};
use kube::{Api, ResourceExt};
use pretty_assertions::assert_eq;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::home::{Home, PATIENCE, backup_of};

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

#[tokio::test(flavor = "multi_thread")]
async fn without_its_namespace_it_does_not_start() -> anyhow::Result<()> {
    let testbed = Testbed::shared().await?;
    let options = DaemonOptions { namespace: "nobody-made-it".to_owned(), ..DaemonOptions::default() };
    let Err(error) = Daemon::start(testbed, options).await else { anyhow::bail!("it started") };
    let text = format!("{error:#}");
    assert!(text.contains("nobody-made-it"), "{text}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_controller_that_velero_does_not_know_is_refused_and_a_known_one_can_be_off() -> anyhow::Result<()>
{
    let home = Home::new("disabled").await?;
    for (argument, why) in [
        ("--disable-controllers=backup-storage-location", "there is no controller"),
        ("--disable-controllers=gc,gc", "controller gc is disabled twice"),
    ] {
        let Err(error) = home.daemon(&[argument]).await else { anyhow::bail!("it started") };
        assert!(format!("{error:#}").contains(why), "{error:#}");
    }
    let _daemon = home.daemon(&["--disable-controllers=schedule"]).await?;
    home.local_location().await?;
    let schedule =
        serde_json::json!({"metadata": {"name": "s"}, "spec": {"schedule": "@daily", "template": {}}});
    home.runs.create(&serde_json::from_value::<Schedule>(schedule)?).await?;
    // A run that was asked for later has ended, and the schedule has not even been looked at.
    home.runs.backup("one", backup_of(&home.namespace), PATIENCE).await?;
    assert_eq!(home.runs.api::<Schedule>().get("s").await?.status, Default::default());
    Ok(())
}
