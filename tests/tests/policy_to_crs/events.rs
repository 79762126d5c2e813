//! What `kubectl describe` tells about a source: on its ConfigMap and on its PolicySet, each thing once.

use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::api::events::v1::Event;
use kube::ResourceExt as _;
use kube::api::{Api, ListParams, Patch, PatchParams, PostParams};
use pretty_assertions::assert_eq;
use serde_json::{Value, json};

use crate::stage::{SOON, Stage, policy};

/// A daemon with one ConfigMap, `team`, that is the source `team`.
async fn stage(text: &str) -> anyhow::Result<(Stage, Api<ConfigMap>)> {
    let mut stage = Stage::set(&[], &[("dir.yaml", policy("dir", "0 9 * * *"))]).await?;
    if let Some(daemon) = stage.daemon.take() {
        daemon.stop().await?;
    }
    let maps: Api<ConfigMap> = Api::namespaced(stage.client.clone(), &stage.namespace);
    let map = json!({"metadata": {"name": "team"}, "data": {"policy.yaml": text}});
    maps.create(&PostParams::default(), &serde_json::from_value(map)?).await?;
    start(&mut stage).await?;
    stage.condition("team", "Ready", "True InForce").await?;
    Ok((stage, maps))
}

async fn start(stage: &mut Stage) -> anyhow::Result<()> {
    let argument = format!("--policy-configmap=team={}/team", stage.namespace);
    stage.start(&[&argument]).await
}

async fn edit(maps: &Api<ConfigMap>, text: &str) -> anyhow::Result<()> {
    let patch = json!({"data": {"policy.yaml": text}});
    maps.patch("team", &PatchParams::default(), &Patch::Merge(patch)).await?;
    Ok(())
}

/// Events of a reason, as `Kind name: note`, sorted.
async fn events(stage: &Stage, reason: &str) -> anyhow::Result<Vec<String>> {
    let api: Api<Event> = Api::namespaced(stage.client.clone(), &stage.namespace);
    let events = api.list(&ListParams::default()).await?.items;
    let of_reason = events.into_iter().filter(|event| event.reason.as_deref() == Some(reason));
    let mut told: Vec<String> = of_reason
        .map(|event| {
            assert!(event.series.is_none(), "told twice: {event:?}");
            let regarding = event.regarding.unwrap_or_default();
            assert!(regarding.uid.is_some_and(|uid| !uid.is_empty()), "kubectl describe finds it by its uid");
            let text = |text: Option<String>| text.unwrap_or_default();
            format!("{} {}: {}", text(regarding.kind), text(regarding.name), text(event.note))
        })
        .collect();
    told.sort();
    Ok(told)
}

/// Waits until there are that many, and gives them.
async fn told(stage: &Stage, reason: &str, count: usize) -> anyhow::Result<Vec<String>> {
    let start = Instant::now();
    loop {
        let found = events(stage, reason).await?;
        if found.len() >= count {
            return Ok(found);
        }
        anyhow::ensure!(start.elapsed() < SOON, "{reason}: {found:?}\n{}", stage.log());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_problem_is_told_once_on_the_config_map_and_on_the_policy_set() -> anyhow::Result<()> {
    let (mut stage, maps) = stage(&policy("team", "0 1 * * *")).await?;
    edit(&maps, &policy("team", "0 1 * *")).await?;
    let first = told(&stage, "Invalid", 2).await?;
    let place = format!("configmap/{}/team/policy.yaml:6:", stage.namespace);
    for (told, about) in first.iter().zip(["ConfigMap team: ", "PolicySet team: "]) {
        assert!(told.starts_with(&format!("{about}{place}")), "{told}");
    }
    let described = stage.kubectl(&["describe", "configmap", "team"]).await?;
    assert!(described.contains("Warning") && described.contains("Invalid"), "{described}");

    // Another process finds the same problem, which is no news.
    if let Some(daemon) = stage.daemon.take() {
        daemon.stop().await?;
    }
    start(&mut stage).await?;
    stage.logs("policies refused", 1).await?;
    edit(&maps, &policy("team", "0 2 * * *")).await?;
    stage.condition("team", "Ready", "True InForce").await?;
    // First of the folder and of `team`, then of `team` again, each on two objects.
    assert_eq!(told(&stage, "InForce", 6).await?.len(), 6);
    assert_eq!(events(&stage, "Invalid").await?, first);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn drift_conflicts_and_brakes_are_told_on_the_source_too() -> anyhow::Result<()> {
    let names = ["a", "b", "c", "d", "e"];
    let texts = names.map(|name| policy(name, "0 1 * * *"));
    let (stage, maps) = stage(&texts.join("---\n")).await?;
    let schedules = stage.schedules();
    let editor = PatchParams { field_manager: Some("kubectl-edit".to_owned()), ..PatchParams::default() };
    let change = json!({"spec": {"schedule": "@yearly"}});
    schedules.patch("a-nightly", &editor, &Patch::Merge(change)).await?;
    assert_eq!(
        told(&stage, "DriftReverted", 3).await?,
        [
            "ConfigMap team: Schedule a-nightly: put back .spec.schedule",
            "PolicySet team: Schedule a-nightly: put back .spec.schedule",
            "Schedule a-nightly: put back what source team sets: .spec.schedule",
        ]
    );
    assert_eq!(schedules.get("a-nightly").await?.spec.schedule, "0 1 * * *");

    let theirs: Value = json!({
        "apiVersion": "velero.io/v1", "kind": "Schedule", "metadata": {"name": "b-nightly"},
        "spec": {"schedule": "@yearly", "template": {}},
    });
    let argo = PatchParams::apply("argocd-controller").force();
    schedules.patch("b-nightly", &argo, &Patch::Apply(theirs)).await?;
    assert_eq!(
        told(&stage, "Conflict", 3).await?,
        [
            "ConfigMap team: Schedule b-nightly: not applied: .spec.schedule belongs to argocd-controller",
            "PolicySet team: Schedule b-nightly: not applied: .spec.schedule belongs to argocd-controller",
            "Schedule b-nightly: not applied: .spec.schedule belongs to argocd-controller",
        ]
    );
    assert_eq!(schedules.get("b-nightly").await?.spec.schedule, "@yearly");
    stage.condition("team", "Ready", "False ObjectsNotInStep").await?;

    edit(&maps, &texts[0]).await?;
    let held = told(&stage, "PruneHeld", 2 + 4).await?;
    let on_source = "waits for holdfast.dev/allow-prune=";
    assert!(held[0].starts_with(&format!("ConfigMap team: {on_source}")), "{held:?}");
    assert!(held[1].starts_with(&format!("PolicySet team: {on_source}")), "{held:?}");
    assert!(held[1].ends_with("on the PolicySet, which lets 4 of 5 schedules be removed"), "{held:?}");
    assert_eq!(schedules.list(&ListParams::default()).await?.items.len(), 6);
    assert!(maps.get("team").await?.annotations().is_empty());
    Ok(())
}
