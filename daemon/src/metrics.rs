//! Metrics, under Velero's names and with Velero's labels where there are such.
//!
//! Takes what the API server says about backups, restores, schedules and locations, gives figures to scrapers. Counters
//! start from the objects that are in the cluster, not from zero; gauges are worked out at every scrape. Every label has
//! as many values as there are schedules or locations.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use holdfast_policy::velero;

use crate::controllers::watched::{Observer, Seen};

mod counts;
mod deletions;
mod durations;
mod exposition;
mod health;
mod latest;
mod ledger;
mod maintenance;
mod stage;

pub use exposition::Exposition;
use ledger::Ledger;

/// Counts what happens to backups and restores. Clones count together.
#[derive(Clone, Debug, Default)]
pub struct Figures(Arc<Mutex<Ledger>>);

impl Figures {
    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        // Counters may be off by one step after a panic; that is no reason to have none.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Observer<velero::Backup> for Figures {
    fn see(&self, seen: Seen<'_, velero::Backup>) {
        self.ledger().see_backup(&seen);
    }
}

impl Observer<velero::Restore> for Figures {
    fn see(&self, seen: Seen<'_, velero::Restore>) {
        self.ledger().see_restore(&seen);
    }
}

impl Observer<velero::DeleteBackupRequest> for Figures {
    fn see(&self, seen: Seen<'_, velero::DeleteBackupRequest>) {
        self.ledger().deletions.see(&seen);
    }
}

impl Observer<velero::BackupRepository> for Figures {
    fn see(&self, seen: Seen<'_, velero::BackupRepository>) {
        self.ledger().maintenance.see(&seen);
    }
}

impl Observer<velero::Schedule> for Figures {
    fn see(&self, seen: Seen<'_, velero::Schedule>) {
        match seen {
            Seen::Gone(schedule) => {
                self.ledger().forget_schedule(schedule.metadata.name.as_deref().unwrap_or_default());
            }
            Seen::ListBegins | Seen::Listed(_) | Seen::ListEnds | Seen::Changed(_) => (),
        }
    }
}
