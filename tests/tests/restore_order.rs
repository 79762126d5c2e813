//! What comes before what: definitions before their objects, and the services of webhooks before what these are asked
//! about, with a wait that ends.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use holdfast::engine::restore::{Depth, Timeouts};
use holdfast_tests::restores::{Bench, Restored, archive, config_map, namespace, object};
use http::{Method, Request};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Service};
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use kube::client::Body;
use kube::runtime::wait::await_condition;
use kube::{Api, Client};
use pretty_assertions::assert_eq;
use serde_json::{Value, json};

/// The names of created objects, in the order of their requests.
type Order = Arc<Mutex<Vec<String>>>;

fn recording(inner: &Client, order: &Order) -> Client {
    let (inner, order) = (inner.clone(), order.clone());
    Client::new(
        tower::service_fn(move |request: Request<Body>| {
            let (inner, order) = (inner.clone(), order.clone());
            async move {
                let (parts, body) = request.into_parts();
                let body = body.collect_bytes().await.map_err(std::io::Error::other)?;
                if parts.method == Method::POST {
                    let object: Value = serde_json::from_slice(&body).unwrap_or_default();
                    let text =
                        |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
                    order.lock().unwrap().push(format!("{} {}", text("/kind"), text("/metadata/name")));
                }
                inner.send(Request::from_parts(parts, Body::from(body))).await.map_err(std::io::Error::other)
            }
        }),
        "default",
    )
}

fn before(order: &Order, first: &str, second: &str) {
    let order = order.lock().unwrap();
    let at =
        |name: &str| order.iter().position(|it| it == name).unwrap_or_else(|| panic!("{name} in {order:?}"));
    assert!(at(first) < at(second), "{first} before {second}: {order:?}");
}

fn deployment(source: &str, name: &str) -> (String, Value) {
    let labels = json!({"app": name});
    let pod = json!({
        "metadata": {"labels": labels},
        "spec": {"containers": [{"name": "main", "image": "none"}], "automountServiceAccountToken": false},
    });
    object(
        "deployments.apps",
        json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"namespace": source, "name": name},
            "spec": {"replicas": 0, "selector": {"matchLabels": labels}, "template": pod},
        }),
    )
}

fn service(source: &str, name: &str) -> (String, Value) {
    object(
        "services",
        json!({
            "apiVersion": "v1", "kind": "Service", "metadata": {"namespace": source, "name": name},
            "spec": {"ports": [{"port": 443}], "selector": {"app": name}},
        }),
    )
}

fn pod(source: &str, name: &str) -> (String, Value) {
    object(
        "pods",
        json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"namespace": source, "name": format!("{name}-pod"), "labels": {"app": name}},
            "spec": {"containers": [{"name": "main", "image": "none"}], "automountServiceAccountToken": false},
            "status": {"phase": "Running"},
        }),
    )
}

/// A configuration in the cluster whose webhook guards ConfigMaps, and is in fact asked about none: no object has its label.
async fn guard(bench: &Bench, namespace: &str) {
    let configuration = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration",
        "metadata": {"name": namespace},
        "webhooks": [{
            "name": "guard.example.com", "sideEffects": "None", "admissionReviewVersions": ["v1"],
            "clientConfig": {"service": {"namespace": namespace, "name": "guard"}},
            "objectSelector": {"matchLabels": {"guarded-in": namespace}},
            "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["configmaps"]}],
        }],
    });
    bench.create(CONFIGURATIONS, &configuration).await;
}

const CONFIGURATIONS: &str = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations";

fn entries() -> Vec<(String, Value)> {
    vec![
        namespace("hooks"),
        namespace("shop"),
        config_map("shop", "guarded"),
        config_map("hooks", "own"),
        deployment("hooks", "guard"),
        deployment("shop", "web"),
        service("hooks", "guard"),
        service("shop", "web"),
        pod("hooks", "guard"),
    ]
}

async fn restore(bench: &Bench, name: &str, spec: Value, order: &Order, webhooks: Duration) -> Restored {
    let metadata = json!({"name": name, "namespace": "default"});
    let mut run = bench.run_of(metadata, spec, recording(&bench.client, order)).await;
    run.timeouts = Timeouts { webhooks, ..Timeouts::default() };
    let outcome = holdfast::engine::restore::run(run).await.unwrap();
    bench.restored(name, outcome).await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_answers_a_webhook_comes_first_and_is_waited_for_until_it_is_ready() {
    let bench = Bench::start().await;
    let target = bench.unused_name("guard").await;
    let shop = format!("{target}-shop");
    guard(&bench, &target).await;
    bench.put_backup("guarded", &archive(&entries()));
    let spec = json!({"backupName": "guarded", "namespaceMapping": {"hooks": target, "shop": shop}});

    let planned: Vec<String> =
        bench.preview(spec.clone(), Depth::Plan).await.objects.into_iter().map(|it| it.name).collect();
    assert_eq!(planned, ["own", "guard-pod", "guard", "guard", "guarded", "web", "web"]);

    let order = Order::default();
    // No kubelet and no node is here to make the pod ready: what a cluster would say of it is said by the test.
    let ready = async {
        let services = Api::<Service>::namespaced(bench.client.clone(), &target);
        let there = await_condition(services, "guard", |service: Option<&Service>| service.is_some());
        there.await.unwrap();
        let guarded = Api::<ConfigMap>::namespaced(bench.client.clone(), &shop);
        assert!(guarded.get_opt("guarded").await.unwrap().is_none());
        let slice = json!({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
            "metadata": {"name": "guard-ready", "labels": {"kubernetes.io/service-name": "guard"}},
            "endpoints": [{"addresses": ["10.9.8.7"], "conditions": {"ready": true}}],
        });
        bench.create(&format!("/apis/discovery.k8s.io/v1/namespaces/{target}/endpointslices"), &slice).await;
    };
    let patience = Duration::from_secs(60);
    let (restored, ()) = tokio::join!(restore(&bench, "rs-guarded", spec, &order, patience), ready);
    assert_eq!((restored.outcome.warnings, restored.outcome.errors), (0, 0), "{}", restored.results);
    for first in ["ConfigMap own", "Pod guard-pod", "Service guard", "Deployment guard"] {
        before(&order, first, "ConfigMap guarded");
    }
    before(&order, "ConfigMap own", "Deployment guard");
    before(&order, "ConfigMap guarded", "Deployment web");
    bench.delete(CONFIGURATIONS, &target).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_that_does_not_come_to_answer_is_told_and_holds_nobody_up_for_ever() {
    let bench = Bench::start().await;
    let target = bench.unused_name("silent").await;
    let shop = format!("{target}-shop");
    guard(&bench, &target).await;
    bench.put_backup("silent", &archive(&entries()));
    let spec = json!({"backupName": "silent", "namespaceMapping": {"hooks": target, "shop": shop}});
    let order = Order::default();
    let restored = restore(&bench, "rs-silent", spec, &order, Duration::from_millis(300)).await;
    assert_eq!((restored.outcome.warnings, restored.outcome.errors), (1, 0), "{}", restored.results);
    let warnings = restored.results["warnings"]["namespaces"][&target].to_string();
    assert!(warnings.contains("service guard has no ready endpoint"), "{warnings}");
    before(&order, "Deployment guard", "ConfigMap guarded");
    bench.delete(CONFIGURATIONS, &target).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_that_never_goes_is_an_error_after_its_time_out_and_the_others_are_restored() {
    let bench = Bench::start().await;
    let stuck = bench.unused_name("stuck").await;
    let free = format!("{stuck}-free");
    let namespaces = Api::<Namespace>::all(bench.client.clone());
    let body: Namespace = serde_json::from_value(json!({"metadata": {"name": stuck}})).unwrap();
    namespaces.create(&PostParams::default(), &body).await.unwrap();
    let finalizer = json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "keeper", "finalizers": ["example.com/keep"]},
    });
    let collection = format!("/api/v1/namespaces/{stuck}/configmaps");
    bench.create(&collection, &finalizer).await;
    namespaces.delete(&stuck, &DeleteParams::default()).await.unwrap();
    bench.put_backup("stuck", &archive(&[config_map("a", "x"), config_map("b", "y")]));
    let spec = json!({"backupName": "stuck", "namespaceMapping": {"a": stuck, "b": free}});
    let metadata = json!({"name": "rs-stuck", "namespace": "default"});
    let mut run = bench.run_of(metadata, spec, bench.client.clone()).await;
    run.timeouts = Timeouts { terminating: Duration::from_millis(200), ..Timeouts::default() };
    let outcome = holdfast::engine::restore::run(run).await.unwrap();
    let restored = bench.restored("rs-stuck", outcome).await;
    assert_eq!(restored.outcome.errors, 1, "{}", restored.results);
    let told = restored.results["errors"]["velero"].to_string();
    assert!(told.contains(&stuck) && told.contains("still terminating"), "{told}");
    let lines = [format!("{free}/y(created)"), format!("{stuck}/x(failed)")];
    let mut expected = lines.to_vec();
    expected.sort();
    assert_eq!(restored.list["v1/ConfigMap"], expected);
    let patch = Patch::Merge(json!({"metadata": {"finalizers": null}}));
    let keepers = Api::<ConfigMap>::namespaced(bench.client.clone(), &stuck);
    keepers.patch("keeper", &PatchParams::default(), &patch).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn definitions_come_first_and_their_objects_only_once_they_are_served() {
    let bench = Bench::start().await;
    let target = bench.unused_name("kinds").await;
    let group = format!("{}.order.example.com", target.rsplit('-').nth(1).unwrap());
    let schema = json!({"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}});
    let definition = json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("boats.{group}")},
        "spec": {
            "group": group, "scope": "Namespaced",
            "names": {"plural": "boats", "singular": "boat", "kind": "Boat", "listKind": "BoatList"},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": schema}],
        },
    });
    let boat = json!({
        "apiVersion": format!("{group}/v1"), "kind": "Boat", "metadata": {"namespace": "src", "name": "boat"},
    });
    bench.put_backup(
        "kinds",
        &archive(&[
            object(&format!("boats.{group}"), boat),
            object("customresourcedefinitions.apiextensions.k8s.io", definition),
            config_map("src", "a"),
        ]),
    );
    let order = Order::default();
    let spec = json!({"backupName": "kinds", "namespaceMapping": {"src": target}});
    let restored = restore(&bench, "rs-kinds", spec, &order, Duration::from_secs(1)).await;
    assert_eq!((restored.outcome.warnings, restored.outcome.errors), (0, 0), "{}", restored.results);
    let order = order.lock().unwrap().clone();
    let expected = [
        format!("CustomResourceDefinition boats.{group}"),
        format!("Namespace {target}"),
        "ConfigMap a".to_owned(),
        "Boat boat".to_owned(),
    ];
    assert_eq!(order, expected);
    let created: BTreeMap<&str, usize> =
        restored.list.iter().map(|(kind, list)| (kind.as_str(), list.len())).collect();
    assert_eq!(created[format!("{group}/v1/Boat").as_str()], 1);
    let definitions = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
    bench.delete(definitions, &format!("boats.{group}")).await;
}
