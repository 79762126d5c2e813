//! Which file of which backup or restore a kind of download is. Pure.

use holdfast_policy::velero::DownloadTargetKind as Kind;

use crate::store::{BackupFile, RestoreFile};

/// A file, or the archive, whose name depends on how it was packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    Archive,
    OfBackup(BackupFile),
    OfRestore(RestoreFile),
}

pub fn wanted(kind: Kind) -> Wanted {
    use Wanted::{Archive, OfBackup, OfRestore};
    match kind {
        Kind::BackupContents => Archive,
        Kind::BackupLog => OfBackup(BackupFile::Logs),
        Kind::BackupVolumeSnapshots => OfBackup(BackupFile::VolumeSnapshots),
        Kind::BackupItemOperations => OfBackup(BackupFile::ItemOperations),
        Kind::BackupResourceList => OfBackup(BackupFile::ResourceList),
        Kind::BackupResults => OfBackup(BackupFile::Results),
        Kind::CsiBackupVolumeSnapshots => OfBackup(BackupFile::CsiVolumeSnapshots),
        Kind::CsiBackupVolumeSnapshotContents => OfBackup(BackupFile::CsiVolumeSnapshotContents),
        Kind::BackupVolumeInfos => OfBackup(BackupFile::VolumeInfo),
        Kind::RestoreLog => OfRestore(RestoreFile::Logs),
        Kind::RestoreResults => OfRestore(RestoreFile::Results),
        Kind::RestoreResourceList => OfRestore(RestoreFile::ResourceList),
        Kind::RestoreItemOperations => OfRestore(RestoreFile::ItemOperations),
        Kind::RestoreVolumeInfo => OfRestore(RestoreFile::VolumeInfo),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::StoredFile;

    #[test]
    fn every_kind_is_the_file_that_velero_gives() {
        let keys: Vec<(&str, String)> = Kind::ALL
            .iter()
            .map(|kind| {
                let key = match wanted(*kind) {
                    Wanted::Archive => "the archive".to_owned(),
                    Wanted::OfBackup(file) => {
                        StoredFile::BackupFile { backup: "B".to_owned(), file }.to_string()
                    }
                    Wanted::OfRestore(file) => {
                        StoredFile::RestoreFile { restore: "R".to_owned(), file }.to_string()
                    }
                };
                (kind.as_str(), key)
            })
            .collect();
        let expected = [
            ("BackupLog", "backups/B/B-logs.gz"),
            ("BackupContents", "the archive"),
            ("BackupVolumeSnapshots", "backups/B/B-volumesnapshots.json.gz"),
            ("BackupItemOperations", "backups/B/B-itemoperations.json.gz"),
            ("BackupResourceList", "backups/B/B-resource-list.json.gz"),
            ("BackupResults", "backups/B/B-results.gz"),
            ("RestoreLog", "restores/R/restore-R-logs.gz"),
            ("RestoreResults", "restores/R/restore-R-results.gz"),
            ("RestoreResourceList", "restores/R/restore-R-resource-list.json.gz"),
            ("RestoreItemOperations", "restores/R/restore-R-itemoperations.json.gz"),
            ("CSIBackupVolumeSnapshots", "backups/B/B-csi-volumesnapshots.json.gz"),
            ("CSIBackupVolumeSnapshotContents", "backups/B/B-csi-volumesnapshotcontents.json.gz"),
            ("BackupVolumeInfos", "backups/B/B-volumeinfo.json.gz"),
            ("RestoreVolumeInfo", "restores/R/R-volumeinfo.json.gz"),
        ]
        .map(|(kind, key)| (kind, key.to_owned()));
        assert_eq!(keys, expected);
    }
}
