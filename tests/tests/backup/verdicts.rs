//! What the verdicts say a backup would hold, beside what backups hold.

use std::collections::BTreeSet;

use holdfast::cluster::{Cluster, Discovery, ListScope};
use holdfast::engine::select::{Judge, NamespaceFacts, Object, are_twins, namespaces_of};
use holdfast_policy::velero::BackupSpec;
use holdfast_tests::fixtures::{sample_cluster, velero_bucket};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use pretty_assertions::assert_eq;
use serde_json::{Value, json};

use crate::runs::Bench;

/// The items that a backup would hold, written as resource lists of the sample write them.
fn would_hold(
    spec: &Value,
    discovery: &Discovery,
    namespaces: &[NamespaceFacts],
    objects: &[Object],
) -> anyhow::Result<BTreeSet<String>> {
    let spec: BackupSpec = serde_json::from_value(spec.clone())?;
    let verdicts = Judge::new(&spec, discovery, namespaces)?.all(objects);
    let included = objects.iter().zip(verdicts).filter(|(_, verdict)| verdict.is_included());
    Ok(included
        .map(|(object, _)| {
            let (resource, name) = (object.resource.group_resource(), &object.item.name);
            match &object.item.namespace {
                Some(namespace) => format!("{resource} {namespace}/{name}"),
                None => format!("{resource} {name}"),
            }
        })
        .collect())
}

/// Specs that Velero 1.18.3 ran over the sample cluster, the namespace list never open: there Holdfast departs.
fn specs() -> Vec<(&'static str, Value)> {
    vec![
        ("gold-ns", json!({"includedNamespaces": ["shop", "blog"]})),
        (
            "gold-old",
            json!({
                "includedNamespaces": ["shop"],
                "includedResources": ["deployments", "configmaps", "persistentvolumeclaims"],
            }),
        ),
        (
            "gold-old-cluster",
            json!({
                "includedNamespaces": ["shop"],
                "includedResources": ["configmaps", "pvc", "pv", "storageclasses", "gizmos"],
                "includeClusterResources": true,
            }),
        ),
        (
            "gold-new",
            json!({
                "includedNamespaces": ["shop", "shop-eu"],
                "includedClusterScopedResources": ["storageclasses", "priorityclasses", "clusterroles"],
                "includedNamespaceScopedResources": ["configmaps", "deployments"],
            }),
        ),
        ("gold-wild", json!({"includedNamespaces": ["shop*"], "excludedNamespaces": ["shop-e?"]})),
        ("gold-ttl", json!({"includedNamespaces": ["tmp-1"]})),
        ("gold-full-cluster", json!({"includeClusterResources": true})),
        (
            "gold-absent-ns",
            json!({"includedNamespaces": ["tmp-1", "no-such-ns"], "includedResources": ["configmaps"]}),
        ),
    ]
}

/// What the sample was taken without.
fn in_the_sample(item: &str) -> bool {
    !item.starts_with("events") && !item.starts_with("backups.velero.io")
}

#[test]
fn verdicts_on_the_sample_are_what_velero_chose_without_any_cluster() {
    let values = sample_cluster::objects().unwrap();
    let definitions: Vec<CustomResourceDefinition> = values
        .iter()
        .filter(|value| value["kind"] == "CustomResourceDefinition")
        .map(|value| serde_json::from_value(value.clone()).unwrap())
        .collect();
    let discovery = Discovery::without_a_cluster(&definitions);
    let objects: Vec<Object> = values.iter().map(|value| Object::parse(value, &discovery).unwrap()).collect();
    let namespaces = namespaces_of(&objects);
    for (name, spec) in specs() {
        let expected: BTreeSet<String> =
            velero_bucket::items(name).unwrap().into_iter().filter(|item| in_the_sample(item)).collect();
        assert_eq!(would_hold(&spec, &discovery, &namespaces, &objects).unwrap(), expected, "{name}");
    }
}

/// All objects of a cluster, each once.
async fn objects_of(cluster: &Cluster, discovery: &Discovery) -> anyhow::Result<Vec<Object>> {
    let mut objects = Vec::new();
    for (place, resource) in discovery.resources.iter().enumerate() {
        let seen = &discovery.resources[..place];
        if !resource.supports("list") || seen.iter().any(|other| are_twins(other, resource)) {
            continue;
        }
        let mut pages = cluster.list(resource, ListScope::everything());
        while let Some(items) = pages.next().await? {
            for item in items {
                objects.push(Object::new(resource, item)?);
            }
        }
    }
    Ok(objects)
}

/// Objects that come and go while a test runs.
fn lasting(item: &str) -> bool {
    !["events", "leases", "endpoint"].iter().any(|fleeting| item.starts_with(fleeting))
}

/// Every pair of a choice of namespaces with a choice of types and labels.
pub(crate) async fn verdicts_agree_with_backups(bench: &Bench) -> anyhow::Result<()> {
    let namespaces = [
        json!({}),
        json!({"includedNamespaces": ["shop*", "blog"], "excludedNamespaces": ["shop-e?"]}),
        json!({"excludedNamespaces": ["kube-*", "default", "blog"]}),
    ];
    let types = [
        json!({}),
        json!({"includeClusterResources": false}),
        json!({"includedResources": ["pods", "serviceaccounts", "gizmos"]}),
        json!({"excludedResources": ["pv", "*.rbac.authorization.k8s.io", "namespaces"]}),
        json!({"includedNamespaceScopedResources": ["pods", "serviceaccounts"], "excludedClusterScopedResources": ["priorityclasses"]}),
        json!({"includedClusterScopedResources": ["crd", "storage*"], "excludedNamespaceScopedResources": ["secrets", "pvc"]}),
    ];
    let labels = [
        json!({}),
        json!({"labelSelector": {"matchLabels": {"tier": "front"}}}),
        json!({"orLabelSelectors": [{"matchLabels": {"app": "gallery"}}, {"matchExpressions": [{"key": "tier", "operator": "Exists"}]}]}),
    ];
    let discovery = bench.cluster.discover().await?;
    let objects = objects_of(&bench.cluster, &discovery).await?;
    let existing = namespaces_of(&objects);
    for (number, namespaces) in namespaces.iter().enumerate() {
        for (kind, types) in types.iter().enumerate() {
            let labels = &labels[(number + kind) % labels.len()];
            let parts = [namespaces, types, labels].into_iter().filter_map(Value::as_object);
            let spec =
                Value::Object(parts.flatten().map(|(key, value)| (key.clone(), value.clone())).collect());
            let ran = bench.run(&format!("verdict-{number}-{kind}"), spec.clone()).await?;
            let held: BTreeSet<String> = ran.items()?.into_iter().filter(|item| lasting(item)).collect();
            let told = would_hold(&spec, &discovery, &existing, &objects)?;
            assert_eq!(
                told.into_iter().filter(|item| lasting(item)).collect::<BTreeSet<_>>(),
                held,
                "{spec}"
            );
        }
    }
    Ok(())
}
