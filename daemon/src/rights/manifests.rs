//! Roles as Kubernetes takes them: a ClusterRole and a Role for each, and what binds them to an account.

use std::collections::BTreeSet;

use k8s_openapi::Resource;
use k8s_openapi::api::core::v1::ServiceAccount;
use k8s_openapi::api::rbac::v1::{
    ClusterRole, ClusterRoleBinding, PolicyRule, Role as NamespacedRole, RoleBinding, RoleRef, Subject,
};
use kube::api::ObjectMeta;
use serde::Serialize;
use serde_json::Value;

use super::{ALL, Reach, Role};

/// Who gets which roles.
#[derive(Debug, Clone)]
pub struct Grant {
    /// The namespace that the daemon works in.
    pub namespace: String,
    /// The name of its ServiceAccount.
    pub account: String,
    pub roles: BTreeSet<Role>,
    /// Where [`Role::Hooks`] is bound; `*` is everywhere.
    pub hooks_in: Vec<String>,
    /// The same of [`Role::Policies`].
    pub policies_in: Vec<String>,
}

/// The account, the roles and their bindings, in the order in which they can be applied.
pub fn manifests(grant: &Grant) -> Result<Vec<Value>, serde_json::Error> {
    let account = ServiceAccount {
        metadata: named(&grant.account, Some(&grant.namespace)),
        ..ServiceAccount::default()
    };
    let mut objects = vec![object(&account)?];
    for &role in &grant.roles {
        let name = format!("holdfast-{role}");
        let rules = rules(role, Reach::Cluster);
        if !rules.is_empty() {
            let metadata = named(&name, None);
            objects.push(object(&ClusterRole { metadata, rules: Some(rules), aggregation_rule: None })?);
            let all = ["*".to_owned()];
            let places = match role {
                Role::Hooks => grant.hooks_in.as_slice(),
                Role::Policies => grant.policies_in.as_slice(),
                Role::Observe | Role::Backup | Role::Restore | Role::NodeAgent | Role::InstallCrds => &all,
            };
            for place in places {
                objects.push(match place.as_str() {
                    "*" => object(&everywhere(grant, &name))?,
                    namespace => object(&within(grant, &name, ClusterRole::KIND, namespace))?,
                });
            }
        }
        let rules = self::rules(role, Reach::Home);
        if !rules.is_empty() {
            let metadata = named(&name, Some(&grant.namespace));
            objects.push(object(&NamespacedRole { metadata, rules: Some(rules) })?);
            objects.push(object(&within(grant, &name, NamespacedRole::KIND, &grant.namespace))?);
        }
    }
    Ok(objects)
}

/// What a role may do in one place.
pub fn rules(role: Role, reach: Reach) -> Vec<PolicyRule> {
    let owned = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect::<Vec<_>>();
    ALL.iter()
        .filter(|right| right.role == role && right.reach == reach)
        .map(|right| PolicyRule {
            api_groups: Some(owned(&[right.group])),
            resources: Some(owned(right.resources)),
            verbs: owned(right.verbs),
            ..PolicyRule::default()
        })
        .collect()
}

/// Several installations in one cluster bind the same roles, so the binding has the namespace in its name.
fn everywhere(grant: &Grant, role: &str) -> ClusterRoleBinding {
    ClusterRoleBinding {
        metadata: named(&format!("{role}-{}", grant.namespace), None),
        role_ref: reference(ClusterRole::KIND, role),
        subjects: Some(vec![subject(grant)]),
    }
}

fn within(grant: &Grant, role: &str, kind: &str, namespace: &str) -> RoleBinding {
    let name = match kind {
        ClusterRole::KIND => format!("{role}-{}", grant.namespace),
        _ => role.to_owned(),
    };
    RoleBinding {
        metadata: named(&name, Some(namespace)),
        role_ref: reference(kind, role),
        subjects: Some(vec![subject(grant)]),
    }
}

fn reference(kind: &str, name: &str) -> RoleRef {
    RoleRef { api_group: Some(ClusterRole::GROUP.to_owned()), kind: kind.to_owned(), name: name.to_owned() }
}

fn subject(grant: &Grant) -> Subject {
    Subject {
        kind: ServiceAccount::KIND.to_owned(),
        name: grant.account.clone(),
        namespace: Some(grant.namespace.clone()),
        api_group: None,
    }
}

fn named(name: &str, namespace: Option<&str>) -> ObjectMeta {
    ObjectMeta {
        name: Some(name.to_owned()),
        namespace: namespace.map(str::to_owned),
        labels: Some([("app.kubernetes.io/name".to_owned(), "holdfast".to_owned())].into()),
        ..ObjectMeta::default()
    }
}

fn object(object: &impl Serialize) -> Result<Value, serde_json::Error> {
    serde_json::to_value(object)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grant(roles: &[Role], hooks_in: &[&str]) -> Vec<String> {
        let grant = Grant {
            namespace: "velero".to_owned(),
            account: "holdfast".to_owned(),
            roles: roles.iter().copied().collect(),
            hooks_in: hooks_in.iter().map(|&namespace| namespace.to_owned()).collect(),
            policies_in: Vec::new(),
        };
        let text = |value: &Value, pointer: &str| {
            value.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned()
        };
        let told = |object: &Value| {
            let [kind, namespace, name] =
                ["/kind", "/metadata/namespace", "/metadata/name"].map(|pointer| text(object, pointer));
            format!("{kind} {namespace}/{name} {}", text(object, "/roleRef/kind")).trim_end().to_owned()
        };
        manifests(&grant).unwrap().iter().map(told).collect()
    }

    #[test]
    fn hooks_are_bound_where_they_were_allowed_and_nowhere_else() {
        assert_eq!(
            grant(&[Role::Hooks], &["shop", "blog"]),
            [
                "ServiceAccount velero/holdfast",
                "ClusterRole /holdfast-hooks",
                "RoleBinding shop/holdfast-hooks-velero ClusterRole",
                "RoleBinding blog/holdfast-hooks-velero ClusterRole",
            ]
        );
        assert_eq!(
            grant(&[Role::Hooks], &["*"])[2..],
            ["ClusterRoleBinding /holdfast-hooks-velero ClusterRole"]
        );
    }

    #[test]
    fn rights_at_home_are_bound_at_home() {
        assert_eq!(
            grant(&[Role::Observe], &[]),
            [
                "ServiceAccount velero/holdfast",
                "ClusterRole /holdfast-observe",
                "ClusterRoleBinding /holdfast-observe-velero ClusterRole",
                "Role velero/holdfast-observe",
                "RoleBinding velero/holdfast-observe Role",
            ]
        );
    }
}
