//! Holdfast's own kinds in the cluster, beside those of velero.io. Policies are files and are not among them.

pub mod policy_set;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt as _;

pub use policy_set::{PolicySet, PolicySetSpec, PolicySetStatus};

/// The CustomResourceDefinitions of holdfast.dev.
pub fn crds() -> Vec<CustomResourceDefinition> {
    vec![PolicySet::crd()]
}
