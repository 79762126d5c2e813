//! What to list, in which order. Takes what the cluster serves and the selection; gives one listing for each
//! type that is collected directly, Namespaces aside.

use super::{Direct, NAMESPACES, Selection};
use crate::cluster::{Discovery, Resource};

/// One type to be listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listing {
    pub resource: Resource,
    /// One list for each: a namespace, or None for the whole cluster.
    pub namespaces: Vec<Option<String>>,
}

/// Types that every backup starts with, so that volumes come before what else there is.
const FIRST: [&str; 3] = ["pods", "persistentvolumeclaims", "persistentvolumes"];

/// Types that two groups serve as views of the same objects; one of the views is enough.
const TWINS: [(&str, [&str; 2]); 5] = [
    ("deployments", ["extensions", "apps"]),
    ("daemonsets", ["extensions", "apps"]),
    ("replicasets", ["extensions", "apps"]),
    ("networkpolicies", ["extensions", "networking.k8s.io"]),
    ("events", ["", "events.k8s.io"]),
];

/// Without these a type can't be backed up and restored.
const VERBS: [&str; 4] = ["list", "create", "get", "delete"];

pub fn plan(discovery: &Discovery, selection: &Selection) -> Vec<Listing> {
    let mut resources: Vec<&Resource> = discovery.resources.iter().collect();
    // The sort is stable: the rest stays in discovery order.
    resources.sort_by_key(|resource| place(resource));
    let mut plan: Vec<Listing> = Vec::new();
    for resource in resources {
        let wanted = can_be_stored(resource)
            && resource.group_resource() != NAMESPACES
            && selection.resources.direct(resource) != Direct::No
            && !plan.iter().any(|listing| are_twins(&listing.resource, resource));
        if wanted {
            let namespaces = if resource.namespaced { selection.namespaces.scopes() } else { vec![None] };
            plan.push(Listing { resource: resource.clone(), namespaces });
        }
    }
    plan
}

/// Whether objects of the type can be backed up and restored at all.
pub fn can_be_stored(resource: &Resource) -> bool {
    VERBS.iter().all(|verb| resource.supports(verb))
}

fn place(resource: &Resource) -> usize {
    if resource.group == "extensions" {
        return FIRST.len() + 1;
    }
    let first = FIRST.iter().position(|name| resource.group.is_empty() && resource.plural == *name);
    first.unwrap_or(FIRST.len())
}

/// Whether a type is one of several views of its objects. Velero collects a single version of these, whatever is served.
pub fn has_a_twin(resource: &Resource) -> bool {
    let is_view = |(plural, groups): &(&str, [&str; 2])| {
        resource.plural == *plural && groups.contains(&resource.group.as_str())
    };
    TWINS.iter().any(is_view)
}

/// Whether both types are views of the same objects.
pub fn are_twins(one: &Resource, other: &Resource) -> bool {
    one.plural == other.plural
        && one.group != other.group
        && TWINS.iter().any(|(plural, groups)| {
            one.plural == *plural
                && groups.contains(&one.group.as_str())
                && groups.contains(&other.group.as_str())
        })
}

#[cfg(test)]
mod tests {
    use pretty_assertions::assert_eq;

    use super::super::fixtures::{discovery, selection};
    use super::*;

    fn planned(spec: &str) -> Vec<String> {
        plan(&discovery(), &selection(spec)).iter().map(|listing| listing.resource.group_resource()).collect()
    }

    #[test]
    fn volumes_come_first_and_the_extensions_group_last() {
        assert_eq!(
            planned("excludedResources: [nodes]"),
            [
                "pods",
                "persistentvolumeclaims",
                "persistentvolumes",
                "configmaps",
                "events",
                "secrets",
                "deployments.apps",
                "storageclasses.storage.k8s.io",
                "customresourcedefinitions.apiextensions.k8s.io",
                "volumesnapshots.snapshot.storage.k8s.io",
                "volumesnapshotcontents.snapshot.storage.k8s.io",
                "gizmos.example.org",
                "ingresses.extensions",
            ]
        );
    }

    #[test]
    fn one_view_of_the_same_objects_is_enough_and_the_chosen_one_is_taken() {
        assert_eq!(planned("includedResources: [events.events.k8s.io]"), ["events.events.k8s.io"]);
        assert_eq!(planned("includedResources: [events, events.events.k8s.io]"), ["events"]);
    }

    #[test]
    fn a_type_that_can_only_be_read_is_not_listed() {
        let mut reviews = discovery().by_group_resource("configmaps").unwrap().clone();
        reviews.verbs = vec!["get".into(), "list".into()];
        let listings = plan(&Discovery::from_served(vec![reviews]), &selection("{}"));
        assert_eq!(listings, []);
    }

    #[test]
    fn included_namespaces_are_listed_one_by_one() {
        let listings =
            plan(&discovery(), &selection("{includedNamespaces: [shop, blog], includedResources: [cm]}"));
        assert_eq!(listings[0].namespaces, [Some("blog".into()), Some("shop".into())]);
    }
}
