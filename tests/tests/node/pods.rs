//! Pods for the tests: made from a few lines of YAML, waited for, and asked to run commands.

use std::time::Duration;

use holdfast_tests::node;
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Status;
use kube::api::{AttachParams, ListParams, PostParams};
use kube::{Api, Client};
use serde_json::{Value, json};
use tokio::io::AsyncReadExt as _;
use tokio::time::Instant;

/// A busy machine starts pods slowly.
pub(super) const PATIENCE: Duration = Duration::from_secs(120);
const POLL: Duration = Duration::from_millis(100);

/// A pod whose containers, all of them idle, have these names.
pub(super) fn idle(name: &str, containers: &[&str]) -> Value {
    let containers: Vec<Value> = containers
        .iter()
        .map(|container| {
            json!({
                "name": container,
                "image": node::IMAGE,
                "imagePullPolicy": "Never",
                // As the first process it would not hear SIGTERM otherwise.
                "command": ["sh", "-c", "trap exit TERM; sleep 100000 & wait"],
            })
        })
        .collect();
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name},
        "spec": {
            "nodeName": node::NAME,
            "automountServiceAccountToken": false,
            "terminationGracePeriodSeconds": 1,
            "containers": containers,
        },
    })
}

pub(super) async fn create(client: &Client, namespace: &str, pod: Value) {
    let pod: Pod = serde_json::from_value(pod).unwrap();
    Api::namespaced(client.clone(), namespace).create(&PostParams::default(), &pod).await.unwrap();
}

/// Creates it and returns when it is ready.
pub(super) async fn run(client: &Client, namespace: &str, pod: Value) {
    let name = pod["metadata"]["name"].as_str().unwrap().to_owned();
    create(client, namespace, pod).await;
    wait_for(client, namespace, &name, is_ready).await;
}

pub(super) fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.into_iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

pub(super) async fn wait_for(client: &Client, namespace: &str, name: &str, condition: impl Fn(&Pod) -> bool) {
    let pods = Api::<Pod>::namespaced(client.clone(), namespace);
    let deadline = Instant::now() + PATIENCE;
    loop {
        let pod = pods.get_opt(name).await.unwrap();
        if pod.as_ref().is_some_and(&condition) {
            return;
        }
        assert!(Instant::now() < deadline, "pod {namespace}/{name} after {PATIENCE:?}: {pod:#?}");
        tokio::time::sleep(POLL).await;
    }
}

pub(super) async fn until(condition: impl AsyncFn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition().await {
        assert!(Instant::now() < deadline, "not after {PATIENCE:?}");
        tokio::time::sleep(POLL).await;
    }
}

/// What a shell in the container prints for `script`.
pub(super) async fn shell(
    client: &Client,
    namespace: &str,
    pod: &str,
    container: &str,
    script: &str,
) -> String {
    let pods = Api::<Pod>::namespaced(client.clone(), namespace);
    let parameters = AttachParams::default().container(container).stderr(false);
    let mut process = pods.exec(pod, ["sh", "-c", script], &parameters).await.unwrap();
    let mut output = String::new();
    process.stdout().unwrap().read_to_string(&mut output).await.unwrap();
    process.join().await.unwrap();
    output
}

/// Places the pods of a namespace on the node for as long as it lives.
pub(super) struct Scheduler {
    task: tokio::task::JoinHandle<()>,
}

impl Scheduler {
    pub(super) fn start(client: &Client, namespace: &str) -> Scheduler {
        let pods = Api::<Pod>::namespaced(client.clone(), namespace);
        let task = tokio::spawn(async move {
            loop {
                let listed = pods.list(&ListParams::default()).await;
                for pod in listed.into_iter().flat_map(|pods| pods.items) {
                    let name = pod.metadata.name.unwrap_or_default();
                    if pod.spec.is_some_and(|spec| spec.node_name.is_none()) {
                        place(&pods, &name).await;
                    }
                }
                tokio::time::sleep(POLL).await;
            }
        });
        Scheduler { task }
    }
}

impl Drop for Scheduler {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn place(pods: &Api<Pod>, name: &str) {
    let binding = json!({
        "apiVersion": "v1", "kind": "Binding", "metadata": {"name": name},
        "target": {"kind": "Node", "name": node::NAME},
    });
    let placed: kube::Result<Status> =
        pods.create_subresource("binding", name, &PostParams::default(), &binding).await;
    match placed {
        // Gone or placed meanwhile.
        Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => {}
        outcome => drop(outcome.unwrap()),
    }
}

/// A claim that several pods may mount, bound to a folder of the node.
pub(super) async fn shared_volume(client: &Client, namespace: &str, name: &str, folder: &std::path::Path) {
    let volume = format!("vol-{namespace}-{name}");
    let access = json!(["ReadWriteMany"]);
    let object: PersistentVolume = serde_json::from_value(json!({
        "metadata": {"name": volume},
        "spec": {
            "accessModes": access, "capacity": {"storage": "1Mi"}, "storageClassName": "",
            "hostPath": {"path": folder}, "claimRef": {"namespace": namespace, "name": name},
        },
    }))
    .unwrap();
    Api::all(client.clone()).create(&PostParams::default(), &object).await.unwrap();
    let claim: PersistentVolumeClaim = serde_json::from_value(json!({
        "metadata": {"name": name},
        "spec": {
            "accessModes": access, "resources": {"requests": {"storage": "1Mi"}}, "storageClassName": "",
            "volumeName": volume,
        },
    }))
    .unwrap();
    let claims = Api::<PersistentVolumeClaim>::namespaced(client.clone(), namespace);
    claims.create(&PostParams::default(), &claim).await.unwrap();
    until(async || {
        let claim = claims.get(name).await.unwrap();
        claim.status.is_some_and(|status| status.phase.as_deref() == Some("Bound"))
    })
    .await;
}
