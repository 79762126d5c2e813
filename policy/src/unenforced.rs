//! What a Velero server ignores of policies that it carries out in place of Holdfast.
//!
//! In: a valid set. Out: each field that would have no effect, and what Velero 1.18 does instead. What its custom
//! resources can say is not among it, nor what publishing itself sees to (approval, clusters, notAfter, drift).

use std::fmt;

use crate::annotations::ScheduleRules;
use crate::cron::DayRule;
use crate::model::remap::Remap;
use crate::model::{CatchUp, ConcurrencyPolicy, StorageLocationSpec};
use crate::validate::{ValidLocation, ValidPolicySet, ValidRestore, ValidSchedule};

/// A field without effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unenforced {
    /// Name of the object that it is compiled into.
    pub name: String,
    pub policy: String,
    /// Name of the schedule in its policy.
    pub entry: Option<String>,
    pub what: Ignored,
}

/// What Velero does not honour.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Ignored {
    FirstRun,
    DayRule,
    Jitter,
    StartingDeadline,
    CatchUp,
    Queue,
    MaxRuntime,
    Retention,
    Remap,
    LocalProvider,
    Compression,
    TakeOver,
}

impl Ignored {
    /// The kind of the object that it is compiled into.
    pub fn kind(self) -> &'static str {
        match self.document() {
            Document::StorageLocation => "BackupStorageLocation",
            Document::BackupPolicy => "Schedule",
            Document::RestorePolicy => "Restore",
        }
    }

    pub(crate) fn document(self) -> Document {
        match self {
            Ignored::LocalProvider | Ignored::Compression | Ignored::TakeOver => Document::StorageLocation,
            Ignored::FirstRun
            | Ignored::DayRule
            | Ignored::Jitter
            | Ignored::StartingDeadline
            | Ignored::CatchUp
            | Ignored::Queue
            | Ignored::MaxRuntime
            | Ignored::Retention => Document::BackupPolicy,
            Ignored::Remap => Document::RestorePolicy,
        }
    }

    /// What a person would have to have written.
    pub fn setting(self) -> &'static str {
        match self {
            Ignored::FirstRun => "skipImmediately: false",
            Ignored::CatchUp => "catchUp: None",
            Ignored::Queue => "concurrencyPolicy: Queue",
            Ignored::Remap => "remap of anything but namespaces",
            Ignored::LocalProvider => "provider: local",
            Ignored::Compression => "config.compression",
            Ignored::DayRule
            | Ignored::Jitter
            | Ignored::StartingDeadline
            | Ignored::MaxRuntime
            | Ignored::Retention
            | Ignored::TakeOver => self.field(),
        }
    }

    /// The field of the document.
    pub fn field(self) -> &'static str {
        match self {
            Ignored::FirstRun => "skipImmediately",
            Ignored::DayRule => "cron",
            Ignored::Jitter => "jitter",
            Ignored::StartingDeadline => "startingDeadline",
            Ignored::CatchUp => "catchUp",
            Ignored::Queue => "concurrencyPolicy",
            Ignored::MaxRuntime => "maxRuntime",
            Ignored::Retention => "retention",
            Ignored::Remap => "remap",
            Ignored::LocalProvider => "provider",
            Ignored::Compression => "config",
            Ignored::TakeOver => "takeOver",
        }
    }
}

/// The kind of document that a field stands in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Document {
    StorageLocation,
    BackupPolicy,
    RestorePolicy,
}

/// What happens instead.
impl fmt::Display for Ignored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Ignored::FirstRun => {
                "Velero makes the first backup when the cron expression says so, not when the schedule appears"
            }
            Ignored::DayRule => "Velero 1.18 demands that day of month and day of week both match",
            Ignored::Jitter => "Velero starts every run when it is due",
            Ignored::StartingDeadline => "Velero starts a late run however late it is",
            Ignored::CatchUp => "Velero makes one run for those that were missed",
            Ignored::Queue => "Velero leaves a run out while another of the schedule is new or in progress",
            Ignored::MaxRuntime => "Velero waits for an unfinished run for ever",
            Ignored::Retention => "Velero keeps every backup until its ttl ends, and none longer",
            Ignored::Remap => "Velero changes names only as its labelled ConfigMaps say",
            Ignored::LocalProvider => "Velero has no provider for local folders",
            Ignored::Compression => "Velero writes and reads gzip only",
            Ignored::TakeOver => "Velero knows no owners of backups",
        })
    }
}

/// Everything that has no effect, in the order of locations, schedules and restores.
pub fn unenforced(set: &ValidPolicySet) -> Vec<Unenforced> {
    let locations = set.storage_locations().iter().flat_map(of_location);
    let schedules = set.schedules().iter().flat_map(of_schedule);
    let restores = set.restores().iter().flat_map(of_restore);
    locations.chain(schedules).chain(restores).collect()
}

fn of_location(location: &ValidLocation<StorageLocationSpec>) -> Vec<Unenforced> {
    let ValidLocation { name, labels: _, spec } = location;
    let of = |what| Unenforced { name: name.clone(), policy: name.clone(), entry: None, what };
    let local = spec.provider.rsplit('/').next() == Some("local");
    let compression = spec.config.get("compression").is_some_and(|codec| codec != "gzip");
    [
        (local, Ignored::LocalProvider),
        (compression, Ignored::Compression),
        (spec.take_over.is_some(), Ignored::TakeOver),
    ]
    .into_iter()
    .filter(|(holds, _)| *holds)
    .map(|(_, what)| of(what))
    .collect()
}

fn of_schedule(schedule: &ValidSchedule) -> Vec<Unenforced> {
    let ValidSchedule { origin, name, cron, skip_immediately, rules, .. } = schedule;
    let ScheduleRules { catch_up, concurrency_policy, starting_deadline, max_runtime, jitter, retention } =
        rules;
    let of = |what| Unenforced {
        name: name.clone(),
        policy: origin.policy.clone(),
        entry: Some(origin.entry.clone()),
        what,
    };
    [
        (!skip_immediately, Ignored::FirstRun),
        (cron.day_rule() == DayRule::Either, Ignored::DayRule),
        (jitter.is_some_and(|jitter| !jitter.is_zero()), Ignored::Jitter),
        (starting_deadline.is_some_and(|deadline| !deadline.is_zero()), Ignored::StartingDeadline),
        (*catch_up == CatchUp::None, Ignored::CatchUp),
        (*concurrency_policy == ConcurrencyPolicy::Queue, Ignored::Queue),
        (max_runtime.is_some_and(|runtime| !runtime.is_zero()), Ignored::MaxRuntime),
        (retention.is_some(), Ignored::Retention),
    ]
    .into_iter()
    .filter(|(holds, _)| *holds)
    .map(|(_, what)| of(what))
    .collect()
}

fn of_restore(restore: &ValidRestore) -> Vec<Unenforced> {
    let Remap { namespaces: _, storage_classes, images, nodes } = &restore.spec.remap;
    let ignored = !(storage_classes.is_empty() && images.is_empty() && nodes.is_empty());
    let of = || Unenforced {
        name: restore.name.clone(),
        policy: restore.policy.clone(),
        entry: None,
        what: Ignored::Remap,
    };
    ignored.then(of).into_iter().collect()
}

#[cfg(test)]
mod tests {
    use pretty_assertions::assert_eq;

    use super::*;
    use crate::parse::SourceFile;

    fn found(documents: &str) -> Vec<(String, Ignored)> {
        let text = documents.replace("KIND ", "---\napiVersion: holdfast.dev/v1alpha1\nkind: ");
        let set = crate::load(&[SourceFile::new("a.yaml", text.as_str())]).unwrap();
        unenforced(&set)
            .into_iter()
            .map(|one| (format!("{} {}", one.what.kind(), one.name), one.what))
            .collect()
    }

    #[test]
    fn everything_that_velero_ignores_is_found() {
        let documents = "
KIND StorageLocation
metadata: {name: shelf}
spec: {provider: local, bucket: b, config: {path: /srv, compression: zstd}, takeOver: old}
KIND BackupPolicy
metadata: {name: shop}
spec:
  retention: {keepLast: 3, keepFailed: 1h}
  schedules:
  - {name: all, cron: '0 1 13 * 5', jitter: 5m, startingDeadline: 1h, catchUp: None, concurrencyPolicy: Queue, maxRuntime: 6h}
KIND RestorePolicy
metadata: {name: drill}
spec:
  run: once
  clusters: [a]
  from: {backup: b}
  remap: {namespaces: {a: b}, nodes: {n1: n2}}
";
        let names: Vec<Ignored> = found(documents).into_iter().map(|(_, what)| what).collect();
        assert_eq!(
            names,
            [
                Ignored::LocalProvider,
                Ignored::Compression,
                Ignored::TakeOver,
                Ignored::FirstRun,
                Ignored::DayRule,
                Ignored::Jitter,
                Ignored::StartingDeadline,
                Ignored::CatchUp,
                Ignored::Queue,
                Ignored::MaxRuntime,
                Ignored::Retention,
                Ignored::Remap,
            ]
        );
    }

    #[test]
    fn what_velero_does_as_well_is_no_matter() {
        let documents = "
KIND StorageLocation
metadata: {name: default}
spec: {provider: aws, bucket: b, config: {region: eu-central-1}}
KIND BackupPolicy
metadata: {name: shop}
spec:
  schedules: [{name: nightly, cron: '0 1 * * *', timeZone: Europe/Berlin, skipImmediately: true, jitter: 0s}]
KIND RestorePolicy
metadata: {name: drill}
spec: {run: once, clusters: [a], from: {backup: b}, remap: {namespaces: {a: b}}}
";
        assert_eq!(found(documents), []);
    }
}
