//! The kustomize base, its components and overlays.

use std::path::Path;

use holdfast_tests::Testbed;
use holdfast_tests::command::{holdfast, kubectl};
use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Api, Patch, PatchParams};
use pretty_assertions::assert_eq;
use serde_json::json;

use crate::objects::{deploy, overlay};

const OVERLAYS: [&str; 6] = [
    "configmap-policies",
    "git-policies",
    "high-availability",
    "node-agent",
    "observe-only",
    "service-monitor",
];

/// The kind is the Prometheus operator's, whose definition is not ours to have.
fn service_monitors() -> CustomResourceDefinition {
    serde_json::from_value(json!({
        "metadata": {"name": "servicemonitors.monitoring.coreos.com"},
        "spec": {
            "group": "monitoring.coreos.com", "scope": "Namespaced",
            "names": {"kind": "ServiceMonitor", "plural": "servicemonitors"},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {
                "type": "object", "x-kubernetes-preserve-unknown-fields": true,
            }}}],
        },
    }))
    .unwrap()
}

/// On a cluster of its own: roles and definitions are everybody's.
#[tokio::test(flavor = "multi_thread")]
async fn an_api_server_takes_every_overlay_and_pods_of_the_daemon_are_restricted() -> anyhow::Result<()> {
    let testbed = Testbed::start().await?;
    let client = testbed.client()?;
    let kubeconfig = format!("--kubeconfig={}", testbed.kubeconfig().display());
    let apply = async |folder: &Path, further: &[&str]| {
        let folder = folder.display().to_string();
        let mut arguments = vec![kubeconfig.as_str(), "apply", "--server-side", "-k", &folder];
        arguments.extend(further);
        let ended = kubectl(&arguments).await?;
        anyhow::ensure!(ended.code == 0, "{folder}: {}", ended.errors);
        Ok(ended.errors)
    };
    apply(&deploy("kustomize/prerequisites"), &[]).await?;
    let definitions: Api<CustomResourceDefinition> = Api::all(client.clone());
    let applied = Patch::Apply(service_monitors());
    definitions.patch("servicemonitors.monitoring.coreos.com", &PatchParams::apply("test"), &applied).await?;
    let established = kube::runtime::conditions::is_crd_established();
    let name = "servicemonitors.monitoring.coreos.com";
    kube::runtime::wait::await_condition(definitions, name, established).await?;
    let warns = json!({"metadata": {"labels": {"pod-security.kubernetes.io/warn": "restricted"}}});
    let namespaces: Api<Namespace> = Api::all(client);
    namespaces.patch("velero", &PatchParams::default(), &Patch::Merge(warns)).await?;
    for name in OVERLAYS {
        let told = apply(&deploy("kustomize/overlays").join(name), &["--dry-run=server"]).await?;
        assert_eq!(told.contains("would violate PodSecurity"), name == "node-agent", "{name}: {told}");
    }
    // And not only as if.
    apply(&deploy("kustomize/overlays/high-availability"), &[]).await?;
    Ok(())
}

#[tokio::test]
async fn looking_on_has_no_right_to_change_a_backup() -> anyhow::Result<()> {
    let objects = overlay("observe-only").await?;
    let roles: Vec<&str> = objects.keys().map(String::as_str).filter(|name| name.contains("Role")).collect();
    assert_eq!(
        roles,
        [
            "ClusterRole /holdfast-observe",
            "ClusterRoleBinding /holdfast-observe-velero",
            "Role velero/holdfast-observe",
            "RoleBinding velero/holdfast-observe",
        ]
    );
    let arguments =
        &objects["Deployment velero/holdfast"]["spec"]["template"]["spec"]["containers"][0]["args"];
    assert_eq!(*arguments, json!(["run", "--allow-hooks-in=", "--mode=observe"]));
    Ok(())
}

#[tokio::test]
async fn the_command_writes_the_files_that_are_here() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let ended = holdfast(["manifests".as_ref(), "--kustomize".as_ref(), folder.path().as_os_str()]).await?;
    assert_eq!((ended.code, ended.errors.as_str()), (0, ""));
    let difference = std::process::Command::new("diff")
        .args(["--recursive", "--brief"])
        .args([folder.path(), &deploy("kustomize")])
        .output()?;
    assert_eq!(String::from_utf8(difference.stdout)?, "");
    Ok(())
}
