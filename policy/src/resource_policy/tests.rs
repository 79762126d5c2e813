use std::collections::BTreeMap;

use pretty_assertions::assert_eq;
use serde_json::{Map, Value, json};

use super::*;
use crate::model::volumes::VolumeActionType;

fn parse(text: &str) -> Result<ResourcePolicy, Vec<String>> {
    let data = BTreeMap::from([("policy.yaml".to_owned(), text.to_owned())]);
    ResourcePolicy::parse(&data).map_err(|found| found.iter().map(ToString::to_string).collect())
}

fn refused(text: &str) -> Vec<String> {
    parse(text).expect_err("the policy is refused")
}

fn volume(spec: Value) -> Volume {
    Volume::of_persistent_volume(json!({"spec": spec}).to_string().as_bytes()).unwrap()
}

fn pod_volume(volume: Value) -> Volume {
    let volume: Map<String, Value> = serde_json::from_value(volume).unwrap();
    Volume::of_pod_volume(&volume)
}

fn claimed(volume: Volume, claim: Value) -> Volume {
    volume.claimed_by(claim.to_string().as_bytes()).unwrap()
}

/// Whether a policy with these conditions matches.
fn holds(conditions: Value, volume: &Volume) -> bool {
    let text =
        json!({"version": "v1", "volumePolicies": [{"conditions": conditions, "action": {"type": "skip"}}]});
    parse(&text.to_string()).unwrap().volume_policy(volume).is_some()
}

#[test]
fn a_config_map_has_exactly_one_key() {
    let none = ResourcePolicy::parse(&BTreeMap::new()).unwrap_err();
    assert_eq!(none[0].to_string(), "the ConfigMap must have exactly one key, not 0");
    let two = BTreeMap::from([("a".to_owned(), "version: v1".to_owned()), ("b".to_owned(), String::new())]);
    let two = ResourcePolicy::parse(&two).unwrap_err();
    assert_eq!(two[0].to_string(), "the ConfigMap must have exactly one key, not 2");
}

#[test]
fn the_version_is_v1() {
    assert!(parse("version: v1").is_ok());
    assert_eq!(refused("version: v2"), ["version is \"v2\", but has to be \"v1\""]);
    assert_eq!(refused("volumePolicies: []"), ["version is \"\", but has to be \"v1\""]);
}

#[test]
fn unknown_fields_are_refused_at_every_level() {
    for text in [
        "{version: v1, rules: []}",
        "{version: v1, includeExcludePolicy: {included: []}}",
        "{version: v1, volumePolicies: [{conditions: {}, action: {type: skip}, when: x}]}",
        "{version: v1, volumePolicies: [{conditions: {size: x}, action: {type: skip}}]}",
        "{version: v1, volumePolicies: [{conditions: {nfs: {host: x}}, action: {type: skip}}]}",
        "{version: v1, volumePolicies: [{conditions: {csi: {name: x}}, action: {type: skip}}]}",
        "{version: v1, volumePolicies: [{conditions: {}, action: {type: skip, why: x}}]}",
        "{version: v1, clusterScopedFilterPolicy: {filters: []}}",
        "{version: v1, clusterScopedFilterPolicy: {resourceFilters: [{kind: x}]}}",
        "{version: v1, namespacedFilterPolicies: [{namespace: x}]}",
        "{version: v1, namespacedFilterPolicies: [{namespaces: [a], resourceFilters: [{kinds: [x], labelSelector: {labels: {}}}]}]}",
    ] {
        let found = refused(text);
        assert!(found[0].contains("unknown field"), "{text}: {found:?}");
    }
}

#[test]
fn an_action_is_one_of_four() {
    let text = "{version: v1, volumePolicies: [{conditions: {}, action: {type: copy}}]}";
    assert!(refused(text)[0].contains("unknown variant `copy`"), "{:?}", refused(text));
    for (name, action) in [
        ("skip", VolumeActionType::Skip),
        ("fs-backup", VolumeActionType::FsBackup),
        ("snapshot", VolumeActionType::Snapshot),
        ("custom", VolumeActionType::Custom),
    ] {
        let text = format!(
            "{{version: v1, volumePolicies: [{{conditions: {{}}, action: {{type: {name}, parameters: {{a: b}}}}}}]}}"
        );
        assert_eq!(parse(&text).unwrap().volume_policies[0].action, action);
    }
}

#[test]
fn the_first_policy_that_matches_decides_and_the_servers_come_last() {
    let own = "
version: v1
volumePolicies:
- conditions: {storageClass: [slow]}
  action: {type: skip}
- conditions: {storageClass: [slow, fast]}
  action: {type: snapshot}
";
    let mut policy = parse(own).unwrap();
    let everything = parse("{version: v1, volumePolicies: [{action: {type: fs-backup}}]}").unwrap();
    policy.append_global(&everything.volume_policies);
    let action = |class: &str| {
        let volume = volume(json!({"storageClassName": class}));
        policy.volume_policy(&volume).map(|policy| policy.action)
    };
    assert_eq!(action("slow"), Some(VolumeActionType::Skip));
    assert_eq!(action("fast"), Some(VolumeActionType::Snapshot));
    assert_eq!(action("other"), Some(VolumeActionType::FsBackup));
    assert!(parse(own).unwrap().volume_policy(&volume(json!({}))).is_none());
}

#[test]
fn a_capacity_is_a_range_with_both_ends() {
    let of = |size: &str| volume(json!({"capacity": {"storage": size}}));
    for (range, size, expected) in [
        ("10Gi,100Gi", "10Gi", true),
        ("10Gi,100Gi", "100Gi", true),
        ("10Gi,100Gi", "9Gi", false),
        ("10Gi,100Gi", "101Gi", false),
        ("10Gi,", "1Ti", true),
        ("10Gi,0", "1Ti", true),
        ("10Gi,", "10G", false),
        (",10Gi", "10Gi", true),
        ("0,10Gi", "11Gi", false),
    ] {
        assert_eq!(holds(json!({"capacity": range}), &of(size)), expected, "{range} {size}");
    }
    for (range, reason) in [
        ("10Gi", "has no comma"),
        ("1,2,3", "has more than one comma"),
        ("10Gi,5Gi", "ends below its start"),
        ("a,b", "has \"a\", which is no quantity"),
    ] {
        let text = json!({"version": "v1", "volumePolicies": [{"conditions": {"capacity": range}, "action": {"type": "skip"}}]});
        assert_eq!(refused(&text.to_string()), [format!("volumePolicies[0]: capacity {range:?} {reason}")]);
    }
}

#[test]
fn sources_match_by_their_parts() {
    let nfs = volume(json!({"nfs": {"server": "10.0.0.1", "path": "/data"}}));
    let csi = volume(json!({"csi": {"driver": "ebs", "volumeAttributes": {"k": "v", "l": "w"}}}));
    let empty = pod_volume(json!({"name": "cache", "emptyDir": {}}));
    for (conditions, volume, expected) in [
        (json!({"nfs": {}}), &nfs, true),
        (json!({"nfs": {}}), &csi, false),
        (json!({"nfs": {"server": "10.0.0.1"}}), &nfs, true),
        (json!({"nfs": {"server": "10.0.0.1", "path": "/other"}}), &nfs, false),
        (json!({"csi": {}}), &csi, true),
        (json!({"csi": {}}), &nfs, false),
        (json!({"csi": {"driver": "ebs", "volumeAttributes": {"k": "v"}}}), &csi, true),
        (json!({"csi": {"driver": "ebs", "volumeAttributes": {"k": "x"}}}), &csi, false),
        (json!({"csi": {"driver": "other"}}), &csi, false),
        (json!({"volumeTypes": ["emptyDir", "nfs"]}), &nfs, true),
        (json!({"volumeTypes": ["emptyDir", "nfs"]}), &empty, true),
        (json!({"volumeTypes": ["emptydir"]}), &empty, false),
        (json!({"volumeTypes": ["awsAzureDisk"]}), &empty, false),
        (json!({"storageClass": ["gp2"]}), &empty, false),
        (json!({}), &empty, true),
    ] {
        assert_eq!(holds(conditions.clone(), volume), expected, "{conditions} {volume:?}");
    }
    let text = "{version: v1, volumePolicies: [{conditions: {csi: {volumeAttributes: {k: v}}}, action: {type: skip}}]}";
    assert_eq!(refused(text), ["volumePolicies[0]: csi.volumeAttributes needs csi.driver"]);
}

#[test]
fn conditions_on_the_claim_match_exactly_and_never_without_one() {
    let claim = json!({
        "metadata": {"labels": {"app": "db", "tier": "back"}},
        "spec": {"volumeMode": "Block", "accessModes": ["ReadWriteOnce", "ReadOnlyMany"]},
        "status": {"phase": "Bound"},
    });
    let volume = volume(json!({"storageClassName": "slow"}));
    let claimed = claimed(volume.clone(), claim);
    for (conditions, expected) in [
        (json!({"pvcLabels": {"app": "db"}}), true),
        (json!({"pvcLabels": {"app": "db", "tier": "front"}}), false),
        (json!({"pvcPhase": ["Pending", "Bound"]}), true),
        (json!({"pvcPhase": ["Lost"]}), false),
        (json!({"pvcVolumeMode": "Block"}), true),
        (json!({"pvcVolumeMode": "Filesystem"}), false),
        (json!({"pvcAccessModes": ["ReadOnlyMany", "ReadWriteOnce"]}), true),
        (json!({"pvcAccessModes": ["ReadWriteOnce"]}), false),
        (json!({"pvcLabels": {"app": "db"}, "storageClass": ["fast"]}), false),
    ] {
        assert_eq!(holds(conditions.clone(), &claimed), expected, "{conditions}");
        assert!(!holds(conditions.clone(), &volume), "{conditions}");
    }
}

#[test]
fn include_and_exclude_lists_have_neither_star_nor_common_entries() {
    let text = "
version: v1
includeExcludePolicy:
  includedClusterScopedResources: [nodes, '*']
  excludedClusterScopedResources: [nodes]
  excludedNamespaceScopedResources: ['*']
";
    assert_eq!(
        refused(text),
        [
            "includeExcludePolicy.includedClusterScopedResources: \"*\" is not allowed here",
            "includeExcludePolicy.excludedClusterScopedResources: \"nodes\" is in includedClusterScopedResources as well",
            "includeExcludePolicy.excludedNamespaceScopedResources: \"*\" is not allowed here",
        ]
    );
    let policy = parse("{version: v1, includeExcludePolicy: {excludedNamespaceScopedResources: [secrets]}}");
    assert_eq!(policy.unwrap().needs_newer_filters(), ["includeExcludePolicy"]);
}

#[test]
fn filters_of_cluster_scoped_objects_name_each_kind_once() {
    let text = "
version: v1
clusterScopedFilterPolicy:
  resourceFilters:
  - kinds: [clusterroles, persistentvolumes]
    names: ['team-*']
    excludedNames: ['*-tmp']
  - kinds: [nodes]
    labelSelector: {matchLabels: {app: x}, matchExpressions: [{key: k, operator: In, values: [a]}]}
";
    let filters = parse(text).unwrap().cluster_scoped;
    assert_eq!(filters[0].names, ["team-*"]);
    assert_eq!(filters[1].selectors.len(), 1);
    let text = "
version: v1
clusterScopedFilterPolicy:
  resourceFilters:
  - kinds: ['*']
  - names: [a]
  - kinds: [nodes]
    names: ['a[']
  - kinds: [nodes]
    labelSelector: {matchLabels: {a: b}}
    orLabelSelectors: [{matchLabels: {c: d}}]
";
    let found = refused(text);
    let kinds = "clusterScopedFilterPolicy: resourceFilters[0]: kinds must name each kind: it is neither empty nor has \"*\"";
    assert_eq!(found[0], kinds);
    assert_eq!(found[1], kinds.replace("[0]", "[1]"));
    assert!(found[2].starts_with("clusterScopedFilterPolicy: resourceFilters[2]: names: "), "{found:?}");
    assert_eq!(
        found[3..],
        [
            "clusterScopedFilterPolicy: resourceFilters[3]: kind \"nodes\" stands in two filters",
            "clusterScopedFilterPolicy: resourceFilters[3]: labelSelector and orLabelSelectors exclude each other",
        ]
    );
    assert_eq!(
        refused("{version: v1, clusterScopedFilterPolicy: {resourceFilters: []}}"),
        ["clusterScopedFilterPolicy: resourceFilters is empty"]
    );
}

#[test]
fn filters_of_namespaces_have_one_for_the_other_kinds_at_most() {
    let text = "
version: v1
namespacedFilterPolicies:
- namespaces: [prod, 'team-?']
  resourceFilters:
  - kinds: [deployments.apps, ConfigMap]
    names: [web]
  - kinds: ['*']
    labelSelector: {matchLabels: {app: x}}
";
    let policy = &parse(text).unwrap().namespaced[0];
    assert_eq!(policy.kinds.len(), 1);
    assert_eq!(policy.others.as_ref().unwrap().selectors.len(), 1);
    let text = "
version: v1
namespacedFilterPolicies:
- namespaces: []
  resourceFilters: []
- namespaces: [prod, 'a**']
  resourceFilters:
  - {}
  - kinds: ['*', pods]
    names: [x]
- namespaces: [prod]
  resourceFilters:
  - kinds: [pods]
  - kinds: [pods, '']
    labelSelector: {matchExpressions: [{key: a, operator: Like, values: [b]}]}
  - kinds: [cm]
    labelSelector: {matchExpressions: [{key: a, operator: In}]}
";
    assert_eq!(
        refused(text),
        [
            "namespacedFilterPolicies[0]: namespaces is empty",
            "namespacedFilterPolicies[0]: resourceFilters is empty",
            "namespacedFilterPolicies[1]: namespaces: \"a**\" has `**`, which Velero refuses: write `*`",
            "namespacedFilterPolicies[1]: resourceFilters[1]: kinds has \"*\" beside other kinds",
            "namespacedFilterPolicies[1]: resourceFilters[1]: a filter of all other kinds takes neither names nor excludedNames",
            "namespacedFilterPolicies[1]: resourceFilters[1]: there is another filter of all other kinds",
            "namespacedFilterPolicies[2]: namespaces: \"prod\" stands twice in namespacedFilterPolicies",
            "namespacedFilterPolicies[2]: resourceFilters[1]: kind \"pods\" stands in two filters",
            "namespacedFilterPolicies[2]: resourceFilters[1]: kinds has an empty entry",
            "namespacedFilterPolicies[2]: resourceFilters[1]: the selector has the unknown operator \"Like\" for label \"a\"; known are In, NotIn, Exists, DoesNotExist",
            "namespacedFilterPolicies[2]: resourceFilters[2]: the selector's operator In of label \"a\" needs values",
        ]
    );
}

#[test]
fn an_empty_selector_is_as_good_as_none() {
    let text = "{version: v1, clusterScopedFilterPolicy: {resourceFilters: [{kinds: [nodes], labelSelector: {}, orLabelSelectors: [{matchLabels: {a: b}}]}]}}";
    assert_eq!(parse(text).unwrap().cluster_scoped[0].selectors.len(), 1);
    let text = "{version: v1, clusterScopedFilterPolicy: {resourceFilters: [{kinds: [nodes], orLabelSelectors: [{}, {matchLabels: {a: b}}]}]}}";
    assert_eq!(parse(text).unwrap().cluster_scoped[0].selectors.len(), 0);
}
