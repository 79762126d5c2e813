//! How containers of Holdfast are run, whatever they do: the parts that Deployment and DaemonSet share.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    Capabilities, EmptyDirVolumeSource, EnvVar, EnvVarSource, ObjectFieldSelector, ResourceRequirements,
    SeccompProfile, SecurityContext, Volume, VolumeMount,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::api::ObjectMeta;

use super::NAME;

/// The one folder that is written to: logs of runs until they are uploaded, and the archive of a restore.
const SCRATCH: &str = "/tmp";
/// An archive of 70,000 objects takes a tenth of it.
const SCRATCH_SIZE: &str = "2Gi";

/// What tells pods of one kind from others. Selectors can't be changed later: no version and nothing of the installer's.
pub(super) fn labels(component: &str) -> BTreeMap<String, String> {
    BTreeMap::from([
        ("app.kubernetes.io/name".to_owned(), NAME.to_owned()),
        ("app.kubernetes.io/component".to_owned(), component.to_owned()),
    ])
}

pub(super) fn selector(component: &str) -> LabelSelector {
    LabelSelector { match_labels: Some(labels(component)), ..LabelSelector::default() }
}

pub(super) fn metadata(name: &str, namespace: &str, component: &str) -> ObjectMeta {
    ObjectMeta {
        name: Some(name.to_owned()),
        namespace: Some(namespace.to_owned()),
        labels: Some(labels(component)),
        ..ObjectMeta::default()
    }
}

/// As which process it leads and where it works, from the pod itself.
pub(super) fn environment(further: &[(&str, &str)]) -> Vec<EnvVar> {
    let field = |name: &str, path: &str| EnvVar {
        name: name.to_owned(),
        value_from: Some(EnvVarSource {
            field_ref: Some(ObjectFieldSelector { api_version: None, field_path: path.to_owned() }),
            ..EnvVarSource::default()
        }),
        ..EnvVar::default()
    };
    [("POD_NAME", "metadata.name"), ("VELERO_NAMESPACE", "metadata.namespace")]
        .iter()
        .chain(further)
        .map(|(name, path)| field(name, path))
        .collect()
}

/// No way to more rights, and nothing written but to volumes.
pub(super) fn confined(capabilities: &[&str]) -> SecurityContext {
    let added = capabilities.iter().map(|&name| name.to_owned()).collect::<Vec<_>>();
    SecurityContext {
        allow_privilege_escalation: Some(false),
        read_only_root_filesystem: Some(true),
        capabilities: Some(Capabilities {
            drop: Some(vec!["ALL".to_owned()]),
            add: Some(added).filter(|added| !added.is_empty()),
        }),
        ..SecurityContext::default()
    }
}

/// The kernel calls that the container runtime lets everybody make.
pub(super) fn seccomp() -> SeccompProfile {
    SeccompProfile { type_: "RuntimeDefault".to_owned(), localhost_profile: None }
}

/// No limit of the processor: a backup that is slowed down holds its hooks longer.
pub(super) fn resources(processor: &str, memory: &str, memory_limit: &str) -> ResourceRequirements {
    let quantities = |pairs: &[(&str, &str)]| {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), Quantity((*value).to_owned()))).collect()
    };
    ResourceRequirements {
        requests: Some(quantities(&[("cpu", processor), ("memory", memory)])),
        limits: Some(quantities(&[("memory", memory_limit)])),
        ..ResourceRequirements::default()
    }
}

pub(super) fn scratch() -> (Volume, VolumeMount) {
    let volume = Volume {
        name: "scratch".to_owned(),
        empty_dir: Some(EmptyDirVolumeSource {
            medium: None,
            size_limit: Some(Quantity(SCRATCH_SIZE.to_owned())),
        }),
        ..Volume::default()
    };
    let mount =
        VolumeMount { name: volume.name.clone(), mount_path: SCRATCH.to_owned(), ..VolumeMount::default() };
    (volume, mount)
}
