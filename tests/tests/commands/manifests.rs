//! `holdfast manifests`: the account and the roles of a daemon.

use anyhow::Context as _;
use holdfast_tests::command::holdfast;
use pretty_assertions::assert_eq;
use serde::Deserialize as _;
use serde_json::Value;

async fn granted(arguments: &[&str]) -> anyhow::Result<Vec<String>> {
    let ended = holdfast(["manifests", "--namespace=backups"].iter().chain(arguments)).await?;
    anyhow::ensure!(ended.code == 0, "{ended:?}");
    let mut told = Vec::new();
    for document in serde_yaml::Deserializer::from_str(&ended.output) {
        let object = Value::deserialize(document).context("reading a document")?;
        let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        let kind = text("/kind");
        if kind == "RoleBinding" || kind == "ClusterRoleBinding" {
            assert_eq!(object["subjects"][0]["namespace"], "backups");
            told.push(format!("{kind} {}: {}", text("/metadata/namespace"), text("/roleRef/name")));
        }
    }
    Ok(told)
}

#[tokio::test]
async fn hooks_and_policies_of_others_are_granted_only_where_they_were_allowed() -> anyhow::Result<()> {
    let usual = [
        "ClusterRoleBinding : holdfast-observe",
        "RoleBinding backups: holdfast-observe",
        "ClusterRoleBinding : holdfast-backup",
        "RoleBinding backups: holdfast-backup",
        "ClusterRoleBinding : holdfast-restore",
    ];
    assert_eq!(granted(&[]).await?, usual);
    let hooks = granted(&["--allow-hooks-in=shop,blog"]).await?;
    assert_eq!(
        hooks[usual.len()..],
        ["RoleBinding shop: holdfast-hooks", "RoleBinding blog: holdfast-hooks"]
    );
    let policies = granted(&["--policies-in=team-a"]).await?;
    assert_eq!(policies[usual.len()..], ["RoleBinding team-a: holdfast-policies"]);
    assert_eq!(granted(&["--roles=observe"]).await?, usual[..2]);
    Ok(())
}
