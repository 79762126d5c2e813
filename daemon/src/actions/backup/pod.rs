//! A pod brings its volume claims and its priority class.

use serde::Deserialize;

use super::{Action, Context, Error, ItemReference, Needs, Outcome};
use crate::cluster::Item;

pub(super) const ACTION: Action =
    Action { name: "velero.io/pod", applies_to: "pods", needs: Needs::Nothing, run };

#[derive(Deserialize)]
struct Pod {
    #[serde(default)]
    spec: Spec,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Spec {
    priority_class_name: String,
    volumes: Vec<Volume>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Volume {
    persistent_volume_claim: Option<Claim>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Claim {
    claim_name: String,
}

fn run(item: &Item, _: &Context<'_>) -> Result<Outcome, Error> {
    let Pod { spec: Spec { priority_class_name, volumes } } = serde_json::from_slice(&item.json)?;
    let class = Some(priority_class_name).filter(|name| !name.is_empty()).map(|name| ItemReference {
        group_resource: "priorityclasses.scheduling.k8s.io",
        namespace: None,
        name,
    });
    let claims = volumes.into_iter().filter_map(|volume| volume.persistent_volume_claim);
    let claims = claims.map(|claim| ItemReference {
        group_resource: "persistentvolumeclaims",
        namespace: item.namespace.clone(),
        name: claim.claim_name,
    });
    Ok(Outcome { additional: class.into_iter().chain(claims).collect(), ..Outcome::default() })
}

#[cfg(test)]
mod tests {
    use pretty_assertions::assert_eq;
    use serde_json::json;

    use super::super::Bindings;
    use super::*;

    fn outcome(spec: serde_json::Value) -> Outcome {
        let item = Item {
            name: "web".into(),
            namespace: Some("shop".into()),
            excluded: false,
            deleting: false,
            json: json!({"metadata": {"name": "web"}, "spec": spec}).to_string().into(),
        };
        run(&item, &Context { backup: "b1", bindings: &Bindings::default() }).unwrap()
    }

    #[test]
    fn a_pod_brings_its_class_and_its_claims() {
        let outcome = outcome(json!({
            "priorityClassName": "golden",
            "volumes": [
                {"name": "data", "persistentVolumeClaim": {"claimName": "data-web"}},
                {"name": "tmp", "emptyDir": {}},
            ],
        }));
        let reference = |group_resource, namespace: Option<&str>, name: &str| ItemReference {
            group_resource,
            namespace: namespace.map(str::to_owned),
            name: name.into(),
        };
        assert_eq!(
            outcome.additional,
            [
                reference("priorityclasses.scheduling.k8s.io", None, "golden"),
                reference("persistentvolumeclaims", Some("shop"), "data-web"),
            ]
        );
        assert_eq!(outcome.changed, None);
    }

    #[test]
    fn a_pod_without_volumes_brings_nothing() {
        assert_eq!(outcome(json!({"containers": []})), Outcome::default());
    }
}
