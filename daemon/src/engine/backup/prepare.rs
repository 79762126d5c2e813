//! Completes and checks a Backup before it runs. Pure: takes the Backup, what surrounds it and the time, and
//! gives the Backup as it is to be stored, either ready to run or with everything that is wrong with it.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use holdfast_policy::duration::GoDuration;
use holdfast_policy::time::from_chrono;
use holdfast_policy::velero::{self, AccessMode, Backup, BackupPhase, BackupSpec, LocationPhase, labels};
use kube::ResourceExt;

use super::policy::{self, PolicySources};
use crate::engine::native::choice;
use crate::engine::select::{NamespaceFacts, ResourceFilter, VOLUME_GROUP_LABEL, complete_filters};

mod filters;

/// Version of the archive's format that runs write.
const FORMAT_VERSION: &str = "1.1.0";

/// What a Backup is checked against.
#[derive(Debug, Clone, Copy)]
pub struct Environment<'a> {
    /// All locations of the Backup's namespace.
    pub locations: &'a [velero::BackupStorageLocation],
    /// All of the Backup's namespace.
    pub snapshot_locations: &'a [velero::VolumeSnapshotLocation],
    /// All namespaces of the cluster.
    pub namespaces: &'a [NamespaceFacts],
    pub kubernetes: &'a KubernetesVersion,
    pub defaults: &'a Defaults,
    pub policies: &'a PolicySources,
}

/// What the API server says it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KubernetesVersion {
    /// `v1.36.3`.
    pub git_version: String,
    pub major: String,
    pub minor: String,
}

/// What holds where a Backup says nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Defaults {
    /// The location to use where none is marked as default.
    pub location: String,
    pub ttl: GoDuration,
    pub csi_snapshot_timeout: GoDuration,
    pub item_operation_timeout: GoDuration,
    pub resource_timeout: GoDuration,
    pub volumes_to_fs_backup: bool,
    pub snapshot_move_data: bool,
    /// By provider, the VolumeSnapshotLocation that counts where there are several.
    pub snapshot_locations: BTreeMap<String, String>,
}

impl Default for Defaults {
    fn default() -> Self {
        const MINUTE: i64 = 60;
        const HOUR: i64 = 60 * MINUTE;
        Self {
            location: "default".into(),
            ttl: GoDuration::from_secs(720 * HOUR),
            csi_snapshot_timeout: GoDuration::from_secs(10 * MINUTE),
            item_operation_timeout: GoDuration::from_secs(4 * HOUR),
            resource_timeout: GoDuration::from_secs(10 * MINUTE),
            volumes_to_fs_backup: false,
            snapshot_move_data: false,
            snapshot_locations: BTreeMap::new(),
        }
    }
}

/// The Backup with its spec completed and its status begun.
#[derive(Debug, Clone, PartialEq)]
pub enum Prepared {
    /// InProgress from now on.
    Ready(Backup),
    /// FailedValidation, with the reasons in its status.
    Invalid(Backup),
}

pub fn prepare(backup: &Backup, environment: Environment<'_>, now: DateTime<Utc>) -> Prepared {
    let mut backup = backup.clone();
    let ttl = complete_spec(&mut backup.spec, environment);
    let location = backup.spec.storage_location.clone().unwrap_or_default();
    complete_metadata(&mut backup, &location, environment);
    let mut problems = location_problems(&location, environment.locations);
    problems.extend(filters::problems(&backup.spec));
    problems.extend(ttl_problem(&backup.spec));
    let named = &backup.spec.volume_snapshot_locations;
    let default = &environment.defaults.snapshot_locations;
    match choice::resolve(named, &providers(environment.snapshot_locations), default) {
        Ok(names) => backup.spec.volume_snapshot_locations = names,
        Err(reasons) => problems.extend(reasons),
    }
    let is_joint = ResourceFilter::is_joint(&backup.spec);
    problems.extend(policy::problems(&backup.spec, environment.policies, is_joint));

    let status = &mut backup.status;
    status.version = 1;
    status.format_version = Some(FORMAT_VERSION.into());
    status.expiration = now.checked_add_signed(ttl.to_chrono()).map(from_chrono);
    status.queue_position = 0;
    status.validation_errors = problems;
    if status.validation_errors.is_empty() {
        status.phase = Some(BackupPhase::InProgress);
        status.start_timestamp = Some(from_chrono(now));
        Prepared::Ready(backup)
    } else {
        status.phase = Some(BackupPhase::FailedValidation);
        Prepared::Invalid(backup)
    }
}

/// By name of the snapshot location.
fn providers(locations: &[velero::VolumeSnapshotLocation]) -> BTreeMap<String, String> {
    locations.iter().map(|location| (location.name_any(), location.spec.provider.clone())).collect()
}

/// Fills in what the spec leaves open; gives the time to live.
fn complete_spec(spec: &mut BackupSpec, environment: Environment<'_>) -> GoDuration {
    let Environment { locations, snapshot_locations: _, namespaces, kubernetes: _, defaults, policies: _ } =
        environment;
    let ttl = spec.ttl_or(defaults.ttl);
    spec.ttl = Some(ttl);
    spec.csi_snapshot_timeout = Some(spec.csi_snapshot_timeout_or(defaults.csi_snapshot_timeout));
    spec.item_operation_timeout = Some(spec.item_operation_timeout_or(defaults.item_operation_timeout));
    spec.volume_group_snapshot_label_key.get_or_insert_with(|| VOLUME_GROUP_LABEL.into());
    spec.default_volumes_to_fs_backup = spec
        .default_volumes_to_fs_backup
        .or(spec.default_volumes_to_restic)
        .or(Some(defaults.volumes_to_fs_backup));
    spec.snapshot_move_data.get_or_insert(defaults.snapshot_move_data);
    spec.storage_location.get_or_insert_with(|| default_location(locations, &defaults.location));
    complete_filters(spec, namespaces);
    ttl
}

/// The newest of the locations marked as default, or the server's own default.
fn default_location(locations: &[velero::BackupStorageLocation], fallback: &str) -> String {
    let marked = locations.iter().filter(|location| location.spec.default);
    let newest =
        marked.max_by_key(|location| location.metadata.creation_timestamp.as_ref().map(|time| time.0));
    newest.and_then(|location| location.metadata.name.clone()).unwrap_or_else(|| fallback.to_owned())
}

fn complete_metadata(backup: &mut Backup, location: &str, environment: Environment<'_>) {
    let KubernetesVersion { git_version, major, minor } = environment.kubernetes;
    let timeout = environment.defaults.resource_timeout.to_string();
    let labels = backup.metadata.labels.get_or_insert_default();
    labels.insert(labels::STORAGE_LOCATION.into(), velero::short_name(location));
    let annotations = backup.metadata.annotations.get_or_insert_default();
    for (key, value) in [
        (labels::SOURCE_CLUSTER_GIT_VERSION, git_version),
        (labels::SOURCE_CLUSTER_MAJOR_VERSION, major),
        (labels::SOURCE_CLUSTER_MINOR_VERSION, minor),
        (labels::RESOURCE_TIMEOUT, &timeout),
    ] {
        annotations.insert(key.into(), value.clone());
    }
    match environment.policies.global.name() {
        Some(name) => {
            annotations.insert(labels::GLOBAL_VOLUME_POLICY.into(), name.to_owned());
        }
        // Written by hand, or by a server that had one.
        None => {
            annotations.remove(labels::GLOBAL_VOLUME_POLICY);
        }
    }
}

fn location_problems(name: &str, locations: &[velero::BackupStorageLocation]) -> Vec<String> {
    let Some(location) = locations.iter().find(|it| it.metadata.name.as_deref() == Some(name)) else {
        return vec![format!(
            "an existing backup storage location was not specified at backup creation time and the default {name} \
             was not found. Name one that exists and create a new backup"
        )];
    };
    let mut problems = Vec::new();
    if location.access_mode() == AccessMode::ReadOnly {
        problems.push(format!(
            "backup can't be created because backup storage location {name} is currently in read-only mode"
        ));
    }
    // A location that nobody has looked at yet is waited for before it comes to this.
    if location.status.phase == Some(LocationPhase::Unavailable) {
        let reason = location.status.message.as_deref().unwrap_or("no reason is known");
        problems.push(format!(
            "backup can't be created because backup storage location {name} is in Unavailable status: {reason}"
        ));
    }
    problems
}

fn ttl_problem(spec: &BackupSpec) -> Option<String> {
    let ttl = spec.ttl.filter(|ttl| ttl.is_negative())?;
    Some(format!("invalid ttl {ttl}: it must not be negative"))
}

#[cfg(test)]
mod tests;
