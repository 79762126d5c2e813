//! What an API server serves: takes its discovery documents, gives one resource for each group and plural
//! (the preferred version), finds resources by the names that people write, and tells which groups failed.

use super::Resource;

mod aggregated;
mod fetch;
mod legacy;
mod offline;

pub(super) use fetch::discover;
pub use offline::version_priority;

/// A group version whose resources could not be learnt: usually an aggregated API whose backend is down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailedGroup {
    pub group: String,
    pub version: String,
    pub reason: String,
}

/// The resources of one group version, or why they are not known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum GroupVersion {
    Served(Vec<Resource>),
    Failed(FailedGroup),
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Discovery {
    /// One version each, in discovery order: core first, then the groups as the server orders them.
    pub resources: Vec<Resource>,
    pub failed: Vec<FailedGroup>,
    /// Every version of every resource.
    served: Vec<Resource>,
}

impl Discovery {
    /// Takes group versions in discovery order, the preferred version of a group first.
    pub(super) fn from_versions(versions: Vec<GroupVersion>) -> Self {
        let mut served = Vec::new();
        let mut failed = Vec::new();
        for version in versions {
            match version {
                GroupVersion::Served(resources) => served.extend(resources),
                GroupVersion::Failed(group) => failed.push(group),
            }
        }
        Self { failed, ..Self::from_served(served) }
    }

    /// Takes all resources in discovery order, the preferred version of a group first.
    pub fn from_served(served: Vec<Resource>) -> Self {
        let mut resources: Vec<Resource> = Vec::new();
        for resource in &served {
            let known = |other: &Resource| other.group == resource.group && other.plural == resource.plural;
            if !resources.iter().any(known) {
                resources.push(resource.clone());
            }
        }
        Self { resources, failed: Vec::new(), served }
    }

    /// The resource that a person means: a short name, plural, singular or kind in any case, bare or with a
    /// group, of which the beginning is enough (`po`, `deploy`, `Deployment.apps`, `ingress.networking`).
    pub fn resolve(&self, text: &str) -> Option<&Resource> {
        let text = text.to_lowercase();
        let (name, group) = match text.split_once('.') {
            Some((name, group)) => (name, Some(group)),
            None => (text.as_str(), None),
        };
        let short = |resource: &Resource| resource.short_names.iter().any(|short| short == name);
        let long = |resource: &Resource| {
            resource.plural == name || resource.singular == name || resource.kind.to_lowercase() == name
        };
        self.find(group, short).or_else(|| self.find(group, long))
    }

    fn find(&self, group: Option<&str>, matches: impl Fn(&Resource) -> bool) -> Option<&Resource> {
        let find = |in_group: &dyn Fn(&str) -> bool| {
            self.resources.iter().find(|resource| in_group(&resource.group) && matches(resource))
        };
        match group {
            None => find(&|_| true),
            Some(group) => find(&|other| other == group).or_else(|| find(&|other| other.starts_with(group))),
        }
    }

    /// `pods`, `deployments.apps`: the preferred version of exactly this resource.
    pub fn by_group_resource(&self, group_resource: &str) -> Option<&Resource> {
        let (plural, group) = group_resource.split_once('.').unwrap_or((group_resource, ""));
        self.resources.iter().find(|resource| resource.plural == plural && resource.group == group)
    }

    /// Every version that is served of exactly this resource, the preferred one first.
    pub fn versions(&self, group_resource: &str) -> Vec<&str> {
        let (plural, group) = group_resource.split_once('.').unwrap_or((group_resource, ""));
        let of_it = |resource: &&Resource| resource.plural == plural && resource.group == group;
        self.served.iter().filter(of_it).map(|resource| resource.version.as_str()).collect()
    }

    /// The same resource in the versions that are not preferred, in discovery order.
    pub fn other_versions<'a>(&'a self, resource: &'a Resource) -> impl Iterator<Item = &'a Resource> {
        self.served.iter().filter(|other| {
            other.group == resource.group
                && other.plural == resource.plural
                && other.version != resource.version
        })
    }

    /// The resource of exactly this version and kind, preferred or not, if it is served.
    pub fn by_kind(&self, api_version: &str, kind: &str) -> Option<&Resource> {
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        self.served
            .iter()
            .find(|resource| resource.kind == kind && resource.group == group && resource.version == version)
    }
}

#[cfg(test)]
mod tests {
    use pretty_assertions::assert_eq;

    use super::*;

    fn resource(group: &str, version: &str, kind: &str, plural: &str, short: &[&str]) -> Resource {
        Resource {
            group: group.into(),
            version: version.into(),
            kind: kind.into(),
            plural: plural.into(),
            singular: kind.to_lowercase(),
            short_names: short.iter().map(|short| (*short).to_owned()).collect(),
            namespaced: true,
            verbs: vec![],
        }
    }

    fn discovery() -> Discovery {
        Discovery::from_served(vec![
            resource("", "v1", "Pod", "pods", &["po"]),
            resource("", "v1", "Event", "events", &["ev"]),
            resource("apps", "v1", "Deployment", "deployments", &["deploy"]),
            resource("events.k8s.io", "v1", "Event", "events", &["ev"]),
            resource("autoscaling", "v2", "HorizontalPodAutoscaler", "horizontalpodautoscalers", &["hpa"]),
            resource("autoscaling", "v1", "HorizontalPodAutoscaler", "horizontalpodautoscalers", &["hpa"]),
            resource("networking.k8s.io", "v1", "Ingress", "ingresses", &["ing"]),
            resource("extensions", "v1beta1", "Ingress", "ingresses", &["ing"]),
        ])
    }

    fn resolved(text: &str) -> Option<String> {
        discovery().resolve(text).map(Resource::group_resource)
    }

    #[test]
    fn people_may_write_any_name_of_a_resource() {
        for text in ["deployments", "deployment", "Deployment", "deploy", "deploy.apps", "DEPLOYMENTS.apps"] {
            assert_eq!(resolved(text).as_deref(), Some("deployments.apps"), "{text}");
        }
        assert_eq!(resolved("po").as_deref(), Some("pods"));
        assert_eq!(resolved("gadgets"), None);
    }

    #[test]
    fn the_beginning_of_a_group_is_enough_but_the_exact_group_wins() {
        assert_eq!(resolved("ingress.networking").as_deref(), Some("ingresses.networking.k8s.io"));
        assert_eq!(resolved("ing.ext").as_deref(), Some("ingresses.extensions"));
        assert_eq!(resolved("events.events.k8s.io").as_deref(), Some("events.events.k8s.io"));
        assert_eq!(resolved("events").as_deref(), Some("events"));
        assert_eq!(resolved("deployments.batch"), None);
    }

    #[test]
    fn one_version_is_preferred_and_every_version_is_known() {
        let discovery = discovery();
        let preferred = discovery.by_group_resource("horizontalpodautoscalers.autoscaling").unwrap();
        assert_eq!(preferred.version, "v2");
        assert!(discovery.by_kind("autoscaling/v1", "HorizontalPodAutoscaler").is_some());
        assert!(discovery.by_kind("autoscaling/v3", "HorizontalPodAutoscaler").is_none());
        assert_eq!(discovery.resources.len(), 7);
        let others: Vec<_> = discovery.other_versions(preferred).map(Resource::api_version).collect();
        assert_eq!(others, ["autoscaling/v1"]);
    }
}
