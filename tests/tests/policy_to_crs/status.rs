//! What a PolicySet tells people.

use std::fs;
use std::time::{Duration, Instant};

use chrono::{DateTime, SubsecRound as _, TimeDelta, Utc};
use futures::{StreamExt as _, TryStreamExt as _};
use holdfast_policy::holdfast::PolicySet;
use holdfast_policy::holdfast::policy_set::{RecoveryPoint, ScheduleHealth};
use holdfast_policy::time::{from_chrono, to_chrono};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams, WatchEvent, WatchParams};
use pretty_assertions::assert_eq;
use serde_json::json;

use crate::stage::{IN_FORCE, SOON, Stage, policy, write};

const NIGHTLY: &str = "apiVersion: holdfast.dev/v1alpha1\n\
    kind: BackupPolicy\n\
    metadata: {name: shop}\n\
    spec:\n  select: {namespaces: {include: [shop]}}\n  \
    schedules: [{name: nightly, cron: \"0 1 * * *\", timeZone: Europe/Berlin, jitter: 10m, skipImmediately: true}]\n";

#[expect(clippy::disallowed_methods, reason = "the daemon under test has the system's clock")]
fn now() -> DateTime<Utc> {
    Utc::now().trunc_subsecs(0)
}

/// A Backup as the Schedule's run leaves it.
async fn backup(stage: &Stage, name: &str, started: DateTime<Utc>) -> anyhow::Result<()> {
    let object = json!({
        "apiVersion": "velero.io/v1",
        "kind": "Backup",
        "metadata": {"name": name, "labels": {"velero.io/schedule-name": "shop-nightly"}},
        "spec": {},
        "status": {"phase": "Completed", "startTimestamp": from_chrono(started)},
    });
    stage.backups().create(&PostParams::default(), &serde_json::from_value(object)?).await?;
    Ok(())
}

async fn health(
    stage: &Stage,
    expected: impl Fn(&ScheduleHealth) -> bool,
) -> anyhow::Result<(PolicySet, ScheduleHealth)> {
    let start = Instant::now();
    loop {
        let set = stage.policy_set("policies").await.ok();
        let health = set.as_ref().and_then(|set| set.status.as_ref()?.schedules.first().cloned());
        if let Some((set, health)) = set.zip(health.clone()).filter(|(_, health)| expected(health)) {
            return Ok((set, health));
        }
        anyhow::ensure!(start.elapsed() < SOON, "{health:?}\n{}", stage.log());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn condition(set: &PolicySet, kind: &str) -> Option<String> {
    let conditions = &set.status.as_ref()?.conditions;
    let condition = conditions.iter().find(|condition| condition.type_ == kind)?;
    Some(format!("{} {}", condition.status, condition.reason))
}

#[tokio::test(flavor = "multi_thread")]
async fn each_schedule_tells_its_last_good_backup_its_next_run_and_its_objective() -> anyhow::Result<()> {
    let stage = Stage::set(&[], &[("shop.yaml", NIGHTLY.to_owned())]).await?;
    let (set, health) = self::health(&stage, |_| true).await?;
    assert_eq!((health.name.as_str(), health.policy.as_str()), ("shop-nightly", "shop"));
    assert_eq!((health.last_good_backup, health.recovery_point), (None, RecoveryPoint::Unknown));
    assert_eq!(health.time_zone, "Europe/Berlin");
    assert_eq!(condition(&set, "RecoveryPointsMet").as_deref(), Some("Unknown TooEarly"));
    let next = to_chrono(&health.next_run.unwrap());
    assert!(next > now() && next < now() + TimeDelta::hours(26), "{next}");
    // 01:00 in Berlin and less than ten minutes of jitter, in summer or in winter.
    let text = next.format("%H:%M:%S").to_string();
    assert!(text.starts_with("00:0") || text.starts_with("23:0"), "{text}");
    assert!(health.jitter.is_some());

    let old = now() - TimeDelta::days(3);
    backup(&stage, "shop-nightly-1", old).await?;
    let (set, health) = self::health(&stage, |health| health.recovery_point == RecoveryPoint::Missed).await?;
    assert_eq!(health.last_good_time, Some(from_chrono(old)));
    assert_eq!(condition(&set, "RecoveryPointsMet").as_deref(), Some("False Missed"));
    assert_eq!(condition(&set, "Ready").as_deref(), Some("True InForce"));
    assert_eq!(set.status.unwrap().missed_count, 1);

    let fresh = now() - TimeDelta::minutes(1);
    backup(&stage, "shop-nightly-2", fresh).await?;
    let (set, health) = self::health(&stage, |health| health.recovery_point == RecoveryPoint::Met).await?;
    assert_eq!(health.last_good_backup.as_deref(), Some("shop-nightly-2"));
    assert!(health.met_until.is_some_and(|until| to_chrono(&until) > now() + TimeDelta::hours(20)));
    assert_eq!(condition(&set, "RecoveryPointsMet").as_deref(), Some("True Met"));

    // A suspect one is not good, so that without the one before it the oldest is the last good one.
    backup(&stage, "shop-nightly-3", now() - TimeDelta::seconds(30)).await?;
    let suspect = json!({"metadata": {"annotations": {"holdfast.dev/suspect": "3 objects, after 30"}}});
    stage.backups().patch("shop-nightly-3", &PatchParams::default(), &Patch::Merge(suspect)).await?;
    stage.backups().delete("shop-nightly-2", &DeleteParams::default()).await?;
    let (_, health) = self::health(&stage, |health| health.recovery_point == RecoveryPoint::Missed).await?;
    assert_eq!(health.last_good_backup.as_deref(), Some("shop-nightly-1"));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn kubectl_waits_for_a_policy_set_and_shows_a_bad_edit() -> anyhow::Result<()> {
    let stage = Stage::set(&[], &[("shop.yaml", policy("shop", "0 1 * * *"))]).await?;
    stage.becomes(&["shop-nightly 0 1 * * *"], SOON).await?;
    let set = stage.condition("policies", "Ready", "True InForce").await?;
    let waited =
        stage.kubectl(&["wait", "--for=condition=Ready", "--timeout=30s", "policyset/policies"]).await?;
    assert_eq!(waited, "policyset.holdfast.dev/policies condition met\n");
    let generation = set.metadata.generation;
    let status = set.status.unwrap();
    assert_eq!(status.observed_generation, generation);
    for condition in &status.conditions {
        assert_eq!(condition.observed_generation, generation, "{condition:?}");
    }
    let kinds: Vec<&str> = status.conditions.iter().map(|condition| condition.type_.as_str()).collect();
    assert_eq!(kinds[..3], ["Ready", "Reconciling", "Stalled"]);

    write(&stage.policies.join("shop.yaml"), "kind: Nonsense\n")?;
    stage.kubectl(&["wait", "--for=condition=Stalled", "--timeout=30s", "policyset/policies"]).await?;
    let shown = stage.kubectl(&["get", "policyset"]).await?;
    let lines: Vec<Vec<&str>> = shown.lines().map(|line| line.split_whitespace().collect()).collect();
    let [head, row] = lines.as_slice() else { panic!("{shown}") };
    assert_eq!(head[..], ["NAME", "READY", "REASON", "OBJECTS", "PROBLEMS", "MISSED", "AGE"]);
    assert_eq!(row[..4], ["policies", "False", "Invalid", "1"]);
    assert_ne!(row[4], "0", "{shown}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_git_commit_is_told_by_a_checkout_or_an_annotation() -> anyhow::Result<()> {
    const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";
    let mut stage = Stage::set(&[], &[("shop.yaml", policy("shop", "0 1 * * *"))]).await?;
    let set = stage.condition("policies", "Ready", "True InForce").await?;
    assert_eq!(set.status.unwrap().in_force.unwrap().git_revision, None);
    stage.daemon.take().unwrap().stop().await?;
    // Beside the directory, as in a checkout whose folder it is.
    fs::create_dir(stage.policies.with_file_name(".git"))?;
    write(&stage.policies.with_file_name(".git").join("HEAD"), COMMIT)?;
    let map: ConfigMap = serde_json::from_value(json!({
        "metadata": {"name": "team", "annotations": {"holdfast.dev/git-revision": "main@sha1:1"}},
        "data": {"policy.yaml": policy("team", "0 2 * * *")},
    }))?;
    let maps: Api<ConfigMap> = Api::namespaced(stage.client.clone(), &stage.namespace);
    maps.create(&PostParams::default(), &map).await?;
    stage.start(&[&format!("--policy-configmap=team={}/team", stage.namespace)]).await?;
    stage.git_revision("policies", COMMIT).await?;
    stage.git_revision("team", "main@sha1:1").await?;

    // A commit that changed other files only.
    let published = stage.log().matches("published policies").count();
    let next = json!({"metadata": {"annotations": {"holdfast.dev/git-revision": "main@sha1:2"}}});
    maps.patch("team", &PatchParams::default(), &Patch::Merge(next)).await?;
    stage.git_revision("team", "main@sha1:2").await?;
    assert_eq!(stage.log().matches("published policies").count(), published, "nothing was published again");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_status_is_written_when_it_changed_and_no_more_than_once_a_second() -> anyhow::Result<()> {
    let stage = Stage::set(&[], &[("shop.yaml", NIGHTLY.to_owned())]).await?;
    stage.condition("policies", "Ready", "True InForce").await?;
    let (set, _) = health(&stage, |_| true).await?;
    let sets: Api<PolicySet> = Api::namespaced(stage.client.clone(), &stage.namespace);
    let version = set.metadata.resource_version.unwrap_or_default();
    let mut events = sets.watch(&WatchParams::default().timeout(6), &version).await?.boxed();
    let start = Instant::now();
    for number in 0..40 {
        // Each is another problem, so that each would be another status.
        write(&stage.policies.join("shop.yaml"), &format!("kind: Nonsense{number}\n"))?;
        backup(&stage, &format!("shop-nightly-{number}"), now() - TimeDelta::minutes(number)).await?;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let seconds = start.elapsed().as_secs() + 6;
    let mut writes = 0;
    while let Some(event) = events.try_next().await? {
        if matches!(event, WatchEvent::Modified(_)) {
            writes += 1;
        }
    }
    assert!(writes >= 1 && writes <= seconds, "{writes} writes in {seconds} s\n{}", stage.log());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn files_without_policies_remove_nothing() -> anyhow::Result<()> {
    let stage = Stage::set(&[], &[("shop.yaml", policy("shop", "0 1 * * *"))]).await?;
    stage.becomes(&["shop-nightly 0 1 * * *"], SOON).await?;
    write(&stage.policies.join("shop.yaml"), "# moved elsewhere\n")?;
    let set = stage.condition("policies", "Stalled", "True SourceUnavailable").await?;
    let stalled = set.status.unwrap().conditions.into_iter().find(|one| one.type_ == "Stalled").unwrap();
    let expected = format!("the policy files of directory {} hold no policies", stage.policies.display());
    assert_eq!(stalled.message, expected);
    assert_eq!(stage.published().await?, ["shop-nightly 0 1 * * *"]);

    write(&stage.policies.join("shop.yaml"), &policy("shop", "0 2 * * *"))?;
    stage.becomes(&["shop-nightly 0 2 * * *"], IN_FORCE).await?;
    Ok(())
}
