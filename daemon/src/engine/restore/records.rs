//! What became of every object: claimed once, settled once, and listed at the end.
//!
//! Several objects may need the same other one at the same time; the first to ask restores it and the rest wait.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// How an object is listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    Created,
    Updated,
    Failed,
    Skipped,
}

impl Action {
    fn word(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Updated => "updated",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
        }
    }
}

/// What became of one object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Record {
    /// As if it had not been in the archive.
    Unlisted,
    Listed(Action),
    /// Created, under another name than it had.
    Renamed(String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Untouched,
    Claimed,
    Unlisted,
    Listed(Action),
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Claim {
    /// The caller restores the object and settles it.
    Ours,
    /// Somebody else has.
    Settled,
}

#[derive(Debug)]
pub(crate) struct Records {
    inner: Mutex<Inner>,
    settled: Notify,
}

#[derive(Debug)]
struct Inner {
    states: Vec<State>,
    renamed: BTreeMap<usize, String>,
    listed: u64,
}

impl Records {
    pub(crate) fn new(objects: usize) -> Self {
        let inner = Inner { states: vec![State::Untouched; objects], renamed: BTreeMap::new(), listed: 0 };
        Self { inner: Mutex::new(inner), settled: Notify::new() }
    }

    /// Waits while somebody else is at it.
    pub(crate) async fn claim(&self, position: usize) -> Claim {
        loop {
            let settled = self.settled.notified();
            {
                let mut inner = self.lock();
                match inner.states.get(position) {
                    Some(State::Untouched) => {
                        inner.states[position] = State::Claimed;
                        return Claim::Ours;
                    }
                    Some(State::Claimed) => {}
                    Some(State::Unlisted | State::Listed(_)) | None => return Claim::Settled,
                }
            }
            settled.await;
        }
    }

    /// Gives the number of listed objects so far.
    pub(crate) fn settle(&self, position: usize, record: Record) -> u64 {
        let mut inner = self.lock();
        let state = match record {
            Record::Unlisted => State::Unlisted,
            Record::Listed(action) => State::Listed(action),
            Record::Renamed(name) => {
                inner.renamed.insert(position, name);
                State::Listed(Action::Created)
            }
        };
        if matches!(state, State::Listed(_)) {
            inner.listed += 1;
        }
        if let Some(place) = inner.states.get_mut(position) {
            *place = state;
        }
        let listed = inner.listed;
        drop(inner);
        self.settled.notify_waiters();
        listed
    }

    pub(crate) fn is_new(&self, position: usize) -> bool {
        matches!(self.lock().states.get(position), Some(State::Listed(Action::Created | Action::Updated)))
    }

    pub(crate) fn has_failed(&self, position: usize) -> bool {
        matches!(self.lock().states.get(position), Some(State::Listed(Action::Failed)))
    }

    pub(crate) fn is_created(&self, position: usize) -> bool {
        matches!(self.lock().states.get(position), Some(State::Listed(Action::Created)))
    }

    /// What an object that is there now is called; none where it was left out or failed.
    pub(crate) fn name_of(&self, position: usize, name: &str) -> Option<String> {
        let inner = self.lock();
        match inner.states.get(position)? {
            State::Listed(Action::Created | Action::Updated | Action::Skipped) => {
                Some(inner.renamed.get(&position).map_or(name, String::as_str).to_owned())
            }
            State::Untouched | State::Claimed | State::Unlisted | State::Listed(Action::Failed) => None,
        }
    }

    pub(crate) fn listed(&self) -> u64 {
        self.lock().listed
    }

    /// The list for the bucket. `describe` gives kind, target namespace and name of an object; `others` are
    /// objects that are not in the archive.
    pub(crate) fn list<'a>(
        &self,
        describe: impl Fn(usize) -> (String, Option<&'a str>, &'a str),
        others: &[(String, String)],
    ) -> BTreeMap<String, BTreeSet<String>> {
        let inner = self.lock();
        let mut list: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for (position, state) in inner.states.iter().enumerate() {
            let State::Listed(action) = state else { continue };
            let (kind, namespace, name) = describe(position);
            let name = inner.renamed.get(&position).map_or(name, String::as_str);
            list.entry(kind).or_default().insert(line(namespace, name, *action));
        }
        for (kind, name) in others {
            list.entry(kind.clone()).or_default().insert(line(None, name, Action::Created));
        }
        list
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Nothing under this lock panics half-way through a change.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn line(namespace: Option<&str>, name: &str, action: Action) -> String {
    match namespace {
        Some(namespace) => format!("{namespace}/{name}({})", action.word()),
        None => format!("{name}({})", action.word()),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[tokio::test]
    async fn an_object_is_claimed_once_and_the_others_wait_until_it_is_settled() {
        let records = Arc::new(Records::new(1));
        assert_eq!(records.claim(0).await, Claim::Ours);
        let waiting = tokio::spawn({
            let records = records.clone();
            async move { records.claim(0).await }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        records.settle(0, Record::Listed(Action::Created));
        assert_eq!(waiting.await.unwrap(), Claim::Settled);
    }

    #[tokio::test]
    async fn the_list_names_what_was_listed_under_the_name_it_got() {
        let records = Records::new(4);
        let ends = [Record::Listed(Action::Skipped), Record::Renamed("c".to_owned()), Record::Unlisted];
        for (position, record) in ends.into_iter().enumerate() {
            assert_eq!(records.claim(position).await, Claim::Ours);
            records.settle(position, record);
        }
        let names = ["a", "b", "x", "untouched"];
        let list = records.list(
            |position| ("v1/ConfigMap".to_owned(), Some("shop"), names[position]),
            &[("v1/Namespace".to_owned(), "shop".to_owned())],
        );
        let lines = |lines: &[&str]| lines.iter().map(|line| (*line).to_owned()).collect::<BTreeSet<_>>();
        assert_eq!(list["v1/ConfigMap"], lines(&["shop/a(skipped)", "shop/c(created)"]));
        assert_eq!(list["v1/Namespace"], lines(&["shop(created)"]));
        assert_eq!(records.listed(), 2);
    }
}
