use pretty_assertions::assert_eq;
use serde_json::{Value, json};

use super::*;
use crate::annotations::{HOLD, RETENTION, SUSPECT, TIME_ZONE};
use crate::velero::Backup;

const NOW: &str = "2026-11-23T12:00:00Z";

fn now() -> DateTime<Utc> {
    NOW.parse().unwrap()
}

/// A Completed backup of schedule `nightly` with 100 objects that keeps the newest two, changed as a merge patch says.
fn backup(name: &str, started: &str, change: Value) -> Backup {
    let mut backup = json!({
        "metadata": {
            "name": name, "labels": {"velero.io/schedule-name": "nightly"},
            "annotations": {RETENTION: r#"{"keepLast":2}"#},
        },
        "status": {
            "phase": "Completed", "startTimestamp": started, "expiration": "2026-12-23T00:00:00Z",
            "progress": {"totalItems": 100, "itemsBackedUp": 100},
        },
    });
    merge(&mut backup, change);
    serde_json::from_value(backup).unwrap()
}

fn merge(into: &mut Value, from: Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (key, value) in from {
                if value.is_null() {
                    into.remove(&key);
                } else {
                    merge(into.entry(key).or_insert(Value::Null), value);
                }
            }
        }
        (into, from) => *into = from,
    }
}

fn schedule(cron: &str, rules: Option<&str>) -> Schedule {
    let annotations = rules.map(|rules| json!({RETENTION: rules}));
    let schedule = json!({
        "metadata": {"name": "nightly", "annotations": annotations}, "spec": {"schedule": cron, "template": {}},
    });
    serde_json::from_value(schedule).unwrap()
}

fn judged_with(backups: &[Backup], schedules: &[Schedule]) -> Vec<Judgement> {
    let subjects: Vec<Subject<'_, Backup>> =
        backups.iter().map(|backup| Subject { backup, owner: Owner::ThisCluster }).collect();
    judge(&subjects, &schedules.iter().collect::<Vec<_>>(), now())
}

fn texts(judgements: &[Judgement]) -> Vec<String> {
    judgements
        .iter()
        .map(|judgement| match &judgement.verdict {
            Verdict::Keep(reasons) => reasons.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
            Verdict::Delete(rule) => format!("delete: {rule}"),
        })
        .collect()
}

fn judged(backups: &[Backup]) -> Vec<String> {
    texts(&judged_with(backups, &[]))
}

#[test]
fn the_rules_that_backups_carry_decide_also_without_their_schedule() {
    let backups = ["2026-11-20T01:00:00Z", "2026-11-21T01:00:00Z", "2026-11-22T01:00:00Z"]
        .map(|started| backup(started, started, json!({})));
    assert_eq!(judged(&backups), ["delete: no keep rule applies", "keepLast 2", "keepLast 1"]);
}

#[test]
fn the_schedule_has_the_last_word_on_its_rules() {
    let backups =
        ["2026-11-21T01:00:00Z", "2026-11-22T01:00:00Z"].map(|started| backup(started, started, json!({})));
    let with = |rules| texts(&judged_with(&backups, &[schedule("@daily", rules)]));
    assert_eq!(with(Some(r#"{"keepLast":1}"#)), ["delete: no keep rule applies", "keepLast 1"]);
    let ttl = "ttl until 2026-12-23T00:00:00Z";
    assert_eq!(with(None), [ttl, ttl]);
    let unreadable = with(Some("{"));
    assert!(unreadable[0].starts_with(&format!("{ttl}, retention can't be read: ")), "{unreadable:?}");
}

#[test]
fn days_are_those_of_the_schedule_s_zone_or_of_the_one_that_backups_carry() {
    let daily = json!({"metadata": {"annotations": {RETENTION: r#"{"daily":2}"#}}});
    // Two days in Berlin, one in UTC.
    let backups = ["2026-11-22T22:30:00Z", "2026-11-22T23:30:00Z"]
        .map(|started| backup(started, started, daily.clone()));
    assert_eq!(judged(&backups), ["delete: no keep rule applies", "daily 1"]);
    let berlin = schedule("CRON_TZ=Europe/Berlin 0 1 * * *", Some(r#"{"daily":2}"#));
    assert_eq!(texts(&judged_with(&backups, &[berlin])), ["daily 2", "daily 1"]);
    let mut carried = backups.clone();
    for backup in &mut carried {
        let annotations = backup.metadata.annotations.as_mut().unwrap();
        annotations.insert(TIME_ZONE.to_owned(), "Europe/Berlin".to_owned());
    }
    assert_eq!(judged(&carried), ["daily 2", "daily 1"]);
}

#[test]
fn a_backup_without_rules_goes_by_its_ttl_alone() {
    let bare = json!({"metadata": {"annotations": {RETENTION: null}}});
    let mut backups = vec![
        backup("bare", "2026-11-19T01:00:00Z", bare.clone()),
        backup("a", "2026-11-21T01:00:00Z", json!({})),
        backup("b", "2026-11-22T01:00:00Z", json!({})),
    ];
    assert_eq!(judged(&backups)[0], "ttl until 2026-12-23T00:00:00Z");
    merge_into(&mut backups[0], json!({"status": {"expiration": NOW}}));
    assert_eq!(judged(&backups)[0], "delete: its ttl is over");
    let by_hand = json!({"metadata": {"labels": null, "annotations": null}, "status": {"expiration": null}});
    assert_eq!(judged(&[backup("mine", NOW, by_hand)]), ["no ttl"]);
}

fn merge_into(backup: &mut Backup, change: Value) {
    let mut value = serde_json::to_value(&*backup).unwrap();
    merge(&mut value, change);
    *backup = serde_json::from_value(value).unwrap();
}

#[test]
fn a_ttl_ends_at_its_instant_also_what_a_keep_rule_wants() {
    let ends = |at: &str| {
        judged(&[backup("a", "2026-11-22T01:00:00Z", json!({"status": {"expiration": at}}))]).pop().unwrap()
    };
    assert_eq!(ends("2026-11-23T12:00:01Z"), "keepLast 1");
    assert_eq!(ends(NOW), "delete: its ttl is over");
}

#[test]
fn minimum_good_is_undercut_by_no_rule_and_no_ttl() {
    let rules = |rules: &str| json!({"metadata": {"annotations": {RETENTION: rules}}});
    let mut backups = vec![
        backup("old", "2026-11-01T01:00:00Z", rules(r#"{"minimumGood":1,"keepFailed":"1h"}"#)),
        backup("new", "2026-11-02T01:00:00Z", rules(r#"{"minimumGood":1,"keepFailed":"1h"}"#)),
        backup("failed", "2026-11-03T01:00:00Z", rules(r#"{"minimumGood":1,"keepFailed":"1h"}"#)),
    ];
    for backup in &mut backups {
        merge_into(backup, json!({"status": {"expiration": "2026-11-23T11:00:00Z"}}));
    }
    merge_into(&mut backups[2], json!({"status": {"phase": "PartiallyFailed"}}));
    let found = judged_with(&backups, &[]);
    assert_eq!(
        texts(&found),
        ["delete: no keep rule applies", "minimumGood 1", "delete: it failed longer ago than that"]
    );
    let moved: DateTime<Utc> = "2026-11-24T12:00:00Z".parse().unwrap();
    assert_eq!(found[1].expiration, Some(moved));
    assert_eq!((found[0].expiration, found[2].expiration), (None, None));
    // With time enough it is left alone.
    merge_into(&mut backups[1], json!({"status": {"expiration": "2026-11-23T13:00:00Z"}}));
    assert_eq!(judged_with(&backups, &[])[1].expiration, None);
}

#[test]
fn a_hold_keeps_a_backup_whatever_the_clock_and_the_rules_say() {
    let held = json!({
        "metadata": {"annotations": {HOLD: "audit 2026"}}, "status": {"expiration": "2026-11-01T00:00:00Z"},
    });
    let backups = [
        backup("held", "2026-10-01T01:00:00Z", held),
        backup("a", "2026-11-21T01:00:00Z", json!({})),
        backup("b", "2026-11-22T01:00:00Z", json!({})),
    ];
    assert_eq!(judged(&backups), ["held: audit 2026", "keepLast 2", "keepLast 1"]);
}

#[test]
fn what_is_not_ours_is_kept_and_takes_nobody_s_place() {
    let expired = json!({"status": {"expiration": "2026-11-01T00:00:00Z"}});
    let backups = ["2026-11-20T01:00:00Z", "2026-11-21T01:00:00Z", "2026-11-22T01:00:00Z"]
        .map(|started| backup(started, started, json!({})));
    let (theirs, nobodys) = (
        backup("theirs", "2026-11-23T01:00:00Z", expired.clone()),
        backup("nobodys", "2026-11-23T02:00:00Z", expired),
    );
    let mut subjects: Vec<Subject<'_, Backup>> =
        backups.iter().map(|backup| Subject { backup, owner: Owner::ThisCluster }).collect();
    subjects.push(Subject { backup: &theirs, owner: Owner::Other("old".to_owned()) });
    subjects.push(Subject { backup: &nobodys, owner: Owner::Nobody(Location::NotAdopted) });
    let found = texts(&judge(&subjects, &[], now()));
    assert_eq!(
        found,
        [
            "delete: no keep rule applies",
            "keepLast 2",
            "keepLast 1",
            "cluster old decides about it",
            "its location is not adopted",
        ]
    );
    subjects[4].owner = Owner::Nobody(Location::Adopted);
    assert_eq!(texts(&judge(&subjects, &[], now()))[4], "delete: its ttl is over");
}

#[test]
fn a_backup_with_less_than_half_of_the_objects_before_does_not_count_as_good() {
    let with = |name: &str, started: &str, objects: i64| {
        let rules = r#"{"keepLast":1,"minimumGood":1}"#;
        let change = json!({
            "metadata": {"annotations": {RETENTION: rules}},
            "status": {"progress": {"totalItems": objects, "itemsBackedUp": objects}},
        });
        backup(name, started, change)
    };
    let mut backups = vec![
        with("a", "2026-11-20T01:00:00Z", 100),
        with("b", "2026-11-21T01:00:00Z", 50),
        with("c", "2026-11-22T01:00:00Z", 24),
    ];
    let found = judged_with(&backups, &[]);
    assert_eq!(
        texts(&found),
        ["delete: no keep rule applies", "keepLast 1, minimumGood 1", "suspect, until its ttl"]
    );
    assert_eq!(found[2].suspect.as_deref(), Some("24 objects, after 50 in b"));
    // Once marked it stays so, also when nothing to compare it with is left.
    merge_into(&mut backups[2], json!({"metadata": {"annotations": {SUSPECT: "24 objects, after 50 in b"}}}));
    let found = judged_with(&backups[2..], &[]);
    assert_eq!((texts(&found), found[0].suspect.clone()), (vec!["suspect, until its ttl".to_owned()], None));
    // A smaller cluster is not suspect for ever.
    backups.push(with("d", "2026-11-23T01:00:00Z", 20));
    assert_eq!(texts(&judged_with(&backups, &[]))[3], "keepLast 1, minimumGood 1");
}

#[test]
fn what_is_unfinished_or_going_already_is_left_to_others() {
    let over = |phase: &str| json!({"status": {"phase": phase, "expiration": "2026-11-01T00:00:00Z"}});
    let only = |change| judged(&[backup("a", "2026-10-01T01:00:00Z", change)]).pop().unwrap();
    assert_eq!(only(over("InProgress")), "unfinished");
    // Its request may have got lost.
    assert_eq!(only(over("Deleting")), "delete: its ttl is over");
    assert_eq!(only(json!({"status": {"phase": "Deleting"}})), "being deleted");
    assert_eq!(only(over("FailedValidation")), "delete: its ttl is over");
}
