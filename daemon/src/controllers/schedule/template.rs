//! The Backup that a Schedule makes.
//!
//! Takes a Schedule, gives the object to create. Annotations are copied as Velero copies them, except the one in which
//! `kubectl apply` keeps the Schedule's own text: on a Backup it would describe another object.

use chrono::{DateTime, SecondsFormat, Utc};
use chrono_tz::Tz;
use holdfast_policy::annotations::SCHEDULED_AT;
use holdfast_policy::annotations::{RETENTION, TIME_ZONE};
use holdfast_policy::cron;
use holdfast_policy::velero;
use holdfast_policy::velero::{Mark, Summarized, labels};
use k8s_openapi::api::core::v1::TypedLocalObjectReference;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::core::ObjectMeta;

const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// The name of the run that carries this instant.
pub fn backup_name(schedule: &str, instant: DateTime<Utc>) -> String {
    format!("{schedule}-{}", instant.format("%Y%m%d%H%M%S"))
}

/// The instant that the name of a run of this schedule carries.
pub fn instant_of(schedule: &str, backup: &str) -> Option<DateTime<Utc>> {
    let digits = backup.strip_prefix(schedule)?.strip_prefix('-')?;
    if digits.len() != 14 {
        return None;
    }
    chrono::NaiveDateTime::parse_from_str(digits, "%Y%m%d%H%M%S").ok().map(|instant| instant.and_utc())
}

/// The instant that a Backup says it was due at.
pub fn scheduled_at(backup: &impl Summarized) -> Option<DateTime<Utc>> {
    let text = backup.mark(Mark::ScheduledAt)?;
    DateTime::parse_from_rfc3339(text).ok().map(|instant| instant.with_timezone(&Utc))
}

/// The run of `schedule` that is due at `due`.
pub fn backup(schedule: &velero::Schedule, name: &str, due: DateTime<Utc>) -> velero::Backup {
    let schedule_name = schedule.metadata.name.clone().unwrap_or_default();
    let template_labels = &schedule.spec.template.metadata.labels;
    let mut labels = if template_labels.is_empty() {
        schedule.metadata.labels.clone().unwrap_or_default()
    } else {
        template_labels.clone()
    };
    labels.insert(labels::SCHEDULE_NAME.to_owned(), schedule_name.clone());

    let mut annotations = schedule.metadata.annotations.clone().unwrap_or_default();
    annotations.remove(LAST_APPLIED);
    annotations.insert(SCHEDULED_AT.to_owned(), due.to_rfc3339_opts(SecondsFormat::Secs, true));

    // Retention counts days of the schedule's zone, also where the Schedule is not there any more.
    let zone = cron::Schedule::parse(&schedule.spec.schedule, None).map(|cron| cron.zone());
    if let (true, Ok(zone)) = (annotations.contains_key(RETENTION), zone)
        && zone != Tz::UTC
    {
        annotations.insert(TIME_ZONE.to_owned(), zone.name().to_owned());
    }

    let owner_references = (schedule.spec.use_owner_references_in_backup == Some(true)).then(|| {
        vec![OwnerReference {
            api_version: "velero.io/v1".to_owned(),
            kind: "Schedule".to_owned(),
            name: schedule_name,
            uid: schedule.metadata.uid.clone().unwrap_or_default(),
            controller: Some(true),
            block_owner_deletion: None,
        }]
    });

    let mut spec = schedule.spec.template.clone();
    spec.resource_policy = spec.resource_policy.map(|reference| TypedLocalObjectReference {
        api_group: None,
        kind: "configmap".to_owned(),
        name: reference.name,
    });

    velero::Backup {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            namespace: schedule.metadata.namespace.clone(),
            labels: Some(labels),
            annotations: Some(annotations),
            owner_references,
            ..ObjectMeta::default()
        },
        spec,
        status: velero::BackupStatus::default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn due() -> DateTime<Utc> {
        "2026-11-23T01:00:00Z".parse().unwrap()
    }

    fn schedule(extra: serde_json::Value) -> velero::Schedule {
        let mut schedule = serde_json::json!({
            "metadata": {
                "name": "shop-nightly", "namespace": "velero", "uid": "u-1",
                "labels": {"team": "commerce"},
                "annotations": {"note": "kept", LAST_APPLIED: "{}"},
            },
            "spec": {"schedule": "0 1 * * *", "template": {"includedNamespaces": ["shop"]}},
        });
        merge(&mut schedule, extra);
        serde_json::from_value(schedule).unwrap()
    }

    fn merge(into: &mut serde_json::Value, from: serde_json::Value) {
        match (into, from) {
            (serde_json::Value::Object(into), serde_json::Value::Object(from)) => {
                for (key, value) in from {
                    merge(into.entry(key).or_insert(serde_json::Value::Null), value);
                }
            }
            (into, from) => *into = from,
        }
    }

    #[test]
    fn a_run_carries_the_template_and_says_where_it_comes_from() {
        let backup = backup(&schedule(serde_json::json!({})), "shop-nightly-20261123010000", due());
        assert_eq!(
            serde_json::to_value(&backup).unwrap(),
            serde_json::json!({
                "apiVersion": "velero.io/v1",
                "kind": "Backup",
                "metadata": {
                    "name": "shop-nightly-20261123010000",
                    "namespace": "velero",
                    "labels": {"team": "commerce", "velero.io/schedule-name": "shop-nightly"},
                    "annotations": {"note": "kept", "holdfast.dev/scheduled-at": "2026-11-23T01:00:00Z"},
                },
                "spec": serde_json::to_value(&backup.spec).unwrap(),
            })
        );
        assert_eq!(backup.spec.included_namespaces, ["shop"]);
    }

    #[test]
    fn a_run_with_keep_rules_carries_the_zone_whose_days_they_count() {
        let zone_of = |rules: serde_json::Value, cron: &str| {
            let change = serde_json::json!({"metadata": {"annotations": rules}, "spec": {"schedule": cron}});
            let annotations = backup(&schedule(change), "b", due()).metadata.annotations.unwrap();
            annotations.get(TIME_ZONE).cloned()
        };
        let rules = serde_json::json!({RETENTION: "{}"});
        let berlin = "CRON_TZ=Europe/Berlin 0 1 * * *";
        assert_eq!(zone_of(rules.clone(), berlin).as_deref(), Some("Europe/Berlin"));
        assert_eq!(zone_of(rules, "0 1 * * *"), None);
        assert_eq!(zone_of(serde_json::json!({}), berlin), None);
    }

    #[test]
    fn labels_of_the_template_take_the_place_of_the_schedules_own() {
        let schedule = schedule(serde_json::json!({
            "spec": {"template": {"metadata": {"labels": {"tier": "gold"}}}},
        }));
        let labels = backup(&schedule, "n", due()).metadata.labels.unwrap();
        let labels: Vec<(&str, &str)> =
            labels.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        assert_eq!(labels, [("tier", "gold"), ("velero.io/schedule-name", "shop-nightly")]);
    }

    #[test]
    fn an_owner_is_set_where_the_schedule_asks_for_it_and_never_blocks_a_deletion() {
        let schedule = schedule(serde_json::json!({"spec": {"useOwnerReferencesInBackup": true}}));
        let owners = backup(&schedule, "n", due()).metadata.owner_references.unwrap();
        assert_eq!(
            serde_json::to_value(owners).unwrap(),
            serde_json::json!([{
                "apiVersion": "velero.io/v1", "kind": "Schedule", "name": "shop-nightly", "uid": "u-1",
                "controller": true,
            }])
        );
    }

    #[test]
    fn the_reference_to_a_resource_policy_is_rebuilt_without_its_group() {
        let schedule = schedule(serde_json::json!({
            "spec": {"template": {"resourcePolicy": {"apiGroup": "v1", "kind": "ConfigMap", "name": "rules"}}},
        }));
        let reference = backup(&schedule, "n", due()).spec.resource_policy.unwrap();
        assert_eq!((reference.api_group, reference.kind.as_str()), (None, "configmap"));
    }

    #[test]
    fn a_name_tells_its_instant_again() {
        let name = backup_name("shop-nightly", due());
        assert_eq!(name, "shop-nightly-20261123010000");
        assert_eq!(instant_of("shop-nightly", &name), Some(due()));
        assert_eq!(instant_of("shop", &name), None);
        assert_eq!(instant_of("shop-nightly", "shop-nightly-by-hand"), None);
        assert_eq!(instant_of("shop-nightly", "shop-nightly-20261399010000"), None);
    }
}
