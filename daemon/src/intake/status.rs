//! What a PolicySet says about its source: a pure function of what is known.
//!
//! In: the state of the source, the status before, the time. Out: the status now. Reading and writing PolicySets is
//! left to `board`.

use chrono::{DateTime, Utc};
use holdfast_policy::holdfast::PolicySetStatus;
use holdfast_policy::holdfast::policy_set::{
    InForce, MadeOnce, ObjectNotice, PolicyProblem, RecoveryPoint, ScheduleHealth, Waiting,
};
use holdfast_policy::problem::{Problem, Problems};
use holdfast_policy::time::from_chrono;
use holdfast_policy::unenforced::Unenforced;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use super::in_force::{State, Trouble, Wait};
use crate::controllers::switches::Purpose;
use crate::publish::mode::Mode;
use crate::publish::object::{ALLOW_PRUNE, APPROVE};
use crate::publish::report::Notice;

/// A PolicySet is for people, and the API server bounds its size: longer lists are cut, their lengths told.
const LISTED: usize = 100;
/// There may be many more Schedules than anything else.
const SCHEDULES_LISTED: usize = 500;

/// The reason for being stalled that is no source's own.
pub const FOREIGN_SERVER: &str = "ForeignServer";

/// The condition that is about how the policies fare, and not about whether they are in force.
pub const RECOVERY_POINTS_MET: &str = "RecoveryPointsMet";

/// `before` is the status that the cluster has; transition times are kept from it where nothing changed, and so is
/// what it says about Schedules while nothing is known of them.
pub fn status(
    state: &State,
    health: Option<Vec<ScheduleHealth>>,
    before: &PolicySetStatus,
    generation: Option<i64>,
    now: DateTime<Utc>,
) -> PolicySetStatus {
    let problems = problems(state);
    let notices = &state.round.notices;
    let schedules = match health {
        Some(health) => Schedules::of(health),
        None => Schedules::told(before),
    };
    PolicySetStatus {
        observed_generation: generation,
        conditions: conditions(state)
            .into_iter()
            .chain(schedules.condition())
            .chain(enforced(state))
            .map(|fresh| fresh.into_condition(&before.conditions, generation, now))
            .collect(),
        in_force: state.in_force.as_ref().map(|in_force| InForce {
            revision: in_force.set.revision.clone(),
            git_revision: in_force.set.git_revision.clone(),
            since: since(in_force, before),
            objects: count(in_force.set.desired.len()),
        }),
        latest_revision: state.latest_revision.clone(),
        problem_count: count(problems.map_or(0, Problems::len)),
        problems: problems.into_iter().flat_map(Problems::iter).take(LISTED).map(problem).collect(),
        notice_count: count(notices.len()),
        notices: notices
            .iter()
            .take(LISTED)
            .map(|(key, Notice { reason, note })| ObjectNotice {
                kind: key.kind.name().to_owned(),
                name: key.name.clone(),
                reason: reason.name().to_owned(),
                note: note.clone(),
            })
            .collect(),
        waiting: state.round.waiting.iter().take(LISTED).map(waiting).collect(),
        schedule_count: schedules.count,
        missed_count: schedules.missed,
        schedules: schedules.listed,
        made_once: state
            .memory
            .ran()
            .iter()
            .map(|key| MadeOnce { kind: key.kind.name().to_owned(), name: key.name.clone() })
            .collect(),
    }
}

/// How the Schedules fare, in numbers and for the first of them.
struct Schedules {
    count: i64,
    missed: i64,
    listed: Vec<ScheduleHealth>,
}

impl Schedules {
    fn of(mut health: Vec<ScheduleHealth>) -> Schedules {
        let missed = |health: &ScheduleHealth| health.recovery_point == RecoveryPoint::Missed;
        health.sort_by(|one, other| missed(other).cmp(&missed(one)).then_with(|| one.name.cmp(&other.name)));
        let (count, missed) = (count(health.len()), count(health.iter().filter(|one| missed(one)).count()));
        health.truncate(SCHEDULES_LISTED);
        Schedules { count, missed, listed: health }
    }

    fn told(before: &PolicySetStatus) -> Schedules {
        Schedules {
            count: before.schedule_count,
            missed: before.missed_count,
            listed: before.schedules.clone(),
        }
    }

    /// Nothing is promised where there are no Schedules.
    fn condition(&self) -> Option<Fresh> {
        let first = self.listed.first()?;
        let known = |health: &&ScheduleHealth| health.recovery_point != RecoveryPoint::Unknown;
        let (holds, reason, message) = match (self.missed, self.listed.iter().any(|one| known(&one))) {
            (0, true) => (Holds::True, "Met", "no schedule owes a backup".to_owned()),
            (0, false) => (Holds::Unknown, "TooEarly", "no schedule owes a backup yet".to_owned()),
            (missed, _) => {
                let rest = and_more(usize::try_from(missed).unwrap_or(usize::MAX));
                let message = format!("schedule {} has no good backup that is new enough{rest}", first.name);
                (Holds::False, "Missed", message)
            }
        };
        Some(Fresh { kind: RECOVERY_POINTS_MET, holds, reason, message })
    }
}

/// A restart puts the same set in force again, and that is no change.
fn since(in_force: &super::in_force::InForce, before: &PolicySetStatus) -> Time {
    match &before.in_force {
        Some(known) if known.revision == in_force.set.revision => known.since.clone(),
        Some(_) | None => from_chrono(in_force.since),
    }
}

fn count(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn problems(state: &State) -> Option<&Problems> {
    match &state.trouble {
        Some(Trouble::Invalid(problems)) => Some(problems),
        Some(Trouble::Source(_) | Trouble::Taken { .. }) => None,
        None => state.in_force.as_ref().map(|in_force| &in_force.set.warnings),
    }
}

fn problem(problem: &Problem) -> PolicyProblem {
    PolicyProblem {
        severity: problem.severity.name().to_owned(),
        rule: problem.rule.code().to_owned(),
        file: problem.place.file.clone(),
        line: problem.place.line.into(),
        column: problem.place.column.into(),
        path: problem.path.clone(),
        message: problem.message.clone(),
        help: problem.help.clone(),
    }
}

fn waiting(wait: &Wait) -> Waiting {
    match wait {
        Wait::Approval { restore, content_hash } => Waiting {
            annotation: APPROVE.to_owned(),
            value: content_hash.clone(),
            lets: format!("restore {restore} happen"),
        },
        Wait::Removal { gone, of, word } => Waiting {
            annotation: ALLOW_PRUNE.to_owned(),
            value: word.clone(),
            lets: format!("{gone} of {of} schedules be removed"),
        },
    }
}

#[derive(Clone, Copy)]
enum Holds {
    True,
    False,
    Unknown,
}

/// A condition without what makes it comparable to the one before.
struct Fresh {
    kind: &'static str,
    holds: Holds,
    reason: &'static str,
    message: String,
}

impl Fresh {
    fn into_condition(self, before: &[Condition], generation: Option<i64>, now: DateTime<Utc>) -> Condition {
        let status = match self.holds {
            Holds::True => "True",
            Holds::False => "False",
            Holds::Unknown => "Unknown",
        };
        let same = before.iter().find(|condition| condition.type_ == self.kind && condition.status == status);
        Condition {
            type_: self.kind.to_owned(),
            status: status.to_owned(),
            reason: self.reason.to_owned(),
            message: self.message,
            observed_generation: generation,
            last_transition_time: match same {
                Some(condition) => condition.last_transition_time.clone(),
                None => from_chrono(now),
            },
        }
    }
}

fn conditions(state: &State) -> [Fresh; 3] {
    let (ready, reconciling, stalled) = match (&state.foreign_server, &state.trouble, &state.in_force) {
        (Some(note), _, _) => {
            ((false, FOREIGN_SERVER, note.clone()), NO_WORK, (true, FOREIGN_SERVER, note.clone()))
        }
        (None, Some(trouble), _) => {
            let (reason, message) = describe(trouble);
            ((false, reason, message.clone()), NO_WORK, (true, reason, message))
        }
        (None, None, None) => (
            (false, "Starting", "the source was not read yet".to_owned()),
            (true, "Starting", "the source was not read yet".to_owned()),
            NOTHING_WRONG,
        ),
        (None, None, Some(_)) if state.round.failures > 0 => (
            (false, "Retrying", first_notice(state, "the cluster could not be compared with the policies")),
            (true, "Retrying", "publishing failed and is tried again".to_owned()),
            NOTHING_WRONG,
        ),
        (None, None, Some(in_force)) if state.round.published.as_ref() != Some(&in_force.set.revision) => (
            (false, "Publishing", "the policies are being published".to_owned()),
            (true, "Publishing", "the policies are being published".to_owned()),
            NOTHING_WRONG,
        ),
        (None, None, Some(in_force)) => {
            match state.round.notices.values().any(|notice| notice.reason.keeps_from_ready()) {
                true => ((false, "ObjectsNotInStep", first_notice(state, "")), NO_WORK, NOTHING_WRONG),
                false => {
                    let message = format!("{} objects are as the policies ask", in_force.set.desired.len());
                    ((true, "InForce", message), NO_WORK, NOTHING_WRONG)
                }
            }
        }
    };
    [("Ready", ready), ("Reconciling", reconciling), ("Stalled", stalled)].map(
        |(kind, (holds, reason, message))| {
            let holds = if holds { Holds::True } else { Holds::False };
            Fresh { kind, holds, reason, message }
        },
    )
}

/// Whether somebody does what the policies say: a Velero server does not do all of it, and whoever only looks nothing.
/// Where this daemon carries them out there is no question.
fn enforced(state: &State) -> Option<Fresh> {
    let in_force = state.in_force.as_ref()?;
    let (holds, reason, message) = match (state.mode, in_force.set.unenforced.first()) {
        (Mode::Full, _) => match state.purpose {
            Purpose::BackupAndRestore => return None,
            Purpose::RestoreOnly => {
                let message = "schedules are published and do not run (--restore-only)";
                (Holds::False, "RestoreOnly", message.to_owned())
            }
        },
        (Mode::Observe, _) => {
            (Holds::False, "OnlyObserved", "this daemon writes nothing (--mode observe)".to_owned())
        }
        (Mode::Policy, None) => (Holds::True, "ByVelero", "Velero honours all of it".to_owned()),
        (Mode::Policy, Some(Unenforced { name, policy: _, entry: _, what })) => {
            let rest = and_more(in_force.set.unenforced.len());
            let message = format!("{} {name}: `{}` has no effect: {what}{rest}", what.kind(), what.setting());
            (Holds::False, "IgnoredByVelero", message)
        }
    };
    Some(Fresh { kind: "Enforced", holds, reason, message })
}

const NO_WORK: (bool, &str, String) = (false, "NothingToDo", String::new());
const NOTHING_WRONG: (bool, &str, String) = (false, "NothingWrong", String::new());

fn describe(trouble: &Trouble) -> (&'static str, String) {
    match trouble {
        Trouble::Source(problem) => ("SourceUnavailable", chain(problem)),
        Trouble::Invalid(problems) => {
            let first = problems.iter().next().map(|problem| {
                let place = &problem.place;
                format!("{}:{}:{}: {}", place.file, place.line, place.column, problem.message)
            });
            let rest = and_more(problems.len());
            ("Invalid", format!("{}{rest}", first.unwrap_or_default()))
        }
        Trouble::Taken { set: _, names } => {
            let first = names.first().map(|(key, other)| format!("{key} is generated by source {other} too"));
            ("NameTaken", first.unwrap_or_default())
        }
    }
}

fn and_more(count: usize) -> String {
    match count {
        0 | 1 => String::new(),
        count => format!(" (and {} more)", count - 1),
    }
}

fn first_notice(state: &State, otherwise: &str) -> String {
    let first = state.round.notices.iter().find(|(_, notice)| notice.reason.keeps_from_ready());
    match first {
        Some((key, notice)) => format!("{key}: {}", notice.note),
        None => otherwise.to_owned(),
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}
