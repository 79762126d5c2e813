//! When a Schedule makes its backups.

use std::collections::BTreeSet;

use chrono::{DateTime, Duration, Utc};
use futures::{StreamExt, TryStreamExt};
use holdfast::controllers::schedule::template;
use holdfast_policy::time::{from_chrono, to_chrono};
use holdfast_policy::velero::{Backup, Schedule, SchedulePhase, ScheduleSpec, labels};
use holdfast_tests::waiting::until;
use kube::ResourceExt;
use kube::api::ListParams;
use pretty_assertions::assert_eq;

use crate::home::{Home, PATIENCE, backup_of, logged};

/// Never due while a test runs.
const YEARLY: &str = "0 0 1 1 *";

fn schedule(home: &Home, name: &str, expression: &str) -> Schedule {
    let spec = ScheduleSpec {
        schedule: expression.to_owned(),
        template: backup_of(&home.namespace),
        ..ScheduleSpec::default()
    };
    Schedule::new(name, spec)
}

async fn backups_of(home: &Home, schedule: &str) -> anyhow::Result<Vec<Backup>> {
    let selector = format!("{}={schedule}", labels::SCHEDULE_NAME);
    Ok(home.runs.api::<Backup>().list(&ListParams::default().labels(&selector)).await?.items)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_schedule_makes_its_first_backup_at_once_and_its_spec_stays_as_it_was() -> anyhow::Result<()> {
    let home = Home::new("first").await?;
    let _daemon = home.daemon(&[]).await?;
    home.local_location().await?;
    let created = schedule(&home, "yearly", YEARLY);
    home.runs.create(&created).await?;
    let seen: Schedule =
        home.runs.ended("yearly", PATIENCE, |it: &Schedule| it.status.last_backup.is_some()).await?;
    assert_eq!(seen.spec, created.spec);
    assert_eq!(seen.status.phase, Some(SchedulePhase::Enabled));
    let backups = backups_of(&home, "yearly").await?;
    assert_eq!(backups.len(), 1);
    let instant = to_chrono(seen.status.last_backup.as_ref().unwrap());
    assert_eq!(backups[0].name_any(), format!("yearly-{}", instant.format("%Y%m%d%H%M%S")));
    assert_eq!(backups[0].spec.included_namespaces, created.spec.template.included_namespaces);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn later_backups_carry_the_instants_at_which_they_were_due() -> anyhow::Result<()> {
    let home = Home::new("often").await?;
    let _daemon = home.daemon(&[]).await?;
    home.local_location().await?;
    home.runs.create(&schedule(&home, "often", "@every 2s")).await?;
    let first: Schedule =
        home.runs.ended("often", PATIENCE, |it: &Schedule| it.status.last_backup.is_some()).await?;
    let start = to_chrono(first.status.last_backup.as_ref().unwrap());
    for run in 1..=2 {
        let name = format!("often-{}", (start + chrono::TimeDelta::seconds(2 * run)).format("%Y%m%d%H%M%S"));
        let ended = |backup: &Backup| backup.status_phase().has_ended();
        home.runs.ended(&name, PATIENCE, ended).await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rebuilt_cluster_does_not_begin_with_a_backup_of_its_emptiness() -> anyhow::Result<()> {
    let home = Home::new("rebuilt").await?;
    let _daemon = home.daemon(&[]).await?;
    for folder in ["yearly-20261101020304", "yearly-20261003020304", "yearly-by-hand"] {
        std::fs::create_dir_all(home.bucket().join("backups").join(folder))?;
        std::fs::write(home.bucket().join("backups").join(folder).join("velero-backup.json"), "{}")?;
    }
    home.local_location().await?;
    home.runs.create(&schedule(&home, "yearly", YEARLY)).await?;
    let seen: Schedule =
        home.runs.ended("yearly", PATIENCE, |it: &Schedule| it.status.last_backup.is_some()).await?;
    let last = to_chrono(seen.status.last_backup.as_ref().unwrap());
    assert_eq!(last.to_rfc3339(), "2026-11-01T02:03:04+00:00");
    assert_eq!(backups_of(&home, "yearly").await?.len(), 0);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_backup_that_is_to_be_skipped_is_noted_in_the_status_alone() -> anyhow::Result<()> {
    let home = Home::new("skip").await?;
    let daemon = home.daemon(&[]).await?;
    home.local_location().await?;
    let mut created = schedule(&home, "yearly", YEARLY);
    created.spec.skip_immediately = Some(true);
    home.runs.create(&created).await?;
    let seen: Schedule =
        home.runs.ended("yearly", PATIENCE, |it: &Schedule| it.status.last_skipped.is_some()).await?;
    assert_eq!(seen.spec, created.spec);
    logged(&daemon, &["\"schedule\":\"yearly\"", "Skip", "First"]).await?;
    assert_eq!(backups_of(&home, "yearly").await?.len(), 0);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_schedule_says_so_also_while_it_is_paused_and_a_mended_one_is_enabled() -> anyhow::Result<()>
{
    let home = Home::new("wrong").await?;
    let _daemon = home.daemon(&[]).await?;
    let mut created = schedule(&home, "wrong", "61 * * * *");
    created.spec.paused = true;
    home.runs.create(&created).await?;
    let seen: Schedule = home
        .runs
        .ended("wrong", PATIENCE, |it: &Schedule| it.status.phase == Some(SchedulePhase::FailedValidation))
        .await?;
    assert_eq!(seen.status.validation_errors.len(), 1);
    assert!(seen.status.validation_errors[0].starts_with("invalid schedule: "), "{:?}", seen.status);
    let right = kube::api::Patch::Merge(serde_json::json!({"spec": {"schedule": "1 * * * *"}}));
    home.runs.api::<Schedule>().patch("wrong", &Default::default(), &right).await?;
    let is_right = |it: &Schedule| it.status.phase == Some(SchedulePhase::Enabled);
    let seen: Schedule = home.runs.ended("wrong", PATIENCE, is_right).await?;
    assert_eq!(seen.status.validation_errors, Vec::<String>::new());
    Ok(())
}

/// What a crash between two steps of a run that was due leaves behind.
#[derive(Clone, Copy, Debug)]
enum Left {
    /// Nothing was written.
    Nothing,
    /// The backup is there, the status doesn't tell of it.
    Backup,
    /// Both are there.
    BackupAndStatus,
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_is_neither_lost_nor_doubled_by_a_crash_between_any_two_of_its_steps() -> anyhow::Result<()> {
    let home = Home::new("crashed").await?;
    // It installs the kinds, and is away when the schedules appear.
    home.daemon(&[]).await?.stop().await?;
    home.local_location().await?;
    let due: DateTime<Utc> = "2026-01-01T00:00:00Z".parse()?;
    let cases = [("nothing", Left::Nothing), ("backup", Left::Backup), ("both", Left::BackupAndStatus)];
    for (name, left) in cases {
        let mut crashed = schedule(&home, name, YEARLY);
        let last = match left {
            Left::Nothing | Left::Backup => due - Duration::days(365),
            Left::BackupAndStatus => due,
        };
        crashed.status.last_backup = Some(from_chrono(last));
        home.runs.create(&crashed).await?;
        if matches!(left, Left::Backup | Left::BackupAndStatus) {
            home.runs.create(&template::backup(&crashed, &template::backup_name(name, due), due)).await?;
        }
    }
    let _daemon = home.daemon(&[]).await?;
    for (name, left) in cases {
        let noted = |it: &Schedule| {
            it.status.phase == Some(SchedulePhase::Enabled)
                && it.status.last_backup.as_ref().is_some_and(|last| to_chrono(last) >= due)
        };
        home.runs.ended(name, PATIENCE, noted).await?;
        let backups = backups_of(&home, name).await?;
        assert_eq!(backups.len(), 1, "{left:?}");
        assert_eq!(
            template::scheduled_at(&backups[0]).map(|at| at.to_rfc3339()),
            Some(due.to_rfc3339()),
            "{left:?}"
        );
        let ended = |backup: &Backup| backup.status_phase().has_ended();
        home.runs.ended(&backups[0].name_any(), PATIENCE, ended).await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_schedules_that_are_due_at_one_instant_all_run_once_also_across_a_crash()
-> anyhow::Result<()> {
    const SCHEDULES: usize = 1_000;
    let home = Home::new("many").await?;
    // It installs the kinds, and is away when the schedules appear and their instant passes.
    home.daemon(&[]).await?.stop().await?;
    home.local_location().await?;
    let due: DateTime<Utc> = "2026-01-01T00:00:00Z".parse()?;
    let created = (0..SCHEDULES).map(|number| {
        let mut created = schedule(&home, &format!("s-{number}"), YEARLY);
        created.status.last_backup = Some(from_chrono(due - Duration::days(365)));
        let home = &home;
        async move { home.runs.create(&created).await }
    });
    futures::stream::iter(created).buffer_unordered(32).try_collect::<()>().await?;

    let runs = async || anyhow::Ok(home.runs.api::<Backup>().list(&ListParams::default()).await?.items);
    let arguments = ["--disable-controllers=backup"];
    let daemon = home.daemon(&arguments).await?;
    let begun = async || Ok((!runs().await?.is_empty()).then_some(()));
    until("the first backup", PATIENCE, begun).await?;
    daemon.kill()?;

    let _daemon = home.daemon(&arguments).await?;
    let schedules = home.runs.api::<Schedule>();
    let all_noted = async || {
        let schedules = schedules.list(&ListParams::default()).await?.items;
        let noted = |it: &Schedule| it.status.last_backup.as_ref().is_some_and(|last| to_chrono(last) >= due);
        Ok(schedules.iter().all(noted).then_some(()))
    };
    until("every schedule's run", PATIENCE, all_noted).await?;
    let backups = runs().await?;
    let of: BTreeSet<&str> =
        backups.iter().filter_map(|it| it.labels().get(labels::SCHEDULE_NAME)).map(String::as_str).collect();
    assert_eq!((backups.len(), of.len()), (SCHEDULES, SCHEDULES));
    assert!(backups.iter().all(|backup| template::scheduled_at(backup) == Some(due)));
    Ok(())
}
