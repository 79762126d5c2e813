//! In which bucket something is noted that ran once, and the looking and noting itself.
//!
//! A Backup is noted where it is written. A Restore is noted where its backup lies, or, where this cluster may not write
//! there, in the default location, or else in the first that may be written. A Restore is looked for in all locations.

use holdfast_policy::velero::{AccessMode, BackupStorageLocation};
use kube::ResourceExt;
use kube::api::{Api, DynamicObject, ListParams};
use tracing::warn;

use super::once;
use crate::controllers::location::default;
use crate::controllers::stores::{Stores, reason};
use crate::publish::bucket::Creation;
use crate::publish::object::{Key, Kind};
use crate::publish::observe::resource;
use crate::store::{Once, Record};

/// What is looked for, with nothing borrowed.
#[derive(Clone, Debug)]
pub struct Asked {
    pub key: Key,
    /// For a Backup: the location that it names.
    location: Option<String>,
    /// For a Restore: the backup, where it is named or was looked up.
    backup: Option<String>,
}

/// Why nobody can tell, or note anything.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unread {
    /// Whatever carries runs out could do nothing either.
    #[error("{0}")]
    NoLocation(String),
    #[error("{0}")]
    Bucket(String),
}

impl Asked {
    pub fn of(creation: &Creation<'_>) -> Asked {
        let Creation { desired, backup } = creation;
        let field = |name: &str| desired.value["spec"][name].as_str().map(str::to_owned);
        Asked {
            key: desired.key.clone(),
            location: field("storageLocation"),
            backup: backup.map(str::to_owned).or_else(|| field("backupName")),
        }
    }
}

/// The locations of a cluster, and how to open them.
pub struct Places {
    pub client: kube::Client,
    pub namespace: String,
    pub stores: Stores,
    /// The location of backups that name none, where none is marked as the default.
    pub default_location: String,
}

impl Places {
    /// Whether a bucket knows it.
    pub async fn look(&self, asked: &Asked, cluster: Option<&str>) -> Result<bool, Unread> {
        let Some(once) = once(&asked.key, cluster) else { return Ok(false) };
        let locations = self.locations().await?;
        let home = self.home(asked, &locations).await?;
        if self.has_run(home, &once).await? {
            return Ok(true);
        }
        if asked.key.kind == Kind::Restore {
            for other in locations.iter().filter(|other| other.name_any() != home.name_any()) {
                match self.has_run(other, &once).await {
                    Ok(true) => return Ok(true),
                    Ok(false) => {}
                    Err(unread) => {
                        warn!(location = other.name_any(), why = %unread, "not asked whether a restore ran before");
                    }
                }
            }
        }
        Ok(false)
    }

    /// Gives the name of the location where it is noted now.
    pub async fn note(
        &self,
        asked: &Asked,
        cluster: Option<&str>,
        record: &Record<'_>,
    ) -> Result<String, Unread> {
        let Some(once) = once(&asked.key, cluster) else {
            return Err(Unread::Bucket("this cluster has no --cluster-name".to_owned()));
        };
        let locations = self.locations().await?;
        let home = self.home(asked, &locations).await?;
        let name = home.name_any();
        if read_only(home) {
            return Err(Unread::Bucket(format!("location {name} is read-only")));
        }
        let store = self.stores.open(home).await.map_err(|error| unread(&name, &error))?;
        store.note_run(&once, record).await.map_err(|error| unread(&name, &error))?;
        Ok(name)
    }

    async fn has_run(&self, location: &BackupStorageLocation, once: &Once<'_>) -> Result<bool, Unread> {
        let name = location.name_any();
        let store = self.stores.open(location).await.map_err(|error| unread(&name, &error))?;
        store.has_run(once).await.map_err(|error| unread(&name, &error))
    }

    async fn home<'a>(
        &self,
        asked: &Asked,
        locations: &'a [BackupStorageLocation],
    ) -> Result<&'a BackupStorageLocation, Unread> {
        let default = default::choose(locations).name.unwrap_or_else(|| self.default_location.clone());
        let of_backup = match (asked.key.kind, &asked.backup) {
            (Kind::Restore, Some(backup)) => self.location_of(backup).await?,
            (Kind::Restore, None)
            | (
                Kind::Backup
                | Kind::ConfigMap
                | Kind::BackupStorageLocation
                | Kind::VolumeSnapshotLocation
                | Kind::Schedule,
                _,
            ) => None,
        };
        let named = |name: &str| locations.iter().find(|location| location.name_any() == name);
        let wanted = asked.location.as_deref().or(of_backup.as_deref()).unwrap_or(&default);
        let home = match (asked.key.kind, named(wanted)) {
            (Kind::Restore, found) if found.is_none_or(read_only) => named(&default)
                .filter(|location| !read_only(location))
                .or_else(|| locations.iter().find(|location| !read_only(location)))
                .or(found),
            (_, found) => found,
        };
        home.ok_or_else(|| Unread::NoLocation(format!("there is no location {wanted}")))
    }

    async fn location_of(&self, backup: &str) -> Result<Option<String>, Unread> {
        let api = self.api(Kind::Backup);
        let found = api.get_opt(backup).await.map_err(|error| Unread::NoLocation(reason(&error)))?;
        Ok(found.and_then(|backup| backup.data["spec"]["storageLocation"].as_str().map(str::to_owned)))
    }

    /// By name.
    async fn locations(&self) -> Result<Vec<BackupStorageLocation>, Unread> {
        let api = self.api(Kind::BackupStorageLocation);
        let listed = api.list(&ListParams::default()).await;
        let listed = listed.map_err(|error| Unread::NoLocation(reason(&error)))?;
        // One that can't be read as its kind is no location to anybody else either.
        let read = |object: DynamicObject| object.try_parse::<BackupStorageLocation>().ok();
        let mut locations: Vec<BackupStorageLocation> = listed.items.into_iter().filter_map(read).collect();
        locations.sort_by_key(ResourceExt::name_any);
        Ok(locations)
    }

    fn api(&self, kind: Kind) -> Api<DynamicObject> {
        Api::namespaced_with(self.client.clone(), &self.namespace, &resource(kind))
    }
}

fn read_only(location: &BackupStorageLocation) -> bool {
    location.spec.access_mode_or_default() == AccessMode::ReadOnly
}

fn unread(location: &str, error: &dyn std::error::Error) -> Unread {
    Unread::Bucket(format!("location {location}: {}", reason(error)))
}
