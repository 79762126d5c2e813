//! Which hooks a backup asks for. They are not run yet; a backup that was to run them says so instead of
//! passing for consistent.

use std::collections::BTreeMap;

use holdfast_policy::velero::BackupHooks;
use memchr::memmem;
use serde::Deserialize;

use crate::cluster::Item;
use crate::engine::run_log::{Message, Place, RunLog};

const NOT_RUN: &str = "Hooks are not run by this version of Holdfast";
const ANNOTATIONS: [&str; 3] = [
    "pre.hook.backup.velero.io/command",
    "post.hook.backup.velero.io/command",
    "hook.backup.velero.io/command",
];

#[derive(Deserialize)]
struct Pod {
    metadata: Metadata,
    #[serde(default)]
    status: Status,
}

#[derive(Deserialize)]
struct Metadata {
    #[serde(default)]
    annotations: BTreeMap<String, String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Status {
    phase: String,
}

/// Reports hooks of the spec.
pub(super) fn report_unrun(hooks: &BackupHooks, log: &RunLog) {
    if !hooks.resources.is_empty() {
        log.error(Place::Velero, NOT_RUN);
    }
}

/// Reports hooks that a pod's annotations ask for. A pod that has ended would have none run.
pub(super) fn report_unrun_of(pod: &Item, log: &RunLog) -> Result<(), serde_json::Error> {
    if memmem::find(&pod.json, b"hook.backup.velero.io/command").is_none() {
        return Ok(());
    }
    let Pod { metadata, status } = serde_json::from_slice(&pod.json)?;
    let asked = ANNOTATIONS.iter().any(|key| metadata.annotations.contains_key(*key));
    let ended = status.phase == "Succeeded" || status.phase == "Failed";
    if asked && !ended {
        log.error(
            Place::of(pod.namespace.as_deref()),
            Message::new(NOT_RUN).resource("pods").name(&pod.name),
        );
    }
    Ok(())
}
