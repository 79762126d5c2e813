//! Services that the API server calls follow their namespaces: those of webhooks, of conversions of CRDs, and of
//! aggregated APIs. Velero leaves them where they were.

use serde_json::{Value, json};

use super::{Action, Answers, Context, Effect, Error, asks_nothing, elements_mut};

pub(super) const ACTION: Action = Action {
    name: "holdfast.dev/service-references",
    applies_to: &[
        "mutatingwebhookconfigurations.admissionregistration.k8s.io",
        "validatingwebhookconfigurations.admissionregistration.k8s.io",
        "customresourcedefinitions.apiextensions.k8s.io",
        "apiservices.apiregistration.k8s.io",
    ],
    questions: asks_nothing,
    apply,
};

fn apply(item: &mut Value, context: &Context<'_>, _answers: &Answers) -> Result<Effect, Error> {
    let follow = |namespace: Option<&mut Value>| {
        if let Some(namespace) = namespace
            && let Some(target) = namespace.as_str().and_then(|source| context.namespace_mapping.get(source))
        {
            *namespace = json!(target);
        }
    };
    for webhook in elements_mut(item, "/webhooks") {
        follow(webhook.pointer_mut("/clientConfig/service/namespace"));
    }
    for pointer in ["/spec/conversion/webhook/clientConfig/service/namespace", "/spec/service/namespace"] {
        follow(item.pointer_mut(pointer));
    }
    Ok(Effect::default())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::fixtures::run_with;
    use super::*;

    fn moved(mut item: Value) -> Value {
        let mapping = BTreeMap::from([("shop".to_owned(), "shop-r".to_owned())]);
        run_with(&ACTION, &mut item, |setting| setting.namespace_mapping = mapping, &Answers::default())
            .unwrap();
        item
    }

    #[test]
    fn every_kind_that_names_a_service_names_it_where_it_is_now() {
        let config = |namespace: &str| json!({"service": {"namespace": namespace, "name": "shop"}});
        let table: [fn(Value) -> Value; 3] = [
            |config| json!({"webhooks": [{"name": "a", "clientConfig": config}]}),
            |config| json!({"spec": {"conversion": {"webhook": {"clientConfig": config}}}}),
            |config| json!({"spec": config}),
        ];
        for object in table {
            assert_eq!(moved(object(config("shop"))), object(config("shop-r")));
            assert_eq!(moved(object(config("blog"))), object(config("blog")));
            let by_url = object(json!({"url": "https://example.com/shop"}));
            assert_eq!(moved(by_url.clone()), by_url);
        }
    }
}
