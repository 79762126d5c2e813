//! One backup at a time runs hooks in a pod: a second one that froze it while the first copies would have it thawed
//! under its own hands.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::{Mutex as Gate, OwnedMutexGuard};

type Key = (String, String);

/// Shared by all backups of a process.
#[derive(Debug, Clone, Default)]
pub struct Turns {
    gates: Arc<Mutex<HashMap<Key, Weak<Gate<()>>>>>,
}

/// The right to run hooks in one pod; given back when dropped.
#[derive(Debug)]
pub struct Turn {
    _guard: OwnedMutexGuard<()>,
}

impl Turns {
    /// Waits until nobody else has the turn in this pod, and says in the log that it does. Whoever wants several takes
    /// them in the order of their namespaces and names.
    pub async fn take(&self, backup: &str, namespace: &str, pod: &str) -> Turn {
        let gate = self.gate(namespace, pod);
        let guard = match gate.clone().try_lock_owned() {
            Ok(guard) => guard,
            Err(_) => {
                tracing::info!(backup, namespace, pod, "waits for the hooks of another backup in this pod");
                gate.lock_owned().await
            }
        };
        Turn { _guard: guard }
    }

    fn gate(&self, namespace: &str, pod: &str) -> Arc<Gate<()>> {
        let mut gates = self.gates.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (namespace.to_owned(), pod.to_owned());
        if let Some(gate) = gates.get(&key).and_then(Weak::upgrade) {
            return gate;
        }
        gates.retain(|_, gate| gate.strong_count() > 0);
        let gate = Arc::new(Gate::new(()));
        gates.insert(key, Arc::downgrade(&gate));
        gate
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn a_pod_is_one_backups_at_a_time_and_forgotten_afterwards() {
        let turns = Turns::default();
        let first = turns.take("one", "shop", "db").await;
        let other_pod = turns.take("two", "shop", "web").await;
        assert!(turns.take("two", "shop", "db").now_or_never().is_none());
        drop(first);
        drop(turns.take("two", "shop", "db").await);
        drop(other_pod);
        drop(turns.take("one", "blog", "web").await);
        assert_eq!(turns.gates.lock().unwrap().len(), 1);
    }
}
