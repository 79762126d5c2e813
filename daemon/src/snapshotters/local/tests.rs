use std::os::unix::fs::PermissionsExt;

use pretty_assertions::assert_eq;
use serde_json::json;
use tempfile::TempDir;

use super::super::provider;
use super::*;
use crate::repository::Password;

struct Place {
    folder: TempDir,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("copies")).unwrap();
        std::fs::create_dir_all(folder.path().join("node/srv")).unwrap();
        Self { folder }
    }

    async fn open(&self) -> Result<Arc<dyn VolumeSnapshotter>, Error> {
        let path = |name: &str| self.folder.path().join(name).display().to_string();
        let config = [("path", path("copies")), ("root", path("node"))];
        let opening = Opening {
            name: "copies".to_owned(),
            config: config.into_iter().map(|(key, value)| (key.to_owned(), value)).collect(),
            credentials: None,
            password: Password::new("secret"),
            nodes: BTreeSet::from(["only".to_owned()]),
        };
        provider("local").unwrap().open(opening).await
    }

    /// Where the daemon sees a folder of the node.
    fn seen(&self, path: &str) -> PathBuf {
        self.folder.path().join("node").join(path.trim_start_matches('/'))
    }

    /// Files that the repository has in a folder.
    fn stored(&self, folder: &str) -> usize {
        let folder = self.folder.path().join("copies/restic/local.volumes").join(folder);
        let files = walkdir(&folder);
        files.len()
    }
}

fn walkdir(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let paths = entries.map(|entry| entry.unwrap().path());
    paths.flat_map(|path| if path.is_dir() { walkdir(&path) } else { vec![path] }).collect()
}

fn binding(backup: &str, volume: &str) -> Binding {
    Binding {
        backup: backup.to_owned(),
        backup_uid: format!("uid-of-{backup}"),
        volume: volume.to_owned(),
        labels: BTreeMap::new(),
    }
}

fn subject(path: &str) -> Subject {
    Subject { volume: path.to_owned(), zone: String::new() }
}

fn wanted(snapshot: &str, path: &str, binding: Binding) -> Wanted {
    Wanted {
        snapshot: snapshot.to_owned(),
        subject: subject(path),
        facts: VolumeFacts::default(),
        binding,
        token: "0123".to_owned(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_comes_back_with_its_owner_and_nothing_is_left_when_its_snapshots_are_gone() {
    let place = Place::new();
    let local = place.open().await.unwrap();
    let data = place.seen("/srv/data");
    std::fs::create_dir_all(data.join("wal")).unwrap();
    std::fs::write(data.join("table"), "rows").unwrap();
    std::fs::write(data.join("wal/1"), vec![7; 3_000_000]).unwrap();
    std::fs::set_permissions(&data, std::fs::Permissions::from_mode(0o2750)).unwrap();
    let one = local.create_snapshot(&subject("/srv/data"), &binding("one", "pv")).await.unwrap();
    let stored = place.stored("data");
    let two = local.create_snapshot(&subject("/srv/data"), &binding("two", "pv")).await.unwrap();
    // The second one holds the same: nothing is stored again but what says so.
    assert_eq!(place.stored("data"), stored);

    std::fs::write(data.join("table"), "newer rows").unwrap();
    let beside = local.create_volume(&wanted(&one, "/srv/data", binding("one", "pv"))).await.unwrap();
    assert_eq!(beside, "/srv/data-0123");
    assert_eq!(std::fs::read(place.seen(&beside).join("table")).unwrap(), b"rows");
    assert_eq!(std::fs::read(data.join("table")).unwrap(), b"newer rows");

    std::fs::remove_dir_all(&data).unwrap();
    let again = local.create_volume(&wanted(&one, "/srv/data", binding("one", "pv"))).await.unwrap();
    assert_eq!(again, "/srv/data");
    assert_eq!(std::fs::read(data.join("wal/1")).unwrap().len(), 3_000_000);
    assert_eq!(std::fs::metadata(&data).unwrap().permissions().mode() & 0o7777, 0o2750);

    for (snapshot, backup) in [(&one, "one"), (&two, "two")] {
        local.delete_snapshot(snapshot, &binding(backup, "pv")).await.unwrap();
        local.delete_snapshot(snapshot, &binding(backup, "pv")).await.unwrap();
    }
    // Once for both.
    assert_eq!((place.stored("snapshots"), place.stored("data")), (0, stored));
    local.tidy().await.unwrap();
    assert_eq!((place.stored("snapshots"), place.stored("data"), place.stored("index")), (0, 0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_id_that_leads_to_another_volume_or_backup_is_refused() {
    let place = Place::new();
    let local = place.open().await.unwrap();
    std::fs::create_dir(place.seen("/srv/data")).unwrap();
    let snapshot = local.create_snapshot(&subject("/srv/data"), &binding("one", "pv")).await.unwrap();
    for other in [binding("one", "other"), binding("two", "pv")] {
        let refused = local.create_volume(&wanted(&snapshot, "/srv/elsewhere", other.clone())).await;
        assert!(refused.unwrap_err().to_string().contains("is not of this backup and volume"));
        let refused = local.delete_snapshot(&snapshot, &other).await;
        assert!(refused.unwrap_err().to_string().contains("is not of this backup and volume"));
    }
    assert!(!place.seen("/srv/elsewhere").exists());
    assert_eq!(place.stored("snapshots"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_interrupted_attempt_left_is_deleted_by_the_backup_s_uid() {
    let place = Place::new();
    let local = place.open().await.unwrap();
    local.delete_all_of("uid-of-one").await.unwrap();
    local.tidy().await.unwrap();
    std::fs::create_dir(place.seen("/srv/data")).unwrap();
    for (backup, volume) in [("one", "a"), ("one", "b"), ("two", "a")] {
        local.create_snapshot(&subject("/srv/data"), &binding(backup, volume)).await.unwrap();
    }
    local.delete_all_of("uid-of-one").await.unwrap();
    assert_eq!(place.stored("snapshots"), 1);
}

#[tokio::test]
async fn a_location_whose_folder_is_missing_is_no_location() {
    let place = Place::new();
    std::fs::remove_dir(place.folder.path().join("copies")).unwrap();
    assert!(place.open().await.is_err());
}

#[tokio::test]
async fn only_folders_of_the_node_are_volumes() {
    let place = Place::new();
    let local = place.open().await.unwrap();
    let id = |spec: Value| local.volume_id(&json!({"spec": spec}));
    assert_eq!(id(json!({"hostPath": {"path": "/srv/a"}})).unwrap(), Some("/srv/a".to_owned()));
    assert_eq!(id(json!({"local": {"path": "/srv/b"}})).unwrap(), Some("/srv/b".to_owned()));
    assert_eq!(id(json!({"nfs": {"path": "/srv/c"}})).unwrap(), None);
    assert!(id(json!({"local": {"path": "/dev/sdb"}, "volumeMode": "Block"})).is_err());
    std::fs::write(place.seen("/srv/file"), "x").unwrap();
    std::os::unix::fs::symlink("/", place.seen("/srv/out")).unwrap();
    for path in ["/srv/absent", "/srv/file", "/srv/out", "/srv/../srv"] {
        assert!(local.create_snapshot(&subject(path), &binding("one", "pv")).await.is_err(), "{path}");
    }
    let mut volume = json!({"spec": {"local": {"path": "/srv/b"}}});
    local.set_volume_id(&mut volume, "/srv/b-1").unwrap();
    assert_eq!(volume["spec"]["local"]["path"], "/srv/b-1");
}
