//! A bound volume claim brings its volume, and loses what would bind its restored self to something else.

use holdfast_policy::velero::{labels, short_name};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::{Action, Context, Error, ItemReference, Needs, Outcome};
use crate::cluster::Item;

pub(super) const ACTION: Action =
    Action { name: "velero.io/pv", applies_to: "persistentvolumeclaims", needs: Needs::Nothing, run };

/// Labels that an earlier restore or backup left on the claim.
const FOREIGN_LABELS: [&str; 3] =
    [labels::RESTORE_NAME, labels::VOLUME_SNAPSHOT_NAME, labels::BACKUP_MUST_INCLUDE_ADDITIONAL_ITEMS];
const OUR_PREFIX: &str = "velero.io/";

#[derive(Deserialize)]
struct Claim {
    #[serde(default)]
    spec: Spec,
    #[serde(default)]
    status: Status,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Spec {
    volume_name: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Status {
    phase: String,
}

fn run(item: &Item, cx: &Context<'_>) -> Result<Outcome, Error> {
    let Claim { spec, status } = serde_json::from_slice(&item.json)?;
    if status.phase != "Bound" || spec.volume_name.is_empty() {
        return Ok(Outcome::default());
    }
    let original: Value = serde_json::from_slice(&item.json)?;
    let mut claim = original.clone();
    if let Some(spec) = object(&mut claim, "spec") {
        unbind(spec);
    }
    if let Some(metadata) = object(&mut claim, "metadata") {
        if let Some(labels) = nested(metadata, "labels") {
            remove_foreign_labels(labels, &short_name(cx.backup));
        }
        // That of an earlier restore: a restore of this backup would look for its snapshot in vain.
        if let Some(annotations) = nested(metadata, "annotations") {
            annotations.remove(labels::VOLUME_SNAPSHOT_NAME);
        }
    }
    let changed = if claim == original { None } else { Some(serde_json::to_vec(&claim)?.into()) };
    let volume =
        ItemReference { group_resource: "persistentvolumes", namespace: None, name: spec.volume_name };
    Ok(Outcome { changed, additional: vec![volume], ..Outcome::default() })
}

fn unbind(spec: &mut Map<String, Value>) {
    spec.remove("dataSource");
    spec.remove("dataSourceRef");
    // The empty class asks for static binding, where the selector is what finds the volume.
    if spec.get("storageClassName").and_then(Value::as_str) != Some("") {
        spec.remove("selector");
    }
    if let Some(labels) = nested(spec, "selector").and_then(|selector| nested(selector, "matchLabels")) {
        labels.retain(|key, _| !key.starts_with(OUR_PREFIX));
    }
}

fn remove_foreign_labels(labels: &mut Map<String, Value>, backup: &str) {
    labels.retain(|key, value| {
        let of_another_backup = key == labels::BACKUP_NAME && value.as_str() != Some(backup);
        !of_another_backup && !FOREIGN_LABELS.contains(&key.as_str())
    });
}

fn object<'a>(value: &'a mut Value, field: &str) -> Option<&'a mut Map<String, Value>> {
    value.get_mut(field)?.as_object_mut()
}

fn nested<'a>(map: &'a mut Map<String, Value>, field: &str) -> Option<&'a mut Map<String, Value>> {
    map.get_mut(field)?.as_object_mut()
}

#[cfg(test)]
mod tests {
    use pretty_assertions::assert_eq;
    use serde_json::json;

    use super::super::Bindings;
    use super::*;

    fn outcome(claim: &Value) -> Outcome {
        let item = Item {
            name: "data".into(),
            namespace: Some("shop".into()),
            excluded: false,
            deleting: false,
            json: claim.to_string().into(),
        };
        run(&item, &Context { backup: "b1", bindings: &Bindings::default() }).unwrap()
    }

    fn claim(spec: Value, labels: Value) -> Value {
        let mut claim = json!({
            "metadata": {"name": "data", "labels": labels},
            "spec": {"volumeName": "vol-1", "unknown": {"kept": [1]}},
            "status": {"phase": "Bound"},
        });
        claim["spec"].as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
        claim
    }

    fn changed(spec: Value, labels: Value) -> Value {
        serde_json::from_slice(&outcome(&claim(spec, labels)).changed.unwrap()).unwrap()
    }

    #[test]
    fn a_bound_claim_brings_its_volume_and_stays_as_it_is() {
        let outcome = outcome(&claim(json!({"storageClassName": "slow"}), json!({"app": "web"})));
        let volume =
            ItemReference { group_resource: "persistentvolumes", namespace: None, name: "vol-1".into() };
        assert_eq!(outcome, Outcome { additional: vec![volume], ..Outcome::default() });
    }

    #[test]
    fn an_unbound_claim_is_left_alone() {
        let mut pending = claim(json!({"dataSource": {"name": "x"}}), json!({}));
        pending["status"]["phase"] = json!("Pending");
        assert_eq!(outcome(&pending), Outcome::default());
    }

    #[test]
    fn where_the_data_came_from_is_forgotten() {
        let sources = json!({"dataSource": {"name": "x"}, "dataSourceRef": {"name": "x"}});
        assert_eq!(changed(sources, json!({})), claim(json!({}), json!({})));
    }

    #[test]
    fn a_selector_stays_only_for_static_binding() {
        let selector = json!({"matchLabels": {"disk": "a", "velero.io/x": "y"}});
        let dynamic = json!({"selector": selector, "storageClassName": "slow"});
        assert_eq!(changed(dynamic, json!({})), claim(json!({"storageClassName": "slow"}), json!({})));
        let fixed = json!({"selector": selector, "storageClassName": ""});
        let expected = json!({"selector": {"matchLabels": {"disk": "a"}}, "storageClassName": ""});
        assert_eq!(changed(fixed, json!({})), claim(expected, json!({})));
    }

    #[test]
    fn labels_of_other_runs_are_removed() {
        let labels = json!({
            "app": "web",
            "velero.io/backup-name": "another",
            "velero.io/restore-name": "r1",
            "velero.io/volume-snapshot-name": "s1",
            "backup.velero.io/must-include-additional-items": "true",
        });
        assert_eq!(changed(json!({}), labels), claim(json!({}), json!({"app": "web"})));
        let mut annotated = claim(json!({}), json!({}));
        annotated["metadata"]["annotations"] = json!({"note": "x", "velero.io/volume-snapshot-name": "s1"});
        let changed: Value = serde_json::from_slice(&outcome(&annotated).changed.unwrap()).unwrap();
        assert_eq!(changed["metadata"]["annotations"], json!({"note": "x"}));
        let own = json!({"velero.io/backup-name": "b1"});
        assert_eq!(outcome(&claim(json!({}), own)).changed, None);
    }
}
