//! The transfers of this node, and how far each is.

use std::collections::BTreeMap;

use holdfast_policy::velero::DataPathPhase;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;

use super::decide::{Object, Run, State};
use super::task::Task;
use super::transfer::End;
use super::{Agent, volume};
use crate::controllers::claim::Owner;
use crate::controllers::runs::RunState;

pub(super) struct Observed {
    tasks: BTreeMap<String, Task>,
    states: Vec<State>,
}

impl Observed {
    pub(super) fn states(&self) -> Vec<State> {
        self.states.clone()
    }

    pub(super) fn task(&self, uid: &str) -> Option<&Task> {
        self.tasks.get(uid)
    }
}

pub(super) async fn observe(agent: &Agent) -> Observed {
    let mut runs = agent.runs.states();
    let backups = agent.backups.all().into_iter().filter(|backup| backup.spec.node == agent.node);
    let tasks = backups.map(Task::Backup).chain(agent.restores.all().into_iter().map(Task::Restore));
    let mut observed = Observed { tasks: BTreeMap::new(), states: Vec::new() };
    for task in tasks.filter(Task::is_restic) {
        let uid = task.uid();
        let run = runs.remove(&uid).map_or(Run::None, |state| run_of(&state));
        let phase = task.phase();
        // Most have ended long ago.
        if phase.has_ended() && matches!(run, Run::None) {
            continue;
        }
        let Some(object) = object(agent, &task, &run).await else { continue };
        observed.states.push(State { uid: uid.clone(), phase, object, run });
        observed.tasks.insert(uid, task);
    }
    let gone = runs.into_iter().map(|(uid, state)| State {
        uid,
        phase: DataPathPhase::InProgress,
        object: Object::Gone,
        run: run_of(&state),
    });
    observed.states.extend(gone);
    observed
}

fn run_of(state: &RunState<End>) -> Run {
    state.ended.clone().map_or(Run::UnderWay, Run::Ended)
}

/// None where it is another node's.
async fn object(agent: &Agent, task: &Task, run: &Run) -> Option<Object> {
    let begun = match task.phase() {
        DataPathPhase::InProgress | DataPathPhase::Canceling => true,
        DataPathPhase::New
        | DataPathPhase::Accepted
        | DataPathPhase::Prepared
        | DataPathPhase::Canceled
        | DataPathPhase::Completed
        | DataPathPhase::Failed => false,
    };
    let elsewhere = |restore: &holdfast_policy::velero::PodVolumeRestore| {
        restore.status.node.as_ref().is_some_and(|node| *node != agent.node)
    };
    if matches!(task, Task::Restore(restore) if elsewhere(restore)) {
        return None;
    }
    if begun && agent.claim.owner_of(task.annotations()) == Owner::Foreign {
        return Some(Object::Foreign);
    }
    if !matches!(run, Run::None) || begun {
        return Some(if task.is_cancelled() { Object::Cancelled } else { Object::Ready });
    }
    match task {
        Task::Backup(_) if task.is_cancelled() => Some(Object::Cancelled),
        Task::Backup(_) => Some(Object::Ready),
        // Which node's it is shows when its pod is scheduled.
        Task::Restore(_) => match pod_of(agent, task).await {
            None => Some(Object::PodNotReady),
            Some(pod) if volume::node_of(&pod).is_some_and(|node| node != agent.node) => None,
            Some(pod) if volume::node_of(&pod).is_none() => Some(Object::PodNotReady),
            Some(_) if task.is_cancelled() => Some(Object::Cancelled),
            Some(pod) if volume::waits_for_restore(&pod) => Some(Object::Ready),
            Some(_) => Some(Object::PodNotReady),
        },
    }
}

async fn pod_of(agent: &Agent, task: &Task) -> Option<Pod> {
    let reference = task.pod();
    let namespace = reference.namespace.as_deref().unwrap_or_default();
    let pods: Api<Pod> = Api::namespaced(agent.client.clone(), namespace);
    let name = reference.name.as_deref().unwrap_or_default();
    match pods.get_opt(name).await {
        Ok(found) => found.filter(|pod| reference.uid.is_none() || pod.metadata.uid == reference.uid),
        Err(error) => {
            let error = &error as &dyn std::error::Error;
            tracing::warn!(pod = name, namespace, error, "cannot look at the pod of a restore");
            None
        }
    }
}
