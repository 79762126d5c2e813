//! Subjects of role bindings follow their namespaces.

use serde_json::Value;

use super::{Action, Answers, Context, Effect, Error, asks_nothing, elements_mut};

pub(super) const ACTION: Action = Action {
    name: "velero.io/role-bindings",
    applies_to: &["rolebindings.rbac.authorization.k8s.io"],
    questions: asks_nothing,
    apply,
};

pub(super) fn apply(item: &mut Value, context: &Context<'_>, _answers: &Answers) -> Result<Effect, Error> {
    for subject in elements_mut(item, "/subjects") {
        if let Some(namespace) = subject.get_mut("namespace")
            && let Some(target) = namespace.as_str().and_then(|source| context.namespace_mapping.get(source))
        {
            *namespace = Value::String(target.clone());
        }
    }
    Ok(Effect::default())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::json;

    use super::super::fixtures::run_with;
    use super::*;

    #[test]
    fn subjects_in_mapped_namespaces_move_and_others_stay() {
        let mut item = json!({"roleRef": {"name": "shop"}, "subjects": [
            {"kind": "ServiceAccount", "name": "a", "namespace": "shop"},
            {"kind": "ServiceAccount", "name": "b", "namespace": "blog"},
            {"kind": "User", "name": "system:serviceaccount:shop:a"},
        ]});
        run_with(
            &ACTION,
            &mut item,
            |setting| setting.namespace_mapping = BTreeMap::from([("shop".to_owned(), "shop-r".to_owned())]),
            &Answers::default(),
        )
        .unwrap();
        assert_eq!(
            item,
            json!({"roleRef": {"name": "shop"}, "subjects": [
                {"kind": "ServiceAccount", "name": "a", "namespace": "shop-r"},
                {"kind": "ServiceAccount", "name": "b", "namespace": "blog"},
                {"kind": "User", "name": "system:serviceaccount:shop:a"},
            ]})
        );
    }
}
