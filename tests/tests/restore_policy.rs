//! The resource policy of a restore on an API server: what its filters let through, and the ones that are refused.

use holdfast::engine::restore::Error;
use holdfast_tests::restores::{Bench, archive, config_map, object};
use pretty_assertions::assert_eq;
use serde_json::{Value, json};

fn labelled((path, mut object): (String, Value), labels: Value) -> (String, Value) {
    object["metadata"]["labels"] = labels;
    (path, object)
}

fn secret(namespace: &str, name: &str) -> (String, Value) {
    let metadata = json!({"namespace": namespace, "name": name});
    object("secrets", json!({"apiVersion": "v1", "kind": "Secret", "metadata": metadata}))
}

fn class(name: &str) -> (String, Value) {
    object(
        "priorityclasses.scheduling.k8s.io",
        json!({
            "apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": name}, "value": 7,
        }),
    )
}

async fn policy(bench: &Bench, name: &str, text: &str) {
    let object = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"policy.yaml": text},
    });
    bench.create("/api/v1/namespaces/default/configmaps", &object).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn filters_of_a_policy_decide_in_their_namespaces_and_about_the_cluster_scoped_kinds_they_list() {
    let bench = Bench::start().await;
    let prefix = bench.unused_name("filters").await;
    let to = |suffix: &str| format!("{prefix}-{suffix}");
    let (wanted, other) = (to("wanted"), to("other"));
    let front = || json!({"tier": "front"});
    bench.put_backup(
        "filters",
        &archive(&[
            config_map("shop", "web-a"),
            config_map("shop", "web-tmp"),
            labelled(config_map("shop", "labelled"), front()),
            labelled(secret("shop", "unlisted"), front()),
            labelled(secret("shop-eu", "front"), front()),
            secret("shop-eu", "back"),
            labelled(config_map("blog", "front"), front()),
            config_map("blog", "back"),
            class(&wanted),
            labelled(class(&other), front()),
        ]),
    );
    let text = format!(
        "version: v1
clusterScopedFilterPolicy:
  resourceFilters:
  - kinds: [PriorityClass]
    names: ['{wanted}']
namespacedFilterPolicies:
- namespaces: ['shop*']
  resourceFilters:
  - kinds: [cm]
    names: ['web-*']
    excludedNames: ['*-tmp']
- namespaces: [shop-eu]
  resourceFilters:
  - kinds: ['*']
    labelSelector: {{matchLabels: {{tier: front}}}}
"
    );
    policy(&bench, "filters", &text).await;
    let spec = json!({
        "backupName": "filters",
        "namespaceMapping": {"shop": to("shop"), "shop-eu": to("eu"), "blog": to("blog")},
        "labelSelector": {"matchLabels": {"tier": "front"}},
        "resourcePolicy": {"kind": "configmap", "name": "filters"},
    });
    let restored = bench.restore("rs-filters", spec).await;
    assert_eq!((restored.outcome.warnings, restored.outcome.errors), (0, 0), "{}", restored.results);
    let created = |lines: &[(&str, &str)]| -> Vec<String> {
        lines.iter().map(|(namespace, name)| format!("{}/{name}(created)", to(namespace))).collect()
    };
    assert_eq!(restored.list["v1/ConfigMap"], created(&[("blog", "front"), ("shop", "web-a")]));
    assert_eq!(restored.list["v1/Secret"], created(&[("eu", "front")]));
    assert_eq!(restored.list["scheduling.k8s.io/v1/PriorityClass"], [format!("{wanted}(created)")]);
    bench.delete("/apis/scheduling.k8s.io/v1/priorityclasses", &wanted).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_that_can_t_be_used_is_refused_and_nothing_is_created() {
    let bench = Bench::start().await;
    let target = bench.unused_name("refused").await;
    bench.put_backup("refused", &archive(&[config_map("shop", "a")]));
    let kinds = |kinds: &str| {
        format!(
            "version: v1\nnamespacedFilterPolicies: [{{namespaces: [shop], resourceFilters: [{kinds}]}}]\n"
        )
    };
    let table = [
        ("twice", kinds("{kinds: [cm]}, {kinds: [ConfigMap]}"), "ambiguous policy: duplicate kind"),
        ("volumes", "version: v1\nvolumePolicies: [{action: {type: skip}}]\n".to_owned(), "volumePolicies"),
        ("version", "version: v2\n".to_owned(), "version"),
    ];
    for (name, text, expected) in table {
        policy(&bench, &format!("refused-{name}"), &text).await;
        let spec = json!({
            "backupName": "refused", "namespaceMapping": {"shop": target},
            "resourcePolicy": {"kind": "ConfigMap", "name": format!("refused-{name}")},
        });
        let refused = bench.run(&format!("rs-refused-{name}"), spec).await.unwrap_err();
        let Error::Refused { problems } = refused else { unreachable!("{refused}") };
        assert!(problems.len() == 1 && problems[0].contains(expected), "{problems:?}");
        assert!(!bench.namespace_exists(&target).await, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kind_that_nothing_in_the_backup_is_of_is_told() {
    let bench = Bench::start().await;
    let target = bench.unused_name("unknown").await;
    bench.put_backup("unknown", &archive(&[config_map("shop", "a")]));
    let text = "version: v1
namespacedFilterPolicies:
- namespaces: [shop]
  resourceFilters: [{kinds: [configmaps, gadgets]}]
";
    policy(&bench, "unknown-kind", text).await;
    let spec = json!({
        "backupName": "unknown", "namespaceMapping": {"shop": target},
        "resourcePolicy": {"kind": "ConfigMap", "name": "unknown-kind"},
    });
    let restored = bench.restore("rs-unknown-kind", spec).await;
    assert_eq!((restored.outcome.warnings, restored.outcome.errors), (1, 0), "{}", restored.results);
    assert!(restored.results["warnings"]["velero"].to_string().contains("gadgets"), "{}", restored.results);
    assert_eq!(restored.list["v1/ConfigMap"], [format!("{target}/a(created)")]);
}
