use bytes::Bytes;
use holdfast_policy::velero::labels::BACKUP_NAME;
use pretty_assertions::assert_eq;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::*;
use crate::archive::{ItemPath, Writer, gzip_json};
use crate::store::LocationSettings;

/// A bucket with one backup in it, whole as Velero writes one without volumes.
async fn bucket() -> (TempDir, BackupStore) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("b")).unwrap();
    let spec = serde_json::from_value(json!({
        "provider": "local", "config": {"path": folder.path()}, "objectStorage": {"bucket": "b"},
    }))
    .unwrap();
    let settings = LocationSettings::parse("default", &spec, None, None).unwrap();
    let store = BackupStore::open(&settings).await.unwrap();
    put(&store, BackupFile::VolumeSnapshots, &Value::Null).await;
    put(&store, BackupFile::PodVolumeBackups, &Value::Null).await;
    put(&store, BackupFile::VolumeInfo, &json!([])).await;
    put(&store, BackupFile::ResourceList, &json!({"v1/ConfigMap": ["shop/settings"]})).await;
    archive(&store, &[]).await;
    store.put_backup(&backup(json!({"phase": "Completed"})), Write::CreateNew).await.unwrap();
    (folder, store)
}

fn backup(status: Value) -> velero::Backup {
    serde_json::from_value(json!({"metadata": {"name": "shop"}, "status": status})).unwrap()
}

async fn put(store: &BackupStore, file: BackupFile, content: &Value) {
    store.put_backup_file("shop", file, gzip_json(content).unwrap()).await.unwrap();
}

async fn archive(store: &BackupStore, items: &[(&str, Value)]) {
    let compression = store.compression();
    let (output, mut chunks) = tokio::sync::mpsc::channel(4);
    let writer = Writer::start(compression, "2026-11-23T10:00:00Z".parse().unwrap(), output);
    for (resource, item) in items {
        let path = ItemPath {
            group_resource: (*resource).into(),
            version: "v1".into(),
            namespace: item["metadata"]["namespace"].as_str().map(Into::into),
            name: item["metadata"]["name"].as_str().unwrap().into(),
        };
        writer.append(path, serde_json::to_vec(item).unwrap().into()).await.unwrap();
    }
    let mut upload = store.begin_archive("shop", compression).await.unwrap();
    let sending = async {
        while let Some(chunk) = chunks.recv().await {
            upload.write(chunk).await.unwrap();
        }
        upload.finish().await.unwrap();
    };
    let (written, ()) = tokio::join!(writer.finish(), sending);
    written.unwrap();
}

fn content(name: &str, owner: &str) -> (&'static str, Value) {
    let item = json!({
        "apiVersion": "snapshot.storage.k8s.io/v1", "kind": "VolumeSnapshotContent",
        "metadata": {"name": name, "labels": {BACKUP_NAME: owner}},
        "status": {"snapshotHandle": "handle"},
    });
    ("volumesnapshotcontents.snapshot.storage.k8s.io", item)
}

fn data_upload(name: &str, owner: &str, snapshot: &str) -> (&'static str, Value) {
    let item = json!({
        "apiVersion": "velero.io/v2alpha1", "kind": "DataUpload",
        "metadata": {"name": name, "namespace": "velero", "labels": {BACKUP_NAME: owner}},
        "status": {"snapshotID": snapshot},
    });
    ("datauploads.velero.io", item)
}

async fn kept(store: &BackupStore) -> Vec<String> {
    undeletable(&survey(store, "shop").await.unwrap().data, &[])
}

fn files_in(folder: &TempDir) -> Vec<String> {
    let path = folder.path().join("b/backups/shop");
    let Ok(entries) = std::fs::read_dir(path) else { return Vec::new() };
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[tokio::test]
async fn a_marked_backup_is_none_to_anybody_who_reads_the_bucket() {
    let (folder, store) = bucket().await;
    let found = record(&store, "shop").await.unwrap();
    assert!(matches!(found, Record::Whole(_)));
    assert_eq!(survey(&store, "shop").await.unwrap().data, []);
    mark(&store, &found, Data::MayBeThere).await.unwrap();
    let recorded = store.read_backup("shop").await.unwrap().unwrap();
    assert_eq!(recorded.status_phase(), BackupPhase::Deleting);
    let found = record(&store, "shop").await.unwrap();
    assert!(matches!(found, Record::Marked(_, Data::MayBeThere)));
    mark(&store, &found, Data::Gone).await.unwrap();
    assert!(matches!(record(&store, "shop").await.unwrap(), Record::Marked(_, Data::Gone)));
    files(&store, "shop").await.unwrap();
    assert!(files_in(&folder).is_empty());
    // Once more, as after a crash.
    assert!(matches!(record(&store, "shop").await.unwrap(), Record::Absent));
    files(&store, "shop").await.unwrap();
}

#[tokio::test]
async fn a_csi_snapshot_that_the_volume_info_has_otherwise_is_not_deleted() {
    let (_folder, store) = bucket().await;
    archive(&store, &[content("content-1", "shop")]).await;
    put(
        &store,
        BackupFile::ResourceList,
        &json!({"snapshot.storage.k8s.io/v1/VolumeSnapshotContent": ["content-1"]}),
    )
    .await;
    for (vsc_name, handle, is_found) in [
        ("content-1", "handle", true),
        ("content-2", "other", true),
        ("content-1", "other", false),
        ("content-2", "handle", false),
    ] {
        let info = json!({"vscName": vsc_name, "snapshotHandle": handle});
        let entry = json!([{"backupMethod": "CSISnapshot", "csiSnapshotInfo": info}]);
        put(&store, BackupFile::VolumeInfo, &entry).await;
        match survey(&store, "shop").await {
            Ok(survey) => assert_eq!((survey.data.len(), is_found), (1, true), "{vsc_name} {handle}"),
            Err(error) => {
                assert!(!is_found && matches!(error, Error::MixedUp { .. }), "{vsc_name} {handle}: {error}");
            }
        }
    }
}

#[tokio::test]
async fn csi_snapshots_of_a_group_are_deleted_together() {
    let (_folder, store) = bucket().await;
    let of_group = |name: &str, group: &str| {
        let (kind, mut item) = content(name, "shop");
        item["spec"] = json!({"driver": "disk.example"});
        item["status"]["volumeGroupSnapshotHandle"] = json!(group);
        (kind, item)
    };
    let contents = [of_group("a", "g-1"), content("b", "shop"), of_group("c", "g-2"), of_group("d", "g-1")];
    archive(&store, &contents).await;
    let listed = json!({"snapshot.storage.k8s.io/v1/VolumeSnapshotContent": ["a", "b", "c", "d"]});
    put(&store, BackupFile::ResourceList, &listed).await;
    let found: Vec<(String, Vec<String>)> = survey(&store, "shop")
        .await
        .unwrap()
        .data
        .into_iter()
        .map(|data| match data {
            VolumeData::Csi { content, item: _ } => (String::new(), vec![content]),
            VolumeData::CsiGroup { group, contents } => {
                (group, contents.into_iter().map(|(name, _)| name).collect())
            }
            other => panic!("{other}"),
        })
        .collect();
    let expected = [("", &["b"][..]), ("g-1", &["a", "d"]), ("g-2", &["c"])];
    let expected = expected.map(|(group, names)| {
        (group.to_owned(), names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>())
    });
    assert_eq!(found, expected);
}

#[tokio::test]
async fn the_record_stays_while_another_file_does() {
    let (folder, store) = bucket().await;
    let layer: crate::store::Layer = std::sync::Arc::new(|bucket| {
        std::sync::Arc::new(fragile::Fragile { bucket, unbreakable: "shop-volumeinfo.json.gz" })
    });
    let fragile = store.through(&layer);
    let error = files(&fragile, "shop").await.unwrap_err();
    assert!(matches!(error, Error::Remove(_)), "{error}");
    assert_eq!(files_in(&folder), ["shop-volumeinfo.json.gz", "velero-backup.json"]);
}

#[tokio::test]
async fn data_that_no_action_takes_keeps_the_backup_and_is_named() {
    let (_folder, store) = bucket().await;
    let native = json!([
        {"spec": {"location": "ebs", "persistentVolumeName": "pv-1"}, "status": {"providerSnapshotID": "snap-1"}},
        {"spec": {"location": "ebs", "persistentVolumeName": "pv-2"}, "status": {}},
    ]);
    put(&store, BackupFile::VolumeSnapshots, &native).await;
    let pods = json!([
        {"metadata": {"name": "shop-x1"}, "status": {"snapshotID": "k-1"}},
        {"metadata": {"name": "shop-x2"}, "status": {}},
    ]);
    put(&store, BackupFile::PodVolumeBackups, &pods).await;
    put(
        &store,
        BackupFile::ResourceList,
        &json!({"snapshot.storage.k8s.io/v1/VolumeSnapshotContent": ["a"]}),
    )
    .await;
    archive(
        &store,
        &[
            content("ours", "shop"),
            content("theirs", "blog"),
            data_upload("moved", "shop", "m-1"),
            data_upload("moved-elsewhere", "blog", "m-2"),
            data_upload("moved-nothing", "shop", ""),
        ],
    )
    .await;
    let end = "this release can't delete it, so the backup is kept";
    assert_eq!(
        kept(&store).await,
        [
            format!("error deleting snapshot snap-1: {end}"),
            format!("error deleting pod volume snapshots: snapshot k-1 of PodVolumeBackup shop-x1: {end}"),
            format!("error deleting CSI snapshot ours: {end}"),
            format!("error deleting moved snapshot data: DataUpload moved: {end}"),
        ]
    );
}

#[tokio::test]
async fn a_native_snapshot_without_an_id_holds_up_nothing() {
    let (_folder, store) = bucket().await;
    let native = json!([{"spec": {"persistentVolumeName": "pv-2"}, "status": {"providerSnapshotID": ""}}]);
    put(&store, BackupFile::VolumeSnapshots, &native).await;
    let found = survey(&store, "shop").await.unwrap();
    assert_eq!(found.data, []);
    assert_eq!(found.warnings, ["snapshot of volume \"pv-2\" has no ID and is passed over"]);
}

#[tokio::test]
async fn an_archive_whose_lists_are_missing_is_looked_into_and_a_damaged_one_keeps_the_backup() {
    let (folder, store) = bucket().await;
    archive(&store, &[content("ours", "shop")]).await;
    let path = folder.path().join("b/backups/shop");
    assert!(kept(&store).await.is_empty(), "the lists beside the archive name no snapshots");
    std::fs::remove_file(path.join("shop-resource-list.json.gz")).unwrap();
    assert_eq!(kept(&store).await.len(), 1);
    std::fs::write(path.join("shop.tar.gz"), b"no archive").unwrap();
    let error = survey(&store, "shop").await.unwrap_err();
    assert!(error.to_string().starts_with("error invoking delete item actions"), "{error}");
    std::fs::remove_file(path.join("shop.tar.gz")).unwrap();
    assert!(kept(&store).await.is_empty(), "an archive that is not there holds nothing");
}

#[tokio::test]
async fn a_rule_ends_only_what_the_bucket_knows_as_it_is() {
    let (_folder, store) = bucket().await;
    let status = json!({
        "phase": "Completed", "startTimestamp": "2026-11-23T10:00:00Z", "expiration": "2026-11-24T10:00:00Z",
    });
    let unlike = async |recorded: Value| {
        store.put_backup(&backup(recorded), Write::Overwrite).await.unwrap();
        unlike_its_record(&backup(status.clone()), &record(&store, "shop").await.unwrap())
    };
    assert_eq!(unlike(status.clone()).await, None);
    let mut marked = status.clone();
    marked["phase"] = json!("Deleting");
    assert_eq!(unlike(marked).await, None);
    let mut later = status.clone();
    later["expiration"] = json!("2026-11-25T10:00:00Z");
    assert_eq!(unlike(later).await.as_deref(), Some("velero-backup.json has a later expiration"));
    let mut another = status.clone();
    another["startTimestamp"] = json!("2026-11-23T11:00:00Z");
    assert_eq!(
        unlike(another).await.as_deref(),
        Some("velero-backup.json is that of another run of this name")
    );
    store.remove_backup("shop").await.unwrap();
    let found = record(&store, "shop").await.unwrap();
    assert!(unlike_its_record(&backup(status), &found).is_some());
    assert_eq!(unlike_its_record(&backup(json!({"phase": "FailedValidation"})), &found), None);
}

#[tokio::test]
async fn a_record_that_can_t_be_read_stops_a_rule_and_no_person() {
    let (folder, store) = bucket().await;
    std::fs::write(folder.path().join("b/backups/shop/velero-backup.json"), Bytes::from_static(b"{"))
        .unwrap();
    let found = record(&store, "shop").await.unwrap();
    assert!(matches!(found, Record::Unreadable { .. }));
    assert!(unlike_its_record(&backup(json!({"phase": "Completed"})), &found).is_some());
    mark(&store, &found, Data::Gone).await.unwrap();
    files(&store, "shop").await.unwrap();
    assert!(files_in(&folder).is_empty());
}

/// A bucket in which one file can't be deleted.
mod fragile {
    use std::fmt;
    use std::sync::Arc;

    use async_trait::async_trait;
    use futures::StreamExt;
    use futures::stream::BoxStream;
    use object_store::path::Path;
    use object_store::{
        CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
        PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
    };

    #[derive(Debug)]
    pub(super) struct Fragile {
        pub(super) bucket: Arc<dyn ObjectStore>,
        pub(super) unbreakable: &'static str,
    }

    impl fmt::Display for Fragile {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            self.bucket.fmt(f)
        }
    }

    #[async_trait]
    impl ObjectStore for Fragile {
        async fn put_opts(&self, at: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
            self.bucket.put_opts(at, payload, options).await
        }

        async fn put_multipart_opts(
            &self,
            at: &Path,
            options: PutMultipartOptions,
        ) -> Result<Box<dyn MultipartUpload>> {
            self.bucket.put_multipart_opts(at, options).await
        }

        async fn get_opts(&self, at: &Path, options: GetOptions) -> Result<GetResult> {
            self.bucket.get_opts(at, options).await
        }

        fn delete_stream(&self, paths: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
            let unbreakable = self.unbreakable;
            let (bucket, paths) = (self.bucket.clone(), paths);
            let deleted = paths.then(move |path| {
                let bucket = bucket.clone();
                async move {
                    let path = path?;
                    if path.filename() == Some(unbreakable) {
                        return Err(object_store::Error::Generic { store: "b", source: "it holds".into() });
                    }
                    object_store::ObjectStoreExt::delete(&bucket, &path).await.map(|()| path)
                }
            });
            deleted.boxed()
        }

        fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
            self.bucket.list(prefix)
        }

        async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
            self.bucket.list_with_delimiter(prefix).await
        }

        async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
            self.bucket.copy_opts(from, to, options).await
        }
    }
}
