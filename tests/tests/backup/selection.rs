//! The backups that Velero 1.18.3 made of the sample cluster, made again: the same objects are chosen.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::ensure;
use holdfast_tests::Testbed;
use holdfast_tests::fixtures::{sample_cluster, velero_bucket};
use k8s_openapi::api::core::v1::{Endpoints, PersistentVolumeClaim, Pod};
use kube::api::ListParams;
use kube::{Api, ResourceExt};
use pretty_assertions::assert_eq;
use serde_json::{Value, json};

use crate::resource_policy::create_policy;
use crate::runs::{Bench, Ran};
use crate::verdicts::verdicts_agree_with_backups;

/// Namespaces of the sample; the others belong to the cluster, and to Velero's own installation.
const NAMESPACES: [&str; 5] = ["blog", "quiet", "shop", "shop-eu", "tmp-1"];

/// An item with a name that is the same in every cluster. None for objects that are no part of the sample.
fn stable(item: &str) -> Option<String> {
    let (resource, path) = item.split_once(' ')?;
    if resource.starts_with("events") || resource.ends_with(".velero.io") {
        return None;
    }
    match path.split_once('/') {
        Some((namespace, name)) if NAMESPACES.contains(&namespace) => {
            Some(format!("{resource} {namespace}/{}", stable_name(resource, name)))
        }
        Some(_) => None,
        None if resource == "namespaces" => NAMESPACES.contains(&path).then(|| item.to_owned()),
        None if path.ends_with(".velero.io") => None,
        // The account that backs up is made with its roles.
        None if resource.ends_with("rbac.authorization.k8s.io") && path.starts_with("holdfast-") => None,
        None => Some(item.to_owned()),
    }
}

/// Without the random parts that controllers append.
fn stable_name(resource: &str, name: &str) -> String {
    const MADE_BY_CONTROLLERS: [&str; 4] =
        ["pods", "replicasets.apps", "controllerrevisions.apps", "endpointslices.discovery.k8s.io"];
    let random =
        |part: &str| part.len() >= 5 && part.chars().all(|it| "bcdfghjklmnpqrstvwxz2456789".contains(it));
    let mut parts: Vec<&str> = name.split('-').collect();
    while MADE_BY_CONTROLLERS.contains(&resource)
        && parts.len() > 1
        && parts.last().is_some_and(|part| random(part))
    {
        parts.pop();
    }
    parts.join("-")
}

fn stable_items<'a>(items: impl IntoIterator<Item = &'a String>) -> Vec<String> {
    let mut items: Vec<String> = items.into_iter().filter_map(|item| stable(item)).collect();
    items.sort();
    items
}

fn cluster_scoped(item: &str) -> bool {
    !item.contains('/') && !item.starts_with("namespaces ")
}

/// Waits until the controllers have made of the sample what they make of it.
async fn settle(testbed: &Testbed) -> anyhow::Result<()> {
    let client = testbed.client()?;
    let everything = ListParams::default();
    for _ in 0..300 {
        let pods = Api::<Pod>::all(client.clone()).list(&everything).await?;
        let claims = Api::<PersistentVolumeClaim>::all(client.clone()).list(&everything).await?;
        let bound = claims.iter().filter(|claim| {
            claim.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Bound")
        });
        let endpoints = Api::<Endpoints>::namespaced(client.clone(), "shop").list(&everything).await?;
        let in_sample = |pod: &&Pod| pod.namespace().is_some_and(|it| NAMESPACES.contains(&it.as_str()));
        if pods.iter().filter(in_sample).count() >= 12 && bound.count() == 3 && endpoints.items.len() >= 6 {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    anyhow::bail!("the sample's controllers did not finish")
}

/// The backup of this name in the sample bucket, as its spec was written.
async fn again(bench: &Bench, name: &str, spec: Value) -> anyhow::Result<(Ran, Vec<String>, Vec<String>)> {
    let ran = bench.run(name, spec).await?;
    let items = ran.items()?;
    ensure!(items.len() as u64 == ran.outcome.archive.items, "{items:?}");
    let expected = stable_items(&velero_bucket::items(name)?);
    Ok((ran, stable_items(&items), expected))
}

#[tokio::test(flavor = "multi_thread")]
async fn backups_choose_what_velero_chose() {
    let testbed = Testbed::start().await.unwrap();
    sample_cluster::load(&testbed.client().unwrap()).await.unwrap();
    settle(&testbed).await.unwrap();
    let bench = Bench::new(&testbed).await.unwrap();

    for (name, spec) in [
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
        ("gold-nosnap", json!({"includedNamespaces": ["shop"], "snapshotVolumes": false})),
        ("gold-wild", json!({"includedNamespaces": ["shop*"], "excludedNamespaces": ["shop-e?"]})),
        ("gold-ttl", json!({"includedNamespaces": ["tmp-1"], "ttl": "1h"})),
        (
            "gold-ordered",
            json!({
                "includedNamespaces": ["shop"],
                "includedResources": ["pods", "persistentvolumeclaims", "configmaps"],
                "orderedResources": {"pods": "shop/runner,shop/finished,shop/absent", "configmaps": "shop/owned"},
            }),
        ),
    ] {
        let (ran, items, expected) = again(&bench, name, spec).await.unwrap();
        assert_eq!(items, expected, "{name}: {}", ran.text("logs.gz").unwrap());
        assert_eq!(ran.outcome.errors, 0, "{name}: {}", ran.text("results.gz").unwrap());
        let warnings = if name == "gold-ordered" { 1 } else { 0 };
        assert_eq!(ran.outcome.warnings, warnings, "{name}: {}", ran.text("results.gz").unwrap());
    }

    ordered_items_come_first(&bench).await.unwrap();
    selectors_choose_the_same_namespaced_objects(&bench).await.unwrap();
    the_whole_cluster_comes_along(&bench).await.unwrap();
    missing_namespaces_are_errors_where_namespaces_are_collected(&bench).await.unwrap();
    verdicts_agree_with_backups(&bench).await.unwrap();
    volumes_that_a_policy_skips_are_told_as_velero_tells_them(&testbed).await.unwrap();
}

async fn ordered_items_come_first(bench: &Bench) -> anyhow::Result<()> {
    let spec = json!({"includedResources": ["pods"], "orderedResources": {"pods": "shop/runner,shop/finished,shop/absent"}});
    let ran = bench.run("ordered", spec).await?;
    assert_eq!(ran.items()?[..2], ["pods shop/runner", "pods shop/finished"]);
    assert_eq!(
        ran.json("results.gz")?,
        json!({"errors": {}, "warnings": {"velero": [" message: /Cannot find resource 'shop/absent'."]}})
    );
    Ok(())
}

/// Where the namespace list is open, cluster-scoped objects that Velero leaves out come along.
async fn selectors_choose_the_same_namespaced_objects(bench: &Bench) -> anyhow::Result<()> {
    let front = json!({"labelSelector": {"matchLabels": {"tier": "front"}}});
    let or =
        json!({"orLabelSelectors": [{"matchLabels": {"app": "gallery"}}, {"matchLabels": {"tier": "back"}}]});
    for (name, spec) in [("gold-label", front), ("gold-or", or)] {
        let (_, items, expected) = again(bench, name, spec).await?;
        let items: BTreeSet<_> = items.into_iter().collect();
        let expected: BTreeSet<_> = expected.into_iter().collect();
        let missing: Vec<_> = expected.difference(&items).collect();
        let more: Vec<_> = items.difference(&expected).filter(|item| !cluster_scoped(item)).collect();
        assert_eq!((missing, more), (vec![], vec![]), "{name}");
    }
    Ok(())
}

async fn the_whole_cluster_comes_along(bench: &Bench) -> anyhow::Result<()> {
    let everything =
        |items: Vec<String>| items.into_iter().filter(|item| !cluster_scoped(item)).collect::<Vec<_>>();
    let cluster =
        |items: &[String]| items.iter().filter(|item| cluster_scoped(item)).cloned().collect::<Vec<_>>();

    let (_, with_switch, expected) =
        again(bench, "gold-full-cluster", json!({"includeClusterResources": true})).await?;
    assert_eq!(everything(with_switch.clone()), everything(expected.clone()));
    let velero_only = |item: &&String| item.contains("velero") || item.starts_with("ipaddresses");
    let missing: Vec<_> =
        expected.iter().filter(|item| !with_switch.contains(item) && !velero_only(item)).collect();
    assert_eq!(missing, Vec::<&String>::new());

    let (_, filterless, expected) = again(bench, "gold-full", json!({})).await?;
    assert_eq!(everything(filterless.clone()), everything(expected));
    assert_eq!(cluster(&filterless), cluster(&with_switch));

    let spec = json!({
        "excludedNamespaces": ["kube-system", "kube-public", "kube-node-lease", "velero", "default"],
        "excludedResources": ["secrets", "events", "pods", "events.events.k8s.io"],
    });
    let (_, items, expected) = again(bench, "gold-excl", spec).await?;
    assert_eq!(everything(items.clone()), everything(expected));
    assert_eq!(cluster(&items), cluster(&filterless));

    let spec = json!({"includedClusterScopedResources": ["*"], "excludedNamespaceScopedResources": ["*"]});
    let (_, items, _) = again(bench, "gold-new-cluster", spec).await?;
    assert_eq!(cluster(&items), cluster(&filterless));
    assert!(items.iter().all(|item| !item.contains('/')), "{items:?}");
    Ok(())
}

async fn missing_namespaces_are_errors_where_namespaces_are_collected(bench: &Bench) -> anyhow::Result<()> {
    let ran = bench.run("absent", json!({"includedNamespaces": ["tmp-1", "no-such-ns"]})).await?;
    assert_eq!(
        ran.json("results.gz")?["errors"],
        json!({"velero": [" resource: /namespaces message: /fail to get the namespace no-such-ns specified in backup.Spec.IncludedNamespaces"]})
    );
    let spec = json!({"includedNamespaces": ["tmp-1", "no-such-ns"], "includedResources": ["configmaps"]});
    let (ran, items, expected) = again(bench, "gold-absent-ns", spec).await?;
    assert_eq!((ran.outcome.errors, items), (0, expected));
    let ran = bench.run("no-match", json!({"includedNamespaces": ["nothing-*"]})).await?;
    assert_eq!((ran.outcome.errors, ran.outcome.items), (0, 0));
    Ok(())
}

async fn volumes_that_a_policy_skips_are_told_as_velero_tells_them(testbed: &Testbed) -> anyhow::Result<()> {
    let home = testbed.namespace("policies").await?;
    let text = "version: v1\nvolumePolicies:\n- conditions: {storageClass: [slow]}\n  action: {type: skip}\n";
    create_policy(&testbed.client()?, &home, "vol-policy", text).await?;
    let bench = Bench::at_home_in(testbed, &home).await?;
    let spec = json!({
        "includedNamespaces": ["shop"],
        "includedResources": ["pods", "pvc", "pv"],
        "includeClusterResources": true,
        "resourcePolicy": {"kind": "configmap", "name": "vol-policy"},
    });
    let (ran, items, expected) = again(&bench, "gold-policy", spec).await?;
    assert_eq!(items, expected);
    let by_volume = |entries: Value| -> BTreeMap<String, Value> {
        let entries = entries.as_array().cloned().unwrap_or_default();
        entries.into_iter().map(|entry| (entry["pvName"].to_string(), entry)).collect()
    };
    let mut told = by_volume(ran.json("volumeinfo.json.gz")?);
    let mut expected = by_volume(velero_bucket::volume_info("gold-policy")?);
    for entries in [&mut told, &mut expected] {
        for entry in entries.values_mut() {
            let reason = entry["skippedReason"].as_str().unwrap_or_default();
            // Which of several pods comes first is chance.
            let (before, after) = match reason.split_once(" in pod ") {
                Some((before, after)) => (before, after.split_once(';').map_or("", |(_, rest)| rest)),
                None => (reason, ""),
            };
            entry["skippedReason"] = json!(format!("{before}|{after}"));
        }
    }
    assert_eq!(told, expected);
    assert_eq!((ran.outcome.errors, ran.outcome.warnings), (0, 0));
    Ok(())
}
