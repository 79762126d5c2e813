//! A restore whose daemon is killed again and again, and one beside another.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Context as _;
use futures::{StreamExt as _, pin_mut};
use holdfast_policy::velero::{Restore, RestorePhase, RestoreSpec};
use holdfast_tests::restores::{archive, config_map, namespace, object};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{ListParams, WatchEvent, WatchParams};
use kube::{Api, ResourceExt};
use pretty_assertions::assert_eq;
use serde_json::{Value, json};

use crate::archives::backup;
use crate::home::{Home, PATIENCE};

/// Objects of each of the three namespaces.
const EACH: usize = 400;
/// How many objects are there when the daemon is killed; at the first, it has merely begun.
const MOMENTS: [usize; 10] = [0, 1, 60, 150, 240, 330, 420, 510, 600, 700];

fn entries() -> Vec<(String, Value)> {
    let mut entries = Vec::new();
    for source in ["a", "b", "c"] {
        entries.push(namespace(source));
        entries.extend((0..EACH).map(|number| config_map(source, &format!("c{number}"))));
        let service = json!({
            "apiVersion": "v1", "kind": "Service", "metadata": {"namespace": source, "name": "front"},
            "spec": {"ports": [{"port": 80}], "selector": {"app": "front"}},
        });
        entries.push(object("services", service));
        let claim = json!({
            "apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"namespace": source, "name": "robot"},
        });
        entries.push(object("serviceaccounts", claim));
    }
    entries
}

fn mapped(targets: &BTreeMap<String, String>) -> RestoreSpec {
    RestoreSpec {
        backup_name: Some("many".to_owned()),
        namespace_mapping: targets.clone(),
        ..RestoreSpec::default()
    }
}

fn labelled(restore: &str) -> String {
    format!("velero.io/restore-name={restore}")
}

/// Returns as soon as this many ConfigMaps carry the restore's label.
async fn restored(client: &kube::Client, restore: &str, count: usize) -> anyhow::Result<()> {
    let api = Api::<ConfigMap>::all(client.clone());
    let list = api.list_metadata(&ListParams::default().labels(&labelled(restore))).await?;
    let mut seen: BTreeSet<String> = list.items.iter().filter_map(ResourceExt::uid).collect();
    let version = list.metadata.resource_version.unwrap_or_default();
    let watch = api.watch_metadata(&WatchParams::default().labels(&labelled(restore)), &version).await?;
    pin_mut!(watch);
    let all = async {
        while seen.len() < count {
            match watch.next().await.context("the watch ended")?? {
                WatchEvent::Added(object) | WatchEvent::Modified(object) => seen.extend(object.uid()),
                WatchEvent::Deleted(_) | WatchEvent::Bookmark(_) => {}
                WatchEvent::Error(error) => anyhow::bail!("{error:?}"),
            }
        }
        Ok(())
    };
    tokio::time::timeout(PATIENCE, all).await.context("the restore does not get on")?
}

/// Names and data of all ConfigMaps of the restore, by namespace.
async fn found(client: &kube::Client, restore: &str) -> anyhow::Result<BTreeMap<String, BTreeSet<String>>> {
    let api = Api::<ConfigMap>::all(client.clone());
    let mut found: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for object in api.list(&ListParams::default().labels(&labelled(restore))).await?.items {
        let value = object.data.as_ref().and_then(|data| data.get("key")).cloned();
        assert_eq!(value.as_deref(), Some(object.name_any().as_str()));
        found.entry(object.namespace().unwrap_or_default()).or_default().insert(object.name_any());
    }
    Ok(found)
}

fn expected(targets: &BTreeMap<String, String>) -> BTreeMap<String, BTreeSet<String>> {
    let names: BTreeSet<String> = (0..EACH).map(|number| format!("c{number}")).collect();
    targets.values().map(|target| (target.clone(), names.clone())).collect()
}

fn targets(home: &Home, suffix: &str) -> BTreeMap<String, String> {
    let target = |source: &str| (source.to_owned(), format!("{}-{source}{suffix}", home.namespace));
    ["a", "b", "c"].map(target).into()
}

fn list(home: &Home, restore: &str) -> anyhow::Result<BTreeMap<String, BTreeSet<String>>> {
    let path = home.bucket().join(format!("restores/{restore}/restore-{restore}-resource-list.json.gz"));
    Ok(holdfast::archive::gunzip_json(&std::fs::read(path)?, 1 << 24)?)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_killed_at_ten_moments_ends_with_the_same_objects_and_lists_its_own_as_created()
-> anyhow::Result<()> {
    let home = Home::new("killed").await?;
    let client = home.testbed.client()?;
    let mut daemon = home.daemon(&[]).await?;
    home.local_location().await?;
    backup(&home, "many", &archive(&entries())).await?;
    let targets = targets(&home, "");
    // A name that no other test's restore has: objects are counted by it.
    let name = home.namespace.clone();
    home.runs.create(&Restore::new(&name, mapped(&targets))).await?;
    let begun = |restore: &Restore| restore.status_phase() == RestorePhase::InProgress;
    home.runs.ended(&name, PATIENCE, begun).await?;
    for moment in MOMENTS {
        restored(&client, &name, moment).await?;
        daemon.kill()?;
        let restore = home.runs.api::<Restore>().get(&name).await?;
        assert_eq!(restore.status_phase(), RestorePhase::InProgress, "killed at {moment} objects");
        daemon = home.daemon(&[]).await?;
    }
    let ended = |restore: &Restore| restore.status_phase().has_ended();
    let restore: Restore = home.runs.ended(&name, PATIENCE, ended).await?;
    drop(daemon);
    assert_eq!(restore.status.phase, Some(RestorePhase::Completed), "{:?}", restore.status);
    assert_eq!((restore.status.warnings, restore.status.errors), (0, 0));
    assert_eq!(found(&client, &name).await?, expected(&targets));
    let list = list(&home, &name)?;
    let lines: Vec<&String> = list.values().flatten().collect();
    assert_eq!(lines.len(), 3 * (EACH + 3), "{:?}", list.keys());
    let others: Vec<&&String> = lines.iter().filter(|line| !line.ends_with("(created)")).collect();
    assert!(others.is_empty(), "{others:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn two_restores_at_once_of_one_backup_do_not_disturb_each_other() -> anyhow::Result<()> {
    let home = Home::new("twice").await?;
    let client = home.testbed.client()?;
    let _daemon = home.daemon(&[]).await?;
    home.local_location().await?;
    backup(&home, "many", &archive(&entries())).await?;
    let both = ["x", "y"].map(|suffix| (format!("{}-{suffix}", home.namespace), targets(&home, suffix)));
    for (name, targets) in &both {
        home.runs.create(&Restore::new(name, mapped(targets))).await?;
    }
    let ended = |restore: &Restore| restore.status_phase().has_ended();
    for (name, targets) in &both {
        let restore: Restore = home.runs.ended(name, PATIENCE, ended).await?;
        assert_eq!(restore.status.phase, Some(RestorePhase::Completed), "{:?}", restore.status);
        assert_eq!((restore.status.warnings, restore.status.errors), (0, 0));
        assert_eq!(found(&client, name).await?, expected(targets));
        assert!(list(&home, name)?.values().flatten().all(|line| line.ends_with("(created)")));
    }
    Ok(())
}
