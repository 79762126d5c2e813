//! Fine filters on the small cluster of the tests.

use std::collections::BTreeMap;

use holdfast_policy::resource_policy::ResourcePolicy;
use pretty_assertions::assert_eq;

use crate::engine::select::fixtures::{discovery, namespaces};
use crate::engine::select::{Direct, Selection};

fn selection(spec: &str, policy: &str) -> Selection {
    let data = BTreeMap::from([("policy.yaml".to_owned(), format!("version: v1\n{policy}"))]);
    let policy = ResourcePolicy::parse(&data).unwrap();
    Selection::under(&serde_yaml::from_str(spec).unwrap(), &policy, &discovery(), &namespaces()).unwrap()
}

fn queries(selection: &Selection, kind: &str, namespace: Option<&str>) -> Vec<Option<String>> {
    selection.queries(discovery().resolve(kind).unwrap(), namespace)
}

fn takes(selection: &Selection, kind: &str, namespace: Option<&str>, labels: &[(&str, &str)]) -> bool {
    let labels = labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    selection.takes(discovery().resolve(kind).unwrap(), namespace, || labels)
}

fn admits(selection: &Selection, kind: &str, namespace: Option<&str>, name: &str) -> bool {
    selection.fine.admit_name(discovery().resolve(kind).unwrap(), namespace, name)
}

const SHOPS: &str = "
namespacedFilterPolicies:
- namespaces: ['shop*']
  resourceFilters:
  - kinds: [cm]
    names: ['web-*']
    excludedNames: ['*-tmp']
- namespaces: [shop-eu, blog]
  resourceFilters:
  - kinds: [Secret]
    labelSelector: {matchLabels: {tier: front}}
  - kinds: ['*']
    orLabelSelectors: [{matchLabels: {a: '1'}}, {matchLabels: {b: '2'}}]
";

#[test]
fn a_namespace_with_a_policy_holds_the_kinds_that_it_lists() {
    let selection = selection("includedNamespaces: [shop, shop-eu, quiet]", SHOPS);
    assert_eq!(queries(&selection, "configmaps", Some("shop")), [None]);
    assert_eq!(queries(&selection, "secrets", Some("shop")), Vec::<Option<String>>::new());
    assert_eq!(queries(&selection, "secrets", Some("quiet")), [None]);
    assert!(!takes(&selection, "secrets", Some("shop"), &[]));
}

#[test]
fn an_exact_namespace_counts_before_a_glob_wherever_it_stands() {
    let selection = selection("includedNamespaces: [shop, shop-eu]", SHOPS);
    assert_eq!(queries(&selection, "secrets", Some("shop-eu")), [Some("tier=front".into())]);
    assert_eq!(queries(&selection, "cm", Some("shop-eu")), [Some("a=1".into()), Some("b=2".into())]);
}

#[test]
fn selectors_of_a_policy_replace_those_of_the_backup_in_lists_of_one_namespace() {
    let spec = "{includedNamespaces: [shop, blog, quiet], labelSelector: {matchLabels: {own: x}}}";
    let selection = selection(spec, SHOPS);
    assert_eq!(queries(&selection, "secrets", Some("blog")), [Some("tier=front".into())]);
    assert_eq!(queries(&selection, "cm", Some("shop")), [None]);
    assert_eq!(queries(&selection, "cm", Some("quiet")), [Some("own=x".into())]);
    assert!(takes(&selection, "secrets", Some("blog"), &[("tier", "front")]));
    assert!(!takes(&selection, "secrets", Some("blog"), &[("own", "x")]));
}

#[test]
fn in_a_list_of_the_whole_cluster_both_selectors_must_match() {
    let selection = selection("{labelSelector: {matchLabels: {own: x}}}", SHOPS);
    assert_eq!(queries(&selection, "secrets", None), [Some("own=x".into())]);
    assert!(takes(&selection, "secrets", Some("blog"), &[("tier", "front"), ("own", "x")]));
    assert!(!takes(&selection, "secrets", Some("blog"), &[("tier", "front")]));
    assert!(!takes(&selection, "secrets", Some("blog"), &[("own", "x")]));
    assert!(takes(&selection, "secrets", Some("quiet"), &[("own", "x")]));
}

#[test]
fn names_are_filtered_and_excluded_ones_win() {
    let selection = selection("{}", SHOPS);
    assert!(admits(&selection, "cm", Some("shop"), "web-1"));
    assert!(!admits(&selection, "cm", Some("shop"), "web-1-tmp"));
    assert!(!admits(&selection, "cm", Some("shop"), "other"));
    assert!(admits(&selection, "cm", Some("quiet"), "other"));
    // What actions bring along is asked for its name only, where its kind is listed.
    assert!(admits(&selection, "pvc", Some("shop"), "anything"));
}

#[test]
fn a_policy_for_cluster_scoped_kinds_narrows_those_that_it_lists() {
    let policy = "
clusterScopedFilterPolicy:
  resourceFilters:
  - kinds: [sc]
    labelSelector: {matchLabels: {tier: front}}
    names: ['fast*']
";
    let selection = selection("{labelSelector: {matchLabels: {own: x}}}", policy);
    assert_eq!(queries(&selection, "sc", None), [Some("tier=front".into())]);
    assert_eq!(queries(&selection, "no", None), [Some("own=x".into())]);
    assert!(admits(&selection, "sc", None, "fast-1") && !admits(&selection, "sc", None, "slow"));
    assert!(admits(&selection, "no", None, "n1"));
    assert_eq!(selection.fine.warnings(), Vec::<String>::new());
}

#[test]
fn a_glob_for_all_namespaces_leaves_cluster_scoped_objects_alone() {
    let policy = "namespacedFilterPolicies: [{namespaces: ['*'], resourceFilters: [{kinds: [cm]}]}]";
    let selection = selection("{}", policy);
    assert_eq!(queries(&selection, "no", None), [None]);
    assert!(takes(&selection, "cm", Some("quiet"), &[]) && !takes(&selection, "secrets", Some("quiet"), &[]));
}

#[test]
fn kinds_that_can_match_nothing_are_warned_of() {
    let policy = "
clusterScopedFilterPolicy: {resourceFilters: [{kinds: [cm, nothings]}]}
namespacedFilterPolicies: [{namespaces: [shop], resourceFilters: [{kinds: [Node]}]}]
";
    assert_eq!(
        selection("{}", policy).fine.warnings(),
        [
            "the resource policy names kind \"cm\" where it matches nothing: it is namespaced",
            "the resource policy names kind \"nothings\", which the cluster doesn't serve",
            "the resource policy names kind \"Node\" where it matches nothing: it is cluster-scoped",
        ]
    );
}

fn collected(spec: &str, policy: &str) -> Vec<String> {
    let selection = selection(spec, policy);
    let discovery = discovery();
    let chosen = discovery.resources.iter().filter(|it| selection.resources.direct(it) != Direct::No);
    chosen.map(|resource| resource.group_resource()).collect()
}

#[test]
fn lists_of_a_policy_are_added_where_the_backup_says_nothing() {
    let policy = "
includeExcludePolicy:
  includedClusterScopedResources: [sc, nodes]
  includedNamespaceScopedResources: [cm, secrets]
  excludedNamespaceScopedResources: [pods]
";
    let all = collected("{}", policy);
    assert_eq!(all, ["namespaces", "configmaps", "nodes", "secrets", "storageclasses.storage.k8s.io"]);
    // What the Backup says of the same type wins.
    let spec = "{includedNamespaceScopedResources: [pods], excludedClusterScopedResources: [nodes]}";
    let all = collected(spec, policy);
    assert_eq!(all, ["namespaces", "configmaps", "pods", "secrets", "storageclasses.storage.k8s.io"]);
    let all =
        collected("{includedNamespaceScopedResources: ['*'], includedClusterScopedResources: [sc]}", policy);
    assert!(all.contains(&"pods".to_owned()) && all.contains(&"nodes".to_owned()), "{all:?}");
}
