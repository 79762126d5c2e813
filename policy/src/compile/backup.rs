//! What goes into a backup, as Velero's spec; and backups that are made once.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::TypedLocalObjectReference;

use super::object::{Object, Objects};
use super::{PublishMode, config_map, selector};
use crate::model::hooks::{BackupCommand, BackupHook, OnError};
use crate::model::select::{ClusterResources, HookSelect, Select};
use crate::model::volumes::Volumes;
use crate::validate::{BackupContent, ValidBackup};
use crate::velero;

pub(super) fn compile(backup: &ValidBackup, objects: &mut Objects<'_>) {
    let ValidBackup { origin, name, content } = backup;
    let spec = spec(&origin.policy, content, objects);
    let mut value = velero::Backup::new(name, spec);
    value.metadata = objects.metadata(name, &origin.policy, &content.labels, BTreeMap::new());
    objects.add(Object {
        api_version: "velero.io/v1",
        kind: "Backup",
        policy: origin.policy.clone(),
        value,
        at_creation: None,
        publish: PublishMode::CreateOnce,
    });
}

/// The spec of a backup, without the labels that a template gives.
pub(super) fn spec(policy: &str, content: &BackupContent, objects: &mut Objects<'_>) -> velero::BackupSpec {
    let BackupContent { labels: _, location, select, volumes, hooks, item_operation_timeout, ttl } = content;
    let Volumes {
        snapshot_volumes,
        snapshot_locations,
        snapshot_move_data,
        default_volumes_to_fs_backup,
        csi_snapshot_timeout,
        volume_group_snapshot_label_key,
        data_mover,
        parallel_files_upload,
        rules: _,
        policy_ref: _,
    } = volumes;
    let filters = Filters::of(select);
    velero::BackupSpec {
        included_namespaces: if select.namespaces.include.is_empty() {
            vec!["*".to_owned()]
        } else {
            select.namespaces.include.clone()
        },
        excluded_namespaces: select.namespaces.exclude.clone(),
        included_resources: select.resources.include.clone(),
        excluded_resources: select.resources.exclude.clone(),
        included_cluster_scoped_resources: filters.included_cluster_scoped,
        excluded_cluster_scoped_resources: select.cluster_resources.exclude.clone(),
        included_namespace_scoped_resources: select.namespaced_resources.include.clone(),
        excluded_namespace_scoped_resources: select.namespaced_resources.exclude.clone(),
        include_cluster_resources: filters.include_cluster_resources,
        label_selector: select.label_selector.as_ref().and_then(selector::compile),
        or_label_selectors: select.or_label_selectors.iter().filter_map(selector::compile).collect(),
        ordered_resources: select
            .ordered_resources
            .iter()
            .map(|(resource, objects)| (resource.clone(), objects.join(",")))
            .collect(),
        snapshot_volumes: *snapshot_volumes,
        ttl: Some(*ttl),
        volume_group_snapshot_label_key: volume_group_snapshot_label_key.clone(),
        hooks: velero::BackupHooks { resources: hooks.iter().map(hook).collect() },
        storage_location: location.clone(),
        volume_snapshot_locations: snapshot_locations.clone(),
        default_volumes_to_fs_backup: *default_volumes_to_fs_backup,
        csi_snapshot_timeout: *csi_snapshot_timeout,
        item_operation_timeout: *item_operation_timeout,
        resource_policy: resource_policy(policy, volumes, objects),
        snapshot_move_data: *snapshot_move_data,
        datamover: data_mover.clone(),
        uploader_config: parallel_files_upload
            .map(|count| velero::BackupUploaderConfig { parallel_files_upload: count }),
        ..velero::BackupSpec::default()
    }
}

/// What the two filter models make of cluster-scoped resources.
struct Filters {
    include_cluster_resources: Option<bool>,
    included_cluster_scoped: Vec<String>,
}

impl Filters {
    fn of(select: &Select) -> Filters {
        let by_scope = !select.namespaced_resources.is_empty() || !select.cluster_resources.is_empty();
        let whole_cluster = select.namespaces.includes_all();
        let include = &select.cluster_resources.include;
        if by_scope {
            // Velero's rule for the whole cluster can't be reached in this model, so the list says it.
            let all = whole_cluster && include.is_empty();
            let included_cluster_scoped = if all { vec!["*".to_owned()] } else { include.clone() };
            return Filters { include_cluster_resources: None, included_cluster_scoped };
        }
        let include_cluster_resources =
            match select.include_cluster_resources.unwrap_or(ClusterResources::Auto) {
                ClusterResources::Always => Some(true),
                ClusterResources::Never => Some(false),
                ClusterResources::Auto => whole_cluster.then_some(true),
            };
        Filters { include_cluster_resources, included_cluster_scoped: Vec::new() }
    }
}

fn resource_policy(
    policy: &str,
    volumes: &Volumes,
    objects: &mut Objects<'_>,
) -> Option<TypedLocalObjectReference> {
    match (&volumes.policy_ref, volumes.rules.as_slice()) {
        (Some(reference), _) => Some(config_map::reference(reference.name())),
        (None, []) => None,
        (None, rules) => Some(config_map::volume_policies(policy, rules, objects)),
    }
}

fn hook(hook: &BackupHook) -> velero::BackupHookSpec {
    let BackupHook { name, select, pre, post } = hook;
    let HookSelect { namespaces, resources, label_selector } = select;
    velero::BackupHookSpec {
        name: name.clone(),
        included_namespaces: namespaces.include.clone(),
        excluded_namespaces: namespaces.exclude.clone(),
        included_resources: resources.include.clone(),
        excluded_resources: resources.exclude.clone(),
        label_selector: label_selector.as_ref().and_then(selector::compile),
        pre: pre.iter().map(command).collect(),
        post: post.iter().map(command).collect(),
    }
}

fn command(command: &BackupCommand) -> velero::BackupHook {
    let exec = &command.exec;
    velero::BackupHook {
        exec: velero::ExecHook {
            container: exec.container.clone(),
            command: exec.command.clone(),
            on_error: Some(error_mode(exec.on_error)),
            timeout: exec.timeout,
        },
    }
}

/// Unset means Continue to Velero, whatever its documentation says, so it is always written.
pub(super) fn error_mode(on_error: Option<OnError>) -> velero::HookErrorMode {
    match on_error.unwrap_or(OnError::Fail) {
        OnError::Fail => velero::HookErrorMode::Fail,
        OnError::Continue => velero::HookErrorMode::Continue,
    }
}
