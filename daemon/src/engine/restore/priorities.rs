//! The order in which kinds are restored.
//!
//! In: the group resources of an archive and what the target cluster serves. Out: the same, in order: the high
//! priorities, then everything else by name, then the low priorities.

use std::collections::BTreeSet;

/// Kinds that others need, in this order. A service account comes before secrets so that the token controller can
/// fill legacy tokens, and endpoints before services so that the controller finds them made.
pub(crate) const HIGH: [&str; 23] = [
    "customresourcedefinitions",
    "namespaces",
    "storageclasses",
    "volumesnapshotclass.snapshot.storage.k8s.io",
    "volumesnapshotcontents.snapshot.storage.k8s.io",
    "volumesnapshots.snapshot.storage.k8s.io",
    "datauploads.velero.io",
    "persistentvolumes",
    "persistentvolumeclaims",
    "clusterroles",
    "roles",
    "serviceaccounts",
    "clusterrolebindings",
    "rolebindings",
    "secrets",
    "configmaps",
    "limitranges",
    "priorityclasses",
    "pods",
    "replicasets.apps",
    "clusterclasses.cluster.x-k8s.io",
    "endpoints",
    "services",
];

/// Kinds whose controllers act on everything that is there already.
pub(crate) const LOW: [&str; 5] = [
    "clusterbootstraps.run.tanzu.vmware.com",
    "clusters.cluster.x-k8s.io",
    "clusterresourcesets.addons.cluster.x-k8s.io",
    "apps.kappctrl.k14s.io",
    "packageinstalls.packaging.carvel.dev",
];

/// Orders `group_resources`; `resolve` makes the full group resource of a name as the lists above have it, and
/// leaves what the cluster doesn't know as it is.
pub(crate) fn order(group_resources: &BTreeSet<String>, resolve: impl Fn(&str) -> String) -> Vec<String> {
    let resolved = |names: &[&str]| -> Vec<String> { names.iter().map(|name| resolve(name)).collect() };
    let (high, low) = (resolved(&HIGH), resolved(&LOW));
    let rest = group_resources.iter().filter(|name| !high.contains(name) && !low.contains(name));
    let mut seen = BTreeSet::new();
    high.iter()
        .chain(rest)
        .chain(&low)
        .filter(|name| group_resources.contains(*name) && seen.insert(*name))
        .cloned()
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn needed_kinds_come_first_and_low_priorities_last() {
        let names = [
            "services",
            "deployments.apps",
            "apps.kappctrl.k14s.io",
            "pods",
            "gizmos.things.example.com",
            "customresourcedefinitions.apiextensions.k8s.io",
            "namespaces",
            "controllerrevisions.apps",
        ];
        let names = names.map(str::to_owned).into();
        let resolve = |name: &str| match name {
            "customresourcedefinitions" => "customresourcedefinitions.apiextensions.k8s.io".to_owned(),
            other => other.to_owned(),
        };
        assert_eq!(
            order(&names, resolve),
            [
                "customresourcedefinitions.apiextensions.k8s.io",
                "namespaces",
                "pods",
                "services",
                "controllerrevisions.apps",
                "deployments.apps",
                "gizmos.things.example.com",
                "apps.kappctrl.k14s.io",
            ]
        );
    }

    #[test]
    fn a_name_that_the_cluster_does_not_know_stays_literal() {
        let names = BTreeSet::from(["storageclasses.storage.k8s.io".to_owned(), "a.example.com".to_owned()]);
        assert_eq!(order(&names, str::to_owned), ["a.example.com", "storageclasses.storage.k8s.io"]);
    }
}
