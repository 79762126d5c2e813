//! The sources of policies, as their PolicySets tell it.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use holdfast_policy::holdfast::PolicySet;
use holdfast_policy::holdfast::policy_set::{ObjectNotice, PolicyProblem, Waiting};
use holdfast_policy::time::to_chrono;
use serde::Serialize;

/// One source of policies.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Source {
    pub name: String,
    /// Where it is.
    pub source: String,
    /// Of its condition Ready: True, False or Unknown.
    pub ready: String,
    pub reason: String,
    pub message: String,
    /// The set in force.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub git_revision: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<DateTime<Utc>>,
    pub objects: i64,
    pub schedule_count: i64,
    pub missed_count: i64,
    pub problem_count: i64,
    pub problems: Vec<Problem>,
    pub notice_count: i64,
    pub notices: Vec<Problem>,
    pub waiting: Vec<Problem>,
}

/// Something to be told, and about what.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// A place in a file, an object, or an annotation.
    pub about: String,
    pub what: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
    /// A warning can wait.
    pub is_urgent: bool,
}

pub(crate) fn sources(policy_sets: &[Arc<PolicySet>]) -> Vec<Source> {
    policy_sets.iter().map(|set| source(set)).collect()
}

fn source(set: &PolicySet) -> Source {
    let status = set.status.clone().unwrap_or_default();
    let ready = status.conditions.iter().find(|condition| condition.type_ == "Ready");
    let text = |of: fn(&_) -> &String| ready.map(of).cloned();
    let in_force = status.in_force.as_ref();
    Source {
        name: set.metadata.name.clone().unwrap_or_default(),
        source: set.spec.source.clone(),
        ready: text(|condition| &condition.status).unwrap_or_else(|| "Unknown".to_owned()),
        reason: text(|condition| &condition.reason).unwrap_or_default(),
        message: text(|condition| &condition.message).unwrap_or_default(),
        revision: in_force.map(|in_force| in_force.revision.clone()),
        git_revision: in_force.and_then(|in_force| in_force.git_revision.clone()),
        since: in_force.map(|in_force| to_chrono(&in_force.since)),
        objects: in_force.map_or(0, |in_force| in_force.objects),
        schedule_count: status.schedule_count,
        missed_count: status.missed_count,
        problem_count: status.problem_count,
        problems: status.problems.into_iter().map(problem).collect(),
        notice_count: status.notice_count,
        notices: status.notices.into_iter().map(notice).collect(),
        waiting: status.waiting.into_iter().map(waiting).collect(),
    }
}

fn problem(problem: PolicyProblem) -> Problem {
    let PolicyProblem { severity, rule, file, line, column, path: _, message, help } = problem;
    let about = if line > 0 { format!("{file}:{line}:{column}") } else { file };
    Problem { about, what: format!("{severity}[{rule}]: {message}"), help, is_urgent: severity == "error" }
}

fn notice(ObjectNotice { kind, name, reason, note }: ObjectNotice) -> Problem {
    Problem {
        about: format!("{kind} {name}"),
        what: format!("{reason}: {note}"),
        help: None,
        is_urgent: true,
    }
}

fn waiting(Waiting { annotation, value, lets }: Waiting) -> Problem {
    Problem {
        about: format!("{annotation}={value}"),
        what: format!("waits for a person's word: {lets}"),
        help: None,
        is_urgent: true,
    }
}
