//! Annotations by which an object says what becomes of it.

use holdfast_tests::Testbed;
use k8s_openapi::api::core::v1::{ConfigMap, PersistentVolumeClaim, Pod, ServiceAccount};
use kube::Api;
use pretty_assertions::assert_eq;
use serde_json::json;

use crate::files::create;
use crate::runs::Bench;

#[tokio::test(flavor = "multi_thread")]
async fn an_object_may_be_skipped_or_bring_along_what_the_filters_leave_out() {
    let testbed = Testbed::shared().await.unwrap();
    let _logs = testbed.logs_on_panic();
    let client = testbed.client().unwrap();
    let ns = testbed.namespace("control").await.unwrap();
    let skip = json!({"velero.io/skip-from-backup": "whatever"});
    let accounts = Api::<ServiceAccount>::namespaced(client.clone(), &ns);
    create(&accounts, json!({"metadata": {"name": "skipped", "annotations": skip}})).await.unwrap();
    // Only what goes through an action is asked.
    let config_maps = Api::<ConfigMap>::namespaced(client.clone(), &ns);
    create(&config_maps, json!({"metadata": {"name": "plain", "annotations": skip}})).await.unwrap();

    let claims = Api::<PersistentVolumeClaim>::namespaced(client.clone(), &ns);
    let pods = Api::<Pod>::namespaced(client, &ns);
    let must_include = json!({"backup.velero.io/must-include-additional-items": "true"});
    for (name, annotations) in [("eager", must_include), ("modest", json!({}))] {
        let claim = json!({
            "metadata": {"name": name, "labels": {"velero.io/exclude-from-backup": "true"}},
            "spec": {
                "accessModes": ["ReadWriteOnce"], "storageClassName": "",
                "resources": {"requests": {"storage": "1Gi"}},
            },
        });
        create(&claims, claim).await.unwrap();
        let pod = json!({
            "metadata": {"name": name, "annotations": annotations},
            "spec": {
                "automountServiceAccountToken": false,
                "containers": [{"name": "main", "image": "none"}],
                "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": name}}],
            },
        });
        create(&pods, pod).await.unwrap();
    }
    let kinds = ["pods", "serviceaccounts", "configmaps"];
    let spec = json!({"includedNamespaces": [ns], "includedNamespaceScopedResources": kinds});
    let bench = Bench::new(testbed).await.unwrap();
    let ran = bench.run("control", spec).await.unwrap();
    let mut items = ran.items().unwrap();
    items.sort();
    let expected = [
        format!("configmaps {ns}/kube-root-ca.crt"),
        format!("configmaps {ns}/plain"),
        format!("namespaces {ns}"),
        format!("persistentvolumeclaims {ns}/eager"),
        format!("pods {ns}/eager"),
        format!("pods {ns}/modest"),
        format!("serviceaccounts {ns}/default"),
    ];
    assert_eq!(items, expected);
    assert_eq!(ran.outcome.items, expected.len() as u64, "what is skipped is not counted");
    let listed = ran.json("resource-list.json.gz").unwrap();
    assert_eq!(listed["v1/ServiceAccount"], json!([format!("{ns}/default")]));
    assert_eq!((ran.outcome.errors, ran.outcome.warnings), (0, 0));
}
