//! What a restore changes in objects on their way: names that users map, and what would otherwise point at where they
//! came from.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use holdfast_policy::annotations::{OWNER_REFERENCES, REMAP};
use holdfast_tests::restores::{Bench, archive, config_map, object};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use kube::api::PostParams;
use pretty_assertions::assert_eq;
use serde_json::{Value, json};

/// A namespace of one's own to keep the ConfigMaps of item actions in.
async fn home_with(bench: &Bench, prefix: &str, configs: &[(&str, &str, Value)]) -> String {
    let home = bench.testbed.namespace(prefix).await.unwrap();
    let config_maps = Api::<ConfigMap>::namespaced(bench.client.clone(), &home);
    for (name, action, data) in configs {
        let config_map = serde_json::from_value(json!({
            "metadata": {
                "name": name, "labels": {"velero.io/plugin-config": "", *action: "RestoreItemAction"},
            },
            "data": data,
        }))
        .unwrap();
        config_maps.create(&PostParams::default(), &config_map).await.unwrap();
    }
    home
}

fn deployment(name: &str, image: &str) -> (String, Value) {
    object(
        "deployments.apps",
        json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"namespace": "src", "name": name},
            "spec": {
                "replicas": 0, "selector": {"matchLabels": {"app": name}},
                "template": {
                    "metadata": {"labels": {"app": name}},
                    "spec": {
                        "containers": [{"name": "main", "image": image}],
                        "nodeSelector": {"kubernetes.io/hostname": "n1"},
                    },
                },
            },
        }),
    )
}

fn claim(name: &str, class: &str) -> (String, Value) {
    object(
        "persistentvolumeclaims",
        json!({
            "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"namespace": "src", "name": name},
            "spec": {
                "storageClassName": class, "accessModes": ["ReadWriteOnce"],
                "resources": {"requests": {"storage": "1Mi"}},
            },
        }),
    )
}

fn storage_class(name: &str) -> (String, Value) {
    let class = json!({
        "apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": {"name": name},
        "provisioner": "example.com/none",
    });
    object("storageclasses.storage.k8s.io", class)
}

#[tokio::test(flavor = "multi_thread")]
async fn images_classes_and_nodes_follow_the_restore_s_own_names_and_then_the_config_maps() {
    let bench = Bench::start().await;
    let target = bench.unused_name("names").await;
    let configs = [
        (
            "images",
            "velero.io/change-image-name",
            json!({"any": "old.example/,plugin.example/", "b": "other/,plugin/"}),
        ),
        (
            "classes",
            "velero.io/change-storage-class",
            json!({"slow": format!("{target}-plugin"), "gone": "nowhere"}),
        ),
    ];
    let home = home_with(&bench, "names-home", &configs).await;
    // Without the other label it configures nothing.
    let stray = json!({
        "metadata": {"name": "stray", "labels": {"velero.io/change-image-name": "RestoreItemAction"}},
        "data": {"a": "old.example/,stray/"},
    });
    let config_maps = Api::<ConfigMap>::namespaced(bench.client.clone(), &home);
    config_maps.create(&PostParams::default(), &serde_json::from_value(stray).unwrap()).await.unwrap();
    let [own_class, plugin_class] = ["own", "plugin"].map(|suffix| format!("{target}-{suffix}"));
    bench.put_backup(
        "names",
        &archive(&[
            storage_class(&own_class),
            storage_class(&plugin_class),
            deployment("own", "old.example/app:1"),
            deployment("plugin", "other/app:1"),
            claim("own", "cold"),
            claim("plugin", "slow"),
            claim("nowhere", "gone"),
        ]),
    );
    let remap = json!({
        "images": {"old.example/": "new.example/"}, "nodes": {"n1": "n2"}, "storageClasses": {"cold": own_class},
    });
    let metadata = json!({"name": "rs-names", "namespace": home, "annotations": {REMAP: remap.to_string()}});
    let spec = json!({"backupName": "names", "namespaceMapping": {"src": target}});
    let restored = bench.restore_as(metadata, spec).await;

    for (name, image) in [("own", "new.example/app:1"), ("plugin", "plugin/app:1")] {
        let path = format!("/apis/apps/v1/namespaces/{target}/deployments/{name}");
        let pod = bench.get(&path).await["spec"]["template"]["spec"].clone();
        assert_eq!(pod["containers"][0]["image"], image);
        assert_eq!(pod["nodeSelector"], json!({"kubernetes.io/hostname": "n2"}));
    }
    for (name, class) in [("own", own_class), ("plugin", plugin_class)] {
        let path = format!("/api/v1/namespaces/{target}/persistentvolumeclaims/{name}");
        assert_eq!(bench.get(&path).await["spec"]["storageClassName"], class);
    }
    assert_eq!(
        restored.results["errors"]["namespaces"][&target],
        json!([format!(
            "error preparing persistentvolumeclaims/{target}/nowhere: velero.io/change-storage-class: storage \
             class nowhere that gone is mapped to does not exist"
        )])
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn two_config_maps_for_one_action_are_an_error_of_every_object_that_it_touches() {
    let bench = Bench::start().await;
    let target = bench.unused_name("twice").await;
    let config = |name| (name, "velero.io/change-image-name", json!({"a": "b,c"}));
    let home = home_with(&bench, "twice-home", &[config("one"), config("two")]).await;
    bench.put_backup(
        "twice",
        &archive(&[deployment("a", "x"), deployment("b", "x"), config_map("src", "untouched")]),
    );
    let metadata = json!({"name": "rs-twice", "namespace": home});
    let spec = json!({"backupName": "twice", "namespaceMapping": {"src": target}});
    let restored = bench.restore_as(metadata, spec).await;
    assert_eq!(restored.outcome.errors, 2, "{:#}", restored.results);
    assert_eq!(
        restored.list["apps/v1/Deployment"],
        ["a", "b"].map(|name| format!("{target}/{name}(failed)"))
    );
    assert_eq!(restored.list["v1/ConfigMap"], [format!("{target}/untouched(created)")]);
    let errors = restored.results["errors"]["namespaces"][&target].to_string();
    assert!(
        errors.contains("more than one ConfigMap configures velero.io/change-image-name: one, two"),
        "{errors}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn annotations_that_can_t_be_read_fail_the_restore_before_anything_is_created() {
    let bench = Bench::start().await;
    let target = bench.unused_name("unreadable").await;
    bench.put_backup("unreadable", &archive(&[config_map("src", "a")]));
    let metadata = json!({"name": "rs", "namespace": "default", "annotations": {REMAP: "{\"imges\": {}}"}});
    let spec = json!({"backupName": "unreadable", "namespaceMapping": {"src": target}});
    let refused = bench.run_as(metadata, spec).await.unwrap_err();
    assert!(refused.to_string().contains("annotation holdfast.dev/remap can't be read"), "{refused}");
    assert!(!bench.namespace_exists(&target).await);
}

fn secret(name: &str, metadata: Value, data: Value) -> (String, Value) {
    let mut secret = json!({
        "apiVersion": "v1", "kind": "Secret", "type": "Opaque", "metadata": metadata, "stringData": data,
    });
    secret["metadata"]["namespace"] = json!("src");
    secret["metadata"]["name"] = json!(name);
    object("secrets", secret)
}

#[tokio::test(flavor = "multi_thread")]
async fn references_follow_their_namespaces_and_what_still_names_the_old_one_is_listed() {
    let bench = Bench::start().await;
    let target = bench.unused_name("moved").await;
    let policy = json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
        "metadata": {"namespace": "src", "name": "peers"},
        "spec": {"podSelector": {}, "ingress": [{"from": [{
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "src"}},
        }]}]},
    });
    let binding = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
        "metadata": {"namespace": "src", "name": "robots"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "src"},
        "subjects": [
            {"kind": "ServiceAccount", "namespace": "src", "name": "robot"},
            {"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "system:serviceaccount:src:robot"},
            {"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": "system:serviceaccounts:src"},
        ],
    });
    let webhook = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration",
        "metadata": {"name": target},
        "webhooks": [{
            "name": "nobody.example.com", "sideEffects": "None", "admissionReviewVersions": ["v1"],
            "failurePolicy": "Ignore",
            "rules": [{"apiGroups": ["nothing.example.com"], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["nothings"]}],
            "clientConfig": {"service": {"namespace": "src", "name": "hook"}},
            "namespaceSelector": {"matchExpressions": [
                {"key": "kubernetes.io/metadata.name", "operator": "In", "values": ["src", "other"]},
            ]},
        }],
    });
    let mut settings = config_map("src", "settings");
    settings.1["data"] =
        json!({"database": "db.src.svc.cluster.local:5432", "title": "src", "namespace": "src"});
    bench.put_backup(
        "moved",
        &archive(&[
            object("networkpolicies.networking.k8s.io", policy),
            object("rolebindings.rbac.authorization.k8s.io", binding),
            object("validatingwebhookconfigurations.admissionregistration.k8s.io", webhook),
            settings,
            config_map("src", "clean"),
        ]),
    );
    let spec = json!({"backupName": "moved", "namespaceMapping": {"src": target}});
    let restored = bench.restore("rs-moved", spec.clone()).await;

    let networking = format!("/apis/networking.k8s.io/v1/namespaces/{target}/networkpolicies/peers");
    assert_eq!(
        bench.get(&networking).await["spec"]["ingress"][0]["from"][0]["namespaceSelector"]["matchLabels"],
        json!({"kubernetes.io/metadata.name": target})
    );
    let rbac = format!("/apis/rbac.authorization.k8s.io/v1/namespaces/{target}/rolebindings/robots");
    let subjects = bench.get(&rbac).await["subjects"].clone();
    assert_eq!(subjects[0]["namespace"], json!(target));
    assert_eq!(subjects[1]["name"], json!(format!("system:serviceaccount:{target}:robot")));
    assert_eq!(subjects[2]["name"], json!(format!("system:serviceaccounts:{target}")));
    let hooks = format!("/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations/{target}");
    let webhook = bench.get(&hooks).await["webhooks"][0].clone();
    assert_eq!(webhook["clientConfig"]["service"]["namespace"], json!(target));
    assert_eq!(webhook["namespaceSelector"]["matchExpressions"][0]["values"], json!([target, "other"]));

    let told = format!(
        "configmaps/{target}/settings still names what was mapped to another namespace: src: data.database \
         (db.src.svc.cluster.local), data.namespace"
    );
    assert_eq!(restored.results, json!({"errors": {}, "warnings": {"namespaces": {&target: [told]}}}));
    let again = bench.restore("rs-moved-again", spec).await;
    assert!(!again.results.to_string().contains("still names"), "{:#}", again.results);
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_that_still_name_an_old_namespace_are_counted_beyond_a_hundred() {
    let bench = Bench::start().await;
    let target = bench.unused_name("many").await;
    let objects: Vec<_> = (0..103)
        .map(|number| {
            let mut settings = config_map("src", &format!("c{number}"));
            settings.1["data"] = json!({"host": "db.src.svc"});
            settings
        })
        .collect();
    bench.put_backup("many", &archive(&objects));
    let restored =
        bench.restore("rs-many", json!({"backupName": "many", "namespaceMapping": {"src": target}})).await;
    assert_eq!(restored.results["warnings"]["namespaces"][&target].as_array().unwrap().len(), 100);
    assert_eq!(
        restored.results["warnings"]["velero"],
        json!(["3 more objects still name namespaces that were mapped: they are in the log"])
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn owners_that_are_restored_too_own_again_where_that_is_asked_for() {
    let bench = Bench::start().await;
    let target = bench.unused_name("owned").await;
    let owner = |name: &str| json!({"apiVersion": "v1", "kind": "ConfigMap", "name": name, "uid": "old"});
    let references = json!({"ownerReferences": [owner("parent"), owner("absent")]});
    bench.put_backup(
        "owned",
        &archive(&[
            config_map("src", "parent"),
            secret("child", references, json!({})),
            secret("orphan", json!({"ownerReferences": [owner("absent")]}), json!({})),
        ]),
    );
    let owners = async |namespace: &str, name: &str| {
        let path = format!("/api/v1/namespaces/{namespace}/secrets/{name}");
        bench.get(&path).await["metadata"]["ownerReferences"].clone()
    };
    for (wish, suffix) in [("remap", "remap"), ("drop", "drop"), ("", "unset")] {
        let namespace = format!("{target}-{suffix}");
        let annotations = if wish.is_empty() { json!({}) } else { json!({OWNER_REFERENCES: wish}) };
        let metadata =
            json!({"name": format!("rs-owned-{suffix}"), "namespace": "default", "annotations": annotations});
        let spec = json!({"backupName": "owned", "namespaceMapping": {"src": namespace}});
        let restored = bench.restore_as(metadata, spec).await;
        assert_eq!(restored.results, json!({"errors": {}, "warnings": {}}));
        let parent = bench.config_map(&namespace, "parent").await;
        let mut expected = owner("parent");
        expected["uid"] = parent["metadata"]["uid"].clone();
        let expected = if wish == "remap" { json!([expected]) } else { json!(null) };
        assert_eq!(owners(&namespace, "child").await, expected, "{suffix}");
        assert_eq!(owners(&namespace, "orphan").await, json!(null), "{suffix}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_that_were_there_before_get_no_owners() {
    let bench = Bench::start().await;
    let target = bench.unused_name("theirs").await;
    let owner = json!({"apiVersion": "v1", "kind": "ConfigMap", "name": "parent", "uid": "old"});
    let child = secret("child", json!({"ownerReferences": [owner]}), json!({}));
    bench.put_backup("theirs", &archive(&[config_map("src", "parent"), child]));
    let spec = json!({"backupName": "theirs", "namespaceMapping": {"src": target}});
    bench.restore("rs-theirs-before", spec.clone()).await;
    let metadata =
        json!({"name": "rs-theirs", "namespace": "default", "annotations": {OWNER_REFERENCES: "remap"}});
    let restored = bench.restore_as(metadata, spec).await;
    assert_eq!(restored.list["v1/Secret"], [format!("{target}/child(skipped)")]);
    let path = format!("/api/v1/namespaces/{target}/secrets/child");
    assert_eq!(bench.get(&path).await["metadata"].get("ownerReferences"), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_that_is_taken_up_again_gives_owners_to_what_it_had_made_before() {
    let bench = Bench::start().await;
    let target = bench.unused_name("taken-up").await;
    let owner = json!({"apiVersion": "v1", "kind": "ConfigMap", "name": "parent", "uid": "old"});
    let child = secret("child", json!({"ownerReferences": [owner]}), json!({}));
    bench.put_backup("taken-up", &archive(&[config_map("src", "parent"), child]));
    let spec = json!({"backupName": "taken-up", "namespaceMapping": {"src": target}});
    // As far as the first attempt had come: its objects are there, their owners are not set yet.
    bench.restore("rs-taken-up", spec.clone()).await;
    let metadata =
        json!({"name": "rs-taken-up", "namespace": "default", "annotations": {OWNER_REFERENCES: "remap"}});
    bench.restore_as(metadata, spec).await;
    let child = bench.get(&format!("/api/v1/namespaces/{target}/secrets/child")).await;
    let parent = bench.config_map(&target, "parent").await;
    assert_eq!(child["metadata"]["ownerReferences"][0]["uid"], parent["metadata"]["uid"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_object_must_have_beside_it_comes_along_although_it_is_excluded() {
    let bench = Bench::start().await;
    let target = bench.unused_name("beside").await;
    let pod = |name: &str, annotations: Value| {
        let pod = json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"namespace": "src", "name": name, "annotations": annotations},
            "spec": {
                "automountServiceAccountToken": false,
                "containers": [{"name": "main", "image": "x"}],
                "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": name}}],
            },
        });
        object("pods", pod)
    };
    let must = json!({"restore.velero.io/must-include-additional-items": "true"});
    let entries =
        [pod("must", must), pod("may", json!({"note": "x"})), claim("must", "none"), claim("may", "none")];
    bench.put_backup("beside", &archive(&entries));
    let spec = json!({
        "backupName": "beside", "namespaceMapping": {"src": target},
        "excludedResources": ["persistentvolumeclaims"],
    });
    let restored = bench.restore("rs-beside", spec).await;
    assert_eq!(
        restored.list["v1/PersistentVolumeClaim"],
        [format!("{target}/must(created)")],
        "{:#}",
        restored.results
    );
    let pod = bench.get(&format!("/api/v1/namespaces/{target}/pods/must")).await;
    assert_eq!(pod["metadata"].get("annotations"), None);
}
