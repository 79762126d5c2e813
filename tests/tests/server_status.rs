//! ServerStatusRequests: what `velero version` and `velero plugin get` are told.

use std::time::Duration;

use holdfast_policy::velero::{ServerStatusRequest, ServerStatusRequestPhase, ServerStatusRequestSpec};
use holdfast_tests::{Daemon, DaemonOptions, Runs, Testbed};
use kube::ResourceExt;
use kube::api::{ObjectMeta, Patch, PatchParams, PostParams};
use pretty_assertions::assert_eq;
use serde_json::json;

const PATIENCE: Duration = Duration::from_secs(30);

#[tokio::test]
async fn the_command_line_is_told_a_version_that_it_can_compare_and_the_plugins() -> anyhow::Result<()> {
    let testbed = Testbed::shared().await?;
    let namespace = testbed.namespace("status").await?;
    let elsewhere = testbed.namespace("status").await?;
    let options = DaemonOptions { namespace: namespace.clone(), ..DaemonOptions::default() };
    let _daemon = Daemon::start(testbed, options).await?;
    let runs = Runs::in_namespace(testbed.client()?, &namespace).await?;
    let requests = runs.api::<ServerStatusRequest>();

    // The command line sends a resource version with the object that it creates.
    let metadata = ObjectMeta { generate_name: Some("velero-cli-".to_owned()), ..ObjectMeta::default() };
    let request =
        ServerStatusRequest { metadata, spec: ServerStatusRequestSpec {}, status: Default::default() };
    let other = Runs::in_namespace(testbed.client()?, &elsewhere).await?.api::<ServerStatusRequest>();
    let other_name = other.create(&PostParams::default(), &request).await?.name_any();
    let name = requests.create(&PostParams::default(), &request).await?.name_any();
    let processed =
        |request: &ServerStatusRequest| request.status_phase() == ServerStatusRequestPhase::Processed;
    let answered = runs.ended(&name, PATIENCE, processed).await?;
    let expected = format!("v1.18.3+holdfast.{}", env!("CARGO_PKG_VERSION"));
    assert_eq!(answered.status.server_version.as_deref(), Some(expected.as_str()));
    let has = |kind: &str, name: &str| {
        answered.status.plugins.iter().any(|plugin| plugin.kind == kind && plugin.name == name)
    };
    assert!(has("ObjectStore", "velero.io/aws"));
    assert!(has("RestoreItemAction", "velero.io/change-storage-class"));
    assert!(has("ItemBlockAction", "velero.io/pod"));

    // One in another namespace is somebody else's.
    assert_eq!(other.get(&other_name).await?.status, Default::default());

    let past = Patch::Merge(json!({"status": {"processedTimestamp": "2026-01-01T00:00:00Z"}}));
    requests.patch(&name, &PatchParams::default(), &past).await?;
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while requests.get_opt(&name).await?.is_some() {
        anyhow::ensure!(tokio::time::Instant::now() < deadline, "{name} is still there");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}
