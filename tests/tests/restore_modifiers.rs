//! Resource modifiers on an API server: every kind of patch and condition, from a ConfigMap and inline in a policy.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use holdfast_policy::compile::{Target, compile};
use holdfast_policy::parse::SourceFile;
use holdfast_tests::restores::{Bench, archive, config_map, object};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use kube::api::{Patch, PatchParams, PostParams};
use pretty_assertions::assert_eq;
use serde_json::{Value, json};

const RULES: &str = r#"
version: v1
resourceModifierRules:
- conditions: {groupResource: configmaps, resourceNameRegex: ^add$}
  patches:
  - {operation: test, path: /data/key, value: add}
  - {operation: add, path: /data/number, value: '"7"'}
  - {operation: add, path: /metadata/labels, value: '{"a": "b"}'}
- conditions: {groupResource: configmaps, resourceNameRegex: ^remove$}
  patches: [{operation: remove, path: /data/key}]
- conditions: {groupResource: configmaps, resourceNameRegex: ^replace$}
  patches: [{operation: replace, path: /data/key, value: other}]
- conditions: {groupResource: configmaps, resourceNameRegex: ^move$}
  patches: [{operation: move, from: /data/key, path: /data/moved}]
- conditions: {groupResource: configmaps, resourceNameRegex: ^copy$}
  patches: [{operation: copy, from: /data/key, path: /data/copied}]
- conditions: {groupResource: configmaps, resourceNameRegex: ^test$}
  patches: [{operation: remove, path: /data/key}, {operation: test, path: /data/key, value: wrong}]
- conditions: {groupResource: configmaps, resourceNameRegex: ^broken$}
  patches: [{operation: remove, path: /data/none}]
- conditions: {groupResource: configmaps, labelSelector: {matchExpressions: [{key: tier, operator: In, values: [front]}]}}
  mergePatches: [{patchData: '{data: {key: null, by: label}}'}, {patchData: '{"data": {"more": "yes"}}'}]
- conditions: {groupResource: configmaps, resourceNameRegex: ^place$, namespaces: ['sr?']}
  mergePatches: [{patchData: '{data: {key: here}}'}]
- conditions: {groupResource: configmaps, resourceNameRegex: ^place$, namespaces: [elsewhere]}
  mergePatches: [{patchData: '{data: {key: wrong}}'}]
- conditions: {groupResource: configmaps, matches: [{path: /data/key, value: matched}, {path: /data/none, value: 'null'}]}
  mergePatches: [{patchData: '{data: {key: once}}'}]
- conditions: {groupResource: configmaps, matches: [{path: /data/key, value: once}]}
  mergePatches: [{patchData: '{data: {key: twice}}'}]
- conditions: {groupResource: '*', resourceNameRegex: ^core$}
  mergePatches: [{patchData: '{data: {key: core}}'}]
- conditions: {groupResource: '*.apps'}
  mergePatches: [{patchData: '{metadata: {annotations: {group: apps}}}'}]
- conditions: {groupResource: deployments.apps}
  strategicPatches: [{patchData: '{spec: {template: {spec: {containers: [{name: side, image: new}]}}}}'}]
- conditions: {groupResource: configmaps, resourceNameRegex: ^named$}
  patches: [{operation: replace, path: /metadata/name, value: renamed}]
"#;

async fn put_rules(bench: &Bench, home: &str, name: &str, text: &str) {
    let rules =
        serde_json::from_value(json!({"metadata": {"name": name}, "data": {"any.yaml": text}})).unwrap();
    let config_maps = Api::<ConfigMap>::namespaced(bench.client.clone(), home);
    config_maps.create(&PostParams::default(), &rules).await.unwrap();
}

fn deployment(name: &str) -> (String, Value) {
    object(
        "deployments.apps",
        json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"namespace": "src", "name": name},
            "spec": {
                "replicas": 0, "selector": {"matchLabels": {"app": name}},
                "template": {
                    "metadata": {"labels": {"app": name}},
                    "spec": {"containers": [{"name": "main", "image": "old"}, {"name": "side", "image": "old"}]},
                },
            },
        }),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_patch_and_condition_does_what_it_says() {
    let bench = Bench::start().await;
    let home = bench.testbed.namespace("modifiers-home").await.unwrap();
    put_rules(&bench, &home, "rules", RULES).await;
    let target = bench.unused_name("modifiers").await;
    let names = [
        "add",
        "remove",
        "replace",
        "move",
        "copy",
        "test",
        "broken",
        "place",
        "core",
        "named",
        "untouched",
        "labelled",
        "matched",
    ];
    let mut entries: Vec<_> = names.iter().map(|name| config_map("src", name)).collect();
    entries[11].1["metadata"]["labels"] = json!({"tier": "front"});
    entries.push(deployment("web"));
    bench.put_backup("modifiers", &archive(&entries));
    let spec = json!({
        "backupName": "modifiers", "namespaceMapping": {"src": target},
        "resourceModifier": {"kind": "ConfigMap", "name": "rules"},
    });
    let restored = bench.restore_as(json!({"name": "rs-modifiers", "namespace": home}), spec).await;

    let table = [
        ("add", json!({"key": "add", "number": "7"})),
        ("remove", json!(null)),
        ("replace", json!({"key": "other"})),
        ("move", json!({"moved": "move"})),
        ("copy", json!({"key": "copy", "copied": "copy"})),
        ("test", json!({"key": "test"})),
        ("place", json!({"key": "here"})),
        ("core", json!({"key": "core"})),
        ("renamed", json!({"key": "named"})),
        ("untouched", json!({"key": "untouched"})),
        ("labelled", json!({"by": "label", "more": "yes"})),
        ("matched", json!({"key": "once"})),
    ];
    for (name, data) in table {
        assert_eq!(bench.config_map(&target, name).await["data"], data, "{name}: {:#}", restored.results);
    }
    assert_eq!(bench.config_map(&target, "add").await["metadata"]["labels"]["a"], "b");
    let web = bench.get(&format!("/apis/apps/v1/namespaces/{target}/deployments/web")).await;
    assert_eq!(web["metadata"]["annotations"]["group"], "apps");
    let containers = web["spec"]["template"]["spec"]["containers"].as_array().unwrap();
    let images: Vec<&Value> = containers.iter().map(|container| &container["image"]).collect();
    assert_eq!(images, ["old", "new"]);

    assert!(
        restored.list["v1/ConfigMap"].contains(&format!("{target}/broken(failed)")),
        "{:?}",
        restored.list
    );
    assert!(
        restored.list["v1/ConfigMap"].contains(&format!("{target}/renamed(created)")),
        "{:?}",
        restored.list
    );
    assert_eq!(
        restored.results["errors"],
        json!({"namespaces": {&target: [format!(
            "error preparing configmaps/{target}/broken: modifier rule 7 can't be applied: there is nothing at \
             \"/data/none\""
        )]}})
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_brings_its_modifiers_and_its_names_along() {
    let bench = Bench::start().await;
    let home = bench.testbed.namespace("inline-home").await.unwrap();
    let target = bench.unused_name("inline").await;
    let policy = format!(
        r#"
apiVersion: holdfast.dev/v1alpha1
kind: RestorePolicy
metadata: {{name: drill}}
spec:
  run: first
  clusters: [here]
  from: {{backup: inline}}
  remap:
    namespaces: {{src: {target}}}
    images: {{old: new}}
  modifiers:
  - conditions: {{groupResource: deployments.apps, resourceNameRegex: ^web$}}
    patches: [{{operation: add, path: /metadata/labels, value: '{{"by": "policy"}}'}}]
"#
    );
    let file = SourceFile { name: "drill.yaml".to_owned(), text: policy };
    let set = holdfast_policy::load(&[file]).unwrap();
    let target_of_set =
        Target { namespace: home.clone(), source: "tests".to_owned(), cluster_name: Some("here".to_owned()) };
    let manifests = compile(&set, &target_of_set);
    let of_kind = |kind: &str| manifests.iter().find(|manifest| manifest.kind == kind).unwrap().created();
    let config_maps = Api::<ConfigMap>::namespaced(bench.client.clone(), &home);
    let rules = serde_json::from_value(of_kind("ConfigMap")).unwrap();
    config_maps.create(&PostParams::default(), &rules).await.unwrap();

    bench.put_backup("inline", &archive(&[deployment("web")]));
    let restore = of_kind("Restore");
    let restored = bench.restore_as(restore["metadata"].clone(), restore["spec"].clone()).await;
    assert_eq!(restored.outcome.errors, 0, "{:#}", restored.results);
    let web = bench.get(&format!("/apis/apps/v1/namespaces/{target}/deployments/web")).await;
    assert_eq!(web["metadata"]["labels"]["by"], "policy");
    assert_eq!(web["spec"]["template"]["spec"]["containers"][0]["image"], "new");
}

#[tokio::test(flavor = "multi_thread")]
async fn modifiers_of_another_kind_than_config_map_are_ignored_with_a_warning() {
    let bench = Bench::start().await;
    let target = bench.unused_name("otherkind").await;
    bench.put_backup("otherkind", &archive(&[config_map("src", "a")]));
    let spec = json!({
        "backupName": "otherkind", "namespaceMapping": {"src": target},
        "resourceModifier": {"kind": "Secret", "name": "rules"},
    });
    let restored = bench.restore("rs-otherkind", spec).await;
    assert_eq!(
        restored.results["warnings"],
        json!({"velero": ["resourceModifier names a Secret, not a ConfigMap: no modifiers are applied"]})
    );
    assert_eq!(restored.list["v1/ConfigMap"], [format!("{target}/a(created)")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn strategic_patches_do_what_the_api_server_does_with_them() {
    let bench = Bench::start().await;
    let home = bench.testbed.namespace("strategic-home").await.unwrap();
    let target = bench.unused_name("strategic").await;
    let theirs = bench.testbed.namespace("strategic-theirs").await.unwrap();
    let spec = json!({
        "automountServiceAccountToken": false,
        "containers": [
            {
                "name": "main", "image": "a", "args": ["x", "y"],
                "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}],
                "ports": [{"containerPort": 80, "name": "web"}, {"containerPort": 81}],
                "volumeMounts": [{"name": "one", "mountPath": "/one"}, {"name": "two", "mountPath": "/two"}],
            },
            {"name": "side", "image": "s"},
            {"name": "last", "image": "l"},
        ],
        "volumes": [{"name": "one", "emptyDir": {}}, {"name": "two", "emptyDir": {}}],
        "tolerations": [{"key": "a", "operator": "Exists"}],
        "hostAliases": [{"ip": "10.0.0.1", "hostnames": ["a"]}],
        "securityContext": {"runAsUser": 1, "fsGroup": 2},
    });
    let patches = [
        json!({"containers": [{"name": "new", "image": "n"}]}),
        json!({"containers": [{"name": "side", "image": "b"}, {"name": "new", "image": "n"}]}),
        json!({"containers": [{"name": "side", "$patch": "delete"}, {"name": "main", "args": ["z"]}]}),
        json!({"containers": [{"name": "main", "env": [{"name": "C", "value": "3"}, {"name": "A", "value": "0"}]}]}),
        json!({"containers": [{"name": "main", "ports": [{"containerPort": 81, "name": "b"}, {"containerPort": 82}]}]}),
        json!({"containers": [{"name": "main", "volumeMounts": [{"mountPath": "/one", "name": "two"}]}]}),
        json!({"volumes": [{"name": "two", "$retainKeys": ["name", "configMap"], "configMap": {"name": "c"}}]}),
        json!({"tolerations": [{"key": "b", "operator": "Exists"}], "hostAliases": [{"ip": "10.0.0.2", "hostnames": ["b"]}]}),
        json!({"securityContext": {"$patch": "replace", "runAsGroup": 3}, "nodeSelector": {"disk": "ssd"}}),
        json!({"securityContext": {"fsGroup": null}, "$setElementOrder/containers": [{"name": "last"}, {"name": "main"}, {"name": "side"}], "containers": [{"name": "main", "image": "c"}]}),
        json!({"containers": [{"$patch": "replace"}, {"name": "only", "image": "o"}]}),
    ];
    let template = |name: &str| {
        let (path, mut deployment) = deployment(name);
        deployment["spec"]["template"]["spec"] = spec.clone();
        (path, deployment)
    };
    let in_place = |patch: &Value| json!({"spec": {"template": {"spec": patch}}});
    let mut rules = Vec::new();
    let mut entries = Vec::new();
    for (number, patch) in patches.iter().enumerate() {
        let name = format!("d{number}");
        rules.push(json!({
            "conditions": {"groupResource": "deployments.apps", "resourceNameRegex": format!("^{name}$")},
            "strategicPatches": [{"patchData": in_place(patch).to_string()}],
        }));
        entries.push(template(&name));
    }
    let rules = json!({"version": "v1", "resourceModifierRules": rules}).to_string();
    put_rules(&bench, &home, "rules", &rules).await;
    bench.put_backup("strategic", &archive(&entries));
    let restore = json!({
        "backupName": "strategic", "namespaceMapping": {"src": target},
        "resourceModifier": {"kind": "ConfigMap", "name": "rules"},
    });
    let restored = bench.restore_as(json!({"name": "rs-strategic", "namespace": home}), restore).await;
    assert_eq!(restored.outcome.errors, 0, "{:#}", restored.results);

    let deployments = Api::<Deployment>::namespaced(bench.client.clone(), &theirs);
    for (number, patch) in patches.iter().enumerate() {
        let name = format!("d{number}");
        let mut original = template(&name).1;
        original["metadata"] = json!({"name": name});
        deployments.create(&PostParams::default(), &serde_json::from_value(original).unwrap()).await.unwrap();
        let patched = Patch::Strategic(in_place(patch));
        deployments.patch(&name, &PatchParams::default(), &patched).await.unwrap();
        let pod_spec = async |namespace: &str| {
            let path = format!("/apis/apps/v1/namespaces/{namespace}/deployments/{name}");
            bench.get(&path).await["spec"]["template"]["spec"].clone()
        };
        assert_eq!(pod_spec(&target).await, pod_spec(&theirs).await, "{patch}");
    }
}
