//! Which types of resources belong to a backup, by the older filter model or by the newer one.

use holdfast_policy::resource_policy::IncludeExcludePolicy;
use holdfast_policy::velero::BackupSpec;

use super::namespaces::Reach;
use super::{NAMESPACES, Patterns};
use crate::cluster::{Discovery, Resource};

/// Whether a type is collected by listing it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direct {
    No,
    /// Cluster-scoped, not filtered out, and the backup is of the whole cluster.
    WithTheCluster,
    Asked,
}

/// Why a type is not collected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shut {
    Excluded,
    NotIncluded,
    /// The switch of the older model.
    NoClusterScoped,
    /// Cluster-scoped, and the backup is of some namespaces only.
    SomeNamespaces,
    /// Cluster-scoped, and the backup is of some namespaced types only.
    SomeTypes,
}

/// Type filters with their names resolved.
#[derive(Debug, Clone)]
pub struct ResourceFilter {
    model: Model,
    reach: Reach,
}

#[derive(Debug, Clone)]
enum Model {
    /// One pair of lists for all types.
    Joint { types: Lists, cluster_scoped: ClusterScoped },
    /// A pair of lists for each scope.
    Scoped { namespaced: Lists, cluster: Lists },
}

/// The switch of the older model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ClusterScoped {
    Auto,
    Never,
    AsListed,
}

#[derive(Debug, Clone)]
struct Lists {
    included: Patterns,
    excluded: Patterns,
}

impl ResourceFilter {
    /// `policy` counts in the newer model, where the spec says nothing of a type.
    pub fn new(
        spec: &BackupSpec,
        policy: &IncludeExcludePolicy,
        discovery: &Discovery,
        reach: Reach,
    ) -> Self {
        let model = if Self::is_joint(spec) {
            let excluded = spec.excluded_resources.iter().filter(|entry| *entry != "*");
            Model::Joint {
                types: Lists {
                    included: Patterns::new(resolve(&spec.included_resources, discovery)),
                    excluded: Patterns::new(resolve(excluded, discovery)),
                },
                cluster_scoped: match spec.include_cluster_resources {
                    None => ClusterScoped::Auto,
                    Some(false) => ClusterScoped::Never,
                    Some(true) => ClusterScoped::AsListed,
                },
            }
        } else {
            let namespaced = |entries| resolve_scoped(entries, discovery, |resource| resource.namespaced);
            let cluster = |entries| resolve_scoped(entries, discovery, |resource| !resource.namespaced);
            Model::Scoped {
                namespaced: Lists::merged(
                    namespaced(&spec.included_namespace_scoped_resources),
                    namespaced(&spec.excluded_namespace_scoped_resources),
                    namespaced(&policy.included_namespace_scoped_resources),
                    namespaced(&policy.excluded_namespace_scoped_resources),
                ),
                cluster: Lists::merged(
                    cluster(&spec.included_cluster_scoped_resources),
                    cluster(&spec.excluded_cluster_scoped_resources),
                    cluster(&policy.included_cluster_scoped_resources),
                    cluster(&policy.excluded_cluster_scoped_resources),
                ),
            }
        };
        Self { model, reach }
    }

    /// The entry of a list that means this type.
    pub(super) fn entry_for<'a>(
        entries: &'a [String],
        resource: &Resource,
        discovery: &Discovery,
    ) -> Option<&'a str> {
        let name = resource.group_resource();
        let means = |entry: &&String| match discovery.resolve(entry) {
            Some(resolved) => resolved.group_resource() == name,
            None => Patterns::new([entry]).matches(&name),
        };
        entries.iter().find(means).map(String::as_str)
    }

    /// Whether the spec uses the older model. One without any filter uses the newer.
    pub fn is_joint(spec: &BackupSpec) -> bool {
        !spec.included_resources.is_empty()
            || !spec.excluded_resources.is_empty()
            || spec.include_cluster_resources.is_some()
    }

    pub fn direct(&self, resource: &Resource) -> Direct {
        self.judge(resource).unwrap_or(Direct::No)
    }

    /// The same, with the reason where the type is not collected; then it is never [`Direct::No`].
    pub(super) fn judge(&self, resource: &Resource) -> Result<Direct, Shut> {
        let name = resource.group_resource();
        match &self.model {
            Model::Joint { types, cluster_scoped } => {
                match cluster_scoped {
                    _ if resource.namespaced => {}
                    ClusterScoped::Never => return Err(Shut::NoClusterScoped),
                    ClusterScoped::AsListed => {}
                    ClusterScoped::Auto if name == NAMESPACES || self.reach == Reach::WholeCluster => {}
                    ClusterScoped::Auto => return Err(Shut::SomeNamespaces),
                }
                types.judge(&name)
            }
            Model::Scoped { namespaced, .. } if resource.namespaced => namespaced.judge(&name),
            Model::Scoped { namespaced, cluster } => {
                if cluster.excluded.matches(&name) {
                    Err(Shut::Excluded)
                } else if name == NAMESPACES || cluster.included.matches(&name) {
                    Ok(Direct::Asked)
                } else if !cluster.is_open() {
                    Err(Shut::NotIncluded)
                } else if self.reach == Reach::SomeNamespaces {
                    Err(Shut::SomeNamespaces)
                } else if !namespaced.is_open() {
                    Err(Shut::SomeTypes)
                } else {
                    Ok(Direct::WithTheCluster)
                }
            }
        }
    }

    /// Whether a cluster-scoped object that an action asks for may come along.
    pub fn admits_cluster_scoped(&self, resource: &Resource) -> bool {
        let name = resource.group_resource();
        match &self.model {
            Model::Joint { types, cluster_scoped } => match cluster_scoped {
                ClusterScoped::Never => false,
                ClusterScoped::AsListed => !types.excluded.matches(&name),
                ClusterScoped::Auto => types.pass(&name),
            },
            Model::Scoped { cluster, .. } => !cluster.excluded.matches(&name),
        }
    }
}

impl Lists {
    /// A spec's lists, with the entries of a policy that neither of them matches.
    fn merged(
        mut included: Vec<String>,
        mut excluded: Vec<String>,
        policy_included: Vec<String>,
        policy_excluded: Vec<String>,
    ) -> Self {
        let is_new = |entry: &String, included: &[String], excluded: &[String]| {
            !Patterns::new(included).matches(entry) && !Patterns::new(excluded).matches(entry)
        };
        for entry in policy_excluded {
            if is_new(&entry, &included, &excluded) {
                excluded.push(entry);
            }
        }
        for entry in policy_included {
            if is_new(&entry, &included, &excluded) {
                included.push(entry);
            }
        }
        Self { included: Patterns::new(included), excluded: Patterns::new(excluded) }
    }

    fn is_open(&self) -> bool {
        self.included.is_empty() || self.included.has_everything()
    }

    fn judge(&self, name: &str) -> Result<Direct, Shut> {
        if self.excluded.matches(name) {
            Err(Shut::Excluded)
        } else if self.is_open() || self.included.matches(name) {
            Ok(Direct::Asked)
        } else {
            Err(Shut::NotIncluded)
        }
    }

    fn pass(&self, name: &str) -> bool {
        self.judge(name).is_ok()
    }
}

/// Full names of the types; what names none stays as it is, since it may be a glob.
fn resolve<'a>(entries: impl IntoIterator<Item = &'a String>, discovery: &Discovery) -> Vec<String> {
    let name =
        |entry: &String| discovery.resolve(entry).map_or_else(|| entry.clone(), Resource::group_resource);
    entries.into_iter().map(name).collect()
}

/// The same, without the types of the other scope.
fn resolve_scoped(
    entries: &[String],
    discovery: &Discovery,
    fits: impl Fn(&Resource) -> bool,
) -> Vec<String> {
    let name = |entry: &String| match discovery.resolve(entry) {
        Some(resource) => fits(resource).then(|| resource.group_resource()),
        None => Some(entry.clone()),
    };
    entries.iter().filter_map(name).collect()
}

#[cfg(test)]
mod tests {
    use pretty_assertions::assert_eq;

    use super::super::fixtures::{discovery, selection};
    use super::*;

    /// The types collected, cluster-scoped ones first.
    fn collected(spec: &str) -> (Vec<String>, Vec<String>) {
        let selection = selection(spec);
        let discovery = discovery();
        let chosen = |resource: &&Resource| selection.resources.direct(resource) != Direct::No;
        let (namespaced, cluster): (Vec<_>, Vec<_>) =
            discovery.resources.iter().filter(chosen).partition(|resource| resource.namespaced);
        let names = |resources: Vec<&Resource>| resources.into_iter().map(Resource::group_resource).collect();
        (names(cluster), names(namespaced))
    }

    const CLUSTER: &[&str] = &[
        "namespaces",
        "persistentvolumes",
        "nodes",
        "storageclasses.storage.k8s.io",
        "customresourcedefinitions.apiextensions.k8s.io",
        "volumesnapshotcontents.snapshot.storage.k8s.io",
    ];

    #[test]
    fn without_filters_the_whole_cluster_comes_along() {
        for spec in ["{}", "includedNamespaces: ['*']", "excludedNamespaces: [shop]"] {
            let (cluster, namespaced) = collected(spec);
            assert_eq!(cluster, CLUSTER, "{spec}");
            assert_eq!(namespaced.len(), 11, "{spec}");
        }
    }

    #[test]
    fn excluded_types_stay_out_of_a_backup_of_the_whole_cluster() {
        let (cluster, namespaced) = collected(
            "{excludedClusterScopedResources: [no, vsc], excludedNamespaceScopedResources: [secrets, vs, pv]}",
        );
        assert_eq!(cluster, [CLUSTER[0], CLUSTER[1], CLUSTER[3], CLUSTER[4]]);
        assert_eq!(namespaced.len(), 9);
        let (cluster, _) = collected("{excludedResources: [secrets, nodes], excludedNamespaces: [shop]}");
        assert_eq!(cluster, [CLUSTER[0], CLUSTER[1], CLUSTER[3], CLUSTER[4], CLUSTER[5]]);
    }

    #[test]
    fn chosen_namespaces_bring_only_their_namespace_objects() {
        let (cluster, _) = collected("includedNamespaces: [shop]");
        assert_eq!(cluster, ["namespaces"]);
    }

    #[test]
    fn chosen_namespaced_types_shut_the_rest_of_the_cluster_out() {
        let (cluster, namespaced) = collected("includedNamespaceScopedResources: [cm]");
        assert_eq!(cluster, ["namespaces"]);
        assert_eq!(namespaced, ["configmaps"]);
    }

    #[test]
    fn lists_by_scope_drop_types_of_the_other_scope() {
        let (cluster, namespaced) = collected(
            "{includedClusterScopedResources: [sc, pods], includedNamespaceScopedResources: [cm, nodes, deploy]}",
        );
        assert_eq!(cluster, ["namespaces", "storageclasses.storage.k8s.io"]);
        assert_eq!(namespaced, ["configmaps", "deployments.extensions"]);
    }

    #[test]
    fn everything_cluster_scoped_and_nothing_else() {
        let spec = "{includedClusterScopedResources: ['*'], excludedNamespaceScopedResources: ['*']}";
        let (cluster, namespaced) = collected(spec);
        assert_eq!(cluster, CLUSTER);
        assert_eq!(namespaced, Vec::<String>::new());
    }

    #[test]
    fn the_switch_of_the_older_model_opens_and_shuts() {
        assert_eq!(collected("{includeClusterResources: true, includedNamespaces: [shop]}").0, CLUSTER);
        assert_eq!(collected("includeClusterResources: false").0, Vec::<String>::new());
        let listed =
            "{includedResources: [cm, sc], includeClusterResources: true, includedNamespaces: [shop]}";
        assert_eq!(collected(listed), (vec![CLUSTER[3].into()], vec!["configmaps".into()]));
        let auto = "{includedResources: [cm, sc, ns], includedNamespaces: [shop]}";
        assert_eq!(collected(auto), (vec!["namespaces".into()], vec!["configmaps".into()]));
        assert_eq!(collected("includedResources: [cm, sc]").0, [CLUSTER[3]]);
    }

    #[test]
    fn names_that_resolve_to_nothing_are_globs() {
        let (_, namespaced) = collected("includedResources: ['*.example.org', 'event*']");
        assert_eq!(namespaced, ["events", "events.events.k8s.io", "gizmos.example.org"]);
    }
}
