//! Nodes changed by the restore's own `nodes`: where pods may run, where volumes lie, and where a claim's volume is
//! made.
//!
//! In selectors and affinities the node is named by its host name label, or by its name itself. A claim keeps its
//! selected node only if that is mapped, to a node that exists; otherwise it is chosen anew, as the `pvc` action has it.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{Action, Answers, Context, Effect, Error, Question, elements_mut, pod_spec, text};

pub(super) const ACTION: Action = Action {
    name: "holdfast.dev/change-node",
    applies_to: &[
        "pods",
        "deployments.apps",
        "statefulsets.apps",
        "daemonsets.apps",
        "replicasets.apps",
        "replicationcontrollers",
        "jobs.batch",
        "cronjobs.batch",
        "persistentvolumes",
        "persistentvolumeclaims",
    ],
    questions,
    apply,
};

const HOST_NAME: &str = "kubernetes.io/hostname";
const SELECTED_NODE: &str = "volume.kubernetes.io/selected-node";

/// The node that the claim's volume was made for, by its new name.
fn selected_node<'a>(context: &Context<'a>) -> Option<&'a String> {
    let annotations = context.from_backup.pointer("/metadata/annotations")?;
    let old = annotations.get(SELECTED_NODE)?.as_str()?;
    context.configuration.remap.nodes.get(old).filter(|_| context.group_resource == "persistentvolumeclaims")
}

fn questions(_item: &Value, context: &Context<'_>) -> Vec<Question> {
    selected_node(context).map(|name| Question::NodeExists { name: name.clone() }).into_iter().collect()
}

fn apply(item: &mut Value, context: &Context<'_>, answers: &Answers) -> Result<Effect, Error> {
    let nodes = &context.configuration.remap.nodes;
    if nodes.is_empty() {
        return Ok(Effect::default());
    }
    if let Some(node) =
        selected_node(context).filter(|node| answers.nodes.get(*node).copied().unwrap_or_default())
        && let Some(metadata) = item.get_mut("metadata").and_then(Value::as_object_mut)
    {
        let annotations = metadata.entry("annotations").or_insert_with(|| json!({}));
        if let Some(annotations) = annotations.as_object_mut() {
            annotations.insert(SELECTED_NODE.to_owned(), json!(node));
        }
    }
    if context.group_resource == "persistentvolumes" {
        let terms = elements_mut(item, "/spec/nodeAffinity/required/nodeSelectorTerms");
        terms.for_each(|term| rename_in_term(term, nodes));
    }
    if let Some(spec) = pod_spec(context.group_resource).and_then(|pointer| item.pointer_mut(pointer)) {
        rename_in_pod(spec, nodes);
    }
    Ok(Effect::default())
}

fn rename_in_pod(spec: &mut Value, nodes: &BTreeMap<String, String>) {
    if let Some(name) = spec.get_mut("nodeSelector").and_then(|labels| labels.get_mut(HOST_NAME)) {
        rename(name, nodes);
    }
    let affinity = "/affinity/nodeAffinity";
    let required = format!("{affinity}/requiredDuringSchedulingIgnoredDuringExecution/nodeSelectorTerms");
    elements_mut(spec, &required).for_each(|term| rename_in_term(term, nodes));
    let preferred = format!("{affinity}/preferredDuringSchedulingIgnoredDuringExecution");
    for preference in elements_mut(spec, &preferred).filter_map(|it| it.get_mut("preference")) {
        rename_in_term(preference, nodes);
    }
}

fn rename_in_term(term: &mut Value, nodes: &BTreeMap<String, String>) {
    for (list, key) in [("/matchExpressions", HOST_NAME), ("/matchFields", "metadata.name")] {
        for requirement in elements_mut(term, list).filter(|it| text(it, "/key") == key) {
            elements_mut(requirement, "/values").for_each(|value| rename(value, nodes));
        }
    }
}

fn rename(name: &mut Value, nodes: &BTreeMap<String, String>) {
    if let Some(new) = name.as_str().and_then(|old| nodes.get(old)) {
        *name = json!(new);
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::{Setting, run_with};
    use super::*;

    fn renamed(group_resource: &'static str, mut item: Value, exists: bool) -> Value {
        let answers = Answers { nodes: [("n2".to_owned(), exists)].into(), ..Answers::default() };
        let change = |setting: &mut Setting| {
            setting.group_resource = group_resource;
            setting.configuration.remap.nodes = [("n1".to_owned(), "n2".to_owned())].into();
        };
        run_with(&ACTION, &mut item, change, &answers).unwrap();
        item
    }

    /// A node selector term that names a node in both ways.
    fn term(node: &str) -> Value {
        json!({
            "matchExpressions": [
                {"key": HOST_NAME, "operator": "In", "values": [node, "other"]},
                {"key": "disk", "operator": "In", "values": ["n1"]},
            ],
            "matchFields": [{"key": "metadata.name", "operator": "In", "values": [node]}],
        })
    }

    fn pod_spec(node: &str) -> Value {
        json!({
            "nodeSelector": {HOST_NAME: node, "disk": "n1"},
            "affinity": {"nodeAffinity": {
                "requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [term(node)]},
                "preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 1, "preference": term(node)}],
            }},
        })
    }

    #[test]
    fn pods_follow_their_node_in_selectors_and_affinities_wherever_the_kind_keeps_them() {
        let pod = |node: &str| json!({"spec": pod_spec(node)});
        assert_eq!(renamed("pods", pod("n1"), false), pod("n2"));
        let set = |node: &str| json!({"spec": {"template": {"spec": pod_spec(node)}}});
        assert_eq!(renamed("daemonsets.apps", set("n1"), false), set("n2"));
        assert_eq!(renamed("daemonsets.apps", set("n3"), false), set("n3"));
    }

    #[test]
    fn a_volume_that_lies_on_a_node_follows_it() {
        let volume =
            |node: &str| json!({"spec": {"nodeAffinity": {"required": {"nodeSelectorTerms": [term(node)]}}}});
        assert_eq!(renamed("persistentvolumes", volume("n1"), false), volume("n2"));
    }

    #[test]
    fn a_claim_gets_a_selected_node_only_if_it_is_mapped_to_one_that_exists() {
        let claim = |node: &str| json!({"metadata": {"annotations": {SELECTED_NODE: node}}});
        assert_eq!(renamed("persistentvolumeclaims", claim("n1"), true), claim("n2"));
        assert_eq!(renamed("persistentvolumeclaims", claim("n1"), false), claim("n1"));
        assert_eq!(renamed("persistentvolumeclaims", claim("n3"), true), claim("n3"));
    }
}
