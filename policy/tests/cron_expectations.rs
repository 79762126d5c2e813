//! The next runs of 200 expressions beside those of robfig/cron 3.0.1, which Kubernetes' CronJob uses.

use chrono::{DateTime, SecondsFormat, Utc};
use holdfast_policy::cron::Schedule;
use serde::Deserialize;

#[derive(Deserialize)]
struct Row {
    expr: String,
    tz: String,
    from: DateTime<Utc>,
    next: Vec<String>,
    err: Option<String>,
}

/// Rows that differ: line, reason, and the runs here.
const DIFFERENT: &[(usize, &str, &[&str])] = &[];

#[test]
fn the_next_runs_are_those_of_kubernetes_cron_jobs() {
    let text = include_str!("data/cron-expectations.jsonl");
    let mut differences = Vec::new();
    let mut rows = 0;
    for (index, line) in text.lines().enumerate() {
        let row: Row = serde_json::from_str(line).unwrap();
        rows += 1;
        let ours = match Schedule::parse(&row.expr, Some(row.tz.parse().unwrap())) {
            Ok(schedule) => schedule
                .runs_after(row.from)
                .take(5)
                .map(|run| run.to_rfc3339_opts(SecondsFormat::Secs, true))
                .collect::<Vec<_>>(),
            Err(_) => Vec::new(),
        };
        let refused = Schedule::parse(&row.expr, None).is_err();
        assert_eq!(refused, row.err.is_some(), "line {}: {}", index + 1, row.expr);
        let allowed = DIFFERENT.iter().find(|(line, ..)| *line == index + 1);
        let expected: Vec<String> = match allowed {
            Some((_, _, runs)) => runs.iter().map(|run| (*run).to_owned()).collect(),
            None => row.next.clone(),
        };
        if ours != expected {
            differences.push(format!(
                "line {}: {} in {} from {}\n  theirs {:?}\n  ours   {ours:?}",
                index + 1,
                row.expr,
                row.tz,
                row.from,
                row.next
            ));
        }
        if allowed.is_some() {
            assert_ne!(ours, row.next, "line {} no longer differs", index + 1);
        }
    }
    assert_eq!(rows, 200);
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}
