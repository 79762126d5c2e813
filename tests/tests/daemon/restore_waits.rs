//! A daemon that is killed while a restore waits for somebody else: for the API server to take a definition, and for a
//! webhook's service to answer. The next daemon waits on, and what follows is restored.

use std::collections::{BTreeMap, BTreeSet};

use holdfast_policy::velero::{Restore, RestorePhase, RestoreSpec};
use holdfast_tests::restores::{archive, config_map, namespace, object};
use k8s_openapi::api::admissionregistration::v1::ValidatingWebhookConfiguration;
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::Api;
use kube::api::{DeleteParams, PostParams};
use kube::runtime::wait::{await_condition, conditions};
use pretty_assertions::assert_eq;
use serde_json::{Value, json};

use crate::archives::backup;
use crate::home::{Home, PATIENCE};

fn mapped(targets: &[(&str, &str)]) -> RestoreSpec {
    RestoreSpec {
        backup_name: Some("one".to_owned()),
        namespace_mapping: targets
            .iter()
            .map(|(source, target)| ((*source).to_owned(), (*target).to_owned()))
            .collect(),
        ..RestoreSpec::default()
    }
}

fn phase(restore: &Restore) -> RestorePhase {
    restore.status_phase()
}

async fn ended(home: &Home, name: &str) -> anyhow::Result<Restore> {
    home.runs.ended(name, PATIENCE, |restore: &Restore| phase(restore).has_ended()).await
}

/// What the restore's list says, without the kinds.
fn listed(home: &Home, restore: &str) -> anyhow::Result<BTreeSet<String>> {
    let path = home.bucket().join(format!("restores/{restore}/restore-{restore}-resource-list.json.gz"));
    let list: BTreeMap<String, Vec<String>> = holdfast::archive::gunzip_json(&std::fs::read(path)?, 1 << 24)?;
    Ok(list.into_values().flatten().collect())
}

fn definition(group: &str, plural: &str, singular: &str) -> Value {
    let schema = json!({"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}});
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("{plural}.{group}")},
        "spec": {
            "group": group, "scope": "Namespaced",
            "names": {"plural": plural, "singular": singular, "kind": "Boat", "listKind": format!("{plural}List")},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": schema}],
        },
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_killed_while_a_definition_is_not_taken_yet_waits_for_it_again() -> anyhow::Result<()> {
    let home = Home::new("killed-crd").await?;
    let client = home.testbed.client()?;
    let definitions = Api::<CustomResourceDefinition>::all(client.clone());
    let group = format!("{}.example.com", home.namespace);
    // Its kind is taken: the restored definition is established only once this one is gone.
    let holder = serde_json::from_value(definition(&group, "boats", "boat"))?;
    definitions.create(&PostParams::default(), &holder).await?;
    let holder = format!("boats.{group}");
    let held = await_condition(definitions.clone(), &holder, conditions::is_crd_established());
    tokio::time::timeout(PATIENCE, held).await??;

    let daemon = home.daemon(&[]).await?;
    home.local_location().await?;
    let target = format!("{}-r", home.namespace);
    let ship = json!({
        "apiVersion": format!("{group}/v1"), "kind": "Boat", "metadata": {"namespace": "src", "name": "ava"},
    });
    let entries = [
        object("customresourcedefinitions.apiextensions.k8s.io", definition(&group, "ships", "ship")),
        object(&format!("ships.{group}"), ship),
        config_map("src", "a"),
    ];
    backup(&home, "one", &archive(&entries)).await?;
    home.runs.create(&Restore::new("back", mapped(&[("src", &target)]))).await?;
    let restored = format!("ships.{group}");
    let refused = |definition: Option<&CustomResourceDefinition>| {
        let status = definition.and_then(|definition| definition.status.as_ref());
        let conditions = status.and_then(|status| status.conditions.as_ref()).into_iter().flatten();
        conditions.into_iter().any(|it| it.type_ == "NamesAccepted" && it.status == "False")
    };
    tokio::time::timeout(PATIENCE, await_condition(definitions.clone(), &restored, refused)).await??;
    daemon.kill()?;
    assert_eq!(phase(&home.runs.api::<Restore>().get("back").await?), RestorePhase::InProgress);

    let _daemon = home.daemon(&[]).await?;
    definitions.delete(&holder, &DeleteParams::default()).await?;
    let restore = ended(&home, "back").await?;
    assert_eq!(phase(&restore), RestorePhase::Completed, "{:?}", restore.status);
    let lines = [
        format!("{restored}(created)"),
        format!("{target}(created)"),
        format!("{target}/a(created)"),
        format!("{target}/ava(created)"),
    ];
    assert_eq!(listed(&home, "back")?, lines.into());
    definitions.delete(&restored, &DeleteParams::default()).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_killed_while_a_webhook_does_not_answer_yet_waits_for_it_again() -> anyhow::Result<()> {
    let home = Home::new("killed-webhook").await?;
    let client = home.testbed.client()?;
    let target = format!("{}-r", home.namespace);
    let shop = format!("{target}-shop");
    // It is in fact asked about nothing: no object has its label.
    let guard = json!({
        "metadata": {"name": target},
        "webhooks": [{
            "name": "guard.example.com", "sideEffects": "None", "admissionReviewVersions": ["v1"],
            "clientConfig": {"service": {"namespace": target, "name": "guard"}},
            "objectSelector": {"matchLabels": {"guarded-in": target}},
            "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["configmaps"]}],
        }],
    });
    let configurations = Api::<ValidatingWebhookConfiguration>::all(client.clone());
    configurations.create(&PostParams::default(), &serde_json::from_value(guard)?).await?;

    let daemon = home.daemon(&[]).await?;
    home.local_location().await?;
    let labels = json!({"app": "guard"});
    let entries = [
        namespace("hooks"),
        namespace("shop"),
        config_map("shop", "guarded"),
        object(
            "services",
            json!({
                "apiVersion": "v1", "kind": "Service", "metadata": {"namespace": "hooks", "name": "guard"},
                "spec": {"ports": [{"port": 443}], "selector": labels},
            }),
        ),
        object(
            "deployments.apps",
            json!({
                "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"namespace": "hooks", "name": "guard"},
                "spec": {
                    "replicas": 0, "selector": {"matchLabels": labels},
                    "template": {
                        "metadata": {"labels": labels},
                        "spec": {"containers": [{"name": "main", "image": "none"}]},
                    },
                },
            }),
        ),
    ];
    backup(&home, "one", &archive(&entries)).await?;
    home.runs.create(&Restore::new("back", mapped(&[("hooks", &target), ("shop", &shop)]))).await?;
    let services = Api::<Service>::namespaced(client.clone(), &target);
    let there = await_condition(services, "guard", |service: Option<&Service>| service.is_some());
    tokio::time::timeout(PATIENCE, there).await??;
    daemon.kill()?;
    assert_eq!(phase(&home.runs.api::<Restore>().get("back").await?), RestorePhase::InProgress);
    assert!(home.config_maps(&shop)?.get_opt("guarded").await?.is_none());

    let _daemon = home.daemon(&[]).await?;
    let slice = json!({
        "metadata": {"name": "guard-ready", "labels": {"kubernetes.io/service-name": "guard"}},
        "addressType": "IPv4",
        "endpoints": [{"addresses": ["10.9.8.7"], "conditions": {"ready": true}}],
    });
    let slices = Api::<EndpointSlice>::namespaced(client.clone(), &target);
    slices.create(&PostParams::default(), &serde_json::from_value(slice)?).await?;
    let restore = ended(&home, "back").await?;
    assert_eq!(phase(&restore), RestorePhase::Completed, "{:?}", restore.status);
    let lines = [
        format!("{shop}(created)"),
        format!("{shop}/guarded(created)"),
        format!("{target}(created)"),
        format!("{target}/guard(created)"),
    ];
    assert_eq!(listed(&home, "back")?, lines.into());
    configurations.delete(&target, &DeleteParams::default()).await?;
    Ok(())
}
