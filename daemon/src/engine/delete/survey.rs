//! What there is to delete: what the bucket says of the backup, and its data outside the folder. Reads only.

use std::collections::BTreeMap;

use holdfast_policy::velero;
use holdfast_policy::velero::BackupPhase;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{Error, contents};
use crate::actions::delete::VolumeData;
use crate::archive;
use crate::store::{self, BackupFile, BackupStore};

/// Files of lists unpack to a few hundred bytes an entry; this is room for a hundred thousand.
const LARGEST_LIST: u64 = 64 * 1024 * 1024;

/// The data outside the folder.
#[derive(Debug, Default)]
pub struct Survey {
    pub data: Vec<VolumeData>,
    /// What looks like such data and names nothing that could be deleted.
    pub warnings: Vec<String>,
}

/// What `velero-backup.json` says.
#[derive(Debug)]
pub enum Record {
    Absent,
    Unreadable {
        reason: String,
    },
    /// A deletion has begun.
    Marked(Box<velero::Backup>, Data),
    Whole(Box<velero::Backup>),
}

/// What has become of the data outside the folder since a deletion has begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Data {
    MayBeThere,
    /// All of it is deleted. The files that told of it may be gone too.
    Gone,
}

/// Annotation in the record of a backup that is being deleted: the data outside its folder is gone.
pub(super) const DATA_GONE: &str = "holdfast.dev/volume-data-deleted";

/// Looks for data in everything that the backup's files tell.
pub async fn survey(store: &BackupStore, backup: &str) -> Result<Survey, Error> {
    let mut data = Vec::new();
    let mut warnings = Vec::new();
    let native: Vec<Value> = list(store, backup, BackupFile::VolumeSnapshots).await?.unwrap_or_default();
    for entry in native {
        match text(&entry, "/status/providerSnapshotID") {
            "" => {
                let volume = text(&entry, "/spec/persistentVolumeName");
                warnings.push(format!("snapshot of volume {volume:?} has no ID and is passed over"));
            }
            snapshot => data.push(VolumeData::Native {
                snapshot: snapshot.to_owned(),
                location: text(&entry, "/spec/location").to_owned(),
                entry,
            }),
        }
    }
    let pods: Vec<Value> = list(store, backup, BackupFile::PodVolumeBackups).await?.unwrap_or_default();
    data.extend(pods.into_iter().filter_map(|entry| match text(&entry, "/status/snapshotID") {
        "" => None,
        snapshot => Some(VolumeData::PodVolume {
            backup: text(&entry, "/metadata/name").to_owned(),
            snapshot: snapshot.to_owned(),
            entry,
        }),
    }));
    let volumes: Option<Vec<Volume>> = readable(list(store, backup, BackupFile::VolumeInfo).await)?;
    if may_hold_snapshots(store, backup, volumes.as_deref()).await? {
        let found = contents::snapshots(store, backup).await?;
        for snapshot in &found {
            check_handles(snapshot, volumes.as_deref().unwrap_or_default())?;
        }
        data.extend(found);
    }
    Ok(Survey { data, warnings })
}

/// Reads `velero-backup.json`.
pub async fn record(store: &BackupStore, backup: &str) -> Result<Record, Error> {
    match store.read_backup(backup).await {
        Ok(None) => Ok(Record::Absent),
        Ok(Some(found)) if found.status_phase() == BackupPhase::Deleting => {
            let annotations = found.metadata.annotations.as_ref();
            let is_gone = annotations.is_some_and(|annotations| annotations.contains_key(DATA_GONE));
            let data = if is_gone { Data::Gone } else { Data::MayBeThere };
            Ok(Record::Marked(found.into(), data))
        }
        Ok(Some(found)) => Ok(Record::Whole(found.into())),
        Err(
            error @ (store::Error::Decode { .. }
            | store::Error::NotABackup { .. }
            | store::Error::TooLarge { .. }),
        ) => Ok(Record::Unreadable { reason: error.with_causes() }),
        Err(error) => Err(Error::Record(error)),
    }
}

/// The part of a volume info entry that tells of snapshots.
#[derive(Deserialize)]
#[serde(default, rename_all = "camelCase")]
#[derive(Default)]
struct Volume {
    backup_method: String,
    snapshot_data_moved: bool,
    csi_snapshot_info: Option<CsiSnapshot>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct CsiSnapshot {
    snapshot_handle: String,
    vsc_name: String,
}

fn check_handles(snapshot: &VolumeData, volumes: &[Volume]) -> Result<(), Error> {
    match snapshot {
        VolumeData::Csi { content, item } => check_handle(content, item, volumes),
        VolumeData::CsiGroup { group: _, contents } => {
            contents.iter().try_for_each(|(content, item)| check_handle(content, item, volumes))
        }
        VolumeData::Native { .. } | VolumeData::Moved { .. } | VolumeData::PodVolume { .. } => Ok(()),
    }
}

/// Refuses a CSI snapshot that is another one than the volume info tells: it may be somebody else's only copy. Velero writes no
/// entry for a backup with a long name, so one that is told of nowhere is believed.
fn check_handle(content: &str, item: &Value, volumes: &[Volume]) -> Result<(), Error> {
    let handle = text(item, "/status/snapshotHandle");
    let told = || volumes.iter().filter_map(|volume| volume.csi_snapshot_info.as_ref());
    let same_content = told().find(|told| told.vsc_name == content);
    let same_handle = told().find(|told| !handle.is_empty() && told.snapshot_handle == handle);
    match (same_content, same_handle) {
        (Some(told), _) if told.snapshot_handle != handle => Err(Error::MixedUp {
            content: content.to_owned(),
            found: handle.to_owned(),
            expected: format!("handle {}", told.snapshot_handle),
        }),
        (None, Some(told)) => Err(Error::MixedUp {
            content: content.to_owned(),
            found: handle.to_owned(),
            expected: format!("that handle for {}", told.vsc_name),
        }),
        (Some(_), _) | (None, None) => Ok(()),
    }
}

/// Does the archive have to be looked into? Most have no such objects, and the lists beside an archive say so; one whose
/// lists are missing or can't be read is looked into.
async fn may_hold_snapshots(
    store: &BackupStore,
    backup: &str,
    volumes: Option<&[Volume]>,
) -> Result<bool, Error> {
    let items: Option<BTreeMap<String, Vec<String>>> =
        readable(list(store, backup, BackupFile::ResourceList).await)?;
    let (Some(items), Some(volumes)) = (items, volumes) else { return Ok(true) };
    let is_snapshot =
        |kind: &String| kind.ends_with("/VolumeSnapshotContent") || kind.ends_with("/DataUpload");
    Ok(items.keys().any(is_snapshot)
        || volumes.iter().any(|volume| volume.snapshot_data_moved || volume.backup_method == "CSISnapshot"))
}

/// A list that can't be read tells as much as none.
fn readable<T>(list: Result<Option<T>, Error>) -> Result<Option<T>, Error> {
    match list {
        Err(Error::Unpack { .. }) => Ok(None),
        list => list,
    }
}

async fn list<T: DeserializeOwned>(
    store: &BackupStore,
    backup: &str,
    file: BackupFile,
) -> Result<Option<T>, Error> {
    let packed = store.get_backup_file(backup, file).await;
    let Some(packed) = packed.map_err(|source| Error::File { file, source })? else { return Ok(None) };
    archive::gunzip_json::<Option<T>>(&packed, LARGEST_LIST).map_err(|source| Error::Unpack { file, source })
}

fn text<'a>(entry: &'a Value, pointer: &str) -> &'a str {
    entry.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}
