//! What is to be done with every Restore that has not ended or is being deleted.
//!
//! A pure function of what was observed. Validating, running and writing are left to `act`.

use std::collections::BTreeMap;
use std::sync::Arc;

use holdfast_policy::velero;
use holdfast_policy::velero::{RestorePhase, labels};

use crate::controllers::OnRestart;
use crate::controllers::claim::{Claim, Owner};
use crate::controllers::runs::RunState;

use super::run::{End, Removal};

/// Everything that decides about restores.
#[derive(Debug)]
pub struct Observed {
    /// Those that have not ended, and those that are being deleted.
    pub restores: Vec<Pending>,
    /// Runs of this process by the uid of their Restore.
    pub runs: BTreeMap<String, RunState<End>>,
    /// Removals of a deleted restore's files, likewise.
    pub removals: BTreeMap<String, RunState<Removal>>,
    pub claim: Claim,
    pub limit: usize,
    pub on_restart: OnRestart,
}

#[derive(Clone, Debug)]
pub struct Pending {
    pub restore: Arc<velero::Restore>,
    pub location: Location,
}

/// What the location of the restore's backup says about itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Location {
    /// There is one, and nobody has checked it yet.
    NotChecked,
    /// Checked, whatever came out, or not known: validation has the word.
    Settled,
}

/// What to do, and about what.
#[derive(Debug, PartialEq)]
pub enum Step {
    Restore {
        restore: Arc<velero::Restore>,
        decision: Decision,
    },
    /// A run whose Restore is gone.
    Run {
        uid: String,
        decision: OrphanDecision,
    },
}

#[derive(Clone, Debug, PartialEq)]
pub enum Decision {
    /// Its files in the bucket must be removed before it goes, so it must not go without us.
    AddFinalizer,
    Start,
    /// In progress, ours, and no run of this process carries it out.
    Resume,
    FailAfterRestart,
    /// The run has ended.
    Finish {
        end: Arc<End>,
    },
    /// All is restored and its files are in the bucket.
    Complete,
    /// It is being deleted while it runs.
    Cancel,
    /// It is being deleted: its files go first.
    RemoveFiles,
    /// Its files are gone, or could not be removed.
    NoteRemoval {
        removal: Arc<Removal>,
    },
    Wait {
        reason: Wait,
    },
    LeaveAlone {
        owner: Owner,
    },
}

/// What a restore waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wait {
    LocationNotChecked,
    SlotsTaken {
        by: usize,
    },
    RunUnderWay,
    RemovalUnderWay,
    /// Somebody else's finalizer.
    Deletion,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OrphanDecision {
    Cancel,
    Forget,
}

pub fn decide(observed: &Observed) -> Vec<Step> {
    let mut pending: Vec<&Pending> = observed.restores.iter().collect();
    pending.sort_by_key(|pending| {
        let metadata = &pending.restore.metadata;
        (metadata.creation_timestamp.as_ref().map(|created| created.0), metadata.name.clone())
    });
    let mut active =
        pending.iter().filter(|one| one.restore.status_phase() == RestorePhase::InProgress).count();
    let mut steps = orphans(observed);
    for one in pending {
        let decision = decide_one(observed, one, active);
        if decision == Decision::Start {
            active += 1;
        }
        steps.push(Step::Restore { restore: one.restore.clone(), decision });
    }
    steps
}

fn orphans(observed: &Observed) -> Vec<Step> {
    let known =
        |uid: &str| observed.restores.iter().any(|one| one.restore.metadata.uid.as_deref() == Some(uid));
    let runs = observed.runs.iter().map(|(uid, run)| (uid, run.ended.is_some()));
    let removals = observed.removals.iter().map(|(uid, run)| (uid, run.ended.is_some()));
    runs.chain(removals)
        .filter(|(uid, _)| !known(uid))
        .map(|(uid, has_ended)| {
            let decision = if has_ended { OrphanDecision::Forget } else { OrphanDecision::Cancel };
            Step::Run { uid: uid.clone(), decision }
        })
        .collect()
}

fn decide_one(observed: &Observed, pending: &Pending, active: usize) -> Decision {
    let restore = &pending.restore;
    let metadata = &restore.metadata;
    let uid = metadata.uid.as_deref().unwrap_or_default();
    let run = observed.runs.get(uid);
    let has_finalizer =
        metadata.finalizers.iter().flatten().any(|finalizer| finalizer == labels::RESTORE_FINALIZER);
    if metadata.deletion_timestamp.is_some() {
        return match (run, observed.removals.get(uid)) {
            (Some(RunState { ended: None, .. }), _) => Decision::Cancel,
            _ if !has_finalizer => Decision::Wait { reason: Wait::Deletion },
            (_, None) => Decision::RemoveFiles,
            (_, Some(RunState { ended: None, .. })) => Decision::Wait { reason: Wait::RemovalUnderWay },
            (_, Some(RunState { ended: Some(removal), .. })) => {
                Decision::NoteRemoval { removal: removal.clone() }
            }
        };
    }
    let owner = || observed.claim.owner_of(metadata.annotations.as_ref());
    match restore.status_phase() {
        RestorePhase::New if !has_finalizer => Decision::AddFinalizer,
        RestorePhase::New if pending.location == Location::NotChecked => {
            Decision::Wait { reason: Wait::LocationNotChecked }
        }
        RestorePhase::New if active >= observed.limit => {
            Decision::Wait { reason: Wait::SlotsTaken { by: active } }
        }
        RestorePhase::New => Decision::Start,
        // The run itself waits for what others do.
        RestorePhase::InProgress
        | RestorePhase::WaitingForPluginOperations
        | RestorePhase::WaitingForPluginOperationsPartiallyFailed => match run {
            Some(RunState { ended: Some(end), .. }) => Decision::Finish { end: end.clone() },
            Some(RunState { ended: None, .. }) => Decision::Wait { reason: Wait::RunUnderWay },
            None => match (owner(), observed.on_restart) {
                (Owner::Us, OnRestart::Resume) => Decision::Resume,
                (Owner::Us, OnRestart::Fail) => Decision::FailAfterRestart,
                (owner, _) => Decision::LeaveAlone { owner },
            },
        },
        RestorePhase::Finalizing | RestorePhase::FinalizingPartiallyFailed => match owner() {
            Owner::Us => Decision::Complete,
            owner @ (Owner::Foreign | Owner::Successor(_)) => Decision::LeaveAlone { owner },
        },
        RestorePhase::FailedValidation
        | RestorePhase::Completed
        | RestorePhase::PartiallyFailed
        | RestorePhase::Failed => Decision::Wait { reason: Wait::Deletion },
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn restore(name: &str, change: Value) -> Pending {
        let mut restore = json!({
            "metadata": {
                "name": name, "uid": format!("uid-{name}"), "creationTimestamp": "2026-11-23T10:00:00Z",
                "finalizers": [labels::RESTORE_FINALIZER],
            },
            "spec": {"backupName": "shop"},
        });
        for (path, value) in change.as_object().unwrap() {
            let (parent, key) = path.rsplit_once('/').unwrap();
            let parent = if parent.is_empty() { &mut restore } else { restore.pointer_mut(parent).unwrap() };
            parent[key] = value.clone();
        }
        Pending { restore: Arc::new(serde_json::from_value(restore).unwrap()), location: Location::Settled }
    }

    fn observed(restores: Vec<Pending>) -> Observed {
        Observed {
            restores,
            runs: BTreeMap::new(),
            removals: BTreeMap::new(),
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

    fn decisions(observed: &Observed) -> Vec<Decision> {
        decide(observed)
            .into_iter()
            .filter_map(|step| match step {
                Step::Restore { decision, .. } => Some(decision),
                Step::Run { .. } => None,
            })
            .collect()
    }

    fn in_progress(owner: Option<&str>) -> Pending {
        let annotations = owner.map(|owner| json!({"holdfast.dev/run-owner": owner}));
        restore("a", json!({"/status": {"phase": "InProgress"}, "/metadata/annotations": annotations}))
    }

    #[test]
    fn a_new_restore_gets_its_finalizer_before_anything_else() {
        let bare = restore("a", json!({"/metadata/finalizers": []}));
        assert_eq!(decisions(&observed(vec![bare])), [Decision::AddFinalizer]);
    }

    #[test]
    fn no_more_restores_start_than_may_run_and_the_oldest_goes_first() {
        let young = restore("a", json!({"/metadata/creationTimestamp": "2026-11-23T10:00:05Z"}));
        let running = restore("r", json!({"/status": {"phase": "InProgress"}}));
        let observed = with_run(observed(vec![young, restore("b", json!({})), running]), "uid-r", None);
        assert_eq!(
            decisions(&observed),
            [
                Decision::Start,
                Decision::Wait { reason: Wait::RunUnderWay },
                Decision::Wait { reason: Wait::SlotsTaken { by: 2 } },
            ]
        );
    }

    #[test]
    fn a_location_that_nobody_has_checked_is_waited_for() {
        let waiting = Pending { location: Location::NotChecked, ..restore("a", json!({})) };
        assert_eq!(
            decisions(&observed(vec![waiting])),
            [Decision::Wait { reason: Wait::LocationNotChecked }]
        );
    }

    #[test]
    fn after_a_restart_our_own_runs_are_taken_up_and_others_left_alone() {
        assert_eq!(decisions(&observed(vec![in_progress(Some("old/1"))])), [Decision::Resume]);
        let configured =
            Observed { on_restart: OnRestart::Fail, ..observed(vec![in_progress(Some("old/1"))]) };
        assert_eq!(decisions(&configured), [Decision::FailAfterRestart]);
        assert_eq!(
            decisions(&observed(vec![in_progress(None)])),
            [Decision::LeaveAlone { owner: Owner::Foreign }]
        );
        let claim = Claim { holder: "next".to_owned(), epoch: 3 };
        assert_eq!(
            decisions(&observed(vec![in_progress(Some("next/3"))])),
            [Decision::LeaveAlone { owner: Owner::Successor(claim) }]
        );
    }

    #[test]
    fn a_run_that_ended_is_finished_and_then_completed() {
        let ended = with_run(observed(vec![in_progress(Some("us/2"))]), "uid-a", Some(End::Stopped));
        assert_eq!(decisions(&ended), [Decision::Finish { end: Arc::new(End::Stopped) }]);
        let finalizing = restore(
            "a",
            json!({
                "/status": {"phase": "FinalizingPartiallyFailed"},
                "/metadata/annotations": {"holdfast.dev/run-owner": "us/2"},
            }),
        );
        assert_eq!(decisions(&observed(vec![finalizing])), [Decision::Complete]);
    }

    #[test]
    fn a_deletion_ends_the_run_first_then_removes_the_files() {
        let deleted = || {
            restore(
                "a",
                json!({"/status": {"phase": "InProgress"}, "/metadata/deletionTimestamp": "2026-11-23T10:01:00Z"}),
            )
        };
        assert_eq!(decisions(&with_run(observed(vec![deleted()]), "uid-a", None)), [Decision::Cancel]);
        let mut ended = with_run(observed(vec![deleted()]), "uid-a", Some(End::Stopped));
        assert_eq!(decisions(&ended), [Decision::RemoveFiles]);
        assert_eq!(decisions(&observed(vec![deleted()])), [Decision::RemoveFiles]);
        ended.removals.insert("uid-a".to_owned(), RunState { name: String::new(), ended: None });
        assert_eq!(decisions(&ended), [Decision::Wait { reason: Wait::RemovalUnderWay }]);
        let removal = Arc::new(Removal::Removed);
        let run = RunState { name: String::new(), ended: Some(removal.clone()) };
        ended.removals.insert("uid-a".to_owned(), run);
        assert_eq!(decisions(&ended), [Decision::NoteRemoval { removal }]);
    }

    #[test]
    fn a_run_without_its_restore_is_cancelled_and_then_forgotten() {
        let step = |decision| vec![Step::Run { uid: "uid-gone".to_owned(), decision }];
        assert_eq!(decide(&with_run(observed(vec![]), "uid-gone", None)), step(OrphanDecision::Cancel));
        let ended = with_run(observed(vec![]), "uid-gone", Some(End::Stopped));
        assert_eq!(decide(&ended), step(OrphanDecision::Forget));
    }
}
