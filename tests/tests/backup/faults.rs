//! What goes wrong in a cluster while it is backed up: the rest is stored, once, and what is missing is told.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use futures::{FutureExt as _, StreamExt as _, TryStreamExt as _, stream};
use holdfast::cluster::Cluster;
use holdfast::engine::backup;
use holdfast_tests::Testbed;
use http::StatusCode;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, PersistentVolume, PersistentVolumeClaim, Pod};
use k8s_openapi::kube_aggregator::pkg::apis::apiregistration::v1::APIService;
use kube::api::DeleteParams;
use kube::{Api, Client};
use pretty_assertions::assert_eq;
use serde_json::{Value, json};

use crate::files::create;
use crate::interposed::{Gate, Way, cluster_seen_by};
use crate::runs::Bench;

/// More than a page, with the one that every namespace has.
const OBJECTS: usize = 520;

pub(crate) async fn create_config_maps(client: &Client, namespace: &str) -> anyhow::Result<()> {
    let api = Api::<ConfigMap>::namespaced(client.clone(), namespace);
    stream::iter(0..OBJECTS)
        .map(|number| create(&api, json!({"metadata": {"name": format!("object-{number:03}")}})))
        .buffer_unordered(16)
        .try_collect()
        .await
}

pub(crate) fn config_maps(namespace: &str) -> Value {
    json!({"includedNamespaces": [namespace], "includedResources": ["configmaps"]})
}

pub(crate) fn expected_config_maps(namespace: &str) -> Vec<String> {
    let made = (0..OBJECTS).map(|number| format!("object-{number:03}"));
    std::iter::once("kube-root-ca.crt".to_owned())
        .chain(made)
        .map(|name| format!("configmaps {namespace}/{name}"))
        .collect()
}

pub(crate) fn is_next_page(path: &str) -> bool {
    path.contains("/configmaps?") && path.contains("&continue=")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_expires_is_taken_up_and_nothing_is_lost_or_doubled() {
    let testbed = Testbed::shared().await.unwrap();
    let _logs = testbed.logs_on_panic();
    let client = testbed.client().unwrap();
    let namespace = testbed.namespace("expired").await.unwrap();
    create_config_maps(&client, &namespace).await.unwrap();
    let mut bench = Bench::new(testbed).await.unwrap();
    let expired = Arc::new(AtomicBool::new(false));
    let seen = expired.clone();
    bench.cluster = cluster_seen_by(client, move |path| {
        let way = if is_next_page(&path) && !seen.swap(true, Ordering::Relaxed) {
            let status = json!({"kind": "Status", "code": 410, "reason": "Expired", "message": "too old"});
            Way::Refused(StatusCode::GONE, status)
        } else {
            Way::Through
        };
        async { way }.boxed()
    });
    let ran = bench.run("expired", config_maps(&namespace)).await.unwrap();
    assert!(expired.load(Ordering::Relaxed));
    let mut items = ran.items().unwrap();
    items.sort();
    assert_eq!(items, expected_config_maps(&namespace));
    assert_eq!((ran.outcome.errors, ran.outcome.warnings, ran.outcome.items), (0, 0, OBJECTS as u64 + 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_of_the_api_server_in_a_list_and_a_group_that_is_down_cost_nothing_else() {
    let mut testbed = Testbed::start().await.unwrap();
    let client = testbed.client().unwrap();
    let namespace = testbed.namespace("restart").await.unwrap();
    create_config_maps(&client, &namespace).await.unwrap();
    let service = json!({
        "metadata": {"name": "v1.down.example.org"},
        "spec": {
            "group": "down.example.org", "version": "v1", "groupPriorityMinimum": 100, "versionPriority": 10,
            "insecureSkipTLSVerify": true, "service": {"namespace": "default", "name": "absent"},
        },
    });
    create(&Api::<APIService>::all(client.clone()), service).await.unwrap();
    let cluster = Cluster::new(client.clone());
    while cluster.discover().await.unwrap().failed.is_empty() {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }

    let mut bench = Bench::new(&testbed).await.unwrap();
    let gate = Gate::new();
    let in_the_way = gate.clone();
    bench.cluster = cluster_seen_by(client, move |path| {
        let gate = in_the_way.clone();
        async move {
            if is_next_page(&path) {
                gate.pass().await;
            }
            Way::Through
        }
        .boxed()
    });
    let backup = bench.prepare("restart", config_maps(&namespace)).await.unwrap();
    let run = tokio::spawn(backup::run(bench.run_of(&backup)));
    gate.reached().await;
    testbed.kill_api_server().await.unwrap();
    gate.open();
    testbed.start_api_server().await.unwrap();
    let outcome = run.await.unwrap().unwrap();
    let ran = bench.ran(backup, outcome);
    let mut items = ran.items().unwrap();
    items.sort();
    assert_eq!(items, expected_config_maps(&namespace));
    let results = ran.json("results.gz").unwrap();
    assert_eq!((ran.outcome.errors, ran.outcome.warnings), (0, 1), "{results}");
    let warning = results["warnings"]["velero"][0].as_str().unwrap();
    assert!(warning.contains("Discovery of API group down.example.org v1 failed"), "{results}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_of_a_mebibyte_and_names_at_the_limit_are_stored_whole() {
    let testbed = Testbed::shared().await.unwrap();
    let _logs = testbed.logs_on_panic();
    let client = testbed.client().unwrap();
    // With a hyphen and eight characters behind it.
    let namespace = testbed.namespace(&"n".repeat(54)).await.unwrap();
    assert_eq!(namespace.len(), 63);
    let name = "m".repeat(253);
    let text = "\"\\<é".repeat(200_000);
    let api = Api::<ConfigMap>::namespaced(client.clone(), &namespace);
    create(&api, json!({"metadata": {"name": name}, "data": {"text": text}})).await.unwrap();
    let bench = Bench::new(testbed).await.unwrap();
    // The longest that a folder's files can have, with what is appended to it.
    let ran = bench.run(&"b".repeat(220), config_maps(&namespace)).await.unwrap();
    let index = ran.index().unwrap();
    let item = index.items.iter().find(|item| *item.name == *name).unwrap();
    let stored: Value = serde_json::from_slice(&index.read(item).unwrap()).unwrap();
    assert_eq!(stored["data"]["text"].as_str().map(str::len), Some(text.len()));
    assert_eq!(stored["metadata"]["namespace"], json!(namespace));
    assert_eq!((ran.outcome.errors, ran.outcome.warnings, ran.outcome.items), (0, 0, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_that_goes_away_meanwhile_is_no_error_and_the_others_are_stored() {
    let testbed = Testbed::shared().await.unwrap();
    let _logs = testbed.logs_on_panic();
    let client = testbed.client().unwrap();
    let stays = testbed.namespace("stays").await.unwrap();
    let goes = testbed.namespace("goes").await.unwrap();
    let mut bench = Bench::new(testbed).await.unwrap();
    let gate = Gate::new();
    let in_the_way = gate.clone();
    let list = format!("/namespaces/{goes}/configmaps?");
    bench.cluster = cluster_seen_by(client.clone(), move |path| {
        let (gate, waits) = (in_the_way.clone(), path.contains(&list));
        async move {
            if waits {
                gate.pass().await;
            }
            Way::Through
        }
        .boxed()
    });
    let spec =
        json!({"includedNamespaces": [stays, goes], "includedNamespaceScopedResources": ["configmaps"]});
    let backup = bench.prepare("vanishing", spec).await.unwrap();
    let run = tokio::spawn(backup::run(bench.run_of(&backup)));
    gate.reached().await;
    let namespaces = Api::<Namespace>::all(client);
    namespaces.delete(&goes, &DeleteParams::default()).await.unwrap();
    while namespaces.get_opt(&goes).await.unwrap().is_some() {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    gate.open();
    let outcome = run.await.unwrap().unwrap();
    let ran = bench.ran(backup, outcome);
    let items = ran.items().unwrap();
    assert!(items.contains(&format!("configmaps {stays}/kube-root-ca.crt")), "{items:?}");
    assert!(items.contains(&format!("namespaces {stays}")), "{items:?}");
    assert!(!items.iter().any(|item| item.contains(&format!("{goes}/"))), "{items:?}");
    assert_eq!((ran.outcome.errors, ran.outcome.warnings), (0, 0));
}

/// A volume, a claim that is bound to it, and a pod that mounts the claim and another one that does not exist.
async fn create_volume_and_pod(client: &Client, namespace: &str) -> anyhow::Result<String> {
    let volume = format!("vol-{namespace}");
    let access = json!(["ReadWriteOnce"]);
    let spec = json!({
        "accessModes": access, "capacity": {"storage": "1Gi"}, "storageClassName": "",
        "hostPath": {"path": "/nowhere"}, "claimRef": {"namespace": namespace, "name": "data"},
    });
    let volumes = Api::<PersistentVolume>::all(client.clone());
    create(&volumes, json!({"metadata": {"name": volume}, "spec": spec})).await?;
    let spec = json!({
        "accessModes": access, "resources": {"requests": {"storage": "1Gi"}}, "storageClassName": "",
        "volumeName": volume,
    });
    let claims = Api::<PersistentVolumeClaim>::namespaced(client.clone(), namespace);
    create(&claims, json!({"metadata": {"name": "data"}, "spec": spec})).await?;
    let bound = |claim: Option<&PersistentVolumeClaim>| {
        claim.and_then(|claim| claim.status.as_ref()?.phase.as_deref()) == Some("Bound")
    };
    kube::runtime::wait::await_condition(claims, "data", bound).await.context("waiting for the claim")?;
    let mount = |claim: &str| json!({"name": claim, "persistentVolumeClaim": {"claimName": claim}});
    let pod = json!({
        "metadata": {"name": "web"},
        "spec": {
            "automountServiceAccountToken": false,
            "containers": [{"name": "main", "image": "none"}],
            "volumes": [mount("data"), mount("absent")],
        },
    });
    create(&Api::<Pod>::namespaced(client.clone(), namespace), pod).await?;
    Ok(volume)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_object_needs_and_cannot_be_read_keeps_it_out_and_leaves_it_in_the_counts() {
    let testbed = Testbed::shared().await.unwrap();
    let _logs = testbed.logs_on_panic();
    let client = testbed.client().unwrap();
    let namespace = testbed.namespace("needs").await.unwrap();
    let volume = create_volume_and_pod(&client, &namespace).await.unwrap();
    let spec =
        json!({"includedNamespaces": [namespace], "includedNamespaceScopedResources": ["pods", "pvc"]});

    let mut bench = Bench::new(testbed).await.unwrap();
    let ran = bench.run("whole", spec.clone()).await.unwrap();
    let results = ran.json("results.gz").unwrap();
    assert_eq!((ran.outcome.errors, ran.outcome.warnings), (0, 1), "{results}");
    let warning = &results["warnings"]["namespaces"][&namespace][0];
    let text = " resource: /persistentvolumeclaims name: /absent message: /Additional item was not found in the cluster";
    assert_eq!(*warning, json!(text));
    let whole = [
        format!("namespaces {namespace}"),
        format!("persistentvolumeclaims {namespace}/data"),
        format!("persistentvolumes {volume}"),
        format!("pods {namespace}/web"),
    ];
    let mut items = ran.items().unwrap();
    items.sort();
    assert_eq!(items, whole);

    let refused = format!("/api/v1/persistentvolumes/{volume}");
    bench.cluster = cluster_seen_by(client, move |path| {
        let way = if path == refused {
            let message = "persistentvolumes is forbidden";
            Way::Refused(StatusCode::FORBIDDEN, json!({"kind": "Status", "code": 403, "message": message}))
        } else {
            Way::Through
        };
        async { way }.boxed()
    });
    let ran = bench.run("refused", spec).await.unwrap();
    assert_eq!(ran.items().unwrap(), [format!("namespaces {namespace}")]);
    assert_eq!(ran.outcome.errors, 1);
    assert_eq!(ran.outcome.items, 3, "the pod and its claim are counted");
    let listed = ran.json("resource-list.json.gz").unwrap();
    assert_eq!(listed["v1/Pod"], json!([format!("{namespace}/web")]));
    assert_eq!(listed["v1/PersistentVolumeClaim"], json!([format!("{namespace}/data")]));
    let error = ran.json("results.gz").unwrap()["errors"]["namespaces"][&namespace][0].to_string();
    let log = ran.text("logs.gz").unwrap();
    let lines = |level: &str| log.lines().filter(|line| line.contains(level)).count() as u64;
    let counted = (ran.outcome.errors, ran.outcome.warnings);
    assert_eq!((lines("level=error"), lines("level=warning")), counted, "{log}");
    assert!(error.contains("name: /web") && error.contains("persistentvolumes is forbidden"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn progress_is_told_at_most_once_a_second() {
    let testbed = Testbed::shared().await.unwrap();
    let _logs = testbed.logs_on_panic();
    let client = testbed.client().unwrap();
    let namespace = testbed.namespace("told").await.unwrap();
    let mut bench = Bench::new(testbed).await.unwrap();
    let gate = Gate::new();
    let in_the_way = gate.clone();
    bench.cluster = cluster_seen_by(client, move |path| {
        let gate = in_the_way.clone();
        async move {
            if path.contains("/configmaps?") {
                gate.pass().await;
            }
            Way::Through
        }
        .boxed()
    });
    let backup = bench.prepare("told", config_maps(&namespace)).await.unwrap();
    let run = bench.run_of(&backup);
    let mut progress = run.progress.subscribe();
    let started = Instant::now();
    let run = tokio::spawn(backup::run(run));
    gate.reached().await;
    for _ in 0..2 {
        progress.changed().await.unwrap();
    }
    assert!(started.elapsed() >= Duration::from_secs(2), "{:?}", started.elapsed());
    gate.open();
    run.await.unwrap().unwrap();
}
