//! Resource policies: what a ConfigMap leaves out of a backup, and what it asks for that cannot be done yet.

use std::collections::BTreeMap;

use anyhow::Context;
use holdfast::engine::backup;
use holdfast_tests::Testbed;
use k8s_openapi::api::core::v1::{ConfigMap, PersistentVolume, PersistentVolumeClaim, Pod, Secret};
use kube::api::{ObjectMeta, PostParams};
use kube::{Api, Client};
use pretty_assertions::assert_eq;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::runs::Bench;

pub(crate) async fn create_policy(
    client: &Client,
    namespace: &str,
    name: &str,
    text: &str,
) -> anyhow::Result<()> {
    let policy = ConfigMap {
        metadata: ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() },
        data: Some(BTreeMap::from([("policy.yaml".to_owned(), text.to_owned())])),
        ..ConfigMap::default()
    };
    let api = Api::<ConfigMap>::namespaced(client.clone(), namespace);
    api.create(&PostParams::default(), &policy).await.context("creating the policy")?;
    Ok(())
}

async fn create<K>(api: &Api<K>, object: Value) -> anyhow::Result<()>
where
    K: Clone + DeserializeOwned + serde::Serialize + std::fmt::Debug,
{
    let object = serde_json::from_value(object).context("reading the object")?;
    api.create(&PostParams::default(), &object).await.context("creating the object")?;
    Ok(())
}

async fn create_config_maps(client: &Client, namespace: &str, names: &[&str]) -> anyhow::Result<()> {
    for name in names {
        let api = Api::<ConfigMap>::namespaced(client.clone(), namespace);
        create(&api, json!({"metadata": {"name": name, "labels": {"name": name}}})).await?;
    }
    let api = Api::<Secret>::namespaced(client.clone(), namespace);
    create(&api, json!({"metadata": {"name": "key"}})).await
}

fn policy_reference() -> Value {
    json!({"kind": "ConfigMap", "name": "policy"})
}

/// The items of these kinds, without those that each namespace has of itself.
fn of_interest(items: Vec<String>) -> Vec<String> {
    let kinds = ["configmaps ", "secrets "];
    let mut items: Vec<String> = items
        .into_iter()
        .filter(|item| kinds.iter().any(|kind| item.starts_with(kind)) && !item.ends_with("kube-root-ca.crt"))
        .collect();
    items.sort();
    items
}

#[tokio::test(flavor = "multi_thread")]
async fn filters_of_a_namespace_leave_out_kinds_names_and_labels() {
    let testbed = Testbed::shared().await.unwrap();
    let _logs = testbed.logs_on_panic();
    let client = testbed.client().unwrap();
    let home = testbed.namespace("home").await.unwrap();
    let (named, labelled, free) = (
        testbed.namespace("named").await.unwrap(),
        testbed.namespace("labelled").await.unwrap(),
        testbed.namespace("free").await.unwrap(),
    );
    for namespace in [&named, &labelled, &free] {
        create_config_maps(&client, namespace, &["web-1", "web-1-tmp", "other"]).await.unwrap();
    }
    let text = format!(
        "
version: v1
namespacedFilterPolicies:
- namespaces: ['named*']
  resourceFilters:
  - kinds: [cm]
    names: ['web-*']
    excludedNames: ['*-tmp']
- namespaces: [{labelled}]
  resourceFilters:
  - kinds: ['*']
    labelSelector: {{matchLabels: {{name: other}}}}
"
    );
    create_policy(&client, &home, "policy", &text).await.unwrap();
    let bench = Bench::at_home_in(testbed, &home).await.unwrap();
    let expected = [
        format!("configmaps {free}/other"),
        format!("configmaps {free}/web-1"),
        format!("configmaps {free}/web-1-tmp"),
        format!("configmaps {labelled}/other"),
        format!("configmaps {named}/web-1"),
        format!("secrets {free}/key"),
    ];
    let spec = json!({"includedNamespaces": [named, labelled, free], "resourcePolicy": policy_reference()});
    let ran = bench.run("listed", spec).await.unwrap();
    assert_eq!(ran.outcome.errors, 0);
    assert_eq!(of_interest(ran.items().unwrap()), expected);

    // One list over all namespaces holds the same objects of these.
    let spec = json!({"resourcePolicy": policy_reference()});
    let ran = bench.run("open", spec).await.unwrap();
    let mut items = of_interest(ran.items().unwrap());
    items.retain(|item| [&named, &labelled, &free].iter().any(|it| item.contains(&format!(" {it}/"))));
    assert_eq!(items, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_for_cluster_scoped_kinds_narrows_them_and_no_others() {
    let testbed = Testbed::shared().await.unwrap();
    let _logs = testbed.logs_on_panic();
    let client = testbed.client().unwrap();
    let home = testbed.namespace("home").await.unwrap();
    let text = "
version: v1
includeExcludePolicy: {includedClusterScopedResources: [priorityclasses]}
clusterScopedFilterPolicy:
  resourceFilters:
  - kinds: [clusterroles]
    names: [view]
";
    create_policy(&client, &home, "policy", text).await.unwrap();
    let bench = Bench::at_home_in(testbed, &home).await.unwrap();
    let spec = json!({
        "includedNamespaces": [home],
        "includedClusterScopedResources": ["clusterroles"],
        "includedNamespaceScopedResources": ["secrets"],
        "resourcePolicy": policy_reference(),
    });
    let mut items = bench.run("cluster", spec).await.unwrap().items().unwrap();
    items.sort();
    assert_eq!(
        items,
        [
            "clusterroles.rbac.authorization.k8s.io view".to_owned(),
            format!("namespaces {home}"),
            "priorityclasses.scheduling.k8s.io system-cluster-critical".to_owned(),
            "priorityclasses.scheduling.k8s.io system-node-critical".to_owned(),
        ]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_volume_policy_asks_for_and_cannot_be_done_yet_is_reported_for_each_volume() {
    let testbed = Testbed::shared().await.unwrap();
    let _logs = testbed.logs_on_panic();
    let client = testbed.client().unwrap();
    let home = testbed.namespace("home").await.unwrap();
    let namespace = testbed.namespace("volumes").await.unwrap();
    let text = "
version: v1
volumePolicies:
- conditions: {pvcLabels: {copy: files}}
  action: {type: fs-backup}
- conditions: {storageClass: [snappy]}
  action: {type: snapshot}
- conditions: {volumeTypes: [emptyDir]}
  action: {type: fs-backup}
- conditions: {}
  action: {type: skip}
";
    create_policy(&client, &home, "policy", text).await.unwrap();
    for (name, class, labels) in [
        ("files", "plain", json!({"copy": "files"})),
        ("snapped", "snappy", json!({})),
        ("skipped", "plain", json!({})),
    ] {
        let volume = format!("{namespace}-{name}");
        let spec = json!({
            "accessModes": ["ReadWriteOnce"], "capacity": {"storage": "1Gi"}, "storageClassName": class,
            "hostPath": {"path": "/nowhere"}, "claimRef": {"namespace": namespace, "name": name},
        });
        let volumes = Api::<PersistentVolume>::all(client.clone());
        create(&volumes, json!({"metadata": {"name": volume}, "spec": spec})).await.unwrap();
        let spec = json!({
            "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}},
            "storageClassName": class, "volumeName": volume,
        });
        let claims = Api::<PersistentVolumeClaim>::namespaced(client.clone(), &namespace);
        create(&claims, json!({"metadata": {"name": name, "labels": labels}, "spec": spec})).await.unwrap();
        let bound = |claim: Option<&PersistentVolumeClaim>| {
            claim.and_then(|claim| claim.status.as_ref()?.phase.as_deref()) == Some("Bound")
        };
        kube::runtime::wait::await_condition(claims, name, bound).await.unwrap();
    }
    let claim = |name: &str| json!({"name": name, "persistentVolumeClaim": {"claimName": name}});
    let volumes =
        json!([claim("files"), claim("snapped"), claim("skipped"), {"name": "cache", "emptyDir": {}}]);
    let spec = json!({"containers": [{"name": "main", "image": "none"}], "volumes": volumes});
    let pods = Api::<Pod>::namespaced(client.clone(), &namespace);
    create(&pods, json!({"metadata": {"name": "app"}, "spec": spec})).await.unwrap();

    let bench = Bench::at_home_in(testbed, &home).await.unwrap();
    let spec = json!({"includedNamespaces": [namespace], "resourcePolicy": policy_reference()});
    let ran = bench.run("volumes", spec).await.unwrap();
    let results = ran.json("results.gz").unwrap();
    let no_files = "The pod is not scheduled, so the files of its volumes are not read: files, cache";
    let no_snapshot = "A volume policy wants a snapshot, and nobody here can take one of this volume";
    assert_eq!(
        results["errors"],
        json!({
            "cluster": [format!(" resource: /persistentvolumes name: /{namespace}-snapped message: /{no_snapshot}")],
        })
    );
    assert_eq!(
        results["warnings"]["namespaces"],
        json!({&namespace: [format!(" resource: /pods name: /app message: /{no_files}")]})
    );
    let told = ran.json("volumeinfo.json.gz").unwrap();
    let reasons: BTreeMap<&str, &str> = told
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|entry| Some((entry["pvcName"].as_str()?, entry["skippedReason"].as_str()?)))
        .collect();
    let no_snapshotter = "volumeSnapshot: no applicable volumesnapshotter found;";
    let not_chosen = "volumeSnapshot: not satisfy the criteria for VolumePolicy or the legacy snapshot way;";
    let opted_out = "podvolume: opted out due to annotation in pod app;";
    assert_eq!(
        reasons,
        BTreeMap::from([
            ("files", not_chosen),
            ("snapped", format!("{opted_out}{no_snapshotter}").as_str()),
            ("skipped", format!("any: skipped due to resource policy ;{opted_out}{not_chosen}").as_str()),
        ])
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_that_changed_for_the_worse_before_the_run_fails_it_and_leaves_nothing() {
    let testbed = Testbed::shared().await.unwrap();
    let _logs = testbed.logs_on_panic();
    let client = testbed.client().unwrap();
    let home = testbed.namespace("home").await.unwrap();
    create_policy(&client, &home, "policy", "version: v1").await.unwrap();
    let bench = Bench::at_home_in(testbed, &home).await.unwrap();
    let spec = json!({"includedNamespaces": [home], "resourcePolicy": policy_reference()});
    let prepared = bench.prepare("changed", spec).await.unwrap();
    let policies = Api::<ConfigMap>::namespaced(client.clone(), &home);
    policies.delete("policy", &kube::api::DeleteParams::default()).await.unwrap();
    let error = backup::run(bench.run_of(&prepared)).await.unwrap_err();
    assert_eq!(error.to_string(), "invalid resource policies: ConfigMap policy not found");
    assert!(!bench.folder_of("changed").exists());
}
