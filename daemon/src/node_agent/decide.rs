//! What is to be done about each transfer. Pure.

use std::sync::Arc;

use holdfast_policy::velero::DataPathPhase;

use super::transfer::End;

/// What is known of one transfer.
#[derive(Debug, Clone)]
pub struct State {
    pub uid: String,
    pub phase: DataPathPhase,
    /// Absent where the object is gone and only its run is left.
    pub object: Object,
    pub run: Run,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Object {
    Gone,
    /// It is to be given up.
    Cancelled,
    /// Its pod is not there yet, or not ready to be restored into.
    PodNotReady,
    Ready,
    /// In progress, and not by an agent of Holdfast's.
    Foreign,
}

#[derive(Debug, Clone)]
pub enum Run {
    None,
    UnderWay,
    Ended(Arc<End>),
}

/// What is next for one transfer.
#[derive(Debug, Clone)]
pub struct Step {
    pub uid: String,
    pub decision: Decision,
}

#[derive(Debug, Clone)]
pub enum Decision {
    /// It is marked as in progress and begun.
    Start,
    /// An earlier process had begun it.
    Resume,
    /// Its run is asked to end.
    Stop,
    /// It was given up before it began, or while nobody ran it.
    NoteCancelled,
    /// Its end is written down.
    Finish {
        end: Arc<End>,
    },
    /// Its run has ended and nobody is to be told.
    Forget,
    Wait {
        reason: Waiting,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Waiting {
    ForPod,
    /// As many as may be are under way.
    ForOthers,
    ForRun,
    /// It has ended, or somebody else carries it out.
    ForNobody,
}

/// One step for each, those that came first served first.
pub fn decide(states: &[State], limit: usize) -> Vec<Step> {
    let mut free =
        limit.saturating_sub(states.iter().filter(|state| matches!(state.run, Run::UnderWay)).count());
    let step = |state: &State| Step { uid: state.uid.clone(), decision: decide_one(state, &mut free) };
    states.iter().map(step).collect()
}

fn decide_one(state: &State, free: &mut usize) -> Decision {
    let wait = |reason| Decision::Wait { reason };
    match (&state.run, state.phase.has_ended(), state.object) {
        (Run::UnderWay, _, Object::Gone | Object::Cancelled) | (Run::UnderWay, true, _) => Decision::Stop,
        (Run::UnderWay, false, Object::PodNotReady | Object::Ready | Object::Foreign) => {
            wait(Waiting::ForRun)
        }
        (Run::Ended(_), true, _) | (Run::Ended(_), _, Object::Gone) => Decision::Forget,
        (Run::Ended(end), false, _) => Decision::Finish { end: end.clone() },
        (Run::None, true, _) | (Run::None, _, Object::Gone | Object::Foreign) => wait(Waiting::ForNobody),
        (Run::None, false, Object::Cancelled) => Decision::NoteCancelled,
        (Run::None, false, Object::PodNotReady) => wait(Waiting::ForPod),
        (Run::None, false, Object::Ready) if *free == 0 => wait(Waiting::ForOthers),
        (Run::None, false, Object::Ready) => {
            *free -= 1;
            match state.phase {
                DataPathPhase::InProgress | DataPathPhase::Canceling => Decision::Resume,
                DataPathPhase::New
                | DataPathPhase::Accepted
                | DataPathPhase::Prepared
                | DataPathPhase::Canceled
                | DataPathPhase::Completed
                | DataPathPhase::Failed => Decision::Start,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use DataPathPhase::{Completed, InProgress, New};

    use super::*;

    fn state(uid: &str, phase: DataPathPhase, object: Object, run: Run) -> State {
        State { uid: uid.to_owned(), phase, object, run }
    }

    fn decided(states: &[State], limit: usize) -> Vec<String> {
        let text = |step: Step| match step.decision {
            Decision::Wait { reason } => format!("{} waits {reason:?}", step.uid),
            Decision::Finish { .. } => format!("{} Finish", step.uid),
            decision => format!("{} {decision:?}", step.uid),
        };
        decide(states, limit).into_iter().map(text).collect()
    }

    #[test]
    fn transfers_begin_in_their_order_and_no_more_than_allowed_at_a_time() {
        let ready = |uid: &str| state(uid, New, Object::Ready, Run::None);
        let busy = state("a", InProgress, Object::Ready, Run::UnderWay);
        let states = [busy, ready("b"), ready("c")];
        assert_eq!(decided(&states, 2), ["a waits ForRun", "b Start", "c waits ForOthers"]);
        assert_eq!(decided(&states, 1), ["a waits ForRun", "b waits ForOthers", "c waits ForOthers"]);
    }

    #[test]
    fn what_a_process_left_in_progress_is_done_again_and_what_velero_s_agent_does_is_not() {
        let states = [
            state("ours", InProgress, Object::Ready, Run::None),
            state("velero", InProgress, Object::Foreign, Run::None),
        ];
        assert_eq!(decided(&states, 4), ["ours Resume", "velero waits ForNobody"]);
    }

    #[test]
    fn what_is_given_up_ends_wherever_it_stands() {
        let states = [
            state("new", New, Object::Cancelled, Run::None),
            state("left", InProgress, Object::Cancelled, Run::None),
            state("running", InProgress, Object::Cancelled, Run::UnderWay),
            state("deleted", InProgress, Object::Gone, Run::UnderWay),
            state("ended", InProgress, Object::Cancelled, Run::Ended(Arc::new(End::Stopped))),
            state("gone", InProgress, Object::Gone, Run::Ended(Arc::new(End::Stopped))),
        ];
        assert_eq!(
            decided(&states, 4),
            [
                "new NoteCancelled",
                "left NoteCancelled",
                "running Stop",
                "deleted Stop",
                "ended Finish",
                "gone Forget"
            ]
        );
    }

    #[test]
    fn a_restore_waits_for_its_pod_and_what_has_ended_is_left_alone() {
        let states = [
            state("pod", New, Object::PodNotReady, Run::None),
            state("done", Completed, Object::Ready, Run::None),
            state("noted", Completed, Object::Ready, Run::Ended(Arc::new(End::Stopped))),
        ];
        assert_eq!(decided(&states, 4), ["pod waits ForPod", "done waits ForNobody", "noted Forget"]);
    }
}
