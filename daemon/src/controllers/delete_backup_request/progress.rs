//! What a DeleteBackupRequest remembers in its annotations: which rule asked for it, where the backup was, and when a
//! deletion that failed is tried again. Pure.

use std::collections::BTreeMap;

use chrono::{DateTime, Duration, SecondsFormat, Utc};
use holdfast_policy::velero::{Backup, BackupPhase, DeleteBackupRequest};
use kube::ResourceExt;

/// The rule that asked for the deletion; absent where a person did.
pub const RULE: &str = "holdfast.dev/rule";
/// The backup's location: with the Backup gone, nothing else tells where its files were.
pub const LOCATION: &str = "holdfast.dev/location";
/// How often the deletion has failed.
pub const FAILURES: &str = "holdfast.dev/failures";
/// When it is tried again.
pub const RETRY_AT: &str = "holdfast.dev/retry-at";
/// On a Backup: the phase that it has again where its deletion fails before anything is gone.
pub const PHASE_BEFORE: &str = "holdfast.dev/phase-before-deletion";

const FIRST_WAIT_MINUTES: i64 = 1;
const LONGEST_WAIT_MINUTES: i64 = 60;

pub fn rule(request: &DeleteBackupRequest) -> Option<&str> {
    annotation(request, RULE)
}

pub fn location(request: &DeleteBackupRequest) -> Option<&str> {
    annotation(request, LOCATION)
}

pub fn retry_at(request: &DeleteBackupRequest) -> Option<DateTime<Utc>> {
    let text = annotation(request, RETRY_AT)?;
    DateTime::parse_from_rfc3339(text).ok().map(|instant| instant.with_timezone(&Utc))
}

/// Notes one more failure.
pub fn fail(request: &mut DeleteBackupRequest, now: DateTime<Utc>) {
    let failures: u32 = annotation(request, FAILURES).and_then(|text| text.parse().ok()).unwrap_or(0);
    let wait = (FIRST_WAIT_MINUTES << failures.min(6)).min(LONGEST_WAIT_MINUTES);
    let at = (now + Duration::minutes(wait)).to_rfc3339_opts(SecondsFormat::Secs, true);
    let annotations = request.annotations_mut();
    annotations.insert(FAILURES.to_owned(), failures.saturating_add(1).to_string());
    annotations.insert(RETRY_AT.to_owned(), at);
}

/// Trying again would change nothing.
pub fn give_up(request: &mut DeleteBackupRequest) {
    let annotations = request.annotations_mut();
    annotations.remove(FAILURES);
    annotations.remove(RETRY_AT);
}

/// Makes a Backup say that it is being deleted.
pub fn begin(backup: &mut Backup) {
    let phase = backup.status_phase();
    if phase != BackupPhase::Deleting {
        backup.annotations_mut().insert(PHASE_BEFORE.to_owned(), phase.as_str().to_owned());
        backup.status.phase = Some(BackupPhase::Deleting);
    }
}

/// Gives a Backup back the phase it had. One that began to be deleted by another server stays as it is: nobody knows how
/// far that came.
pub fn take_back(backup: &mut Backup) {
    let annotations: &mut BTreeMap<String, String> = backup.annotations_mut();
    let before = annotations.remove(PHASE_BEFORE);
    let before =
        before.and_then(|text| BackupPhase::ALL.iter().copied().find(|phase| phase.as_str() == text));
    if let Some(before) = before {
        backup.status.phase = Some(before);
    }
}

fn annotation<'a>(request: &'a DeleteBackupRequest, key: &str) -> Option<&'a str> {
    request.metadata.annotations.as_ref()?.get(key).map(String::as_str)
}

#[cfg(test)]
mod tests {
    use pretty_assertions::assert_eq;

    use super::*;

    #[test]
    fn waits_double_up_to_an_hour() {
        let now: DateTime<Utc> = "2026-11-23T10:00:00Z".parse().unwrap();
        let mut request = DeleteBackupRequest::default();
        assert_eq!(retry_at(&request), None);
        let waits: Vec<i64> = (0..8)
            .map(|_| {
                fail(&mut request, now);
                (retry_at(&request).unwrap() - now).num_minutes()
            })
            .collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60]);
        give_up(&mut request);
        assert_eq!(retry_at(&request), None);
    }

    #[test]
    fn a_backup_has_its_phase_again_when_nothing_came_of_its_deletion() {
        for phase in BackupPhase::ALL {
            let mut backup = Backup::default();
            backup.status.phase = Some(*phase);
            let before = backup.clone();
            begin(&mut backup);
            assert_eq!(backup.status_phase(), BackupPhase::Deleting);
            begin(&mut backup);
            take_back(&mut backup);
            assert_eq!(backup.status, before.status);
            assert!(backup.annotations().is_empty());
        }
    }
}
