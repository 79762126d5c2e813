//! Policies in a directory.

use std::fs;
use std::os::unix::fs::symlink;
use std::time::{Duration, Instant};

use holdfast_policy::holdfast::PolicySet;
use kube::api::{Api, Patch, PatchParams};
use pretty_assertions::assert_eq;
use serde_json::json;

use crate::stage::{IN_FORCE, LATER, SOON, Stage, policy, write};

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_of_a_directory_is_in_force_within_two_seconds() -> anyhow::Result<()> {
    let stage = Stage::set(&[], &[("shop.yaml", policy("shop", "0 1 * * *"))]).await?;
    stage.becomes(&["shop-nightly 0 1 * * *"], SOON).await?;

    write(&stage.policies.join("shop.yaml"), &policy("shop", "0 2 * * *"))?;
    stage.becomes(&["shop-nightly 0 2 * * *"], IN_FORCE).await?;

    fs::create_dir(stage.policies.join("team"))?;
    write(&stage.policies.join("team/web.yml"), &policy("web", "0 3 * * *"))?;
    stage.becomes(&["shop-nightly 0 2 * * *", "web-nightly 0 3 * * *"], IN_FORCE).await?;

    fs::remove_file(stage.policies.join("shop.yaml"))?;
    stage.becomes(&["web-nightly 0 3 * * *"], IN_FORCE).await?;
    stage.condition("policies", "Ready", "True InForce").await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_edit_changes_nothing_and_is_told() -> anyhow::Result<()> {
    let files = [("shop.yaml", policy("shop", "0 1 * * *")), ("web.yaml", policy("web", "0 3 * * *"))];
    let stage = Stage::set(&[], &files).await?;
    let both = ["shop-nightly 0 1 * * *", "web-nightly 0 3 * * *"];
    stage.becomes(&both, SOON).await?;

    // The good edit beside the bad one is not in force either: a set is taken whole.
    let bad = policy("shop", "0 1 * * *").replace("schedules", "shedules");
    write(&stage.policies.join("shop.yaml"), &bad)?;
    write(&stage.policies.join("web.yaml"), &policy("web", "0 4 * * *"))?;
    let set = stage.condition("policies", "Stalled", "True Invalid").await?;
    let status = set.status.unwrap_or_default();
    let problem = &status.problems[0];
    assert!(problem.file.ends_with("shop.yaml"), "{problem:?}");
    assert_eq!((problem.line, problem.rule.as_str()), (6, "unknown-field"));
    assert_eq!(status.conditions[0].status, "False", "Ready");
    assert!(stage.log().contains("policies refused"), "{}", stage.log());
    tokio::time::sleep(LATER).await;
    assert_eq!(stage.published().await?, both);

    write(&stage.policies.join("shop.yaml"), &policy("shop", "0 5 * * *"))?;
    stage.becomes(&["shop-nightly 0 5 * * *", "web-nightly 0 4 * * *"], IN_FORCE).await?;
    stage.condition("policies", "Ready", "True InForce").await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_that_is_emptied_or_gone_removes_nothing() -> anyhow::Result<()> {
    let stage = Stage::set(&[], &[("shop.yaml", policy("shop", "0 1 * * *"))]).await?;
    stage.becomes(&["shop-nightly 0 1 * * *"], SOON).await?;
    fs::remove_file(stage.policies.join("shop.yaml"))?;
    stage.condition("policies", "Stalled", "True SourceUnavailable").await?;
    fs::remove_dir(&stage.policies)?;
    tokio::time::sleep(LATER).await;
    assert_eq!(stage.published().await?, ["shop-nightly 0 1 * * *"]);

    fs::create_dir(&stage.policies)?;
    write(&stage.policies.join("web.yaml"), &policy("web", "0 3 * * *"))?;
    stage.becomes(&["web-nightly 0 3 * * *"], IN_FORCE).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_switch_of_a_mounted_config_map_is_in_force_within_two_seconds() -> anyhow::Result<()> {
    let stage = Stage::set(&[], &[]).await?;
    for (folder, cron) in [("..one", "0 1 * * *"), ("..two", "0 2 * * *")] {
        fs::create_dir(stage.policies.join(folder))?;
        write(&stage.policies.join(folder).join("shop.yaml"), &policy("shop", cron))?;
    }
    symlink("..one", stage.policies.join("..data"))?;
    symlink("..data/shop.yaml", stage.policies.join("shop.yaml"))?;
    stage.becomes(&["shop-nightly 0 1 * * *"], IN_FORCE).await?;

    symlink("..two", stage.policies.join("..data_tmp"))?;
    fs::rename(stage.policies.join("..data_tmp"), stage.policies.join("..data"))?;
    fs::remove_dir_all(stage.policies.join("..one"))?;
    stage.becomes(&["shop-nightly 0 2 * * *"], IN_FORCE).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn removing_more_than_half_of_the_schedules_waits_for_a_word() -> anyhow::Result<()> {
    let names = ["a", "b", "c", "d", "e"];
    let files = names.map(|name| (format!("{name}.yaml"), policy(name, "0 1 * * *")));
    let files = files.iter().map(|(name, text)| (name.as_str(), text.clone())).collect::<Vec<_>>();
    let stage = Stage::set(&[], &files).await?;
    let all = names.map(|name| format!("{name}-nightly 0 1 * * *"));
    stage.becomes(&all.each_ref().map(String::as_str), SOON).await?;

    for name in &names[1..] {
        fs::remove_file(stage.policies.join(format!("{name}.yaml")))?;
    }
    stage.logs("PruneHeld", 4).await?;
    assert_eq!(stage.published().await?, all);

    let sets: Api<PolicySet> = Api::namespaced(stage.client.clone(), &stage.namespace);
    let waiting = stage.waiting("policies").await?;
    assert_eq!(waiting.len(), 1, "{waiting:?}");
    let word = json!({"metadata": {"annotations": {waiting[0].annotation.clone(): waiting[0].value}}});
    sets.patch("policies", &PatchParams::default(), &Patch::Merge(word)).await?;
    stage.becomes(&["a-nightly 0 1 * * *"], SOON).await?;
    stage.condition("policies", "Ready", "True InForce").await?;
    // The word was for this removal alone.
    let start = Instant::now();
    loop {
        let left = stage.policy_set("policies").await?.metadata.annotations.unwrap_or_default();
        if left.is_empty() {
            break;
        }
        assert!(start.elapsed() < SOON, "{left:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}
