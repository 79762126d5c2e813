//! `holdfast backup now`: a run of a schedule that the clock did not ask for.

use std::process::ExitCode;

use anyhow::{Context as _, bail};
use chrono::{DateTime, TimeDelta, Utc};
use holdfast_policy::annotations::{POLICY, SCHEDULED_AT};
use holdfast_policy::velero::{self, Backup, Schedule};
use kube::{Api, ResourceExt as _};

use crate::cli::flags::ClusterFlags;
use crate::cli::follow::Afterwards;
use crate::cli::retention::source::all;
use crate::clock;
use crate::controllers::schedule::template;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The policy, or a Schedule by its whole name.
    policy: String,
    /// Which of the policy's schedules, where it has several.
    #[arg(long, value_name = "NAME")]
    schedule: Option<String>,
    /// The name of the backup; without it the schedule's with the time.
    #[arg(long)]
    name: Option<String>,
    #[command(flatten)]
    afterwards: Afterwards,
    #[command(flatten)]
    cluster: ClusterFlags,
}

pub(super) fn run(args: Args) -> anyhow::Result<ExitCode> {
    let Args { policy, schedule, name, afterwards, cluster } = args;
    let namespace = cluster.namespace.clone();
    let made = cluster.with_client(async |client| {
        let schedules: Vec<Schedule> = all(&client, &namespace).await?;
        let schedule = choose(&schedules, &policy, schedule.as_deref())?;
        let backups: Api<Backup> = Api::namespaced(client, &namespace);
        let now = free_instant(&backups, &schedule.name_any(), clock::system()()).await?;
        let backup = backup(schedule, name.as_deref(), now);
        afterwards.make(&backups, &backup).await
    });
    afterwards.tell(made)
}

/// The schedule that is meant.
fn choose<'a>(schedules: &'a [Schedule], policy: &str, asked: Option<&str>) -> anyhow::Result<&'a Schedule> {
    let short = velero::short_name(policy);
    let of_policy = |schedule: &&Schedule| schedule.labels().get(POLICY) == Some(&short);
    let mut candidates: Vec<&Schedule> = schedules.iter().filter(of_policy).collect();
    if candidates.is_empty() {
        candidates.extend(schedules.iter().find(|schedule| schedule.name_any() == policy));
    }
    if let Some(asked) = asked {
        let whole = format!("{policy}-{asked}");
        candidates.retain(|schedule| [asked, &whole].contains(&schedule.name_any().as_str()));
    }
    match (candidates.as_slice(), asked) {
        ([schedule], _) => Ok(schedule),
        ([], Some(asked)) => bail!("policy {policy} has no schedule {asked} in this cluster"),
        ([], None) => {
            bail!("there is no policy {policy} with a schedule in this cluster, and no Schedule of that name")
        }
        (several, _) => {
            let names: Vec<String> = several.iter().map(|schedule| schedule.name_any()).collect();
            bail!("policy {policy} has several schedules: choose with --schedule one of {}", names.join(", "))
        }
    }
}

/// The first second from now on whose name no backup has: the schedule itself may have run in this one.
async fn free_instant(
    backups: &Api<Backup>,
    schedule: &str,
    now: DateTime<Utc>,
) -> anyhow::Result<DateTime<Utc>> {
    const SECONDS: i64 = 60;
    for second in 0..SECONDS {
        let instant = now + TimeDelta::seconds(second);
        let name = template::backup_name(schedule, instant);
        let taken = backups.get_opt(&name).await.with_context(|| format!("cannot look for backup {name}"))?;
        if taken.is_none() {
            return Ok(instant);
        }
    }
    bail!(
        "schedule {schedule} has a backup for every second of the next minute: choose with --name another name"
    )
}

/// As the schedule makes it, but for the instant: no run of the schedule is taken for done.
fn backup(schedule: &Schedule, name: Option<&str>, now: DateTime<Utc>) -> Backup {
    let usual = template::backup_name(&schedule.name_any(), now);
    let mut backup = template::backup(schedule, name.unwrap_or(&usual), now);
    backup.annotations_mut().remove(SCHEDULED_AT);
    backup
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn schedule(name: &str, policy: Option<&str>) -> Schedule {
        let labels = policy.map_or(json!({}), |policy| json!({"holdfast.dev/policy": policy}));
        let value = json!({
            "metadata": {"name": name, "namespace": "velero", "labels": labels},
            "spec": {"schedule": "@daily", "template": {"includedNamespaces": ["shop"]}},
        });
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn a_policy_with_one_schedule_needs_no_more_words() {
        let schedules = [
            schedule("shop-hourly", Some("shop")),
            schedule("shop-nightly", Some("shop")),
            schedule("web-nightly", Some("web")),
            schedule("by-hand", None),
        ];
        let chosen = |policy: &str, asked: Option<&str>| match choose(&schedules, policy, asked) {
            Ok(schedule) => schedule.name_any(),
            Err(error) => error.to_string(),
        };
        assert_eq!(chosen("web", None), "web-nightly");
        assert_eq!(chosen("by-hand", None), "by-hand");
        assert_eq!(chosen("shop", Some("nightly")), "shop-nightly");
        assert_eq!(chosen("shop", Some("shop-hourly")), "shop-hourly");
        assert_eq!(
            chosen("shop", None),
            "policy shop has several schedules: choose with --schedule one of shop-hourly, shop-nightly"
        );
        assert_eq!(chosen("shop", Some("weekly")), "policy shop has no schedule weekly in this cluster");
        assert!(chosen("none", None).starts_with("there is no policy none with a schedule"));
    }

    #[test]
    fn the_backup_is_a_run_of_the_schedule_that_no_instant_is_done_by() {
        let made =
            backup(&schedule("shop-nightly", Some("shop")), None, "2026-11-23T10:00:00Z".parse().unwrap());
        assert_eq!(made.name_any(), "shop-nightly-20261123100000");
        assert_eq!(made.labels()["velero.io/schedule-name"], "shop-nightly");
        assert!(!made.annotations().contains_key(SCHEDULED_AT));
        assert_eq!(made.spec.included_namespaces, ["shop"]);
    }
}
