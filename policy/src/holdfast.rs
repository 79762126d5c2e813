//! Holdfast's own kinds in the cluster, beside those of velero.io. Policies are files and are not among them.

pub mod policy_set;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt as _;

use crate::velero::Served;

pub use policy_set::{PolicySet, PolicySetSpec, PolicySetStatus};

/// The names of [`crds`], for those who need no schemas.
pub const SERVED: [Served; 1] = [Served { group: "holdfast.dev", version: "v1alpha1", plural: "policysets" }];

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
    fn the_names_are_those_of_the_definitions() {
        let served = velero::SERVED.iter().chain(&SERVED);
        let definitions = velero::crds().into_iter().chain(crds());
        assert_eq!(served.clone().count(), definitions.clone().count());
        for (served, definition) in served.zip(definitions) {
            assert_eq!(Some(served.definition()), definition.metadata.name);
            assert_eq!(served.group, definition.spec.group);
            assert_eq!(served.version, definition.spec.versions[0].name);
            assert_eq!(definition.spec.versions.len(), 1);
        }
    }

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
