//! Which objects belong to a backup. Pure: takes the spec, what the cluster serves and which namespaces it
//! has, and answers for a resource, a namespace or an object. Listing and storing them is left to the backup.
//!
//! Two filter models exist beside each other. The older one has one pair of lists for all resources and a
//! switch for cluster-scoped ones; the newer one has a pair of lists for each scope. A spec never mixes them.

use std::collections::BTreeMap;

use holdfast_policy::resource_policy::ResourcePolicy;
use holdfast_policy::velero;
use k8s_openapi::api::core::v1::Namespace;

use fine::Word;

use crate::cluster::{Discovery, Resource};

mod complete;
mod fine;
mod labels;
mod namespaces;
mod object;
mod ordered;
mod patterns;
mod plan;
mod relations;
mod resources;
mod rule;
mod verdict;

pub use complete::{SNAPSHOT_CONTENTS, SNAPSHOTS, complete_filters};
pub use fine::FineFilters;
pub(crate) use fine::{Archived, Unwanted};
pub use labels::LabelFilter;
pub use namespaces::{NamespaceFilter, check_name};
pub use object::{Object, ObjectError, namespaces_of};
pub use ordered::{OrderedItem, ordered_items};
pub use patterns::Patterns;
pub use plan::{Listing, are_twins, can_be_stored, has_a_twin, plan};
pub use relations::{Block, HOOK_ANNOTATION, Member, Relations, claims_of};
pub use resources::{Direct, ResourceFilter};
pub use rule::{Inclusion, List, Rule, Verdict};
pub use verdict::Judge;

/// The group-resource of Namespace objects, which have rules of their own.
pub const NAMESPACES: &str = "namespaces";
/// The group-resource of the definitions of custom resources.
pub const DEFINITIONS: &str = "customresourcedefinitions.apiextensions.k8s.io";

/// The label whose value makes a volume group of claims, where a Backup names no other.
pub const VOLUME_GROUP_LABEL: &str = "velero.io/volume-group";

/// What selection needs to know about a namespace that exists.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NamespaceFacts {
    pub name: String,
    pub labels: BTreeMap<String, String>,
    /// Not on its way out.
    pub active: bool,
}

impl From<Namespace> for NamespaceFacts {
    fn from(namespace: Namespace) -> Self {
        let Namespace { metadata, status, spec: _ } = namespace;
        let phase = status.and_then(|status| status.phase);
        Self {
            name: metadata.name.unwrap_or_default(),
            labels: metadata.labels.unwrap_or_default(),
            active: phase.is_none_or(|phase| phase == "Active"),
        }
    }
}

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Error {
    #[error("label selector has the unknown operator {operator:?} for label {key:?}")]
    Operator { key: String, operator: String },
    #[error("ambiguous policy: duplicate kind: {kind:?} and {other:?} mean the same")]
    AmbiguousKinds { kind: String, other: String },
}

/// Why an object that an action asks for stays out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    Namespace,
    ClusterScoped,
    Resource,
}

/// When a Namespace object is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NamespaceObject {
    Always,
    /// Only once an object in it is part of the backup.
    WithItems,
    Never,
}

/// The filters of one backup, resolved against one state of the cluster.
#[derive(Debug, Clone)]
pub struct Selection {
    pub namespaces: NamespaceFilter,
    pub resources: ResourceFilter,
    pub labels: LabelFilter,
    pub fine: FineFilters,
}

impl Selection {
    /// Without a resource policy.
    pub fn new(
        spec: &velero::BackupSpec,
        discovery: &Discovery,
        existing: &[NamespaceFacts],
    ) -> Result<Self, Error> {
        Self::under(spec, &ResourcePolicy::default(), discovery, existing)
    }

    pub fn under(
        spec: &velero::BackupSpec,
        policy: &ResourcePolicy,
        discovery: &Discovery,
        existing: &[NamespaceFacts],
    ) -> Result<Self, Error> {
        let names: Vec<&str> = existing.iter().map(|namespace| namespace.name.as_str()).collect();
        let namespaces = NamespaceFilter::new(&spec.included_namespaces, &spec.excluded_namespaces, &names);
        let resources = ResourceFilter::new(spec, &policy.include_exclude, discovery, namespaces.reach());
        let labels = LabelFilter::new(spec.label_selector.as_ref(), &spec.or_label_selectors)?;
        let fine = FineFilters::new(policy, discovery)?;
        Ok(Self { namespaces, resources, labels, fine })
    }

    /// The lists by which a type is collected in one place: the `labelSelector` parameter of each, None for all
    /// objects. None of them where nothing is wanted.
    pub fn queries(&self, resource: &Resource, namespace: Option<&str>) -> Vec<Option<String>> {
        match self.fine.word(resource, namespace) {
            Word::None => self.labels.queries(),
            Word::Never => Vec::new(),
            Word::Only(kinds) => kinds.labels.queries(),
        }
    }

    /// Whether an object of an included namespace, or of none, is collected by its type and labels.
    pub fn takes(
        &self,
        resource: &Resource,
        namespace: Option<&str>,
        labels: impl FnOnce() -> BTreeMap<String, String>,
    ) -> bool {
        match self.fine.word(resource, namespace) {
            Word::None => self.labels.is_everything() || self.labels.matches(&labels()),
            Word::Never => false,
            Word::Only(kinds) => {
                let labels = labels();
                // A list of the whole cluster is asked for with the Backup's own selectors.
                let by_own =
                    !resource.namespaced || !self.namespaces.is_open() || self.labels.matches(&labels);
                by_own && kinds.match_labels(&labels)
            }
        }
    }

    /// Whether an object that an action asks for may come along.
    pub fn admit(&self, resource: &Resource, namespace: Option<&str>) -> Result<(), Refusal> {
        match namespace {
            Some(namespace) if !self.namespaces.includes(namespace) => Err(Refusal::Namespace),
            Some(_) if self.resources.direct(resource) == Direct::No => Err(Refusal::Resource),
            None if resource.group_resource() != NAMESPACES
                && !self.resources.admits_cluster_scoped(resource) =>
            {
                Err(Refusal::ClusterScoped)
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Whether definitions are fetched for the custom resources that the backup holds. Not where the user
    /// chose definitions for themselves: then exactly those are stored.
    pub fn wants_definitions(&self, definitions: &Resource) -> bool {
        let collected = match self.resources.direct(definitions) {
            Direct::Asked => true,
            // They come along with the whole cluster, as far as a label selector lets them.
            Direct::WithTheCluster => self.labels.is_everything(),
            Direct::No => false,
        };
        !collected && self.resources.admits_cluster_scoped(definitions)
    }

    /// Whether, and when, the object of this namespace is stored; `namespaces` themselves must be collected.
    pub fn namespace_object(&self, namespace: &NamespaceFacts) -> NamespaceObject {
        let NamespaceFacts { name, labels, active } = namespace;
        let passes = self.namespaces.includes(name);
        let chosen_by_label = !self.labels.is_everything() && self.labels.matches(labels);
        let chosen_by_name = passes && (self.labels.is_everything() || !self.namespaces.is_everything());
        if *active && (chosen_by_label || chosen_by_name) {
            NamespaceObject::Always
        } else if passes {
            NamespaceObject::WithItems
        } else {
            NamespaceObject::Never
        }
    }
}

#[cfg(test)]
mod fixtures;

#[cfg(test)]
mod tests {
    use super::fixtures::{discovery, namespaces, selection};
    use super::*;

    fn admitted(spec: &str, group_resource: &str, namespace: Option<&str>) -> Result<(), Refusal> {
        selection(spec).admit(discovery().by_group_resource(group_resource).unwrap(), namespace)
    }

    #[test]
    fn a_claim_brings_its_volume_unless_the_filters_speak_against_it() {
        let volume = |spec| admitted(spec, "persistentvolumes", None);
        assert_eq!(volume("includedNamespaces: [shop]"), Ok(()));
        assert_eq!(volume("excludedClusterScopedResources: [pv]"), Err(Refusal::ClusterScoped));
        assert_eq!(volume("excludedClusterScopedResources: ['*']"), Err(Refusal::ClusterScoped));
        assert_eq!(volume("includedResources: [pvc, pods]"), Err(Refusal::ClusterScoped));
        assert_eq!(volume("{includedResources: [pvc], includeClusterResources: true}"), Ok(()));
        assert_eq!(volume("includeClusterResources: false"), Err(Refusal::ClusterScoped));
        assert_eq!(volume("excludedResources: [persistentvolumes]"), Err(Refusal::ClusterScoped));
    }

    #[test]
    fn namespaced_items_of_actions_pass_both_filters() {
        let claim = |spec, namespace| admitted(spec, "persistentvolumeclaims", Some(namespace));
        assert_eq!(claim("includedNamespaces: [shop]", "shop"), Ok(()));
        assert_eq!(claim("includedNamespaces: [shop]", "blog"), Err(Refusal::Namespace));
        assert_eq!(claim("includedResources: [pods]", "shop"), Err(Refusal::Resource));
    }

    fn objects(spec: &str) -> Vec<(&'static str, NamespaceObject)> {
        let selection = selection(spec);
        let name = |index: usize| ["blog", "quiet", "shop", "shop-eu", "leaving"][index];
        namespaces()
            .iter()
            .enumerate()
            .map(|(index, facts)| (name(index), selection.namespace_object(facts)))
            .collect()
    }

    #[test]
    fn namespaces_without_a_selector_are_stored_when_they_are_included() {
        use NamespaceObject::{Always, Never, WithItems};
        let expected = [
            ("blog", Always),
            ("quiet", Always),
            ("shop", Always),
            ("shop-eu", Always),
            ("leaving", WithItems),
        ];
        assert_eq!(objects("{}"), expected);
        let expected =
            [("blog", Never), ("quiet", Never), ("shop", Always), ("shop-eu", Never), ("leaving", Never)];
        assert_eq!(objects("includedNamespaces: [shop]"), expected);
    }

    #[test]
    fn a_selector_alone_stores_matching_namespaces_and_those_with_matching_items() {
        use NamespaceObject::{Always, WithItems};
        let expected = [
            ("blog", Always),
            ("quiet", WithItems),
            ("shop", WithItems),
            ("shop-eu", WithItems),
            ("leaving", WithItems),
        ];
        assert_eq!(objects("labelSelector: {matchLabels: {tier: front}}"), expected);
    }

    #[test]
    fn a_selector_stores_a_matching_namespace_though_it_is_excluded() {
        use NamespaceObject::{Always, WithItems};
        let spec = "{labelSelector: {matchLabels: {tier: front}}, excludedNamespaces: [blog]}";
        let expected = [
            ("blog", Always),
            ("quiet", Always),
            ("shop", Always),
            ("shop-eu", Always),
            ("leaving", WithItems),
        ];
        assert_eq!(objects(spec), expected);
    }

    #[test]
    fn definitions_follow_their_objects_unless_they_were_chosen_or_shut_out() {
        let wanted =
            |spec| selection(spec).wants_definitions(discovery().by_group_resource(DEFINITIONS).unwrap());
        assert!(wanted("includedNamespaces: [shop]"));
        assert!(!wanted("{}"));
        assert!(wanted("labelSelector: {matchLabels: {tier: front}}"));
        assert!(!wanted("includedClusterScopedResources: [crd]"));
        assert!(!wanted("excludedClusterScopedResources: [crd]"));
        assert!(!wanted("includeClusterResources: false"));
        assert!(!wanted("includedResources: [gizmos]"));
        assert!(!wanted("includeClusterResources: true"));
    }
}
