//! What is made once.

use holdfast::publish::act::Outcome;
use holdfast::publish::bucket::Verdict;
use holdfast::publish::decide::LeaveReason;
use holdfast::publish::object::Kind;
use kube::api::DeleteParams;
use serde_json::json;

use crate::stage::{Stage, only};

#[tokio::test]
async fn a_backup_is_made_once_and_not_again_when_it_is_gone() -> anyhow::Result<()> {
    let mut stage = Stage::set().await?;
    let desired = [stage.desired(Kind::Backup, "shop-before", "h1", json!({"ttl": "1h0m0s"}))];
    let report = stage.publish(&desired).await?;
    assert!(matches!(only(&report), Outcome::Created), "{report:?}");
    stage.api(Kind::Backup).delete("shop-before", &DeleteParams::default()).await?;
    let report = stage.publish(&desired).await?;
    assert!(matches!(only(&report), Outcome::Left(LeaveReason::RanBefore)), "{report:?}");
    assert!(stage.api(Kind::Backup).get_opt("shop-before").await?.is_none());
    Ok(())
}

#[tokio::test]
async fn what_the_bucket_knows_is_not_made_and_what_it_may_know_waits() -> anyhow::Result<()> {
    let mut stage = Stage::set().await?;
    let desired = [stage.desired(Kind::Backup, "shop-before", "h1", json!({"ttl": "1h0m0s"}))];
    let unread = Verdict::Unread { why: "no such bucket".to_owned() };
    stage.verdicts.insert(desired[0].key.clone(), unread);
    let report = stage.publish(&desired).await?;
    assert!(matches!(only(&report), Outcome::Left(LeaveReason::BucketUnread { .. })), "{report:?}");
    stage.verdicts.insert(desired[0].key.clone(), Verdict::Ran);
    let report = stage.publish(&desired).await?;
    assert!(matches!(only(&report), Outcome::Left(LeaveReason::RanBefore)), "{report:?}");
    // From then on it is remembered without the bucket.
    stage.verdicts.clear();
    let report = stage.publish(&desired).await?;
    assert!(matches!(only(&report), Outcome::Left(LeaveReason::RanBefore)), "{report:?}");
    assert!(stage.api(Kind::Backup).get_opt("shop-before").await?.is_none());
    Ok(())
}
