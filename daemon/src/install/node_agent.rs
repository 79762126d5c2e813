//! The agent of each node: a DaemonSet with an account of its own.

use std::collections::BTreeSet;

use k8s_openapi::api::apps::v1::{DaemonSet, DaemonSetSpec};
use k8s_openapi::api::core::v1::{
    Container, HostPathVolumeSource, PodSecurityContext, PodSpec, PodTemplateSpec, Toleration, Volume,
    VolumeMount,
};
use kube::api::ObjectMeta;
use serde_json::{Error, Value};

use super::pod;
use super::{Install, object};
use crate::rights::{self, Grant, Role};

const NAME: &str = "holdfast-node-agent";
const COMPONENT: &str = "node-agent";
/// Where the kubelet keeps the volumes of pods, unless its `--root-dir` says otherwise.
const PODS_OF_HOST: &str = "/var/lib/kubelet/pods";
const PODS: &str = "/host_pods";

/// docs/performance.md: 136 MiB for a backup of 1 GiB, 278 for its restore.
const PROCESSOR: &str = "50m";
const MEMORY: &str = "64Mi";
const MEMORY_LIMIT: &str = "1Gi";

/// Files are read whoever owns them, and restored with their owners, modes and times.
const CAPABILITIES: [&str; 4] = ["CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID"];

pub(super) fn objects(install: &Install) -> Result<Vec<Value>, Error> {
    let namespace = &install.grant.namespace;
    let mut objects = rights::manifests(&Grant {
        namespace: namespace.clone(),
        account: NAME.to_owned(),
        roles: BTreeSet::from([Role::NodeAgent]),
        hooks_in: Vec::new(),
        policies_in: Vec::new(),
    })?;
    objects.push(object(&DaemonSet {
        metadata: pod::metadata(NAME, namespace, COMPONENT),
        spec: Some(DaemonSetSpec {
            selector: pod::selector(COMPONENT),
            template: PodTemplateSpec {
                metadata: Some(ObjectMeta { labels: Some(pod::labels(COMPONENT)), ..ObjectMeta::default() }),
                spec: Some(pod_spec(install)),
            },
            ..DaemonSetSpec::default()
        }),
        status: None,
    })?);
    Ok(objects)
}

fn pod_spec(install: &Install) -> PodSpec {
    let (scratch, scratch_mount) = pod::scratch();
    let pods = Volume {
        name: "pods".to_owned(),
        host_path: Some(HostPathVolumeSource { path: PODS_OF_HOST.to_owned(), type_: None }),
        ..Volume::default()
    };
    let pods_mount = VolumeMount {
        name: pods.name.clone(),
        mount_path: PODS.to_owned(),
        // Volumes that the kubelet mounts later have to appear here, too.
        mount_propagation: Some("HostToContainer".to_owned()),
        ..VolumeMount::default()
    };
    PodSpec {
        service_account_name: Some(NAME.to_owned()),
        security_context: Some(PodSecurityContext {
            run_as_user: Some(0),
            run_as_group: Some(0),
            seccomp_profile: Some(pod::seccomp()),
            ..PodSecurityContext::default()
        }),
        // Volumes are on every node that pods are on.
        tolerations: Some(vec![Toleration { operator: Some("Exists".to_owned()), ..Toleration::default() }]),
        containers: vec![Container {
            name: COMPONENT.to_owned(),
            image: Some(install.image.clone()),
            image_pull_policy: Some("IfNotPresent".to_owned()),
            args: Some(vec!["node-agent".to_owned()]),
            env: Some(pod::environment(&[("NODE_NAME", "spec.nodeName")])),
            resources: Some(pod::resources(PROCESSOR, MEMORY, MEMORY_LIMIT)),
            security_context: Some(pod::confined(&CAPABILITIES)),
            volume_mounts: Some(vec![pods_mount, scratch_mount]),
            ..Container::default()
        }],
        volumes: Some(vec![pods, scratch]),
        ..PodSpec::default()
    }
}
