//! The Helm chart.

use std::collections::BTreeSet;

use holdfast_tests::Testbed;
use holdfast_tests::command::{helm, kubectl};
use pretty_assertions::assert_eq;
use serde_json::{Value, json};

use crate::objects::{Objects, deploy, overlay, printed, read};

/// What the chart makes of these values.
async fn rendered(values: &Value) -> anyhow::Result<Objects> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("values.yaml");
    std::fs::write(&file, values.to_string())?;
    let chart = deploy("helm/holdfast");
    let [chart, file] = [chart, file].map(|path| path.display().to_string());
    let arguments = ["template", "holdfast", &chart, "--namespace=velero", "--values", &file];
    printed(&helm(arguments).await?)
}

#[tokio::test]
async fn lint_has_nothing_to_say() -> anyhow::Result<()> {
    let ended = helm(["lint".as_ref(), "--strict".as_ref(), deploy("helm/holdfast").as_os_str()]).await?;
    assert_eq!(ended.code, 0, "{}{}", ended.output, ended.errors);
    assert!(!ended.output.contains("WARNING"), "{}", ended.output);
    Ok(())
}

#[tokio::test]
async fn with_its_own_values_it_is_the_kustomize_base() -> anyhow::Result<()> {
    let mut base = Objects::new();
    for file in ["rights", "daemon", "network-policy"] {
        let text = std::fs::read_to_string(deploy(&format!("kustomize/base/{file}.yaml")))?;
        base.extend(read(&text)?);
    }
    assert_eq!(rendered(&json!({})).await?, base);
    Ok(())
}

#[tokio::test]
async fn its_parts_are_what_the_overlays_add() -> anyhow::Result<()> {
    let pairs = [
        ("service-monitor", json!({"serviceMonitor": {"enabled": true}})),
        ("observe-only", json!({"mode": "observe"})),
        ("high-availability", json!({"replicas": 2})),
        ("configmap-policies", json!({"policies": {"selector": "holdfast.dev/policies=true"}})),
    ];
    for (name, values) in pairs {
        assert_eq!(rendered(&values).await?, overlay(name).await?, "{name}");
    }
    let mut agent = rendered(&json!({"nodeAgent": {"enabled": true}})).await?;
    // Helm knows the image, where the daemon of kustomize looks it up.
    let arguments = &mut agent.get_mut("Deployment velero/holdfast").unwrap()["spec"]["template"]["spec"]["containers"]
        [0]["args"];
    let helper = arguments.as_array_mut().unwrap().pop();
    assert_eq!(helper, Some(json!("--restore-helper-image=holdfast.dev/holdfast:0.1.0")));
    assert_eq!(agent, overlay("node-agent").await?);
    Ok(())
}

/// Everything that can be turned on.
fn all() -> Value {
    json!({
        "image": {"repository": "registry.example.com/holdfast", "tag": "1", "pullPolicy": "Always"},
        "imagePullSecrets": [{"name": "pull"}],
        "replicas": 3,
        "clusterName": "prod-eu-1",
        "hooks": {"namespaces": ["shop", "blog"]},
        "policies": {
            "selector": "holdfast.dev/policies=true",
            "configMaps": ["team-a/policies"],
            "namespaces": ["team-a"],
            "files": {"shop.yaml": "kind: BackupPolicy\n"},
            "git": {"enabled": true, "repository": "https://git.example.com/policies.git", "credentialsSecret": "git"},
        },
        "nodeAgent": {"enabled": true, "podsPath": "/data/kubelet/pods", "nodeSelector": {"disk": "fast"}},
        "web": {"enabled": true, "tokenSecret": "page"},
        "serviceAccount": {"annotations": {"eks.amazonaws.com/role-arn": "arn:aws:iam::1:role/backup"}},
        "arguments": ["--log-format=json"],
        "environment": [{"name": "HTTPS_PROXY", "value": "http://proxy.example.com"}],
        "podLabels": {"team": "platform"},
        "podAnnotations": {"note": "1"},
        "nodeSelector": {"zone": "a"},
        "tolerations": [{"operator": "Exists"}],
        "affinity": {"podAntiAffinity": {}},
        "priorityClassName": "system-cluster-critical",
    })
}

#[tokio::test]
async fn an_api_server_takes_it_with_everything_turned_on() -> anyhow::Result<()> {
    let testbed = Testbed::start().await?;
    let kubeconfig = format!("--kubeconfig={}", testbed.kubeconfig().display());
    let objects = rendered(&all()).await?;
    let deployment = &objects["Deployment velero/holdfast"]["spec"]["template"]["spec"];
    let arguments = [
        "run",
        "--allow-hooks-in=shop,blog",
        "--cluster-name=prod-eu-1",
        "--policy-selector=holdfast.dev/policies=true",
        "--policy-configmap=team-a/policies",
        "--policy-configmap=values=$(VELERO_NAMESPACE)/holdfast-policies",
        "--policies=git=/git/checkout/policies",
        "--web-address=:8090",
        "--web-token-file=/etc/holdfast/web/token",
        "--restore-helper-image=registry.example.com/holdfast:1",
        "--log-format=json",
    ];
    assert_eq!(deployment["containers"][0]["args"], json!(arguments));
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("all.yaml");
    let documents: Vec<String> = objects.values().map(Value::to_string).collect();
    std::fs::write(&file, documents.join("\n---\n"))?;
    for namespace in ["velero", "shop", "blog", "team-a"] {
        let made = kubectl([kubeconfig.as_str(), "create", "namespace", namespace]).await?;
        assert_eq!(made.code, 0, "{}", made.errors);
    }
    let file = file.display().to_string();
    let arguments = [kubeconfig.as_str(), "apply", "--server-side", "--dry-run=server", "-f", &file];
    let applied = kubectl(arguments).await?;
    assert_eq!((applied.code, applied.errors.as_str()), (0, ""));
    let hooks: BTreeSet<&str> = objects
        .keys()
        .map(String::as_str)
        .filter(|name| name.starts_with("RoleBinding") && name.contains("holdfast-hooks"))
        .collect();
    let bound = ["RoleBinding blog/holdfast-hooks-velero", "RoleBinding shop/holdfast-hooks-velero"];
    assert_eq!(hooks, BTreeSet::from(bound));
    Ok(())
}

#[tokio::test]
async fn a_value_that_nobody_knows_is_refused_and_a_repository_is_asked_for() -> anyhow::Result<()> {
    for (values, told) in [
        (json!({"replica": 2}), "replica"),
        (json!({"policies": {"selectors": ""}}), "selectors"),
        (json!({"mode": "both"}), "mode"),
        (json!({"policies": {"git": {"enabled": true}}}), "repository"),
    ] {
        let error = rendered(&values).await.unwrap_err().to_string();
        assert!(error.contains(told), "{values}: {error}");
    }
    Ok(())
}

#[tokio::test]
async fn definitions_are_installed_the_way_helm_s_users_expect() -> anyhow::Result<()> {
    let chart = deploy("helm/holdfast").display().to_string();
    let with = printed(&helm(["template", "holdfast", &chart, "--include-crds"]).await?)?;
    let definitions: Vec<&String> =
        with.keys().filter(|name| name.starts_with("CustomResourceDefinition")).collect();
    assert_eq!(definitions.len(), std::fs::read_dir(deploy("../schemas/crds"))?.count());
    let without = rendered(&json!({})).await?;
    assert!(!without.keys().any(|name| name.starts_with("CustomResourceDefinition")));
    Ok(())
}
