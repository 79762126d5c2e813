use pretty_assertions::assert_eq;
use serde_json::{Value, json};

use super::*;

fn now() -> DateTime<Utc> {
    "2026-11-23T10:00:00Z".parse().unwrap()
}

fn request(name: &str, created: &str, annotations: Value, status: Value) -> Arc<DeleteBackupRequest> {
    let labels = json!({"velero.io/backup-uid": "uid-shop"});
    let value = json!({
        "metadata": {
            "name": name, "uid": format!("uid-{name}"), "creationTimestamp": created, "labels": labels,
            "annotations": annotations,
        },
        "spec": {"backupName": "shop"}, "status": status,
    });
    Arc::new(serde_json::from_value(value).unwrap())
}

fn backup(phase: &str, annotations: Value) -> Option<Arc<Backup>> {
    let value = json!({
        "metadata": {"name": "shop", "uid": "uid-shop", "annotations": annotations},
        "spec": {"storageLocation": "default"}, "status": {"phase": phase},
    });
    Some(Arc::new(serde_json::from_value(value).unwrap()))
}

fn location(mode: &str, phase: Option<&str>) -> Option<Arc<BackupStorageLocation>> {
    let value = json!({
        "metadata": {"name": "default"},
        "spec": {"provider": "local", "objectStorage": {"bucket": "b"}, "accessMode": mode},
        "status": {"phase": phase},
    });
    Some(Arc::new(serde_json::from_value(value).unwrap()))
}

/// A new request for a backup that is whole, in a location that is available.
fn whole() -> Requested {
    Requested {
        request: request("shop-1", "2026-11-23T09:59:00Z", json!({}), json!({})),
        backup: backup("Completed", json!({})),
        location_name: "default".to_owned(),
        location: location("ReadWrite", Some("Available")),
        work: Work::None,
    }
}

fn with(request: Arc<DeleteBackupRequest>) -> Requested {
    Requested { request, ..whole() }
}

fn decided(requests: Vec<Requested>) -> Vec<(String, Decision)> {
    let decided = decide(&Observed { requests, limit: 2 }, now());
    decided
        .into_iter()
        .map(|(request, decision)| (request.metadata.name.clone().unwrap_or_default(), decision))
        .collect()
}

fn only(one: Requested) -> Decision {
    decided(vec![one]).pop().unwrap().1
}

fn refused(one: Requested) -> String {
    match only(one) {
        Decision::Refuse { refusal } => refusal.to_string(),
        decision @ (Decision::Start(_) | Decision::Wait { .. } | Decision::Delete) => {
            panic!("not refused but {decision:?}")
        }
    }
}

fn is_started(one: Requested) -> bool {
    matches!(only(one), Decision::Start(_))
}

#[test]
fn what_velero_refuses_is_refused_in_its_words() {
    let mut nameless = whole();
    let mut request = nameless.request.as_ref().clone();
    request.spec.backup_name = String::new();
    nameless.request = Arc::new(request);
    assert_eq!(refused(nameless), "spec.backupName is required");

    for phase in [
        "InProgress",
        "WaitingForPluginOperations",
        "WaitingForPluginOperationsPartiallyFailed",
        "Finalizing",
        "FinalizingPartiallyFailed",
    ] {
        let running = Requested { backup: backup(phase, json!({})), ..whole() };
        assert_eq!(refused(running), "backup is still in progress", "{phase}");
    }
    assert_eq!(refused(Requested { backup: None, ..whole() }), "backup not found");
    assert_eq!(refused(Requested { location: None, ..whole() }), "backup storage location default not found");
    assert_eq!(
        refused(Requested { location: location("ReadOnly", Some("Available")), ..whole() }),
        "cannot delete backup because backup storage location default is currently in read-only mode"
    );
    assert_eq!(
        refused(Requested { location: location("ReadWrite", Some("Unavailable")), ..whole() }),
        "cannot delete backup because backup storage location default is currently in Unavailable state"
    );
}

#[test]
fn the_checks_come_in_velero_s_order() {
    let everything_wrong = Requested {
        backup: backup("InProgress", json!({})),
        location: location("ReadOnly", Some("Unavailable")),
        ..whole()
    };
    assert_eq!(refused(everything_wrong.clone()), "backup is still in progress");
    let finished = Requested { backup: backup("Completed", json!({})), ..everything_wrong };
    assert!(refused(finished).contains("read-only"));
}

#[test]
fn whatever_does_not_run_may_be_deleted() {
    for phase in [
        "New",
        "Queued",
        "ReadyToStart",
        "FailedValidation",
        "Completed",
        "PartiallyFailed",
        "Failed",
        "Deleting",
    ] {
        assert!(is_started(Requested { backup: backup(phase, json!({})), ..whole() }), "{phase}");
    }
}

#[test]
fn a_location_that_nobody_has_checked_is_waited_for() {
    let waiting = only(Requested { location: location("ReadWrite", None), ..whole() });
    assert_eq!(waiting, Decision::Wait { until: None, reason: Wait::LocationNotChecked });
}

#[test]
fn a_request_in_progress_that_nobody_carries_out_is_taken_up_again() {
    let begun = json!({progress::LOCATION: "default"});
    let orphan = request("shop-1", "2026-11-20T09:00:00Z", begun, json!({"phase": "InProgress"}));
    assert!(is_started(with(orphan.clone())));
    assert!(is_started(Requested { work: Work::Ended, ..with(orphan.clone()) }));
    let under_way = Requested { work: Work::UnderWay, ..with(orphan.clone()) };
    assert_eq!(only(under_way), Decision::Wait { until: None, reason: Wait::UnderWay });
    // The Backup went before the request could.
    assert!(is_started(Requested { backup: None, ..with(orphan) }));
    let strange = request("shop-1", "2026-11-20T09:00:00Z", json!({}), json!({"phase": "InProgress"}));
    assert_eq!(refused(Requested { backup: None, ..with(strange) }), "backup not found");
}

#[test]
fn one_request_stands_for_all_of_a_backup_and_one_deletion_runs_at_a_time() {
    let first = with(request("shop-2", "2026-11-23T09:58:00Z", json!({}), json!({})));
    let second = whole();
    let decided = decided(vec![second.clone(), first.clone()]);
    assert_eq!(decided.len(), 1);
    let (name, Decision::Start(start)) = &decided[0] else { panic!("{decided:?}") };
    assert_eq!((name.as_str(), &start.others), ("shop-2", &vec![second.request.clone()]));

    let running = Requested { work: Work::UnderWay, ..first };
    let (_, waiting) = super::tests::decided(vec![running, second]).pop().unwrap();
    let reason = Wait::Other { request: "shop-2".to_owned() };
    assert_eq!(waiting, Decision::Wait { until: None, reason });
}

#[test]
fn no_more_deletions_run_than_may() {
    let of = |name: &str| {
        let mut request =
            request(&format!("{name}-1"), "2026-11-23T09:59:00Z", json!({}), json!({})).as_ref().clone();
        request.spec.backup_name = name.to_owned();
        with(Arc::new(request))
    };
    let decided = decided(vec![of("a"), of("b"), of("c")]);
    let started = decided.iter().filter(|(_, decision)| matches!(decision, Decision::Start(_)));
    assert_eq!(started.count(), 2);
    assert_eq!(decided[2].1, Decision::Wait { until: None, reason: Wait::SlotsTaken { by: 2 } });
}

#[test]
fn a_processed_request_can_be_looked_at_for_a_day() {
    let processed = |created: &str| {
        only(with(request("shop-1", created, json!({}), json!({"phase": "Processed", "errors": ["no"]}))))
    };
    let until: DateTime<Utc> = "2026-11-23T10:00:01Z".parse().unwrap();
    assert_eq!(
        processed("2026-11-22T10:00:01Z"),
        Decision::Wait { until: Some(until), reason: Wait::Lifetime }
    );
    assert_eq!(processed("2026-11-22T10:00:00Z"), Decision::Delete);
}

#[test]
fn what_failed_is_tried_again_however_old_the_request_is() {
    let failed = |at: &str| {
        let annotations = json!({progress::RETRY_AT: at, progress::LOCATION: "default"});
        only(with(request("shop-1", "2026-11-01T10:00:00Z", annotations, json!({"phase": "Processed"}))))
    };
    let until: DateTime<Utc> = "2026-11-23T10:00:01Z".parse().unwrap();
    assert_eq!(failed("2026-11-23T10:00:01Z"), Decision::Wait { until: Some(until), reason: Wait::Retry });
    assert!(matches!(failed("2026-11-23T10:00:00Z"), Decision::Start(_)));
}

#[test]
fn a_hold_stops_a_rule_until_the_deletion_has_begun_and_never_a_person() {
    let held = || backup("Completed", json!({"holdfast.dev/hold": "audit"}));
    let by_rule = request("shop-1", "2026-11-23T09:59:00Z", json!({progress::RULE: "ttl"}), json!({}));
    assert!(is_started(with(by_rule.clone())));
    assert_eq!(refused(Requested { backup: held(), ..with(by_rule.clone()) }), "backup is held: audit");
    assert!(is_started(Requested { backup: held(), ..whole() }));
    let deleting = backup("Deleting", json!({"holdfast.dev/hold": "audit"}));
    assert!(is_started(Requested { backup: deleting, ..with(by_rule.clone()) }));

    let mut another = backup("Completed", json!({})).unwrap().as_ref().clone();
    another.metadata.uid = Some("uid-another".to_owned());
    assert_eq!(refused(Requested { backup: Some(Arc::new(another)), ..with(by_rule) }), "backup not found");
}
