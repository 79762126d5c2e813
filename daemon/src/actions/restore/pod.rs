//! Pods are scheduled anew, with tokens of their new service account.

use serde_json::Value;

use super::{
    Action, AdditionalItem, Answers, Context, Effect, Error, asks_nothing, elements_mut, remove, text,
};

pub(super) const ACTION: Action =
    Action { name: "velero.io/pod", applies_to: &["pods"], questions: asks_nothing, apply };

fn apply(item: &mut Value, _context: &Context<'_>, _answers: &Answers) -> Result<Effect, Error> {
    remove(item, "/spec", "nodeName");
    remove(item, "/spec", "priority");
    let token_prefix = format!("{}-token-", text(item, "/spec/serviceAccountName"));
    let is_token = |entry: &Value| text(entry, "/name").starts_with(&token_prefix);
    drop_from_list(item.pointer_mut("/spec/volumes"), is_token);
    for list in ["/spec/containers", "/spec/initContainers"] {
        for container in elements_mut(item, list) {
            drop_from_list(container.get_mut("volumeMounts"), is_token);
        }
    }
    let class = text(item, "/spec/priorityClassName");
    let additional_items = (!class.is_empty())
        .then(|| AdditionalItem {
            group_resource: "priorityclasses.scheduling.k8s.io",
            namespace: None,
            name: class.to_owned(),
        })
        .into_iter()
        .collect();
    Ok(Effect { additional_items, ..Effect::default() })
}

fn drop_from_list(list: Option<&mut Value>, unwanted: impl Fn(&Value) -> bool) {
    if let Some(list) = list.and_then(Value::as_array_mut) {
        list.retain(|entry| !unwanted(entry));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::fixtures::run;
    use super::*;

    #[test]
    fn node_priority_and_legacy_tokens_go_and_the_priority_class_comes_along() {
        let mut pod = json!({"spec": {
            "nodeName": "n1", "priority": 7, "priorityClassName": "golden", "serviceAccountName": "robot",
            "schedulerName": "default-scheduler",
            "volumes": [{"name": "robot-token-abc12"}, {"name": "kube-api-access-x"}],
            "containers": [{"name": "main", "volumeMounts": [{"name": "robot-token-abc12"}, {"name": "kube-api-access-x"}]}],
            "initContainers": [{"name": "init", "volumeMounts": [{"name": "robot-token-abc12"}]}],
        }});
        let effect = run(&ACTION, &mut pod).unwrap();
        assert_eq!(
            pod,
            json!({"spec": {
                "priorityClassName": "golden", "serviceAccountName": "robot",
                "schedulerName": "default-scheduler",
                "volumes": [{"name": "kube-api-access-x"}],
                "containers": [{"name": "main", "volumeMounts": [{"name": "kube-api-access-x"}]}],
                "initContainers": [{"name": "init", "volumeMounts": []}],
            }})
        );
        assert_eq!(effect.additional_items[0].name, "golden");
    }

    #[test]
    fn a_pod_without_any_of_these_stays_as_it_is() {
        let mut pod = json!({"spec": {"containers": [{"name": "main", "image": "a"}]}});
        let before = pod.clone();
        assert_eq!(run(&ACTION, &mut pod).unwrap(), Effect::default());
        assert_eq!(pod, before);
    }
}
