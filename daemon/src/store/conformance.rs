//! What every provider has to do alike, run here over a folder and over memory.

use std::sync::Arc;

use bytes::Bytes;
use futures::TryStreamExt;
use holdfast_policy::compression::Compression;
use holdfast_policy::velero;
use holdfast_policy::velero::BackupStorageLocationSpec;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, TagSet};
use tempfile::TempDir;

use super::providers::Connection;
use super::{BackupFile, BackupStore, Error, LocationSettings, Once, Record, RestoreFile, Write};

fn local_settings(folder: &std::path::Path, bucket: &str, prefix: &str) -> LocationSettings {
    let mut spec = BackupStorageLocationSpec { provider: "local".into(), ..Default::default() };
    spec.object_storage.bucket = bucket.into();
    spec.object_storage.prefix = Some(prefix.into());
    spec.config.insert("path".into(), folder.display().to_string());
    LocationSettings::parse("default", &spec, None, None).unwrap()
}

async fn local(prefix: &str) -> (TempDir, BackupStore) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("bk")).unwrap();
    let store = BackupStore::open(&local_settings(folder.path(), "bk", prefix)).await.unwrap();
    (folder, store)
}

fn in_memory(prefix: &str) -> BackupStore {
    let objects: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    BackupStore {
        location: "default".into(),
        prefix: Path::parse(prefix).unwrap(),
        compression: Compression::Gzip,
        connection: Connection {
            data: Arc::clone(&objects),
            probe: objects,
            signer: None,
            part_bytes: 1024 * 1024,
            tags: TagSet::default(),
            folder: None,
        },
    }
}

/// With everything set that Velero's files always have.
fn backup(name: &str, ttl: &str) -> velero::Backup {
    let spec = velero::BackupSpec {
        ttl: Some(ttl.parse().unwrap()),
        csi_snapshot_timeout: Some("10m".parse().unwrap()),
        item_operation_timeout: Some("4h".parse().unwrap()),
        ..Default::default()
    };
    let mut backup = velero::Backup::new(name, spec);
    backup.status.hook_status = Some(velero::HookStatus::default());
    backup
}

async fn content_of(store: &BackupStore, name: &str) -> Option<(Compression, u64, Vec<u8>)> {
    let archive = store.read_archive(name).await.unwrap()?;
    let pieces: Vec<Bytes> = archive.stream.try_collect().await.unwrap();
    Some((archive.compression, archive.size, pieces.concat()))
}

async fn keys(store: &BackupStore) -> Vec<String> {
    let listed: Vec<_> = store.connection.data.list(Some(&store.prefix)).try_collect().await.unwrap();
    let mut keys: Vec<String> = listed.into_iter().map(|object| object.location.to_string()).collect();
    keys.sort();
    keys
}

/// Starts with an empty place in a bucket and leaves one.
async fn conforms(store: &BackupStore) {
    store.check().await.unwrap();
    assert_eq!(store.list_backups().await.unwrap(), Vec::<String>::new());
    an_absent_backup_is_no_error(store).await;
    a_backup_is_what_was_put(store).await;
    an_archive_is_seen_once_it_is_finished(store).await;
    deleting_takes_the_whole_folder_and_no_other(store).await;
    what_ran_once_is_noted_for_good(store).await;
    unexpected_folders_are_named(store).await;
}

async fn what_ran_once_is_noted_for_good(store: &BackupStore) {
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
    assert!(!store.has_run(&before).await.unwrap());
    store.note_run(&before, &record("1")).await.unwrap();
    store.note_run(&before, &record("2")).await.unwrap();
    assert!(store.has_run(&before).await.unwrap());
    let kept =
        store.connection.data.get(&store.path("metadata/holdfast/ran/backups/before.json").unwrap()).await;
    let kept = String::from_utf8(kept.unwrap().bytes().await.unwrap().to_vec()).unwrap();
    assert!(kept.contains("\"noted\": \"1\""), "{kept}");

    // A name that the bucket holds counts as done, whoever used it.
    store.put_backup(&backup("held", "1h"), Write::CreateNew).await.unwrap();
    assert!(store.has_run(&Once::Backup { name: "held" }).await.unwrap());

    let drill = |cluster| Once::Restore { name: "drill", cluster };
    assert!(!store.has_run(&drill("staging")).await.unwrap());
    store.put_restore_file("drill", RestoreFile::Logs, "log".into()).await.unwrap();
    assert!(store.has_run(&drill("staging")).await.unwrap(), "its files are there");
    store.note_run(&drill("staging"), &record("1")).await.unwrap();
    assert!(store.has_run(&drill("staging")).await.unwrap());
    assert!(!store.has_run(&drill("other")).await.unwrap(), "the files are the other cluster's");
    store.check().await.unwrap();
    store.delete_backup_folder("held").await.unwrap();
    store.delete_restore_folder("drill").await.unwrap();
}

async fn an_absent_backup_is_no_error(store: &BackupStore) {
    assert!(!store.backup_exists("absent").await.unwrap());
    assert!(store.read_backup("absent").await.unwrap().is_none());
    assert!(store.read_archive("absent").await.unwrap().is_none());
    assert!(store.get_backup_file("absent", BackupFile::Logs).await.unwrap().is_none());
    assert!(store.get_restore_file("absent", RestoreFile::Logs).await.unwrap().is_none());
    store.delete_backup_folder("absent").await.unwrap();
    assert!(matches!(store.read_backup("../absent").await, Err(Error::Name { .. })));
}

async fn a_backup_is_what_was_put(store: &BackupStore) {
    store.put_backup(&backup("one", "1h"), Write::CreateNew).await.unwrap();
    assert!(store.backup_exists("one").await.unwrap());
    assert_eq!(store.read_backup("one").await.unwrap(), Some(backup("one", "1h")));

    let again = store.put_backup(&backup("one", "2h"), Write::CreateNew).await;
    assert!(matches!(again, Err(Error::AlreadyExists { .. })), "{again:?}");
    assert_eq!(store.read_backup("one").await.unwrap(), Some(backup("one", "1h")));
    // The same request, repeated because its answer got lost.
    store.put_backup(&backup("one", "1h"), Write::CreateNew).await.unwrap();

    store.put_backup(&backup("one", "2h"), Write::Overwrite).await.unwrap();
    assert_eq!(store.read_backup("one").await.unwrap(), Some(backup("one", "2h")));

    store.put_backup_file("one", BackupFile::Results, "first".into()).await.unwrap();
    store.put_backup_file("one", BackupFile::Results, "second".into()).await.unwrap();
    assert_eq!(store.get_backup_file("one", BackupFile::Results).await.unwrap().unwrap(), "second");
    assert!(store.get_backup_file("one", BackupFile::Logs).await.unwrap().is_none());
    store.put_restore_file("re", RestoreFile::VolumeInfo, "info".into()).await.unwrap();
    assert_eq!(store.get_restore_file("re", RestoreFile::VolumeInfo).await.unwrap().unwrap(), "info");

    assert_eq!(store.list_backups().await.unwrap(), ["one"]);
    store.remove_backup("one").await.unwrap();
    assert!(!store.backup_exists("one").await.unwrap());
    assert_eq!(store.list_backups().await.unwrap(), ["one"]);
    store.put_backup(&backup("one", "1h"), Write::CreateNew).await.unwrap();
}

async fn an_archive_is_seen_once_it_is_finished(store: &BackupStore) {
    // Nothing, one part, and several with a rest.
    for (name, compression, size) in [
        ("none", Compression::Gzip, 0),
        ("small", Compression::Zstd, 70_000),
        ("large", Compression::Gzip, 7_340_033),
    ] {
        let content: Vec<u8> = (0..size).map(|at: u32| (at % 251) as u8).collect();
        let mut upload = store.begin_archive(name, compression).await.unwrap();
        for piece in content.chunks(300_000) {
            upload.write(Bytes::copy_from_slice(piece)).await.unwrap();
            assert!(store.read_archive(name).await.unwrap().is_none(), "{name} is seen too early");
        }
        upload.finish().await.unwrap();
        assert_eq!(content_of(store, name).await, Some((compression, u64::from(size), content)), "{name}");
    }

    let before = keys(store).await;
    let mut upload = store.begin_archive("aborted", Compression::Gzip).await.unwrap();
    upload.write(vec![1; 3_000_000].into()).await.unwrap();
    upload.abort().await.unwrap();
    let mut upload = store.begin_archive("dropped", Compression::Gzip).await.unwrap();
    upload.write(vec![1; 3_000_000].into()).await.unwrap();
    drop(upload);
    assert_eq!(keys(store).await, before);
}

async fn deleting_takes_the_whole_folder_and_no_other(store: &BackupStore) {
    store.put_backup(&backup("one-more", "1h"), Write::CreateNew).await.unwrap();
    store.delete_backup_folder("one").await.unwrap();
    store.delete_backup_folder("one").await.unwrap();
    for name in ["none", "small", "large", "aborted", "dropped"] {
        store.delete_backup_folder(name).await.unwrap();
    }
    assert_eq!(store.list_backups().await.unwrap(), ["one-more"]);
    store.delete_backup_folder("one-more").await.unwrap();
    store.delete_restore_folder("re").await.unwrap();
    assert_eq!(keys(store).await, Vec::<String>::new());
}

async fn unexpected_folders_are_named(store: &BackupStore) {
    let put = async |key: &str| {
        let path = store.path(key).unwrap();
        store.connection.data.put(&path, "x".into()).await.unwrap();
        path
    };
    let mut made = Vec::new();
    for key in ["note.txt", "kopia/ns/x", "metadata/revision", "restic/x", "plugins/x"] {
        made.push(put(key).await);
    }
    store.check().await.unwrap();
    for key in ["d/x", "a/x"] {
        made.push(put(key).await);
    }
    assert_eq!(
        store.check().await.unwrap_err().to_string(),
        "the bucket has top-level folders that don't belong there: a, d"
    );
    for key in ["c/x", "b/x"] {
        made.push(put(key).await);
    }
    assert_eq!(
        store.check().await.unwrap_err().to_string(),
        "the bucket has top-level folders that don't belong there: a, b, c, … (4 in all)"
    );
    for path in made {
        store.connection.data.delete(&path).await.unwrap();
    }
}

#[tokio::test]
async fn a_folder_conforms() {
    let (_folder, store) = local("").await;
    conforms(&store).await;
}

#[tokio::test]
async fn a_folder_with_a_prefix_conforms() {
    let (_folder, store) = local("a/b").await;
    conforms(&store).await;
}

#[tokio::test]
async fn memory_conforms() {
    conforms(&in_memory("")).await;
    conforms(&in_memory("a/b")).await;
}

/// `eval "$(cargo testbed up --dir D --s3)"` sets what this needs.
#[tokio::test]
#[ignore = "needs S3_ENDPOINT, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, and a bucket named backups there"]
async fn an_s3_server_conforms() {
    drop(rustls::crypto::ring::default_provider().install_default());
    let variable = |name: &str| std::env::var(name).unwrap();
    let (id, secret) = (variable("AWS_ACCESS_KEY_ID"), variable("AWS_SECRET_ACCESS_KEY"));
    let secret = format!("[default]\naws_access_key_id={id}\naws_secret_access_key={secret}\n");
    let mut spec = BackupStorageLocationSpec { provider: "aws".into(), ..Default::default() };
    spec.object_storage.bucket = "backups".into();
    spec.object_storage.prefix = Some(format!("conformance-{}", uuid::Uuid::new_v4()));
    spec.config.insert("s3Url".into(), variable("S3_ENDPOINT"));
    spec.config.insert("s3ForcePathStyle".into(), "true".into());
    let settings = LocationSettings::parse("default", &spec, Some(secret.clone().into()), None).unwrap();
    conforms(&BackupStore::open(&settings).await.unwrap()).await;

    spec.object_storage.bucket = "absent".into();
    let settings = LocationSettings::parse("default", &spec, Some(secret.into()), None).unwrap();
    let store = BackupStore::open(&settings).await.unwrap();
    for told in [
        store.check().await.unwrap_err(),
        store.backup_exists("one").await.unwrap_err(),
        store.read_archive("one").await.unwrap_err(),
    ] {
        assert!(told.with_causes().contains("NoSuchBucket"), "{}", told.with_causes());
    }
}

#[tokio::test]
async fn a_prefix_stands_before_every_key() {
    let store = in_memory("a/b");
    store.put_backup(&backup("one", "1h"), Write::CreateNew).await.unwrap();
    assert_eq!(keys(&store).await, ["a/b/backups/one/velero-backup.json"]);
}

#[tokio::test]
async fn a_missing_bucket_folder_is_told_and_never_made() {
    let (folder, store) = local("").await;
    let bucket = folder.path().join("bk");
    let mut upload = store.begin_archive("one", Compression::Gzip).await.unwrap();
    std::fs::remove_dir(&bucket).unwrap();

    let expected = format!("the bucket's folder {} does not exist", bucket.display());
    assert_eq!(store.check().await.unwrap_err().to_string(), expected);
    assert!(matches!(store.list_backups().await, Err(Error::FolderMissing { .. })));
    assert!(matches!(store.backup_exists("one").await, Err(Error::FolderMissing { .. })));
    assert!(matches!(store.read_archive("one").await, Err(Error::FolderMissing { .. })));
    let put = store.put_backup(&backup("one", "1h"), Write::CreateNew).await;
    assert!(matches!(put, Err(Error::FolderMissing { .. })));
    assert!(upload.write(vec![0; 2_000_000].into()).await.is_err());
    assert!(upload.finish().await.is_err());
    let opened = BackupStore::open(&local_settings(folder.path(), "bk", "")).await;
    assert!(matches!(opened, Err(Error::FolderMissing { .. })));
    assert!(!bucket.exists());
}

#[tokio::test]
async fn a_dropped_upload_leaves_no_file_on_the_disk() {
    let (folder, store) = local("").await;
    let mut upload = store.begin_archive("one", Compression::Gzip).await.unwrap();
    upload.write(vec![1; 3_000_000].into()).await.unwrap();
    assert_eq!(files_below(folder.path()).len(), 1);
    upload.abort().await.unwrap();
    assert_eq!(files_below(folder.path()), Vec::<String>::new());
}

#[tokio::test]
async fn deleting_a_backup_takes_what_a_crash_left_of_an_upload() {
    let (folder, store) = local("").await;
    store.put_backup(&backup("one", "1h"), Write::CreateNew).await.unwrap();
    std::fs::write(folder.path().join("bk/backups/one/one.tar.gz#1"), "half").unwrap();
    store.delete_backup_folder("one").await.unwrap();
    assert_eq!(files_below(folder.path()), Vec::<String>::new());
    assert_eq!(store.list_backups().await.unwrap(), Vec::<String>::new());
}

#[tokio::test]
async fn a_file_that_is_no_backup_is_refused() {
    let store = in_memory("");
    let path = Path::from("backups/one/velero-backup.json");
    for (content, expected) in [
        ("{", "decoding backups/one/velero-backup.json failed"),
        ("{}", "backups/one/velero-backup.json is no velero.io/v1 Backup but no apiVersion no kind"),
        (
            r#"{"apiVersion":"velero.io/v1","kind":"Restore"}"#,
            "backups/one/velero-backup.json is no velero.io/v1 Backup but velero.io/v1 Restore",
        ),
    ] {
        store.connection.data.put(&path, content.into()).await.unwrap();
        assert_eq!(store.read_backup("one").await.unwrap_err().to_string(), expected);
    }
}

#[tokio::test]
async fn a_server_that_cannot_be_reached_is_told_with_its_address() {
    drop(rustls::crypto::ring::default_provider().install_default());
    let mut spec = BackupStorageLocationSpec { provider: "aws".into(), ..Default::default() };
    spec.object_storage.bucket = "bk".into();
    spec.config.insert("s3Url".into(), "http://127.0.0.1:9".into());
    let secret = b"[default]\naws_access_key_id=AKIA\naws_secret_access_key=TOPSECRET\n".to_vec();
    let settings = LocationSettings::parse("default", &spec, Some(secret), None).unwrap();
    assert!(!format!("{settings:?}").contains("TOPSECRET"));
    let store = BackupStore::open(&settings).await.unwrap();
    let told = store.check().await.unwrap_err().with_causes();
    assert_eq!(told, "listing / failed: 127.0.0.1:9: Connection refused (os error 111)");
}

#[tokio::test]
async fn a_signed_url_leads_to_the_public_server() {
    drop(rustls::crypto::ring::default_provider().install_default());
    let mut spec = BackupStorageLocationSpec { provider: "aws".into(), ..Default::default() };
    spec.object_storage.bucket = "bk".into();
    spec.object_storage.prefix = Some("p".into());
    spec.config.insert("s3Url".into(), "http://127.0.0.1:9".into());
    spec.config.insert("publicUrl".into(), "https://s3.example.com".into());
    spec.config.insert("s3ForcePathStyle".into(), "true".into());
    let secret = b"[default]\naws_access_key_id=AKIA\naws_secret_access_key=TOPSECRET\n".to_vec();
    let settings = LocationSettings::parse("default", &spec, Some(secret), None).unwrap();
    let store = BackupStore::open(&settings).await.unwrap();
    let file = super::StoredFile::BackupFile { backup: "one".into(), file: BackupFile::Logs };
    let url = store.sign(&file, std::time::Duration::from_secs(600)).await.unwrap().unwrap();
    assert!(url.starts_with("https://s3.example.com/bk/p/backups/one/one-logs.gz?X-Amz-"), "{url}");
    assert!(url.contains("X-Amz-Expires=600"), "{url}");
}

fn files_below(folder: &std::path::Path) -> Vec<String> {
    walkdir::WalkDir::new(folder)
        .into_iter()
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.file_type().is_file())
        .map(|entry| entry.path().display().to_string())
        .collect()
}
