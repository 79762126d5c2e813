//! What is made once is not made again.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use holdfast_policy::holdfast::PolicySet;
use holdfast_policy::velero::{Backup, Restore};
use holdfast_tests::Testbed;
use holdfast_tests::command::{Ended, holdfast};
use kube::api::{Api, DeleteParams, ListParams};
use pretty_assertions::assert_eq;

use crate::stage::{LATER, SOON, Stage, WORKS, write};

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_of_a_policy_is_not_made_again_by_the_next_daemon() -> anyhow::Result<()> {
    let mut stage = Stage::set(&[], &[]).await?;
    let (location, bucket) = location(&stage)?;
    fs::create_dir(&bucket)?;
    write(&stage.policies.join("a.yaml"), &format!("{location}{}", backups("{name: before}")))?;
    let backups: Api<Backup> = Api::namespaced(stage.client.clone(), &stage.namespace);
    stage.logs(WORKS, 1).await?;
    let set = stage.condition("policies", "Ready", "True InForce").await?;
    assert_eq!(set.status.unwrap_or_default().made_once[0].name, "shop-before");
    backups.delete("shop-before", &DeleteParams::default()).await?;

    stage.stop().await?;
    stage.start(&[]).await?;
    stage.logs(WORKS, 1).await?;
    tokio::time::sleep(LATER).await;
    assert!(backups.get_opt("shop-before").await?.is_none());
    Ok(())
}

/// A location of provider local; its bucket is a folder beside the policies.
fn location(stage: &Stage) -> anyhow::Result<(String, PathBuf)> {
    let folder = stage.policies.parent().context("a folder above")?;
    let text = format!(
        "apiVersion: holdfast.dev/v1alpha1\nkind: StorageLocation\nmetadata: {{name: default}}\n\
         spec: {{default: true, provider: local, bucket: bucket, config: {{path: {}}}}}\n---\n",
        folder.display()
    );
    Ok((text, folder.join("bucket")))
}

fn backups(names: &str) -> String {
    format!(
        "apiVersion: holdfast.dev/v1alpha1\nkind: BackupPolicy\nmetadata: {{name: shop}}\n\
         spec: {{select: {{namespaces: {{include: [shop]}}}}, backups: [{names}]}}\n"
    )
}

async fn exists(stage: &Stage, path: &Path) -> anyhow::Result<()> {
    let start = Instant::now();
    while !path.exists() {
        anyhow::ensure!(start.elapsed() < SOON, "no {}\n{}", path.display(), stage.log());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}

/// What is left of a cluster that is built again: the policies and the bucket.
async fn rebuild(stage: &mut Stage) -> anyhow::Result<()> {
    forget(stage).await?;
    stage.start(&[]).await
}

async fn forget(stage: &mut Stage) -> anyhow::Result<()> {
    stage.stop().await?;
    let (delete, all) = (DeleteParams::default(), ListParams::default());
    let sets: Api<PolicySet> = Api::namespaced(stage.client.clone(), &stage.namespace);
    let restores: Api<Restore> = Api::namespaced(stage.client.clone(), &stage.namespace);
    sets.delete_collection(&delete, &all).await?;
    restores.delete_collection(&delete, &all).await?;
    stage.backups().delete_collection(&delete, &all).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rebuilt_cluster_knows_from_the_bucket_what_ran() -> anyhow::Result<()> {
    let mut stage = Stage::set(&[], &[]).await?;
    let (location, bucket) = location(&stage)?;
    // A name that the bucket holds, whoever used it.
    let held = bucket.join("backups/shop-held");
    fs::create_dir_all(&held)?;
    write(&held.join("velero-backup.json"), "{}")?;
    write(&stage.policies.join("a.yaml"), &format!("{location}{}", backups("{name: before}, {name: held}")))?;
    let record = bucket.join("metadata/holdfast/ran/backups/shop-before.json");
    exists(&stage, &record).await?;
    let noted: serde_json::Value = serde_json::from_str(&fs::read_to_string(&record)?)?;
    assert_eq!(
        (noted["name"].as_str(), noted["policy"].as_str(), noted["cluster"].as_str()),
        (Some("shop-before"), Some("shop"), Some("prod"))
    );
    stage.condition("policies", "Ready", "True InForce").await?;
    let made = stage.backups().list(&ListParams::default()).await?.items;
    let made: Vec<String> = made.into_iter().filter_map(|backup| backup.metadata.name).collect();
    assert_eq!(made, ["shop-before"]);

    forget(&mut stage).await?;
    let kubeconfig = format!("--kubeconfig={}", Testbed::shared().await?.kubeconfig().display());
    let (policies, namespace) =
        (stage.policies.display().to_string(), format!("--namespace={}", stage.namespace));
    let plan = async || holdfast(["plan", &policies, &kubeconfig, &namespace, "--cluster-name=prod"]).await;
    let told = plan().await?;
    assert_eq!(
        (told.code, told.output.as_str()),
        (0, "source policies: nothing to change\n"),
        "{}",
        told.errors
    );
    let aside = bucket.with_extension("aside");
    fs::rename(&bucket, &aside)?;
    let told = plan().await?;
    assert_eq!(told.code, 1);
    let unasked =
        "  + create Backup shop-before, unless its bucket knows that it ran before: location default: ";
    assert!(told.output.contains(unasked), "{}", told.output);
    fs::rename(&aside, &bucket)?;
    stage.start(&[]).await?;
    stage.logs("ran before, as its bucket tells", 2).await?;
    let set = stage.condition("policies", "Ready", "True InForce").await?;
    let made: Vec<String> =
        set.status.unwrap_or_default().made_once.into_iter().map(|made| made.name).collect();
    assert_eq!(made, ["shop-before", "shop-held"]);
    assert_eq!(stage.backups().list(&ListParams::default()).await?.items.len(), 0);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_waits_until_its_bucket_can_be_read() -> anyhow::Result<()> {
    let mut stage = Stage::set(&[], &[]).await?;
    stage.stop().await?;
    let (location, bucket) = location(&stage)?;
    write(&stage.policies.join("a.yaml"), &format!("{location}{}", backups("{name: before}")))?;
    stage.start_in("--mode=full", &[]).await?;
    let set = stage.condition("policies", "Ready", "False ObjectsNotInStep").await?;
    let notice = &set.status.unwrap_or_default().notices[0];
    assert_eq!((notice.name.as_str(), notice.reason.as_str()), ("shop-before", "BucketUnread"));
    let expected = "waits until its bucket tells whether it ran before: location default: ";
    assert!(notice.note.starts_with(expected), "{notice:?}");
    assert!(stage.backups().get_opt("shop-before").await?.is_none());

    fs::create_dir(&bucket)?;
    stage.condition("policies", "Ready", "True InForce").await?;
    assert!(stage.backups().get_opt("shop-before").await?.is_some());
    exists(&stage, &bucket.join("metadata/holdfast/ran/backups/shop-before.json")).await?;
    Ok(())
}

/// Runs `holdfast plan` on the policies and the namespace of the stage.
async fn plan(stage: &Stage) -> anyhow::Result<Ended> {
    let kubeconfig = format!("--kubeconfig={}", Testbed::shared().await?.kubeconfig().display());
    let namespace = format!("--namespace={}", stage.namespace);
    let policies = stage.policies.display().to_string();
    holdfast(["plan", &policies, &kubeconfig, &namespace, "--cluster-name=prod"]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_waits_for_its_word_and_is_made_once() -> anyhow::Result<()> {
    let mut stage = Stage::set(&[], &[]).await?;
    let (location, bucket) = location(&stage)?;
    fs::create_dir(&bucket)?;
    let restore = "apiVersion: holdfast.dev/v1alpha1\nkind: RestorePolicy\nmetadata: {name: drill}\nspec:\n  \
                   run: first\n  approval: Manual\n  existingResourcePolicy: Update\n  clusters: [prod]\n  \
                   notAfter: \"2126-12-01T00:00:00Z\"\n  from: {backup: shop-nightly-20261123000000}\n";
    write(&stage.policies.join("a.yaml"), &format!("{location}{restore}"))?;
    let waiting = stage.waiting("policies").await?;
    assert_eq!(waiting[0].annotation, "holdfast.dev/approve");
    let restores: Api<Restore> = Api::namespaced(stage.client.clone(), &stage.namespace);
    assert_eq!(restores.list(&ListParams::default()).await?.items.len(), 0);
    let planned = plan(&stage).await?;
    let expected =
        format!("the restore waits for holdfast.dev/approve={} on its PolicySet\n", waiting[0].value);
    assert_eq!(planned.code, 0, "what waits is no change: {planned:?}");
    assert!(planned.output.contains("  ! leave Restore drill-"), "{planned:?}");
    assert!(planned.output.ends_with(&expected), "{planned:?}");

    let word = format!("holdfast.dev/approve={}", waiting[0].value);
    stage.kubectl(&["annotate", "policyset", "policies", &word]).await?;
    let start = Instant::now();
    let name = loop {
        let made = restores.list(&ListParams::default()).await?.items;
        if let Some(name) = made.into_iter().next().and_then(|restore| restore.metadata.name) {
            break name;
        }
        anyhow::ensure!(start.elapsed() < SOON, "no restore\n{}", stage.log());
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    assert!(name.starts_with("drill-"), "{name}");
    exists(&stage, &bucket.join(format!("metadata/holdfast/ran/restores/{name}/prod.json"))).await?;
    let planned = plan(&stage).await?;
    assert_eq!((planned.code, planned.output.as_str()), (0, "source policies: nothing to change\n"));

    // The word is gone with the PolicySet; without it nothing would show that the bucket knows.
    rebuild(&mut stage).await?;
    stage.waiting("policies").await?;
    stage.kubectl(&["annotate", "policyset", "policies", &word]).await?;
    stage.logs("ran before, as its bucket tells", 1).await?;
    stage.condition("policies", "Ready", "True InForce").await?;
    assert_eq!(restores.list(&ListParams::default()).await?.items.len(), 0);
    Ok(())
}
