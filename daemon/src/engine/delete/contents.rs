//! The snapshots that an archive's objects stand for.

use std::collections::BTreeMap;

use holdfast_policy::velero::labels::BACKUP_NAME;
use holdfast_policy::velero::short_name;
use serde_json::Value;

use super::Error;
use crate::actions::delete::VolumeData;
use crate::archive::{self, EntryProblem, Index, IndexedItem, Limits};
use crate::store::BackupStore;

const SNAPSHOT_CONTENTS: &str = "volumesnapshotcontents.snapshot.storage.k8s.io";
const DATA_UPLOADS: &str = "datauploads.velero.io";

/// Those that this backup made. An archive that is not there holds none.
pub(super) async fn snapshots(store: &BackupStore, backup: &str) -> Result<Vec<VolumeData>, Error> {
    let Some(archive) = store.read_archive(backup).await.map_err(Error::Download)? else {
        return Ok(Vec::new());
    };
    let spool = tempfile::tempfile().map_err(Error::Spool)?;
    let compression = archive.compression;
    let reader = archive.into_blocking_read();
    let owner = short_name(backup);
    let looking = tokio::task::spawn_blocking(move || {
        let index = archive::index(reader, compression, spool, Limits::default()).map_err(Error::Archive)?;
        find(&index, &owner)
    });
    looking.await.map_err(|_| Error::Interrupted)?
}

fn find(index: &Index, owner: &str) -> Result<Vec<VolumeData>, Error> {
    // An object that can't be read may be the only one to know a snapshot.
    if let Some(EntryProblem { entry, reason }) = index.problems.iter().find(|problem| {
        let parts = problem.entry.split('/').nth(1);
        parts.is_some_and(|resource| resource == SNAPSHOT_CONTENTS || resource == DATA_UPLOADS)
    }) {
        return Err(Error::Entry { entry: entry.clone(), problem: reason.to_string() });
    }
    let mut found = Vec::new();
    let mut groups = BTreeMap::<(String, String), Vec<(String, Value)>>::new();
    for item in &index.items {
        match item.group_resource.as_ref() {
            SNAPSHOT_CONTENTS => {
                let json = read(index, item)?;
                if !is_of(&json, owner) {
                    continue;
                }
                let content = item.name.to_string();
                match text(&json, "/status/volumeGroupSnapshotHandle") {
                    "" => found.push(VolumeData::Csi { content, item: json }),
                    group => {
                        let key = (text(&json, "/spec/driver").to_owned(), group.to_owned());
                        groups.entry(key).or_default().push((content, json));
                    }
                }
            }
            DATA_UPLOADS => {
                let json = read(index, item)?;
                if is_of(&json, owner) && !text(&json, "/status/snapshotID").is_empty() {
                    found.push(VolumeData::Moved { data_upload: item.name.to_string(), item: json });
                }
            }
            _ => {}
        }
    }
    let groups = groups.into_iter();
    found.extend(groups.map(|((_, group), contents)| VolumeData::CsiGroup { group, contents }));
    Ok(found)
}

/// An archive of the whole cluster also holds what other backups made.
fn is_of(item: &Value, owner: &str) -> bool {
    let labels = item.pointer("/metadata/labels");
    labels.and_then(|labels| labels.get(BACKUP_NAME)).and_then(Value::as_str) == Some(owner)
}

fn read(index: &Index, item: &IndexedItem) -> Result<Value, Error> {
    let json = index.read(item).map_err(Error::Archive)?;
    serde_json::from_slice(&json).map_err(|source| Error::Item { item: item.to_string(), source })
}

fn text<'a>(item: &'a Value, pointer: &str) -> &'a str {
    item.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}
