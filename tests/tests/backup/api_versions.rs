//! Which versions of an object stand in the archive, where the API server serves several.

use std::collections::BTreeMap;

use holdfast::engine::{ApiVersions, RunOptions};
use holdfast_tests::Testbed;
use http::StatusCode;
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use kube::Api;
use pretty_assertions::assert_eq;
use serde_json::{Value, json};

use crate::custom_resources::{create_widget, define};
use crate::files::create;
use crate::interposed::{Way, cluster_seen_by};
use crate::runs::Bench;

/// The `apiVersion` of each entry of these objects, by the entry's name.
fn versions(entries: BTreeMap<String, Value>, of: &[&str]) -> BTreeMap<String, String> {
    let wanted = |name: &str| of.iter().any(|kind| name.starts_with(&format!("resources/{kind}/")));
    let entries = entries.into_iter().filter(|(name, _)| wanted(name));
    entries
        .map(|(name, object)| (name, object["apiVersion"].as_str().unwrap_or_default().to_owned()))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn with_all_versions_the_preferred_one_has_its_two_entries_and_each_other_one() {
    let testbed = Testbed::shared().await.unwrap();
    let _logs = testbed.logs_on_panic();
    let client = testbed.client().unwrap();
    let ns = testbed.namespace("versions").await.unwrap();
    define(&client, "many.example.org", &["v1", "v2"], json!({"strategy": "None"})).await.unwrap();
    create_widget(&client, "many.example.org", &ns).await.unwrap();
    let target = json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"});
    let scaler = json!({"metadata": {"name": "h"}, "spec": {"maxReplicas": 3, "scaleTargetRef": target}});
    create(&Api::<HorizontalPodAutoscaler>::namespaced(client, &ns), scaler).await.unwrap();
    let kinds = ["horizontalpodautoscalers.autoscaling", "widgets.many.example.org"];
    let spec = json!({"includedNamespaces": [ns], "includedNamespaceScopedResources": kinds});

    let mut bench = Bench::new(testbed).await.unwrap();
    let usual = bench.run("preferred", spec.clone()).await.unwrap();
    let folder = |kind: &str, version: &str| format!("resources/{kind}{version}/namespaces/{ns}");
    let both = |kind: &str, name: &str| {
        ["", "/v2-preferredversion"].map(|version| format!("{}/{name}.json", folder(kind, version)))
    };
    let mut expected: BTreeMap<String, String> = BTreeMap::new();
    expected.extend(both(kinds[0], "h").map(|name| (name, "autoscaling/v2".to_owned())));
    expected.extend(both(kinds[1], "w1").map(|name| (name, "many.example.org/v2".to_owned())));
    assert_eq!(versions(usual.entries().unwrap(), &kinds), expected);

    bench.options = RunOptions { api_versions: ApiVersions::All, ..RunOptions::default() };
    let all = bench.run("all", spec).await.unwrap();
    expected.insert(format!("{}/h.json", folder(kinds[0], "/v1")), "autoscaling/v1".to_owned());
    expected.insert(format!("{}/w1.json", folder(kinds[1], "/v1")), "many.example.org/v1".to_owned());
    assert_eq!(versions(all.entries().unwrap(), &kinds), expected);
    assert_eq!((all.outcome.errors, all.outcome.warnings), (0, 0));
    // Each version is an item of its own.
    assert_eq!(all.outcome.items, usual.outcome.items + 2);
    let listed = all.json("resource-list.json.gz").unwrap();
    for version in ["v1", "v2"] {
        assert_eq!(listed[format!("many.example.org/{version}/Widget")], json!([format!("{ns}/w1")]));
    }
}

/// An API server of Kubernetes 1.21, as far as definitions go: no other serves them as v1beta1, or holds one that v1
/// refuses.
fn of_1_21(path: &str, definition: &str) -> Option<Value> {
    const GROUP: &str = "apiextensions.k8s.io";
    let version = |version: &str| json!({"groupVersion": format!("{GROUP}/{version}"), "version": version});
    let metadata = json!({"name": definition});
    let resource = json!({
        "name": "customresourcedefinitions", "singularName": "customresourcedefinition", "namespaced": false,
        "kind": "CustomResourceDefinition", "verbs": ["create", "delete", "get", "list"],
    });
    let (path, _query) = path.split_once('?').unwrap_or((path, ""));
    let beta = format!("/apis/{GROUP}/v1beta1");
    if path == "/apis" {
        let group = json!({
            "name": GROUP, "versions": [version("v1"), version("v1beta1")], "preferredVersion": version("v1"),
        });
        Some(json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": [group]}))
    } else if path == beta {
        let version = format!("{GROUP}/v1beta1");
        Some(json!({"kind": "APIResourceList", "groupVersion": version, "resources": [resource]}))
    } else if path == format!("{beta}/customresourcedefinitions/{definition}") {
        Some(json!({
            "apiVersion": format!("{GROUP}/v1beta1"), "kind": "CustomResourceDefinition", "metadata": metadata,
            "spec": {"version": "v1", "preserveUnknownFields": true},
        }))
    } else if path == format!("/apis/{GROUP}/v1/customresourcedefinitions") {
        let spec = json!({"versions": [{"name": "v1"}], "preserveUnknownFields": true});
        let items = [json!({"metadata": metadata, "spec": spec})];
        let kind = "CustomResourceDefinitionList";
        Some(json!({"kind": kind, "apiVersion": format!("{GROUP}/v1"), "metadata": {}, "items": items}))
    } else {
        None
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_definition_that_v1_refuses_is_stored_as_v1beta1_where_that_is_served() {
    let testbed = Testbed::shared().await.unwrap();
    let _logs = testbed.logs_on_panic();
    let ns = testbed.namespace("remap").await.unwrap();
    let name = "gizmos.example.org";
    let mut bench = Bench::new(testbed).await.unwrap();
    bench.cluster = cluster_seen_by(testbed.client().unwrap(), move |path| {
        let way = match of_1_21(&path, name) {
            Some(answer) => Way::Refused(StatusCode::OK, answer),
            None => Way::Through,
        };
        Box::pin(async move { way })
    });
    let kind = "customresourcedefinitions.apiextensions.k8s.io";
    let spec = json!({"includedNamespaces": [ns], "includedClusterScopedResources": [kind]});
    let entry = |version: &str| format!("resources/{kind}{version}/cluster/{name}.json");
    // The entries are named after the version that the object had before.
    for (backup, api_versions, stored) in
        [("remapped", ApiVersions::Preferred, "v1beta1"), ("kept", ApiVersions::All, "v1")]
    {
        bench.options = RunOptions { api_versions, ..RunOptions::default() };
        let ran = bench.run(backup, spec.clone()).await.unwrap();
        let found = versions(ran.entries().unwrap(), &[kind]);
        for version in ["", "/v1-preferredversion"] {
            assert_eq!(found[&entry(version)], format!("apiextensions.k8s.io/{stored}"), "{backup}");
        }
    }
}
