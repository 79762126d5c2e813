//! What a restore changes in objects on their way: names that users map, and what would otherwise point at where they
//! came from.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use holdfast_policy::annotations::REMAP;
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
