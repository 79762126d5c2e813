use pretty_assertions::assert_eq;
use serde_json::{Value, json};

use super::*;

fn now() -> DateTime<Utc> {
    "2026-11-23T10:00:00Z".parse().unwrap()
}

fn location(status: Value, period: Option<&str>, id: Option<&str>) -> velero::BackupStorageLocation {
    let annotations = id.map(|id| json!({LOCATION_ID: id}));
    serde_json::from_value(json!({
        "metadata": {"name": "default", "annotations": annotations},
        "spec": {"provider": "local", "objectStorage": {"bucket": "b"}, "backupSyncPeriod": period},
        "status": status,
    }))
    .unwrap()
}

#[test]
fn a_location_has_its_turn_when_its_period_is_over_since_the_start_of_the_last_look() {
    let available = |last: Option<&str>| json!({"phase": "Available", "lastSyncedTime": last});
    let at = |text: &str| Turn::At(text.parse().unwrap());
    let half_a_minute_ago = Some("2026-11-23T09:59:30Z");
    let cases = [
        (available(None), None, Turn::Now),
        (available(half_a_minute_ago), None, at("2026-11-23T10:00:30Z")),
        (available(half_a_minute_ago), Some("30s"), Turn::Now),
        (available(half_a_minute_ago), Some("45s"), at("2026-11-23T10:00:15Z")),
        (available(half_a_minute_ago), Some("-5s"), at("2026-11-23T10:00:30Z")),
        (available(None), Some("0s"), Turn::Never),
        (available(Some("2030-01-01T00:00:00Z")), None, Turn::Now),
        (json!({"phase": "Unavailable"}), None, Turn::Unavailable),
        (json!({}), None, Turn::Unavailable),
    ];
    for (status, period, expected) in cases {
        let text = format!("{status} {period:?}");
        let location = location(status, period, None);
        assert_eq!(turn(&location, "1m".parse().unwrap(), now()), expected, "{text}");
    }
}

fn known(backups: &[(&str, &str, BackupPhase)]) -> BTreeMap<String, Known> {
    let known = backups.iter().map(|(name, location, phase)| {
        ((*name).to_owned(), Known { location_label: Some((*location).to_owned()), phase: *phase })
    });
    known.collect()
}

fn look(folders: &[&str], marker: Option<&str>) -> Look {
    Look {
        folders: folders.iter().map(|name| (*name).to_owned()).collect(),
        marker: marker.map(str::to_owned),
    }
}

struct Case<'a> {
    id: Option<&'a str>,
    look: Look,
    known: BTreeMap<String, Known>,
    missing_since: &'a [(&'a str, &'a str)],
}

fn plan(case: Case<'_>) -> Plan {
    let location = location(json!({"phase": "Available"}), None, case.id);
    let since = |(name, at): &(&str, &str)| ((*name).to_owned(), at.parse().unwrap());
    let observed = Observed {
        location: &location,
        look: case.look,
        known: case.known,
        left_alone: BTreeMap::from([("half".to_owned(), now() + Duration::minutes(1))]),
        missing_since: case.missing_since.iter().map(since).collect(),
    };
    decide(&observed, now())
}

#[test]
fn only_folders_that_are_new_are_read() {
    let given = plan(Case {
        id: None,
        look: look(&["a", "b", "half"], None),
        known: known(&[("a", "elsewhere", BackupPhase::Completed)]),
        missing_since: &[],
    });
    assert_eq!(given, Plan { read: vec!["b".to_owned()], ..Plan::default() });
}

#[test]
fn backups_follow_a_bucket_that_is_the_one_it_was_down_to_the_last() {
    let given = plan(Case {
        id: Some("m1"),
        look: look(&[], Some("m1")),
        known: known(&[
            ("a", "default", BackupPhase::Completed),
            ("b", "default", BackupPhase::PartiallyFailed),
            ("elsewhere", "other", BackupPhase::Completed),
            ("failed", "default", BackupPhase::Failed),
            ("runs", "default", BackupPhase::InProgress),
            ("goes", "default", BackupPhase::Deleting),
        ]),
        missing_since: &[],
    });
    assert_eq!(given, Plan { remove: vec!["a".to_owned(), "b".to_owned()], ..Plan::default() });
}

#[test]
fn nothing_is_removed_where_the_marker_is_gone_or_another() {
    for (found, reason) in [
        (None, Reason::MarkerGone { expected: "m1".to_owned() }),
        (Some("m2"), Reason::OtherMarker { expected: "m1".to_owned(), found: "m2".to_owned() }),
    ] {
        let given = plan(Case {
            id: Some("m1"),
            look: look(&["new"], found),
            known: known(&[("a", "default", BackupPhase::Completed)]),
            missing_since: &[("a", "2026-11-01T00:00:00Z")],
        });
        let brake = Some(Brake { reason, backups: vec!["a".to_owned()] });
        assert_eq!(given, Plan { read: vec!["new".to_owned()], remove: vec![], brake });
    }
}

#[test]
fn without_a_marker_what_is_missing_is_looked_for_again_after_ten_minutes() {
    let case = |missing_since| {
        plan(Case {
            id: None,
            look: look(&[], None),
            known: known(&[
                ("a", "default", BackupPhase::Completed),
                ("b", "default", BackupPhase::Completed),
            ]),
            missing_since,
        })
    };
    let brake = |at: &str, backups: &[&str]| {
        let backups = backups.iter().map(|name| (*name).to_owned()).collect();
        Some(Brake { reason: Reason::SecondLook { at: at.parse().unwrap() }, backups })
    };
    assert_eq!(case(&[]), Plan { brake: brake("2026-11-23T10:10:00Z", &["a", "b"]), ..Plan::default() });
    let given = case(&[("a", "2026-11-23T09:50:00Z"), ("b", "2026-11-23T09:50:01Z")]);
    let remove = vec!["a".to_owned()];
    assert_eq!(given, Plan { remove, brake: brake("2026-11-23T10:00:01Z", &["b"]), ..Plan::default() });
}

#[test]
fn a_long_location_name_is_compared_as_its_label_has_it() {
    let name = "l".repeat(70);
    let mut location = location(json!({"phase": "Available"}), None, Some("m1"));
    location.metadata.name = Some(name.clone());
    let observed = Observed {
        location: &location,
        look: look(&[], Some("m1")),
        known: known(&[("a", &labels::short_name(&name), BackupPhase::Completed)]),
        left_alone: BTreeMap::new(),
        missing_since: BTreeMap::new(),
    };
    assert_eq!(decide(&observed, now()).remove, ["a"]);
}

#[test]
fn phases_decide_what_is_brought_in() {
    let judged = |phase: &str, expiration: Option<&str>| {
        let status = json!({"phase": phase, "expiration": expiration});
        judge(&serde_json::from_value(json!({"metadata": {"name": "b"}, "status": status})).unwrap(), now())
    };
    let (past, future) = (Some("2026-11-23T10:00:00Z"), Some("2026-11-23T10:00:01Z"));
    for phase in ["Completed", "PartiallyFailed", "Failed"] {
        for expiration in [None, past, future] {
            assert_eq!(judged(phase, expiration), Verdict::Import, "{phase} {expiration:?}");
        }
    }
    for phase in [
        "WaitingForPluginOperations",
        "WaitingForPluginOperationsPartiallyFailed",
        "Finalizing",
        "FinalizingPartiallyFailed",
    ] {
        assert_eq!(judged(phase, past), Verdict::ImportAsPartiallyFailed, "{phase}");
        for expiration in [None, future] {
            assert!(matches!(judged(phase, expiration), Verdict::Skip { .. }), "{phase} {expiration:?}");
        }
    }
    for phase in ["", "New", "Queued", "ReadyToStart", "FailedValidation", "InProgress", "Deleting"] {
        assert!(matches!(judged(phase, past), Verdict::Skip { .. }), "{phase}");
    }
}

#[test]
fn a_brake_says_what_stays_and_what_a_person_can_do() {
    let brake = |reason| Brake { reason, backups: vec!["a".to_owned(), "b".to_owned()] }.to_string();
    assert_eq!(
        brake(Reason::MarkerGone { expected: "m1".to_owned() }),
        "2 backups of the cluster have no files in the bucket (first a), and stay: the bucket has lost its marker m1. If it \
         was emptied or changed on purpose, remove the annotation holdfast.dev/location-id of the location"
    );
    assert_eq!(
        brake(Reason::OtherMarker { expected: "m1".to_owned(), found: "m2".to_owned() }),
        "2 backups of the cluster have no files in the bucket (first a), and stay: the bucket has the marker m2 and not m1: \
         it is another. If that is meant, remove the annotation holdfast.dev/location-id of the location"
    );
    assert_eq!(
        brake(Reason::SecondLook { at: now() }),
        "2 backups of the cluster have no files in the bucket (first a), and stay: the bucket has no marker that tells it \
         from another, so they are looked for again at 2026-11-23T10:00:00Z"
    );
}
