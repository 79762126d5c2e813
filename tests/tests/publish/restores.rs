//! Restores of policies: only with a word, only here, only in time, and of the backup that was the latest then.

use chrono::TimeDelta;
use holdfast::publish::act::Outcome;
use holdfast::publish::decide::LeaveReason;
use holdfast::publish::object::{Desired, Kind};
use holdfast_policy::compile::{RestoreFrom, RestoreGate};
use holdfast_policy::model::restore::Approval;
use kube::api::PostParams;
use pretty_assertions::assert_eq;
use serde_json::json;

use crate::stage::{Stage, only};

fn restore(stage: &Stage, from: RestoreFrom) -> Desired {
    let spec = match &from {
        RestoreFrom::Backup(backup) => json!({"backupName": backup}),
        RestoreFrom::LatestOf { schedule } => json!({"scheduleName": schedule}),
    };
    Desired {
        gate: Some(RestoreGate {
            approval: Approval::Automatic,
            clusters: vec!["staging".to_owned(), "prod".to_owned()],
            not_after: None,
            from,
        }),
        ..stage.desired(Kind::Restore, "drill-12345678", "h1", spec)
    }
}

fn gated(stage: &Stage, change: impl FnOnce(&mut RestoreGate)) -> [Desired; 1] {
    let mut restore = restore(stage, RestoreFrom::Backup("shop-nightly-1".to_owned()));
    if let Some(gate) = &mut restore.gate {
        change(gate);
    }
    [restore]
}

async fn backup(stage: &Stage, name: &str, phase: &str, started: &str) -> anyhow::Result<()> {
    let object = json!({
        "apiVersion": "velero.io/v1", "kind": "Backup",
        "metadata": {"name": name, "labels": {"velero.io/schedule-name": "shop-nightly"}},
        "spec": {}, "status": {"phase": phase, "startTimestamp": started},
    });
    stage.api(Kind::Backup).create(&PostParams::default(), &serde_json::from_value(object)?).await?;
    Ok(())
}

#[tokio::test]
async fn a_restore_waits_for_its_approval() -> anyhow::Result<()> {
    let mut stage = Stage::set().await?;
    let desired = gated(&stage, |gate| gate.approval = Approval::Manual);
    let report = stage.publish(&desired).await?;
    let Outcome::Left(LeaveReason::AwaitsApproval { content_hash }) = only(&report) else {
        panic!("not waiting: {report:?}");
    };
    assert_eq!(content_hash, "h1");
    stage.approved.insert("another-12345678".to_owned());
    assert_eq!(stage.publish(&desired).await?.changes(), 0);
    assert!(stage.api(Kind::Restore).get_opt("drill-12345678").await?.is_none());

    stage.approved.insert("drill-12345678".to_owned());
    let report = stage.publish(&desired).await?;
    assert!(matches!(only(&report), Outcome::Created), "{report:?}");
    assert_eq!(stage.spec(Kind::Restore, "drill-12345678").await?["backupName"], "shop-nightly-1");
    Ok(())
}

#[tokio::test]
async fn a_restore_of_other_clusters_or_of_another_time_is_not_made() -> anyhow::Result<()> {
    let mut stage = Stage::set().await?;
    let elsewhere = gated(&stage, |gate| gate.clusters = vec!["staging".to_owned()]);
    let report = stage.publish(&elsewhere).await?;
    assert!(matches!(only(&report), Outcome::Left(LeaveReason::OtherCluster { .. })), "{report:?}");
    let before = stage.now - TimeDelta::seconds(1);
    let late = gated(&stage, |gate| gate.not_after = Some(before));
    let report = stage.publish(&late).await?;
    assert!(matches!(only(&report), Outcome::Left(LeaveReason::TooLate { .. })), "{report:?}");
    assert!(stage.api(Kind::Restore).get_opt("drill-12345678").await?.is_none());

    let now = stage.now;
    let in_time = gated(&stage, |gate| gate.not_after = Some(now));
    assert_eq!(stage.publish(&in_time).await?.changes(), 1);
    Ok(())
}

#[tokio::test]
async fn the_latest_completed_backup_is_pinned_when_the_restore_is_made() -> anyhow::Result<()> {
    let mut stage = Stage::set().await?;
    let desired = [restore(&stage, RestoreFrom::LatestOf { schedule: "shop-nightly".to_owned() })];
    let report = stage.publish(&desired).await?;
    assert!(matches!(only(&report), Outcome::Left(LeaveReason::NoCompletedBackup { .. })), "{report:?}");
    // By when they were started, whatever their names; what is not whole does not count.
    backup(&stage, "shop-nightly-9", "Completed", "2026-11-22T00:00:00Z").await?;
    backup(&stage, "shop-nightly-2", "Completed", "2026-11-23T00:00:00Z").await?;
    backup(&stage, "shop-nightly-3", "PartiallyFailed", "2026-11-24T00:00:00Z").await?;
    let report = stage.publish(&desired).await?;
    assert!(matches!(only(&report), Outcome::Created), "{report:?}");
    let pinned = json!({"backupName": "shop-nightly-2"});
    assert_eq!(stage.spec(Kind::Restore, "drill-12345678").await?, pinned);

    backup(&stage, "shop-nightly-4", "Completed", "2026-11-25T00:00:00Z").await?;
    let report = stage.publish(&desired).await?;
    assert!(matches!(only(&report), Outcome::Left(LeaveReason::RanBefore)), "{report:?}");
    assert_eq!(stage.spec(Kind::Restore, "drill-12345678").await?, pinned);
    Ok(())
}
