//! Whether a repository is tidied up now. Pure.

use std::sync::Arc;

use chrono::{DateTime, Duration, Utc};
use holdfast_policy::time::to_chrono;
use holdfast_policy::velero;
use holdfast_policy::velero::{AccessMode, BackupRepositoryPhase, LocationPhase, UploaderType};
use kube::ResourceExt;

use super::End;
use crate::controllers::runs::RunState;
use crate::engine::repositories::pruning::ASKED;

/// Where none is given, as Velero has it for this format.
const USUAL_FREQUENCY: Duration = Duration::days(7);
/// After an attempt that failed, or that left something for later.
const AGAIN_AFTER: Duration = Duration::minutes(5);

pub struct Observed<'a> {
    pub repository: &'a velero::BackupRepository,
    pub location: Option<&'a velero::BackupStorageLocation>,
    pub run: Option<&'a RunState<End>>,
    /// Whether another repository is being tidied up: it takes memory.
    pub is_busy: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    Prune,
    Note { end: Arc<End> },
    Wait { until: Option<DateTime<Utc>> },
    LeaveAlone { reason: Reason },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// Velero's own.
    Kopia,
    NotReady,
    /// Nothing may be deleted there, or nobody gets there.
    Location,
}

pub fn decide(observed: &Observed<'_>, now: DateTime<Utc>) -> Decision {
    let Observed { repository, location, run, is_busy } = observed;
    match run.map(|run| run.ended.clone()) {
        Some(Some(end)) => return Decision::Note { end },
        Some(None) => return Decision::Wait { until: None },
        None => {}
    }
    let leave = |reason| Decision::LeaveAlone { reason };
    if repository.spec.repository_type == Some(UploaderType::Kopia) {
        return leave(Reason::Kopia);
    }
    if repository.status_phase() != BackupRepositoryPhase::Ready {
        return leave(Reason::NotReady);
    }
    let usable = |location: &&velero::BackupStorageLocation| {
        location.access_mode() == AccessMode::ReadWrite
            && location.status.phase == Some(LocationPhase::Available)
    };
    if location.filter(usable).is_none() {
        return leave(Reason::Location);
    }
    let due = due(repository);
    match (due <= Some(now), is_busy) {
        (false, _) => Decision::Wait { until: due },
        (true, true) => Decision::Wait { until: None },
        (true, false) => Decision::Prune,
    }
}

/// None is at once.
fn due(repository: &velero::BackupRepository) -> Option<DateTime<Utc>> {
    let last = repository.status.last_maintenance_time.as_ref().map(to_chrono)?;
    if let Some(asked) = repository.annotations().get(ASKED) {
        let began =
            repository.status.recent_maintenance.last().and_then(|last| last.start_timestamp.as_ref());
        let asked = asked.parse::<DateTime<Utc>>().ok();
        // What an attempt left that began since then is left for a while. Both times are whole seconds.
        let was_tried = began.map(to_chrono).is_some_and(|began| asked < Some(began));
        return was_tried.then(|| last + AGAIN_AFTER);
    }
    let frequency = repository.spec.maintenance_frequency.as_std();
    let frequency = frequency.filter(|frequency| !frequency.is_zero());
    let frequency = frequency.and_then(|it| Duration::from_std(it).ok()).unwrap_or(USUAL_FREQUENCY);
    Some(last + frequency)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn now() -> DateTime<Utc> {
        "2026-11-26T10:00:00Z".parse().unwrap()
    }

    fn decided(repository: Value, access: &str) -> Decision {
        let location = json!({
            "spec": {"provider": "local", "objectStorage": {"bucket": "b"}, "accessMode": access},
            "status": {"phase": "Available"},
        });
        let location = serde_json::from_value(location).unwrap();
        let repository = serde_json::from_value(repository).unwrap();
        let observed =
            Observed { repository: &repository, location: Some(&location), run: None, is_busy: false };
        decide(&observed, now())
    }

    fn repository(last: &str, asked: Value, recent: Value) -> Value {
        json!({
            "metadata": {"name": "r", "annotations": asked},
            "spec": {
                "volumeNamespace": "shop", "backupStorageLocation": "default", "repositoryType": "restic",
                "maintenanceFrequency": "168h0m0s",
            },
            "status": {"phase": "Ready", "lastMaintenanceTime": last, "recentMaintenance": recent},
        })
    }

    #[test]
    fn a_repository_is_tidied_up_when_its_time_has_come_or_somebody_asked() {
        let none = json!({});
        assert_eq!(
            decided(repository("2026-11-25T10:00:00Z", none.clone(), json!([])), "ReadWrite"),
            Decision::Wait { until: Some("2026-12-02T10:00:00Z".parse().unwrap()) }
        );
        assert_eq!(
            decided(repository("2026-11-19T09:00:00Z", none, json!([])), "ReadWrite"),
            Decision::Prune
        );
        let asked = json!({ASKED: "2026-11-26T09:59:00Z"});
        assert_eq!(
            decided(repository("2026-11-25T10:00:00Z", asked.clone(), json!([])), "ReadWrite"),
            Decision::Prune
        );
        let after = |began: &str| {
            let recent = json!([{"result": "Failed", "startTimestamp": began}]);
            decided(repository("2026-11-26T09:59:30Z", asked.clone(), recent), "ReadWrite")
        };
        let later = Decision::Wait { until: Some("2026-11-26T10:04:30Z".parse().unwrap()) };
        assert_eq!(after("2026-11-26T09:59:20Z"), later);
        assert_eq!(after("2026-11-26T09:58:50Z"), Decision::Prune);
    }

    #[test]
    fn nothing_is_deleted_where_nothing_may_be() {
        let due = repository("2026-11-01T10:00:00Z", json!({}), json!([]));
        let left = |reason| Decision::LeaveAlone { reason };
        assert_eq!(decided(due.clone(), "ReadOnly"), left(Reason::Location));
        let mut kopia = due.clone();
        kopia["spec"]["repositoryType"] = json!("kopia");
        assert_eq!(decided(kopia, "ReadWrite"), left(Reason::Kopia));
        let mut new = due;
        new["status"]["phase"] = json!("New");
        assert_eq!(decided(new, "ReadWrite"), left(Reason::NotReady));
    }
}
