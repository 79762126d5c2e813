//! A bucket that is down before, during or after an upload: what exists at any moment is a whole backup or none.

use holdfast_policy::velero::{Backup, BackupPhase};
use holdfast_tests::Door;
use holdfast_tests::door::Rule;
use object_store::ObjectStoreExt;
use pretty_assertions::assert_eq;

use crate::home::{Home, PATIENCE, all_keys, backup_keys, backup_of, logged};
use crate::provider::{Bucket, Open, Provider};

/// A location behind a door, and the bucket as seen from behind it.
async fn behind_a_door(home: &Home, provider: Provider) -> anyhow::Result<(Door, Bucket, Open)> {
    let bucket = Bucket::new(provider).await?;
    let open = bucket.open().await?;
    let door = Door::before(bucket.port.expect("a service")).await?;
    home.location("default", &bucket.clone().at(door.port())).await?;
    Ok((door, bucket, open))
}

/// How a request for a file of backup `one` begins.
fn put(bucket: &Bucket, file: &str) -> String {
    let account = match bucket.provider {
        Provider::Azure => "/holdfast",
        Provider::Local | Provider::Aws | Provider::Gcp => "",
    };
    format!("PUT {account}/{}/backups/one/{file}", bucket.name())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_that_is_down_before_the_run_fails_it_and_takes_the_next() -> anyhow::Result<()> {
    let home = Home::new("before").await?;
    let _daemon = home.daemon(&[]).await?;
    let (door, _bucket, open) = behind_a_door(&home, Provider::Aws).await?;
    door.shut();
    let backup = home.runs.backup("one", backup_of(&home.namespace), PATIENCE).await?;
    assert_eq!(backup.status_phase(), BackupPhase::Failed);
    let reason = backup.status.failure_reason.unwrap_or_default();
    assert!(
        reason.starts_with(
            "backup execution failed: cannot tell whether the bucket has a backup of this name: reading "
        ),
        "{reason}"
    );
    door.open();
    assert_eq!(backup_keys(&open).await?, Vec::<String>::new());
    let backup = home.runs.backup("two", backup_of(&home.namespace), PATIENCE).await?;
    assert_eq!(backup.status_phase(), BackupPhase::Completed, "{:?}", backup.status);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_that_is_down_for_a_moment_during_the_upload_costs_nothing() -> anyhow::Result<()> {
    for provider in [Provider::Aws, Provider::Azure] {
        let home = Home::new("during").await?;
        let _daemon = home.daemon(&[]).await?;
        let (door, bucket, open) = behind_a_door(&home, provider).await?;
        for file in ["one.tar.gz", "one-results.gz", "velero-backup.json"] {
            door.rule(&put(&bucket, file), Rule::Shut);
        }
        home.runs.create(&Backup::new("one", backup_of(&home.namespace))).await?;
        for file in ["one.tar.gz", "one-results.gz", "velero-backup.json"] {
            door.met(&put(&bucket, file)).await?;
            assert!(!open.store.backup_exists("one").await?, "{provider:?}: {file}");
            door.open_again(&put(&bucket, file));
        }
        home.backup_is("one", BackupPhase::Completed).await?;
        assert_eq!(backup_keys(&open).await?, all_keys("one", ".tar.gz"), "{provider:?}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_file_the_bucket_refuses_the_backup_fails_and_nothing_of_it_stays() -> anyhow::Result<()> {
    let home = Home::new("refused").await?;
    let _daemon = home.daemon(&[]).await?;
    let (door, bucket, open) = behind_a_door(&home, Provider::Aws).await?;
    let files = all_keys("one", ".tar.gz");
    for file in files.iter().filter_map(|key| key.strip_prefix("one/")) {
        if file == "velero-backup.json" {
            continue;
        }
        door.rule(&put(&bucket, file), Rule::Refuse);
        let backup = home.runs.backup("one", backup_of(&home.namespace), PATIENCE).await?;
        assert_eq!(backup.status_phase(), BackupPhase::Failed, "{file}");
        let reason = backup.status.failure_reason.unwrap_or_default();
        assert!(
            reason
                .ends_with(&format!("writing backups/one/{file} failed: the server answered 403 Forbidden")),
            "{reason}"
        );
        assert_eq!(backup_keys(&open).await?, Vec::<String>::new(), "{file}");
        home.runs.api::<Backup>().delete("one", &kube::api::DeleteParams::default()).await?;
        home.gone("one").await?;
        door.open();
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn without_its_last_file_there_is_no_backup_and_it_is_written_as_soon_as_it_can() -> anyhow::Result<()>
{
    let home = Home::new("after").await?;
    let daemon = home.daemon(&[]).await?;
    let (door, bucket, open) = behind_a_door(&home, Provider::Aws).await?;
    door.rule(&put(&bucket, "velero-backup.json"), Rule::Refuse);
    home.runs.create(&Backup::new("one", backup_of(&home.namespace))).await?;
    logged(&daemon, &["cannot carry out what is next for a backup", "its metadata is not in the bucket"])
        .await?;
    home.backup_is("one", BackupPhase::Finalizing).await?;
    let mut expected = all_keys("one", ".tar.gz");
    expected.retain(|key| key != "one/velero-backup.json");
    assert_eq!(backup_keys(&open).await?, expected);
    assert!(!open.store.backup_exists("one").await?);
    door.open();
    home.backup_is("one", BackupPhase::Completed).await?;
    assert_eq!(backup_keys(&open).await?, all_keys("one", ".tar.gz"));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_the_bucket_has_already_is_refused_by_every_provider() -> anyhow::Result<()> {
    let home = Home::new("taken").await?;
    let _daemon = home.daemon(&[]).await?;
    for provider in Provider::ALL {
        let mut bucket = Bucket::new(provider).await?;
        bucket.spec.default = false;
        let open = bucket.open().await?;
        open.raw.put(&open.path("backups/one/velero-backup.json"), "{}".into()).await?;
        let name = format!("{provider:?}").to_lowercase();
        home.location(&name, &bucket).await?;
        let mut spec = backup_of(&home.namespace);
        spec.storage_location = Some(name);
        let backup = home.runs.backup("one", spec, PATIENCE).await?;
        assert_eq!(backup.status_phase(), BackupPhase::Failed, "{provider:?}");
        assert_eq!(
            backup.status.failure_reason.as_deref(),
            Some("backup execution failed: backup already exists in object storage")
        );
        assert_eq!(backup_keys(&open).await?, ["one/velero-backup.json"]);
        let stored = open.raw.get(&open.path("backups/one/velero-backup.json")).await?.bytes().await?;
        assert_eq!(stored, "{}");
        home.runs.api::<Backup>().delete("one", &kube::api::DeleteParams::default()).await?;
        home.gone("one").await?;
    }
    Ok(())
}
