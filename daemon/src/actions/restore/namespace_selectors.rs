//! Selectors that choose namespaces by name follow them: peers of network policies, and what webhooks look at.
//!
//! Every namespace carries its name as a label, and selectors by that label are as good as names. Velero leaves them.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{Action, Answers, Context, Effect, Error, asks_nothing, elements_mut, text};

pub(super) const ACTION: Action = Action {
    name: "holdfast.dev/namespace-selectors",
    applies_to: &[
        "networkpolicies.networking.k8s.io",
        "mutatingwebhookconfigurations.admissionregistration.k8s.io",
        "validatingwebhookconfigurations.admissionregistration.k8s.io",
    ],
    questions: asks_nothing,
    apply,
};

const NAME: &str = "kubernetes.io/metadata.name";

fn apply(item: &mut Value, context: &Context<'_>, _answers: &Answers) -> Result<Effect, Error> {
    let mapping = context.namespace_mapping;
    if mapping.is_empty() {
        return Ok(Effect::default());
    }
    for webhook in elements_mut(item, "/webhooks") {
        follow(webhook, mapping);
    }
    for (rules, peers) in [("/spec/ingress", "/from"), ("/spec/egress", "/to")] {
        for rule in elements_mut(item, rules) {
            elements_mut(rule, peers).for_each(|peer| follow(peer, mapping));
        }
    }
    Ok(Effect::default())
}

/// Changes the names in the `namespaceSelector` of `holder`.
fn follow(holder: &mut Value, mapping: &BTreeMap<String, String>) {
    let rename = |name: &mut Value| {
        if let Some(target) = name.as_str().and_then(|source| mapping.get(source)) {
            *name = json!(target);
        }
    };
    let Some(selector) = holder.get_mut("namespaceSelector") else { return };
    if let Some(name) = selector.get_mut("matchLabels").and_then(|labels| labels.get_mut(NAME)) {
        rename(name);
    }
    for requirement in elements_mut(selector, "/matchExpressions").filter(|it| text(it, "/key") == NAME) {
        elements_mut(requirement, "/values").for_each(rename);
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::run_with;
    use super::*;

    fn moved(mut item: Value) -> Value {
        let mapping = BTreeMap::from([("shop".to_owned(), "shop-r".to_owned())]);
        run_with(&ACTION, &mut item, |setting| setting.namespace_mapping = mapping, &Answers::default())
            .unwrap();
        item
    }

    fn selector(name: &str) -> Value {
        json!({"namespaceSelector": {
            "matchLabels": {NAME: name, "team": "shop"},
            "matchExpressions": [
                {"key": NAME, "operator": "NotIn", "values": ["blog", name]},
                {"key": "stage", "operator": "In", "values": ["shop"]},
            ],
        }})
    }

    #[test]
    fn peers_of_network_policies_follow_their_namespaces_in_both_directions() {
        let policy = |name: &str| {
            json!({"spec": {
                "podSelector": {}, "ingress": [{"from": [{"podSelector": {}}, selector(name)]}],
                "egress": [{"to": [selector(name)]}, {}],
            }})
        };
        assert_eq!(moved(policy("shop")), policy("shop-r"));
        assert_eq!(moved(policy("blog")), policy("blog"));
    }

    #[test]
    fn webhooks_look_at_the_namespaces_where_they_are_now() {
        let mut webhook = selector("shop");
        webhook["objectSelector"] = json!({"matchLabels": {NAME: "shop"}});
        let mut expected = selector("shop-r");
        expected["objectSelector"] = webhook["objectSelector"].clone();
        assert_eq!(moved(json!({"webhooks": [webhook]})), json!({"webhooks": [expected]}));
    }
}
