//! The same filters, asked by a restore about objects of an archive: by what stands in the backup, not by what the
//! cluster serves, for a kind may come with the backup itself.

use std::collections::{BTreeMap, BTreeSet};

use holdfast_policy::resource_policy::ResourcePolicy;

use super::super::{Error, LabelFilter};
use super::{FineFilters, Kinds};
use crate::cluster::Discovery;

/// An object as its archive has it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Archived<'a> {
    pub(crate) group_resource: &'a str,
    pub(crate) kind: &'a str,
    /// In the backup; none for cluster-scoped objects.
    pub(crate) namespace: Option<&'a str>,
    pub(crate) name: &'a str,
}

/// What keeps an object out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unwanted {
    /// Its labels: by a filter of the policy, or by the restore's own selectors.
    Labels,
    /// Its kind or name.
    Policy,
}

impl FineFilters {
    /// Refuses what Velero refuses only here: two names of one policy that mean the same kind.
    pub(crate) fn of_restore(policy: &ResourcePolicy, discovery: &Discovery) -> Result<Self, Error> {
        let namespaced = policy.namespaced.iter().map(|policy| &policy.kinds);
        for filters in [&policy.cluster_scoped].into_iter().chain(namespaced) {
            let mut known = BTreeMap::new();
            for kind in filters.iter().flat_map(|filter| &filter.kinds) {
                let meant = discovery
                    .resolve(kind)
                    .map_or_else(|| kind.to_lowercase(), |resource| resource.group_resource());
                if let Some(other) = known.insert(meant, kind) {
                    return Err(Error::AmbiguousKinds { kind: other.clone(), other: kind.clone() });
                }
            }
        }
        Self::new(policy, discovery)
    }

    /// Whether an object is restored by its kind, name and labels. `own` are the selectors of the Restore, which a filter
    /// that takes the object replaces.
    pub(crate) fn take(
        &self,
        object: Archived<'_>,
        labels: &BTreeMap<String, String>,
        own: &LabelFilter,
    ) -> Result<(), Unwanted> {
        let by_own = || own.matches(labels).then_some(()).ok_or(Unwanted::Labels);
        let find = |filters: &[Kinds]| filters.iter().position(|filter| filter.mean(object));
        let filter = match object.namespace {
            None => match find(&self.cluster_scoped) {
                None => return by_own(),
                Some(at) => &self.cluster_scoped[at],
            },
            Some(namespace) => match self.policy_of(namespace) {
                None => return by_own(),
                Some(policy) => match (find(&policy.kinds), &policy.others) {
                    (Some(at), _) => &policy.kinds[at],
                    (None, Some(others)) => others,
                    (None, None) => return Err(Unwanted::Policy),
                },
            },
        };
        filter.match_labels(labels).then_some(()).ok_or(Unwanted::Labels)?;
        filter.admit_name(object.name).then_some(()).ok_or(Unwanted::Policy)
    }

    /// Kinds that the policy names and that neither the cluster nor the archive knows.
    pub(crate) fn unknown_to<'a>(
        &self,
        objects: impl Iterator<Item = Archived<'a>> + Clone,
        discovery: &Discovery,
    ) -> BTreeSet<&str> {
        let of_namespaces = self.namespaced.iter().flat_map(|policy| &policy.kinds);
        self.cluster_scoped
            .iter()
            .chain(of_namespaces)
            .flat_map(|filter| &filter.group_resources)
            .filter(|kind| discovery.by_group_resource(kind).is_none())
            .filter(|kind| !objects.clone().any(|object| means(kind, object)))
            .map(String::as_str)
            .collect()
    }
}

impl Kinds {
    fn mean(&self, object: Archived<'_>) -> bool {
        self.group_resources.iter().any(|kind| means(kind, object))
    }
}

/// A kind that the cluster doesn't know was kept as it was written.
fn means(kind: &str, object: Archived<'_>) -> bool {
    kind.eq_ignore_ascii_case(object.group_resource) || kind.eq_ignore_ascii_case(object.kind)
}

#[cfg(test)]
mod tests {
    use super::super::super::fixtures::discovery;
    use super::*;

    fn filters(policy: &str) -> Result<FineFilters, Error> {
        let data = BTreeMap::from([("policy.yaml".to_owned(), format!("version: v1\n{policy}"))]);
        FineFilters::of_restore(&ResourcePolicy::parse(&data).unwrap(), &discovery())
    }

    fn object<'a>(group_resource: &'a str, kind: &'a str, place: &'a str) -> Archived<'a> {
        let (namespace, name) = match place.split_once('/') {
            Some((namespace, name)) => (Some(namespace), name),
            None => (None, place),
        };
        Archived { group_resource, kind, namespace, name }
    }

    fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    fn own() -> LabelFilter {
        let selector = serde_json::from_value(serde_json::json!({"matchLabels": {"own": "x"}})).unwrap();
        LabelFilter::new(Some(&selector), &[]).unwrap()
    }

    const SHOPS: &str = "
namespacedFilterPolicies:
- namespaces: ['shop*']
  resourceFilters:
  - kinds: [cm]
    names: ['web-*']
    excludedNames: ['*-tmp']
  - kinds: [Sprocket]
- namespaces: [shop-eu]
  resourceFilters:
  - kinds: [Secret]
    labelSelector: {matchLabels: {tier: front}}
  - kinds: ['*']
    labelSelector: {matchLabels: {a: '1'}}
";

    #[test]
    fn a_namespace_with_a_policy_restores_what_it_lists_and_others_go_by_the_restore_s_own_selectors() {
        let filters = filters(SHOPS).unwrap();
        let take = |group_resource, kind, place, pairs: &[(&str, &str)]| {
            filters.take(object(group_resource, kind, place), &labels(pairs), &own())
        };
        let (front, own) = ([("tier", "front")], [("own", "x")]);
        assert_eq!(take("configmaps", "ConfigMap", "shop/web-a", &[]), Ok(()));
        assert_eq!(take("configmaps", "ConfigMap", "shop/web-tmp", &[]), Err(Unwanted::Policy));
        assert_eq!(take("configmaps", "ConfigMap", "shop/other", &own), Err(Unwanted::Policy));
        assert_eq!(take("secrets", "Secret", "shop/web-a", &own), Err(Unwanted::Policy));
        assert_eq!(take("secrets", "Secret", "shop-eu/a", &front), Ok(()));
        assert_eq!(take("secrets", "Secret", "shop-eu/a", &[("a", "1")]), Err(Unwanted::Labels));
        assert_eq!(take("configmaps", "ConfigMap", "shop-eu/a", &[("a", "1")]), Ok(()));
        assert_eq!(take("configmaps", "ConfigMap", "shop-eu/a", &own), Err(Unwanted::Labels));
        assert_eq!(take("configmaps", "ConfigMap", "blog/a", &own), Ok(()));
        assert_eq!(take("configmaps", "ConfigMap", "blog/a", &[]), Err(Unwanted::Labels));
    }

    #[test]
    fn a_kind_that_the_cluster_does_not_know_is_found_by_what_the_archive_calls_it() {
        let filters = filters(SHOPS).unwrap();
        let sprocket = object("sprockets.example.org", "Sprocket", "shop/s");
        assert_eq!(filters.take(sprocket, &labels(&[]), &own()), Ok(()));
        let none: [Archived<'_>; 0] = [];
        assert!(filters.unknown_to(none.into_iter(), &discovery()).contains("Sprocket"));
        assert!(filters.unknown_to([sprocket].into_iter(), &discovery()).is_empty());
    }

    #[test]
    fn listed_cluster_scoped_kinds_go_by_their_filter_and_others_as_ever() {
        let policy = "clusterScopedFilterPolicy: {resourceFilters: [{kinds: [pv], names: [data-*]}]}";
        let filters = filters(policy).unwrap();
        let take = |group_resource, kind, place, pairs: &[(&str, &str)]| {
            filters.take(object(group_resource, kind, place), &labels(pairs), &own())
        };
        assert_eq!(take("persistentvolumes", "PersistentVolume", "data-1", &[]), Ok(()));
        assert_eq!(
            take("persistentvolumes", "PersistentVolume", "other", &[("own", "x")]),
            Err(Unwanted::Policy)
        );
        assert_eq!(take("storageclasses.storage.k8s.io", "StorageClass", "fast", &[]), Err(Unwanted::Labels));
        assert_eq!(take("configmaps", "ConfigMap", "shop/a", &[("own", "x")]), Ok(()));
    }

    #[test]
    fn two_names_of_one_kind_are_refused() {
        let policy = "
namespacedFilterPolicies:
- namespaces: [shop]
  resourceFilters: [{kinds: [cm]}, {kinds: [ConfigMap]}]
";
        let error = filters(policy).unwrap_err();
        let (kind, other) = ("cm".to_owned(), "ConfigMap".to_owned());
        assert_eq!(error, Error::AmbiguousKinds { kind, other });
    }
}
