//! Names of the objects in a bucket, both ways, without the location's prefix. Pure.

use std::fmt;

use holdfast_policy::compression::Compression;

use super::Error;

pub(super) const BACKUPS: &str = "backups";
pub(super) const RESTORES: &str = "restores";
/// The folders that Velero knows; any other makes it refuse the location.
pub(super) const TOP_LEVEL_FOLDERS: [&str; 6] = [BACKUPS, RESTORES, "restic", "kopia", "metadata", "plugins"];

const BACKUP_FILE_NAME: &str = "velero-backup.json";

/// A file beside the archive of a backup, packed with gzip.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BackupFile {
    Logs,
    Results,
    ResourceList,
    ItemOperations,
    VolumeInfo,
    VolumeSnapshots,
    PodVolumeBackups,
    /// Written by old releases only, like the two after it.
    CsiVolumeSnapshots,
    CsiVolumeSnapshotContents,
    CsiVolumeSnapshotClasses,
}

/// What a restore leaves in the bucket, packed with gzip.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RestoreFile {
    Logs,
    Results,
    ResourceList,
    ItemOperations,
    VolumeInfo,
}

/// Everything this layout has a name for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum StoredFile {
    /// `velero-backup.json`, which decides whether the backup exists.
    Backup {
        backup: String,
    },
    Archive {
        backup: String,
        compression: Compression,
    },
    BackupFile {
        backup: String,
        file: BackupFile,
    },
    RestoreFile {
        restore: String,
        file: RestoreFile,
    },
}

impl BackupFile {
    pub const ALL: [Self; 10] = [
        Self::Logs,
        Self::Results,
        Self::ResourceList,
        Self::ItemOperations,
        Self::VolumeInfo,
        Self::VolumeSnapshots,
        Self::PodVolumeBackups,
        Self::CsiVolumeSnapshots,
        Self::CsiVolumeSnapshotContents,
        Self::CsiVolumeSnapshotClasses,
    ];

    fn ending(self) -> &'static str {
        match self {
            Self::Logs => "-logs.gz",
            Self::Results => "-results.gz",
            Self::ResourceList => "-resource-list.json.gz",
            Self::ItemOperations => "-itemoperations.json.gz",
            Self::VolumeInfo => "-volumeinfo.json.gz",
            Self::VolumeSnapshots => "-volumesnapshots.json.gz",
            Self::PodVolumeBackups => "-podvolumebackups.json.gz",
            Self::CsiVolumeSnapshots => "-csi-volumesnapshots.json.gz",
            Self::CsiVolumeSnapshotContents => "-csi-volumesnapshotcontents.json.gz",
            Self::CsiVolumeSnapshotClasses => "-csi-volumesnapshotclasses.json.gz",
        }
    }
}

impl RestoreFile {
    pub const ALL: [Self; 5] =
        [Self::Logs, Self::Results, Self::ResourceList, Self::ItemOperations, Self::VolumeInfo];

    fn name(self, restore: &str) -> String {
        match self {
            Self::Logs => format!("restore-{restore}-logs.gz"),
            Self::Results => format!("restore-{restore}-results.gz"),
            Self::ResourceList => format!("restore-{restore}-resource-list.json.gz"),
            Self::ItemOperations => format!("restore-{restore}-itemoperations.json.gz"),
            // Velero has no `restore-` in front of this one.
            Self::VolumeInfo => format!("{restore}-volumeinfo.json.gz"),
        }
    }
}

impl StoredFile {
    /// Refuses names that would lead out of their folder.
    pub(super) fn key(&self) -> Result<String, Error> {
        let name = match self {
            Self::Backup { backup } | Self::Archive { backup, .. } | Self::BackupFile { backup, .. } => {
                backup
            }
            Self::RestoreFile { restore, .. } => restore,
        };
        check_name(name).map(|()| self.to_string())
    }

    /// What a key names, if it has a name in this layout.
    pub fn parse(key: &str) -> Option<Self> {
        let [top, name, file] = key.split('/').collect::<Vec<_>>()[..] else { return None };
        check_name(name).ok()?;
        match top {
            BACKUPS => Self::all_of_backup(name).find(|known| known.file_name() == file),
            RESTORES => RestoreFile::ALL
                .map(|file| Self::RestoreFile { restore: name.to_owned(), file })
                .into_iter()
                .find(|known| known.file_name() == file),
            _ => None,
        }
    }

    fn all_of_backup(name: &str) -> impl Iterator<Item = Self> {
        let backup = || name.to_owned();
        std::iter::once(Self::Backup { backup: backup() })
            .chain(Compression::ALL.map(|compression| Self::Archive { backup: backup(), compression }))
            .chain(BackupFile::ALL.map(|file| Self::BackupFile { backup: backup(), file }))
    }

    fn file_name(&self) -> String {
        match self {
            Self::Backup { .. } => BACKUP_FILE_NAME.to_owned(),
            Self::Archive { backup, compression } => format!("{backup}.{}", compression.extension()),
            Self::BackupFile { backup, file } => format!("{backup}{}", file.ending()),
            Self::RestoreFile { restore, file } => file.name(restore),
        }
    }
}

/// The key below the location's prefix.
impl fmt::Display for StoredFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (top, name) = match self {
            Self::Backup { backup } | Self::Archive { backup, .. } | Self::BackupFile { backup, .. } => {
                (BACKUPS, backup)
            }
            Self::RestoreFile { restore, .. } => (RESTORES, restore),
        };
        write!(f, "{top}/{name}/{}", self.file_name())
    }
}

/// The folder of one backup or restore.
pub(super) fn folder(top: &str, name: &str) -> Result<String, Error> {
    check_name(name).map(|()| format!("{top}/{name}"))
}

pub(super) fn check_name(name: &str) -> Result<(), Error> {
    let one_step = !matches!(name, "" | "." | "..")
        && !name.contains(['/', '\\'])
        && !name.bytes().any(|byte| byte.is_ascii_control());
    if one_step { Ok(()) } else { Err(Error::Name { name: name.to_owned() }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_is_read_back_as_what_it_names() {
        for name in ["gold", "gold-20261123134202", "a.b"] {
            let restores =
                RestoreFile::ALL.map(|file| StoredFile::RestoreFile { restore: name.into(), file });
            for file in StoredFile::all_of_backup(name).chain(restores) {
                assert_eq!(StoredFile::parse(&file.key().unwrap()), Some(file));
            }
        }
    }

    #[test]
    fn keys_are_those_of_velero() {
        let keys: Vec<String> = StoredFile::all_of_backup("b")
            .chain(RestoreFile::ALL.map(|file| StoredFile::RestoreFile { restore: "r".into(), file }))
            .map(|file| file.key().unwrap())
            .collect();
        assert_eq!(
            keys,
            [
                "backups/b/velero-backup.json",
                "backups/b/b.tar.gz",
                "backups/b/b.tar.zst",
                "backups/b/b-logs.gz",
                "backups/b/b-results.gz",
                "backups/b/b-resource-list.json.gz",
                "backups/b/b-itemoperations.json.gz",
                "backups/b/b-volumeinfo.json.gz",
                "backups/b/b-volumesnapshots.json.gz",
                "backups/b/b-podvolumebackups.json.gz",
                "backups/b/b-csi-volumesnapshots.json.gz",
                "backups/b/b-csi-volumesnapshotcontents.json.gz",
                "backups/b/b-csi-volumesnapshotclasses.json.gz",
                "restores/r/restore-r-logs.gz",
                "restores/r/restore-r-results.gz",
                "restores/r/restore-r-resource-list.json.gz",
                "restores/r/restore-r-itemoperations.json.gz",
                "restores/r/r-volumeinfo.json.gz",
            ]
        );
    }

    #[test]
    fn other_keys_mean_nothing() {
        for key in [
            "backups/a/b.tar.gz",
            "backups/a/x/a.tar.gz",
            "kopia/a/a.tar.gz",
            "backups/a",
            "restores/a/a.tar.gz",
        ] {
            assert_eq!(StoredFile::parse(key), None, "{key}");
        }
    }

    #[test]
    fn names_that_lead_elsewhere_are_refused() {
        for name in ["", ".", "..", "a/b", "a\\b", "a\nb"] {
            let file = StoredFile::Backup { backup: name.into() };
            assert!(matches!(file.key(), Err(Error::Name { .. })), "{name:?}");
        }
    }
}
