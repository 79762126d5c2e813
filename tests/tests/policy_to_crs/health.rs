//! The health checks of docs/gitops.md, on PolicySets as a daemon writes them: Argo CD's in Lua, Flux' in CEL.

use std::fs;
use std::path::Path;

use anyhow::Context as _;
use holdfast_policy::holdfast::PolicySet;
use holdfast_tests::waiting::until;
use k8s_openapi::api::admissionregistration::v1::{
    ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding,
};
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use mlua::{Lua, LuaSerdeExt as _};
use pretty_assertions::assert_eq;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::stage::{SOON, Stage, policy};

/// The first block of the document in this language that holds this text.
fn block(language: &str, text: &str) -> anyhow::Result<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/gitops.md");
    let document = fs::read_to_string(path)?;
    let mut blocks = document.split("```").skip(1).step_by(2);
    let block = blocks.find_map(|block| block.strip_prefix(language).filter(|block| block.contains(text)));
    Ok(block.with_context(|| format!("no block in {language} with {text}"))?.to_owned())
}

/// What Argo CD would show.
fn argo(set: &Value) -> anyhow::Result<String> {
    #[derive(Deserialize)]
    struct Health {
        status: String,
    }
    let check = block("lua", "obj.status")?;
    let lua = Lua::new();
    let asked = lua.to_value(set).and_then(|set| lua.globals().set("obj", set));
    let answer = asked.and_then(|()| lua.load(check).eval());
    let health: Health = answer
        .and_then(|answer| lua.from_value(answer))
        .map_err(|error| anyhow::anyhow!("carrying the check out: {error}"))?;
    Ok(health.status)
}

/// Flux' checks, asked by the API server, which has the same CEL: a change of a PolicySet of this namespace is refused with
/// the name of the first check that holds. Flux asks them in this order; where none holds, it waits.
async fn install_checks(stage: &Stage) -> anyhow::Result<()> {
    let kustomization: Value = serde_yaml::from_str(&block("yaml", "healthCheckExprs")?)?;
    let checks = &kustomization["spec"]["healthCheckExprs"][0];
    let mut validations = Vec::new();
    for name in ["inProgress", "failed", "current"] {
        let text = checks[name].as_str().with_context(|| format!("no check {name}"))?;
        let expression = format!("!({})", text.replace("status.conditions", "object.status.conditions"));
        validations.push(json!({"expression": expression, "message": name}));
    }
    let rule = json!({
        "apiGroups": ["holdfast.dev"], "apiVersions": ["*"], "resources": ["policysets"], "operations": ["UPDATE"],
    });
    let policy: ValidatingAdmissionPolicy = serde_json::from_value(json!({
        "metadata": {"name": stage.namespace},
        "spec": {
            // A check that can't be carried out doesn't hold.
            "failurePolicy": "Ignore", "matchConstraints": {"resourceRules": [rule]}, "validations": validations,
        },
    }))?;
    let here = json!({"matchLabels": {"kubernetes.io/metadata.name": stage.namespace}});
    let binding: ValidatingAdmissionPolicyBinding = serde_json::from_value(json!({
        "metadata": {"name": stage.namespace},
        "spec": {
            "policyName": stage.namespace, "validationActions": ["Deny"],
            "matchResources": {"namespaceSelector": here},
        },
    }))?;
    let parameters = PostParams::default();
    Api::all(stage.client.clone()).create(&parameters, &policy).await?;
    Api::all(stage.client.clone()).create(&parameters, &binding).await?;
    Ok(())
}

/// Which check holds.
async fn flux(stage: &Stage) -> anyhow::Result<Option<&'static str>> {
    let api: Api<PolicySet> = Api::namespaced(stage.client.clone(), &stage.namespace);
    let parameters = PatchParams { dry_run: true, ..PatchParams::default() };
    let change = Patch::Merge(json!({"metadata": {"annotations": {"asked": "1"}}}));
    match api.patch("policies", &parameters, &change).await {
        Ok(_) => Ok(None),
        Err(error) => {
            let said = error.to_string();
            let known = ["inProgress", "failed", "current"].into_iter().find(|name| said.contains(name));
            Ok(Some(known.context(said)?))
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn argo_cd_and_flux_see_whether_policies_are_in_force() -> anyhow::Result<()> {
    let declared = json!({
        "apiVersion": "holdfast.dev/v1alpha1", "kind": "PolicySet", "metadata": {"name": "policies", "generation": 1},
    });
    assert_eq!(argo(&declared)?, "Progressing");
    let stage = Stage::set(&[], &[("shop.yaml", policy("shop", "0 1 * * *"))]).await?;
    let good = serde_json::to_value(stage.condition("policies", "Ready", "True InForce").await?)?;
    assert_eq!(argo(&good)?, "Healthy");
    install_checks(&stage).await?;
    // The API server learns of a new policy a little later.
    assert_eq!(until("an answer of the checks", SOON, async || flux(&stage).await).await?, "current");
    fs::write(stage.policies.join("shop.yaml"), "kind: Nonsense\n")?;
    let bad = serde_json::to_value(stage.condition("policies", "Stalled", "True Invalid").await?)?;
    assert_eq!(argo(&bad)?, "Degraded");
    assert_eq!(flux(&stage).await?, Some("failed"));
    let mut publishing = good.clone();
    for condition in publishing["status"]["conditions"].as_array_mut().context("conditions")? {
        if condition["type"] == "Reconciling" {
            condition["status"] = json!("True");
        }
    }
    assert_eq!(argo(&publishing)?, "Progressing");
    let mut stale = good;
    stale["metadata"]["generation"] = json!(99);
    assert_eq!(argo(&stale)?, "Progressing");
    Ok(())
}

/// As Argo CD and Flux apply it: the same name, an empty spec, their own labels.
#[tokio::test(flavor = "multi_thread")]
async fn a_policy_set_that_is_declared_in_git_is_filled_in_and_stays_theirs() -> anyhow::Result<()> {
    let mut stage = Stage::set(&[], &[("shop.yaml", policy("shop", "0 1 * * *"))]).await?;
    stage.condition("policies", "Ready", "True InForce").await?;
    stage.stop().await?;
    let api: Api<PolicySet> = Api::namespaced(stage.client.clone(), &stage.namespace);
    api.delete("policies", &DeleteParams::default()).await?;
    let declared = json!({
        "apiVersion": "holdfast.dev/v1alpha1", "kind": "PolicySet",
        "metadata": {"name": "policies", "labels": {"kustomize.toolkit.fluxcd.io/name": "backup"}}, "spec": {},
    });
    let apply = async || api.patch("policies", &PatchParams::apply("flux"), &Patch::Apply(&declared)).await;
    apply().await?;
    stage.start(&[]).await?;
    stage.condition("policies", "Ready", "True InForce").await?;
    let again = apply().await?;
    assert!(!again.spec.source.is_empty());
    assert_eq!(again.metadata.labels.unwrap_or_default()["kustomize.toolkit.fluxcd.io/name"], "backup");
    Ok(())
}
