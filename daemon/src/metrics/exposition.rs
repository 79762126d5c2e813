//! The figures as a scraper reads them.

use std::fmt;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use holdfast_policy::holdfast::PolicySet;
use holdfast_policy::velero;
use holdfast_policy::velero::{BackupPhase, LocationPhase};
use kube::ResourceExt;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

use super::Figures;
use super::counts::Counts;
use super::health::Health;
use super::latest::{Latest, latest};
use super::maintenance::{self, Attempts};
use crate::clock::Clock;
use crate::controllers::watched::Watched;
use crate::overview::Facts;

/// What a scrape looks at.
pub struct Exposition {
    pub figures: Figures,
    pub backups: Arc<Watched<velero::Backup>>,
    pub restores: Arc<Watched<velero::Restore>>,
    pub schedules: Arc<Watched<velero::Schedule>>,
    pub locations: Arc<Watched<velero::BackupStorageLocation>>,
    pub deletion_requests: Arc<Watched<velero::DeleteBackupRequest>>,
    pub policy_sets: Arc<Watched<PolicySet>>,
    pub namespace: String,
    pub clock: Clock,
}

/// What one scrape has found.
struct Scrape {
    now: DateTime<Utc>,
    /// Those that exist, and the empty name of what persons make.
    schedules: Vec<Series>,
    /// Whether each can be reached.
    locations: Vec<(String, bool)>,
    backups: usize,
    restores: usize,
    /// Requests to delete a backup, by who asked.
    deletions: Vec<(&'static str, u64)>,
    /// By the name of the repository.
    maintenance: Vec<(String, Attempts)>,
    health: Health,
}

struct Series {
    schedule: String,
    counts: Counts,
    latest: Latest,
}

type Counter = (&'static str, &'static str, fn(&Counts) -> u64);

/// Names without Velero's prefix and the `_total` that counters end in.
const COUNTERS: [Counter; 20] = [
    ("backup_attempt", "Backups that were started", |counts| counts.backup.attempts),
    ("backup_success", "Backups that are whole", |counts| counts.backup.successes),
    ("backup_partial_failure", "Backups that lack some objects", |counts| counts.backup.partial_failures),
    ("backup_failure", "Backups that failed", |counts| counts.backup.failures),
    ("backup_validation_failure", "Backups that were refused", |counts| counts.backup.validation_failures),
    ("backup_warning", "Backups with warnings", |counts| counts.backup.with_warnings),
    ("backup_deletion_attempt", "Deletions of backups that were started", |counts| counts.deletion.attempts),
    ("backup_deletion_success", "Backups that were deleted", |counts| counts.deletion.successes),
    ("backup_deletion_failure", "Deletions of backups that failed", |counts| counts.deletion.failures),
    ("restore_attempt", "Restores that were started", |counts| counts.restore.attempts),
    ("restore_success", "Restores that brought everything back", |counts| counts.restore.successes),
    ("restore_partial_failure", "Restores that lack some objects", |counts| counts.restore.partial_failures),
    ("restore_failed", "Restores that failed", |counts| counts.restore.failures),
    ("restore_validation_failed", "Restores that were refused", |counts| counts.restore.validation_failures),
    ("volume_snapshot_attempt", "Volume snapshots that were tried", |counts| {
        counts.volume_snapshots.attempts
    }),
    ("volume_snapshot_success", "Volume snapshots that were made", |counts| {
        counts.volume_snapshots.successes
    }),
    ("volume_snapshot_failure", "Volume snapshots that failed", |counts| counts.volume_snapshots.failures),
    ("csi_snapshot_attempt", "CSI snapshots that were tried", |counts| counts.csi_snapshots.attempts),
    ("csi_snapshot_success", "CSI snapshots that were made", |counts| counts.csi_snapshots.successes),
    ("csi_snapshot_failure", "CSI snapshots that failed", |counts| counts.csi_snapshots.failures),
];

type Gauge = (&'static str, &'static str, fn(&Series, DateTime<Utc>) -> Option<f64>);

const GAUGES: [Gauge; 6] = [
    ("velero_backup_last_successful_timestamp", "When the newest whole backup was completed", |series, _| {
        series.latest.good.map(|good| good.completed.timestamp() as f64)
    }),
    ("velero_backup_last_status", "Whether the newest backup that has ended is whole", |series, _| {
        // As Velero: well until shown otherwise.
        let is_whole = series.latest.ended.is_none_or(|ended| ended.phase == BackupPhase::Completed);
        Some(f64::from(u8::from(is_whole)))
    }),
    ("velero_backup_items_total", "Objects in the newest backup that has ended", |series, _| {
        series.latest.ended.map(|ended| ended.items as f64)
    }),
    ("velero_backup_items_errors", "Errors of the newest backup that has ended", |series, _| {
        series.latest.ended.map(|ended| ended.errors as f64)
    }),
    ("velero_backup_tarball_size_bytes", "The archive of the newest backup that has ended", |series, _| {
        Some(series.latest.ended?.archive_bytes? as f64)
    }),
    (
        "holdfast_recovery_point_age_seconds",
        "How old what the newest whole backup would bring back is; infinite where there is none",
        |series, now| {
            let age = |good: super::latest::Good| (now - good.recovery_point).num_seconds().max(0) as f64;
            (!series.schedule.is_empty()).then(|| series.latest.good.map_or(f64::INFINITY, age))
        },
    ),
];

impl Exposition {
    fn scrape(&self) -> Scrape {
        let now = (self.clock)();
        let backups = self.backups.all();
        let mut latest = latest(&backups);
        let ledger = self.figures.ledger();
        let names = self.schedules.all().into_iter().map(|schedule| schedule.name_any());
        let schedules = std::iter::once(String::new())
            .chain(names)
            .map(|schedule| Series {
                counts: ledger.counts(&schedule),
                latest: latest.remove(schedule.as_str()).unwrap_or_default(),
                schedule,
            })
            .collect();
        let deletions = ledger.deletions.counts();
        let maintenance = ledger.maintenance.counts();
        drop(ledger);
        let is_available = |location: &velero::BackupStorageLocation| {
            location.status.phase == Some(LocationPhase::Available)
        };
        let locations = self.locations.all();
        Scrape {
            health: Health::of(
                &Facts {
                    namespace: self.namespace.clone(),
                    policy_sets: self.policy_sets.all(),
                    schedules: self.schedules.all(),
                    backups: backups.clone(),
                    locations: locations.clone(),
                    deletion_requests: self.deletion_requests.all(),
                    restores: Vec::new(),
                },
                now,
            ),
            now,
            schedules,
            locations: locations
                .iter()
                .map(|location| (location.name_any(), is_available(location)))
                .collect(),
            backups: backups.len(),
            restores: self.restores.all().len(),
            deletions,
            maintenance,
        }
    }
}

impl fmt::Debug for Exposition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exposition").finish_non_exhaustive()
    }
}

impl Collector for Exposition {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        self.scrape().encode(encoder)
    }
}

impl Scrape {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        for (name, help, value) in COUNTERS {
            let name = format!("velero_{name}");
            let mut family = encoder.encode_descriptor(&name, help, None, MetricType::Counter)?;
            for series in &self.schedules {
                let value = ConstCounter::new(value(&series.counts));
                // One for each backup's name would grow for ever; Velero's own queries sum over them.
                if name.starts_with("velero_csi_snapshot") {
                    let labels = [("schedule", series.schedule.as_str()), ("backupName", "")];
                    value.encode(family.encode_family(&labels)?)?;
                } else {
                    let labels = [("schedule", series.schedule.as_str())];
                    value.encode(family.encode_family(&labels)?)?;
                }
            }
        }
        for (name, help, value) in GAUGES {
            let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            for series in &self.schedules {
                if let Some(value) = value(series, self.now) {
                    let labels = [("schedule", series.schedule.as_str())];
                    ConstGauge::new(value).encode(family.encode_family(&labels)?)?;
                }
            }
        }
        let (name, help) =
            ("holdfast_backup_deletion_requests", "Deletions that were asked for, by which rule");
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        for (rule, count) in &self.deletions {
            ConstCounter::new(*count).encode(family.encode_family(&[("rule", *rule)])?)?;
        }
        self.encode_durations(&mut encoder)?;
        maintenance::encode(&self.maintenance, &mut encoder)?;
        self.health.encode(&mut encoder)?;
        self.encode_totals(&mut encoder)
    }

    fn encode_durations(&self, encoder: &mut DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let (name, help) = ("velero_backup_duration_seconds", "How long backups took");
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Histogram)?;
        for series in &self.schedules {
            let labels = [("schedule", series.schedule.as_str())];
            series.counts.backup_durations.encode(family.encode_family(&labels)?)?;
        }
        Ok(())
    }

    fn encode_totals(&self, encoder: &mut DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let totals = [
            ("velero_backup_total", "Backups in the cluster", self.backups),
            ("velero_restore_total", "Restores in the cluster", self.restores),
        ];
        for (name, help, value) in totals {
            ConstGauge::new(value).encode(encoder.encode_descriptor(
                name,
                help,
                None,
                MetricType::Gauge,
            )?)?;
        }
        let (name, help) = ("velero_backup_location_status_gauge", "Whether the location can be reached");
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for (location, is_available) in &self.locations {
            let labels = [("backup_location_name", location.as_str())];
            ConstGauge::new(i64::from(*is_available)).encode(family.encode_family(&labels)?)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::text::encode;
    use prometheus_client::registry::Registry;
    use serde_json::json;

    use super::*;
    use crate::controllers::watched::Seen;
    use crate::metrics::maintenance::fixtures::repository;

    #[derive(Debug)]
    struct Fixed;

    impl Collector for Fixed {
        fn encode(&self, encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
            let backup: Arc<velero::Backup> = Arc::new(
                serde_json::from_value(json!({
                    "metadata": {
                        "name": "nightly-1", "uid": "1", "labels": {"velero.io/schedule-name": "nightly"},
                        "annotations": {"holdfast.dev/archive-bytes": "2048"},
                    },
                    "status": {
                        "phase": "Completed", "progress": {"totalItems": 42, "itemsBackedUp": 42},
                        "startTimestamp": "2026-11-23T03:00:00Z", "completionTimestamp": "2026-11-23T03:02:00Z",
                    },
                }))
                .unwrap(),
            );
            let figures = Figures::default();
            figures.ledger().see_backup(&Seen::Listed(backup.as_ref()));
            figures.ledger().maintenance.see(&Seen::Listed(&repository(&[1, 2, 4])));
            let backups = [Arc::new(velero::BackupSummary::of(&backup))];
            let mut latest = latest(&backups);
            let series = |schedule: &str, latest: Option<Latest>| Series {
                schedule: schedule.to_owned(),
                counts: figures.ledger().counts(schedule),
                latest: latest.unwrap_or_default(),
            };
            Scrape {
                now: "2026-11-23T10:00:00Z".parse().unwrap(),
                schedules: vec![
                    series("", None),
                    series("nightly", latest.remove("nightly")),
                    series("never", None),
                ],
                locations: vec![("default".to_owned(), true), ("far".to_owned(), false)],
                backups: 1,
                restores: 0,
                deletions: vec![("ttl", 3), ("person", 0)],
                maintenance: figures.ledger().maintenance.counts(),
                health: Health::of(&Facts::default(), "2026-11-23T10:00:00Z".parse().unwrap()),
            }
            .encode(encoder)
        }
    }

    fn text() -> String {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(Fixed));
        let mut text = String::new();
        encode(&mut text, &registry).unwrap();
        text
    }

    #[test]
    fn series_have_velero_s_names_and_labels() {
        let text = text();
        for line in [
            r#"velero_backup_attempt_total{schedule="nightly"} 1"#,
            r#"velero_backup_success_total{schedule="nightly"} 1"#,
            r#"velero_backup_failure_total{schedule=""} 0"#,
            r#"velero_restore_failed_total{schedule=""} 0"#,
            r#"velero_csi_snapshot_attempt_total{schedule="nightly",backupName=""} 0"#,
            r#"velero_backup_last_successful_timestamp{schedule="nightly"} 1795402920.0"#,
            r#"velero_backup_last_status{schedule="nightly"} 1.0"#,
            r#"velero_backup_last_status{schedule="never"} 1.0"#,
            r#"velero_backup_items_total{schedule="nightly"} 42.0"#,
            r#"velero_backup_tarball_size_bytes{schedule="nightly"} 2048.0"#,
            r#"velero_backup_duration_seconds_bucket{le="300.0",schedule="nightly"} 1"#,
            r#"velero_backup_duration_seconds_sum{schedule="nightly"} 120.0"#,
            r#"velero_repo_maintenance_success_total{repository_name="shop-default-restic"} 2"#,
            r#"velero_repo_maintenance_failure_total{repository_name="shop-default-restic"} 1"#,
            r#"velero_repo_maintenance_duration_seconds_sum{repository_name="shop-default-restic"} 30.0"#,
            r#"holdfast_backup_deletion_requests_total{rule="ttl"} 3"#,
            "velero_backup_total 1",
            "velero_restore_total 0",
            r#"velero_backup_location_status_gauge{backup_location_name="default"} 1"#,
            r#"velero_backup_location_status_gauge{backup_location_name="far"} 0"#,
            r#"holdfast_recovery_point_age_seconds{schedule="nightly"} 25200.0"#,
            r#"holdfast_recovery_point_age_seconds{schedule="never"} inf"#,
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
        }
        // What no schedule makes has no age, and no success is not success at the beginning of time.
        assert!(!text.contains(r#"holdfast_recovery_point_age_seconds{schedule=""}"#));
        assert!(!text.contains(r#"velero_backup_last_successful_timestamp{schedule="never"}"#));
    }
}
