//! Subjects of cluster role bindings follow their namespaces.

use super::{Action, asks_nothing, role_bindings};

pub(super) const ACTION: Action = Action {
    name: "velero.io/cluster-role-bindings",
    applies_to: &["clusterrolebindings.rbac.authorization.k8s.io"],
    questions: asks_nothing,
    apply: role_bindings::apply,
};
