//! The counters by schedule, kept up by what is seen. Pure.

use std::collections::BTreeMap;

use holdfast_policy::velero::{Backup, Restore, labels};

use super::counts::Counts;
use super::deletions::Deletions;
use super::maintenance::Maintenance;
use super::stage::Stages;
use crate::controllers::watched::Seen;

#[derive(Debug, Default)]
pub(super) struct Ledger {
    /// By the name of the schedule, which is empty for what a person made.
    by_schedule: BTreeMap<String, Counts>,
    pub(super) deletions: Deletions,
    pub(super) maintenance: Maintenance,
    backups: Stages,
    restores: Stages,
}

impl Ledger {
    pub(super) fn see_backup(&mut self, seen: &Seen<'_, Backup>) {
        let events = self.backups.see(seen, |backup| backup.status_phase().into());
        if let Seen::Listed(backup) | Seen::Changed(backup) | Seen::Gone(backup) = seen
            && !events.is_empty()
        {
            let counts = self.of(schedule_of(backup));
            events.iter().for_each(|event| counts.count_backup(backup, *event));
        }
    }

    pub(super) fn see_restore(&mut self, seen: &Seen<'_, Restore>) {
        let events = self.restores.see(seen, |restore| restore.status_phase().into());
        if let Seen::Listed(restore) | Seen::Changed(restore) | Seen::Gone(restore) = seen
            && !events.is_empty()
        {
            let counts = self.of(restore.spec.schedule_name.as_deref().unwrap_or_default());
            events.iter().for_each(|event| counts.count_restore(restore, *event));
        }
    }

    /// A schedule that is gone takes its series along.
    pub(super) fn forget_schedule(&mut self, schedule: &str) {
        self.by_schedule.remove(schedule);
    }

    pub(super) fn counts(&self, schedule: &str) -> Counts {
        self.by_schedule.get(schedule).cloned().unwrap_or_default()
    }

    fn of(&mut self, schedule: &str) -> &mut Counts {
        self.by_schedule.entry(schedule.to_owned()).or_default()
    }
}

/// Empty where a person made the backup.
pub(super) fn schedule_of(backup: &Backup) -> &str {
    let labels = backup.metadata.labels.as_ref();
    labels.and_then(|labels| labels.get(labels::SCHEDULE_NAME)).map_or("", String::as_str)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::metrics::counts::{Runs, Tries};

    fn backup(name: &str, schedule: Option<&str>, status: Value) -> Backup {
        let labels = schedule.map(|schedule| json!({"velero.io/schedule-name": schedule}));
        serde_json::from_value(json!({
            "metadata": {"name": name, "uid": name, "labels": labels}, "status": status,
        }))
        .unwrap()
    }

    #[test]
    fn a_restart_finds_the_counters_that_were_there_before() {
        let completed = json!({
            "phase": "Completed", "warnings": 3, "volumeSnapshotsAttempted": 5, "volumeSnapshotsCompleted": 4,
            "startTimestamp": "2026-11-23T10:00:00Z", "completionTimestamp": "2026-11-23T10:02:00Z",
        });
        let backups = [
            backup("nightly-1", Some("nightly"), completed),
            backup("nightly-2", Some("nightly"), json!({"phase": "PartiallyFailed"})),
            backup("nightly-3", Some("nightly"), json!({"phase": "InProgress"})),
            backup("mine", None, json!({"phase": "FailedValidation"})),
        ];
        let mut ledger = Ledger::default();
        ledger.see_backup(&Seen::ListBegins);
        for backup in &backups {
            ledger.see_backup(&Seen::Listed(backup));
        }
        ledger.see_backup(&Seen::ListEnds);

        let nightly = ledger.counts("nightly");
        let runs =
            Runs { attempts: 3, successes: 1, partial_failures: 1, with_warnings: 1, ..Runs::default() };
        assert_eq!(nightly.backup, runs);
        assert_eq!(nightly.volume_snapshots, Tries { attempts: 5, successes: 4, failures: 1 });
        assert_eq!((nightly.backup_durations.count, nightly.backup_durations.sum), (1, 120.0));
        assert_eq!(ledger.counts("").backup, Runs { validation_failures: 1, ..Runs::default() });
        assert_eq!(ledger.counts("unknown"), Counts::default());

        ledger.forget_schedule("nightly");
        assert_eq!(ledger.counts("nightly"), Counts::default());
    }

    #[test]
    fn restores_count_for_the_schedule_whose_backup_they_bring_back() {
        let restore = |phase: &str| -> Restore {
            serde_json::from_value(json!({
                "metadata": {"name": "back", "uid": "back"}, "spec": {"scheduleName": "nightly"},
                "status": {"phase": phase},
            }))
            .unwrap()
        };
        let mut ledger = Ledger::default();
        for phase in ["New", "InProgress", "Finalizing", "Failed"] {
            ledger.see_restore(&Seen::Changed(&restore(phase)));
        }
        assert_eq!(ledger.counts("nightly").restore, Runs { attempts: 1, failures: 1, ..Runs::default() });
    }
}
