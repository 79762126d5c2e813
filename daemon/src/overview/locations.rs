//! Where backups are, and whether they can be reached.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use holdfast_policy::time::to_chrono;
use holdfast_policy::velero::{AccessMode, BackupStorageLocation, BackupSummary, LocationPhase};
use kube::ResourceExt as _;
use serde::Serialize;

use crate::controllers::location::default;

#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Location {
    pub name: String,
    pub is_default: bool,
    /// Absent until it was looked at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phase: Option<LocationPhase>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    pub access_mode: AccessMode,
    pub provider: String,
    /// With its prefix.
    pub bucket: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_validated: Option<DateTime<Utc>>,
    pub backups: usize,
}

pub(super) fn locations(
    locations: &[Arc<BackupStorageLocation>],
    backups: &[Arc<BackupSummary>],
) -> Vec<Location> {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for backup in backups {
        *counts.entry(backup.storage_location().unwrap_or_default()).or_default() += 1;
    }
    let default = default::choose(locations.iter().map(Arc::as_ref)).name;
    locations
        .iter()
        .map(|location| {
            let name = location.name_any();
            let storage = &location.spec.object_storage;
            let prefix = storage.prefix.as_deref().filter(|prefix| !prefix.is_empty());
            Location {
                is_default: default.as_ref() == Some(&name),
                phase: location.status.phase,
                message: location.status.message.clone(),
                access_mode: location.access_mode(),
                provider: location.spec.provider.clone(),
                bucket: prefix
                    .map_or_else(|| storage.bucket.clone(), |prefix| format!("{}/{prefix}", storage.bucket)),
                last_validated: location.status.last_validation_time.as_ref().map(to_chrono),
                backups: counts.get(name.as_str()).copied().unwrap_or_default(),
                name,
            }
        })
        .collect()
}
