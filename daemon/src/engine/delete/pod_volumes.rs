//! The files of pods' volumes in repositories of restic's format: their snapshots are forgotten, and the repository is
//! asked to remove what no other snapshot needs.
//!
//! No action of the list: they lie in the backup's own location, which only the engine has open.

use std::collections::BTreeSet;

use holdfast_policy::velero::{PodVolumeBackup, UploaderType};

use crate::actions::delete::VolumeData;
use crate::causes::with_causes;
use crate::engine::repositories::{self, Key, Repositories};
use crate::repository::{self, Tags};
use crate::store::BackupStore;

/// Files of one volume, with what binds them to the backup.
#[derive(Debug)]
pub struct PodVolume {
    data: VolumeData,
    snapshot: String,
    key: Key,
    tags: Tags,
    /// As the tags name it.
    backup: String,
}

/// Why files are still there.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("its entry is tagged as one of backup {found:?}")]
    OtherBackup { found: String },
    #[error(transparent)]
    Repositories(#[from] repositories::Error),
    #[error(transparent)]
    Repository(#[from] repository::Error),
}

/// Takes out of the data of a backup what is deleted here.
pub fn take(data: Vec<VolumeData>, location: &str) -> (Vec<PodVolume>, Vec<VolumeData>) {
    let mut taken = Vec::new();
    let mut others = Vec::new();
    for data in data {
        match pod_volume(&data, location) {
            Some((snapshot, key, tags, backup)) => {
                taken.push(PodVolume { data, snapshot, key, tags, backup });
            }
            None => others.push(data),
        }
    }
    (taken, others)
}

fn pod_volume(data: &VolumeData, location: &str) -> Option<(String, Key, Tags, String)> {
    let VolumeData::PodVolume { backup: _, snapshot, entry } = data else { return None };
    let found: PodVolumeBackup = serde_json::from_value(entry.clone()).ok()?;
    match found.spec.uploader_type {
        Some(UploaderType::Restic) | None => {}
        Some(UploaderType::Kopia) => return None,
    }
    let volume_namespace = found.spec.pod.namespace?;
    let backup = found.spec.tags.get("backup").cloned().unwrap_or_default();
    let key = Key { volume_namespace, location: location.to_owned() };
    Some((snapshot.clone(), key, Tags::new(found.spec.tags), backup))
}

/// Forgets all snapshots, goes on after a failure, and gives the errors of all.
pub async fn delete(
    volumes: &[PodVolume],
    backup: &str,
    repositories: &Repositories,
    store: &BackupStore,
) -> Result<(), Vec<String>> {
    let mut errors = Vec::new();
    let mut touched = BTreeSet::new();
    for volume in volumes {
        match forget(volume, backup, repositories, store).await {
            Ok(()) => {
                touched.insert(volume.key.clone());
            }
            Err(error) => errors.push(format!("{}: {}", volume.data, with_causes(&error))),
        }
    }
    for key in touched {
        if let Err(error) = repositories.ask_for_pruning(&key).await {
            errors.push(format!("error asking for the removal of unused data: {}", with_causes(&error)));
        }
    }
    if errors.is_empty() { Ok(()) } else { Err(errors) }
}

async fn forget(
    volume: &PodVolume,
    backup: &str,
    repositories: &Repositories,
    store: &BackupStore,
) -> Result<(), Error> {
    if volume.backup != backup {
        return Err(Error::OtherBackup { found: volume.backup.clone() });
    }
    let repository = repositories.open(&volume.key, store).await?;
    match repository.forget(&volume.snapshot, &volume.tags).await {
        Ok(_) => {}
        // With the repository the snapshot is gone, too.
        Err(repository::Error::Missing { .. }) => return Ok(()),
        Err(error) => return Err(error.into()),
    }
    // An attempt that was interrupted may have left one that nobody noted.
    Ok(repository.forget_all(&volume.tags).await?)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn snapshots_of_restic_s_format_are_taken_and_others_are_left_to_actions() {
        let data = |uploader: &str| VolumeData::PodVolume {
            backup: "one-x".to_owned(),
            snapshot: "s".to_owned(),
            entry: json!({
                "spec": {
                    "node": "n", "pod": {"namespace": "shop", "name": "db"}, "volume": "data",
                    "backupStorageLocation": "elsewhere", "repoIdentifier": "", "uploaderType": uploader,
                    "tags": {"backup": "one"},
                },
                "status": {"snapshotID": "s"},
            }),
        };
        let csi = VolumeData::Csi { content: "c".to_owned(), item: json!({}) };
        let (taken, others) = take(vec![data("restic"), data("kopia"), data(""), csi], "default");
        let keys: Vec<&Key> = taken.iter().map(|volume| &volume.key).collect();
        let key = Key { volume_namespace: "shop".to_owned(), location: "default".to_owned() };
        assert_eq!(keys, [&key, &key]);
        assert_eq!(others.len(), 2);
    }
}
