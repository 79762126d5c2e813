//! What only Holdfast knows about a Schedule or a Restore, and how it travels in annotations of the CR.
//!
//! In: rules of a policy. Out: annotations, and the rules again from annotations. Velero ignores them.

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};

use crate::duration::GoDuration;
use crate::model::remap::Remap;
use crate::model::{CatchUp, ConcurrencyPolicy, Retention};

/// Labels of everything that policies generate.
pub const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
pub const MANAGED_BY_HOLDFAST: &str = "holdfast";
pub const SOURCE: &str = "holdfast.dev/source";
pub const POLICY: &str = "holdfast.dev/policy";
pub const CONTENT_HASH: &str = "holdfast.dev/content-hash";

/// Annotations of Schedules.
pub const CATCH_UP: &str = "holdfast.dev/catch-up";
pub const STARTING_DEADLINE: &str = "holdfast.dev/starting-deadline";
pub const CONCURRENCY_POLICY: &str = "holdfast.dev/concurrency-policy";
pub const MAX_RUNTIME: &str = "holdfast.dev/max-runtime";
pub const JITTER: &str = "holdfast.dev/jitter";
/// JSON with the keys of the policy's `retention`; on Backups as well, to which Schedules hand their annotations.
pub const RETENTION: &str = "holdfast.dev/retention";

/// Annotation of Backups, in the cluster and in the bucket: the name of the cluster that made it.
pub const CLUSTER: &str = "holdfast.dev/cluster";
/// Annotation of Backups that a Schedule made: the zone whose days retention counts, where it is not UTC.
pub const TIME_ZONE: &str = "holdfast.dev/time-zone";
/// Annotation of Backups: why it does not count as good although it was completed.
pub const SUSPECT: &str = "holdfast.dev/suspect";
/// Annotation of Backups: why it stays, whatever the clock and the keep rules say.
pub const HOLD: &str = "holdfast.dev/hold";

/// Annotation of Backups that a Schedule made: the instant at which that run was due. It tells which runs have been made
/// when the daemon ended between making one and noting it in the Schedule.
pub const SCHEDULED_AT: &str = "holdfast.dev/scheduled-at";
/// Annotation of Backups that were brought in from a bucket and whose PodVolumeBackups were not, not all of them: a
/// daemon that ends in between goes on there.
pub const IMPORTING: &str = "holdfast.dev/importing";
/// Annotation of Backups: set by a person, whatever its value, it ends a backup that is not over yet.
pub const CANCEL: &str = "holdfast.dev/cancel";

/// Annotation of Backups: how many bytes the archive has, for metrics after a restart.
pub const ARCHIVE_BYTES: &str = "holdfast.dev/archive-bytes";

/// Annotation of Backups that were found in a bucket and brought into the cluster. Never in the bucket.
pub const SYNCED: &str = "holdfast.dev/synced";

/// Annotation of BackupStorageLocations: the cluster that looks after the backups in it that name no cluster.
pub const ADOPTED_BY: &str = "holdfast.dev/adopted-by";
/// Annotation of BackupStorageLocations: the cluster whose backups this one takes over.
pub const TAKE_OVER: &str = "holdfast.dev/take-over";
/// Annotation of BackupStorageLocations: the id of the marker that was found in the bucket. Taken away by a person, it is
/// learnt anew, and with it that the bucket was changed on purpose.
pub const LOCATION_ID: &str = "holdfast.dev/location-id";
/// Annotation of BackupStorageLocations: the other cluster that writes there. While it is set the location is read only.
pub const OWNED_BY: &str = "holdfast.dev/owned-by";
/// Annotation of Restores: JSON with `storageClasses`, `images` and `nodes` of the policy's `remap`.
pub const REMAP: &str = "holdfast.dev/remap";
/// Annotation of Restores: `remap` or `drop`, what becomes of the owner references of restored objects.
pub const OWNER_REFERENCES: &str = "holdfast.dev/owner-references";
/// Annotation of Restores: `true` or `server` when it only tells what it would do, the second by asking the API server of
/// each object.
pub const DRY_RUN: &str = "holdfast.dev/dry-run";
/// Annotation of DownloadRequests: `daemon` where the address is to be one of the daemon's own, and not of the bucket.
pub const SERVED_BY: &str = "holdfast.dev/served-by";
/// Annotations of the Lease by which one replica leads: the `--mode` of who holds it, and its version.
pub const MODE: &str = "holdfast.dev/mode";
pub const VERSION: &str = "holdfast.dev/version";
/// Annotation of Restores: the text whose change makes the restore happen.
pub const RUN: &str = "holdfast.dev/run";

/// How a Schedule runs, beyond what Velero's spec can say.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ScheduleRules {
    pub catch_up: CatchUp,
    pub concurrency_policy: ConcurrencyPolicy,
    pub starting_deadline: Option<GoDuration>,
    pub max_runtime: Option<GoDuration>,
    pub jitter: Option<GoDuration>,
    pub retention: Option<Retention>,
}

impl ScheduleRules {
    pub fn to_annotations(&self) -> BTreeMap<String, String> {
        let ScheduleRules { catch_up, concurrency_policy, starting_deadline, max_runtime, jitter, retention } =
            self;
        let catch_up = match catch_up {
            CatchUp::None => "None",
            CatchUp::Last => "Last",
        };
        let concurrency_policy = match concurrency_policy {
            ConcurrencyPolicy::Forbid => "Forbid",
            ConcurrencyPolicy::Queue => "Queue",
        };
        let durations =
            [(STARTING_DEADLINE, starting_deadline), (MAX_RUNTIME, max_runtime), (JITTER, jitter)];
        let mut annotations = BTreeMap::from([
            (CATCH_UP.to_owned(), catch_up.to_owned()),
            (CONCURRENCY_POLICY.to_owned(), concurrency_policy.to_owned()),
        ]);
        for (key, duration) in durations {
            if let Some(duration) = duration.filter(|duration| !duration.is_zero()) {
                annotations.insert(key.to_owned(), duration.to_string());
            }
        }
        if let Some(retention) = retention {
            annotations.insert(RETENTION.to_owned(), json(retention));
        }
        annotations
    }
}

/// The rules that the value of [`RETENTION`] says.
pub fn retention(text: &str) -> Result<Retention, serde_json::Error> {
    serde_json::from_str(text)
}

/// What a restore calls differently, as far as Velero's spec has no field for it.
pub fn remap(annotations: &BTreeMap<String, String>) -> Result<Option<Remap>, serde_json::Error> {
    annotations.get(REMAP).map(|text| serde_json::from_str(text)).transpose()
}

pub(crate) fn remap_text(remap: &Remap) -> Option<String> {
    let Remap { namespaces: _, storage_classes, images, nodes } = remap;
    let elsewhere = Remap {
        namespaces: BTreeMap::new(),
        storage_classes: storage_classes.clone(),
        images: images.clone(),
        nodes: nodes.clone(),
    };
    (elsewhere != Remap::default()).then(|| json(&elsewhere))
}

fn json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).expect("maps of texts and numbers serialize")
}

/// By how much the runs of a schedule are late: the same for every run, on every machine.
pub fn jitter_offset(namespace: &str, schedule: &str, window: GoDuration) -> GoDuration {
    let width = window.to_chrono().num_seconds();
    if width <= 0 {
        return GoDuration::ZERO;
    }
    let digest = Sha256::digest(format!("{namespace}/{schedule}"));
    let number = digest.iter().take(8).fold(0_u64, |number, byte| (number << 8) | u64::from(*byte));
    let offset = number % width.unsigned_abs();
    GoDuration::from_secs(i64::try_from(offset).expect("a remainder below an i64 is one"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_written_in_full_and_zero_is_nothing() {
        let rules = ScheduleRules {
            catch_up: CatchUp::None,
            jitter: Some(GoDuration::from_secs(300)),
            max_runtime: Some(GoDuration::ZERO),
            retention: Some(Retention {
                daily: Some(7),
                keep_failed: Some(GoDuration::from_secs(60)),
                ..Default::default()
            }),
            ..Default::default()
        };
        let annotations = rules.to_annotations();
        let pairs: Vec<(&str, &str)> =
            annotations.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        assert_eq!(
            pairs,
            [
                ("holdfast.dev/catch-up", "None"),
                ("holdfast.dev/concurrency-policy", "Forbid"),
                ("holdfast.dev/jitter", "5m0s"),
                ("holdfast.dev/retention", r#"{"daily":7,"keepFailed":"1m0s"}"#),
            ]
        );
        assert_eq!(Some(retention(&annotations[RETENTION]).unwrap()), rules.retention);
    }

    #[test]
    fn jitter_is_stable_and_below_its_window() {
        let window = GoDuration::from_secs(300);
        let offset = jitter_offset("velero", "shop-nightly", window);
        assert_eq!(offset, jitter_offset("velero", "shop-nightly", window));
        assert!(offset < window);
        assert_ne!(offset, jitter_offset("velero", "shop-hourly", window));
        assert_eq!(jitter_offset("velero", "shop-nightly", GoDuration::ZERO), GoDuration::ZERO);
    }
}
