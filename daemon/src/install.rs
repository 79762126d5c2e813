//! A whole installation as objects of Kubernetes: what `holdfast manifests` prints, what lies in `deploy/kustomize/`, and
//! what the Helm chart is held to.
//!
//! In: who gets which rights, the image and the daemon's arguments; out: objects in the order in which they can be applied.
//! Reads nothing and decides on nothing but how a pod of Holdfast is run: as nobody, with a root that can't be written to,
//! within the Pod Security Standard `restricted` (the node agent, which reads other pods' files, within what it needs).

pub mod chart;
mod daemon;
pub mod kustomize;
mod node_agent;
mod pod;
mod reach;

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::ObjectMeta;
use serde::Serialize;
use serde_json::{Error, Value};

use crate::rights::{self, Grant, Role};

/// The image of this release. A registry that has it is the administrator's to name.
pub const IMAGE: &str = concat!("holdfast.dev/holdfast:", env!("CARGO_PKG_VERSION"));
/// The name of what there is one of.
pub const NAME: &str = "holdfast";
/// Where metrics and probes are served.
pub const METRICS_PORT: i32 = 8085;

/// Keeps what all backups of a cluster hang on where a tool takes everything else away: Argo CD, Flux, Helm.
const KEPT: [(&str, &str); 3] = [
    ("argocd.argoproj.io/sync-options", "Prune=false,Delete=false"),
    ("helm.sh/resource-policy", "keep"),
    ("kustomize.toolkit.fluxcd.io/prune", "disabled"),
];

/// What of it is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub enum Part {
    /// The namespace that the daemon works in.
    Namespace,
    /// The CustomResourceDefinitions of velero.io and holdfast.dev.
    Crds,
    /// The daemon's account, roles and bindings.
    Rights,
    /// The daemon: a Deployment, a Service for its metrics and a PodDisruptionBudget.
    Daemon,
    /// A NetworkPolicy by which nothing but metrics and probes is reached.
    NetworkPolicy,
    /// A ServiceMonitor for the Prometheus operator.
    ServiceMonitor,
    /// The agent of each node, with an account of its own.
    NodeAgent,
}

/// What an installation is like.
#[derive(Debug, Clone)]
pub struct Install {
    pub grant: Grant,
    pub image: String,
    pub replicas: i32,
    /// Of `holdfast run`.
    pub arguments: Vec<String>,
}

impl Install {
    /// What holds where nothing is said: everything may be backed up and restored, and no hook runs.
    pub fn usual() -> Install {
        Install {
            grant: Grant {
                namespace: "velero".to_owned(),
                account: NAME.to_owned(),
                roles: BTreeSet::from([Role::Observe, Role::Backup, Role::Restore]),
                hooks_in: Vec::new(),
                policies_in: Vec::new(),
            },
            image: IMAGE.to_owned(),
            replicas: 1,
            arguments: Vec::new(),
        }
    }
}

/// The objects of these parts.
pub fn manifests(
    install: &Install,
    parts: &BTreeSet<Part>,
    definitions: &[CustomResourceDefinition],
) -> Result<Vec<Value>, Error> {
    let mut objects = Vec::new();
    for part in parts {
        objects.extend(match part {
            Part::Namespace => vec![namespace(&install.grant.namespace)?],
            Part::Crds => definitions.iter().map(definition).collect::<Result<_, _>>()?,
            Part::Rights => rights::manifests(&install.grant)?,
            Part::Daemon => daemon::objects(install)?,
            Part::NetworkPolicy => vec![reach::network_policy(&install.grant.namespace)?],
            Part::ServiceMonitor => vec![reach::service_monitor(&install.grant.namespace)],
            Part::NodeAgent => node_agent::objects(install)?,
        });
    }
    Ok(objects)
}

fn namespace(name: &str) -> Result<Value, Error> {
    let mut metadata = ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() };
    keep(&mut metadata);
    object(&Namespace { metadata, ..Namespace::default() })
}

fn definition(definition: &CustomResourceDefinition) -> Result<Value, Error> {
    let mut definition = definition.clone();
    keep(&mut definition.metadata);
    object(&definition)
}

fn keep(metadata: &mut ObjectMeta) {
    let kept = KEPT.map(|(name, value)| (name.to_owned(), value.to_owned()));
    metadata.annotations.get_or_insert_default().extend(kept);
}

fn object(object: &impl Serialize) -> Result<Value, Error> {
    serde_json::to_value(object)
}

/// Generated files that are committed.
#[cfg(test)]
mod committed {
    use std::collections::BTreeMap;
    use std::path::Path;

    use holdfast_policy::{holdfast, velero};
    use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;

    pub(super) fn definitions() -> Vec<CustomResourceDefinition> {
        velero::crds().into_iter().chain(holdfast::crds()).collect()
    }

    /// Those of a folder below `deploy/`, with `UPDATE` written first.
    pub(super) fn compare(folder: &str, files: &BTreeMap<String, String>) {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy").join(folder);
        for (name, text) in files {
            let path = folder.join(name);
            if std::env::var_os("UPDATE").is_some() {
                std::fs::create_dir_all(path.parent().unwrap()).unwrap();
                std::fs::write(&path, text).unwrap();
            }
            let committed = std::fs::read_to_string(&path).unwrap_or_default();
            assert!(committed == *text, "{} is stale: run the tests with UPDATE=1", path.display());
        }
    }
}
