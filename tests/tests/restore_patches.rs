//! JSON and merge patches of resource modifiers, each beside the same patch sent to the API server.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use holdfast_tests::restores::{Bench, archive, object};
use pretty_assertions::assert_eq;
use serde_json::{Value, json};

fn deployment(name: &str) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"namespace": "src", "name": name},
        "spec": {
            "replicas": 0, "selector": {"matchLabels": {"app": "a"}},
            "template": {
                "metadata": {"labels": {"app": "a"}, "annotations": {"a/b": "1", "c.d": "2"}},
                "spec": {
                    "containers": [
                        {"name": "main", "image": "m", "args": ["x", "y", "z"], "env": [{"name": "A", "value": "1"}]},
                        {"name": "side", "image": "s"},
                    ],
                    "nodeSelector": {"disk": "ssd", "zone": "a"},
                    "securityContext": {"runAsUser": 1},
                },
            },
        },
    })
}

/// Sends a patch; none where the API server refuses it.
async fn patched(bench: &Bench, path: &str, kind: &str, patch: &Value) -> Option<Value> {
    let request = http::Request::patch(path)
        .header("content-type", format!("application/{kind}+json"))
        .body(patch.to_string().into_bytes())
        .unwrap();
    bench.client.request::<Value>(request).await.ok()
}

/// Restores one Deployment for each rule, and sends its patch to the API server for another one: both must come to the same.
async fn compare(prefix: &str, kind: &str, cases: &[(Value, Value)]) {
    let bench = Bench::start().await;
    let home = bench.testbed.namespace(prefix).await.unwrap();
    let target = bench.unused_name(prefix).await;
    let mut rules = Vec::new();
    let mut entries = Vec::new();
    for (number, (rule, _)) in cases.iter().enumerate() {
        let name = format!("d{number}");
        let mut rule = rule.clone();
        rule["conditions"] =
            json!({"groupResource": "deployments.apps", "resourceNameRegex": format!("^{name}$")});
        rules.push(rule);
        entries.push(object("deployments.apps", deployment(&name)));
    }
    let rules = json!({"version": "v1", "resourceModifierRules": rules}).to_string();
    let config_map = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "rules"}, "data": {"rules.yaml": rules},
    });
    bench.create(&format!("/api/v1/namespaces/{home}/configmaps"), &config_map).await;
    bench.put_backup(prefix, &archive(&entries));
    let spec = json!({
        "backupName": prefix, "namespaceMapping": {"src": target},
        "resourceModifier": {"kind": "ConfigMap", "name": "rules"},
    });
    let restored = bench.restore_as(json!({"name": format!("rs-{prefix}"), "namespace": home}), spec).await;

    let collection = format!("/apis/apps/v1/namespaces/{home}/deployments");
    for (number, (_, patch)) in cases.iter().enumerate() {
        let name = format!("d{number}");
        let mut original = deployment(&name);
        original["metadata"] = json!({"name": name});
        bench.create(&collection, &original).await;
        let theirs = patched(&bench, &format!("{collection}/{name}"), kind, patch).await;
        let list = &restored.list["apps/v1/Deployment"];
        let created = list.contains(&format!("{target}/{name}(created)"));
        assert_eq!(created, theirs.is_some(), "{patch}: {:#}", restored.results);
        if let Some(theirs) = theirs {
            let ours = bench.get(&format!("/apis/apps/v1/namespaces/{target}/deployments/{name}")).await;
            assert_eq!(ours["spec"], theirs["spec"], "{patch}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn json_patches_do_what_the_api_server_does_with_them() {
    let add = |path: &str, value: Value| json!({"op": "add", "path": path, "value": value});
    let replace = |path: &str, value: Value| json!({"op": "replace", "path": path, "value": value});
    let remove = |path: &str| json!({"op": "remove", "path": path});
    let from = |operation: &str, from: &str, path: &str| json!({"op": operation, "from": from, "path": path});
    const TEMPLATE: &str = "/spec/template";
    const MAIN: &str = "/spec/template/spec/containers/0";
    let template = |rest: &str| format!("{TEMPLATE}{rest}");
    let main = |rest: &str| format!("{MAIN}{rest}");
    let table = [
        vec![add(&main("/args/1"), json!("new"))],
        vec![add(&main("/args/-"), json!("last"))],
        vec![add(&main("/args/3"), json!("last"))],
        vec![add(&main("/args/9"), json!("beyond"))],
        vec![remove(&main("/args/0")), remove(&main("/args/0"))],
        vec![remove(&main("/args/7"))],
        vec![replace(&main("/args/2"), json!("w"))],
        vec![replace(&main("/args/9"), json!("w"))],
        vec![replace(&main("/args/-1"), json!("w"))],
        vec![remove(&template("/metadata/annotations/a~1b"))],
        vec![replace(&template("/metadata/annotations/c.d"), json!("dot"))],
        vec![add(&template("/metadata/labels/new"), json!("label"))],
        vec![add(&template("/metadata/none/new"), json!("label"))],
        vec![remove(&template("/spec/nodeSelector/none"))],
        vec![remove(&template("/spec/nodeSelector"))],
        vec![replace(&template("/spec/nodeSelector"), json!({"disk": "hdd"}))],
        vec![replace("/spec/replicas", json!(0)), add("/spec/minReadySeconds", json!(7))],
        vec![from("move", &template("/spec/nodeSelector/disk"), &template("/spec/nodeSelector/moved"))],
        vec![from("copy", &main("/env/0"), &template("/spec/containers/1/env"))],
        vec![from("copy", &main("/env"), &template("/spec/containers/1/env"))],
        vec![from("move", &template("/spec/none"), &template("/spec/nodeSelector"))],
        vec![from("copy", &main("/args/0"), &main("/args/-"))],
        vec![
            json!({"op": "test", "path": main("/image"), "value": "m"}),
            replace(&main("/image"), json!("other")),
        ],
    ];
    // In a rule the operation has its long name, and values are the text that they are written as.
    let long = |operation: &Value| {
        let mut rule = json!({"operation": operation["op"], "path": operation["path"]});
        if let Some(from) = operation.get("from") {
            rule["from"] = from.clone();
        }
        if let Some(value) = operation.get("value") {
            rule["value"] = value.as_str().map_or_else(|| value.to_string(), str::to_owned).into();
        }
        rule
    };
    let case = |operations: &Vec<Value>| {
        let patches: Vec<Value> = operations.iter().map(long).collect();
        (json!({"patches": patches}), json!(operations))
    };
    let cases: Vec<(Value, Value)> = table.iter().map(case).collect();
    compare("json-patches", "json-patch", &cases).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn merge_patches_do_what_the_api_server_does_with_them() {
    let pod = |spec: Value| json!({"spec": {"template": {"spec": spec}}});
    let table = [
        pod(json!({"nodeSelector": {"disk": null, "more": "yes"}})),
        pod(json!({"nodeSelector": null})),
        pod(json!({"containers": [{"name": "only", "image": "o"}]})),
        pod(json!({"securityContext": {"runAsGroup": 2}, "none": null})),
        pod(json!({"affinity": {"nodeAffinity": {}}, "priorityClassName": null})),
        json!({"spec": {"template": {"metadata": {"annotations": {"a/b": null, "new": "x"}}}, "replicas": 0}}),
        json!({"spec": {"template": {"metadata": {"annotations": null}}}}),
        pod(json!({"containers": null})),
        json!({"spec": null}),
    ];
    let case = |patch: &Value| (json!({"mergePatches": [{"patchData": patch.to_string()}]}), patch.clone());
    let cases: Vec<(Value, Value)> = table.iter().map(case).collect();
    compare("merge-patches", "merge-patch", &cases).await;
}
