//! ConfigMaps of inline rules.

use chrono::TimeDelta;
use holdfast::publish::act::Outcome;
use holdfast::publish::decide::LeaveReason;
use holdfast::publish::object::{Desired, Kind};
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use pretty_assertions::assert_eq;
use serde_json::{Value, json};

use crate::stage::{Stage, nightly};

fn rules(stage: &Stage, name: &str) -> Desired {
    let mut desired = stage.desired(Kind::ConfigMap, name, name, Value::Null);
    if let Some(object) = desired.value.as_object_mut() {
        object.remove("spec");
        object.insert("immutable".to_owned(), json!(true));
        object.insert("data".to_owned(), json!({"volume-policies.yaml": name}));
    }
    desired
}

fn schedule(stage: &Stage, rules: &str) -> Desired {
    let mut spec = nightly();
    spec["template"]["resourcePolicy"] = json!({"kind": "configmap", "name": rules});
    stage.schedule("shop", rules, spec)
}

async fn left(stage: &Stage) -> anyhow::Result<Vec<String>> {
    let generated = ListParams::default().labels(holdfast::publish::object::SOURCE);
    let maps = stage.api(Kind::ConfigMap).list(&generated).await?;
    let mut names: Vec<String> = maps.items.into_iter().filter_map(|map| map.metadata.name).collect();
    names.sort();
    Ok(names)
}

/// Publishes until the ConfigMaps are these.
async fn becomes(stage: &mut Stage, desired: &[Desired], expected: &[&str]) -> anyhow::Result<()> {
    for _ in 0..10 {
        stage.publish(desired).await?;
        if left(stage).await? == expected {
            return Ok(());
        }
    }
    assert_eq!(left(stage).await?, expected);
    Ok(())
}

#[tokio::test]
async fn rules_stay_while_a_schedule_a_backup_or_a_restore_refers_to_them() -> anyhow::Result<()> {
    let mut stage = Stage::set().await?;
    let first = [rules(&stage, "shop-1"), schedule(&stage, "shop-1")];
    stage.publish(&first).await?;
    let change = json!({"data": {"volume-policies.yaml": "other"}});
    let maps = stage.api(Kind::ConfigMap);
    let refused = maps.patch("shop-1", &PatchParams::default(), &Patch::Merge(change)).await;
    assert!(refused.is_err(), "it can't be changed");

    // Somebody's runs of the first rules, and one of others.
    for (kind, field) in [(Kind::Backup, "resourcePolicy"), (Kind::Restore, "resourceModifier")] {
        let object = json!({
            "apiVersion": kind.api_version(), "kind": kind.name(), "metadata": {"name": "run"},
            "spec": {"backupName": "run", field: {"kind": "configmap", "name": "shop-1"}},
        });
        stage.api(kind).create(&PostParams::default(), &serde_json::from_value(object)?).await?;
    }
    let second = [rules(&stage, "shop-2"), schedule(&stage, "shop-2")];
    becomes(&mut stage, &second, &["shop-1", "shop-2"]).await?;
    let later = TimeDelta::minutes(11);
    for kind in [Kind::Backup, Kind::Restore] {
        stage.now += later;
        let report = stage.publish(&second).await?;
        let outcome =
            report.outcomes.iter().find(|(key, _)| key.name == "shop-1").map(|(_, outcome)| outcome);
        assert!(matches!(outcome, Some(Outcome::Left(LeaveReason::MayBeReferredTo))), "{report:?}");
        stage.api(kind).delete("run", &DeleteParams::default()).await?;
    }
    assert_eq!(left(&stage).await?, ["shop-1", "shop-2"]);
    stage.now += later;
    becomes(&mut stage, &second, &["shop-2"]).await?;

    // The rules of a schedule that goes follow it, in a later round.
    becomes(&mut stage, &[], &[]).await?;
    Ok(())
}

#[tokio::test]
async fn a_config_map_of_somebody_else_is_not_taken_for_the_rules() -> anyhow::Result<()> {
    let mut stage = Stage::set().await?;
    let map = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "shop-1"}, "data": {"x": "y"},
    });
    stage.api(Kind::ConfigMap).create(&PostParams::default(), &serde_json::from_value(map)?).await?;
    let desired = [rules(&stage, "shop-1")];
    let report = stage.publish(&desired).await?;
    let outcome = report.outcomes.get(&desired[0].key);
    assert!(matches!(outcome, Some(Outcome::Left(LeaveReason::NotOurs { source: None }))), "{report:?}");
    stage.publish(&[]).await?;
    assert!(stage.api(Kind::ConfigMap).get_opt("shop-1").await?.is_some());
    Ok(())
}
