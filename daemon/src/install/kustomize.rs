//! `deploy/kustomize/`: the objects as files, and what says how they are put together.
//!
//! In: the definitions of custom resources; out: paths and contents. Components can be combined at will; each overlay is
//! the base with one of them.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use serde_json::{Error, Value, json};

use super::{Install, Part, manifests};
use crate::rights::{self, Grant, Role};

const HEAD: &str = "# Generated: `holdfast manifests --kustomize DIR` writes this file.\n";

/// What an overlay adds to the base, and the text of its component.
const COMPONENTS: [(&str, &str); 6] = [
    ("configmap-policies", include_str!("kustomize/configmap-policies.yaml")),
    ("git-policies", include_str!("kustomize/git-policies.yaml")),
    ("high-availability", include_str!("kustomize/high-availability.yaml")),
    ("node-agent", include_str!("kustomize/node-agent.yaml")),
    ("observe-only", include_str!("kustomize/observe-only.yaml")),
    ("service-monitor", include_str!("kustomize/service-monitor.yaml")),
];

/// All files, by their paths below the folder.
pub fn files(definitions: &[CustomResourceDefinition]) -> Result<BTreeMap<String, String>, Error> {
    let install = Install::usual();
    let objects = |parts: &[Part]| -> Result<String, Error> {
        let parts: BTreeSet<Part> = parts.iter().copied().collect();
        Ok(format!("{HEAD}{}", documents(&manifests(&install, &parts, definitions)?)))
    };
    let mut files = BTreeMap::from([
        (
            "prerequisites/kustomization.yaml".to_owned(),
            kustomization(&["namespace.yaml", "crds.yaml"], None),
        ),
        ("prerequisites/namespace.yaml".to_owned(), objects(&[Part::Namespace])?),
        ("prerequisites/crds.yaml".to_owned(), objects(&[Part::Crds])?),
        (
            "base/kustomization.yaml".to_owned(),
            kustomization(&["rights.yaml", "daemon.yaml", "network-policy.yaml"], Some("velero")),
        ),
        ("base/rights.yaml".to_owned(), objects(&[Part::Rights])?),
        ("base/daemon.yaml".to_owned(), objects(&[Part::Daemon])?),
        ("base/network-policy.yaml".to_owned(), objects(&[Part::NetworkPolicy])?),
        ("components/node-agent/node-agent.yaml".to_owned(), objects(&[Part::NodeAgent])?),
        ("components/service-monitor/service-monitor.yaml".to_owned(), objects(&[Part::ServiceMonitor])?),
        (
            "components/observe-only/without.yaml".to_owned(),
            format!("{HEAD}{}", documents(&withdrawn(&install.grant)?)),
        ),
    ]);
    for (name, text) in COMPONENTS {
        files.insert(format!("components/{name}/kustomization.yaml"), format!("{HEAD}{text}"));
        let overlay = format!(
            "{HEAD}apiVersion: kustomize.config.k8s.io/v1beta1\n\
             kind: Kustomization\n\
             resources:\n\
             - ../../base\n\
             components:\n\
             - ../../components/{name}\n"
        );
        files.insert(format!("overlays/{name}/kustomization.yaml"), overlay);
    }
    Ok(files)
}

/// Patches that take away what looking on does not need.
fn withdrawn(grant: &Grant) -> Result<Vec<Value>, Error> {
    let all = rights::manifests(grant)?;
    let observe = Grant { roles: BTreeSet::from([Role::Observe]), ..grant.clone() };
    let kept = rights::manifests(&observe)?;
    let gone = all.into_iter().filter(|object| !kept.contains(object));
    Ok(gone
        .map(|object| {
            let Value::Object(mut metadata) = object["metadata"].clone() else { return object };
            metadata.retain(|key, _| key == "name" || key == "namespace");
            json!({
                "$patch": "delete",
                "apiVersion": object["apiVersion"],
                "kind": object["kind"],
                "metadata": metadata,
            })
        })
        .collect())
}

fn kustomization(resources: &[&str], namespace: Option<&str>) -> String {
    let mut text = format!("{HEAD}apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\n");
    if let Some(namespace) = namespace {
        text.push_str(&format!("namespace: {namespace}\n"));
    }
    text.push_str("resources:\n");
    for resource in resources {
        text.push_str(&format!("- {resource}\n"));
    }
    text
}

/// Objects as one text of YAML.
pub fn documents(objects: &[Value]) -> String {
    let written = objects.iter().map(|object| {
        let text = holdfast_policy::yaml::to_string(object).expect("a tree of JSON values is YAML");
        format!("---\n{text}")
    });
    written.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::install::committed;

    #[test]
    fn committed_files_are_what_the_code_gives() {
        committed::compare("kustomize", &files(&committed::definitions()).unwrap());
    }

    #[test]
    fn looking_on_loses_every_right_but_its_own() {
        let gone = withdrawn(&Install::usual().grant).unwrap();
        let names: Vec<&str> = gone.iter().filter_map(|object| object["metadata"]["name"].as_str()).collect();
        assert_eq!(
            names,
            [
                "holdfast-backup",
                "holdfast-backup-velero",
                "holdfast-backup",
                "holdfast-backup",
                "holdfast-restore",
                "holdfast-restore-velero"
            ]
        );
    }
}
