//! What a cluster serves, told without one: Kubernetes' own kinds, and the custom ones whose definitions are at
//! hand. A kind that neither knows is guessed as Kubernetes' conventions name it.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;

use super::{Discovery, Resource};

/// A line each: group, version, kind, plural, short names, scope, verbs. As Kubernetes 1.36 serves them.
const KUBERNETES: &str = include_str!("kubernetes.txt");
const ALL_VERBS: [&str; 8] =
    ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];

impl Discovery {
    /// The kinds of Kubernetes 1.36 and those that are defined here.
    pub fn without_a_cluster(definitions: &[CustomResourceDefinition]) -> Self {
        let kubernetes = KUBERNETES.lines().filter_map(resource);
        Self::from_served(kubernetes.chain(definitions.iter().flat_map(defined)).collect())
    }

    /// Adds the kind of an object whose definition nobody gave, unless it is known.
    pub fn guess(&mut self, api_version: &str, kind: &str, namespaced: bool) {
        if self.by_kind(api_version, kind).is_some() {
            return;
        }
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        let singular = kind.to_lowercase();
        let guessed = Resource {
            group: group.into(),
            version: version.into(),
            kind: kind.into(),
            plural: plural_of(&singular),
            singular,
            short_names: vec![],
            namespaced,
            verbs: ALL_VERBS.map(String::from).to_vec(),
        };
        let served = std::mem::take(&mut self.served);
        let failed = std::mem::take(&mut self.failed);
        *self = Self { failed, ..Self::from_served(served.into_iter().chain([guessed]).collect()) };
    }
}

fn resource(line: &str) -> Option<Resource> {
    let mut fields = line.split_whitespace();
    let mut next = || fields.next();
    let (group, version, kind, plural) = (next()?, next()?, next()?, next()?);
    let (short_names, scope, verbs) = (next()?, next()?, next()?);
    let list = |text: &str| text.split(',').map(str::to_owned).collect();
    Some(Resource {
        group: if group == "core" { String::new() } else { group.into() },
        version: version.into(),
        kind: kind.into(),
        plural: plural.into(),
        singular: kind.to_lowercase(),
        short_names: if short_names == "-" { vec![] } else { list(short_names) },
        namespaced: scope == "namespaced",
        verbs: if verbs == "all" { ALL_VERBS.map(String::from).to_vec() } else { list(verbs) },
    })
}

/// The versions that a definition serves, the one that Kubernetes prefers first.
fn defined(definition: &CustomResourceDefinition) -> Vec<Resource> {
    let spec = &definition.spec;
    let mut versions: Vec<&str> =
        spec.versions.iter().filter(|version| version.served).map(|version| version.name.as_str()).collect();
    versions.sort_by_key(|version| std::cmp::Reverse(version_priority(version)));
    let resource = |version: &str| Resource {
        group: spec.group.clone(),
        version: version.into(),
        kind: spec.names.kind.clone(),
        plural: spec.names.plural.clone(),
        singular: spec.names.singular.clone().unwrap_or_else(|| spec.names.kind.to_lowercase()),
        short_names: spec.names.short_names.clone().unwrap_or_default(),
        namespaced: spec.scope == "Namespaced",
        verbs: ALL_VERBS.map(String::from).to_vec(),
    };
    versions.into_iter().map(resource).collect()
}

/// Stable before beta before alpha, and the higher number first; what is no such name comes last.
pub fn version_priority(version: &str) -> (u8, u64, u64) {
    let parse = |version: &str| -> Option<(u8, u64, u64)> {
        let rest = version.strip_prefix('v')?;
        for (stability, name) in [(2, "beta"), (1, "alpha")] {
            if let Some((major, minor)) = rest.split_once(name) {
                return Some((stability, major.parse().ok()?, minor.parse().ok()?));
            }
        }
        Some((3, rest.parse().ok()?, 0))
    };
    parse(version).unwrap_or((0, 0, 0))
}

/// As apimachinery guesses it.
fn plural_of(singular: &str) -> String {
    if singular == "endpoints" {
        return singular.into();
    }
    match singular.chars().last() {
        Some('s') => format!("{singular}es"),
        Some('y') => format!("{}ies", &singular[..singular.len() - 1]),
        Some(_) | None => format!("{singular}s"),
    }
}

#[cfg(test)]
mod tests {
    use pretty_assertions::assert_eq;
    use serde_json::json;

    use super::*;

    fn gizmos() -> CustomResourceDefinition {
        let version = |name: &str, served: bool| json!({"name": name, "served": served, "storage": false});
        serde_json::from_value(json!({
            "metadata": {"name": "gizmos.example.org"},
            "spec": {
                "group": "example.org",
                "scope": "Cluster",
                "names": {"kind": "Gizmo", "plural": "gizmos", "singular": "gizmo", "shortNames": ["gz"]},
                "versions": [
                    version("v1alpha1", true), version("v1beta2", true), version("v2", false), version("v1", true),
                ],
            },
        }))
        .unwrap()
    }

    #[test]
    fn every_line_of_the_table_is_a_kind() {
        assert!(KUBERNETES.lines().all(|line| resource(line).is_some()));
        let discovery = Discovery::without_a_cluster(&[]);
        assert_eq!(discovery.resolve("deploy").unwrap().group_resource(), "deployments.apps");
        assert_eq!(
            discovery.by_group_resource("horizontalpodautoscalers.autoscaling").unwrap().version,
            "v2"
        );
        assert!(!discovery.resolve("pv").unwrap().namespaced);
    }

    #[test]
    fn definitions_add_their_kinds_and_the_stable_version_is_preferred() {
        let discovery = Discovery::without_a_cluster(&[gizmos()]);
        let gizmos = discovery.resolve("gz").unwrap();
        assert_eq!((gizmos.version.as_str(), gizmos.namespaced), ("v1", false));
        assert!(discovery.by_kind("example.org/v1alpha1", "Gizmo").is_some());
        assert!(discovery.by_kind("example.org/v2", "Gizmo").is_none());
    }

    #[test]
    fn an_undefined_kind_is_guessed_once() {
        let mut discovery = Discovery::without_a_cluster(&[]);
        for (kind, plural) in [("Policy", "policies"), ("Mess", "messes"), ("Widget", "widgets")] {
            discovery.guess("example.org/v1", kind, true);
            let name = discovery.by_kind("example.org/v1", kind).unwrap().group_resource();
            assert_eq!(name, format!("{plural}.example.org"));
        }
        let known = discovery.resources.len();
        discovery.guess("example.org/v1", "Widget", false);
        discovery.guess("v1", "Pod", false);
        assert_eq!(discovery.resources.len(), known);
        assert!(discovery.resolve("pods").unwrap().namespaced);
    }
}
