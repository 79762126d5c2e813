//! What a restore would do: told object by object, as the restore itself then does it, and nothing is created.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;

use holdfast::engine::restore::{Depth, Fate, Preview, Standing};
use holdfast_tests::restores::{Bench, archive, config_map, namespace, object};
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::Api;
use kube::api::PostParams;
use pretty_assertions::assert_eq;
use serde_json::{Value, json};

/// Objects by name with the words of their fates.
fn words(preview: &Preview) -> BTreeMap<&str, &'static str> {
    preview.objects.iter().map(|object| (object.name.as_str(), object.fate.word())).collect()
}

fn fate<'a>(preview: &'a Preview, name: &str) -> &'a Fate {
    &preview.objects.iter().find(|object| object.name == name).unwrap().fate
}

fn labelled(name: &str, label: &str) -> (String, Value) {
    let (path, mut object) = config_map("src", name);
    object["metadata"]["labels"] = json!({"tier": label});
    (path, object)
}

fn widget(group: &str, name: &str) -> (String, Value) {
    object(
        &format!("widgets.{group}"),
        json!({
            "apiVersion": format!("{group}/v1"), "kind": "Widget",
            "metadata": {"namespace": "src", "name": name, "labels": {"tier": "front"}},
        }),
    )
}

fn definition(group: &str) -> (String, Value) {
    let schema = json!({"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}});
    object(
        "customresourcedefinitions.apiextensions.k8s.io",
        json!({
            "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": {"name": format!("widgets.{group}"), "labels": {"tier": "front"}},
            "spec": {
                "group": group, "scope": "Namespaced",
                "names": {"plural": "widgets", "singular": "widget", "kind": "Widget", "listKind": "WidgetList"},
                "versions": [{"name": "v1", "served": true, "storage": true, "schema": schema}],
            },
        }),
    )
}

fn pod(name: &str, phase: &str) -> (String, Value) {
    let containers = json!([{"name": "main", "image": "none"}]);
    object(
        "pods",
        json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"namespace": "src", "name": name, "labels": {"tier": "front"}},
            "spec": {"containers": containers}, "status": {"phase": phase},
        }),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_decides_about_every_object_and_the_restore_does_as_it_says() {
    let bench = Bench::start().await;
    let target = bench.unused_name("planned").await;
    let brought = format!("{}.plan.example.com", target.rsplit('-').nth(1).unwrap());
    bench.put_backup(
        "plan",
        &archive(&[
            namespace("src"),
            labelled("wanted", "front"),
            labelled("unlabelled", "back"),
            pod("finished", "Succeeded"),
            widget("absent.example.com", "unserved"),
            definition(&brought),
            widget(&brought, "brought"),
            object(
                "secrets",
                json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"namespace": "src", "name": "s"}}),
            ),
            config_map("other", "elsewhere"),
        ]),
    );
    let spec = json!({
        "backupName": "plan", "namespaceMapping": {"src": target}, "includedNamespaces": ["src"],
        "excludedResources": ["secrets"], "includeClusterResources": true,
        "labelSelector": {"matchLabels": {"tier": "front"}},
    });
    let preview = bench.preview(spec.clone(), Depth::Plan).await;
    let expected = [
        ("brought", "create"),
        ("elsewhere", "filtered"),
        ("finished", "skip"),
        ("s", "filtered"),
        ("src", "filtered"),
        ("unlabelled", "filtered"),
        ("unserved", "not served"),
        ("wanted", "create"),
    ];
    let definition = format!("widgets.{brought}");
    let mut expected: BTreeMap<&str, &str> = expected.into();
    expected.insert(&definition, "create");
    assert_eq!(words(&preview), expected);
    let namespaces: Vec<_> =
        preview.namespaces.iter().map(|one| (&*one.name, &*one.source, &one.standing)).collect();
    assert_eq!(namespaces, [(&*target, "src", &Standing::Absent)]);
    let wanted = preview.objects.iter().find(|object| object.name == "wanted").unwrap();
    assert_eq!((wanted.namespace.as_deref(), wanted.target.as_deref()), (Some("src"), Some(&*target)));
    assert_eq!(preview.objects[0].name, definition, "definitions come first");
    assert!(!bench.namespace_exists(&target).await);

    let restored = bench.restore("rs-plan", spec).await;
    assert_eq!(restored.outcome.errors, 1, "{}", restored.results);
    let created: Vec<String> = restored.list.values().flatten().cloned().collect();
    for place in [format!("{target}/wanted(created)"), format!("{target}/brought(created)")] {
        assert!(created.contains(&place), "{created:?}");
    }
    bench.delete("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", &definition).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_object_needs_is_planned_although_it_is_filtered() {
    let bench = Bench::start().await;
    let target = bench.unused_name("needed").await;
    let (path, mut needing) = pod("needing", "Running");
    needing["spec"]["priorityClassName"] = json!("urgent");
    let class = |name: &str| {
        let class = json!({
            "apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": name}, "value": 7,
        });
        object("priorityclasses.scheduling.k8s.io", class)
    };
    bench.put_backup("needed", &archive(&[(path, needing), class("urgent"), class("unused")]));
    let spec = json!({
        "backupName": "needed", "namespaceMapping": {"src": target}, "includedNamespaces": ["src"],
    });
    let preview = bench.preview(spec, Depth::Plan).await;
    let expected = [("needing", "create"), ("unused", "filtered"), ("urgent", "create")];
    assert_eq!(words(&preview), expected.into());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_api_server_tells_what_exists_differs_conflicts_or_is_denied() {
    let bench = Bench::start().await;
    let target = bench.testbed.namespace("asked").await.unwrap();
    let api = Api::<ConfigMap>::namespaced(bench.client.clone(), &target);
    for (name, value) in [("same", "same"), ("differs", "other")] {
        let object = json!({"metadata": {"name": name}, "data": {"key": value}});
        api.create(&PostParams::default(), &serde_json::from_value(object).unwrap()).await.unwrap();
    }
    let secret = json!({"metadata": {"name": "hidden"}, "stringData": {"password": "live"}});
    let secrets = Api::<Secret>::namespaced(bench.client.clone(), &target);
    secrets.create(&PostParams::default(), &serde_json::from_value(secret).unwrap()).await.unwrap();
    deny(&bench, &target).await;
    bench.put_backup(
        "asked",
        &archive(&[
            config_map("src", "same"),
            config_map("src", "differs"),
            config_map("src", "new"),
            config_map("src", "denied"),
            config_map("src", "Not_A_Name"),
            config_map("away", "later"),
            object(
                "secrets",
                json!({
                    "apiVersion": "v1", "kind": "Secret", "type": "Opaque",
                    "metadata": {"namespace": "src", "name": "hidden"}, "data": {"password": "aHVudGVyMg=="},
                }),
            ),
        ]),
    );
    let away = format!("{target}-away");
    let mut spec = json!({"backupName": "asked", "namespaceMapping": {"src": target, "away": away}});
    let preview = bench.preview(spec.clone(), Depth::Server).await;
    let expected = [
        ("Not_A_Name", "fails"),
        ("denied", "denied"),
        ("differs", "differs"),
        ("hidden", "differs"),
        ("later", "create"),
        ("new", "create"),
        ("same", "same"),
    ];
    assert_eq!(words(&preview), expected.into());
    let fields: Vec<String> = fate(&preview, "differs").fields().iter().map(ToString::to_string).collect();
    assert_eq!(fields, [r#"data.key: "other" in the cluster, "differs" in the backup"#]);
    let hidden = format!("{:?}", fate(&preview, "hidden"));
    assert!(hidden.contains("data.password") && !hidden.contains("aHVudGVyMg"), "{hidden}");
    assert!(fate(&preview, "denied").reason().unwrap().contains("not here"));
    assert!(matches!(fate(&preview, "later"), Fate::Unchecked { reason } if reason.contains(&away)));
    assert!(api.get_opt("new").await.unwrap().is_none() && !bench.namespace_exists(&away).await);

    spec["existingResourcePolicy"] = json!("update");
    let preview = bench.preview(spec, Depth::Server).await;
    assert_eq!(words(&preview)["differs"], "update");
    assert_eq!(bench.config_map(&target, "differs").await["data"]["key"], "other");
}

/// From now on no ConfigMap `denied` can be created in the namespace.
async fn deny(bench: &Bench, namespace: &str) {
    let group = "/apis/admissionregistration.k8s.io/v1";
    let rule = json!({"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["configmaps"]});
    let selected = json!({"matchLabels": {"kubernetes.io/metadata.name": namespace}});
    let policy = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": namespace},
        "spec": {
            "matchConstraints": {"resourceRules": [rule]},
            "validations": [{"expression": "object.metadata.name != 'denied'", "message": "not here"}],
        },
    });
    let binding = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": {"name": namespace},
        "spec": {
            "policyName": namespace, "validationActions": ["Deny"],
            "matchResources": {"namespaceSelector": selected},
        },
    });
    bench.create(&format!("{group}/validatingadmissionpolicies"), &policy).await;
    bench.create(&format!("{group}/validatingadmissionpolicybindings"), &binding).await;
    let api = Api::<ConfigMap>::namespaced(bench.client.clone(), namespace);
    let probe: ConfigMap = serde_json::from_value(json!({"metadata": {"name": "denied"}})).unwrap();
    let dry = PostParams { dry_run: true, ..PostParams::default() };
    let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(60);
    while api.create(&dry, &probe).await.is_ok() {
        assert!(tokio::time::Instant::now() < deadline, "the policy does not come into force");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_annotated_restore_creates_nothing_and_writes_its_plan_into_the_results() {
    let bench = Bench::start().await;
    let target = bench.unused_name("annotated").await;
    bench.put_backup("dry", &archive(&[config_map("src", "a"), widget("absent.example.com", "unserved")]));
    let spec = json!({"backupName": "dry", "namespaceMapping": {"src": target}});
    for word in ["true", "server"] {
        let metadata = json!({
            "name": format!("rs-{word}"), "namespace": "default", "annotations": {"holdfast.dev/dry-run": word},
        });
        let restored = bench.restore_as(metadata, spec.clone()).await;
        assert!(restored.list.is_empty(), "{:?}", restored.list);
        assert_eq!((restored.outcome.items, restored.outcome.errors), (0, 1), "{}", restored.results);
        let plan = &restored.results["plan"];
        assert_eq!(plan["cluster"], json!([format!("create namespaces/{target} after src")]));
        let lines = plan["namespaces"][&target].to_string();
        assert!(lines.contains("create configmaps/a from src"), "{lines}");
        assert!(lines.contains("not served widgets.absent.example.com/unserved"), "{lines}");
        assert!(!bench.namespace_exists(&target).await);
    }
    let metadata = json!({
        "name": "rs-typo", "namespace": "default", "annotations": {"holdfast.dev/dry-run": "yes"},
    });
    let refused = bench.run_as(metadata, spec).await.unwrap_err().to_string();
    assert!(refused.contains("holdfast.dev/dry-run"), "{refused}");
    assert!(!bench.namespace_exists(&target).await);
}
