//! Reads the API server's refusal of a server-side apply: which fields, and whose they are.
//!
//! In: the Status of a 409. Out: one [`FieldConflict`] per field. What follows from it is decided elsewhere.

use std::fmt;

use kube::core::Status;

use super::object::MANAGER_PREFIX;

/// A field that was not applied because another manager owns it with another value.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct FieldConflict {
    /// As the API server writes it, for example `.spec.template.ttl`.
    pub field: String,
    pub manager: String,
    pub operation: Operation,
}

/// How the other manager came to own the field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Operation {
    Apply,
    Update,
}

impl FieldConflict {
    /// Another tool that applies (Argo CD, Flux, kubectl apply --server-side) means to keep the field; an ordinary
    /// update is drift, and another source of Holdfast's gave the object away by its labels.
    pub fn is_kept_by_its_manager(&self) -> bool {
        self.operation == Operation::Apply && !self.manager.starts_with(MANAGER_PREFIX)
    }
}

impl fmt::Display for FieldConflict {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} belongs to {}", self.field, self.manager)
    }
}

/// The conflicts that `status` tells of; none when the 409 has another reason, such as a newer resourceVersion.
pub fn parse(status: &Status) -> Vec<FieldConflict> {
    let Some(details) = &status.details else { return Vec::new() };
    let mut conflicts: Vec<FieldConflict> = details
        .causes
        .iter()
        .filter(|cause| cause.reason == "FieldManagerConflict")
        .filter_map(|cause| {
            let (manager, operation) = owner(&cause.message)?;
            Some(FieldConflict { field: cause.field.clone(), manager, operation })
        })
        .collect();
    conflicts.sort();
    conflicts
}

/// The message reads `conflict with "NAME"`, then ` with subresource "NAME"` for a subresource, then
/// ` using VERSION at TIME` for a manager that updates, and nothing more for one that applies.
fn owner(message: &str) -> Option<(String, Operation)> {
    let quoted = message.strip_prefix("conflict with ")?;
    // The name is quoted as Go does it, which for names is as JSON does it.
    let mut values = serde_json::Deserializer::from_str(quoted).into_iter::<String>();
    let manager = values.next()?.ok()?;
    let rest = quoted.get(values.byte_offset()..)?;
    let operation = match rest.contains(" using ") {
        true => Operation::Update,
        false => Operation::Apply,
    };
    Some((manager, operation))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn status(messages: &[(&str, &str)]) -> Status {
        let causes: Vec<_> = messages
            .iter()
            .map(|(field, message)| json!({"reason": "FieldManagerConflict", "field": field, "message": message}))
            .collect();
        serde_json::from_value(json!({"code": 409, "reason": "Conflict", "details": {"causes": causes}}))
            .unwrap()
    }

    #[test]
    fn managers_that_apply_and_managers_that_update_are_told_apart() {
        let conflicts = parse(&status(&[
            (".spec.schedule", r#"conflict with "argocd-controller""#),
            (".spec.paused", r#"conflict with "kubectl-edit" using velero.io/v1 at 2026-11-23T10:00:00Z"#),
            (".spec.template.ttl", r#"conflict with "velero" with subresource "status" using velero.io/v1"#),
            (".spec.template.hooks", r#"conflict with "holdfast/old""#),
        ]));
        let owners: Vec<_> = conflicts
            .iter()
            .map(|conflict| {
                (conflict.manager.as_str(), conflict.operation, conflict.is_kept_by_its_manager())
            })
            .collect();
        assert_eq!(
            owners,
            [
                ("kubectl-edit", Operation::Update, false),
                ("argocd-controller", Operation::Apply, true),
                ("holdfast/old", Operation::Apply, false),
                ("velero", Operation::Update, false),
            ]
        );
    }

    #[test]
    fn a_manager_with_a_misleading_name_is_still_one_that_applies() {
        let conflicts = parse(&status(&[(".spec.schedule", r#"conflict with "x \" using y""#)]));
        assert_eq!(conflicts[0].manager, "x \" using y");
        assert_eq!(conflicts[0].operation, Operation::Apply);
    }

    #[test]
    fn a_conflict_of_versions_names_no_field() {
        let status: Status =
            serde_json::from_value(json!({"code": 409, "reason": "Conflict", "message": "modified"}))
                .unwrap();
        assert_eq!(parse(&status), []);
    }
}
