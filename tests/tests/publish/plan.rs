//! What a plan tells.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Context as _;
use chrono::DateTime;
use holdfast::publish::decide::{self, Drift, Situation};
use holdfast::publish::object::Kind;
use holdfast::publish::plan::{Change, What};
use holdfast::publish::{observe, plan};
use kube::api::{Patch, PatchParams};
use pretty_assertions::assert_eq;
use serde_json::json;

use crate::stage::{Stage, US, nightly};

#[tokio::test]
async fn a_plan_tells_what_would_change_and_changes_nothing() -> anyhow::Result<()> {
    let mut stage = Stage::set().await?;
    let before =
        ["changed", "drifted", "gone", "contested"].map(|name| stage.schedule(name, "h1", nightly()));
    stage.publish(&before).await?;
    stage.edit("drifted", json!({"spec": {"schedule": "@yearly"}})).await?;
    let theirs = json!({
        "apiVersion": "velero.io/v1",
        "kind": "Schedule",
        "metadata": {"name": "contested"},
        "spec": {"schedule": "@yearly", "template": {}},
    });
    stage
        .api(Kind::Schedule)
        .patch("contested", &PatchParams::apply("argocd-controller").force(), &Patch::Apply(theirs))
        .await?;
    let mut changed = nightly();
    changed["schedule"] = json!("0 5 * * *");
    let desired = [
        stage.schedule("changed", "h2", changed),
        stage.schedule("drifted", "h1", nightly()),
        stage.schedule("contested", "h1", nightly()),
        stage.schedule("new", "h1", nightly()),
    ];

    let place = observe::Place { client: &stage.client, namespace: &stage.namespace };
    let live = plan::live(place, &desired, &stage.memory).await?;
    let situation = Situation {
        source: US,
        desired: &desired,
        live: &live,
        newest_completed: &BTreeMap::new(),
        memory: &stage.memory,
        drift: Drift::Revert,
        prune_word: None,
        cluster_name: Some("prod"),
        approved: &BTreeSet::new(),
        referred: None,
    };
    let now = DateTime::from_timestamp(1_800_000_000, 0).context("an instant")?;
    let actions = decide::decide(&situation, now);
    let changes = plan::plan(place, &situation, actions, &BTreeMap::new()).await?;
    let told: Vec<String> = changes
        .iter()
        .map(|Change { key, what }| {
            let what = match what {
                What::Create => "create".to_owned(),
                What::CreateUnlessRan { why } => format!("create unless {why}"),
                What::Prune => "remove".to_owned(),
                What::Conflict(conflicts) => conflicts.iter().map(ToString::to_string).collect(),
                What::Change { reason: _, fields } => {
                    let fields = fields.iter().filter(|field| field.path.starts_with(".spec"));
                    fields.map(ToString::to_string).collect()
                }
                What::Leave(reason) => format!("{reason:?}"),
            };
            format!("{}: {what}", key.name)
        })
        .collect();
    assert_eq!(
        told,
        [
            "changed: .spec.schedule: \"0 1 * * *\" -> \"0 5 * * *\"",
            "contested: .spec.schedule belongs to argocd-controller",
            "drifted: .spec.schedule: \"@yearly\" -> \"0 1 * * *\"",
            "new: create",
            "gone: remove",
        ]
    );
    assert_eq!(stage.spec(Kind::Schedule, "changed").await?["schedule"], "0 1 * * *");
    assert_eq!(stage.spec(Kind::Schedule, "drifted").await?["schedule"], "@yearly");
    assert!(stage.api(Kind::Schedule).get_opt("new").await?.is_none());
    Ok(())
}
