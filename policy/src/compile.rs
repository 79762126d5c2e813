//! From a valid set to the objects that make it so.
//!
//! In: a [`ValidPolicySet`] and where it goes. Out: manifests, the same for the same set on any machine and in any
//! order of reading. There is nothing left here that could fail. Who creates and changes the objects, and when a
//! Restore may be created, is left to `publish`.

mod backup;
mod config_map;
mod location;
mod object;
mod restore;
mod schedule;
mod selector;

use chrono::{DateTime, Utc};
use serde_json::Value;

use crate::model::restore::Approval;
use crate::validate::ValidPolicySet;
use object::{Objects, rank};

/// Where a set goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Namespace of the generated objects.
    pub namespace: String,
    /// Name of the source.
    pub source: String,
    /// Name of the cluster. Restores for other clusters are left out where it is known.
    pub cluster_name: Option<String>,
}

/// An object that a set asks for.
#[derive(Clone, Debug, PartialEq)]
pub struct Manifest {
    pub api_version: String,
    pub kind: String,
    pub namespace: String,
    pub name: String,
    /// Name of the document that asks for it.
    pub policy: String,
    /// Hash of `value`, which carries it in a label.
    pub content_hash: String,
    /// The whole object, without the fields of `at_creation`.
    pub value: Value,
    /// What is set when the object is created and belongs to others from then on.
    pub at_creation: Option<Value>,
    pub publish: PublishMode,
}

/// How an object follows its policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PublishMode {
    /// It is applied, and changed back when somebody changes it.
    Apply,
    /// It can't be changed, its name tells its content, and there is one whenever a policy asks for it.
    CreateWhenMissing,
    /// It is made once and left to itself, and not made again when it is gone.
    CreateOnce,
    /// The same, as soon as the gate lets it through.
    CreateOnceThrough(RestoreGate),
}

/// What must hold before a Restore is created.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RestoreGate {
    /// Manual as well where the policy says Automatic, but objects would be updated.
    pub approval: Approval,
    /// Names of the clusters that may run it. A daemon whose cluster has no name runs none.
    pub clusters: Vec<String>,
    pub not_after: Option<DateTime<Utc>>,
    pub from: RestoreFrom,
}

/// Which backup is restored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RestoreFrom {
    Backup(String),
    /// The latest Completed one of this Schedule, looked up when the Restore is created.
    LatestOf {
        schedule: String,
    },
}

impl Manifest {
    /// The object as it is created: with what is set at creation only.
    pub fn created(&self) -> Value {
        self.clone().into_created()
    }

    fn into_created(self) -> Value {
        let mut value = self.value;
        if let Some(fields) = self.at_creation {
            merge(&mut value, fields);
        }
        value
    }
}

/// The objects of a set, sorted by kind and name in the order in which they are published.
pub fn compile(set: &ValidPolicySet, target: &Target) -> Vec<Manifest> {
    let mut manifests = Vec::new();
    each(set, target, &mut |manifest| manifests.push(manifest));
    manifests.sort_by(|one, other| {
        (rank(&one.kind), one.name.as_str()).cmp(&(rank(&other.kind), other.name.as_str()))
    });
    manifests
}

/// The same objects as one YAML stream, in a tenth of the memory.
pub fn render(set: &ValidPolicySet, target: &Target) -> String {
    let mut texts: Vec<(usize, String, String)> = Vec::new();
    each(set, target, &mut |manifest| {
        let (rank, name) = (rank(&manifest.kind), manifest.name.clone());
        texts.push((rank, name, crate::yaml::to_document(&manifest.into_created())));
    });
    texts.sort_by(|one, other| (one.0, one.1.as_str()).cmp(&(other.0, other.1.as_str())));
    texts.iter().map(|(_, _, text)| text.as_str()).collect()
}

fn each(set: &ValidPolicySet, target: &Target, take: &mut dyn FnMut(Manifest)) {
    let mut objects = Objects::new(target, take);
    for location in set.storage_locations() {
        location::storage(location, &mut objects);
    }
    for location in set.snapshot_locations() {
        location::snapshot(location, &mut objects);
    }
    for schedule in set.schedules() {
        schedule::compile(schedule, &mut objects);
    }
    for backup in set.backups() {
        backup::compile(backup, &mut objects);
    }
    for restore in set.restores() {
        let here = target.cluster_name.as_ref().is_none_or(|name| restore.spec.clusters.contains(name));
        if here {
            restore::compile(restore, &mut objects);
        }
    }
}

/// The objects as one YAML stream.
pub fn to_yaml(manifests: &[Manifest]) -> String {
    manifests.iter().map(|manifest| crate::yaml::to_document(&manifest.created())).collect()
}

/// Sets the fields in the value.
fn merge(value: &mut Value, fields: Value) {
    match (value, fields) {
        (Value::Object(value), Value::Object(fields)) => {
            for (key, field) in fields {
                merge(value.entry(key).or_insert(Value::Null), field);
            }
        }
        (value, field) => *value = field,
    }
}
