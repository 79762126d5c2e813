//! Holdfast's own kinds in the cluster, beside those of velero.io. Policies are files and are not among them.

pub mod policy_set;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt as _;

pub use policy_set::{PolicySet, PolicySetSpec, PolicySetStatus};

/// The CustomResourceDefinitions of holdfast.dev.
pub fn crds() -> Vec<CustomResourceDefinition> {
    vec![PolicySet::crd()]
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::velero;

    #[test]
    fn committed_files_are_what_the_code_gives() {
        for crd in crds() {
            let name = format!("holdfast.dev_{}.yaml", crd.spec.names.plural);
            let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../schemas/crds").join(name);
            let text = velero::crd_yaml(&crd);
            if std::env::var_os("UPDATE").is_some() {
                std::fs::write(&path, &text).unwrap();
            }
            let committed = std::fs::read_to_string(&path).unwrap_or_default();
            assert_eq!(committed, text, "run UPDATE=1 cargo test -p holdfast-policy and read the difference");
        }
    }
}
