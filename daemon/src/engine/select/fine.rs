//! Filters of a resource policy: by kind, name and label, for cluster-scoped objects and for the objects of some
//! namespaces. They narrow what the Backup's own filters let through and never add to it.

mod archived;

use std::collections::{BTreeMap, BTreeSet};

use holdfast_policy::resource_policy::{KindFilter, NamespaceFilters, ResourcePolicy};

use super::{Error, LabelFilter, NAMESPACES, Patterns};
use crate::cluster::{Discovery, Resource};

pub(crate) use archived::{Archived, Unwanted};

/// The filters with their kinds resolved. The default ones let everything through.
#[derive(Debug, Clone, Default)]
pub struct FineFilters {
    cluster_scoped: Vec<Kinds>,
    namespaced: Vec<Namespaces>,
    warnings: Vec<String>,
}

#[derive(Debug, Clone)]
struct Namespaces {
    /// Names without a glob, which count before any glob.
    exact: BTreeSet<String>,
    globs: Patterns,
    kinds: Vec<Kinds>,
    others: Option<Kinds>,
}

#[derive(Debug, Clone)]
pub(super) struct Kinds {
    group_resources: BTreeSet<String>,
    pub(super) labels: LabelFilter,
    names: Patterns,
    excluded_names: Patterns,
}

/// What the filters say about the objects of a type in one place.
#[derive(Debug, Clone, Copy)]
pub(super) enum Word<'a> {
    /// Nothing: the Backup's own filters count alone.
    None,
    Never,
    Only(&'a Kinds),
}

impl FineFilters {
    pub(super) fn new(policy: &ResourcePolicy, discovery: &Discovery) -> Result<Self, Error> {
        let mut warnings = Vec::new();
        let mut kinds = |filter: &KindFilter, scope| Kinds::new(filter, scope, discovery, &mut warnings);
        let cluster_scoped: Result<Vec<Kinds>, Error> =
            policy.cluster_scoped.iter().map(|filter| kinds(filter, Scope::Cluster)).collect();
        let cluster_scoped = cluster_scoped?;
        let mut namespaced = Vec::new();
        for policy in &policy.namespaced {
            let NamespaceFilters { namespaces, kinds: filters, others } = policy;
            let is_glob = |name: &&String| name.contains(['*', '?', '[', ']']);
            let (globs, exact): (Vec<&String>, Vec<&String>) = namespaces.iter().partition(is_glob);
            let filters: Result<Vec<Kinds>, Error> =
                filters.iter().map(|filter| kinds(filter, Scope::Namespaced)).collect();
            namespaced.push(Namespaces {
                exact: exact.into_iter().cloned().collect(),
                globs: Patterns::new(globs),
                kinds: filters?,
                others: others.as_ref().map(|filter| kinds(filter, Scope::Namespaced)).transpose()?,
            });
        }
        Ok(Self { cluster_scoped, namespaced, warnings })
    }

    pub fn is_empty(&self) -> bool {
        self.cluster_scoped.is_empty() && self.namespaced.is_empty()
    }

    /// Kinds that the filters name and that can match nothing.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Whether the filters of names let an object through that would be stored otherwise.
    pub fn admit_name(&self, resource: &Resource, namespace: Option<&str>, name: &str) -> bool {
        match self.word(resource, namespace) {
            Word::Only(kinds) => kinds.admit_name(name),
            // Which kinds are taken is asked for listed objects only, not for those that actions bring along.
            Word::None | Word::Never => true,
        }
    }

    /// What counts for a type; a namespaced one without a namespace is a list of the whole cluster.
    pub(super) fn word(&self, resource: &Resource, namespace: Option<&str>) -> Word<'_> {
        if self.is_empty() {
            return Word::None;
        }
        let name = resource.group_resource();
        if name == NAMESPACES {
            return Word::None;
        }
        let of = |kinds: &[Kinds]| kinds.iter().position(|kinds| kinds.group_resources.contains(&name));
        if !resource.namespaced {
            return of(&self.cluster_scoped).map_or(Word::None, |at| Word::Only(&self.cluster_scoped[at]));
        }
        let Some(policy) = namespace.and_then(|namespace| self.policy_of(namespace)) else {
            return Word::None;
        };
        match (of(&policy.kinds), &policy.others) {
            (Some(at), _) => Word::Only(&policy.kinds[at]),
            (None, Some(others)) => Word::Only(others),
            (None, None) => Word::Never,
        }
    }

    fn policy_of(&self, namespace: &str) -> Option<&Namespaces> {
        let exact = self.namespaced.iter().find(|policy| policy.exact.contains(namespace));
        exact.or_else(|| self.namespaced.iter().find(|policy| policy.globs.matches(namespace)))
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Scope {
    Cluster,
    Namespaced,
}

impl Kinds {
    fn new(
        filter: &KindFilter,
        scope: Scope,
        discovery: &Discovery,
        warnings: &mut Vec<String>,
    ) -> Result<Self, Error> {
        let KindFilter { kinds, selectors, names, excluded_names } = filter;
        let mut group_resources = BTreeSet::new();
        for kind in kinds {
            match discovery.resolve(kind) {
                Some(resource) if resource.namespaced == (scope == Scope::Namespaced) => {
                    group_resources.insert(resource.group_resource());
                }
                Some(resource) => {
                    let is = if resource.namespaced { "namespaced" } else { "cluster-scoped" };
                    warnings.push(format!(
                        "the resource policy names kind {kind:?} where it matches nothing: it is {is}"
                    ));
                }
                None => {
                    warnings.push(format!(
                        "the resource policy names kind {kind:?}, which the cluster doesn't serve"
                    ));
                    group_resources.insert(kind.clone());
                }
            }
        }
        Ok(Self {
            group_resources,
            labels: LabelFilter::new(None, selectors)?,
            names: Patterns::new(names),
            excluded_names: Patterns::new(excluded_names),
        })
    }

    fn admit_name(&self, name: &str) -> bool {
        !self.excluded_names.matches(name) && (self.names.is_empty() || self.names.matches(name))
    }

    pub(super) fn match_labels(&self, labels: &BTreeMap<String, String>) -> bool {
        self.labels.matches(labels)
    }
}

#[cfg(test)]
mod tests;
