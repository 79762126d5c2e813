//! The DeleteBackupRequests, each with its backup, that backup's location, and what this process does about it.

use std::collections::HashMap;
use std::sync::Arc;

use holdfast_policy::velero;

use super::Controller;
use super::decide::{Observed, Requested, Work};
use super::progress;
use super::run::End;
use crate::controllers::location::default;
use crate::controllers::runs::Runs;

pub(super) fn observe(controller: &Controller, runs: &Runs<End>) -> Observed {
    let under_way: HashMap<String, Work> = runs
        .states()
        .into_iter()
        .map(|(uid, state)| (uid, if state.ended.is_some() { Work::Ended } else { Work::UnderWay }))
        .collect();
    let requests = controller
        .requests
        .all()
        .into_iter()
        .map(|request| {
            let backup = Some(request.spec.backup_name.as_str()).filter(|name| !name.is_empty());
            let backup = backup.and_then(|name| controller.backups.get(name));
            let location_name = match &backup {
                Some(backup) => location_of(controller, backup),
                None => progress::location(&request).unwrap_or_default().to_owned(),
            };
            let location = controller.locations.get(&location_name);
            let work = request.metadata.uid.as_ref().and_then(|uid| under_way.get(uid)).copied();
            Requested { request, backup, location_name, location, work: work.unwrap_or(Work::None) }
        })
        .collect();
    Observed { requests, limit: controller.limit }
}

/// Where the backup is; one that never ran would have gone to the default.
fn location_of(controller: &Controller, backup: &Arc<velero::Backup>) -> String {
    if let Some(name) = &backup.spec.storage_location {
        return name.clone();
    }
    let locations = controller.locations.all();
    let marked = default::choose(locations.iter().map(Arc::as_ref)).name;
    marked.unwrap_or_else(|| controller.default_location.clone())
}
