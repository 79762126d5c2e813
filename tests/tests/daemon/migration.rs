//! A second cluster, with an API server of its own, that is pointed at the bucket of a first: it sees the backups,
//! restores them, and ends nothing; what the first ends goes from the second.

use holdfast_policy::velero::{
    AccessMode, Backup, BackupPhase, BackupStorageLocation, Restore, RestorePhase, RestoreSpec, labels,
};
use holdfast_tests::Daemon;
use kube::ResourceExt;
use kube::api::{Patch, PatchParams};
use pretty_assertions::assert_eq;
use serde_json::json;

use crate::deletion::{gone, requests_for};
use crate::expiry::{backup, record};
use crate::home::{Home, PATIENCE, backup_of};

/// A bucket with a backup of an application, one that is over, and one that is over and the second cluster's own.
async fn first() -> anyhow::Result<(Home, String)> {
    let home = Home::new("first").await?;
    let application = home.application("app").await?;
    let daemon = home.daemon(&["--cluster-name=first"]).await?;
    home.local_location().await?;
    let one = home.runs.backup("one", backup_of(&application), PATIENCE).await?;
    assert_eq!(one.status_phase(), BackupPhase::Completed);
    daemon.stop().await?;
    for (name, cluster) in [("over", "first"), ("mine", "second")] {
        let named = json!({"metadata": {"annotations": {"holdfast.dev/cluster": cluster}}});
        record(&home, &backup(name, named)?)?;
    }
    Ok((home, application))
}

async fn second(first: &Home, mode: AccessMode) -> anyhow::Result<(Home, Daemon)> {
    let home = Home::in_second_cluster("second").await?;
    let daemon = home.daemon(&["--cluster-name=second"]).await?;
    let folder = first.bucket();
    let folder = folder.parent().expect("a bucket is a folder in another");
    let location = json!({
        "metadata": {"name": "default"},
        "spec": {
            "provider": "local", "config": {"path": folder}, "objectStorage": {"bucket": "bucket"},
            "default": true, "accessMode": mode, "backupSyncPeriod": "1s", "validationFrequency": "1s",
        },
    });
    home.runs.create(&serde_json::from_value::<BackupStorageLocation>(location)?).await?;
    Ok((home, daemon))
}

async fn sees_and_restores(home: &Home, application: &str) -> anyhow::Result<()> {
    for name in ["one", "over", "mine"] {
        home.runs.ended(name, PATIENCE, |_: &Backup| true).await?;
    }
    restores(home, application).await
}

/// The application of the first cluster from backup `one`, into a namespace that only the second has.
async fn restores(home: &Home, application: &str) -> anyhow::Result<()> {
    let into = home.testbed.namespace("into").await?;
    let spec = RestoreSpec {
        backup_name: Some("one".to_owned()),
        namespace_mapping: [(application.to_owned(), into.clone())].into(),
        ..RestoreSpec::default()
    };
    let restore: Restore = home.runs.restore(&into, spec, PATIENCE).await?;
    assert_eq!(restore.status.phase, Some(RestorePhase::Completed), "{:?}", restore.status);
    let settings = home.config_maps(&into)?.get("settings").await?;
    assert_eq!(settings.data.unwrap_or_default().get("colour").map(String::as_str), Some("green"));
    Ok(())
}

/// The look that tells of the second cluster's own backup has seen those of the first as well.
async fn leaves_alone(home: &Home, first: &Home) -> anyhow::Result<()> {
    let label = |it: &Backup| it.labels().get(labels::GC_FAILURE).map(String::as_str) == Some("BSLReadOnly");
    home.runs.ended("mine", PATIENCE, label).await?;
    for name in ["one", "over"] {
        let backup = home.runs.api::<Backup>().get(name).await?;
        assert!(!backup.labels().contains_key(labels::GC_FAILURE), "{name}");
        assert_eq!(requests_for(home, name).await?, [], "{name}");
        assert!(first.bucket().join("backups").join(name).join("velero-backup.json").is_file());
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_cluster_that_only_reads_sees_restores_and_ends_nothing() -> anyhow::Result<()> {
    let (first, application) = first().await?;
    let (second, _daemon) = second(&first, AccessMode::ReadOnly).await?;
    sees_and_restores(&second, &application).await?;
    leaves_alone(&second, &first).await?;
    // What came of the restore is written all the same.
    let restores = std::fs::read_dir(first.bucket().join("restores"))?.collect::<Result<Vec<_>, _>>()?;
    let restore = restores.first().ok_or_else(|| anyhow::anyhow!("no files of the restore"))?;
    let results = format!("restore-{}-results.gz", restore.file_name().display());
    assert!(restore.path().join(&results).is_file(), "{results}");
    // Who only reads does not ask to write.
    let owners = std::fs::read_dir(first.bucket().join("metadata/holdfast/owners"))?.count();
    assert_eq!(owners, 1);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_cluster_that_would_write_ends_what_is_the_first_s_only_after_taking_over()
-> anyhow::Result<()> {
    let (first, application) = first().await?;
    let (second, _daemon) = second(&first, AccessMode::ReadWrite).await?;
    sees_and_restores(&second, &application).await?;
    leaves_alone(&second, &first).await?;
    let take_over = Patch::Merge(json!({"metadata": {"annotations": {"holdfast.dev/take-over": "first"}}}));
    second.runs.api::<BackupStorageLocation>().patch("default", &PatchParams::default(), &take_over).await?;
    gone(&second, "over").await?;
    gone(&second, "mine").await?;
    assert!(!first.bucket().join("backups/over").exists());
    second.runs.api::<Backup>().get("one").await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_first_cluster_ends_goes_from_the_second_and_nothing_else() -> anyhow::Result<()> {
    let (first, application) = first().await?;
    let (second, _second_daemon) = second(&first, AccessMode::ReadOnly).await?;
    sees_and_restores(&second, &application).await?;
    let hurry = Patch::Merge(json!({"spec": {"backupSyncPeriod": "1s"}}));
    first.runs.api::<BackupStorageLocation>().patch("default", &PatchParams::default(), &hurry).await?;
    let _first_daemon = first.daemon(&["--cluster-name=first"]).await?;
    gone(&second, "over").await?;
    gone(&first, "over").await?;
    assert!(!first.bucket().join("backups/over").exists());
    for (home, name) in [(&first, "one"), (&first, "mine"), (&second, "one"), (&second, "mine")] {
        home.runs.api::<Backup>().get(name).await?;
        assert!(first.bucket().join("backups").join(name).join("velero-backup.json").is_file(), "{name}");
    }
    restores(&second, &application).await
}
