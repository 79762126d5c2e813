//! Pods bring along the claims that they mount.

use serde_json::Value;

use super::{Action, AdditionalItem, Answers, Context, Effect, Error, asks_nothing, elements, text};

pub(super) const ACTION: Action =
    Action { name: "velero.io/add-pvc-from-pod", applies_to: &["pods"], questions: asks_nothing, apply };

fn apply(item: &mut Value, context: &Context<'_>, _answers: &Answers) -> Result<Effect, Error> {
    let additional_items = elements(item, "/spec/volumes")
        .map(|volume| text(volume, "/persistentVolumeClaim/claimName"))
        .filter(|claim| !claim.is_empty())
        .map(|claim| AdditionalItem {
            group_resource: "persistentvolumeclaims",
            namespace: context.source_namespace.map(str::to_owned),
            name: claim.to_owned(),
        })
        .collect();
    Ok(Effect { additional_items, ..Effect::default() })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::fixtures::run;
    use super::*;

    #[test]
    fn every_mounted_claim_is_named_in_the_pod_s_own_namespace() {
        let mut pod = json!({
            "metadata": {"namespace": "shop", "name": "db-0"},
            "spec": {"volumes": [
                {"name": "data", "persistentVolumeClaim": {"claimName": "data-db-0"}},
                {"name": "scratch", "emptyDir": {}},
            ]},
        });
        let effect = run(&ACTION, &mut pod).unwrap();
        assert_eq!(
            effect.additional_items,
            [AdditionalItem {
                group_resource: "persistentvolumeclaims",
                namespace: Some("shop".to_owned()),
                name: "data-db-0".to_owned(),
            }]
        );
    }
}
