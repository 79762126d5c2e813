//! `holdfast explain`: by which rule an object is in a backup or not, and what no policy covers.

use std::fs;
use std::path::Path;

use holdfast_tests::Testbed;
use holdfast_tests::command::{Ended, holdfast};
use holdfast_tests::fixtures::sample_cluster;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use kube::api::PostParams;
use pretty_assertions::assert_eq;
use serde_json::{Value, json};

const POLICIES: &str = "
apiVersion: holdfast.dev/v1alpha1
kind: BackupPolicy
metadata: {name: shop}
spec:
  select:
    namespaces: {include: [\"shop*\"], exclude: [shop-e?]}
    resources: {exclude: [secrets]}
  schedules:
  - {name: nightly, cron: '0 1 * * *'}
  - {name: hourly, cron: '@hourly', ttl: 24h}
---
apiVersion: holdfast.dev/v1alpha1
kind: BackupPolicy
metadata: {name: front}
spec:
  select: {labelSelector: {matchLabels: {tier: front}}, namespacedResources: {include: [deploy, cm]}}
  backups: [{name: once}]
---
apiVersion: holdfast.dev/v1alpha1
kind: BackupPolicy
metadata: {name: rest}
spec:
  suspend: true
  schedules: [{name: weekly, cron: '@weekly'}]
";

async fn explain(folder: &Path, arguments: &[&str]) -> anyhow::Result<Ended> {
    fs::write(folder.join("policies.yaml"), POLICIES)?;
    let path = folder.join("policies.yaml");
    let objects = folder.join("objects.json");
    if !objects.exists() {
        fs::write(&objects, json!({"kind": "List", "items": sample_cluster::objects()?}).to_string())?;
    }
    let (path, objects) = (path.display().to_string(), format!("--objects={}", objects.display()));
    holdfast(["explain", path.as_str(), objects.as_str()].iter().chain(arguments)).await
}

#[tokio::test]
async fn an_object_is_told_with_the_rule_of_every_policy() {
    let folder = tempfile::tempdir().unwrap();
    let arguments = ["deploy/shop/web", "secret/shop/db", "pv/vol-free", "Namespace/tmp-1"];
    let ended = explain(folder.path(), &arguments).await.unwrap();
    assert_eq!((ended.code, ended.errors.as_str()), (1, ""));
    insta::assert_snapshot!("object", ended.output);

    let covered = explain(folder.path(), &["deployments.apps/shop/web"]).await.unwrap();
    assert_eq!(covered.code, 0, "{covered:?}");
    let machine = explain(folder.path(), &["cm/shop-eu/app-config", "--output=json"]).await.unwrap();
    let value: Value = serde_json::from_str(&machine.output).unwrap();
    insta::assert_snapshot!("object_as_json", format!("{value:#}"));
}

#[tokio::test]
async fn the_whole_cluster_is_told_with_what_no_policy_covers() {
    let folder = tempfile::tempdir().unwrap();
    let ended = explain(folder.path(), &[]).await.unwrap();
    assert_eq!((ended.code, ended.errors.as_str()), (1, ""));
    insta::assert_snapshot!("cluster", ended.output);
    assert_eq!(explain(folder.path(), &["--all"]).await.unwrap(), ended);

    let machine = explain(folder.path(), &["--output=json"]).await.unwrap();
    let value: Value = serde_json::from_str(&machine.output).unwrap();
    assert_eq!(value["covered"], false);
    let uncovered: Vec<&str> = value["namespaces"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|namespace| namespace["coverage"] == "None")
        .map(|namespace| namespace["namespace"].as_str().unwrap())
        .collect();
    assert!(uncovered.contains(&"kube-system"), "{uncovered:?}");
}

#[tokio::test]
async fn what_cannot_be_explained_is_told_and_ends_with_two() {
    let folder = tempfile::tempdir().unwrap();
    let mut told = String::new();
    for arguments in [
        &["gadget/a"][..],
        &["deploy/web"],
        &["pod/shop/nobody"],
        &["--all", "pod/shop/web"],
        &["no/such/path/at/all"],
    ] {
        let ended = explain(folder.path(), arguments).await.unwrap();
        assert_eq!((ended.code, ended.output.as_str()), (2, ""), "{arguments:?}");
        told.push_str(&ended.errors);
    }
    insta::assert_snapshot!(told.replace(&folder.path().display().to_string(), "FOLDER"), @r#"
    error: there is no kind "gadget"
    error: Deployment lives in a namespace: write deploy/NAMESPACE/web
    error: there is no Pod shop/nobody
    error: --all looks at the whole cluster: name no object beside it
    error: no/such/path/at/all does not exist
    "#);

    fs::write(folder.path().join("bad.yaml"), POLICIES.replace("schedules", "shedules")).unwrap();
    let path = folder.path().join("bad.yaml").display().to_string();
    let ended = holdfast(["explain", path.as_str(), "pod/shop/web"]).await.unwrap();
    assert_eq!((ended.code, ended.output.as_str()), (2, ""));
    assert!(ended.errors.contains("unknown field `shedules`"), "{}", ended.errors);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_is_explained_as_it_is_now() {
    let testbed = Testbed::shared().await.unwrap();
    let namespace = testbed.namespace("shop-explained").await.unwrap();
    let maps: Api<ConfigMap> = Api::namespaced(testbed.client().unwrap(), &namespace);
    let map = serde_json::from_value(json!({"metadata": {"name": "settings"}})).unwrap();
    maps.create(&PostParams::default(), &map).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("policies.yaml"), POLICIES).unwrap();
    let path = folder.path().display().to_string();
    let kubeconfig = format!("--kubeconfig={}", testbed.kubeconfig().display());

    let object = format!("configmap/{namespace}/settings");
    let ended = holdfast(["explain", path.as_str(), kubeconfig.as_str(), object.as_str()]).await.unwrap();
    assert_eq!(ended.code, 0, "{ended:?}");
    let expected = "  + policy shop (shop-hourly; shop-nightly): the filters choose it\n";
    assert!(ended.output.contains(expected), "{}", ended.output);

    let ended = holdfast(["explain", path.as_str(), kubeconfig.as_str()]).await.unwrap();
    assert_eq!(ended.code, 1, "{ended:?}");
    assert!(ended.output.contains("\n  kube-system ("), "{}", ended.output);
    assert!(!ended.output.contains(&format!("\n  {namespace} (")), "{}", ended.output);
}
