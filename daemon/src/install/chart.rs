//! What of the Helm chart is generated: the rules of its roles, and its definitions of custom resources.
//!
//! In: the definitions; out: paths below `deploy/helm/holdfast` and contents. The other templates are written by hand and
//! held to what [`super::manifests`] gives by a test.

use std::collections::BTreeMap;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use serde_json::Error;

use crate::rights::{self, Reach, Role};

const HEAD: &str =
    "{{/* Generated from daemon/src/rights.rs: UPDATE=1 cargo test --workspace --lib writes it anew. */}}\n";

/// The generated files.
pub fn files(definitions: &[CustomResourceDefinition]) -> Result<BTreeMap<String, String>, Error> {
    let mut rules = HEAD.to_owned();
    for role in Role::ALL {
        for (place, reach) in [("cluster", Reach::Cluster), ("home", Reach::Home)] {
            let text = holdfast_policy::yaml::to_string(&serde_json::to_value(rights::rules(role, reach))?)
                .expect("a tree of JSON values is YAML");
            rules.push_str(&format!(
                "{{{{- define \"holdfast.rules.{role}.{place}\" }}}}\n{text}{{{{- end }}}}\n"
            ));
        }
    }
    let mut files = BTreeMap::from([("templates/_rules.tpl".to_owned(), rules)]);
    for definition in definitions {
        let name = format!("crds/{}_{}.yaml", definition.spec.group, definition.spec.names.plural);
        files.insert(name, holdfast_policy::velero::crd_yaml(definition));
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::install::committed;

    #[test]
    fn committed_files_are_what_the_code_gives() {
        committed::compare("helm/holdfast", &files(&committed::definitions()).unwrap());
    }
}
