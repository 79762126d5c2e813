//! What no schema can say: names, references between documents, times, globs, rules that contradict each other.
//!
//! In: documents that keep to the schema. Out: a set in which every policy is spelled out with what it inherits, and
//! every problem with its place. Only this module makes a [`ValidPolicySet`], and `compile` takes nothing else.

mod backup;
mod glob;
mod hooks;
mod labels;
pub(crate) mod location;
mod modifiers;
mod names;
mod reach;
mod restore;
mod schedule;
pub(crate) mod secrets;
mod select;
mod set;
mod trust;
pub(crate) mod unenforced;
mod volumes;

use std::collections::BTreeSet;

use serde_json::Value;

use crate::model::{
    BackupPolicySpec, DefaultsSpec, Kind, Metadata, PolicyTestSpec, RestorePolicySpec, SnapshotLocationSpec,
    StorageLocationSpec,
};
use crate::parse::{Findings, RawDocument};

pub(crate) use glob::namespace as namespace_pattern;
pub use set::{
    BackupContent, Origin, ValidBackup, ValidLocation, ValidPolicySet, ValidRestore, ValidSchedule,
};
pub use trust::{HooksIn, Trust};
pub(crate) use volumes::{VOLUME_TYPES, capacity_range, quantity};

/// A document as its type, and where it stands.
pub(crate) struct Typed<S> {
    pub(crate) raw: RawDocument,
    pub(crate) metadata: Metadata,
    pub(crate) spec: S,
}

/// The documents of one source.
#[derive(Default)]
pub(crate) struct Documents {
    pub(crate) defaults: Vec<Typed<DefaultsSpec>>,
    pub(crate) storage_locations: Vec<Typed<StorageLocationSpec>>,
    pub(crate) snapshot_locations: Vec<Typed<SnapshotLocationSpec>>,
    pub(crate) backup_policies: Vec<Typed<BackupPolicySpec>>,
    pub(crate) restore_policies: Vec<Typed<RestorePolicySpec>>,
    mentioned: BTreeSet<(Kind, String)>,
}

impl Documents {
    /// Notes a document's name, so that a broken document still counts as declared.
    pub(crate) fn mention(&mut self, value: &Value) {
        let kind = value["kind"].as_str().and_then(Kind::from_name);
        let name = value["metadata"]["name"].as_str();
        if let (Some(kind), Some(name)) = (kind, name) {
            self.mentioned.insert((kind, name.to_owned()));
        }
    }

    /// Adds the documents of further files of the source.
    pub(crate) fn append(&mut self, others: Documents) {
        let Documents {
            mut defaults,
            mut storage_locations,
            mut snapshot_locations,
            mut backup_policies,
            mut restore_policies,
            mut mentioned,
        } = others;
        self.defaults.append(&mut defaults);
        self.storage_locations.append(&mut storage_locations);
        self.snapshot_locations.append(&mut snapshot_locations);
        self.backup_policies.append(&mut backup_policies);
        self.restore_policies.append(&mut restore_policies);
        self.mentioned.append(&mut mentioned);
    }

    fn declares(&self, kind: Kind, name: &str) -> bool {
        self.mentioned.contains(&(kind, name.to_owned()))
    }
}

/// Reports tests of one name.
pub(crate) fn unique_tests(documents: &[Typed<PolicyTestSpec>], findings: &mut Findings<'_>) {
    names::unique_of(Kind::PolicyTest, documents, findings);
}

/// The set, of use only where no errors were found.
pub(crate) fn validate(documents: &Documents, trust: &Trust, findings: &mut Findings<'_>) -> ValidPolicySet {
    trust::check(trust, documents, findings);
    names::unique(documents, findings);
    let defaults = documents.defaults.first().map(|document| document.spec.clone()).unwrap_or_default();
    location::default_location(documents, &defaults, findings);
    let mut set = ValidPolicySet { drift: defaults.drift.unwrap_or_default(), ..ValidPolicySet::default() };
    for document in &documents.storage_locations {
        set.storage_locations.push(location::storage(document, findings));
    }
    for document in &documents.snapshot_locations {
        set.snapshot_locations.push(location::snapshot(document, findings));
    }
    let mut generated = names::Generated::default();
    for document in &documents.backup_policies {
        let policy = backup::Policy { document, documents, defaults: &defaults };
        let (schedules, backups) = policy.validate(&mut generated, findings);
        set.schedules.extend(schedules);
        set.backups.extend(backups);
    }
    for document in &documents.restore_policies {
        set.restores.push(restore::validate(document, documents, &defaults, &mut generated, findings));
    }
    restore::targets(documents, findings);
    set
}
