//! Claims forget their old binding and bring along the volume that they were bound to.

use serde_json::Value;

use super::{Action, AdditionalItem, Answers, Context, Effect, Error, asks_nothing, remove, text};

pub(super) const ACTION: Action =
    Action { name: "velero.io/pvc", applies_to: &["persistentvolumeclaims"], questions: asks_nothing, apply };

const STALE_ANNOTATIONS: [&str; 7] = [
    "pv.kubernetes.io/bind-completed",
    "pv.kubernetes.io/bound-by-controller",
    "volume.kubernetes.io/storage-provisioner",
    "volume.beta.kubernetes.io/storage-provisioner",
    "volume.kubernetes.io/selected-node",
    "velero.io/volume-snapshot-name",
    "velero.io/data-upload-name",
];

fn apply(item: &mut Value, context: &Context<'_>, _answers: &Answers) -> Result<Effect, Error> {
    for annotation in STALE_ANNOTATIONS {
        remove(item, "/metadata/annotations", annotation);
    }
    let volume = text(context.from_backup, "/spec/volumeName");
    let bound = text(context.from_backup, "/status/phase") == "Bound" && !volume.is_empty();
    let additional_items = bound
        .then(|| AdditionalItem {
            group_resource: "persistentvolumes",
            namespace: None,
            name: volume.to_owned(),
        })
        .into_iter()
        .collect();
    Ok(Effect { additional_items, ..Effect::default() })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::fixtures::run_with;
    use super::*;

    fn restored(phase: &str) -> (Value, Effect) {
        let mut claim = json!({
            "metadata": {"annotations": {
                "pv.kubernetes.io/bind-completed": "yes",
                "volume.kubernetes.io/selected-node": "n1",
                "volume.kubernetes.io/storage-provisioner": "x",
                "note": "mine",
            }},
            "spec": {"volumeName": "vol-1"},
        });
        let from_backup = json!({"spec": {"volumeName": "vol-1"}, "status": {"phase": phase}});
        let effect =
            run_with(&ACTION, &mut claim, |setting| setting.from_backup = from_backup, &Answers::default())
                .unwrap();
        (claim, effect)
    }

    #[test]
    fn binding_annotations_go_and_the_bound_volume_comes_along() {
        let (claim, effect) = restored("Bound");
        assert_eq!(
            claim,
            json!({"metadata": {"annotations": {"note": "mine"}}, "spec": {"volumeName": "vol-1"}})
        );
        assert_eq!(
            effect.additional_items,
            [AdditionalItem {
                group_resource: "persistentvolumes",
                namespace: None,
                name: "vol-1".to_owned()
            }]
        );
    }

    #[test]
    fn a_claim_that_was_not_bound_brings_nothing() {
        assert_eq!(restored("Pending").1.additional_items, []);
    }
}
