//! From the files of a source to the objects that they ask for.
//!
//! In: a snapshot. Out: a [`PolicySet`], or all problems of the files. The policy crate does the work; here its
//! result is put into the shape that publishing takes.

use holdfast_policy::compile::{self, Target};
use holdfast_policy::problem::Problems;
use holdfast_policy::validate::Trust;
use holdfast_policy::{load_trusted, model};

use super::source::SourceSnapshot;
use crate::publish::decide::Drift;
use crate::publish::object::Desired;

/// A good set.
#[derive(Debug, Clone)]
pub struct PolicySet {
    pub revision: String,
    pub desired: Vec<Desired>,
    pub drift: Drift,
    pub warnings: Problems,
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
    let revision = snapshot.revision.clone();
    Ok(PolicySet { revision, desired, drift, warnings: set.warnings().clone() })
}
