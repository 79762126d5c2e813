//! Restores.

use std::collections::BTreeMap;

use super::object::{Object, Objects};
use super::{PublishMode, RestoreFrom, RestoreGate, backup, config_map, selector};
use crate::annotations::{self, RUN};
use crate::model::RestorePolicySpec;
use crate::model::hooks::{RestoreCommand, RestoreHook};
use crate::model::restore::{Approval, ExistingResourcePolicy};
use crate::model::select::{ClusterResources, HookSelect, RestoreSelect};
use crate::model::volumes::RestoreVolumes;
use crate::validate::ValidRestore;
use crate::velero;

pub(super) fn compile(restore: &ValidRestore, objects: &mut Objects<'_>) {
    let ValidRestore { policy, name, labels, spec, schedule, not_after, item_operation_timeout } = restore;
    let from = match (schedule, &spec.from.backup) {
        (Some(schedule), _) => RestoreFrom::LatestOf { schedule: schedule.clone() },
        (None, backup) => RestoreFrom::Backup(backup.clone().unwrap_or_default()),
    };
    let update = spec.existing_resource_policy == Some(ExistingResourcePolicy::Update);
    let gate = RestoreGate {
        approval: if update { Approval::Manual } else { spec.approval.unwrap_or_default() },
        clusters: spec.clusters.clone(),
        not_after: *not_after,
        from,
    };
    let mut annotations = BTreeMap::from([(RUN.to_owned(), spec.run.clone())]);
    annotations
        .extend(annotations::remap_text(&spec.remap).map(|text| (annotations::REMAP.to_owned(), text)));
    let compiled = velero::RestoreSpec {
        schedule_name: schedule.clone(),
        item_operation_timeout: *item_operation_timeout,
        ..self::spec(policy, spec, objects)
    };
    let mut value = velero::Restore::new(name, compiled);
    value.metadata = objects.metadata(name, policy, labels, annotations);
    objects.add(Object {
        api_version: "velero.io/v1",
        kind: "Restore",
        policy: policy.clone(),
        value,
        at_creation: None,
        publish: PublishMode::CreateOnceThrough(gate),
    });
}

fn spec(policy: &str, spec: &RestorePolicySpec, objects: &mut Objects<'_>) -> velero::RestoreSpec {
    let RestorePolicySpec {
        run: _,
        approval: _,
        clusters: _,
        not_after: _,
        from,
        select,
        remap,
        modifiers,
        modifiers_ref,
        existing_resource_policy,
        volumes,
        restore_status,
        hooks,
        item_operation_timeout: _,
    } = spec;
    let RestoreSelect {
        namespaces,
        resources,
        include_cluster_resources,
        label_selector,
        or_label_selectors,
    } = select;
    let RestoreVolumes { restore_pvs, preserve_node_ports, write_sparse_files, parallel_files_download } =
        volumes;
    let uploader = (write_sparse_files.is_some() || parallel_files_download.is_some()).then(|| {
        velero::RestoreUploaderConfig {
            write_sparse_files: *write_sparse_files,
            parallel_files_download: parallel_files_download.unwrap_or_default(),
        }
    });
    velero::RestoreSpec {
        backup_name: from.backup.clone(),
        included_namespaces: if namespaces.include.is_empty() {
            vec!["*".to_owned()]
        } else {
            namespaces.include.clone()
        },
        excluded_namespaces: namespaces.exclude.clone(),
        included_resources: resources.include.clone(),
        excluded_resources: resources.exclude.clone(),
        namespace_mapping: remap.namespaces.clone(),
        label_selector: label_selector.as_ref().and_then(selector::compile),
        or_label_selectors: or_label_selectors.iter().filter_map(selector::compile).collect(),
        restore_pvs: *restore_pvs,
        // To Velero an empty list is every resource, so what is empty here isn't written.
        restore_status: restore_status.as_ref().filter(|status| !status.include.is_empty()).map(|status| {
            velero::RestoreStatusSpec {
                included_resources: status.include.clone(),
                excluded_resources: status.exclude.clone(),
            }
        }),
        preserve_node_ports: *preserve_node_ports,
        include_cluster_resources: match include_cluster_resources.unwrap_or(ClusterResources::Auto) {
            ClusterResources::Auto => None,
            ClusterResources::Always => Some(true),
            ClusterResources::Never => Some(false),
        },
        hooks: velero::RestoreHooks { resources: hooks.iter().map(hook).collect() },
        existing_resource_policy: existing_resource_policy.map(|policy| {
            match policy {
                ExistingResourcePolicy::None => "none",
                ExistingResourcePolicy::Update => "update",
            }
            .to_owned()
        }),
        resource_modifier: match (modifiers_ref, modifiers.as_slice()) {
            (Some(reference), _) => Some(config_map::reference(reference.name())),
            (None, []) => None,
            (None, rules) => Some(config_map::modifiers(policy, rules, objects)),
        },
        uploader_config: uploader,
        ..velero::RestoreSpec::default()
    }
}

fn hook(hook: &RestoreHook) -> velero::RestoreHookSpec {
    let RestoreHook { name, select, post_hooks } = hook;
    let HookSelect { namespaces, resources, label_selector } = select;
    velero::RestoreHookSpec {
        name: name.clone(),
        included_namespaces: namespaces.include.clone(),
        excluded_namespaces: namespaces.exclude.clone(),
        included_resources: resources.include.clone(),
        excluded_resources: resources.exclude.clone(),
        label_selector: label_selector.as_ref().and_then(selector::compile),
        post_hooks: post_hooks.iter().map(command).collect(),
    }
}

fn command(command: &RestoreCommand) -> velero::RestoreHook {
    let RestoreCommand { exec, init } = command;
    velero::RestoreHook {
        exec: exec.as_ref().map(|exec| velero::ExecRestoreHook {
            container: exec.container.clone(),
            command: exec.command.clone(),
            on_error: Some(backup::error_mode(exec.on_error)),
            exec_timeout: exec.exec_timeout,
            wait_timeout: exec.wait_timeout,
            wait_for_ready: exec.wait_for_ready,
        }),
        init: init.as_ref().map(|init| velero::InitRestoreHook {
            init_containers: init.init_containers.clone(),
            timeout: init.timeout,
        }),
    }
}
