//! The objects that publishing deals with: what a policy set asks for, and what the cluster has.
//!
//! Values only. `observe` makes [`Live`] from the cluster, the policy crate compiles
//! what becomes [`Desired`].

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use holdfast_policy::compile::{Manifest, PublishMode, RestoreGate};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::Value;

/// Labels by which generated objects are told apart.
pub use holdfast_policy::annotations::{CONTENT_HASH, POLICY, SOURCE};

/// On an object that Holdfast did not make: the source that may take it over.
pub const ADOPT: &str = "holdfast.dev/adopt";

/// On a PolicySet: lets a Restore happen, by its content hash.
pub const APPROVE: &str = "holdfast.dev/approve";
/// On a PolicySet: lets many Schedules go at once.
pub const ALLOW_PRUNE: &str = "holdfast.dev/allow-prune";

/// The field manager under which a source applies.
pub fn field_manager(source: &str) -> String {
    format!("{MANAGER_PREFIX}{source}")
}

/// The field manager that holds what a source sets at creation only. A source's name has no colon in it.
pub fn creation_manager(source: &str) -> String {
    format!("{MANAGER_PREFIX}{source}:creation")
}

/// What fields set at creation tell of a source's intent is nothing.
fn source_of_manager(manager: &str) -> Option<&str> {
    manager.strip_prefix(MANAGER_PREFIX).filter(|source| !source.contains(':'))
}

/// Every field manager of Holdfast's begins with this.
pub const MANAGER_PREFIX: &str = "holdfast/";

/// The kinds that policies generate, in the order in which they are published.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    ConfigMap,
    BackupStorageLocation,
    VolumeSnapshotLocation,
    Schedule,
    Backup,
    Restore,
}

impl Kind {
    pub const ALL: [Kind; 6] = [
        Kind::ConfigMap,
        Kind::BackupStorageLocation,
        Kind::VolumeSnapshotLocation,
        Kind::Schedule,
        Kind::Backup,
        Kind::Restore,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Kind::ConfigMap => "ConfigMap",
            Kind::BackupStorageLocation => "BackupStorageLocation",
            Kind::VolumeSnapshotLocation => "VolumeSnapshotLocation",
            Kind::Schedule => "Schedule",
            Kind::Backup => "Backup",
            Kind::Restore => "Restore",
        }
    }

    pub fn plural(self) -> &'static str {
        match self {
            Kind::ConfigMap => "configmaps",
            Kind::BackupStorageLocation => "backupstoragelocations",
            Kind::VolumeSnapshotLocation => "volumesnapshotlocations",
            Kind::Schedule => "schedules",
            Kind::Backup => "backups",
            Kind::Restore => "restores",
        }
    }

    pub fn group(self) -> &'static str {
        match self {
            Kind::ConfigMap => "",
            Kind::BackupStorageLocation
            | Kind::VolumeSnapshotLocation
            | Kind::Schedule
            | Kind::Backup
            | Kind::Restore => "velero.io",
        }
    }

    /// All kinds are at version v1 of their group.
    pub fn api_version(self) -> String {
        match self.group() {
            "" => "v1".to_owned(),
            group => format!("{group}/v1"),
        }
    }

    pub fn lifecycle(self) -> Lifecycle {
        match self {
            Kind::BackupStorageLocation | Kind::VolumeSnapshotLocation | Kind::Schedule => {
                Lifecycle::KeptInStep
            }
            Kind::ConfigMap => Lifecycle::CreatedWhenMissing,
            Kind::Backup | Kind::Restore => Lifecycle::CreatedOnce,
        }
    }

    pub fn from_name(name: &str) -> Option<Kind> {
        Kind::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

/// How long an object follows its policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lifecycle {
    /// For as long as it lives.
    KeptInStep,
    /// It can't be changed, its name tells its content, and there is one whenever a policy asks for it.
    CreatedWhenMissing,
    /// It is made once and left to itself, and not made again when it is gone.
    CreatedOnce,
}

/// Names one object in the namespace that is published to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    pub kind: Kind,
    pub name: String,
}

impl fmt::Display for Key {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {}", self.kind.name(), self.name)
    }
}

/// What a policy set asks for.
#[derive(Debug, Clone, PartialEq)]
pub struct Desired {
    pub key: Key,
    /// The name of the document that asks for it.
    pub policy: String,
    pub content_hash: String,
    /// The whole object, without the fields of `at_creation`.
    pub value: Value,
    /// What is set when the object is created and belongs to others from then on.
    pub at_creation: Option<Value>,
    /// For a Restore: what must hold before it may be created.
    pub gate: Option<RestoreGate>,
}

impl From<Manifest> for Desired {
    fn from(manifest: Manifest) -> Desired {
        let Manifest {
            api_version: _,
            kind,
            namespace: _,
            name,
            policy,
            content_hash,
            value,
            at_creation,
            publish,
        } = manifest;
        let kind = Kind::from_name(&kind).expect("policies compile to these kinds only, as their tests show");
        let gate = match publish {
            PublishMode::CreateOnceThrough(gate) => Some(gate),
            // The kind says as much.
            PublishMode::Apply | PublishMode::CreateWhenMissing | PublishMode::CreateOnce => None,
        };
        Desired { key: Key { kind, name }, policy, content_hash, value, at_creation, gate }
    }
}

/// What the cluster has, as far as publishing needs to know it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Live {
    pub uid: String,
    pub resource_version: String,
    /// The source that the labels name.
    pub source: Option<String>,
    pub adopt: Option<String>,
    pub content_hash: Option<String>,
    /// What sources own by server-side apply: their names with the `fieldsV1` of their entries.
    pub owned: BTreeMap<String, Value>,
    /// Sources that created it without applying, as they do with what never changes.
    pub created_by: BTreeSet<String>,
    pub deleting: bool,
}

impl Live {
    /// The source that made the object: the one that its label names or, where somebody took the label away, the one
    /// that still owns fields. None for an object that Holdfast did not make.
    pub fn made_by(&self) -> Option<&str> {
        self.source.as_deref().or_else(|| self.owned.keys().next().map(String::as_str))
    }

    /// Reads the metadata of an object, of whatever kind.
    pub fn from_metadata(metadata: ObjectMeta) -> Live {
        let mut labels = metadata.labels.unwrap_or_default();
        let mut annotations = metadata.annotations.unwrap_or_default();
        let mut owned = BTreeMap::new();
        let mut created_by = BTreeSet::new();
        for entry in metadata.managed_fields.unwrap_or_default() {
            let Some(source) = entry.manager.as_deref().and_then(source_of_manager) else { continue };
            match (entry.operation.as_deref(), entry.fields_v1) {
                (Some("Apply"), Some(fields)) => {
                    owned.insert(source.to_owned(), fields.0);
                }
                (Some("Update"), _) => {
                    created_by.insert(source.to_owned());
                }
                (_, _) => {}
            }
        }
        Live {
            uid: metadata.uid.unwrap_or_default(),
            resource_version: metadata.resource_version.unwrap_or_default(),
            source: labels.remove(SOURCE),
            adopt: annotations.remove(ADOPT),
            content_hash: labels.remove(CONTENT_HASH),
            owned,
            created_by,
            deleting: metadata.deletion_timestamp.is_some(),
        }
    }

    /// Whether publishing would see a difference; a status that was written is none.
    pub fn matters_as(&self, other: &Live) -> bool {
        let Live { uid, resource_version: _, source, adopt, content_hash, owned, created_by, deleting } =
            self;
        *uid == other.uid
            && *source == other.source
            && *adopt == other.adopt
            && *content_hash == other.content_hash
            && *owned == other.owned
            && *created_by == other.created_by
            && *deleting == other.deleting
    }

    /// Whether this was read later than `other`. Resource versions are comparable numbers since Kubernetes 1.35, and
    /// were in practice before; what is no number counts as later, so that the watch has the last word.
    pub fn is_later_than(&self, other: &Live) -> bool {
        match (self.resource_version.parse::<u128>(), other.resource_version.parse::<u128>()) {
            (Ok(this), Ok(other)) => this > other,
            (Ok(_) | Err(_), _) => true,
        }
    }
}
