//! Reads the discovery documents of servers that do not aggregate them: which group versions there are, and
//! the resources of one.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{APIGroupList, APIResourceList, APIVersions};

use crate::cluster::Resource;

/// A group version whose document is to be fetched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) group: String,
    pub(super) version: String,
    pub(super) path: String,
}

pub(super) fn core_group_versions(core: APIVersions) -> Vec<Wanted> {
    let wanted = |version: String| Wanted { group: String::new(), path: format!("/api/{version}"), version };
    core.versions.into_iter().map(wanted).collect()
}

/// The preferred version of a group comes first.
pub(super) fn group_versions(list: APIGroupList) -> Vec<Wanted> {
    let mut all = Vec::new();
    for group in list.groups {
        let preferred = group.preferred_version.map(|preferred| preferred.version).unwrap_or_default();
        let mut versions: Vec<String> = group.versions.into_iter().map(|version| version.version).collect();
        versions.sort_by_key(|version| *version != preferred);
        all.extend(versions.into_iter().map(|version| Wanted {
            path: format!("/apis/{}/{version}", group.name),
            group: group.name.clone(),
            version,
        }));
    }
    all
}

/// The document's resources without subresources.
pub(super) fn resources(wanted: &Wanted, list: APIResourceList) -> Vec<Resource> {
    let resources = list.resources.into_iter().filter(|resource| !resource.name.contains('/'));
    resources
        .map(|resource| Resource {
            group: wanted.group.clone(),
            version: wanted.version.clone(),
            kind: resource.kind,
            plural: resource.name,
            singular: resource.singular_name,
            short_names: resource.short_names.unwrap_or_default(),
            namespaced: resource.namespaced,
            verbs: resource.verbs,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use pretty_assertions::assert_eq;
    use serde_json::json;

    use super::*;

    #[test]
    fn the_preferred_version_is_asked_for_first() {
        let list = json!({"groups": [{
            "name": "apps",
            "versions": [{"groupVersion": "apps/v1beta1", "version": "v1beta1"}, {"groupVersion": "apps/v1", "version": "v1"}],
            "preferredVersion": {"groupVersion": "apps/v1", "version": "v1"},
        }]});
        let wanted = group_versions(serde_json::from_value(list).unwrap());
        let paths: Vec<_> = wanted.iter().map(|wanted| wanted.path.as_str()).collect();
        assert_eq!(paths, ["/apis/apps/v1", "/apis/apps/v1beta1"]);
    }

    #[test]
    fn subresources_are_no_resources() {
        let list = json!({"groupVersion": "v1", "resources": [
            {"name": "pods", "singularName": "pod", "kind": "Pod", "namespaced": true, "verbs": ["list"], "shortNames": ["po"]},
            {"name": "pods/log", "singularName": "", "kind": "Pod", "namespaced": true, "verbs": ["get"]},
        ]});
        let wanted = Wanted { group: String::new(), version: "v1".into(), path: "/api/v1".into() };
        let resources = resources(&wanted, serde_json::from_value(list).unwrap());
        assert_eq!(resources.len(), 1);
        assert_eq!(resources[0].group_resource(), "pods");
        assert_eq!(resources[0].short_names, ["po"]);
    }
}
