//! What goes into a backup: from Velero's spec to a policy's `select`, `volumes` and `hooks`.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1 as meta;

use crate::duration::GoDuration;
use crate::model::hooks::{BackupCommand, BackupExec, BackupHook, OnError};
use crate::model::select::{
    ClusterResources, HookSelect, LabelExpression, LabelOperator, LabelSelector, Patterns, Select,
};
use crate::model::volumes::{ConfigMapReference, Volumes};
use crate::velero;

/// Zero means unset to Velero.
pub(super) fn set(duration: Option<GoDuration>) -> Option<GoDuration> {
    duration.filter(|duration| !duration.is_zero())
}

/// Labels that a policy may give; others stay on the object, since publishing takes none away.
pub(super) fn labels(labels: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let reserved = |key: &str| {
        let prefix = key.split_once('/').map(|(prefix, _)| prefix).unwrap_or_default();
        prefix == "holdfast.dev" || prefix == "velero.io" || prefix.ends_with(".velero.io")
    };
    labels.iter().filter(|(key, _)| !reserved(key)).map(|(key, value)| (key.clone(), value.clone())).collect()
}

pub(super) fn select(spec: &velero::BackupSpec) -> Result<Select, String> {
    let patterns = |include: &[String], exclude: &[String]| Patterns {
        include: include.to_vec(),
        exclude: exclude.to_vec(),
    };
    let every_namespace = spec.included_namespaces.iter().any(|name| name == "*");
    let namespaces = Patterns {
        include: if every_namespace { vec![] } else { spec.included_namespaces.clone() },
        exclude: spec.excluded_namespaces.clone(),
    };
    Ok(Select {
        include_cluster_resources: match spec.include_cluster_resources {
            None => None,
            Some(true) if namespaces.includes_all() => None,
            Some(true) => Some(ClusterResources::Always),
            Some(false) => Some(ClusterResources::Never),
        },
        namespaces,
        resources: patterns(&spec.included_resources, &spec.excluded_resources),
        namespaced_resources: patterns(
            &spec.included_namespace_scoped_resources,
            &spec.excluded_namespace_scoped_resources,
        ),
        cluster_resources: patterns(
            &spec.included_cluster_scoped_resources,
            &spec.excluded_cluster_scoped_resources,
        ),
        label_selector: spec.label_selector.as_ref().map(selector).transpose()?,
        or_label_selectors: spec.or_label_selectors.iter().map(selector).collect::<Result<_, _>>()?,
        ordered_resources: spec
            .ordered_resources
            .iter()
            .map(|(resource, names)| (resource.clone(), names.split(',').map(str::to_owned).collect()))
            .collect(),
    })
}

pub(super) fn volumes(spec: &velero::BackupSpec) -> Result<Volumes, String> {
    let policy_ref = match &spec.resource_policy {
        None => None,
        Some(reference) if reference.kind.eq_ignore_ascii_case("configmap") => {
            Some(ConfigMapReference::Name(reference.name.clone()))
        }
        Some(other) => return Err(format!("resourcePolicy of kind {:?} is unknown", other.kind)),
    };
    Ok(Volumes {
        snapshot_volumes: spec.snapshot_volumes,
        snapshot_locations: spec.volume_snapshot_locations.clone(),
        snapshot_move_data: spec.snapshot_move_data,
        default_volumes_to_fs_backup: spec.default_volumes_to_fs_backup.or(spec.default_volumes_to_restic),
        csi_snapshot_timeout: set(spec.csi_snapshot_timeout),
        volume_group_snapshot_label_key: spec.volume_group_snapshot_label_key.clone(),
        data_mover: spec.datamover.clone(),
        parallel_files_upload: spec
            .uploader_config
            .as_ref()
            .map(|config| config.parallel_files_upload)
            .filter(|count| *count != 0),
        rules: vec![],
        policy_ref,
    })
}

pub(super) fn hooks(spec: &velero::BackupSpec) -> Result<Vec<BackupHook>, String> {
    let hook = |hook: &velero::BackupHookSpec| {
        Ok(BackupHook {
            name: hook.name.clone(),
            select: HookSelect {
                namespaces: Patterns {
                    include: hook.included_namespaces.clone(),
                    exclude: hook.excluded_namespaces.clone(),
                },
                resources: Patterns {
                    include: hook.included_resources.clone(),
                    exclude: hook.excluded_resources.clone(),
                },
                label_selector: hook.label_selector.as_ref().map(selector).transpose()?,
            },
            pre: hook.pre.iter().map(command).collect(),
            post: hook.post.iter().map(command).collect(),
        })
    };
    spec.hooks.resources.iter().map(hook).collect()
}

/// Unset means Continue to Velero, whatever its documentation says, and Fail to policies.
fn command(hook: &velero::BackupHook) -> BackupCommand {
    let velero::ExecHook { container, command, on_error, timeout } = &hook.exec;
    let on_error = match on_error {
        Some(velero::HookErrorMode::Fail) => OnError::Fail,
        Some(velero::HookErrorMode::Continue) | None => OnError::Continue,
    };
    BackupCommand {
        exec: BackupExec {
            container: container.clone(),
            command: command.clone(),
            on_error: Some(on_error),
            timeout: set(*timeout),
        },
    }
}

fn selector(selector: &meta::LabelSelector) -> Result<LabelSelector, String> {
    let expression = |expression: &meta::LabelSelectorRequirement| {
        let operator = match expression.operator.as_str() {
            "In" => LabelOperator::In,
            "NotIn" => LabelOperator::NotIn,
            "Exists" => LabelOperator::Exists,
            "DoesNotExist" => LabelOperator::DoesNotExist,
            other => return Err(format!("a label selector has the unknown operator {other:?}")),
        };
        let values = expression.values.clone().unwrap_or_default();
        Ok(LabelExpression { key: expression.key.clone(), operator, values })
    };
    Ok(LabelSelector {
        match_labels: selector.match_labels.clone().unwrap_or_default(),
        match_expressions: selector
            .match_expressions
            .iter()
            .flatten()
            .map(expression)
            .collect::<Result<_, _>>()?,
    })
}
