//! The daemon: its Deployment, the Service of its metrics, and how many of its pods may be away.

use k8s_openapi::api::apps::v1::{Deployment, DeploymentSpec, DeploymentStrategy, RollingUpdateDeployment};
use k8s_openapi::api::core::v1::{
    Container, ContainerPort, HTTPGetAction, PodSecurityContext, PodSpec, PodTemplateSpec, Probe, Service,
    ServicePort, ServiceSpec,
};
use k8s_openapi::api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::api::ObjectMeta;
use serde_json::{Error, Value};

use super::pod;
use super::{Install, METRICS_PORT, NAME, object};

pub(super) const COMPONENT: &str = "daemon";
const PORT: &str = "metrics";
/// Whoever owns nothing; the image says the same.
const USER: i64 = 65532;

/// docs/performance.md: 21 MiB at rest, 50 with 70,000 objects, 193 with a first look at 10,000 backups.
const PROCESSOR: &str = "50m";
const MEMORY: &str = "64Mi";
const MEMORY_LIMIT: &str = "512Mi";

pub(super) fn objects(install: &Install) -> Result<Vec<Value>, Error> {
    let namespace = &install.grant.namespace;
    Ok(vec![object(&service(namespace))?, object(&budget(namespace))?, object(&deployment(install))?])
}

fn deployment(install: &Install) -> Deployment {
    Deployment {
        metadata: pod::metadata(NAME, &install.grant.namespace, COMPONENT),
        spec: Some(DeploymentSpec {
            replicas: Some(install.replicas),
            selector: pod::selector(COMPONENT),
            // The new one is ready once it stands by, and takes over when the old one has let go.
            strategy: Some(DeploymentStrategy {
                type_: Some("RollingUpdate".to_owned()),
                rolling_update: Some(RollingUpdateDeployment {
                    max_surge: Some(IntOrString::Int(1)),
                    max_unavailable: Some(IntOrString::Int(0)),
                }),
            }),
            template: PodTemplateSpec {
                metadata: Some(ObjectMeta { labels: Some(pod::labels(COMPONENT)), ..ObjectMeta::default() }),
                spec: Some(pod_spec(install)),
            },
            ..DeploymentSpec::default()
        }),
        status: None,
    }
}

fn pod_spec(install: &Install) -> PodSpec {
    let (volume, mount) = pod::scratch();
    PodSpec {
        service_account_name: Some(install.grant.account.clone()),
        security_context: Some(PodSecurityContext {
            run_as_non_root: Some(true),
            run_as_user: Some(USER),
            run_as_group: Some(USER),
            fs_group: Some(USER),
            seccomp_profile: Some(pod::seccomp()),
            ..PodSecurityContext::default()
        }),
        containers: vec![Container {
            name: NAME.to_owned(),
            image: Some(install.image.clone()),
            image_pull_policy: Some("IfNotPresent".to_owned()),
            args: Some(arguments(install)),
            env: Some(pod::environment(&[])),
            ports: Some(vec![ContainerPort {
                name: Some(PORT.to_owned()),
                container_port: METRICS_PORT,
                ..ContainerPort::default()
            }]),
            liveness_probe: Some(Probe {
                initial_delay_seconds: Some(10),
                period_seconds: Some(10),
                failure_threshold: Some(6),
                ..probe("/healthz")
            }),
            readiness_probe: Some(Probe { period_seconds: Some(5), ..probe("/readyz") }),
            resources: Some(pod::resources(PROCESSOR, MEMORY, MEMORY_LIMIT)),
            security_context: Some(pod::confined(&[])),
            volume_mounts: Some(vec![mount]),
            ..Container::default()
        }],
        volumes: Some(vec![volume]),
        ..PodSpec::default()
    }
}

/// Policies are refused where their hooks could not run for lack of rights.
fn arguments(install: &Install) -> Vec<String> {
    let hooks = &install.grant.hooks_in;
    let everywhere = hooks.iter().any(|namespace| namespace == "*");
    let allowed = (!everywhere).then(|| format!("--allow-hooks-in={}", hooks.join(",")));
    ["run".to_owned()].into_iter().chain(allowed).chain(install.arguments.iter().cloned()).collect()
}

fn probe(path: &str) -> Probe {
    Probe {
        http_get: Some(HTTPGetAction {
            path: Some(path.to_owned()),
            port: IntOrString::String(PORT.to_owned()),
            ..HTTPGetAction::default()
        }),
        ..Probe::default()
    }
}

fn service(namespace: &str) -> Service {
    Service {
        metadata: pod::metadata("holdfast-metrics", namespace, COMPONENT),
        spec: Some(ServiceSpec {
            selector: Some(pod::labels(COMPONENT)),
            ports: Some(vec![ServicePort {
                name: Some(PORT.to_owned()),
                port: METRICS_PORT,
                target_port: Some(IntOrString::String(PORT.to_owned())),
                ..ServicePort::default()
            }]),
            ..ServiceSpec::default()
        }),
        status: None,
    }
}

/// One may go at a time: a single replica doesn't hold up the draining of its node.
fn budget(namespace: &str) -> PodDisruptionBudget {
    PodDisruptionBudget {
        metadata: pod::metadata(NAME, namespace, COMPONENT),
        spec: Some(PodDisruptionBudgetSpec {
            max_unavailable: Some(IntOrString::Int(1)),
            selector: Some(pod::selector(COMPONENT)),
            ..PodDisruptionBudgetSpec::default()
        }),
        status: None,
    }
}
