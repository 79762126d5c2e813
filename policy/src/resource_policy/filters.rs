//! Fine-grained filters: by kind, for cluster-scoped objects or for the objects of some namespaces.

use std::collections::BTreeSet;

use globset::GlobBuilder;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

use super::Invalid;
use super::raw::{RawFilter, RawFilters, RawNamespaceFilters};
use crate::validate::namespace_pattern;

/// What is wanted of some kinds.
#[derive(Clone, Debug, PartialEq)]
pub struct KindFilter {
    /// As written. Empty for all that no other filter names.
    pub kinds: Vec<String>,
    /// One of them must match; without any there is no label filter.
    pub selectors: Vec<LabelSelector>,
    /// Globs; empty for any name.
    pub names: Vec<String>,
    /// Globs that win over `names`.
    pub excluded_names: Vec<String>,
}

/// What is wanted of some namespaces; kinds that no filter takes are not.
#[derive(Clone, Debug, PartialEq)]
pub struct NamespaceFilters {
    /// Names and globs.
    pub namespaces: Vec<String>,
    pub kinds: Vec<KindFilter>,
    /// The filter for the kinds that none of the others names.
    pub others: Option<KindFilter>,
}

pub(super) fn cluster_scoped(raw: RawFilters, report: &mut impl FnMut(Invalid)) -> Vec<KindFilter> {
    if raw.resource_filters.is_empty() {
        report(Invalid::ClusterScoped("resourceFilters is empty".to_owned()));
    }
    let mut seen = BTreeSet::new();
    let mut filters = Vec::new();
    for (index, filter) in raw.resource_filters.into_iter().enumerate() {
        let mut tell = |reason: String| {
            report(Invalid::ClusterScoped(format!("resourceFilters[{index}]: {reason}")));
        };
        if takes_others(&filter) {
            tell("kinds must name each kind: it is neither empty nor has \"*\"".to_owned());
        }
        once(&filter.kinds, &mut seen, &mut tell);
        filters.extend(checked(filter, &mut tell));
    }
    filters
}

pub(super) fn namespaced(
    raw: Vec<RawNamespaceFilters>,
    report: &mut impl FnMut(Invalid),
) -> Vec<NamespaceFilters> {
    let mut patterns = BTreeSet::new();
    let mut policies = Vec::new();
    for (index, policy) in raw.into_iter().enumerate() {
        let mut tell = |reason: String| report(Invalid::Namespaced { index, reason });
        let RawNamespaceFilters { namespaces, resource_filters } = policy;
        if namespaces.is_empty() {
            tell("namespaces is empty".to_owned());
        }
        for pattern in &namespaces {
            if let Err(reason) = namespace_pattern(pattern) {
                tell(format!("namespaces: {pattern:?} {reason}"));
            }
            if !patterns.insert(pattern.clone()) {
                tell(format!("namespaces: {pattern:?} stands twice in namespacedFilterPolicies"));
            }
        }
        if resource_filters.is_empty() {
            tell("resourceFilters is empty".to_owned());
        }
        policies.push(one_policy(namespaces, resource_filters, &mut tell));
    }
    policies
}

fn one_policy(
    namespaces: Vec<String>,
    filters: Vec<RawFilter>,
    tell: &mut impl FnMut(String),
) -> NamespaceFilters {
    let mut policy = NamespaceFilters { namespaces, kinds: Vec::new(), others: None };
    let mut seen = BTreeSet::new();
    for (index, filter) in filters.into_iter().enumerate() {
        let mut tell = |reason: String| tell(format!("resourceFilters[{index}]: {reason}"));
        if !takes_others(&filter) {
            once(&filter.kinds, &mut seen, &mut tell);
            policy.kinds.extend(checked(filter, &mut tell));
            continue;
        }
        if filter.kinds.len() > 1 {
            tell("kinds has \"*\" beside other kinds".to_owned());
        }
        if !filter.names.is_empty() || !filter.excluded_names.is_empty() {
            tell("a filter of all other kinds takes neither names nor excludedNames".to_owned());
        }
        if policy.others.is_some() {
            tell("there is another filter of all other kinds".to_owned());
        }
        policy.others = checked(RawFilter { kinds: Vec::new(), ..filter }, &mut tell).or(policy.others);
    }
    policy
}

fn takes_others(filter: &RawFilter) -> bool {
    filter.kinds.is_empty() || filter.kinds.iter().any(|kind| kind == "*")
}

fn once(kinds: &[String], seen: &mut BTreeSet<String>, tell: &mut impl FnMut(String)) {
    for kind in kinds {
        if kind.is_empty() {
            tell("kinds has an empty entry".to_owned());
        } else if kind != "*" && !seen.insert(kind.clone()) {
            tell(format!("kind {kind:?} stands in two filters"));
        }
    }
}

fn checked(filter: RawFilter, tell: &mut impl FnMut(String)) -> Option<KindFilter> {
    let RawFilter { kinds, label_selector, or_label_selectors, names, excluded_names } = filter;
    // A selector without requirements means that there is none.
    let single = label_selector.filter(|selector| !selector.is_empty());
    if single.is_some() && !or_label_selectors.is_empty() {
        tell("labelSelector and orLabelSelectors exclude each other".to_owned());
        return None;
    }
    let all = or_label_selectors.iter().any(|selector| selector.is_empty());
    let any_of = or_label_selectors.into_iter().filter(|_| !all);
    let mut selectors = Vec::new();
    for selector in single.into_iter().chain(any_of) {
        match selector.check() {
            Ok(selector) => selectors.push(selector),
            Err(reason) => tell(reason),
        }
    }
    for (list, globs) in [("names", &names), ("excludedNames", &excluded_names)] {
        for glob in globs {
            if glob.is_empty() {
                tell(format!("{list} has an empty entry"));
            } else if let Err(error) = GlobBuilder::new(glob).build() {
                tell(format!("{list}: {error}"));
            }
        }
    }
    Some(KindFilter { kinds, selectors, names, excluded_names })
}
