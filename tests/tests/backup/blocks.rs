//! Item blocks: what hangs together by volumes is stored together, also what the label selector did not choose.

use anyhow::Context as _;
use holdfast_tests::Testbed;
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim, Pod};
use kube::api::{Patch, PatchParams};
use kube::{Api, Client};
use pretty_assertions::assert_eq;
use serde_json::{Value, json};

use crate::files::create;
use crate::runs::Bench;

/// A claim, bound to a volume of its own.
async fn create_claim(client: &Client, namespace: &str, name: &str, labels: Value) -> anyhow::Result<()> {
    let volume = format!("vol-{namespace}-{name}");
    let access = json!(["ReadWriteMany"]);
    let spec = json!({
        "accessModes": access, "capacity": {"storage": "1Gi"}, "storageClassName": "",
        "hostPath": {"path": "/nowhere"}, "claimRef": {"namespace": namespace, "name": name},
    });
    let volumes = Api::<PersistentVolume>::all(client.clone());
    create(&volumes, json!({"metadata": {"name": volume}, "spec": spec})).await?;
    let spec = json!({
        "accessModes": access, "resources": {"requests": {"storage": "1Gi"}}, "storageClassName": "",
        "volumeName": volume,
    });
    let claims = Api::<PersistentVolumeClaim>::namespaced(client.clone(), namespace);
    create(&claims, json!({"metadata": {"name": name, "labels": labels}, "spec": spec})).await?;
    let bound = |claim: Option<&PersistentVolumeClaim>| {
        claim.and_then(|claim| claim.status.as_ref()?.phase.as_deref()) == Some("Bound")
    };
    kube::runtime::wait::await_condition(claims, name, bound).await.context("waiting for the claim")?;
    Ok(())
}

async fn create_pod(
    client: &Client,
    namespace: &str,
    name: &str,
    claim: &str,
    phase: &str,
) -> anyhow::Result<()> {
    let pods = Api::<Pod>::namespaced(client.clone(), namespace);
    let pod = json!({
        "metadata": {"name": name},
        "spec": {
            "automountServiceAccountToken": false,
            "nodeName": "somewhere",
            "containers": [{"name": "main", "image": "none"}],
            "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": claim}}],
        },
    });
    create(&pods, pod).await?;
    // What its kubelet would say; there is no node.
    let patch = Patch::Merge(json!({"status": {"phase": phase}}));
    pods.patch_status(name, &PatchParams::default(), &patch).await.context("setting a status")?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chosen_claim_brings_the_pods_that_run_with_it_and_the_claims_of_its_volume_group() {
    let testbed = Testbed::shared().await.unwrap();
    let _logs = testbed.logs_on_panic();
    let client = testbed.client().unwrap();
    let namespace = testbed.namespace("blocks").await.unwrap();
    let in_group = |app: &str| json!({"app": app, "velero.io/volume-group": "db"});
    create_claim(&client, &namespace, "chosen", in_group("wanted")).await.unwrap();
    create_claim(&client, &namespace, "grouped", in_group("other")).await.unwrap();
    create_claim(&client, &namespace, "apart", json!({"app": "other"})).await.unwrap();
    for (name, claim, phase) in [
        ("one", "chosen", "Running"),
        ("two", "chosen", "Running"),
        ("ended", "chosen", "Succeeded"),
        ("mate", "grouped", "Running"),
        ("stranger", "apart", "Running"),
    ] {
        create_pod(&client, &namespace, name, claim, phase).await.unwrap();
    }
    let bench = Bench::new(testbed).await.unwrap();
    let items_of = async |name: &str, spec: Value| {
        let ran = bench.run(name, spec).await.unwrap();
        let mut items = ran.items().unwrap();
        items.retain(|item| item.starts_with("pods ") || item.starts_with("persistentvolumeclaims "));
        items.sort();
        (items, ran.outcome.errors)
    };
    let item = |kind: &str, name: &str| format!("{kind} {namespace}/{name}");
    let claims = ["chosen", "grouped"].map(|name| item("persistentvolumeclaims", name));
    let pods = ["mate", "one", "two"].map(|name| item("pods", name));
    let by_label =
        json!({"includedNamespaces": [namespace], "labelSelector": {"matchLabels": {"app": "wanted"}}});
    let expected = (claims.iter().chain(&pods).cloned().collect(), 0);
    assert_eq!(items_of("by-label", by_label).await, expected);

    // What a block brings along passes the filters of types.
    let without_pods = json!({
        "includedNamespaces": [namespace],
        "labelSelector": {"matchLabels": {"app": "wanted"}},
        "excludedNamespaceScopedResources": ["pods"],
    });
    assert_eq!(items_of("without-pods", without_pods).await, (claims.to_vec(), 0));
}
