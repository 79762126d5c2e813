//! What every provider has to do alike.

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use holdfast::store::{BackupFile, Error, Once, Record, RestoreFile, Write};
use holdfast_policy::compression::Compression;
use holdfast_policy::velero;
use object_store::{ObjectStoreExt, PutMode, PutOptions};
use pretty_assertions::assert_eq;

use crate::provider::{Bucket, Open, Provider};

/// More than a page of any list has at S3 and Cloud Storage.
const MANY: usize = 1_050;
const AT_A_TIME: usize = 16;

/// With everything set that Velero's files always have.
fn backup(name: &str, ttl: &str) -> anyhow::Result<velero::Backup> {
    let spec = velero::BackupSpec {
        ttl: Some(ttl.parse()?),
        csi_snapshot_timeout: Some("10m".parse()?),
        item_operation_timeout: Some("4h".parse()?),
        ..Default::default()
    };
    let mut backup = velero::Backup::new(name, spec);
    backup.status.hook_status = Some(velero::HookStatus::default());
    Ok(backup)
}

/// The client repeats no bulk request whose connection the server has just closed.
async fn delete(open: &Open, path: &object_store::path::Path) -> object_store::Result<()> {
    match open.raw.delete(path).await {
        Err(object_store::Error::Generic { .. }) => match open.raw.delete(path).await {
            Err(object_store::Error::NotFound { .. }) => Ok(()),
            again => again,
        },
        once => once,
    }
}

async fn content_of(open: &Open, name: &str) -> anyhow::Result<Option<(Compression, u64, Vec<u8>)>> {
    let Some(archive) = open.store.read_archive(name).await? else { return Ok(None) };
    let (compression, size) = (archive.compression, archive.size);
    let mut content = Vec::new();
    let mut read = archive.into_blocking_read();
    let content = tokio::task::spawn_blocking(move || {
        std::io::Read::read_to_end(&mut read, &mut content).map(|_| content)
    });
    Ok(Some((compression, size, content.await??)))
}

async fn keys(open: &Open) -> anyhow::Result<Vec<String>> {
    let listed: Vec<_> = open.raw.list(Some(&open.prefix)).try_collect().await?;
    let mut keys: Vec<String> = listed.into_iter().map(|object| object.location.to_string()).collect();
    keys.sort();
    Ok(keys)
}

/// Starts with an empty place in a bucket and leaves one.
async fn conforms(open: &Open) -> anyhow::Result<()> {
    open.store.check().await?;
    assert_eq!(open.store.list_backups().await?, Vec::<String>::new());
    an_absent_backup_is_no_error(open).await?;
    a_backup_is_what_was_put(open).await?;
    an_archive_is_seen_once_it_is_finished(open).await?;
    deleting_takes_the_whole_folder_and_no_other(open).await?;
    what_ran_once_is_noted_for_good(open).await?;
    unexpected_folders_are_named(open).await?;
    the_providers_client_does_what_the_store_builds_on(open).await?;
    assert_eq!(keys(open).await?, Vec::<String>::new());
    Ok(())
}

async fn what_ran_once_is_noted_for_good(open: &Open) -> anyhow::Result<()> {
    let store = &open.store;
    let record = |noted: &str| Record {
        kind: "Restore",
        name: "drill",
        cluster: Some("staging"),
        source: "policies",
        policy: "drill",
        content_hash: "0123",
        noted: noted.to_owned(),
    };
    let before = Once::Backup { name: "before" };
    assert!(!store.has_run(&before).await?);
    store.note_run(&before, &record("1")).await?;
    store.note_run(&before, &record("2")).await?;
    assert!(store.has_run(&before).await?);
    let kept = open.raw.get(&open.path("metadata/holdfast/ran/backups/before.json")).await?;
    let kept = String::from_utf8(kept.bytes().await?.to_vec())?;
    assert!(kept.contains("\"noted\": \"1\""), "{kept}");

    // A name that the bucket holds counts as done, whoever used it.
    store.put_backup(&backup("held", "1h")?, Write::CreateNew).await?;
    assert!(store.has_run(&Once::Backup { name: "held" }).await?);

    let drill = |cluster| Once::Restore { name: "drill", cluster };
    assert!(!store.has_run(&drill("staging")).await?);
    store.put_restore_file("drill", RestoreFile::Logs, "log".into()).await?;
    assert!(store.has_run(&drill("staging")).await?, "its files are there");
    store.note_run(&drill("staging"), &record("1")).await?;
    assert!(store.has_run(&drill("staging")).await?);
    assert!(!store.has_run(&drill("other")).await?, "the files are the other cluster's");
    store.check().await?;
    store.delete_backup_folder("held").await?;
    store.delete_restore_folder("drill").await?;
    for key in keys(open).await? {
        delete(open, &object_store::path::Path::parse(key)?).await?;
    }
    Ok(())
}

async fn an_absent_backup_is_no_error(open: &Open) -> anyhow::Result<()> {
    let store = &open.store;
    assert!(!store.backup_exists("absent").await?);
    assert!(store.read_backup("absent").await?.is_none());
    assert!(store.read_archive("absent").await?.is_none());
    assert!(store.get_backup_file("absent", BackupFile::Logs).await?.is_none());
    assert!(store.get_restore_file("absent", RestoreFile::Logs).await?.is_none());
    store.delete_backup_folder("absent").await?;
    assert!(matches!(store.read_backup("../absent").await, Err(Error::Name { .. })));
    Ok(())
}

async fn a_backup_is_what_was_put(open: &Open) -> anyhow::Result<()> {
    let store = &open.store;
    store.put_backup(&backup("one", "1h")?, Write::CreateNew).await?;
    assert!(store.backup_exists("one").await?);
    assert_eq!(store.read_backup("one").await?, Some(backup("one", "1h")?));

    let again = store.put_backup(&backup("one", "2h")?, Write::CreateNew).await;
    assert!(matches!(again, Err(Error::AlreadyExists { .. })), "{again:?}");
    assert_eq!(store.read_backup("one").await?, Some(backup("one", "1h")?));
    // The same request, repeated because its answer got lost.
    store.put_backup(&backup("one", "1h")?, Write::CreateNew).await?;

    store.put_backup(&backup("one", "2h")?, Write::Overwrite).await?;
    assert_eq!(store.read_backup("one").await?, Some(backup("one", "2h")?));

    store.put_backup_file("one", BackupFile::Results, "first".into()).await?;
    store.put_backup_file("one", BackupFile::Results, "second".into()).await?;
    assert_eq!(
        store.get_backup_file("one", BackupFile::Results).await?.as_deref(),
        Some(b"second".as_slice())
    );
    assert!(store.get_backup_file("one", BackupFile::Logs).await?.is_none());
    store.put_restore_file("re", RestoreFile::VolumeInfo, "info".into()).await?;
    assert_eq!(
        store.get_restore_file("re", RestoreFile::VolumeInfo).await?.as_deref(),
        Some(b"info".as_slice())
    );

    assert_eq!(store.list_backups().await?, ["one"]);
    store.remove_backup("one").await?;
    assert!(!store.backup_exists("one").await?);
    assert_eq!(store.list_backups().await?, ["one"]);
    store.put_backup(&backup("one", "1h")?, Write::CreateNew).await?;
    Ok(())
}

async fn an_archive_is_seen_once_it_is_finished(open: &Open) -> anyhow::Result<()> {
    let store = &open.store;
    // Nothing, less than a part, and several with a rest.
    for (name, compression, size) in [
        ("none", Compression::Gzip, 0),
        ("small", Compression::Zstd, 70_000),
        ("large", Compression::Gzip, 12 * 1024 * 1024 + 1),
    ] {
        let content: Vec<u8> = (0..size).map(|at: u32| (at % 251) as u8).collect();
        let mut upload = store.begin_archive(name, compression).await?;
        for piece in content.chunks(1_000_000) {
            upload.write(Bytes::copy_from_slice(piece)).await?;
            assert!(store.read_archive(name).await?.is_none(), "{name} is seen too early");
        }
        upload.finish().await?;
        let stored = content_of(open, name).await?;
        assert!(stored == Some((compression, u64::from(size), content)), "{name} is not what was sent");
    }

    let before = keys(open).await?;
    let mut upload = store.begin_archive("aborted", Compression::Gzip).await?;
    upload.write(vec![1; 11 * 1024 * 1024].into()).await?;
    upload.abort().await?;
    let mut upload = store.begin_archive("dropped", Compression::Gzip).await?;
    upload.write(vec![1; 11 * 1024 * 1024].into()).await?;
    drop(upload);
    assert_eq!(keys(open).await?, before);
    Ok(())
}

async fn deleting_takes_the_whole_folder_and_no_other(open: &Open) -> anyhow::Result<()> {
    let store = &open.store;
    store.put_backup(&backup("one-more", "1h")?, Write::CreateNew).await?;
    store.delete_backup_folder("one").await?;
    store.delete_backup_folder("one").await?;
    for name in ["none", "small", "large", "aborted", "dropped"] {
        store.delete_backup_folder(name).await?;
    }
    assert_eq!(store.list_backups().await?, ["one-more"]);
    assert!(!store.backup_folder_is_empty("one-more").await?);
    store.delete_backup_record_last("one-more").await?;
    assert!(store.backup_folder_is_empty("one-more").await?);
    store.delete_restore_folder("re").await?;
    assert_eq!(keys(open).await?, Vec::<String>::new());
    Ok(())
}

async fn unexpected_folders_are_named(open: &Open) -> anyhow::Result<()> {
    let mut made = Vec::new();
    let mut put = async |key: &str| {
        let path = open.path(key);
        made.push(path.clone());
        open.raw.put(&path, "x".into()).await
    };
    for key in ["note.txt", "kopia/ns/x", "metadata/revision", "restic/x", "plugins/x"] {
        put(key).await?;
    }
    open.store.check().await?;
    for key in ["d/x", "a/x"] {
        put(key).await?;
    }
    let start = "the bucket has top-level folders that don't belong there:";
    assert_eq!(
        open.store.check().await.expect_err("folders that nobody knows").to_string(),
        format!("{start} a, d")
    );
    for key in ["c/x", "b/x"] {
        put(key).await?;
    }
    let told = open.store.check().await.expect_err("folders that nobody knows").to_string();
    assert_eq!(told, format!("{start} a, b, c, … (4 in all)"));
    for path in made {
        delete(open, &path).await?;
    }
    Ok(())
}

async fn the_providers_client_does_what_the_store_builds_on(open: &Open) -> anyhow::Result<()> {
    let path = open.path("kopia/a b/ü+c&d=e%20f~(g)'!.bin");
    let content = Bytes::from_static(b"0123456789abcdef");
    open.raw.put(&path, content.clone().into()).await?;
    let found = open.raw.get(&path).await?;
    assert_eq!((found.meta.size, found.meta.location.clone()), (16, path.clone()));
    assert_eq!(found.bytes().await?, content);
    assert_eq!(open.raw.get_range(&path, 5..11).await?, "56789a");
    assert_eq!(open.raw.head(&path).await?.size, 16);
    assert_eq!(keys(open).await?, [path.to_string()]);

    let create = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
    let again = open.raw.put_opts(&path, "other".into(), create).await;
    assert!(matches!(again, Err(object_store::Error::AlreadyExists { .. })), "{again:?}");
    open.raw.delete(&path).await?;
    let gone = open.raw.get(&path).await.map(drop);
    assert!(matches!(gone, Err(object_store::Error::NotFound { .. })), "{gone:?}");
    Ok(())
}

async fn lists_go_on_behind_the_first_page(open: &Open) -> anyhow::Result<()> {
    let names: Vec<String> = (0..MANY).map(|at| format!("many-{at:04}")).collect();
    let folders = names.iter().map(|name| open.path(&format!("backups/{name}/velero-backup.json")));
    let files = names.iter().map(|name| open.path(&format!("backups/many/{name}")));
    let all: Vec<_> = folders.chain(files).collect();
    let puts = futures::stream::iter(&all).map(|path| open.raw.put(path, "{}".into()));
    let _: Vec<_> = puts.buffer_unordered(AT_A_TIME).try_collect().await?;

    let mut expected = names.clone();
    expected.insert(0, "many".to_owned());
    assert_eq!(open.store.list_backups().await?, expected);
    assert_eq!(keys(open).await?.len(), 2 * MANY);
    open.store.delete_backup_folder("many").await?;
    assert!(open.store.backup_folder_is_empty("many").await?);
    assert_eq!(open.store.list_backups().await?, names);

    let rest = open.raw.list(Some(&open.path("backups"))).map_ok(|object| object.location).boxed();
    let _: Vec<_> = open.raw.delete_stream(rest).try_collect().await?;
    assert_eq!(keys(open).await?, Vec::<String>::new());
    Ok(())
}

async fn a_provider_conforms(provider: Provider) -> anyhow::Result<()> {
    let bucket = Bucket::new(provider).await?;
    let open = bucket.open().await?;
    conforms(&open).await?;
    lists_go_on_behind_the_first_page(&open).await?;
    conforms(&bucket.with_prefix("/späte Sicherung+1/a&b=c%41/").open().await?).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_conforms() -> anyhow::Result<()> {
    a_provider_conforms(Provider::Local).await
}

#[tokio::test(flavor = "multi_thread")]
async fn s3_conforms() -> anyhow::Result<()> {
    a_provider_conforms(Provider::Aws).await
}

#[tokio::test(flavor = "multi_thread")]
async fn azure_blob_storage_conforms() -> anyhow::Result<()> {
    a_provider_conforms(Provider::Azure).await
}

#[tokio::test(flavor = "multi_thread")]
async fn google_cloud_storage_conforms() -> anyhow::Result<()> {
    a_provider_conforms(Provider::Gcp).await
}
