//! A repository in a bucket of its own, and folders that stand for volumes.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use holdfast::repository::{
    Password, Progress, Repository, Snapshot, Sparse, Tags, VolumeBackup, VolumeRestore,
};
use holdfast::store::{BackupStore, LocationSettings};
use holdfast_policy::velero::BackupStorageLocationSpec;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

pub(crate) const PASSWORD: &str = "correct horse";

/// Ends with the value.
pub(crate) struct Place {
    folder: TempDir,
    store: BackupStore,
}

impl Place {
    pub(crate) async fn new() -> anyhow::Result<Place> {
        let folder = tempfile::tempdir()?;
        fs::create_dir(folder.path().join("bucket"))?;
        let mut spec = BackupStorageLocationSpec { provider: "local".to_owned(), ..Default::default() };
        spec.object_storage.bucket = "bucket".to_owned();
        spec.object_storage.prefix = Some("team".to_owned());
        spec.config.insert("path".to_owned(), folder.path().display().to_string());
        let settings = LocationSettings::parse("default", &spec, None, None)?;
        Ok(Place { store: BackupStore::open(&settings).await?, folder })
    }

    pub(crate) fn repository(&self) -> anyhow::Result<Repository> {
        self.repository_with(PASSWORD)
    }

    pub(crate) fn repository_with(&self, password: &str) -> anyhow::Result<Repository> {
        let password = Password::new(password).expect("a password with letters");
        Ok(Repository::new(self.store.restic_repository("shop")?, password))
    }

    /// Where the repository lies on disk.
    pub(crate) fn path(&self) -> PathBuf {
        self.folder.path().join("bucket/team/restic/shop")
    }

    /// Names of the files below a folder of the repository.
    pub(crate) fn files(&self, folder: &str) -> Vec<PathBuf> {
        files_below(&self.path().join(folder))
    }

    pub(crate) fn volume(&self, name: &str) -> anyhow::Result<PathBuf> {
        let volume = self.folder.path().join("volumes").join(name);
        fs::create_dir_all(&volume)?;
        Ok(volume)
    }
}

pub(crate) fn files_below(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut found = Vec::new();
    for entry in entries {
        let path = entry.expect("an entry of a folder of this test").path();
        match path.is_dir() {
            true => found.extend(files_below(&path)),
            false => found.push(path),
        }
    }
    found
}

/// As a backup named `backup` tags the volume `data` of a pod.
pub(crate) fn tags(backup: &str) -> Tags {
    let tags = [
        ("backup", backup),
        ("backup-uid", backup),
        ("ns", "shop"),
        ("pod", "db"),
        ("pod-uid", "uid-of-db"),
        ("volume", "data"),
    ];
    Tags::new(tags.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect())
}

pub(crate) async fn back_up(
    repository: &Repository,
    volume: &Path,
    backup: &str,
) -> anyhow::Result<Snapshot> {
    let backup = VolumeBackup {
        folder: volume.to_owned(),
        tags: tags(backup),
        progress: Progress::default(),
        cancel: CancellationToken::new(),
    };
    Ok(repository.backup(backup).await?)
}

pub(crate) fn restore_of(snapshot: &str, folder: &Path) -> VolumeRestore {
    VolumeRestore {
        snapshot: snapshot.to_owned(),
        folder: folder.to_owned(),
        sparse: Sparse::Written,
        progress: Progress::default(),
        cancel: CancellationToken::new(),
    }
}

/// A volume with one of everything that a file system has.
pub(crate) fn fill(volume: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(volume.join("db/wal"))?;
    fs::create_dir(volume.join("empty"))?;
    fs::write(volume.join("db/table"), noise(3_000_000))?;
    fs::write(volume.join("db/wal/0001"), "written before")?;
    fs::write(volume.join("nothing"), "")?;
    fs::write(volume.join("ünï\ncode"), "name")?;
    fs::set_permissions(volume.join("db/wal/0001"), fs::Permissions::from_mode(0o640))?;
    fs::set_permissions(volume.join("empty"), fs::Permissions::from_mode(0o750))?;
    fs::hard_link(volume.join("db/table"), volume.join("db/linked"))?;
    symlink("db/table", volume.join("link"))?;
    symlink("/etc/absent", volume.join("dangling"))?;
    Ok(())
}

/// Bytes that nothing can pack, the same each time.
pub(crate) fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    std::iter::repeat_with(&mut next).flatten().take(length).collect()
}

/// What a volume holds: by path, kind with mode, owner and content.
pub(crate) fn contents(volume: &Path) -> anyhow::Result<BTreeMap<PathBuf, String>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![volume.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder)? {
            let path = entry?.path();
            let metadata = fs::symlink_metadata(&path)?;
            let owner = format!("{}:{} {:o}", metadata.uid(), metadata.gid(), metadata.mode());
            let text = if metadata.is_symlink() {
                format!("link to {}", fs::read_link(&path)?.display())
            } else if metadata.is_dir() {
                folders.push(path.clone());
                format!("folder {owner}")
            } else {
                let hash = ring::digest::digest(&ring::digest::SHA256, &fs::read(&path)?);
                format!("file {owner} {} links, {}, {hash:?}", metadata.nlink(), metadata.mtime())
            };
            found.insert(path.strip_prefix(volume)?.to_owned(), text);
        }
    }
    Ok(found)
}
