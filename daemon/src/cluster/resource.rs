//! One kind of object as the API server serves it, and the URL paths of its objects.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// What may stand in a path segment as it is; RBAC names hold colons, which may.
const SEGMENT: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b':').remove(b'@');

/// A resource of one group and version. The core group is the empty string.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Resource {
    pub group: String,
    pub version: String,
    pub kind: String,
    pub plural: String,
    pub singular: String,
    pub short_names: Vec<String>,
    pub namespaced: bool,
    pub verbs: Vec<String>,
}

impl Resource {
    /// `pods`, `deployments.apps`: the name of the resource's folder in an archive.
    pub fn group_resource(&self) -> String {
        if self.group.is_empty() { self.plural.clone() } else { format!("{}.{}", self.plural, self.group) }
    }

    /// `v1`, `apps/v1`.
    pub fn api_version(&self) -> String {
        if self.group.is_empty() { self.version.clone() } else { format!("{}/{}", self.group, self.version) }
    }

    pub fn supports(&self, verb: &str) -> bool {
        self.verbs.iter().any(|supported| supported == verb)
    }

    /// The URL path of the collection, or of one object in it. A namespace is ignored for cluster-scoped
    /// kinds; a namespaced kind without one is the collection over all namespaces.
    pub fn path(&self, namespace: Option<&str>, name: Option<&str>) -> String {
        let mut path = if self.group.is_empty() {
            format!("/api/{}", self.version)
        } else {
            format!("/apis/{}/{}", self.group, self.version)
        };
        if let Some(namespace) = namespace.filter(|_| self.namespaced) {
            path.push_str("/namespaces/");
            path.extend(utf8_percent_encode(namespace, SEGMENT));
        }
        path.push('/');
        path.push_str(&self.plural);
        if let Some(name) = name {
            path.push('/');
            path.extend(utf8_percent_encode(name, SEGMENT));
        }
        path
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resource(group: &str, plural: &str) -> Resource {
        Resource {
            group: group.into(),
            version: "v1".into(),
            plural: plural.into(),
            namespaced: true,
            ..Resource::default()
        }
    }

    #[test]
    fn core_resources_have_no_suffix() {
        assert_eq!(resource("", "pods").group_resource(), "pods");
        assert_eq!(resource("", "pods").api_version(), "v1");
        assert_eq!(resource("apps", "deployments").group_resource(), "deployments.apps");
        assert_eq!(resource("apps", "deployments").api_version(), "apps/v1");
    }

    #[test]
    fn paths_name_namespace_and_object() {
        assert_eq!(resource("", "pods").path(None, None), "/api/v1/pods");
        assert_eq!(resource("", "pods").path(Some("a"), Some("b")), "/api/v1/namespaces/a/pods/b");
        assert_eq!(
            resource("apps", "deployments").path(Some("a"), None),
            "/apis/apps/v1/namespaces/a/deployments"
        );
        let roles = Resource { namespaced: false, ..resource("rbac.authorization.k8s.io", "clusterroles") };
        assert_eq!(
            roles.path(Some("ignored"), Some("shop:reader of all")),
            "/apis/rbac.authorization.k8s.io/v1/clusterroles/shop:reader%20of%20all"
        );
    }
}
