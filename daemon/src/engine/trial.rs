//! Tests of policies, carried out: what given objects, times and backups come to, beside what a test expects. Pure:
//! takes a test and the set that it is about, gives how many expectations there are and which do not hold.
//!
//! What is included is judged as backups judge it, runs are those of `holdfast next`, and what is kept is decided as
//! for real backups: there are no rules of its own here.

use holdfast_policy::compile::{self, Target};
use holdfast_policy::policy_test::{PolicyTest, Remark};
use holdfast_policy::validate::ValidPolicySet;
use holdfast_policy::velero::Schedule;

use crate::engine::coverage::{self, Choice};

mod objects;
mod retention;
mod runs;
mod selection;
#[cfg(test)]
mod tests;

/// What a test came to.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// How many expectations there are.
    pub expectations: usize,
    /// What does not hold, or could not be judged.
    pub remarks: Vec<Remark>,
}

/// The set in the forms that tests ask about.
pub struct Trial<'a> {
    set: &'a ValidPolicySet,
    target: &'a Target,
    choices: Vec<Choice>,
    schedules: Vec<Schedule>,
}

impl<'a> Trial<'a> {
    pub fn new(set: &'a ValidPolicySet, target: &'a Target) -> Result<Self, serde_json::Error> {
        let choices = coverage::choices(&compile::compile(set, target))?;
        let schedules = retention::schedules(set, target)?;
        Ok(Self { set, target, choices, schedules })
    }

    pub fn carry_out(&self, test: &PolicyTest) -> Outcome {
        let mut outcome = Outcome { expectations: 0, remarks: Vec::new() };
        selection::carry_out(&test.spec, &self.choices, &mut outcome);
        runs::carry_out(&test.spec.runs, self.set, self.target, &mut outcome);
        retention::carry_out(&test.spec.retention, self.set, &self.schedules, &mut outcome);
        outcome
    }
}
