//! Restore item actions: what is changed, pulled in or left out for objects of one kind before they are created.
//!
//! In: the object after its metadata reset, the copy from the archive, and [`Context`]. Out: the changed object and
//! an [`Effect`]. An action never talks to the cluster: what it must know of it, it asks for with [`Question`]s,
//! which the engine answers before the action runs. Order and filters are the engine's.

mod account_names;
mod add_pvc_from_pod;
mod admission_webhook_configuration;
mod apiservice;
mod change_image_name;
mod change_node;
mod change_storage_class;
mod cluster_role_bindings;
mod crd_preserve_fields;
pub mod csi;
mod csi_pvc;
mod csi_volume_snapshot;
mod csi_volume_snapshot_class;
mod csi_volume_snapshot_content;
mod endpoint_targets;
mod init_restore_hook;
mod job;
mod namespace_selectors;
mod pod;
mod pod_volume_restore;
mod pvc;
mod role_bindings;
mod secret;
mod service;
mod service_account;
mod service_references;

use std::collections::{BTreeMap, BTreeSet};

use holdfast_policy::model::remap::Remap;
use serde_json::Value;

use crate::hooks::restore::Rules;

/// One action. `name` is the one that Velero registers, or begins with our own domain; [`all`] states the order.
#[derive(Debug)]
pub struct Action {
    pub name: &'static str,
    /// Group resources (`deployments.apps`) that it wants to see.
    pub applies_to: &'static [&'static str],
    /// What it must know of the cluster for this object.
    pub questions: fn(&Value, &Context<'_>) -> Vec<Question>,
    pub apply: fn(&mut Value, &Context<'_>, &Answers) -> Result<Effect, Error>,
}

/// Everything an action may look at beside the object.
#[derive(Debug)]
pub struct Context<'a> {
    pub group_resource: &'a str,
    /// The object as the archive has it, status included.
    pub from_backup: &'a Value,
    /// The namespace that the object had in the backup.
    pub source_namespace: Option<&'a str>,
    pub namespace_mapping: &'a BTreeMap<String, String>,
    pub node_ports: NodePorts,
    pub configuration: &'a Configuration,
    pub hooks: &'a Rules,
    pub csi: &'a csi::Csi,
}

/// What happens to node ports that nobody asked for explicitly (`spec.preserveNodePorts`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NodePorts {
    Preserve,
    KeepExplicit,
}

/// What users configure: the plugin ConfigMaps in Velero's namespace, each absent, given once, or given twice, and the
/// names that this restore changes, which come before theirs.
#[derive(Debug, Default, Clone)]
pub struct Configuration {
    pub change_image_name: PluginConfig,
    pub change_storage_class: PluginConfig,
    /// Without `namespaces`, which are the Restore's `namespaceMapping`.
    pub remap: Remap,
}

/// The data of the one ConfigMap that configures an action.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub enum PluginConfig {
    #[default]
    Absent,
    Data(BTreeMap<String, String>),
    /// More than one ConfigMap claims the action: an error for every object that it touches.
    Ambiguous(Vec<String>),
}

/// A fact about the target cluster.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Question {
    ServiceAccountNames {
        namespace: String,
    },
    StorageClassExists {
        name: String,
    },
    NodeExists {
        name: String,
    },
    ClaimExists {
        namespace: String,
        name: String,
    },
    /// The first VolumeSnapshotClass of a driver.
    SnapshotClass {
        driver: String,
    },
}

/// The facts that were asked for.
#[derive(Debug, Default, Clone)]
pub struct Answers {
    pub service_accounts: BTreeMap<String, BTreeSet<String>>,
    pub storage_classes: BTreeMap<String, bool>,
    pub nodes: BTreeMap<String, bool>,
    /// Those that exist, by namespace and name.
    pub claims: BTreeSet<(String, String)>,
    /// By driver; drivers without a class are not among them.
    pub snapshot_classes: BTreeMap<String, String>,
}

/// What the action wants beyond the change of the object.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Effect {
    pub verdict: Verdict,
    /// Objects of the archive that must be there first, by their place in the backup.
    pub additional_items: Vec<AdditionalItem>,
}

#[derive(Debug, Default, PartialEq, Eq)]
pub enum Verdict {
    #[default]
    Restore,
    /// The object is not created; the text says why.
    Skip(String),
}

/// An object named by its place in the backup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdditionalItem {
    pub group_resource: &'static str,
    pub namespace: Option<String>,
    pub name: String,
}

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Error {
    #[error("more than one ConfigMap configures {action}: {}", names.join(", "))]
    AmbiguousConfiguration { action: &'static str, names: Vec<String> },
    #[error("storage class {name} that {old} is mapped to does not exist")]
    NoSuchStorageClass { old: String, name: String },
    #[error("{reason}")]
    InitHook { reason: String },
    #[error("annotation {annotation} is not a Service: {reason}")]
    BadLastApplied { annotation: &'static str, reason: String },
    #[error("its data is in a CSI snapshot, and claim {claim} of the archive does not name it")]
    SnapshotNotNamed { claim: String },
    #[error("VolumeSnapshot {snapshot} of the archive is not bound to a VolumeSnapshotContent")]
    NoContent { snapshot: String },
    #[error("VolumeSnapshotContent {content} of the archive has no snapshot handle")]
    NoHandle { content: String },
    #[error(
        "snapshot handle {found} is not that of VolumeSnapshotContent {content}, which the volume info says is {expected}"
    )]
    MixedUp { content: String, found: String, expected: String },
    #[error(
        "snapshot handle {handle} of VolumeSnapshotContent {content} is that of {other} in the volume info"
    )]
    HandleOfAnother { content: String, handle: String, other: String },
    #[error("VolumeSnapshotContent {content} was not made by backup {backup}")]
    NotOfThisBackup { content: String, backup: String },
}

/// All actions, in the order in which they see an object: Velero's by their names, those of CSI behind the others,
/// then ours.
pub fn all() -> &'static [Action] {
    &[
        add_pvc_from_pod::ACTION,
        admission_webhook_configuration::ACTION,
        apiservice::ACTION,
        change_image_name::ACTION,
        change_storage_class::ACTION,
        cluster_role_bindings::ACTION,
        crd_preserve_fields::ACTION,
        init_restore_hook::ACTION,
        job::ACTION,
        pod::ACTION,
        pod_volume_restore::ACTION,
        pvc::ACTION,
        role_bindings::ACTION,
        secret::ACTION,
        service::ACTION,
        service_account::ACTION,
        csi_pvc::ACTION,
        csi_volume_snapshot::ACTION,
        csi_volume_snapshot_class::ACTION,
        csi_volume_snapshot_content::ACTION,
        account_names::ACTION,
        change_node::ACTION,
        endpoint_targets::ACTION,
        namespace_selectors::ACTION,
        service_references::ACTION,
    ]
}

/// The actions for one kind, in order.
pub fn for_group_resource(group_resource: &str) -> impl Iterator<Item = &'static Action> {
    all().iter().filter(move |action| action.applies_to.contains(&group_resource))
}

impl PluginConfig {
    /// The data, if the action is configured at all.
    fn data(&self, action: &'static str) -> Result<Option<&BTreeMap<String, String>>, Error> {
        match self {
            Self::Absent => Ok(None),
            Self::Data(data) => Ok(Some(data)),
            Self::Ambiguous(names) => Err(Error::AmbiguousConfiguration { action, names: names.clone() }),
        }
    }
}

impl Effect {
    fn skip(reason: impl Into<String>) -> Self {
        Self { verdict: Verdict::Skip(reason.into()), additional_items: Vec::new() }
    }
}

fn asks_nothing(_item: &Value, _context: &Context<'_>) -> Vec<Question> {
    Vec::new()
}

/// Where objects of a kind keep the spec of their pods; None for kinds without pods.
fn pod_spec(group_resource: &str) -> Option<&'static str> {
    match group_resource {
        "pods" => Some("/spec"),
        "cronjobs.batch" => Some("/spec/jobTemplate/spec/template/spec"),
        "deployments.apps"
        | "statefulsets.apps"
        | "daemonsets.apps"
        | "replicasets.apps"
        | "replicationcontrollers"
        | "jobs.batch" => Some("/spec/template/spec"),
        _ => None,
    }
}

/// The elements of a list; nothing where the path is absent or not a list.
fn elements<'a>(value: &'a Value, pointer: &str) -> impl Iterator<Item = &'a Value> {
    value.pointer(pointer).and_then(Value::as_array).into_iter().flatten()
}

/// As [`elements`], to be changed.
fn elements_mut<'a>(value: &'a mut Value, pointer: &str) -> impl Iterator<Item = &'a mut Value> {
    value.pointer_mut(pointer).and_then(Value::as_array_mut).into_iter().flatten()
}

/// The text at a path; empty where it is absent.
fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// Removes a key of the object at a path, if both are there.
fn remove(value: &mut Value, pointer: &str, key: &str) {
    if let Some(object) = value.pointer_mut(pointer).and_then(Value::as_object_mut) {
        object.remove(key);
    }
}

#[cfg(test)]
mod fixtures {
    use super::*;

    /// Runs one action on an object without a configuration, a mapping or answers.
    pub(super) fn run(action: &Action, item: &mut Value) -> Result<Effect, Error> {
        run_with(action, item, |_| {}, &Answers::default())
    }

    /// Runs one action in a context that the test changes where it matters.
    pub(super) fn run_with(
        action: &Action,
        item: &mut Value,
        change: impl FnOnce(&mut Setting),
        answers: &Answers,
    ) -> Result<Effect, Error> {
        let mut setting = Setting {
            namespace_mapping: BTreeMap::new(),
            node_ports: NodePorts::KeepExplicit,
            configuration: Configuration::default(),
            hooks: Rules::default(),
            csi: csi::Csi::NotServed,
            from_backup: item.clone(),
            group_resource: action.applies_to[0],
        };
        change(&mut setting);
        let namespace = text(&setting.from_backup, "/metadata/namespace").to_owned();
        let context = Context {
            group_resource: setting.group_resource,
            from_backup: &setting.from_backup,
            source_namespace: (!namespace.is_empty()).then_some(namespace.as_str()),
            namespace_mapping: &setting.namespace_mapping,
            node_ports: setting.node_ports,
            configuration: &setting.configuration,
            hooks: &setting.hooks,
            csi: &setting.csi,
        };
        (action.apply)(item, &context, answers)
    }

    pub(super) struct Setting {
        pub(super) namespace_mapping: BTreeMap<String, String>,
        pub(super) node_ports: NodePorts,
        pub(super) configuration: Configuration,
        pub(super) hooks: Rules,
        pub(super) csi: csi::Csi,
        pub(super) from_backup: Value,
        pub(super) group_resource: &'static str,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn actions_stand_in_the_order_of_their_names_with_ours_behind_and_none_twice() {
        let names: Vec<&str> = all().iter().map(|action| action.name).collect();
        let mut sorted = names.clone();
        sorted.sort_unstable_by_key(|name| {
            (!name.starts_with("velero.io/"), name.starts_with("velero.io/csi-"), *name)
        });
        sorted.dedup();
        assert_eq!(names, sorted);
    }

    #[test]
    fn a_pod_is_seen_by_its_actions_in_velero_s_order() {
        let names: Vec<&str> = for_group_resource("pods").map(|action| action.name).collect();
        assert_eq!(
            names,
            [
                "velero.io/add-pvc-from-pod",
                "velero.io/change-image-name",
                "velero.io/init-restore-hook",
                "velero.io/pod",
                "velero.io/pod-volume-restore",
                "holdfast.dev/change-node",
            ]
        );
    }

    #[test]
    fn a_claim_gets_its_storage_class_before_its_annotations_are_cleaned() {
        let names: Vec<&str> =
            for_group_resource("persistentvolumeclaims").map(|action| action.name).collect();
        assert_eq!(
            names,
            [
                "velero.io/change-storage-class",
                "velero.io/pvc",
                "velero.io/csi-pvc-restorer",
                "holdfast.dev/change-node",
            ]
        );
    }
}
