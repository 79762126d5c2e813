//! How far a backup or a restore has come, and what happened to it since it was last seen. Pure.

use std::collections::HashMap;

use holdfast_policy::velero::{BackupPhase, RestorePhase};

use crate::controllers::watched::{Record, Seen};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    Waiting,
    Running,
    /// Well or not.
    Ended,
    /// It failed validation.
    Refused,
    Deleting,
}

/// What counters count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Event {
    Started,
    Ended,
    Refused,
    DeletionStarted,
    DeletionFailed,
    DeletionDone,
}

/// What was known about an object before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Before {
    /// Nothing, and it was there when we started: all that has happened to it counts.
    AtStart,
    /// Nothing. If it has ended already it was not made here, but found in a bucket.
    Unseen,
    At(Stage),
}

impl From<BackupPhase> for Stage {
    fn from(phase: BackupPhase) -> Self {
        match phase {
            BackupPhase::New | BackupPhase::Queued | BackupPhase::ReadyToStart => Stage::Waiting,
            BackupPhase::InProgress
            | BackupPhase::WaitingForPluginOperations
            | BackupPhase::WaitingForPluginOperationsPartiallyFailed
            | BackupPhase::Finalizing
            | BackupPhase::FinalizingPartiallyFailed => Stage::Running,
            BackupPhase::Completed | BackupPhase::PartiallyFailed | BackupPhase::Failed => Stage::Ended,
            BackupPhase::FailedValidation => Stage::Refused,
            BackupPhase::Deleting => Stage::Deleting,
        }
    }
}

impl From<RestorePhase> for Stage {
    fn from(phase: RestorePhase) -> Self {
        match phase {
            RestorePhase::New => Stage::Waiting,
            RestorePhase::InProgress
            | RestorePhase::WaitingForPluginOperations
            | RestorePhase::WaitingForPluginOperationsPartiallyFailed
            | RestorePhase::Finalizing
            | RestorePhase::FinalizingPartiallyFailed => Stage::Running,
            RestorePhase::Completed | RestorePhase::PartiallyFailed | RestorePhase::Failed => Stage::Ended,
            RestorePhase::FailedValidation => Stage::Refused,
        }
    }
}

fn events(before: Before, now: Stage) -> &'static [Event] {
    use Event::{DeletionFailed, DeletionStarted, Ended as End, Refused as Refusal, Started};
    use Stage::{Deleting, Ended, Refused, Running, Waiting};
    match (before, now) {
        (Before::Unseen, Ended | Refused) => &[],
        (Before::AtStart | Before::Unseen, now) => events(Before::At(Waiting), now),
        (Before::At(Waiting), Running) => &[Started],
        (Before::At(Waiting), Ended) => &[Started, End],
        (Before::At(Running), Ended) => &[End],
        (Before::At(Waiting | Running), Refused) => &[Refusal],
        (Before::At(Waiting | Running | Ended | Refused), Deleting) => &[DeletionStarted],
        (Before::At(Deleting), Waiting | Running | Ended | Refused) => &[DeletionFailed],
        (Before::At(_), _) => &[],
    }
}

/// The objects of one kind by uid, as they were last seen.
#[derive(Debug, Default)]
pub(super) struct Stages {
    known: HashMap<String, Stage>,
    /// What was known before the list that is under way.
    before_list: HashMap<String, Stage>,
    listed_once: bool,
}

impl Stages {
    /// What has happened to the object, where one is seen.
    pub(super) fn see<K: Record>(
        &mut self,
        seen: &Seen<'_, K>,
        stage: impl Fn(&K) -> Stage,
    ) -> &'static [Event] {
        match seen {
            Seen::ListBegins => {
                self.before_list = std::mem::take(&mut self.known);
                &[]
            }
            Seen::ListEnds => {
                self.before_list = HashMap::new();
                self.listed_once = true;
                &[]
            }
            Seen::Listed(object) | Seen::Changed(object) => {
                let uid = object.meta().uid.clone().unwrap_or_default();
                let now = stage(object);
                let before = self.known.insert(uid.clone(), now).or_else(|| self.before_list.remove(&uid));
                let unknown = if self.listed_once { Before::Unseen } else { Before::AtStart };
                events(before.map_or(unknown, Before::At), now)
            }
            Seen::Gone(object) => match self.known.remove(object.meta().uid.as_deref().unwrap_or_default()) {
                Some(Stage::Deleting) => &[Event::DeletionDone],
                Some(Stage::Waiting | Stage::Running | Stage::Ended | Stage::Refused) | None => &[],
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use holdfast_policy::velero::Backup;
    use serde_json::json;

    use super::*;

    fn backup(uid: &str, phase: &str) -> Backup {
        serde_json::from_value(json!({"metadata": {"name": uid, "uid": uid}, "status": {"phase": phase}}))
            .unwrap()
    }

    fn see(stages: &mut Stages, seen: Seen<'_, Backup>) -> Vec<Event> {
        stages.see(&seen, |backup| backup.status_phase().into()).to_vec()
    }

    #[test]
    fn a_run_is_counted_once_at_each_step() {
        let mut stages = Stages::default();
        see(&mut stages, Seen::ListBegins);
        see(&mut stages, Seen::ListEnds);
        let life = [
            ("New", vec![]),
            ("Queued", vec![]),
            ("InProgress", vec![Event::Started]),
            ("InProgress", vec![]),
            ("Finalizing", vec![]),
            ("Completed", vec![Event::Ended]),
            ("Completed", vec![]),
            ("Deleting", vec![Event::DeletionStarted]),
            ("Completed", vec![Event::DeletionFailed]),
            ("Deleting", vec![Event::DeletionStarted]),
        ];
        for (phase, expected) in life {
            assert_eq!(see(&mut stages, Seen::Changed(&backup("a", phase))), expected, "{phase}");
        }
        assert_eq!(see(&mut stages, Seen::Gone(&backup("a", "Deleting"))), [Event::DeletionDone]);
    }

    #[test]
    fn what_is_there_at_the_start_counts_and_what_is_found_in_a_bucket_later_does_not() {
        let mut stages = Stages::default();
        see(&mut stages, Seen::ListBegins);
        let at_start = [
            ("New", vec![]),
            ("InProgress", vec![Event::Started]),
            ("PartiallyFailed", vec![Event::Started, Event::Ended]),
            ("FailedValidation", vec![Event::Refused]),
        ];
        for (phase, expected) in at_start {
            assert_eq!(see(&mut stages, Seen::Listed(&backup(phase, phase))), expected, "{phase}");
        }
        see(&mut stages, Seen::ListEnds);
        assert_eq!(see(&mut stages, Seen::Changed(&backup("imported", "Completed"))), []);
        assert_eq!(see(&mut stages, Seen::Changed(&backup("quick", "InProgress"))), [Event::Started]);
    }

    #[test]
    fn a_second_list_counts_only_what_has_changed() {
        let mut stages = Stages::default();
        see(&mut stages, Seen::ListBegins);
        see(&mut stages, Seen::Listed(&backup("a", "InProgress")));
        see(&mut stages, Seen::Listed(&backup("b", "Completed")));
        see(&mut stages, Seen::ListEnds);
        see(&mut stages, Seen::ListBegins);
        assert_eq!(see(&mut stages, Seen::Listed(&backup("a", "Completed"))), [Event::Ended]);
        assert_eq!(see(&mut stages, Seen::Listed(&backup("b", "Completed"))), []);
        see(&mut stages, Seen::ListEnds);
        assert_eq!(stages.known.len(), 2);
        assert!(stages.before_list.is_empty());
    }
}
