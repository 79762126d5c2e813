//! Metrics are those of the cluster and its bucket, not those of the process.

use holdfast_policy::velero::{BackupPhase, Schedule, ScheduleSpec};
use holdfast_tests::Daemon;
use holdfast_tests::waiting::until;
use pretty_assertions::assert_eq;

use crate::deletion::{ask, gone};
use crate::home::{Home, PATIENCE, backup_of};

/// The series that tell of what has happened, but for those that move with the clock.
async fn counted(daemon: &Daemon) -> anyhow::Result<Vec<String>> {
    const COUNTED: [&str; 7] = [
        "velero_backup_attempt_total",
        "velero_backup_success_total",
        "velero_backup_last_successful_timestamp",
        "velero_backup_last_status",
        "velero_backup_items_total",
        "velero_backup_tarball_size_bytes",
        "velero_backup_total",
    ];
    let text = reqwest::get(daemon.metrics_url()).await?.text().await?;
    let counts = |line: &&str| COUNTED.iter().any(|name| line.starts_with(name));
    let mut lines: Vec<String> = text.lines().filter(counts).map(str::to_owned).collect();
    lines.sort();
    Ok(lines)
}

/// The age of the schedule's newest whole backup in seconds.
async fn recovery_point_age(daemon: &Daemon, schedule: &str) -> anyhow::Result<Option<f64>> {
    let text = reqwest::get(daemon.metrics_url()).await?.text().await?;
    let series = format!("holdfast_recovery_point_age_seconds{{schedule=\"{schedule}\"}} ");
    Ok(text.lines().find_map(|line| line.strip_prefix(&series)?.parse().ok()))
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_of_before_a_restart_are_there_after_it() -> anyhow::Result<()> {
    let home = Home::new("figures").await?;
    let daemon = home.daemon(&["--cluster-name=prod"]).await?;
    home.local_location().await?;
    let spec = ScheduleSpec {
        schedule: "0 0 1 1 *".to_owned(),
        template: backup_of(&home.namespace),
        ..ScheduleSpec::default()
    };
    home.runs.create(&Schedule::new("yearly", spec)).await?;
    let by_hand = home.runs.backup("by-hand", backup_of(&home.namespace), PATIENCE).await?;
    assert_eq!(by_hand.status_phase(), BackupPhase::Completed);
    let success = r#"velero_backup_success_total{schedule="yearly"} 1"#;
    let told = async || Ok(counted(&daemon).await?.iter().any(|line| line == success).then_some(()));
    until("the success of the schedule's backup", PATIENCE, told).await?;
    let before = counted(&daemon).await?;
    assert!(before.iter().any(|line| line == r#"velero_backup_success_total{schedule=""} 1"#), "{before:#?}");
    assert!(before.iter().any(|line| line == "velero_backup_total 2"), "{before:#?}");
    let age = recovery_point_age(&daemon, "yearly").await?;
    assert!(age.is_some_and(f64::is_finite), "{age:?}");
    daemon.stop().await?;

    let daemon = home.daemon(&["--cluster-name=prod"]).await?;
    assert_eq!(counted(&daemon).await?, before);
    assert!(recovery_point_age(&daemon, "yearly").await? >= age);

    ask(&home, &by_hand).await?;
    gone(&home, "by-hand").await?;
    let fewer =
        async || Ok(counted(&daemon).await?.iter().any(|it| it == "velero_backup_total 1").then_some(()));
    until("one backup less", PATIENCE, fewer).await
}
