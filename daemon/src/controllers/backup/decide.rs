//! What is to be done with every Backup that has not ended: the queue, the runs, and what a restart left behind.
//!
//! A pure function of what was observed. Validating, running and writing are left to `act`.

use std::collections::BTreeMap;
use std::sync::Arc;

use holdfast_policy::annotations::CANCEL;
use holdfast_policy::velero;
use holdfast_policy::velero::BackupPhase;

use crate::controllers::OnRestart;
use crate::controllers::claim::{Claim, Owner};
use crate::controllers::runs::RunState;

use super::hooks_overlap::hooks_overlap;
use super::run::{Completion, End};

/// Everything that decides about backups.
#[derive(Debug)]
pub struct Observed {
    /// Those that have not ended, in any order.
    pub unfinished: Vec<Unfinished>,
    /// Runs of this process by the uid of their Backup.
    pub runs: BTreeMap<String, RunState<End>>,
    /// Writings of `velero-backup.json`, likewise.
    pub completions: BTreeMap<String, RunState<Completion>>,
    pub claim: Claim,
    pub limit: usize,
    pub on_restart: OnRestart,
}

#[derive(Clone, Debug)]
pub struct Unfinished {
    pub backup: Arc<velero::Backup>,
    pub location: Location,
}

/// What a backup's location says about itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Location {
    /// There is one, and nobody has checked it yet.
    NotChecked,
    /// Checked, whatever came out, or not there at all: validation has the word.
    Settled,
}

/// What to do, and about what.
#[derive(Debug, PartialEq)]
pub enum Step {
    Backup {
        backup: Arc<velero::Backup>,
        decision: Decision,
    },
    /// A run whose Backup is gone.
    Run {
        uid: String,
        decision: OrphanDecision,
    },
}

#[derive(Clone, Debug, PartialEq)]
pub enum Decision {
    Enqueue {
        position: i64,
    },
    MoveUp {
        position: i64,
    },
    MakeReady,
    Start,
    /// In progress, ours, and no run of this process carries it out.
    Resume,
    FailAfterRestart,
    /// A person wants it to end, and no run of it has begun.
    FailCancelled,
    /// A person wants the run to end.
    Cancel,
    /// The run has ended.
    Finish {
        end: Arc<End>,
    },
    /// The archive and its files are in the bucket; the metadata that makes a backup of them is not.
    Complete,
    /// The metadata was written, or could not be.
    NoteCompletion {
        completion: Arc<Completion>,
    },
    Wait {
        reason: Wait,
    },
    LeaveAlone {
        owner: Owner,
    },
}

/// What a backup waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wait {
    LocationNotChecked,
    SlotsTaken {
        by: usize,
    },
    /// Both run hooks in the same namespaces.
    Hooks {
        of: String,
    },
    RunUnderWay,
    CompletionUnderWay,
    /// Somebody deletes it.
    Deletion,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OrphanDecision {
    Cancel,
    Forget,
}

pub fn decide(observed: &Observed) -> Vec<Step> {
    let mut steps = orphans(observed);
    let mut queue: Vec<&Unfinished> = Vec::new();
    let mut active: Vec<&velero::Backup> = Vec::new();
    for unfinished in &observed.unfinished {
        let backup = &unfinished.backup;
        match backup.status_phase() {
            BackupPhase::New | BackupPhase::Queued | BackupPhase::ReadyToStart if is_cancelled(backup) => {
                steps.push(Step::Backup { backup: backup.clone(), decision: Decision::FailCancelled });
            }
            BackupPhase::New | BackupPhase::Queued => queue.push(unfinished),
            phase => {
                if matches!(phase, BackupPhase::ReadyToStart | BackupPhase::InProgress) {
                    active.push(backup);
                }
                let decision = in_hand(observed, backup, phase);
                steps.push(Step::Backup { backup: backup.clone(), decision });
            }
        }
    }
    queue.sort_by_key(|unfinished| place_in_queue(&unfinished.backup));
    steps.extend(queued(&queue, active, observed.limit));
    steps
}

fn orphans(observed: &Observed) -> Vec<Step> {
    let known =
        |uid: &str| observed.unfinished.iter().any(|one| one.backup.metadata.uid.as_deref() == Some(uid));
    let runs = observed.runs.iter().map(|(uid, run)| (uid, run.ended.is_some()));
    let completions = observed.completions.iter().map(|(uid, run)| (uid, run.ended.is_some()));
    runs.chain(completions)
        .filter(|(uid, _)| !known(uid))
        .map(|(uid, has_ended)| {
            let decision = if has_ended { OrphanDecision::Forget } else { OrphanDecision::Cancel };
            Step::Run { uid: uid.clone(), decision }
        })
        .collect()
}

/// Whether a person wants it to end. One that is about to be completed is: all but its last file is in the bucket.
pub(super) fn is_cancelled(backup: &velero::Backup) -> bool {
    backup.metadata.annotations.as_ref().is_some_and(|annotations| annotations.contains_key(CANCEL))
}

/// Backups that have left the queue.
fn in_hand(observed: &Observed, backup: &velero::Backup, phase: BackupPhase) -> Decision {
    let uid = backup.metadata.uid.as_deref().unwrap_or_default();
    let owner = || observed.claim.owner_of(backup.metadata.annotations.as_ref());
    match phase {
        BackupPhase::New | BackupPhase::Queued | BackupPhase::ReadyToStart => Decision::Start,
        // The run itself waits for what others do.
        BackupPhase::InProgress
        | BackupPhase::WaitingForPluginOperations
        | BackupPhase::WaitingForPluginOperationsPartiallyFailed => match observed.runs.get(uid) {
            Some(RunState { ended: Some(end), .. }) => Decision::Finish { end: end.clone() },
            Some(RunState { ended: None, .. }) if is_cancelled(backup) => Decision::Cancel,
            Some(RunState { ended: None, .. }) => Decision::Wait { reason: Wait::RunUnderWay },
            None => match (owner(), observed.on_restart) {
                (Owner::Us, OnRestart::Resume) => Decision::Resume,
                (Owner::Us, OnRestart::Fail) => Decision::FailAfterRestart,
                (owner, _) => Decision::LeaveAlone { owner },
            },
        },
        BackupPhase::Finalizing | BackupPhase::FinalizingPartiallyFailed => match owner() {
            Owner::Us => match observed.completions.get(uid) {
                None => Decision::Complete,
                Some(RunState { ended: None, .. }) => Decision::Wait { reason: Wait::CompletionUnderWay },
                Some(RunState { ended: Some(completion), .. }) => {
                    Decision::NoteCompletion { completion: completion.clone() }
                }
            },
            owner @ (Owner::Foreign | Owner::Successor(_)) => Decision::LeaveAlone { owner },
        },
        BackupPhase::Deleting
        | BackupPhase::FailedValidation
        | BackupPhase::Completed
        | BackupPhase::PartiallyFailed
        | BackupPhase::Failed => Decision::Wait { reason: Wait::Deletion },
    }
}

/// The queue in its order: each backup that may start does, the others close ranks.
fn queued<'a>(queue: &[&'a Unfinished], mut active: Vec<&'a velero::Backup>, limit: usize) -> Vec<Step> {
    let mut waiting = 0;
    let mut steps = Vec::new();
    for unfinished in queue {
        let backup = &unfinished.backup;
        let decision = if backup.status_phase() == BackupPhase::New {
            waiting += 1;
            Decision::Enqueue { position: waiting }
        } else if let Some(reason) = blocked(unfinished, &active, limit) {
            waiting += 1;
            if backup.status.queue_position == waiting {
                Decision::Wait { reason }
            } else {
                Decision::MoveUp { position: waiting }
            }
        } else {
            active.push(backup);
            Decision::MakeReady
        };
        steps.push(Step::Backup { backup: backup.clone(), decision });
    }
    steps
}

fn blocked(unfinished: &Unfinished, active: &[&velero::Backup], limit: usize) -> Option<Wait> {
    if unfinished.location == Location::NotChecked {
        return Some(Wait::LocationNotChecked);
    }
    if active.len() >= limit {
        return Some(Wait::SlotsTaken { by: active.len() });
    }
    let other = active.iter().find(|other| hooks_overlap(&unfinished.backup.spec, &other.spec))?;
    Some(Wait::Hooks { of: other.metadata.name.clone().unwrap_or_default() })
}

/// Those with a position first, in its order, then the others by age.
fn place_in_queue(backup: &velero::Backup) -> impl Ord + use<> {
    let position = backup.status.queue_position;
    (
        position == 0,
        position,
        backup.metadata.creation_timestamp.as_ref().map(|created| created.0),
        backup.metadata.name.clone(),
    )
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn backup(name: &str, status: Value) -> Unfinished {
        let backup = json!({
            "metadata": {
                "name": name, "uid": format!("uid-{name}"), "creationTimestamp": "2026-11-23T10:00:00Z",
                "annotations": {"holdfast.dev/run-owner": "us/2"},
            },
            "status": status,
        });
        Unfinished { backup: Arc::new(serde_json::from_value(backup).unwrap()), location: Location::Settled }
    }

    fn change(unfinished: Unfinished, change: impl FnOnce(&mut velero::Backup)) -> Unfinished {
        let mut backup = unfinished.backup.as_ref().clone();
        change(&mut backup);
        Unfinished { backup: Arc::new(backup), ..unfinished }
    }

    fn observed(unfinished: Vec<Unfinished>) -> Observed {
        Observed {
            unfinished,
            runs: BTreeMap::new(),
            completions: BTreeMap::new(),
            claim: Claim { holder: "us".to_owned(), epoch: 2 },
            limit: 2,
            on_restart: OnRestart::Resume,
        }
    }

    fn with_run(mut observed: Observed, uid: &str, ended: Option<End>) -> Observed {
        let run = RunState { name: String::new(), ended: ended.map(Arc::new) };
        observed.runs.insert(uid.to_owned(), run);
        observed
    }

    fn decisions(observed: &Observed) -> Vec<(String, Decision)> {
        decide(observed)
            .into_iter()
            .filter_map(|step| match step {
                Step::Backup { backup, decision } => Some((backup.metadata.name.clone()?, decision)),
                Step::Run { .. } => None,
            })
            .collect()
    }

    fn expected(decisions: &[(&str, Decision)]) -> Vec<(String, Decision)> {
        decisions.iter().map(|(name, decision)| ((*name).to_owned(), decision.clone())).collect()
    }

    fn queued_at(position: i64) -> Value {
        json!({"phase": "Queued", "queuePosition": position})
    }

    #[test]
    fn new_backups_queue_up_behind_those_that_wait() {
        let observed = Observed {
            limit: 0,
            ..observed(vec![
                backup("fresh", json!({})),
                backup("second", queued_at(2)),
                backup("first", queued_at(1)),
            ])
        };
        let wait = Decision::Wait { reason: Wait::SlotsTaken { by: 0 } };
        assert_eq!(
            decisions(&observed),
            expected(&[
                ("first", wait.clone()),
                ("second", wait),
                ("fresh", Decision::Enqueue { position: 3 }),
            ])
        );
    }

    #[test]
    fn as_many_leave_the_queue_as_may_run_and_the_others_close_ranks() {
        let observed = observed(vec![
            backup("running", json!({"phase": "InProgress"})),
            backup("first", queued_at(1)),
            backup("second", queued_at(2)),
        ]);
        assert_eq!(
            decisions(&with_run(observed, "uid-running", None)),
            expected(&[
                ("running", Decision::Wait { reason: Wait::RunUnderWay }),
                ("first", Decision::MakeReady),
                ("second", Decision::MoveUp { position: 1 }),
            ])
        );
    }

    #[test]
    fn a_backup_that_is_ready_holds_a_slot_and_starts_also_after_a_restart() {
        let observed = Observed {
            limit: 1,
            ..observed(vec![backup("ready", json!({"phase": "ReadyToStart"})), backup("next", queued_at(1))])
        };
        assert_eq!(
            decisions(&observed),
            expected(&[
                ("ready", Decision::Start),
                ("next", Decision::Wait { reason: Wait::SlotsTaken { by: 1 } }),
            ])
        );
    }

    #[test]
    fn a_location_that_nobody_has_checked_is_waited_for_without_holding_a_slot() {
        let waiting = Unfinished { location: Location::NotChecked, ..backup("waiting", queued_at(1)) };
        let observed = Observed { limit: 1, ..observed(vec![waiting, backup("next", queued_at(2))]) };
        assert_eq!(
            decisions(&observed),
            expected(&[
                ("waiting", Decision::Wait { reason: Wait::LocationNotChecked }),
                ("next", Decision::MakeReady),
            ])
        );
    }

    #[test]
    fn backups_of_one_namespace_run_together_unless_both_have_hooks() {
        let with_hooks = |name: &str| {
            change(backup(name, queued_at(1)), |backup| backup.spec.hooks.resources.push(Default::default()))
        };
        let names = observed(vec![with_hooks("a"), backup("b", queued_at(2))]);
        assert_eq!(decisions(&names), expected(&[("a", Decision::MakeReady), ("b", Decision::MakeReady)]));
        let hooks = observed(vec![with_hooks("a"), with_hooks("b")]);
        assert_eq!(
            decisions(&hooks),
            expected(&[
                ("a", Decision::MakeReady),
                ("b", Decision::Wait { reason: Wait::Hooks { of: "a".to_owned() } }),
            ])
        );
    }

    #[test]
    fn after_a_restart_our_own_runs_are_taken_up_and_others_left_alone() {
        let ours = || backup("a", json!({"phase": "InProgress"}));
        let foreign = || change(ours(), |backup| backup.metadata.annotations = None);
        assert_eq!(decisions(&observed(vec![ours()])), expected(&[("a", Decision::Resume)]));
        let configured = Observed { on_restart: OnRestart::Fail, ..observed(vec![ours()]) };
        assert_eq!(decisions(&configured), expected(&[("a", Decision::FailAfterRestart)]));
        assert_eq!(
            decisions(&observed(vec![foreign()])),
            expected(&[("a", Decision::LeaveAlone { owner: Owner::Foreign })])
        );
        let configured = Observed { on_restart: OnRestart::Fail, ..observed(vec![foreign()]) };
        assert_eq!(
            decisions(&configured),
            expected(&[("a", Decision::LeaveAlone { owner: Owner::Foreign })])
        );
    }

    #[test]
    fn a_backup_that_a_person_cancels_ends_at_once_or_with_its_run() {
        let cancelled = |status: Value| {
            change(backup("a", status), |backup| {
                let annotations = backup.metadata.annotations.get_or_insert_default();
                annotations.insert("holdfast.dev/cancel".to_owned(), String::new());
            })
        };
        for status in [json!({}), queued_at(1), json!({"phase": "ReadyToStart"})] {
            let decided = decisions(&observed(vec![cancelled(status)]));
            assert_eq!(decided, expected(&[("a", Decision::FailCancelled)]));
        }
        let running = || observed(vec![cancelled(json!({"phase": "InProgress"}))]);
        assert_eq!(decisions(&with_run(running(), "uid-a", None)), expected(&[("a", Decision::Cancel)]));
        // What an earlier process left of it has to be cleared away first.
        assert_eq!(decisions(&running()), expected(&[("a", Decision::Resume)]));
        let end = Decision::Finish { end: Arc::new(End::Stopped) };
        assert_eq!(decisions(&with_run(running(), "uid-a", Some(End::Stopped))), expected(&[("a", end)]));
        let late = observed(vec![cancelled(json!({"phase": "Finalizing"}))]);
        assert_eq!(decisions(&late), expected(&[("a", Decision::Complete)]));
    }

    #[test]
    fn a_run_that_waits_for_others_holds_no_slot_and_is_a_run_all_the_same() {
        for phase in ["WaitingForPluginOperations", "WaitingForPluginOperationsPartiallyFailed"] {
            let waiting = || backup("a", json!({"phase": phase}));
            let both = Observed { limit: 1, ..observed(vec![waiting(), backup("next", queued_at(1))]) };
            assert_eq!(
                decisions(&with_run(both, "uid-a", None)),
                expected(&[
                    ("a", Decision::Wait { reason: Wait::RunUnderWay }),
                    ("next", Decision::MakeReady),
                ])
            );
            let ended = with_run(observed(vec![waiting()]), "uid-a", Some(End::Stopped));
            let finish = Decision::Finish { end: Arc::new(End::Stopped) };
            assert_eq!(decisions(&ended), expected(&[("a", finish)]));
            assert_eq!(decisions(&observed(vec![waiting()])), expected(&[("a", Decision::Resume)]));
        }
    }

    #[test]
    fn a_run_that_ended_is_finished_and_then_completed() {
        let ended = with_run(
            observed(vec![backup("a", json!({"phase": "InProgress"}))]),
            "uid-a",
            Some(End::Stopped),
        );
        assert_eq!(decisions(&ended), expected(&[("a", Decision::Finish { end: Arc::new(End::Stopped) })]));
        for phase in ["Finalizing", "FinalizingPartiallyFailed"] {
            let finalizing = observed(vec![backup("a", json!({"phase": phase}))]);
            assert_eq!(decisions(&finalizing), expected(&[("a", Decision::Complete)]));
        }
    }

    #[test]
    fn metadata_that_was_written_or_not_is_noted_before_anything_else() {
        for completion in [
            Completion::Written { at: "2026-11-23T10:05:00Z".parse().unwrap() },
            Completion::NotWritten { reason: "bucket full".to_owned() },
        ] {
            let mut observed = observed(vec![backup("a", json!({"phase": "Finalizing"}))]);
            let mut run = RunState { name: String::new(), ended: None };
            observed.completions.insert("uid-a".to_owned(), run.clone());
            let wait = Decision::Wait { reason: Wait::CompletionUnderWay };
            assert_eq!(decisions(&observed), expected(&[("a", wait)]));
            let completion = Arc::new(completion);
            run.ended = Some(completion.clone());
            observed.completions.insert("uid-a".to_owned(), run);
            assert_eq!(decisions(&observed), expected(&[("a", Decision::NoteCompletion { completion })]));
        }
    }

    #[test]
    fn a_run_without_its_backup_is_cancelled_and_then_forgotten() {
        let step = |decision| vec![Step::Run { uid: "uid-gone".to_owned(), decision }];
        assert_eq!(decide(&with_run(observed(vec![]), "uid-gone", None)), step(OrphanDecision::Cancel));
        let ended = with_run(observed(vec![]), "uid-gone", Some(End::Stopped));
        assert_eq!(decide(&ended), step(OrphanDecision::Forget));
    }
}
