//! Policies in ConfigMaps.

use anyhow::Context as _;
use holdfast_tests::Testbed;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams};
use pretty_assertions::assert_eq;
use serde_json::json;

use crate::stage::{IN_FORCE, SOON, Stage, policy};

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_of_a_config_map_is_in_force_within_two_seconds() -> anyhow::Result<()> {
    let mut stage = Stage::set(&[], &[("dir.yaml", policy("dir", "0 9 * * *"))]).await?;
    let maps: Api<ConfigMap> = Api::namespaced(stage.client.clone(), &stage.namespace);
    let map = |name: &str, text: String| {
        serde_json::from_value::<ConfigMap>(json!({
            "metadata": {"name": name, "labels": {"holdfast.dev/policies": "true"}},
            "data": {"policy.yaml": text},
        }))
    };
    maps.create(&PostParams::default(), &map("one", policy("one", "0 1 * * *"))?).await?;
    maps.create(&PostParams::default(), &map("two", policy("two", "0 2 * * *"))?).await?;
    stage.daemon.take().context("a daemon")?.stop().await?;
    stage.start(&["--policy-selector=holdfast.dev/policies=true"]).await?;
    let published = |one: &str| {
        vec![
            "dir-nightly 0 9 * * *".to_owned(),
            format!("one-nightly {one}"),
            "two-nightly 0 2 * * *".to_owned(),
        ]
    };
    let texts = published("0 1 * * *");
    stage.becomes(&texts.iter().map(String::as_str).collect::<Vec<_>>(), SOON).await?;

    let edit = json!({"data": {"policy.yaml": policy("one", "0 5 * * *")}});
    maps.patch("one", &PatchParams::default(), &Patch::Merge(edit)).await?;
    let texts = published("0 5 * * *");
    stage.becomes(&texts.iter().map(String::as_str).collect::<Vec<_>>(), IN_FORCE).await?;

    let bad = json!({"data": {"policy.yaml": "kind: Nonsense\n"}});
    maps.patch("two", &PatchParams::default(), &Patch::Merge(bad)).await?;
    let name = format!("configmaps.{}", stage.namespace);
    stage.condition(&name, "Stalled", "True Invalid").await?;
    assert_eq!(stage.published().await?, texts);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn policies_of_another_namespace_select_only_that_namespace() -> anyhow::Result<()> {
    let testbed = Testbed::shared().await?;
    let shop = testbed.namespace("shop").await?;
    let maps: Api<ConfigMap> = Api::namespaced(testbed.client()?, &shop);
    let policy = |namespace: &str| policy("own", "0 1 * * *").replace("[shop]", &format!("[{namespace}]"));
    let map = |text: String| json!({"metadata": {"name": "policies"}, "data": {"policy.yaml": text}});
    let created: ConfigMap = serde_json::from_value(map(policy("kube-system")))?;
    maps.create(&PostParams::default(), &created).await?;
    let argument = format!("--policy-configmap=tenant={shop}/policies");
    let stage = Stage::set(&[&argument], &[]).await?;
    let set = stage.condition("tenant", "Stalled", "True Invalid").await?;
    let problem = &set.status.unwrap_or_default().problems[0];
    assert_eq!(problem.rule, "untrusted", "{problem:?}");
    assert!(problem.message.contains(&shop), "{problem:?}");
    assert_eq!(stage.published().await?, Vec::<String>::new());

    maps.patch("policies", &PatchParams::default(), &Patch::Merge(map(policy(&shop)))).await?;
    stage.becomes(&["own-nightly 0 1 * * *"], IN_FORCE).await?;
    let namespaces: Api<Namespace> = Api::all(testbed.client()?);
    namespaces.delete(&shop, &DeleteParams::default()).await?;
    Ok(())
}
