//! `holdfast next`: the next runs of schedules or of a cron expression, without a cluster.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use chrono::{DateTime, SecondsFormat, Utc};
use holdfast_policy::compile::Target;
use holdfast_policy::cron;
use holdfast_policy::next::{NextRuns, next_runs};
use serde_json::json;

use super::flags::Output;
use super::policies;
use crate::clock;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Policy files and directories; directories are read recursively.
    #[arg(required_unless_present = "cron", conflicts_with = "cron", value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// A cron expression instead of policies; prints one instant a line, in UTC.
    #[arg(long, value_name = "EXPR")]
    cron: Option<String>,
    /// The expression's time zone; one inside the expression wins.
    #[arg(long, value_name = "ZONE", requires = "cron")]
    time_zone: Option<String>,
    /// The instant after which runs are looked for; now, if not given.
    #[arg(long, value_name = "RFC3339")]
    from: Option<DateTime<Utc>>,
    /// How many runs of each schedule.
    #[arg(long, default_value_t = 5)]
    count: usize,
    /// The namespace that the schedules are for: jitter depends on it.
    #[arg(long, default_value = "velero")]
    namespace: String,
    /// How runs of policies are written.
    #[arg(long, value_enum, default_value_t = Output::Text, conflicts_with = "cron")]
    output: Output,
}

/// Exits with 1 and a reason for an expression or policies that are wrong, 2 when policies could not be read.
pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    let Args { paths, cron, time_zone, from, count, namespace, output } = args;
    let from = from.unwrap_or_else(|| clock::system()());
    if let Some(expression) = cron {
        return of_expression(&expression, time_zone.as_deref(), from, count);
    }
    let files = match policies::read(&paths) {
        Ok(files) => files,
        Err(problem) => return Ok(policies::could_not_run(problem)),
    };
    let set = match holdfast_policy::load(&files) {
        Ok(set) => set,
        Err(problems) => {
            eprint!("{problems}");
            return Ok(ExitCode::from(policies::PROBLEMS));
        }
    };
    let target = Target { namespace, source: "policies".to_owned(), cluster_name: None };
    let runs = next_runs(&set, &target, from, count);
    policies::print(&match output {
        Output::Text => text(&runs),
        Output::Json | Output::Yaml => output.written(json_text(&runs)),
    })?;
    Ok(policies::CLEAN)
}

fn of_expression(
    expression: &str,
    zone: Option<&str>,
    from: DateTime<Utc>,
    count: usize,
) -> anyhow::Result<ExitCode> {
    let schedule = zone.map(cron::zone).transpose().and_then(|zone| cron::Schedule::parse(expression, zone));
    match schedule {
        Err(error) => {
            eprintln!("{expression:?}: {error}");
            Ok(ExitCode::from(policies::PROBLEMS))
        }
        Ok(schedule) => {
            let lines: String =
                schedule.runs_after(from).take(count).map(|run| format!("{}\n", utc(run))).collect();
            policies::print(&lines)?;
            Ok(policies::CLEAN)
        }
    }
}

fn text(schedules: &[NextRuns]) -> String {
    let mut text = String::new();
    for NextRuns { schedule, policy, cron, zone, jitter, suspended, runs } in schedules {
        let jitter = if jitter.is_zero() { String::new() } else { format!(", {jitter} late by its jitter") };
        let suspended = if *suspended { ", suspended" } else { "" };
        // Writing to a String can't fail, here and below.
        let _written = writeln!(text, "{schedule} (policy {policy}): {cron} {zone}{jitter}{suspended}");
        for run in runs {
            let local = run.due.with_timezone(zone).format("%a %Y-%m-%d %H:%M:%S %Z");
            let _written = writeln!(text, "  {}  {local}  {}", utc(run.due), run.backup);
        }
    }
    text
}

fn json_text(schedules: &[NextRuns]) -> String {
    let schedules: Vec<_> = schedules
        .iter()
        .map(|NextRuns { schedule, policy, cron, zone, jitter, suspended, runs }| {
            let runs: Vec<_> =
                runs.iter().map(|run| json!({"due": utc(run.due), "backup": run.backup})).collect();
            json!({
                "schedule": schedule,
                "policy": policy,
                "cron": cron,
                "timeZone": zone.name(),
                "jitter": jitter.to_string(),
                "suspended": suspended,
                "runs": runs,
            })
        })
        .collect();
    format!("{:#}\n", json!(schedules))
}

fn utc(instant: DateTime<Utc>) -> String {
    instant.to_rfc3339_opts(SecondsFormat::Secs, true)
}

#[cfg(test)]
mod tests {
    use pretty_assertions::assert_eq;

    use super::*;

    fn runs() -> Vec<NextRuns> {
        let text = "apiVersion: holdfast.dev/v1alpha1\nkind: BackupPolicy\nmetadata: {name: shop}\nspec:\n  \
                    schedules: [{name: nightly, cron: '0 1 * * *', timeZone: Europe/Berlin, suspend: true}]\n";
        let files = [holdfast_policy::parse::SourceFile::new("a.yaml", text)];
        let set = holdfast_policy::load(&files).unwrap();
        let target = Target { namespace: "velero".into(), source: "policies".into(), cluster_name: None };
        next_runs(&set, &target, "2026-11-23T12:00:00Z".parse().unwrap(), 1)
    }

    #[test]
    fn a_run_is_shown_in_utc_in_its_zone_and_with_its_backup() {
        assert_eq!(
            text(&runs()),
            "shop-nightly (policy shop): 0 1 * * * Europe/Berlin, suspended\n  \
             2026-11-24T00:00:00Z  Tue 2026-11-24 01:00:00 CET  shop-nightly-20261124000000\n"
        );
    }

    #[test]
    fn machines_get_the_same() {
        let value: serde_json::Value = serde_json::from_str(&json_text(&runs())).unwrap();
        assert_eq!(
            value[0]["runs"],
            json!([{"due": "2026-11-24T00:00:00Z", "backup": "shop-nightly-20261124000000"}])
        );
        assert_eq!(value[0]["timeZone"], "Europe/Berlin");
    }
}
