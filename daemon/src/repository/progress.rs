//! How far a transfer has come: counted by the library's threads, read by whoever tells it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rustic_core::{HiddenProgress, ProgressBars, ProgressType, RusticProgress};

/// Counts one transfer.
#[derive(Debug, Clone, Default)]
pub struct Progress(Arc<Counters>);

#[derive(Debug, Default)]
struct Counters {
    total: AtomicU64,
    done: AtomicU64,
}

/// What a transfer has come to, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Transferred {
    /// 0 until it is known.
    pub total: u64,
    pub done: u64,
}

impl Progress {
    pub fn read(&self) -> Transferred {
        Transferred { total: self.0.total.load(Ordering::Relaxed), done: self.0.done.load(Ordering::Relaxed) }
    }

    /// There are more bytes than was known.
    pub(super) fn expect(&self, bytes: u64) {
        self.0.total.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(super) fn add(&self, bytes: u64) {
        self.0.done.fetch_add(bytes, Ordering::Relaxed);
    }
}

impl ProgressBars for Progress {
    fn progress(&self, progress_type: ProgressType, _prefix: &str) -> rustic_core::Progress {
        match progress_type {
            ProgressType::Bytes => rustic_core::Progress::new(self.clone()),
            ProgressType::Spinner | ProgressType::Counter => rustic_core::Progress::new(HiddenProgress),
        }
    }
}

impl RusticProgress for Progress {
    fn is_hidden(&self) -> bool {
        false
    }

    fn set_length(&self, length: u64) {
        self.0.total.store(length, Ordering::Relaxed);
    }

    fn set_title(&self, _title: &str) {}

    fn inc(&self, bytes: u64) {
        self.0.done.fetch_add(bytes, Ordering::Relaxed);
    }

    fn finish(&self) {}
}
