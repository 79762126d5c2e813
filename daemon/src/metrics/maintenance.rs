//! The maintenance of repositories, counted from what BackupRepositories remember of it. Pure.
//!
//! An object remembers its last three attempts: after a restart the counters go on from these.

use std::collections::BTreeMap;
use std::fmt;

use chrono::{DateTime, Utc};
use holdfast_policy::time::to_chrono;
use holdfast_policy::velero::{BackupRepository, MaintenanceResult, RepositoryMaintenance};
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;

use super::durations::Durations;
use crate::controllers::watched::Seen;

#[derive(Debug, Default)]
pub(super) struct Maintenance {
    /// By the name of the BackupRepository.
    by_repository: BTreeMap<String, Attempts>,
}

/// Of one repository.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Attempts {
    pub(super) successes: u64,
    pub(super) failures: u64,
    pub(super) durations: Durations,
    /// When the newest one that is counted began.
    counted_to: Option<DateTime<Utc>>,
}

impl Maintenance {
    pub(super) fn see(&mut self, seen: &Seen<'_, BackupRepository>) {
        let name = |repository: &BackupRepository| repository.metadata.name.clone().unwrap_or_default();
        match seen {
            Seen::Listed(repository) | Seen::Changed(repository) => {
                let attempts = self.by_repository.entry(name(repository)).or_default();
                repository.status.recent_maintenance.iter().for_each(|attempt| attempts.count(attempt));
            }
            Seen::Gone(repository) => {
                self.by_repository.remove(&name(repository));
            }
            Seen::ListBegins | Seen::ListEnds => (),
        }
    }

    pub(super) fn counts(&self) -> Vec<(String, Attempts)> {
        self.by_repository.iter().map(|(name, attempts)| (name.clone(), attempts.clone())).collect()
    }
}

impl Attempts {
    fn count(&mut self, attempt: &RepositoryMaintenance) {
        let (Some(began), Some(result)) = (attempt.start_timestamp.as_ref().map(to_chrono), attempt.result)
        else {
            return;
        };
        if self.counted_to.is_some_and(|counted| began <= counted) {
            return;
        }
        self.counted_to = Some(began);
        match result {
            MaintenanceResult::Succeeded => self.successes += 1,
            MaintenanceResult::Failed => self.failures += 1,
        }
        if let Some(ended) = attempt.complete_timestamp.as_ref().map(to_chrono) {
            self.durations.observe((ended - began).as_seconds_f64());
        }
    }
}

/// The series of each repository.
pub(super) fn encode(
    repositories: &[(String, Attempts)],
    encoder: &mut DescriptorEncoder<'_>,
) -> Result<(), fmt::Error> {
    type Value = fn(&Attempts) -> u64;
    let counters: [(&str, &str, Value); 2] = [
        ("velero_repo_maintenance_success", "Maintenance of repositories that was done", |it| it.successes),
        ("velero_repo_maintenance_failure", "Maintenance of repositories that failed", |it| it.failures),
    ];
    for (name, help, value) in counters {
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        for (repository, attempts) in repositories {
            let labels = [("repository_name", repository.as_str())];
            ConstCounter::new(value(attempts)).encode(family.encode_family(&labels)?)?;
        }
    }
    let (name, help) =
        ("velero_repo_maintenance_duration_seconds", "How long maintenance of repositories took");
    let mut family = encoder.encode_descriptor(name, help, None, MetricType::Histogram)?;
    for (repository, Attempts { durations, .. }) in repositories {
        let labels = [("repository_name", repository.as_str())];
        durations.encode(family.encode_family(&labels)?)?;
    }
    Ok(())
}

#[cfg(test)]
pub(super) mod fixtures {
    use serde_json::json;

    use super::*;

    /// Attempts in these minutes, each of ten seconds, the odd ones failing.
    pub(in super::super) fn repository(minutes: &[u32]) -> BackupRepository {
        let attempt = |minute: &u32| {
            json!({
                "result": if minute.is_multiple_of(2) { "Succeeded" } else { "Failed" },
                "startTimestamp": format!("2026-11-23T10:{minute:02}:00Z"),
                "completeTimestamp": format!("2026-11-23T10:{minute:02}:10Z"),
            })
        };
        let recent: Vec<_> = minutes.iter().map(attempt).collect();
        serde_json::from_value(json!({
            "metadata": {"name": "shop-default-restic"},
            "spec": {
                "volumeNamespace": "shop", "backupStorageLocation": "default", "resticIdentifier": "",
                "maintenanceFrequency": "1h",
            },
            "status": {"recentMaintenance": recent},
        }))
        .unwrap()
    }
}

#[cfg(test)]
mod tests {
    use super::fixtures::repository;
    use super::*;

    #[test]
    fn an_attempt_counts_once_however_often_it_is_seen() {
        let mut maintenance = Maintenance::default();
        maintenance.see(&Seen::Listed(&repository(&[1, 2, 4])));
        maintenance.see(&Seen::Changed(&repository(&[2, 4, 5])));
        maintenance.see(&Seen::ListBegins);
        maintenance.see(&Seen::Listed(&repository(&[2, 4, 5])));
        let [(name, attempts)] = &maintenance.counts()[..] else { panic!("not one repository") };
        assert_eq!(name, "shop-default-restic");
        assert_eq!((attempts.successes, attempts.failures), (2, 2));
        assert_eq!((attempts.durations.count, attempts.durations.sum), (4, 40.0));
        maintenance.see(&Seen::Gone(&repository(&[])));
        assert_eq!(maintenance.counts(), []);
    }
}
