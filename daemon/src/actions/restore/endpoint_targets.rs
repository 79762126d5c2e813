//! Endpoints name the pods behind them with their namespaces, which are those of the endpoints themselves. Velero leaves
//! them where they were.

use serde_json::{Value, json};

use super::{Action, Answers, Context, Effect, Error, asks_nothing, elements_mut};

pub(super) const ACTION: Action = Action {
    name: "holdfast.dev/endpoint-targets",
    applies_to: &["endpoints", "endpointslices.discovery.k8s.io"],
    questions: asks_nothing,
    apply,
};

fn apply(item: &mut Value, context: &Context<'_>, _answers: &Answers) -> Result<Effect, Error> {
    let follow = |endpoint: &mut Value| {
        if let Some(namespace) = endpoint.pointer_mut("/targetRef/namespace")
            && let Some(target) = namespace.as_str().and_then(|source| context.namespace_mapping.get(source))
        {
            *namespace = json!(target);
        }
    };
    elements_mut(item, "/endpoints").for_each(follow);
    for subset in elements_mut(item, "/subsets") {
        for list in ["/addresses", "/notReadyAddresses"] {
            elements_mut(subset, list).for_each(follow);
        }
    }
    Ok(Effect::default())
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::run_with;
    use super::*;

    #[test]
    fn targets_move_with_their_namespace_in_both_kinds() {
        let object = |namespace: &str| {
            let endpoint = json!({"targetRef": {"kind": "Pod", "namespace": namespace, "name": "shop"}});
            json!({
                "endpoints": [endpoint, {"addresses": ["10.0.0.1"]}],
                "subsets": [{"addresses": [endpoint], "notReadyAddresses": [endpoint]}],
            })
        };
        let mut moved = object("shop");
        let mapping = [("shop".to_owned(), "shop-r".to_owned())].into();
        run_with(&ACTION, &mut moved, |setting| setting.namespace_mapping = mapping, &Answers::default())
            .unwrap();
        assert_eq!(moved, object("shop-r"));
    }
}
