//! What the buckets know about objects that are made once, taken into account before they are made: pure.
//!
//! In: decided actions, and a [`Verdict`] for each object that is about to be created. Out: actions again. Who looks
//! into the buckets, and when, is left to the caller.

use std::collections::BTreeMap;

use super::decide::{Action, LeaveReason, Step};
use super::object::{Desired, Key, Lifecycle};

/// An object that would be made now, once.
#[derive(Debug, Clone, PartialEq)]
pub struct Creation<'a> {
    pub desired: &'a Desired,
    /// The backup that was looked up for a Restore.
    pub backup: Option<&'a str>,
}

/// What the buckets say about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    NotRun,
    Ran,
    /// Somebody is looking.
    Asking,
    Unread {
        why: String,
    },
}

/// The objects that need a verdict.
pub fn creations<'a>(actions: &'a [Action], desired: &'a [Desired]) -> Vec<Creation<'a>> {
    let backups: BTreeMap<&Key, Option<&str>> = actions
        .iter()
        .filter(|action| action.key.kind.lifecycle() == Lifecycle::CreatedOnce)
        .filter_map(|action| match &action.step {
            Step::CreateOnce => Some((&action.key, None)),
            Step::CreateRestore { backup } => Some((&action.key, Some(backup.as_str()))),
            Step::Apply(_) | Step::Prune { .. } | Step::Leave(_) => None,
        })
        .collect();
    let creation =
        |desired: &'a Desired| backups.get(&desired.key).map(|backup| Creation { desired, backup: *backup });
    desired.iter().filter_map(creation).collect()
}

/// Leaves what ran before, and what nobody knows about.
pub fn consult(actions: Vec<Action>, verdicts: &BTreeMap<Key, Verdict>) -> Vec<Action> {
    let consult = |Action { key, step }: Action| {
        let step = match (step, verdicts.get(&key)) {
            (Step::CreateOnce | Step::CreateRestore { .. }, Some(Verdict::Ran)) => {
                Step::Leave(LeaveReason::RanBefore)
            }
            (Step::CreateOnce | Step::CreateRestore { .. }, Some(Verdict::Asking)) => {
                Step::Leave(LeaveReason::BucketAsked)
            }
            (Step::CreateOnce | Step::CreateRestore { .. }, Some(Verdict::Unread { why })) => {
                Step::Leave(LeaveReason::BucketUnread { why: why.clone() })
            }
            (step, Some(_) | None) => step,
        };
        Action { key, step }
    };
    actions.into_iter().map(consult).collect()
}

#[cfg(test)]
mod tests {
    use pretty_assertions::assert_eq;
    use serde_json::Value;

    use super::super::object::Kind;
    use super::*;

    fn key(kind: Kind) -> Key {
        Key { kind, name: "shop".to_owned() }
    }

    fn action(kind: Kind, step: Step) -> Action {
        Action { key: key(kind), step }
    }

    #[test]
    fn only_what_is_made_once_needs_a_verdict() {
        let desired = [Kind::ConfigMap, Kind::Backup, Kind::Restore].map(|kind| Desired {
            key: key(kind),
            policy: "shop".to_owned(),
            content_hash: "h1".to_owned(),
            value: Value::Null,
            at_creation: None,
            gate: None,
        });
        let actions = [
            action(Kind::ConfigMap, Step::CreateOnce),
            action(Kind::Backup, Step::CreateOnce),
            action(Kind::Restore, Step::CreateRestore { backup: "b".to_owned() }),
        ];
        let found = creations(&actions, &desired);
        let shown: Vec<_> = found.iter().map(|one| (one.desired.key.kind, one.backup)).collect();
        assert_eq!(shown, [(Kind::Backup, None), (Kind::Restore, Some("b"))]);
    }

    #[test]
    fn nothing_is_made_that_ran_or_that_nobody_knows_about() {
        let why = "no such bucket".to_owned();
        for (verdict, expected) in [
            (Verdict::NotRun, Step::CreateOnce),
            (Verdict::Ran, Step::Leave(LeaveReason::RanBefore)),
            (Verdict::Asking, Step::Leave(LeaveReason::BucketAsked)),
            (Verdict::Unread { why: why.clone() }, Step::Leave(LeaveReason::BucketUnread { why })),
        ] {
            let verdicts = BTreeMap::from([(key(Kind::Backup), verdict)]);
            let actions = consult(vec![action(Kind::Backup, Step::CreateOnce)], &verdicts);
            assert_eq!(actions, [action(Kind::Backup, expected)]);
        }
    }
}
