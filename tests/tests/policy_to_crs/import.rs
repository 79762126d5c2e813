//! `holdfast import`: what a Velero installation has becomes policies that change nothing.

use std::fs;

use holdfast_tests::Testbed;
use holdfast_tests::command::{Ended, holdfast};
use holdfast_tests::fixtures;
use kube::api::{Api, ApiResource, DynamicObject, Patch, PatchParams, PostParams};
use pretty_assertions::assert_eq;
use serde_json::{Value, json};

use crate::stage::Stage;

/// Objects of Velero 1.18.3 as they lived in a cluster, without what the API server made of them.
fn of_velero() -> anyhow::Result<Vec<Value>> {
    let mut objects = Vec::new();
    for kind in ["backupstoragelocations", "volumesnapshotlocations", "schedules"] {
        let text = fs::read_to_string(fixtures::data("velero-1.18.3-crs").join(format!("{kind}.yaml")))?;
        let list: Value = serde_yaml::from_str(&text)?;
        objects.extend(list["items"].as_array().into_iter().flatten().cloned());
    }
    // That cluster had none of these.
    objects.push(json!({
        "apiVersion": "velero.io/v1", "kind": "VolumeSnapshotLocation", "metadata": {"name": "ebs"},
        "spec": {"provider": "aws", "config": {"region": "us-east-1"}},
    }));
    for object in &mut objects {
        object["metadata"] =
            json!({"name": object["metadata"]["name"], "labels": object["metadata"]["labels"]});
    }
    Ok(objects)
}

fn api(stage: &Stage, object: &Value) -> Api<DynamicObject> {
    let kind = object["kind"].as_str().unwrap_or_default();
    let resource = ApiResource {
        group: "velero.io".to_owned(),
        version: "v1".to_owned(),
        api_version: "velero.io/v1".to_owned(),
        kind: kind.to_owned(),
        plural: format!("{}s", kind.to_lowercase()),
    };
    Api::namespaced_with(stage.client.clone(), &stage.namespace, &resource)
}

fn name(object: &Value) -> &str {
    object["metadata"]["name"].as_str().unwrap_or_default()
}

async fn run(stage: &Stage, command: &str, more: &[&str]) -> anyhow::Result<Ended> {
    let kubeconfig = format!("--kubeconfig={}", Testbed::shared().await?.kubeconfig().display());
    let namespace = format!("--namespace={}", stage.namespace);
    holdfast([command, kubeconfig.as_str(), namespace.as_str()].iter().chain(more)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_velero_has_becomes_policies_whose_plan_is_empty() -> anyhow::Result<()> {
    let mut stage = Stage::set(&[], &[]).await?;
    stage.stop().await?;
    let velero_cli = PostParams { field_manager: Some("velero".to_owned()), ..PostParams::default() };
    let objects = of_velero()?;
    for object in &objects {
        api(&stage, object).create(&velero_cli, &serde_json::from_value(object.clone())?).await?;
    }

    let folder = stage.policies.display().to_string();
    let imported = run(&stage, "import", &[&format!("--output-dir={folder}")]).await?;
    assert_eq!((imported.code, imported.output.as_str()), (0, ""), "{}", imported.errors);
    assert_eq!(
        imported.errors,
        "Schedule gold-sched: adopting it sets spec.template.metadata.labels: {\"from\":\"sched\"}\n"
    );
    let checked = holdfast(["check", "--strict", &folder]).await?;
    assert_eq!(checked.code, 0, "{}", checked.output);
    let again = run(&stage, "import", &[&format!("--output-dir={folder}")]).await?;
    assert_eq!(again.code, 2, "nothing is written over");

    // Nothing is taken over unasked.
    let plan = run(&stage, "plan", &[&folder]).await?;
    assert_eq!(plan.code, 0, "{}", plan.output);
    assert_eq!(plan.output.matches("not made by Holdfast; to take it over, annotate it with").count(), 3);
    let adopt = json!({"metadata": {"annotations": {"holdfast.dev/adopt": "policies"}}});
    for object in &objects {
        api(&stage, object).patch(name(object), &PatchParams::default(), &Patch::Merge(&adopt)).await?;
    }
    let plan = run(&stage, "plan", &[&folder]).await?;
    assert_eq!(plan.code, 1);
    let of_specs: Vec<&str> =
        plan.output.lines().map(str::trim).filter(|line| line.starts_with(".spec")).collect();
    assert_eq!(
        of_specs,
        [".spec.template.metadata.labels: {\"from\":\"sched\",\"holdfast.dev/policy\":\"gold\"} is added"],
        "{}",
        plan.output
    );

    stage.start(&[]).await?;
    stage.condition("policies", "Ready", "True InForce").await?;
    for object in &objects {
        let live = api(&stage, object).get(name(object)).await?;
        let mut expected = object["spec"].clone();
        if object["kind"] == "Schedule" {
            expected["template"]["metadata"]["labels"] =
                json!({"from": "sched", "holdfast.dev/policy": "gold"});
        }
        assert_eq!(live.data["spec"], expected, "{}", name(object));
    }
    let plan = run(&stage, "plan", &[&folder]).await?;
    assert_eq!((plan.code, plan.output.as_str()), (0, "source policies: nothing to change\n"));
    let ours = run(&stage, "import", &[]).await?;
    assert_eq!((ours.code, ours.output.as_str()), (0, ""));
    assert_eq!(
        ours.errors.matches("left out: source policies of Holdfast made it").count(),
        3,
        "{}",
        ours.errors
    );
    Ok(())
}
