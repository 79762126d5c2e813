//! What tells that a bucket is the one it was, and whose it is: records below `metadata/holdfast/` that are created and
//! never changed, because not every provider can replace an object only where nobody else has.

use std::fmt;

use bytes::Bytes;
use futures::StreamExt;
use object_store::ObjectStoreExt;
use object_store::path::Path;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::error::is_absent;
use super::{BackupStore, Error};

const MARKER: &str = "metadata/holdfast/location.json";
const OWNERS: &str = "metadata/holdfast/owners";
/// A record has some hundred bytes.
const LARGEST_RECORD: u64 = 64 * 1024;
/// Owners change when a person says so. A folder with more is not one of ours.
const MOST_OWNERS: usize = 10_000;

/// The identity of a place: another bucket, another prefix or an emptied folder doesn't have it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Marker {
    pub id: String,
    /// The cluster that put it there.
    pub cluster: String,
    /// When, in RFC 3339.
    pub created: String,
}

/// One cluster's word that it writes here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Ownership {
    pub cluster: String,
    /// Counts the owners of a place: the highest is the one that counts.
    pub epoch: u32,
    /// Since when, in RFC 3339.
    pub since: String,
    /// The owner whose place it took.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub took_over: Option<String>,
}

/// What became of a record that only one may create.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Creation {
    Created,
    /// Somebody else was first.
    Taken,
}

impl BackupStore {
    pub async fn read_marker(&self) -> Result<Option<Marker>, Error> {
        self.read_record(MARKER).await
    }

    pub async fn create_marker(&self, marker: &Marker) -> Result<Creation, Error> {
        self.create_record(MARKER, marker).await
    }

    /// The record that counts.
    pub async fn read_owner(&self) -> Result<Option<Ownership>, Error> {
        let failed =
            |error: object_store::Error| Error::List { folder: format!("{OWNERS}/"), source: error.into() };
        self.connection.ensure_present()?;
        let folder = self.path(OWNERS)?;
        let mut listed = self.connection.probe.list(Some(&folder)).take(MOST_OWNERS);
        let mut newest = None;
        while let Some(object) = listed.next().await {
            let object = object.map_err(failed)?;
            newest = newest.max(epoch_of(&object.location));
        }
        match newest {
            None => Ok(None),
            Some(epoch) => {
                let key = owner_key(epoch);
                let owner: Option<Ownership> = self.read_record(&key).await?;
                Ok(owner.map(|owner| Ownership { epoch, ..owner }))
            }
        }
    }

    pub async fn create_owner(&self, owner: &Ownership) -> Result<Creation, Error> {
        self.create_record(&owner_key(owner.epoch), owner).await
    }

    async fn read_record<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>, Error> {
        let key = || key.to_owned();
        self.connection.ensure_present()?;
        let found = match self.connection.probe.get(&self.path(&key())?).await {
            Ok(found) => found,
            Err(error) if is_absent(&error) => return Ok(None),
            Err(error) => return Err(Error::Read { key: key(), source: error.into() }),
        };
        if found.meta.size > LARGEST_RECORD {
            return Err(Error::TooLarge { key: key(), size: found.meta.size, limit: LARGEST_RECORD });
        }
        let json = found.bytes().await.map_err(|error| Error::Read { key: key(), source: error.into() })?;
        serde_json::from_slice(&json).map(Some).map_err(|source| Error::Decode { key: key(), source })
    }

    async fn create_record(&self, key: &str, record: &impl Serialize) -> Result<Creation, Error> {
        let path = self.path(key)?;
        self.connection.ensure_present()?;
        let json = serde_json::to_vec_pretty(record)
            .map_err(|source| Error::Decode { key: key.to_owned(), source })?;
        match self.put_new(&path, Bytes::from(json)).await {
            Ok(()) => Ok(Creation::Created),
            Err(object_store::Error::AlreadyExists { .. } | object_store::Error::Precondition { .. }) => {
                Ok(Creation::Taken)
            }
            Err(error) => Err(Error::Write { key: key.to_owned(), source: error.into() }),
        }
    }
}

impl fmt::Display for Ownership {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (record {}, since {})", self.cluster, self.epoch, self.since)
    }
}

fn owner_key(epoch: u32) -> String {
    format!("{OWNERS}/{epoch:08}.json")
}

fn epoch_of(path: &Path) -> Option<u32> {
    path.filename()?.strip_suffix(".json").filter(|digits| digits.len() == 8)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_numbered_records_count() {
        let epoch = |name: &str| epoch_of(&Path::from(format!("prefix/{OWNERS}/{name}")));
        assert_eq!(epoch("00000012.json"), Some(12));
        for foreign in ["12.json", "00000012", "readme.json", "0000001x.json"] {
            assert_eq!(epoch(foreign), None, "{foreign}");
        }
        assert_eq!(owner_key(12), "metadata/holdfast/owners/00000012.json");
    }
}
