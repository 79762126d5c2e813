//! The answer in words and as JSON.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use chrono::{DateTime, SecondsFormat, Utc};
use holdfast_policy::retention::Verdict;
use holdfast_policy::time::to_chrono;
use holdfast_policy::velero::{Backup, labels};
use serde_json::{Value, json};

use super::Line;

pub(super) fn text(lines: &[Line<'_>], at: DateTime<Utc>) -> String {
    let deleted = lines.iter().filter(|line| matches!(line.judgement.verdict, Verdict::Delete(_))).count();
    let mut text = String::new();
    // Writing to a String can't fail, here and below.
    let _written =
        writeln!(text, "at {}: {} kept, {deleted} deleted", utc(at), lines.len().saturating_sub(deleted));
    for (schedule, group) in by_schedule(lines) {
        let _written = match schedule {
            Some(schedule) => writeln!(text, "\nschedule {schedule}"),
            None => writeln!(text, "\nof no schedule"),
        };
        let width = group.iter().map(|line| name(line.backup).len()).max().unwrap_or(0);
        for Line { backup, judgement } in group {
            let (what, why) = match &judgement.verdict {
                Verdict::Keep(reasons) => {
                    ("keep  ", reasons.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "))
                }
                Verdict::Delete(rule) => ("delete", format!("{}: {rule}", rule.as_str())),
            };
            let started = started(backup).map_or_else(|| "not started         ".to_owned(), utc);
            let _written = writeln!(text, "  {what}  {:width$}  {started}  {why}", name(backup));
            if let Some(expiration) = judgement.expiration {
                let _written = writeln!(text, "          its expiration is moved to {}", utc(expiration));
            }
            if let Some(suspect) = &judgement.suspect {
                let _written = writeln!(text, "          suspect: {suspect}");
            }
        }
    }
    text
}

pub(super) fn json(lines: &[Line<'_>], at: DateTime<Utc>) -> String {
    let groups = by_schedule(lines).into_values().flatten();
    let backups: Vec<Value> = groups
        .map(|Line { backup, judgement }| {
            let (verdict, rule, reasons) = match &judgement.verdict {
                Verdict::Keep(reasons) => {
                    ("Keep", None, reasons.iter().map(ToString::to_string).collect::<Vec<_>>())
                }
                Verdict::Delete(rule) => ("Delete", Some(rule.as_str()), vec![rule.to_string()]),
            };
            json!({
                "backup": name(backup),
                "schedule": schedule(backup),
                "started": started(backup).map(utc),
                "expiration": backup.status.expiration.as_ref().map(to_chrono).map(utc),
                "verdict": verdict,
                "rule": rule,
                "reasons": reasons,
                "newExpiration": judgement.expiration.map(utc),
                "suspect": judgement.suspect,
            })
        })
        .collect();
    format!("{:#}\n", json!({"at": utc(at), "backups": backups}))
}

/// The newest first; backups of no schedule come first of all.
fn by_schedule<'a>(lines: &'a [Line<'a>]) -> BTreeMap<Option<&'a str>, Vec<&'a Line<'a>>> {
    let mut groups: BTreeMap<Option<&str>, Vec<&Line<'_>>> = BTreeMap::new();
    for line in lines {
        groups.entry(schedule(line.backup)).or_default().push(line);
    }
    for group in groups.values_mut() {
        group.sort_by_key(|line| (std::cmp::Reverse(started(line.backup)), name(line.backup)));
    }
    groups
}

fn name(backup: &Backup) -> &str {
    backup.metadata.name.as_deref().unwrap_or_default()
}

fn schedule(backup: &Backup) -> Option<&str> {
    backup.metadata.labels.as_ref()?.get(labels::SCHEDULE_NAME).map(String::as_str)
}

fn started(backup: &Backup) -> Option<DateTime<Utc>> {
    backup.status.start_timestamp.as_ref().or(backup.metadata.creation_timestamp.as_ref()).map(to_chrono)
}

fn utc(instant: DateTime<Utc>) -> String {
    instant.to_rfc3339_opts(SecondsFormat::Secs, true)
}
