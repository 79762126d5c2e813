use pretty_assertions::assert_eq;
use serde_json::{Value, json};

use super::*;

fn now() -> DateTime<Utc> {
    "2026-11-23T10:00:00Z".parse().unwrap()
}

fn location(annotations: Value) -> BackupStorageLocation {
    serde_json::from_value(json!({
        "metadata": {"name": "old", "annotations": annotations},
        "spec": {"provider": "local", "objectStorage": {"bucket": "b"}, "default": true},
    }))
    .unwrap()
}

fn backup(name: &str, location: &str, annotations: Value, expiration: Option<&str>) -> Backup {
    serde_json::from_value(json!({
        "metadata": {"name": name, "annotations": annotations, "labels": {"velero.io/schedule-name": "ran"}},
        "spec": {"storageLocation": location},
        "status": {"phase": "Completed", "startTimestamp": "2026-11-01T00:00:00Z", "expiration": expiration},
    }))
    .unwrap()
}

fn schedule(name: &str, cron: &str, spec: Value) -> Schedule {
    let mut value = json!({"metadata": {"name": name}, "spec": {"schedule": cron, "template": {}}});
    for (key, field) in spec.as_object().unwrap() {
        value["spec"][key] = field.clone();
    }
    serde_json::from_value(value).unwrap()
}

fn told<'a>(adoption: &'a Adoption<'a>) -> Vec<(&'a str, &'a Fate)> {
    let told = adoption.backups.iter();
    told.map(|found| (found.backup.metadata.name.as_deref().unwrap(), &found.fate)).collect()
}

#[test]
fn what_names_no_cluster_follows_its_ttl_once_adopted() {
    let location = location(json!({}));
    let backups = [
        backup("over", "old", json!({}), Some("2026-11-20T00:00:00Z")),
        backup("later", "old", json!({}), Some("2026-12-20T00:00:00Z")),
        backup("endless", "old", json!({}), None),
        backup("held", "old", json!({"holdfast.dev/hold": "audit"}), Some("2026-11-20T00:00:00Z")),
        backup("ours", "old", json!({"holdfast.dev/cluster": "prod"}), Some("2026-11-20T00:00:00Z")),
        backup("theirs", "old", json!({"holdfast.dev/cluster": "stage"}), Some("2026-11-20T00:00:00Z")),
        backup("elsewhere", "new", json!({}), Some("2026-11-20T00:00:00Z")),
    ];
    let cluster = Cluster::named("prod");
    let given = Given { backups: &backups, schedules: &[], location: &location, cluster: &cluster };
    let adoption = adoption(&given, now());
    assert_eq!(adoption.standing, Standing::Free);
    assert_eq!(
        told(&adoption),
        [
            ("endless", &Fate::Stays(vec![Reason::NoTtl])),
            ("held", &Fate::Stays(vec![Reason::Held("audit".to_owned())])),
            ("later", &Fate::At("2026-12-20T00:00:00Z".parse().unwrap())),
            ("over", &Fate::Now),
        ]
    );
}

#[test]
fn a_cluster_without_a_given_name_is_told_that_nothing_ends() {
    let location = location(json!({}));
    let synced = json!({"holdfast.dev/synced": "2026-11-22T00:00:00Z"});
    let backups = [backup("over", "old", synced, Some("2026-11-20T00:00:00Z"))];
    let cluster = Cluster { name: "uid".to_owned(), named_by: crate::ownership::NamedBy::Uid };
    let given = Given { backups: &backups, schedules: &[], location: &location, cluster: &cluster };
    assert_eq!(told(&adoption(&given, now())), [("over", &Fate::Stays(vec![Reason::NoClusterName]))]);
}

#[test]
fn a_location_of_another_cluster_is_not_adopted() {
    let standing = |annotations: Value| standing(&location(annotations), &Cluster::named("prod"));
    let taken = Standing::Taken("stage".to_owned());
    assert_eq!(standing(json!({})), Standing::Free);
    assert_eq!(standing(json!({"holdfast.dev/adopted-by": ""})), Standing::Free);
    assert_eq!(standing(json!({"holdfast.dev/adopted-by": "prod"})), Standing::Ours);
    assert_eq!(standing(json!({"holdfast.dev/adopted-by": "stage"})), taken);
    assert_eq!(standing(json!({"holdfast.dev/owned-by": "stage"})), taken);
    let taken_over = json!({"holdfast.dev/owned-by": "stage", "holdfast.dev/take-over": "stage"});
    assert_eq!(standing(taken_over), Standing::Free);
}

#[test]
fn schedules_that_run_at_other_instants_are_named() {
    let location = location(json!({}));
    let backups = [backup("ran-1", "old", json!({}), None)];
    let skip = json!({"skipImmediately": true});
    let schedules = [
        schedule("new", "0 3 * * *", json!({})),
        schedule("ran", "0 3 * * *", json!({})),
        schedule("friday", "0 0 13 * 5", skip.clone()),
        schedule("berlin", "CRON_TZ=Europe/Berlin 30 2 * * *", skip.clone()),
        schedule("never", "0 0 31 2 *", skip.clone()),
        schedule("paused", "0 0 13 * 5", json!({"paused": true})),
        schedule("elsewhere", "0 0 13 * 5", json!({"template": {"storageLocation": "new"}})),
        schedule("hourly", "CRON_TZ=Europe/Berlin 30 * * * *", skip),
    ];
    let cluster = Cluster::named("prod");
    let given = Given { backups: &backups, schedules: &schedules, location: &location, cluster: &cluster };
    let adoption = adoption(&given, now());
    let told: Vec<(&str, &Change)> = adoption
        .schedules
        .iter()
        .map(|other| (other.schedule.metadata.name.as_deref().unwrap(), &other.change))
        .collect();
    assert_eq!(
        told,
        [
            // Clocks are put back on the last Sunday of October; the first of the two half past two.
            ("berlin", &Change::ClockChange { at: "2027-10-31T00:30:00Z".parse().unwrap() }),
            ("friday", &Change::EitherDay { next: Some("2026-11-27T00:00:00Z".parse().unwrap()) }),
            ("never", &Change::Refused(cron::Error::NeverFires)),
            ("new", &Change::First),
        ]
    );
}
