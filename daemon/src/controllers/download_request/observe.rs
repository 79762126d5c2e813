//! The DownloadRequests with what they name.

use std::collections::BTreeMap;

use holdfast_policy::annotations::SERVED_BY;
use holdfast_policy::velero::{DownloadRequest, DownloadTarget};
use kube::ResourceExt;

use super::Controller;
use super::decide::{Found, Observed, Reason, Server, Signed};
use super::target::{Wanted, wanted};
use crate::controllers::runs::RunState;

pub(super) fn observe(
    controller: &Controller,
    signings: &BTreeMap<String, RunState<Signed>>,
) -> Vec<Observed> {
    let requests = controller.requests.all().into_iter();
    requests
        .map(|request| Observed {
            found: match &request.spec.target {
                Some(target) => find(controller, target, server(&request)),
                None => Err(Reason::NoTarget),
            },
            signing: signings.get(&request.uid().unwrap_or_default()).cloned(),
            request,
        })
        .collect()
}

fn server(request: &DownloadRequest) -> Server {
    match request.annotations().get(SERVED_BY).map(String::as_str) {
        Some("daemon") => Server::Daemon,
        Some(_) | None => Server::Bucket,
    }
}

fn find(controller: &Controller, target: &DownloadTarget, server: Server) -> Result<Found, Reason> {
    let wanted = wanted(target.kind);
    let backup = match wanted {
        Wanted::Archive | Wanted::OfBackup(_) => target.name.clone(),
        Wanted::OfRestore(_) => {
            let restore = controller.restores.get(&target.name);
            let restore = restore.ok_or_else(|| Reason::NoRestore { name: target.name.clone() })?;
            restore.spec.backup_name.clone().unwrap_or_default()
        }
    };
    let backup = controller.backups.get(&backup).ok_or(Reason::NoBackup { name: backup })?;
    let location = backup.spec.storage_location.clone().unwrap_or_default();
    let location = controller.locations.get(&location).ok_or(Reason::NoLocation { name: location })?;
    Ok(Found { location, wanted, name: target.name.clone(), server })
}
