//! Reads the aggregated discovery document (apidiscovery.k8s.io): all groups, versions and resources at once.

use kube::core::discovery::v2::{
    APIGroupDiscovery, APIGroupDiscoveryList, APIResourceDiscovery, APIVersionDiscovery,
};

use super::{FailedGroup, GroupVersion};
use crate::cluster::Resource;

pub(super) fn group_versions(list: APIGroupDiscoveryList) -> Vec<GroupVersion> {
    list.items.into_iter().flat_map(versions_of).collect()
}

fn versions_of(group: APIGroupDiscovery) -> Vec<GroupVersion> {
    let name = group.metadata.and_then(|metadata| metadata.name).unwrap_or_default();
    group.versions.into_iter().map(|version| read_version(&name, version)).collect()
}

fn read_version(group: &str, discovered: APIVersionDiscovery) -> GroupVersion {
    let version = discovered.version.unwrap_or_default();
    if discovered.freshness.as_deref() == Some("Stale") {
        let reason =
            "the group's backend does not answer, what the API server remembers of it is stale".into();
        return GroupVersion::Failed(FailedGroup { group: group.into(), version, reason });
    }
    let read = |resource| read_resource(group, &version, resource);
    GroupVersion::Served(discovered.resources.into_iter().filter_map(read).collect())
}

/// None for an entry that stands only for its subresources.
fn read_resource(group: &str, version: &str, discovered: APIResourceDiscovery) -> Option<Resource> {
    let kind = discovered.response_kind?.kind.filter(|kind| !kind.is_empty())?;
    Some(Resource {
        group: group.into(),
        version: version.into(),
        kind,
        plural: discovered.resource?,
        singular: discovered.singular_resource.unwrap_or_default(),
        short_names: discovered.short_names,
        namespaced: discovered.scope.as_deref() == Some("Namespaced"),
        verbs: discovered.verbs,
    })
}

#[cfg(test)]
mod tests {
    use pretty_assertions::assert_eq;
    use serde_json::json;

    use super::*;
    use crate::cluster::Discovery;

    #[test]
    fn stale_groups_are_failures_and_the_first_version_is_preferred() {
        let resource = |kind: &str, plural: &str| {
            json!({
                "resource": plural, "responseKind": {"group": "", "version": "", "kind": kind},
                "scope": "Namespaced", "singularResource": kind.to_lowercase(), "verbs": ["get", "list"],
            })
        };
        let list = json!({"items": [
            {"metadata": {"name": "autoscaling"}, "versions": [
                {"version": "v2", "freshness": "Current", "resources": [resource("Scaler", "scalers")]},
                {"version": "v1", "freshness": "Current", "resources": [resource("Scaler", "scalers"), resource("Old", "olds")]},
            ]},
            {"metadata": {"name": "metrics.k8s.io"}, "versions": [{"version": "v1", "freshness": "Stale"}]},
        ]});
        let discovery = Discovery::from_versions(group_versions(serde_json::from_value(list).unwrap()));
        let preferred: Vec<_> =
            discovery.resources.iter().map(|it| format!("{} {}", it.api_version(), it.plural)).collect();
        assert_eq!(preferred, ["autoscaling/v2 scalers", "autoscaling/v1 olds"]);
        assert_eq!(discovery.failed.len(), 1);
        assert_eq!(discovery.failed[0].group, "metrics.k8s.io");
    }
}
