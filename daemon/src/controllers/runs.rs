//! Long work that an act started: which of it is under way, and how what has ended went.
//!
//! Takes futures, gives their state to the next observe and rings the controller's bell when one ends. A process that
//! was restarted has none: finding `InProgress` without a run here is how a controller notices.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::wake::Wake;

/// Runs by the uid of the object they carry out: an object that was deleted and made again has another uid.
#[derive(Debug)]
pub struct Runs<T> {
    runs: Arc<Mutex<HashMap<String, Run<T>>>>,
    tasks: TaskTracker,
    wake: Wake,
}

#[derive(Debug)]
struct Run<T> {
    name: String,
    cancel: CancellationToken,
    ended: Option<Arc<T>>,
}

/// One run as an observe sees it.
#[derive(Debug)]
pub struct RunState<T> {
    pub name: String,
    /// How it ended; absent while it is under way.
    pub ended: Option<Arc<T>>,
}

impl<T> Clone for RunState<T> {
    fn clone(&self) -> Self {
        RunState { name: self.name.clone(), ended: self.ended.clone() }
    }
}

impl<T> Clone for Runs<T> {
    fn clone(&self) -> Self {
        Runs { runs: self.runs.clone(), tasks: self.tasks.clone(), wake: self.wake.clone() }
    }
}

impl<T: Send + Sync + 'static> Runs<T> {
    pub fn new(wake: Wake) -> Self {
        Runs { runs: Arc::default(), tasks: TaskTracker::new(), wake }
    }

    /// Starts `work` and keeps its end until [`Runs::forget`].
    pub fn start<Work: Future<Output = T> + Send + 'static>(
        &self,
        uid: &str,
        name: &str,
        work: impl FnOnce(CancellationToken) -> Work,
    ) {
        let cancel = CancellationToken::new();
        let future = work(cancel.clone());
        self.lock().insert(uid.to_owned(), Run { name: name.to_owned(), cancel, ended: None });
        let runs = self.clone();
        let uid = uid.to_owned();
        self.tasks.spawn(async move {
            let outcome = future.await;
            if let Some(run) = runs.lock().get_mut(&uid) {
                run.ended = Some(Arc::new(outcome));
            }
            runs.wake.ring();
        });
    }

    /// All runs by uid.
    pub fn states(&self) -> BTreeMap<String, RunState<T>> {
        self.lock()
            .iter()
            .map(|(uid, run)| (uid.clone(), RunState { name: run.name.clone(), ended: run.ended.clone() }))
            .collect()
    }

    /// Asks a run to end; it stays listed until it has. Tells whether this is the first time that it was asked.
    pub fn cancel(&self, uid: &str) -> bool {
        let runs = self.lock();
        let Some(run) = runs.get(uid).filter(|run| !run.cancel.is_cancelled()) else { return false };
        run.cancel.cancel();
        true
    }

    pub fn forget(&self, uid: &str) {
        self.lock().remove(uid);
    }

    /// Asks all runs to end and waits until they have.
    pub async fn stop(&self) {
        for run in self.lock().values() {
            run.cancel.cancel();
        }
        self.tasks.close();
        self.tasks.wait().await;
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Run<T>>> {
        // Nothing under this lock can panic half-way through a change, so a poisoned map is still whole.
        self.runs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_end_is_kept_until_it_is_forgotten_and_rings_the_bell() {
        let wake = Wake::default();
        let runs: Runs<u32> = Runs::new(wake.clone());
        runs.start("uid-1", "nightly", |_| async { 7 });
        wake.until(None, "2026-11-23T10:00:00Z".parse().unwrap()).await;
        let states = runs.states();
        assert_eq!(states["uid-1"].name, "nightly");
        assert_eq!(states["uid-1"].ended.as_deref(), Some(&7));
        runs.forget("uid-1");
        assert!(runs.states().is_empty());
    }

    #[tokio::test]
    async fn stopping_cancels_what_is_under_way_and_waits_for_it() {
        let runs: Runs<&str> = Runs::new(Wake::default());
        runs.start("uid-1", "nightly", |cancel| async move {
            cancel.cancelled().await;
            "cancelled"
        });
        assert!(runs.states()["uid-1"].ended.is_none());
        runs.stop().await;
        assert_eq!(runs.states()["uid-1"].ended.as_deref(), Some(&"cancelled"));
    }
}
