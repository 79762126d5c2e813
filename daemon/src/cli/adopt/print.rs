//! The answer in words and as JSON.

use std::fmt::Write as _;

use chrono::{DateTime, SecondsFormat, Utc};
use holdfast_policy::adoption::{Adoption, Change, Fate, Found, Other, Standing};
use holdfast_policy::ownership::{Cluster, NamedBy};
use serde_json::{Value, json};

use super::Outcome;

pub(super) struct Told<'a> {
    pub(super) location: &'a str,
    pub(super) cluster: &'a Cluster,
    pub(super) adoption: &'a Adoption<'a>,
    pub(super) outcome: Outcome,
}

impl Told<'_> {
    pub(super) fn text(&self) -> String {
        let Told { location, cluster, adoption, outcome } = self;
        let Adoption { standing, backups, schedules } = adoption;
        if let Standing::Taken(other) = standing {
            return format!(
                "location {location} is cluster {other}'s and stays so; this is cluster {}\n",
                cluster.name
            );
        }
        let mut text = String::new();
        // Writing to a String can't fail, here and below.
        let _written = writeln!(text, "location {location}, cluster {}", cluster.name);
        if cluster.named_by == NamedBy::Uid {
            text.push_str(
                "the name is the uid of namespace kube-system, as no --cluster-name is given: what was found in the \
                 bucket does not end by a rule until the daemon and this command have one\n",
            );
        }
        let _written = writeln!(text, "\n{} that name no cluster", count(backups.len(), "backup"));
        let width = backups.iter().map(|found| name(found).len()).max().unwrap_or(0);
        for found in backups {
            let fate = match &found.fate {
                Fate::Now => "is deleted at once: its time is over".to_owned(),
                Fate::At(at) => format!("expires at {}", utc(*at)),
                Fate::Stays(reasons) => format!("stays: {}", listed(reasons)),
            };
            let _written = writeln!(text, "  {:width$}  {fate}", name(found));
        }
        let _written = writeln!(
            text,
            "\n{} of schedules at other instants than Velero's",
            count(schedules.len(), "change")
        );
        let width = schedules.iter().map(|other| of(other).len()).max().unwrap_or(0);
        for other in schedules {
            let _written = writeln!(text, "  {:width$}  {}", of(other), words(&other.change));
        }
        text.push_str(match outcome {
            Outcome::Told => "\nnothing was changed: give --yes to adopt it\n",
            Outcome::Adopted => "\nadopted\n",
            Outcome::Already => "\nit was adopted before\n",
            Outcome::Refused => "\nrefused\n",
        });
        text
    }

    pub(super) fn json(&self) -> String {
        let Told { location, cluster, adoption, outcome } = self;
        let Adoption { standing, backups, schedules } = adoption;
        let backups: Vec<Value> = backups
            .iter()
            .map(|found| {
                let (fate, expires, reasons) = match &found.fate {
                    Fate::Now => ("DeletedAtOnce", None, Vec::new()),
                    Fate::At(at) => ("Expires", Some(utc(*at)), Vec::new()),
                    Fate::Stays(reasons) => {
                        ("Stays", None, reasons.iter().map(ToString::to_string).collect())
                    }
                };
                json!({"backup": name(found), "fate": fate, "expires": expires, "reasons": reasons})
            })
            .collect();
        let schedules: Vec<Value> = schedules
            .iter()
            .map(|other| {
                let (change, at) = match &other.change {
                    Change::First => ("FirstBackupAtOnce", None),
                    Change::EitherDay { next } => ("EitherDay", *next),
                    Change::ClockChange { at } => ("ClockChange", Some(*at)),
                    Change::Refused(_) => ("Refused", None),
                };
                json!({"schedule": of(other), "change": change, "at": at.map(utc), "text": words(&other.change)})
            })
            .collect();
        let outcome = match outcome {
            Outcome::Told => "NotConfirmed",
            Outcome::Adopted => "Adopted",
            Outcome::Already => "AdoptedBefore",
            Outcome::Refused => "Refused",
        };
        let other = match standing {
            Standing::Taken(cluster) => Some(cluster),
            Standing::Free | Standing::Ours => None,
        };
        let answer = json!({
            "location": location, "cluster": cluster.name, "clusterNameGiven": cluster.named_by == NamedBy::Person,
            "outcome": outcome, "otherCluster": other, "backups": backups, "schedules": schedules,
        });
        format!("{answer:#}\n")
    }
}

fn words(change: &Change) -> String {
    match change {
        Change::First => "its first backup is made at once".to_owned(),
        Change::EitherDay { next } => {
            let next = next.map_or_else(|| "never".to_owned(), utc);
            format!("either of day of month and day of week may match, next at {next}; Velero demands both")
        }
        Change::ClockChange { at } => {
            format!("runs once, at {}, where clocks are put back and Velero runs it twice", utc(*at))
        }
        Change::Refused(error) => format!("is refused: {error}"),
    }
}

fn listed(reasons: &[impl ToString]) -> String {
    reasons.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

fn count(number: usize, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}

fn name<'a>(found: &Found<'a>) -> &'a str {
    found.backup.metadata.name.as_deref().unwrap_or_default()
}

fn of<'a>(other: &Other<'a>) -> &'a str {
    other.schedule.metadata.name.as_deref().unwrap_or_default()
}

fn utc(instant: DateTime<Utc>) -> String {
    instant.to_rfc3339_opts(SecondsFormat::Secs, true)
}
