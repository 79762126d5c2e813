use pretty_assertions::assert_eq;
use serde_json::{Value, json};

use super::*;

fn now() -> DateTime<Utc> {
    "2026-11-23T12:00:00Z".parse().unwrap()
}

/// A backup of this cluster that expired an hour ago.
fn expired(name: &str) -> Value {
    json!({
        "metadata": {"name": name, "uid": name, "labels": {}, "annotations": {"holdfast.dev/cluster": "prod"}},
        "spec": {"storageLocation": "default"},
        "status": {"phase": "Completed", "expiration": "2026-11-23T11:00:00Z"},
    })
}

fn location(mode: &str, phase: &str) -> Option<Arc<BackupStorageLocation>> {
    let value = json!({
        "metadata": {"name": "default"},
        "spec": {"provider": "local", "objectStorage": {"bucket": "b"}, "accessMode": mode},
        "status": {"phase": phase},
    });
    Some(Arc::new(serde_json::from_value(value).unwrap()))
}

fn available() -> Option<Arc<BackupStorageLocation>> {
    location("ReadWrite", "Available")
}

fn request(created: &str, change: Value) -> Arc<DeleteBackupRequest> {
    let mut value = json!({
        "metadata": {"name": "a-1", "creationTimestamp": created}, "spec": {"backupName": "a"},
    });
    for (key, part) in change.as_object().unwrap() {
        for (member, content) in part.as_object().unwrap() {
            value[key][member] = content.clone();
        }
    }
    Arc::new(serde_json::from_value(value).unwrap())
}

fn observed(backup: Value, location: Option<Arc<BackupStorageLocation>>) -> Observed {
    let backup = Arc::new(BackupSummary::of(&serde_json::from_value(backup).unwrap()));
    Observed {
        backups: vec![Seen { backup, location }],
        schedules: Vec::new(),
        requests: Vec::new(),
        in_use: BTreeMap::new(),
        cluster: Cluster::named("prod"),
        frequency: GoDuration::from_secs(3600),
    }
}

fn only(observed: &Observed) -> Decision {
    decide(observed, now()).pop().unwrap().decision
}

fn waits(observed: &Observed) -> Wait {
    match only(observed) {
        Decision::Wait { reason, .. } => reason,
        decision @ (Decision::Keep { .. }
        | Decision::MarkSuspect { .. }
        | Decision::MoveExpiration { .. }
        | Decision::Label { .. }
        | Decision::Request { .. }) => panic!("waits for nothing: {decision:?}"),
    }
}

const TTL: Decision = Decision::Request { rule: Rule::Ttl };

#[test]
fn an_expired_backup_is_asked_for_once() {
    let mut seen = observed(expired("a"), available());
    assert_eq!(only(&seen), TTL);
    for phase in ["", "New", "InProgress"] {
        seen.requests = vec![request("2026-11-01T00:00:00Z", json!({"status": {"phase": phase}}))];
        assert_eq!(waits(&seen), Wait::Requested { request: "a-1".to_owned() });
    }
    let retried = json!({
        "metadata": {"annotations": {progress::RETRY_AT: "2026-11-23T12:30:00Z"}}, "status": {"phase": "Processed"},
    });
    seen.requests = vec![request("2026-11-01T00:00:00Z", retried)];
    assert_eq!(waits(&seen), Wait::Requested { request: "a-1".to_owned() });
}

#[test]
fn a_refused_request_is_repeated_at_the_next_sweep() {
    let refused =
        |created: &str| vec![request(created, json!({"status": {"phase": "Processed", "errors": ["no"]}}))];
    let mut seen = observed(expired("a"), available());
    seen.requests = refused("2026-11-23T11:00:01Z");
    let until = "2026-11-23T12:00:01Z".parse().unwrap();
    let reason = Wait::Refused { request: "a-1".to_owned() };
    assert_eq!(only(&seen), Decision::Wait { until: Some(until), reason });
    seen.requests = refused("2026-11-23T11:00:00Z");
    assert_eq!(only(&seen), TTL);
}

#[test]
fn the_pass_after_an_expiration_is_at_its_instant() {
    let mut backup = expired("a");
    backup["status"]["expiration"] = json!("2026-11-23T12:00:01Z");
    let until: DateTime<Utc> = "2026-11-23T12:00:01Z".parse().unwrap();
    assert_eq!(only(&observed(backup.clone(), available())).at(), Some(until));
    backup["status"]["expiration"] = Value::Null;
    assert_eq!(only(&observed(backup, available())), Decision::Keep { until: None });
}

#[test]
fn a_location_that_stands_in_the_way_is_told_by_velero_s_label() {
    let label = |failure| Decision::Label { failure };
    assert_eq!(only(&observed(expired("a"), None)), label(Failure::NoLocation));
    let read_only = || location("ReadOnly", "Available");
    assert_eq!(only(&observed(expired("a"), read_only())), label(Failure::ReadOnly));
    let mut labelled = expired("a");
    labelled["metadata"]["labels"]["velero.io/gc-failure"] = json!("BSLReadOnly");
    let failure = Failure::ReadOnly;
    assert_eq!(waits(&observed(labelled.clone(), read_only())), Wait::Location { failure });
    assert_eq!(only(&observed(labelled, available())), TTL);
    // As Velero: no label for this one.
    assert_eq!(
        waits(&observed(expired("a"), location("ReadWrite", "Unavailable"))),
        Wait::LocationUnavailable
    );
}

#[test]
fn a_backup_that_a_restore_reads_is_waited_for() {
    let mut seen = observed(expired("a"), available());
    seen.in_use = BTreeMap::from([("a".to_owned(), "back".to_owned())]);
    assert_eq!(waits(&seen), Wait::InUse { restore: "back".to_owned() });
}

#[test]
fn only_what_is_ours_is_ended() {
    let mut theirs = expired("a");
    theirs["metadata"]["annotations"]["holdfast.dev/cluster"] = json!("old");
    assert_eq!(only(&observed(theirs, available())), Decision::Keep { until: None });
    let mut nobodys = expired("a");
    nobodys["metadata"]["annotations"] = json!({});
    assert_eq!(only(&observed(nobodys.clone(), available())), Decision::Keep { until: None });
    let mut adopted = available().unwrap().as_ref().clone();
    adopted.metadata.annotations =
        Some(BTreeMap::from([("holdfast.dev/adopted-by".to_owned(), "prod".to_owned())]));
    assert_eq!(only(&observed(nobodys, Some(Arc::new(adopted)))), TTL);
}

#[test]
fn nothing_of_a_schedule_goes_before_its_suspect_backups_are_marked() {
    let with = |name: &str, started: &str, objects: i64| {
        let mut backup = expired(name);
        backup["metadata"]["labels"]["velero.io/schedule-name"] = json!("nightly");
        backup["status"]["startTimestamp"] = json!(started);
        backup["status"]["progress"] = json!({"itemsBackedUp": objects});
        Seen {
            backup: Arc::new(BackupSummary::of(&serde_json::from_value(backup).unwrap())),
            location: available(),
        }
    };
    let mut seen = observed(expired("other"), available());
    seen.backups.push(with("a", "2026-11-01T00:00:00Z", 100));
    seen.backups.push(with("b", "2026-11-02T00:00:00Z", 1));
    let decisions: Vec<Decision> = decide(&seen, now()).into_iter().map(|step| step.decision).collect();
    let why = "1 objects, after 100 in a".to_owned();
    let marks = Decision::Wait { until: None, reason: Wait::Marks };
    assert_eq!(decisions, [TTL, marks, Decision::MarkSuspect { why }]);
}

#[test]
fn minimum_good_moves_the_expiration_where_the_bucket_can_be_written() {
    let mut backup = expired("a");
    backup["metadata"]["labels"]["velero.io/schedule-name"] = json!("nightly");
    backup["metadata"]["annotations"]["holdfast.dev/retention"] = json!(r#"{"minimumGood":1}"#);
    let to = "2026-11-24T12:00:00Z".parse().unwrap();
    assert_eq!(only(&observed(backup.clone(), available())), Decision::MoveExpiration { to });
    let failure = Failure::ReadOnly;
    assert_eq!(waits(&observed(backup, location("ReadOnly", "Available"))), Wait::Location { failure });
}
