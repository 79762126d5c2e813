//! What needs the store's insides to be seen; what all providers do alike is in `tests/tests/stores/conformance.rs`.

use std::sync::Arc;

use futures::TryStreamExt;
use holdfast_policy::compression::Compression;
use holdfast_policy::velero;
use holdfast_policy::velero::BackupStorageLocationSpec;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, TagSet};
use tempfile::TempDir;

use super::providers::Connection;
use super::{BackupFile, BackupStore, Error, LocationSettings, Write};

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

async fn keys(store: &BackupStore) -> Vec<String> {
    let listed: Vec<_> = store.connection.data.list(Some(&store.prefix)).try_collect().await.unwrap();
    let mut keys: Vec<String> = listed.into_iter().map(|object| object.location.to_string()).collect();
    keys.sort();
    keys
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
