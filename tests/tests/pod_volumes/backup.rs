//! Backups with the files of pods' volumes.

use std::fs;

use holdfast::engine::repositories::secret;
use holdfast::repository::Password;
use holdfast_policy::velero::{
    Backup, BackupPhase, BackupRepository, BackupRepositoryPhase, DataPathPhase, PodVolumeBackup,
    UploaderType,
};
use holdfast_tests::{command, restic, waiting};
use k8s_openapi::api::core::v1::Event;
use kube::{Api, ResourceExt};
use pretty_assertions::assert_eq;

use crate::cluster::{Cluster, PATIENCE, Shop, backup_of, opted_in};

#[tokio::test(flavor = "multi_thread")]
async fn the_files_of_a_volume_that_opted_in_are_in_the_repository_and_told_everywhere() -> anyhow::Result<()>
{
    let Shop { cluster, daemon: _daemon, agent: _agent, namespace: shop, volume } = Shop::open(&[]).await?;
    fs::write(volume.join("table"), "rows")?;
    let backup = cluster.back_up("one", &shop).await?;
    assert_eq!(backup.status_phase(), BackupPhase::Completed, "{:?}", backup.status);

    let transfers = cluster.transfers(&backup).await?;
    let [transfer] = transfers.as_slice() else { panic!("{transfers:?}") };
    assert_eq!(transfer.status_phase(), DataPathPhase::Completed);
    assert_eq!(transfer.spec.uploader_type, Some(UploaderType::Restic));
    assert_eq!(transfer.status.path.as_deref(), volume.to_str());
    let snapshot = transfer.status.snapshot_id.clone().unwrap_or_default();
    let listed = cluster.stored("backups/one", "one-podvolumebackups.json.gz")?;
    assert_eq!(listed[0]["status"]["snapshotID"], snapshot);
    assert_eq!(listed[0]["spec"]["tags"]["backup-uid"], backup.uid().unwrap_or_default());
    let told = cluster.stored("backups/one", "one-volumeinfo.json.gz")?;
    assert_eq!(told[0]["backupMethod"], "PodVolumeBackup");
    assert_eq!(told[0]["result"], "succeeded");
    assert_eq!(told[0]["pvbInfo"]["snapshotHandle"], snapshot);
    assert_eq!(told[0]["pvbInfo"]["uploaderType"], "restic");
    assert_eq!(told[0]["pvbInfo"]["podName"], "db");

    let repository: BackupRepository = cluster.runs.api().get(&format!("{shop}-default-restic")).await?;
    assert_eq!(repository.status_phase(), BackupRepositoryPhase::Ready);
    if restic::is_there() {
        let password = secret::read_password(&cluster.client, &cluster.home).await?;
        let folder = cluster.bucket().join("restic").join(&shop);
        let table = restic::restic(&folder, password.reveal(), ["dump", &snapshot, "/table"]).await?;
        assert_eq!(table, "rows");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_password_is_made_once_and_exported_and_one_that_is_there_is_used() -> anyhow::Result<()> {
    let Shop { cluster, daemon, agent: _agent, namespace: shop, volume: _ } = Shop::open(&[]).await?;
    let export = async || {
        let kubeconfig = format!("--kubeconfig={}", cluster.testbed.kubeconfig().display());
        command::holdfast(["keys", "export", "--namespace", &cluster.home, &kubeconfig]).await
    };
    assert_ne!(export().await?.code, 0);
    cluster.back_up("one", &shop).await?;
    waiting::logged(&daemon, PATIENCE, &["made a password for volume data"]).await?;
    let events: Api<Event> = Api::namespaced(cluster.client.clone(), &cluster.home);
    let told = async || {
        let found = events.list(&Default::default()).await?.items;
        Ok(found.into_iter().find(|event| event.reason.as_deref() == Some("PasswordMade")))
    };
    let told = waiting::until("an event on the password", PATIENCE, told).await?;
    assert_eq!(told.involved_object.name.as_deref(), Some(secret::NAME));
    assert!(told.message.is_some_and(|note| note.contains("holdfast keys export")));
    let exported = export().await?;
    assert_eq!(exported.code, 0, "{}", exported.errors);
    let password = Password::new(&exported.output).expect("a password");
    assert!(
        password.reveal().len() >= 40 && exported.errors.contains("Keep it where"),
        "{}",
        exported.errors
    );
    // A second namespace has another repository with the same password.
    let blog = cluster.testbed.namespace("blog").await?;
    cluster.pod(&blog, "db", opted_in()).await?;
    let second = cluster.back_up("two", &blog).await?;
    assert_eq!(second.status_phase(), BackupPhase::Completed);
    assert_eq!(export().await?.output, exported.output);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn without_an_agent_on_its_node_a_pods_files_are_an_error() -> anyhow::Result<()> {
    let cluster = Cluster::new().await?;
    let _daemon = cluster.daemon(&[]).await?;
    let shop = cluster.testbed.namespace("shop").await?;
    cluster.pod(&shop, "db", opted_in()).await?;
    let backup = cluster.back_up("one", &shop).await?;
    assert_eq!(backup.status_phase(), BackupPhase::PartiallyFailed);
    let results = cluster.stored("backups/one", "one-results.gz")?;
    let error = results["errors"]["namespaces"][&shop][0].to_string();
    assert!(error.contains(&format!("no node agent is running on node {}", cluster.node())), "{error}");
    assert!(cluster.transfers(&backup).await?.is_empty());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_cannot_be_read_fail_their_volume_only() -> anyhow::Result<()> {
    let cluster = Cluster::new().await?;
    let _daemon = cluster.daemon(&[]).await?;
    let _agent = cluster.agent().await?;
    let shop = cluster.testbed.namespace("shop").await?;
    let (good, bad) =
        (cluster.pod(&shop, "good", opted_in()).await?, cluster.pod(&shop, "bad", opted_in()).await?);
    fs::write(good.join("file"), "content")?;
    fs::remove_dir_all(bad)?;
    let backup = cluster.back_up("one", &shop).await?;
    assert_eq!(backup.status_phase(), BackupPhase::PartiallyFailed);
    assert_eq!(backup.status.errors, 1);
    let mut ends: Vec<_> = cluster
        .transfers(&backup)
        .await?
        .into_iter()
        .map(|transfer| (transfer.spec.pod.name.clone().unwrap_or_default(), transfer.status_phase()))
        .collect();
    ends.sort();
    assert_eq!(
        ends,
        [("bad".to_owned(), DataPathPhase::Failed), ("good".to_owned(), DataPathPhase::Completed)]
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transfer_that_a_killed_agent_left_in_progress_is_done_by_the_next() -> anyhow::Result<()> {
    let Shop { cluster, daemon: _daemon, agent, namespace: shop, volume } = Shop::open(&[]).await?;
    // Reading it waits until somebody writes.
    let pipe = std::process::Command::new("sh")
        .args(["-c", "for i in $(seq 300); do head -c 1000000 /dev/urandom > \"$0/f$i\"; done"])
        .arg(&volume)
        .status()?;
    assert!(pipe.success());
    cluster.runs.create(&Backup::new("one", backup_of(&shop))).await?;
    let transfers = cluster.runs.api::<PodVolumeBackup>();
    let begun = async || {
        let found = transfers.list(&Default::default()).await?.items;
        Ok(found.into_iter().find(|found| found.status_phase() == DataPathPhase::InProgress))
    };
    let begun = waiting::until("a transfer in progress", PATIENCE, begun).await?;
    agent.kill()?;
    let left = transfers.get(&begun.name_any()).await?;
    let _agent = cluster.agent().await?;
    let ended = |backup: &Backup| backup.status_phase() == BackupPhase::Completed;
    let backup = cluster.runs.ended("one", PATIENCE, ended).await?;
    let [transfer] = &cluster.transfers(&backup).await?[..] else { panic!("not one transfer") };
    assert_eq!(transfer.uid(), left.uid());
    let password = secret::read_password(&cluster.client, &cluster.home).await?;
    let folder = cluster.bucket().join("restic").join(&shop);
    if restic::is_there() {
        let listed = restic::restic(&folder, password.reveal(), ["snapshots", "--json"]).await?;
        let listed: serde_json::Value = serde_json::from_str(&listed)?;
        assert_eq!(listed.as_array().map(Vec::len), Some(1), "{listed}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_whose_time_is_over_gives_its_transfers_up() -> anyhow::Result<()> {
    let Shop { cluster, daemon: _daemon, agent, namespace: shop, volume: _ } = Shop::open(&[]).await?;
    let mut backup = Backup::new("one", backup_of(&shop));
    backup.annotations_mut().insert("velero.io/pod-volume-timeout".to_owned(), "1ms".to_owned());
    // An agent that is there, as far as anybody knows, and does nothing.
    cluster.put_to_sleep(agent).await?;
    cluster.runs.create(&backup).await?;
    let transfers = cluster.runs.api::<PodVolumeBackup>();
    let given_up = async || {
        let found = transfers.list(&Default::default()).await?.items;
        Ok(found.into_iter().find(|found| found.spec.cancel))
    };
    let given_up = waiting::until("a transfer that is given up", PATIENCE, given_up).await?;
    assert_eq!(
        given_up.status.message.as_deref(),
        Some("timed out waiting for all PodVolumeBackups to complete")
    );
    // The next agent of the node ends it.
    cluster.forget_agent().await?;
    let _agent = cluster.agent().await?;
    let ended = |backup: &Backup| backup.status_phase() == BackupPhase::PartiallyFailed;
    let backup = cluster.runs.ended("one", PATIENCE, ended).await?;
    assert_eq!(backup.status.errors, 2);
    let [transfer] = &cluster.transfers(&backup).await?[..] else { panic!("not one transfer") };
    assert_eq!(transfer.status_phase(), DataPathPhase::Canceled);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_that_is_cancelled_leaves_no_transfer_and_no_snapshot() -> anyhow::Result<()> {
    let cluster = Cluster::new().await?;
    let _daemon = cluster.daemon(&[]).await?;
    let _agent = cluster.agent().await?;
    let shop = cluster.testbed.namespace("shop").await?;
    let quick = cluster.pod(&shop, "a-quick", opted_in()).await?;
    let slow = cluster.pod(&shop, "b-slow", opted_in()).await?;
    fs::write(quick.join("table"), "rows")?;
    for number in 0..400 {
        fs::write(slow.join(format!("{number}")), crate::place::noise(1_000_000 + number))?;
    }
    cluster.runs.create(&Backup::new("one", backup_of(&shop))).await?;
    let transfers = cluster.runs.api::<PodVolumeBackup>();
    let one_is_done = async || {
        let found = transfers.list(&Default::default()).await?.items;
        Ok(found.iter().any(|found| found.status_phase() == DataPathPhase::Completed).then_some(()))
    };
    waiting::until("the first transfer's end", PATIENCE, one_is_done).await?;
    cluster.runs.api::<Backup>().delete("one", &Default::default()).await?;
    let nothing = async || Ok(transfers.list(&Default::default()).await?.items.is_empty().then_some(()));
    waiting::until("the end of the transfers", PATIENCE, nothing).await?;
    let folder = cluster.bucket().join("restic").join(&shop).join("snapshots");
    let no_snapshot = async || Ok(crate::place::files_below(&folder).is_empty().then_some(()));
    waiting::until("the end of the snapshot", PATIENCE, no_snapshot).await?;
    Ok(())
}
