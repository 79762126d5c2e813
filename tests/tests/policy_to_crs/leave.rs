//! `holdfast leave`: Velero or people go on with the objects.

use std::collections::BTreeMap;
use std::fs;

use holdfast::cluster::{Cluster, ListScope};
use holdfast_tests::Testbed;
use holdfast_tests::command::{Ended, holdfast};
use kube::api::{Patch, PatchParams};
use pretty_assertions::assert_eq;
use serde_json::{Value, json};

use crate::stage::{LATER, SOON, Stage, WORKS, write};

const POLICIES: &str = "
apiVersion: holdfast.dev/v1alpha1
kind: BackupPolicy
metadata: {name: shop, labels: {team: commerce}}
spec:
  select: {namespaces: {include: [shop]}}
  volumes: {rules: [{conditions: {capacity: \"0,100Gi\"}, action: {type: skip}}]}
  retention: {keepLast: 3}
  schedules: [{name: nightly, cron: '0 1 * * *', timeZone: Europe/Berlin, jitter: 5m, skipImmediately: true}]
  backups: [{name: before}]
";

async fn leave(stage: &Stage, more: &[&str]) -> anyhow::Result<Ended> {
    let kubeconfig = format!("--kubeconfig={}", Testbed::shared().await?.kubeconfig().display());
    let namespace = format!("--namespace={}", stage.namespace);
    let arguments = ["leave", kubeconfig.as_str(), namespace.as_str()];
    holdfast(arguments.iter().chain(more)).await
}

/// All objects of velero.io and all ConfigMaps of the namespace.
async fn objects(stage: &Stage) -> anyhow::Result<BTreeMap<String, Value>> {
    let cluster = Cluster::new(stage.client.clone());
    let discovery = cluster.discover().await?;
    let mut objects = BTreeMap::new();
    for resource in &discovery.resources {
        let name = resource.group_resource();
        if name != "configmaps" && !name.ends_with(".velero.io") {
            continue;
        }
        let mut pages = cluster.list(resource, ListScope::everything());
        while let Some(items) = pages.next().await? {
            for item in items {
                if item.namespace.as_deref() == Some(stage.namespace.as_str())
                    && item.name != "kube-root-ca.crt"
                {
                    objects.insert(format!("{name} {}", item.name), serde_json::from_slice(&item.json)?);
                }
            }
        }
    }
    Ok(objects)
}

fn marked(objects: &BTreeMap<String, Value>) -> Vec<&str> {
    let marked = objects.iter().filter(|(_, object)| object.to_string().contains("holdfast"));
    marked.map(|(name, _)| name.as_str()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn leaving_takes_every_mark_off_and_nothing_else() -> anyhow::Result<()> {
    let mut stage = Stage::set(&[], &[]).await?;
    let folder = stage.policies.parent().expect("a folder above").to_owned();
    fs::create_dir(folder.join("bucket"))?;
    let location = format!(
        "apiVersion: holdfast.dev/v1alpha1\nkind: StorageLocation\nmetadata: {{name: default}}\n\
         spec: {{default: true, provider: local, bucket: bucket, config: {{path: {}}}}}\n---\n",
        folder.display()
    );
    write(&stage.policies.join("a.yaml"), &format!("{location}{}", POLICIES.trim_start()))?;
    stage.condition("policies", "Ready", "True InForce").await?;
    let argo = PatchParams { field_manager: Some("argocd-controller".to_owned()), ..PatchParams::default() };
    let theirs = json!({"metadata": {"annotations": {"team": "commerce"}}, "spec": {"paused": true}});
    stage.schedules().patch("shop-nightly", &argo, &Patch::Merge(theirs)).await?;

    // Whoever still publishes would put everything back.
    let refused = leave(&stage, &["--yes"]).await?;
    assert_eq!(refused.code, 2, "{refused:?}");
    assert!(refused.errors.contains("scale it to 0 first"), "{refused:?}");
    stage.stop().await?;

    let before = objects(&stage).await?;
    assert_eq!(marked(&before).len(), 4, "{:?}", marked(&before));
    let told = leave(&stage, &[]).await?;
    assert_eq!((told.code, told.errors.as_str()), (1, ""));
    let schedule = "Schedule shop-nightly\n  \
        - label app.kubernetes.io/managed-by: holdfast\n  \
        - label holdfast.dev/content-hash: ";
    assert!(told.output.contains(schedule), "{}", told.output);
    assert!(told.output.contains("  - annotation holdfast.dev/jitter: 5m0s\n"), "{}", told.output);
    assert!(told.output.contains("  - field manager holdfast/policies\n"), "{}", told.output);
    assert!(told.output.ends_with("4 objects would be released; --yes does it\n"), "{}", told.output);
    assert_eq!(objects(&stage).await?, before, "nothing was changed");
    let machine: Value = serde_json::from_str(&leave(&stage, &["--output=json"]).await?.output)?;
    assert_eq!((&machine["done"], &machine["objects"][0]["kind"]), (&json!(false), &json!("ConfigMap")));

    let done = leave(&stage, &["--yes"]).await?;
    assert_eq!((done.code, done.errors.as_str()), (0, ""), "{}", done.output);
    assert!(done.output.ends_with("4 objects released\n"), "{}", done.output);
    let after = objects(&stage).await?;
    assert_eq!(marked(&after), Vec::<&str>::new());
    assert_eq!(after.keys().collect::<Vec<_>>(), before.keys().collect::<Vec<_>>());
    for (name, object) in &after {
        let mut spec = before[name]["spec"].clone();
        if name == "schedules.velero.io shop-nightly" {
            spec["template"]["metadata"]["labels"] = json!({"team": "commerce"});
            assert_eq!(object["metadata"]["labels"], json!({"team": "commerce"}));
            assert_eq!(object["metadata"]["annotations"], json!({"team": "commerce"}));
            let managers = object["metadata"]["managedFields"].as_array().expect("Argo's entry");
            assert_eq!(managers.len(), 1, "{managers:?}");
            assert_eq!(managers[0]["manager"], "argocd-controller");
        }
        assert_eq!(object["spec"], spec, "{name}");
        assert_eq!(object["data"], before[name]["data"], "{name}");
    }
    let again = leave(&stage, &["--yes"]).await?;
    assert_eq!((again.code, again.output.as_str()), (0, "nothing here carries marks of Holdfast\n"));

    // People go on with them, and a Holdfast that comes back leaves them alone.
    let edit = json!({"spec": {"schedule": "0 7 * * *"}});
    stage.schedules().patch("shop-nightly", &PatchParams::default(), &Patch::Merge(edit)).await?;
    stage.start(&[]).await?;
    stage.logs(WORKS, 1).await?;
    stage.condition("policies", "Ready", "False ObjectsNotInStep").await?;
    tokio::time::sleep(LATER).await;
    stage.becomes(&["shop-nightly 0 7 * * *"], SOON).await?;
    Ok(())
}
