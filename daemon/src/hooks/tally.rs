//! How many hooks were due and how many failed, as the status of a backup or restore tells it.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Counts hooks of one run. The same hook of the same pod counts once.
#[derive(Debug)]
pub struct Tally<Identity> {
    hooks: Mutex<HashMap<Identity, End>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    NotFailed,
    Failed,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    pub attempted: u64,
    pub failed: u64,
}

impl<Identity> Default for Tally<Identity> {
    fn default() -> Self {
        Self { hooks: Mutex::default() }
    }
}

impl<Identity: std::hash::Hash + Eq> Tally<Identity> {
    /// A hook that is due, whether or not it will be reached.
    pub fn attempt(&self, hook: Identity) {
        self.lock().entry(hook).or_insert(End::NotFailed);
    }

    pub fn fail(&self, hook: Identity) {
        self.lock().insert(hook, End::Failed);
    }

    pub fn counts(&self) -> Counts {
        let hooks = self.lock();
        let failed = hooks.values().filter(|end| **end == End::Failed).count();
        Counts { attempted: hooks.len() as u64, failed: failed as u64 }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Identity, End>> {
        // Nothing is half done while the lock is held, so a panic elsewhere leaves it usable.
        self.hooks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hook_counts_once_and_a_failure_stays() {
        let tally = Tally::default();
        tally.attempt("one");
        tally.attempt("two");
        tally.fail("one");
        tally.attempt("one");
        assert_eq!(tally.counts(), Counts { attempted: 2, failed: 1 });
    }
}
