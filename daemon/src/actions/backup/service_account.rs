//! A service account brings the cluster-wide rights it has: bindings that name it, and their roles.

use std::collections::HashMap;

use serde::Deserialize;

use super::{Action, Context, Error, ItemReference, Needs, Outcome};
use crate::cluster::Item;

pub(super) const ACTION: Action =
    Action { name: "velero.io/service-account", applies_to: "serviceaccounts", needs: Needs::Bindings, run };

const BINDINGS: &str = "clusterrolebindings.rbac.authorization.k8s.io";
const ROLES: &str = "clusterroles.rbac.authorization.k8s.io";

/// Which ClusterRoleBindings name which service accounts, read once for a run.
#[derive(Debug, Default)]
pub struct Bindings {
    /// By namespace and name of the account: binding and role.
    by_account: HashMap<(String, String), Vec<(String, String)>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Binding {
    metadata: Metadata,
    role_ref: RoleReference,
    #[serde(default)]
    subjects: Option<Vec<Subject>>,
}

#[derive(Deserialize)]
struct Metadata {
    name: String,
}

#[derive(Deserialize)]
struct RoleReference {
    name: String,
}

#[derive(Deserialize)]
#[serde(default)]
#[derive(Default)]
struct Subject {
    kind: String,
    namespace: String,
    name: String,
}

impl Bindings {
    /// The group-resource to fill this from.
    pub const GROUP_RESOURCE: &str = BINDINGS;

    pub fn add(&mut self, binding: &Item) -> Result<(), Error> {
        let Binding { metadata, role_ref, subjects } = serde_json::from_slice(&binding.json)?;
        for subject in subjects.into_iter().flatten().filter(|subject| subject.kind == "ServiceAccount") {
            let bound = self.by_account.entry((subject.namespace, subject.name)).or_default();
            bound.push((metadata.name.clone(), role_ref.name.clone()));
        }
        Ok(())
    }
}

fn run(item: &Item, cx: &Context<'_>) -> Result<Outcome, Error> {
    let account = (item.namespace.clone().unwrap_or_default(), item.name.clone());
    let reference =
        |group_resource, name: &str| ItemReference { group_resource, namespace: None, name: name.into() };
    let bound = cx.bindings.by_account.get(&account).into_iter().flatten();
    let mut additional: Vec<_> =
        bound.flat_map(|(binding, role)| [reference(BINDINGS, binding), reference(ROLES, role)]).collect();
    additional.sort();
    additional.dedup();
    Ok(Outcome { additional, ..Outcome::default() })
}

#[cfg(test)]
mod tests {
    use pretty_assertions::assert_eq;
    use serde_json::{Value, json};

    use super::*;

    fn item(namespace: Option<&str>, name: &str, json: &Value) -> Item {
        Item {
            name: name.into(),
            namespace: namespace.map(str::to_owned),
            excluded: false,
            deleting: false,
            json: json.to_string().into(),
        }
    }

    fn binding(name: &str, role: &str, subjects: Value) -> Item {
        let json = json!({"metadata": {"name": name}, "roleRef": {"kind": "ClusterRole", "name": role}, "subjects": subjects});
        item(None, name, &json)
    }

    #[test]
    fn an_account_brings_bindings_that_name_it_and_no_others() {
        let account = |namespace: &str, name: &str| json!({"kind": "ServiceAccount", "namespace": namespace, "name": name});
        let mut bindings = Bindings::default();
        for binding in [
            binding("view", "reader", json!([account("shop", "robot"), account("blog", "robot")])),
            binding("edit", "reader", json!([account("shop", "robot")])),
            binding("other", "admin", json!([account("shop", "default")])),
            binding("group", "admin", json!([{"kind": "Group", "name": "system:serviceaccounts"}])),
            binding("nobody", "admin", Value::Null),
        ] {
            bindings.add(&binding).unwrap();
        }
        let robot = item(Some("shop"), "robot", &json!({}));
        let outcome = run(&robot, &Context { backup: "b1", bindings: &bindings }).unwrap();
        let names: Vec<_> =
            outcome.additional.iter().map(|it| (it.group_resource, it.name.as_str())).collect();
        assert_eq!(names, [(BINDINGS, "edit"), (BINDINGS, "view"), (ROLES, "reader")]);
    }
}
