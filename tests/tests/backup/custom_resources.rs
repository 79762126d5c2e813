//! Backups of custom resources: what the cluster serves is learnt anew for every run, definitions come along,
//! and a kind that cannot be listed does not keep the others out.

use anyhow::Context;
use holdfast_tests::Testbed;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{ApiResource, DynamicObject, GroupVersionKind, PostParams};
use kube::runtime::conditions::is_crd_established;
use kube::runtime::wait::await_condition;
use kube::{Api, Client};
use pretty_assertions::assert_eq;
use serde_json::{Value, json};

use crate::runs::Bench;

/// Defines widgets in `group`, served in these versions, of which the first is stored.
pub(crate) async fn define(
    client: &Client,
    group: &str,
    versions: &[&str],
    conversion: Value,
) -> anyhow::Result<()> {
    let version = |(index, name): (usize, &&str)| {
        json!({
            "name": name, "served": true, "storage": index == 0,
            "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}},
        })
    };
    let versions: Vec<Value> = versions.iter().enumerate().map(version).collect();
    let name = format!("widgets.{group}");
    let definition: CustomResourceDefinition = serde_json::from_value(json!({
        "metadata": {"name": name},
        "spec": {
            "group": group, "scope": "Namespaced", "versions": versions, "conversion": conversion,
            "names": {"kind": "Widget", "plural": "widgets", "singular": "widget", "listKind": "WidgetList"},
        },
    }))?;
    let definitions = Api::<CustomResourceDefinition>::all(client.clone());
    definitions.create(&PostParams::default(), &definition).await.context("creating the definition")?;
    await_condition(definitions, &name, is_crd_established()).await.context("waiting for the definition")?;
    Ok(())
}

pub(crate) async fn create_widget(client: &Client, group: &str, namespace: &str) -> anyhow::Result<()> {
    let resource =
        ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, "v1", "Widget"), "widgets");
    let widgets = Api::<DynamicObject>::namespaced_with(client.clone(), namespace, &resource);
    let widget = DynamicObject::new("w1", &resource);
    widgets.create(&PostParams::default(), &widget).await.context("creating a widget")?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kind_defined_a_moment_ago_is_part_of_the_next_backup_with_its_definition() {
    let testbed = Testbed::shared().await.unwrap();
    let _logs = testbed.logs_on_panic();
    let client = testbed.client().unwrap();
    let namespace = testbed.namespace("fresh").await.unwrap();
    let bench = Bench::new(testbed).await.unwrap();
    let spec = json!({"includedNamespaces": [namespace]});
    let before = bench.run("before", spec.clone()).await.unwrap().items().unwrap();
    define(&client, "fresh.example.org", &["v1"], json!({"strategy": "None"})).await.unwrap();
    create_widget(&client, "fresh.example.org", &namespace).await.unwrap();

    let mut after = bench.run("after", spec).await.unwrap().items().unwrap();
    after.retain(|item| !before.contains(item) && !item.starts_with("events"));
    assert_eq!(
        after,
        [
            format!("widgets.fresh.example.org {namespace}/w1"),
            "customresourcedefinitions.apiextensions.k8s.io widgets.fresh.example.org".to_owned(),
        ]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kind_that_cannot_be_listed_is_an_error_and_the_rest_goes_on() {
    let testbed = Testbed::start().await.unwrap();
    let client = testbed.client().unwrap();
    let namespace = testbed.namespace("broken").await.unwrap();
    let webhook = json!({
        "strategy": "Webhook",
        "webhook": {
            "conversionReviewVersions": ["v1"],
            "clientConfig": {"service": {"namespace": "default", "name": "absent"}},
        },
    });
    // Objects are stored as v1, and v2 is what the API server prefers: nobody is there to convert them.
    define(&client, "broken.example.org", &["v1", "v2"], webhook).await.unwrap();
    create_widget(&client, "broken.example.org", &namespace).await.unwrap();

    let bench = Bench::new(&testbed).await.unwrap();
    let ran = bench.run("broken", json!({"includedNamespaces": [namespace]})).await.unwrap();
    assert_eq!(ran.outcome.errors, 1);
    let results = ran.json("results.gz").unwrap();
    let told = results["errors"]["namespaces"][&namespace][0].as_str().unwrap();
    assert!(told.starts_with(" resource: /widgets message: /Error listing items error: /"), "{told}");
    let items = ran.items().unwrap();
    assert!(items.contains(&format!("configmaps {namespace}/kube-root-ca.crt")), "{items:?}");
    assert!(!items.iter().any(|item| item.contains("widgets")), "{items:?}");
}
