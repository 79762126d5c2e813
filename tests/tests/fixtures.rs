//! The fixtures load into a real cluster, and are what they claim to be.

use std::collections::BTreeSet;

use holdfast_tests::fixtures::{SampleApplication, sample_cluster, velero_bucket};
use holdfast_tests::{S3Server, Testbed};
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Secret, Service};
use kube::api::{DynamicObject, ListParams};
use kube::core::GroupVersionKind;
use kube::{Api, ResourceExt};

#[tokio::test]
async fn the_sample_application_fits_twice_into_a_cluster() {
    let testbed = Testbed::shared().await.unwrap();
    let _logs = testbed.logs_on_panic();
    let client = testbed.client().unwrap();
    let first = SampleApplication::load().unwrap();
    let second =
        SampleApplication::in_namespaces(["other-shop".to_owned(), "other-warehouse".to_owned()]).unwrap();
    first.apply(&client).await.unwrap();
    second.apply(&client).await.unwrap();
    second.apply(&client).await.unwrap();
    for namespace in ["shop", "other-shop"] {
        let kind = GroupVersionKind::gvk("shop.example.com", "v1", "Gadget");
        let (gadgets, _) = kube::discovery::pinned_kind(&client, &kind).await.unwrap();
        let gadgets = Api::<DynamicObject>::namespaced_with(client.clone(), namespace, &gadgets);
        let names: BTreeSet<String> =
            gadgets.list(&ListParams::default()).await.unwrap().iter().map(ResourceExt::name_any).collect();
        assert_eq!(names, BTreeSet::from(["chair".to_owned(), "lamp".to_owned()]));
    }
}

#[tokio::test]
async fn the_sample_cluster_loads_into_an_empty_control_plane() {
    let testbed = Testbed::start().await.unwrap();
    let client = testbed.client().unwrap();
    let created = sample_cluster::load(&client).await.unwrap();
    assert_eq!(created, 80);

    let config_maps = Api::<ConfigMap>::namespaced(client.clone(), "shop");
    let greeting = config_maps.get("app-config").await.unwrap().data.unwrap()["greeting"].clone();
    assert_eq!(greeting, "Grüße aus Köln – 世界 🌍 <b>&amp;</b>");
    let runner = Api::<Pod>::namespaced(client.clone(), "shop").get("runner").await.unwrap();
    assert_eq!(runner.status.unwrap().phase.as_deref(), Some("Running"));
    let balanced = Api::<Service>::namespaced(client.clone(), "shop").get("lb").await.unwrap();
    let addresses = balanced.status.unwrap().load_balancer.unwrap().ingress;
    assert_eq!(addresses.as_deref().unwrap_or_default()[0].ip.as_deref(), Some("192.0.2.10"));
    let token = Api::<Secret>::namespaced(client, "shop").get_opt("robot-token-abc12").await.unwrap();
    assert!(token.is_some(), "the token controller has taken the secret for a stranger's");
}

#[tokio::test]
async fn the_velero_bucket_is_served_by_the_s3_server() {
    let server = S3Server::start().await.unwrap();
    velero_bucket::copy_into(&server.root().join("velero")).unwrap();
    let backups = std::fs::read_dir(server.root().join("velero/backups")).unwrap();
    let backups: BTreeSet<String> =
        backups.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    assert_eq!(backups.len(), 18);
    for backup in &backups {
        assert!(!velero_bucket::items(backup).unwrap().is_empty(), "{backup}");
    }
    assert_eq!(velero_bucket::items("gold-ns").unwrap().len(), 101);
    assert_eq!(velero_bucket::labelled_objects("rs-filter").unwrap().len(), 5);
    assert!(velero_bucket::resource_list("rs-filter").unwrap().is_object());
    assert!(velero_bucket::results("rs-filter").unwrap().is_object());
}
