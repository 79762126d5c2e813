//! Claims whose volume is in a CSI snapshot get their new volume from it.

use holdfast_policy::velero::labels::{
    DATA_UPLOAD_NAME, RESTORE_MUST_INCLUDE_ADDITIONAL_ITEMS, VOLUME_SNAPSHOT_NAME,
};
use serde_json::{Value, json};

use super::csi::{self, Csi};
use super::{Action, AdditionalItem, Answers, Context, Effect, Error, Question, remove, text};

pub(super) const ACTION: Action =
    Action { name: "velero.io/csi-pvc-restorer", applies_to: &["persistentvolumeclaims"], questions, apply };

/// The claim as it will be: one that is there keeps its volume, whatever is restored.
fn target(item: &Value, context: &Context<'_>) -> (String, String) {
    let source = context.source_namespace.unwrap_or_default();
    let namespace = context.namespace_mapping.get(source).map_or(source, String::as_str);
    (namespace.to_owned(), text(item, "/metadata/name").to_owned())
}

fn questions(item: &Value, context: &Context<'_>) -> Vec<Question> {
    match context.csi {
        Csi::NotServed => Vec::new(),
        Csi::Unwanted | Csi::Wanted(_) => {
            let (namespace, name) = target(item, context);
            vec![Question::ClaimExists { namespace, name }]
        }
    }
}

fn apply(item: &mut Value, context: &Context<'_>, answers: &Answers) -> Result<Effect, Error> {
    let snapshots = match context.csi {
        Csi::NotServed => return Ok(Effect::default()),
        _ if answers.claims.contains(&target(item, context)) => return Ok(Effect::default()),
        Csi::Unwanted => {
            for field in ["volumeName", "dataSource", "dataSourceRef"] {
                remove(item, "/spec", field);
            }
            return Ok(Effect::default());
        }
        Csi::Wanted(snapshots) => snapshots,
    };
    let namespace = context.source_namespace.unwrap_or_default();
    let annotations = context.from_backup.pointer("/metadata/annotations");
    if annotations.is_some_and(|annotations| annotations.get(DATA_UPLOAD_NAME).is_some()) {
        // Its data is in a repository, and no snapshot has it any more.
        return Ok(Effect::default());
    }
    let snapshot = annotations.and_then(|annotations| annotations.get(VOLUME_SNAPSHOT_NAME));
    let Some(snapshot) = snapshot.and_then(Value::as_str).filter(|name| !name.is_empty()) else {
        let claim = text(item, "/metadata/name");
        return match snapshots.has_data_of(namespace, claim) {
            true => Err(Error::SnapshotNotNamed { claim: claim.to_owned() }),
            false => Ok(Effect::default()),
        };
    };
    remove(item, "/spec", "volumeName");
    remove(item, "/spec", "dataSourceRef");
    item["spec"]["dataSource"] = json!({
        "apiGroup": "snapshot.storage.k8s.io",
        "kind": "VolumeSnapshot",
        "name": snapshots.name(snapshot),
    });
    // The filters have chosen the claim, and it is nothing without its data.
    csi::set(item, "annotations", RESTORE_MUST_INCLUDE_ADDITIONAL_ITEMS, "true");
    let needed = AdditionalItem {
        group_resource: csi::SNAPSHOTS,
        namespace: Some(namespace.to_owned()),
        name: snapshot.to_owned(),
    };
    Ok(Effect { additional_items: vec![needed], ..Effect::default() })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::fixtures::run_with;
    use super::*;

    fn claim() -> Value {
        json!({
            "metadata": {
                "name": "data", "namespace": "shop",
                "annotations": {"velero.io/volume-snapshot-name": "velero-data-1"},
            },
            "spec": {"volumeName": "pv-1", "storageClassName": "fast", "dataSourceRef": {"name": "x"}},
        })
    }

    fn restored(csi: Csi, answers: &Answers) -> (Value, Result<Effect, Error>) {
        let mut item = claim();
        let effect = run_with(&ACTION, &mut item, |setting| setting.csi = csi, answers);
        (item, effect)
    }

    #[test]
    fn a_claim_takes_its_data_from_the_snapshot_of_this_restore() {
        let (item, effect) = restored(csi::fixtures::wanted(), &Answers::default());
        assert_eq!(
            item["spec"],
            json!({"storageClassName": "fast", "dataSource": {
                "apiGroup": "snapshot.storage.k8s.io", "kind": "VolumeSnapshot", "name": csi::fixtures::name(),
            }})
        );
        let needed = effect.unwrap().additional_items;
        assert_eq!(needed[0].name, "velero-data-1");
        assert_eq!(needed[0].namespace.as_deref(), Some("shop"));
        assert_eq!(item["metadata"]["annotations"][RESTORE_MUST_INCLUDE_ADDITIONAL_ITEMS], "true");
    }

    #[test]
    fn without_snapshots_the_claim_gets_an_empty_volume() {
        let (item, effect) = restored(Csi::Unwanted, &Answers::default());
        assert_eq!(item["spec"], json!({"storageClassName": "fast"}));
        assert_eq!(effect, Ok(Effect::default()));
    }

    #[test]
    fn a_claim_that_is_there_or_a_cluster_without_snapshots_changes_nothing() {
        let claims = BTreeSet::from([("shop".to_owned(), "data".to_owned())]);
        let there = Answers { claims, ..Answers::default() };
        assert_eq!(restored(csi::fixtures::wanted(), &there), (claim(), Ok(Effect::default())));
        assert_eq!(restored(Csi::NotServed, &Answers::default()), (claim(), Ok(Effect::default())));
    }

    #[test]
    fn a_claim_that_does_not_name_its_snapshot_is_not_restored_empty() {
        let mut item = json!({"metadata": {"name": "data", "namespace": "shop"}, "spec": {}});
        let change = |setting: &mut super::super::fixtures::Setting| setting.csi = csi::fixtures::wanted();
        let error = run_with(&ACTION, &mut item, change, &Answers::default()).unwrap_err();
        assert_eq!(error, Error::SnapshotNotNamed { claim: "data".to_owned() });
    }
}
