//! Service accounts that bindings name as users, and as groups of a namespace, follow their namespaces. Velero moves
//! them only where they are named as service accounts.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{Action, Answers, Context, Effect, Error, asks_nothing, elements_mut, text};

pub(super) const ACTION: Action = Action {
    name: "holdfast.dev/account-names",
    applies_to: &["rolebindings.rbac.authorization.k8s.io", "clusterrolebindings.rbac.authorization.k8s.io"],
    questions: asks_nothing,
    apply,
};

const USER: &str = "system:serviceaccount:";
const GROUP: &str = "system:serviceaccounts:";

fn apply(item: &mut Value, context: &Context<'_>, _answers: &Answers) -> Result<Effect, Error> {
    for subject in elements_mut(item, "/subjects") {
        let moved = match text(subject, "/kind") {
            "User" => user(text(subject, "/name"), context.namespace_mapping),
            "Group" => group(text(subject, "/name"), context.namespace_mapping),
            _ => None,
        };
        if let (Some(moved), Some(subject)) = (moved, subject.as_object_mut()) {
            subject.insert("name".to_owned(), json!(moved));
        }
    }
    Ok(Effect::default())
}

/// `system:serviceaccount:NAMESPACE:NAME`
fn user(name: &str, mapping: &BTreeMap<String, String>) -> Option<String> {
    let (namespace, account) = name.strip_prefix(USER)?.split_once(':')?;
    Some(format!("{USER}{}:{account}", mapping.get(namespace)?))
}

/// `system:serviceaccounts:NAMESPACE`
fn group(name: &str, mapping: &BTreeMap<String, String>) -> Option<String> {
    Some(format!("{GROUP}{}", mapping.get(name.strip_prefix(GROUP)?)?))
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::run_with;
    use super::*;

    #[test]
    fn users_and_groups_of_service_accounts_move_and_names_that_look_alike_stay() {
        let mapping = BTreeMap::from([("shop".to_owned(), "shop-r".to_owned())]);
        let table = [
            ("User", "system:serviceaccount:shop:robot", "system:serviceaccount:shop-r:robot"),
            ("Group", "system:serviceaccounts:shop", "system:serviceaccounts:shop-r"),
            ("User", "system:serviceaccount:shopping:robot", "system:serviceaccount:shopping:robot"),
            ("Group", "system:serviceaccounts", "system:serviceaccounts"),
            ("User", "shop", "shop"),
            ("Group", "system:serviceaccount:shop:robot", "system:serviceaccount:shop:robot"),
            ("ServiceAccount", "system:serviceaccount:shop:a", "system:serviceaccount:shop:a"),
        ];
        for (kind, before, after) in table {
            let item =
                |name: &str| json!({"roleRef": {"name": "shop"}, "subjects": [{"kind": kind, "name": name}]});
            let mut moved = item(before);
            let change =
                |setting: &mut super::super::fixtures::Setting| setting.namespace_mapping = mapping.clone();
            run_with(&ACTION, &mut moved, change, &Answers::default()).unwrap();
            assert_eq!(moved, item(after), "{kind} {before}");
        }
    }
}
