//! Objects as rows. Pure.

use std::collections::BTreeSet;

use anyhow::Context as _;
use chrono::{DateTime, Utc};
use holdfast_policy::time::to_chrono;
use holdfast_policy::velero::{Backup, Mark, Restore, Summarized as _};
use kube::ResourceExt as _;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{Kind, tones};
use crate::cli::status::tables::{of_locations, of_schedules, of_sources};
use crate::cli::table::{Cell, Table, Tone, ago, ahead};
use crate::overview::words::bytes;
use crate::overview::{Facts, overview};

/// The facts are those of the whole namespace, for kinds that are told together with others.
pub(super) fn table(
    kind: Kind,
    objects: &[Value],
    facts: &Facts,
    now: DateTime<Utc>,
) -> anyhow::Result<Table> {
    let names: BTreeSet<&str> =
        objects.iter().filter_map(|object| object["metadata"]["name"].as_str()).collect();
    let told = |name: &String| names.contains(name.as_str());
    Ok(match kind {
        Kind::Backups => backups(&read(objects)?, now),
        Kind::Restores => restores(&read(objects)?, now),
        Kind::Schedules => {
            let mut schedules = overview(facts, now).schedules;
            schedules.retain(|schedule| told(&schedule.name));
            of_schedules(&schedules, now)
        }
        Kind::Locations => {
            let mut locations = overview(facts, now).locations;
            locations.retain(|location| told(&location.name));
            of_locations(&locations, now)
        }
        Kind::Policies => {
            let mut sources = overview(facts, now).sources;
            sources.retain(|source| told(&source.name));
            of_sources(&sources)
        }
    })
}

fn read<K: DeserializeOwned>(objects: &[Value]) -> anyhow::Result<Vec<K>> {
    let read = |object: &Value| {
        serde_json::from_value(object.clone()).with_context(|| {
            format!("{} {} can't be read: --output yaml shows it", object["kind"], object["metadata"]["name"])
        })
    };
    objects.iter().map(read).collect()
}

fn worry(count: i64, tone: Tone) -> Cell {
    Cell::toned(count.to_string(), if count > 0 { tone } else { Tone::Plain })
}

fn backups(backups: &[Backup], now: DateTime<Utc>) -> Table {
    let mut table = Table::new(&[
        "BACKUP", "PHASE", "ERRORS", "WARNINGS", "ITEMS", "SIZE", "STARTED", "TOOK", "EXPIRES", "SCHEDULE",
        "LOCATION",
    ]);
    for backup in backups {
        let phase = backup.status_phase();
        let status = &backup.status;
        let began = status.start_timestamp.as_ref().map(to_chrono);
        let ended = status.completion_timestamp.as_ref().map(to_chrono);
        let size = backup.mark(Mark::ArchiveBytes).and_then(|text| text.parse().ok());
        table.row([
            backup.name().into(),
            Cell::toned(phase.as_str(), tones::of_backup(phase)),
            worry(status.errors, Tone::Bad),
            worry(status.warnings, Tone::Doubtful),
            backup.items_backed_up().to_string().into(),
            bytes(size).into(),
            began.map_or_else(|| "-".to_owned(), |_| format!("{} ago", ago(began, now))).into(),
            ended.map_or_else(|| "-".to_owned(), |ended| ago(began, ended)).into(),
            match backup.expiration() {
                None => "-".into(),
                time => format!("in {}", ahead(time, now)).into(),
            },
            backup.mark(Mark::Schedule).unwrap_or("-").into(),
            backup.spec.storage_location.as_deref().unwrap_or("-").into(),
        ]);
    }
    table
}

fn restores(restores: &[Restore], now: DateTime<Utc>) -> Table {
    let mut table =
        Table::new(&["RESTORE", "PHASE", "ERRORS", "WARNINGS", "ITEMS", "STARTED", "TOOK", "FROM"]);
    for restore in restores {
        let phase = restore.status_phase();
        let status = &restore.status;
        let progress = status.progress.unwrap_or_default();
        let began = status.start_timestamp.as_ref().map(to_chrono);
        let ended = status.completion_timestamp.as_ref().map(to_chrono);
        let from = restore.spec.backup_name.as_deref().or(restore.spec.schedule_name.as_deref());
        table.row([
            restore.name_any().into(),
            Cell::toned(phase.as_str(), tones::of_restore(phase)),
            worry(status.errors, Tone::Bad),
            worry(status.warnings, Tone::Doubtful),
            format!("{}/{}", progress.items_restored, progress.total_items).into(),
            began.map_or_else(|| "-".to_owned(), |_| format!("{} ago", ago(began, now))).into(),
            ended.map_or_else(|| "-".to_owned(), |ended| ago(began, ended)).into(),
            from.unwrap_or("-").into(),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::cli::table::Paint;

    fn now() -> DateTime<Utc> {
        "2026-11-23T10:00:00Z".parse().unwrap()
    }

    #[test]
    fn backups_and_restores_are_a_line_each() {
        let backup = json!({
            "apiVersion": "velero.io/v1", "kind": "Backup",
            "metadata": {
                "name": "nightly-1", "labels": {"velero.io/schedule-name": "nightly"},
                "annotations": {"holdfast.dev/archive-bytes": "2097152"},
            },
            "spec": {"storageLocation": "default"},
            "status": {
                "phase": "PartiallyFailed", "errors": 1, "progress": {"totalItems": 9, "itemsBackedUp": 8},
                "startTimestamp": "2026-11-23T03:00:00Z", "completionTimestamp": "2026-11-23T03:02:00Z",
                "expiration": "2026-12-23T03:00:00Z",
            },
        });
        let waiting = json!({"kind": "Backup", "metadata": {"name": "waiting"}, "spec": {}});
        let restore = json!({
            "kind": "Restore", "metadata": {"name": "back"}, "spec": {"backupName": "nightly-1"},
            "status": {
                "phase": "InProgress", "progress": {"totalItems": 9, "itemsRestored": 4},
                "startTimestamp": "2026-11-23T09:59:00Z",
            },
        });
        let text = |kind, objects: &[Value]| {
            table(kind, objects, &Facts::default(), now()).unwrap().text(Paint::Plain)
        };
        let both = text(Kind::Backups, &[backup, waiting]) + "\n" + &text(Kind::Restores, &[restore]);
        insta::assert_snapshot!(both);
    }

    #[test]
    fn an_object_that_is_not_what_it_says_is_named() {
        let broken = json!({"kind": "Backup", "metadata": {"name": "b"}, "status": {"phase": "Dreaming"}});
        let error = table(Kind::Backups, &[broken], &Facts::default(), now()).unwrap_err();
        assert_eq!(error.to_string(), "\"Backup\" \"b\" can't be read: --output yaml shows it");
    }
}
