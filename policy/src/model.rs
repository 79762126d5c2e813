//! The policy documents as a user may write them: one struct per kind, refusing what it does not know.
//!
//! In: checked JSON values. Out: plain data with the spelling of the files. What the values mean together, and
//! what replaces what, is left to `validate`.

pub mod backup;
pub mod defaults;
pub mod hooks;
pub mod location;
pub mod modifiers;
pub mod policy_test;
pub mod remap;
pub mod restore;
pub mod retention;
pub mod schedule;
pub mod select;
pub mod shape;
pub mod volumes;

use std::collections::BTreeMap;
use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use backup::{BackupEntry, BackupPolicySpec};
pub use defaults::{DefaultsSpec, Drift};
pub use location::{AccessMode, SecretKey, SnapshotLocationSpec, StorageLocationSpec};
pub use policy_test::PolicyTestSpec;
pub use restore::RestorePolicySpec;
pub use retention::Retention;
pub use schedule::{CatchUp, ConcurrencyPolicy, ScheduleEntry};

/// The one API version of policy documents.
pub const API_VERSION: &str = "holdfast.dev/v1alpha1";

/// The kinds of documents.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    Defaults,
    StorageLocation,
    SnapshotLocation,
    BackupPolicy,
    RestorePolicy,
    /// Is read by `holdfast test` alone, from files of its own.
    PolicyTest,
}

impl Kind {
    /// Every kind, in the order in which documents are compiled and described.
    pub const ALL: [Kind; 6] = [
        Kind::Defaults,
        Kind::StorageLocation,
        Kind::SnapshotLocation,
        Kind::BackupPolicy,
        Kind::RestorePolicy,
        Kind::PolicyTest,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Kind::Defaults => "Defaults",
            Kind::StorageLocation => "StorageLocation",
            Kind::SnapshotLocation => "SnapshotLocation",
            Kind::BackupPolicy => "BackupPolicy",
            Kind::RestorePolicy => "RestorePolicy",
            Kind::PolicyTest => "PolicyTest",
        }
    }

    pub fn from_name(name: &str) -> Option<Kind> {
        Kind::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// Name and labels of a document. Documents are files, not cluster objects, so there is no namespace.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Metadata {
    /// Name of the document, unique among the documents of its kind. What is generated is named after it.
    #[schemars(schema_with = "shape::object_name")]
    pub name: String,
    /// Labels put on everything that is generated from this document. Labels by which Argo CD, Flux, Helm or
    /// kustomize track their own objects are left out.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Notes for people and tools. They are not put on anything.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}
