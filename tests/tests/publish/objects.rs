//! Schedules and locations.

use anyhow::Context as _;
use holdfast::publish::act::Outcome;
use holdfast::publish::conflict::Operation;
use holdfast::publish::decide::{ApplyReason, Drift, LeaveReason};
use holdfast::publish::object::{CONTENT_HASH, Kind, SOURCE};
use k8s_openapi::api::events::v1::Event;
use kube::ResourceExt as _;
use kube::api::{Api, ListParams, Patch, PatchParams};
use pretty_assertions::assert_eq;
use serde_json::{Value, json};

use crate::stage::{Stage, US, nightly, only};

#[tokio::test]
async fn what_is_in_step_is_not_applied_again() -> anyhow::Result<()> {
    let mut stage = Stage::set().await?;
    let desired = [stage.schedule("shop", "h1", nightly())];
    assert_eq!(stage.publish(&desired).await?.changes(), 1);
    assert_eq!(stage.publish(&desired).await?.changes(), 0);

    // Nor does a status that somebody writes give a reason to.
    stage.edit("shop", json!({"status": {"phase": "Enabled"}})).await?;
    let mut changed = desired.clone();
    changed[0].content_hash = "h2".to_owned();
    changed[0].value["metadata"]["labels"][CONTENT_HASH] = json!("h2");
    changed[0].value["spec"]["template"]["ttl"] = json!("48h0m0s");
    assert_eq!(stage.publish(&changed).await?.changes(), 1);
    assert_eq!(stage.spec(Kind::Schedule, "shop").await?["template"]["ttl"], "48h0m0s");
    assert_eq!(stage.publish(&changed).await?.changes(), 0);
    Ok(())
}

#[tokio::test]
async fn a_field_changed_by_an_ordinary_update_is_put_back_with_an_event() -> anyhow::Result<()> {
    let mut stage = Stage::set().await?;
    let desired = [stage.schedule("shop", "h1", nightly())];
    stage.publish(&desired).await?;
    for (patch, field) in [
        (json!({"spec": {"schedule": "@yearly"}}), ".spec.schedule"),
        (json!({"spec": {"template": {"ttl": null}}}), ".spec.template.ttl"),
        (json!({"metadata": {"labels": {SOURCE: null}}}), ".metadata.labels.holdfast.dev/source"),
    ] {
        stage.edit("shop", patch).await?;
        let report = stage.publish_when_woken(&desired).await?;
        let Outcome::Applied { reason: ApplyReason::Drifted { fields }, .. } = only(&report) else {
            panic!("not put back: {report:?}");
        };
        assert_eq!(fields, &[field]);
        assert_eq!(stage.publish(&desired).await?.changes(), 0);
    }
    assert_eq!(stage.spec(Kind::Schedule, "shop").await?, nightly());

    let events: Api<Event> = Api::namespaced(stage.client.clone(), &stage.namespace);
    let events = events.list(&ListParams::default()).await?;
    let event = events.items.iter().find(|event| event.reason.as_deref() == Some("DriftReverted"));
    let note = event.context("an event tells of the drift")?.note.clone().unwrap_or_default();
    assert!(note.contains(".spec.schedule"), "{note}");
    Ok(())
}

#[tokio::test]
async fn drift_is_only_reported_where_the_policy_says_so() -> anyhow::Result<()> {
    let mut stage = Stage::set().await?;
    stage.drift = Drift::Report;
    let desired = [stage.schedule("shop", "h1", nightly())];
    stage.publish(&desired).await?;
    stage.edit("shop", json!({"spec": {"schedule": "@yearly"}})).await?;
    let report = stage.publish_when_woken(&desired).await?;
    assert!(
        matches!(only(&report), Outcome::Left(LeaveReason::DriftReported { fields }) if *fields == [".spec.schedule"]),
        "{report:?}"
    );
    assert_eq!(stage.spec(Kind::Schedule, "shop").await?["schedule"], "@yearly");
    Ok(())
}

#[tokio::test]
async fn a_field_that_another_manager_applies_is_reported_and_never_forced() -> anyhow::Result<()> {
    let mut stage = Stage::set().await?;
    let desired = [stage.schedule("shop", "h1", nightly())];
    stage.publish(&desired).await?;
    let mut theirs = desired[0].value.clone();
    theirs["metadata"] = json!({"name": "shop"});
    theirs["spec"] = json!({"schedule": "@yearly", "template": {}});
    stage
        .api(Kind::Schedule)
        .patch("shop", &PatchParams::apply("argocd-controller").force(), &Patch::Apply(theirs))
        .await?;

    let report = stage.publish_when_woken(&desired).await?;
    let Outcome::Refused(conflicts) = only(&report) else { panic!("not refused: {report:?}") };
    let conflicts: Vec<_> =
        conflicts.iter().map(|c| (c.field.as_str(), c.manager.as_str(), c.operation)).collect();
    assert_eq!(conflicts, [(".spec.schedule", "argocd-controller", Operation::Apply)]);
    assert_eq!(stage.spec(Kind::Schedule, "shop").await?["schedule"], "@yearly");

    let report = stage.publish(&desired).await?;
    assert!(matches!(only(&report), Outcome::Left(LeaveReason::Conflict(_))), "{report:?}");
    Ok(())
}

#[tokio::test]
async fn an_object_of_somebody_else_is_left_alone_until_it_is_given_away() -> anyhow::Result<()> {
    let mut stage = Stage::set().await?;
    let mut theirs = stage.schedule("shop", "h1", json!({"schedule": "@weekly", "template": {}})).value;
    theirs["metadata"] = json!({"name": "shop", "namespace": stage.namespace});
    stage.api(Kind::Schedule).create(&Default::default(), &serde_json::from_value(theirs)?).await?;

    let desired = [stage.schedule("shop", "h1", nightly())];
    let report = stage.publish_when_woken(&desired).await?;
    assert!(matches!(only(&report), Outcome::Left(LeaveReason::NotOurs { source: None })), "{report:?}");
    assert_eq!(stage.spec(Kind::Schedule, "shop").await?["schedule"], "@weekly");

    stage.edit("shop", json!({"metadata": {"annotations": {"holdfast.dev/adopt": US}}})).await?;
    let report = stage.publish_when_given_away(&desired).await?;
    assert!(matches!(only(&report), Outcome::Applied { reason: ApplyReason::Adopted, .. }), "{report:?}");
    assert_eq!(stage.spec(Kind::Schedule, "shop").await?, nightly());
    assert_eq!(stage.publish(&desired).await?.changes(), 0);
    Ok(())
}

#[tokio::test]
async fn what_is_set_at_creation_stays_and_belongs_to_others() -> anyhow::Result<()> {
    let mut stage = Stage::set().await?;
    let mut desired = [stage.schedule("shop", "h1", nightly())];
    desired[0].at_creation = Some(json!({"spec": {"skipImmediately": true}}));
    stage.publish(&desired).await?;
    assert_eq!(stage.spec(Kind::Schedule, "shop").await?["skipImmediately"], true);

    desired[0].content_hash = "h2".to_owned();
    desired[0].value["metadata"]["labels"][CONTENT_HASH] = json!("h2");
    assert_eq!(stage.publish(&desired).await?.changes(), 1);
    assert_eq!(stage.spec(Kind::Schedule, "shop").await?["skipImmediately"], true);

    // The change of the label makes sure that the watch has told of the one before it.
    stage.edit("shop", json!({"spec": {"skipImmediately": false}})).await?;
    stage.edit("shop", json!({"metadata": {"labels": {CONTENT_HASH: "forged"}}})).await?;
    let report = stage.publish_when_woken(&desired).await?;
    assert!(
        matches!(only(&report), Outcome::Applied { reason: ApplyReason::Drifted { fields }, .. } if fields.len() == 1),
        "{report:?}"
    );
    assert_eq!(stage.spec(Kind::Schedule, "shop").await?["skipImmediately"], false);
    Ok(())
}

#[tokio::test]
async fn a_person_may_pause_a_schedule_and_a_policy_gives_its_own_pause_back() -> anyhow::Result<()> {
    let mut stage = Stage::set().await?;
    let awake = [stage.schedule("shop", "h1", nightly())];
    let mut spec = nightly();
    spec["paused"] = json!(true);
    let suspended = [stage.schedule("shop", "h2", spec)];

    stage.publish(&suspended).await?;
    assert_eq!(stage.spec(Kind::Schedule, "shop").await?["paused"], true);
    stage.publish(&awake).await?;
    assert_eq!(stage.spec(Kind::Schedule, "shop").await?["paused"], Value::Null);

    stage.edit("shop", json!({"spec": {"paused": true}})).await?;
    assert_eq!(stage.publish(&awake).await?.changes(), 0);
    assert_eq!(stage.spec(Kind::Schedule, "shop").await?["paused"], true);
    Ok(())
}

#[tokio::test]
async fn a_schedule_that_no_policy_asks_for_is_removed_and_what_others_made_is_not() -> anyhow::Result<()> {
    let mut stage = Stage::set().await?;
    let location = json!({"provider": "aws", "objectStorage": {"bucket": "backups"}});
    let desired = [
        stage.schedule("gone", "h1", nightly()),
        stage.schedule("kept", "h1", nightly()),
        stage.desired(Kind::BackupStorageLocation, "default", "h1", location),
    ];
    stage.publish(&desired).await?;
    let mut theirs = stage.schedule("theirs", "h1", nightly()).value;
    theirs["metadata"]["labels"] = json!({SOURCE: US});
    stage.api(Kind::Schedule).create(&Default::default(), &serde_json::from_value(theirs)?).await?;

    let report = stage.publish_when_woken(&desired[1..2]).await?;
    assert_eq!(report.changes(), 1, "{report:?}");
    let left = stage.api(Kind::Schedule).list(&ListParams::default()).await?;
    let mut left: Vec<String> =
        left.items.into_iter().filter_map(|schedule| schedule.metadata.name).collect();
    left.sort();
    assert_eq!(left, ["kept", "theirs"]);
    assert!(stage.api(Kind::BackupStorageLocation).get_opt("default").await?.is_some());
    Ok(())
}

#[tokio::test]
async fn a_location_is_never_removed_and_nothing_generated_has_an_owner() -> anyhow::Result<()> {
    let mut stage = Stage::set().await?;
    let location = json!({"provider": "aws", "objectStorage": {"bucket": "backups"}});
    let rules = stage.desired(Kind::ConfigMap, "shop-0123456789", "h1", Value::Null);
    let desired = [
        stage.desired(Kind::BackupStorageLocation, "default", "h1", location),
        stage.desired(Kind::VolumeSnapshotLocation, "ebs", "h1", json!({"provider": "aws"})),
        stage.desired(Kind::Backup, "shop-before", "h1", json!({"ttl": "1h0m0s"})),
        stage.schedule("shop", "h1", nightly()),
        rules,
    ];
    stage.publish(&desired).await?;
    for desired in &desired {
        let live = stage.api(desired.key.kind).get(&desired.key.name).await?;
        assert!(live.owner_references().is_empty(), "{}", desired.key);
        let manager = live.managed_fields()[0].manager.as_deref();
        assert_eq!(manager, Some("holdfast/policies"), "{}", desired.key);
    }
    let report = stage.publish_when_woken(&desired[3..]).await?;
    for kind in [Kind::BackupStorageLocation, Kind::VolumeSnapshotLocation] {
        let left = report.outcomes.iter().find(|(key, _)| key.kind == kind).map(|(_, outcome)| outcome);
        assert!(matches!(left, Some(Outcome::Left(LeaveReason::NotPruned))), "{report:?}");
    }
    assert!(stage.api(Kind::Backup).get_opt("shop-before").await?.is_some());
    Ok(())
}

#[tokio::test]
async fn objects_of_another_source_change_hands_only_by_the_annotation() -> anyhow::Result<()> {
    let mut stage = Stage::set().await?;
    let mut theirs = stage.schedule("shop", "h0", json!({"schedule": "@weekly", "template": {}})).value;
    theirs["metadata"]["labels"] = json!({SOURCE: "another", CONTENT_HASH: "h0"});
    let another = PatchParams::apply("holdfast/another");
    stage.api(Kind::Schedule).patch("shop", &another, &Patch::Apply(theirs)).await?;

    let desired = [stage.schedule("shop", "h1", nightly())];
    let report = stage.publish_when_woken(&desired).await?;
    let Outcome::Left(LeaveReason::NotOurs { source }) = only(&report) else { panic!("{report:?}") };
    assert_eq!(source.as_deref(), Some("another"));

    stage.edit("shop", json!({"metadata": {"annotations": {"holdfast.dev/adopt": US}}})).await?;
    let report = stage.publish_when_given_away(&desired).await?;
    assert!(matches!(only(&report), Outcome::Applied { reason: ApplyReason::Adopted, .. }), "{report:?}");
    assert_eq!(stage.spec(Kind::Schedule, "shop").await?, nightly());
    Ok(())
}
