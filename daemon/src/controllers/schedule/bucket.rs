//! Whether the bucket holds backups of a schedule that is new in this cluster: a rebuilt or migrated cluster must not
//! begin by backing up its emptiness.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use holdfast_policy::velero;
use kube::ResourceExt;

use crate::controllers::location::default;
use crate::controllers::stores;
use crate::store;

use super::Controller;
use super::template::instant_of;

const TIME_OUT: Duration = Duration::from_secs(30);

#[derive(Clone, Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("location {location} is gone")]
    Gone { location: String },
    #[error("cannot open location {location}")]
    Open { location: String, source: Arc<stores::Error> },
    #[error("cannot list the backups in location {location}")]
    List { location: String, source: Arc<store::Error> },
    #[error("location {location} did not answer within {} s", TIME_OUT.as_secs())]
    NoAnswer { location: String },
}

/// For each schedule the instant of its newest backup in the bucket. One listing per location, however many schedules ask.
pub(super) async fn look(
    controller: &Controller,
    schedules: Vec<Arc<velero::Schedule>>,
) -> Vec<(Arc<velero::Schedule>, Result<Option<DateTime<Utc>>, Error>)> {
    let locations = controller.locations.all();
    let default = default::choose(locations.iter().map(Arc::as_ref)).name;
    let default = default.unwrap_or_else(|| controller.default_location.clone());
    let mut by_location: BTreeMap<String, Vec<Arc<velero::Schedule>>> = BTreeMap::new();
    for schedule in schedules {
        let location = schedule.spec.template.storage_location.clone().unwrap_or_else(|| default.clone());
        by_location.entry(location).or_default().push(schedule);
    }
    let mut found = Vec::new();
    for (location, schedules) in by_location {
        let listed = list(controller, location).await;
        for schedule in schedules {
            let newest = match &listed {
                Ok(backups) => Ok(newest(&schedule.name_any(), backups)),
                Err(error) => Err(error.clone()),
            };
            found.push((schedule, newest));
        }
    }
    found
}

async fn list(controller: &Controller, location: String) -> Result<Vec<String>, Error> {
    let Some(object) = controller.locations.get(&location) else { return Err(Error::Gone { location }) };
    let listing = async {
        let store = controller
            .stores
            .open(&object)
            .await
            .map_err(|source| Error::Open { location: location.clone(), source: Arc::new(source) })?;
        store
            .list_backups()
            .await
            .map_err(|source| Error::List { location: location.clone(), source: Arc::new(source) })
    };
    match tokio::time::timeout(TIME_OUT, listing).await {
        Ok(listed) => listed,
        Err(_) => Err(Error::NoAnswer { location: location.clone() }),
    }
}

fn newest(schedule: &str, backups: &[String]) -> Option<DateTime<Utc>> {
    backups.iter().filter_map(|backup| instant_of(schedule, backup)).max()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_backup_of_exactly_this_schedule_counts() {
        let backups: Vec<String> =
            ["shop-20261101000000", "shop-20261103000000", "shop-eu-20261105000000", "shop-manual"]
                .map(str::to_owned)
                .into();
        assert_eq!(newest("shop", &backups), Some("2026-11-03T00:00:00Z".parse().unwrap()));
        assert_eq!(newest("blog", &backups), None);
    }
}
