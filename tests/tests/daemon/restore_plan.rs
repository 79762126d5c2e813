//! `holdfast restore plan` beside a daemon, and a Restore that only tells what it would do.

use std::collections::BTreeMap;

use holdfast_policy::velero::{Restore, RestorePhase, RestoreSpec, labels};
use holdfast_tests::command::{Ended, holdfast};
use k8s_openapi::api::core::v1::Namespace;
use kube::Api;
use pretty_assertions::assert_eq;
use serde_json::Value;

use crate::home::{Home, PATIENCE, backup_of};

async fn plan(home: &Home, arguments: &[&str]) -> anyhow::Result<Ended> {
    let kubeconfig = home.testbed.kubeconfig().display().to_string();
    let usual =
        ["restore", "plan", "--kubeconfig", kubeconfig.as_str(), "--namespace", home.namespace.as_str()];
    holdfast(usual.iter().chain(arguments)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_tells_what_a_restore_would_do_with_exit_codes_and_the_daemon_then_does_it()
-> anyhow::Result<()> {
    let home = Home::new("restore-plan").await?;
    let application = home.application("planned-app").await?;
    let copy = format!("{application}-copy");
    let _daemon = home.daemon(&[]).await?;
    home.local_location().await?;
    home.runs.backup("one", backup_of(&application), PATIENCE).await?;
    let mapping = format!("{application}:{copy}");
    let asked = ["--backup", "one", "--namespace-mappings", mapping.as_str()];

    let before = plan(&home, &asked).await?;
    assert_eq!(before.code, 1, "{before:?}");
    let line = format!("+ create configmaps {copy}/settings (from {application})\n");
    assert!(before.output.contains(&line), "{}", before.output);
    assert!(before.output.contains(&format!("+ create namespace {copy} (after {application})\n")));
    let namespaces = Api::<Namespace>::all(home.testbed.client()?);
    assert!(namespaces.get_opt(&copy).await?.is_none());

    let spec = RestoreSpec {
        backup_name: Some("one".to_owned()),
        namespace_mapping: BTreeMap::from([(application.clone(), copy.clone())]),
        ..RestoreSpec::default()
    };
    let mut dry = Restore::new("dry", spec.clone());
    dry.metadata.annotations = Some(BTreeMap::from([("holdfast.dev/dry-run".to_owned(), "true".to_owned())]));
    home.runs.create(&dry).await?;
    let ended = |restore: &Restore| restore.status_phase().has_ended();
    let dry: Restore = home.runs.ended("dry", PATIENCE, ended).await?;
    assert_eq!(dry.status.phase, Some(RestorePhase::Completed), "{:?}", dry.status);
    assert!(home.files()?.contains(&"restores/dry/restore-dry-results.gz".to_owned()));
    assert!(namespaces.get_opt(&copy).await?.is_none());

    let restore = home.runs.restore("back", spec, PATIENCE).await?;
    assert_eq!(restore.status.phase, Some(RestorePhase::Completed), "{:?}", restore.status);
    let settings = home.config_maps(&copy)?.get("settings").await?;
    assert!(settings.metadata.labels.is_some_and(|own| own.contains_key(labels::RESTORE_NAME)));

    let after = plan(&home, &[&asked[..], &["--server-side", "--output", "json"]].concat()).await?;
    assert_eq!(after.code, 0, "{after:?}");
    let after: Value = serde_json::from_str(&after.output)?;
    let actions: Vec<&str> = after["objects"]
        .as_array()
        .unwrap()
        .iter()
        .map(|object| object["action"].as_str().unwrap())
        .collect();
    assert!(actions.contains(&"same") && !actions.contains(&"create"), "{after:#}");

    let absent = plan(&home, &["--backup", "nowhere"]).await?;
    assert_eq!(absent.code, 2, "{absent:?}");
    assert!(absent.errors.contains("nowhere") && absent.output.is_empty(), "{absent:?}");
    Ok(())
}
