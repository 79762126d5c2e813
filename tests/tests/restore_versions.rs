//! Backups that hold several versions of an object: which of them is restored.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use holdfast::engine::{ApiVersions, RunOptions};
use holdfast_tests::restores::{Bench, Restored, archive, config_map};
use pretty_assertions::assert_eq;
use serde_json::{Value, json};

const SCALERS: &str = "resources/horizontalpodautoscalers.autoscaling";

fn scaler(folder: &str, version: &str) -> (String, Value) {
    let object = json!({
        "apiVersion": format!("autoscaling/{version}"), "kind": "HorizontalPodAutoscaler",
        "metadata": {"namespace": "src", "name": "web", "annotations": {"written-as": version}},
        "spec": {"maxReplicas": 3, "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}},
    });
    (format!("{SCALERS}/{folder}namespaces/src/web.json"), object)
}

/// The backup of a cluster that preferred v1, where this one prefers v2.
fn entries() -> Vec<(String, Value)> {
    vec![scaler("", "v1"), scaler("v1-preferredversion/", "v1"), scaler("v2/", "v2"), config_map("src", "a")]
}

async fn restore(bench: &Bench, home: &str, name: &str, format: &str, versions: ApiVersions) -> Restored {
    let target = bench.unused_name("versions").await;
    let spec = json!({"backupName": "versions", "namespaceMapping": {"src": target}});
    let mut run = bench.run_of(json!({"name": name, "namespace": home}), spec, bench.client.clone()).await;
    run.backup.status.format_version = Some(format.to_owned());
    run.options = RunOptions { api_versions: versions, ..RunOptions::default() };
    let outcome = holdfast::engine::restore::run(run).await.unwrap();
    let restored = bench.restored(name, outcome).await;
    let path = format!("/apis/autoscaling/v2/namespaces/{target}/horizontalpodautoscalers/web");
    let found = bench.get(&path).await;
    let lists: Vec<&str> =
        restored.list.keys().map(String::as_str).filter(|kind| kind.starts_with("autoscaling/")).collect();
    let written_as = found["metadata"]["annotations"]["written-as"].as_str().unwrap();
    assert_eq!(lists, [format!("autoscaling/{written_as}/HorizontalPodAutoscaler")]);
    restored
}

fn scalers(restored: &Restored) -> Vec<&str> {
    restored.list.keys().map(String::as_str).filter(|kind| kind.starts_with("autoscaling/")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_version_that_the_target_prefers_is_restored_unless_a_config_map_says_otherwise() {
    let bench = Bench::start().await;
    let home = bench.testbed.namespace("versions-home").await.unwrap();
    bench.put_backup("versions", &archive(&entries()));
    let (v1, v2) = (["autoscaling/v1/HorizontalPodAutoscaler"], ["autoscaling/v2/HorizontalPodAutoscaler"]);

    let preferred = restore(&bench, &home, "rs-off", "1.1.0", ApiVersions::Preferred).await;
    assert_eq!(scalers(&preferred), v1);
    let old = restore(&bench, &home, "rs-old", "1", ApiVersions::All).await;
    assert_eq!(scalers(&old), v1);
    let all = restore(&bench, &home, "rs-all", "1.1.0", ApiVersions::All).await;
    assert_eq!(scalers(&all), v2);
    assert_eq!((all.outcome.warnings, all.outcome.errors), (0, 0), "{}", all.results);

    let wishes = "horizontalpodautoscalers.autoscaling = v3, v1\n";
    let config_map = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "enableapigroupversions"},
        "data": {"restoreResourcesVersionPriority": wishes},
    });
    bench.create(&format!("/api/v1/namespaces/{home}/configmaps"), &config_map).await;
    let wished = restore(&bench, &home, "rs-wished", "1.1.0", ApiVersions::All).await;
    assert_eq!(scalers(&wished), v1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_that_the_backup_lacks_in_the_chosen_version_is_an_error_and_the_rest_goes_on() {
    let bench = Bench::start().await;
    let home = bench.testbed.namespace("versions-home").await.unwrap();
    let mut entries = entries();
    let (path, mut lonely) = scaler("", "v1");
    lonely["metadata"]["name"] = json!("lonely");
    entries.push((path.replace("web.json", "lonely.json"), lonely));
    bench.put_backup("versions", &archive(&entries));
    let restored = restore(&bench, &home, "rs-lonely", "1.1.0", ApiVersions::All).await;
    assert_eq!((restored.outcome.warnings, restored.outcome.errors), (0, 1), "{}", restored.results);
    let told = restored.results["errors"]["namespaces"].to_string();
    assert!(told.contains(&format!("{SCALERS}/v2/namespaces/src/lonely.json")), "{told}");
}
