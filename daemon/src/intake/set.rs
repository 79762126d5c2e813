//! From the files of a source to the objects that they ask for.
//!
//! In: a snapshot. Out: a [`PolicySet`], or all problems of the files. The policy crate does the work; here its
//! result is put into the shape that publishing takes.

use holdfast_policy::annotations::jitter_offset;
use holdfast_policy::compile::{self, Target};
use holdfast_policy::duration::GoDuration;
use holdfast_policy::objective::Objective;
use holdfast_policy::problem::Problems;
use holdfast_policy::unenforced::{Unenforced, unenforced};
use holdfast_policy::validate::{Trust, ValidPolicySet, ValidSchedule};
use holdfast_policy::{load_trusted, model};

use super::health::Promised;
use super::source::SourceSnapshot;
use crate::publish::decide::Drift;
use crate::publish::object::Desired;

/// A good set.
#[derive(Debug, Clone)]
pub struct PolicySet {
    pub revision: String,
    pub git_revision: Option<String>,
    pub desired: Vec<Desired>,
    pub drift: Drift,
    pub promised: Vec<Promised>,
    /// What has no effect where a Velero server carries the policies out.
    pub unenforced: Vec<Unenforced>,
    pub warnings: Problems,
    pub documents: Documents,
}

/// Whether there is anything to publish, in this cluster or another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Documents {
    Some,
    None,
}

/// Compiles on a thread of its own: thousands of documents take a while.
pub async fn compile(snapshot: SourceSnapshot, trust: Trust, target: Target) -> Result<PolicySet, Problems> {
    let compiled = tokio::task::spawn_blocking(move || compile_now(&snapshot, &trust, &target)).await;
    compiled.expect("compiling does not panic, and its task is never aborted")
}

fn compile_now(snapshot: &SourceSnapshot, trust: &Trust, target: &Target) -> Result<PolicySet, Problems> {
    let set = load_trusted(&snapshot.files, trust)?;
    let desired = compile::compile(&set, target).into_iter().map(Desired::from).collect();
    let drift = match set.drift() {
        model::Drift::Revert => Drift::Revert,
        model::Drift::Report => Drift::Report,
    };
    Ok(PolicySet {
        revision: snapshot.revision.clone(),
        git_revision: snapshot.git_revision.clone(),
        desired,
        drift,
        promised: set.schedules().iter().map(|schedule| promised(schedule, target)).collect(),
        unenforced: unenforced(&set),
        warnings: set.warnings().clone(),
        documents: documents(&set),
    })
}

fn promised(schedule: &ValidSchedule, target: &Target) -> Promised {
    let rules = &schedule.rules;
    let window = rules.jitter.unwrap_or(GoDuration::ZERO);
    Promised {
        name: schedule.name.clone(),
        policy: schedule.origin.policy.clone(),
        suspended: schedule.suspend,
        objective: Objective {
            cron: schedule.cron.clone(),
            jitter: jitter_offset(&target.namespace, &schedule.name, window),
            starting_deadline: rules.starting_deadline,
            max_runtime: rules.max_runtime,
        },
    }
}

fn documents(set: &ValidPolicySet) -> Documents {
    let none = set.storage_locations().is_empty()
        && set.snapshot_locations().is_empty()
        && set.schedules().is_empty()
        && set.backups().is_empty()
        && set.restores().is_empty();
    if none { Documents::None } else { Documents::Some }
}
