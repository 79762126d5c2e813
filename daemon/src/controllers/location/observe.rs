//! What is known of every location: the object, and what this process has done about it.

use std::collections::HashMap;

use holdfast_policy::duration::GoDuration;
use holdfast_policy::velero;

use crate::controllers::runs::Runs;
use crate::controllers::watched::Watched;

use super::decide::{Check, CheckState, Observed};

/// The spec that each location had when it was last checked, by uid.
#[derive(Debug, Default)]
pub(super) struct Memory {
    checked: HashMap<String, velero::BackupStorageLocationSpec>,
}

impl Memory {
    pub(super) fn checked(&mut self, uid: &str, spec: velero::BackupStorageLocationSpec) {
        self.checked.insert(uid.to_owned(), spec);
    }
}

pub(super) fn observe(
    locations: &Watched<velero::BackupStorageLocation>,
    checks: &Runs<Check>,
    memory: &Memory,
    default_frequency: GoDuration,
) -> Vec<Observed> {
    let running = checks.states();
    locations
        .all()
        .into_iter()
        .map(|location| {
            let uid = location.metadata.uid.as_deref().unwrap_or_default();
            let check = match (running.get(uid), memory.checked.get(uid)) {
                (Some(run), _) => match &run.ended {
                    Some(check) => CheckState::Ended(check.clone()),
                    None => CheckState::UnderWay,
                },
                (None, None) => CheckState::None,
                (None, Some(spec)) if *spec != location.spec => CheckState::OtherSpec,
                (None, Some(_)) => CheckState::Known,
            };
            Observed { location, check, default_frequency }
        })
        .collect()
}
