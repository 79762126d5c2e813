//! Webhooks of old clusters whose side effects v1 no longer accepts.

use serde_json::{Value, json};

use super::{Action, Answers, Context, Effect, Error, asks_nothing, elements_mut, text};

pub(super) const ACTION: Action = Action {
    name: "velero.io/admission-webhook-configuration",
    applies_to: &[
        "mutatingwebhookconfigurations.admissionregistration.k8s.io",
        "validatingwebhookconfigurations.admissionregistration.k8s.io",
    ],
    questions: asks_nothing,
    apply,
};

fn apply(item: &mut Value, _context: &Context<'_>, _answers: &Answers) -> Result<Effect, Error> {
    if text(item, "/apiVersion") == "admissionregistration.k8s.io/v1" {
        for webhook in elements_mut(item, "/webhooks") {
            if !matches!(text(webhook, "/sideEffects"), "None" | "NoneOnDryRun")
                && let Some(webhook) = webhook.as_object_mut()
            {
                webhook.insert("sideEffects".to_owned(), json!("None"));
            }
        }
    }
    Ok(Effect::default())
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::run;
    use super::*;

    #[test]
    fn side_effects_that_v1_refuses_become_none() {
        let mut item = json!({"apiVersion": "admissionregistration.k8s.io/v1", "webhooks": [
            {"name": "a", "sideEffects": "Unknown"}, {"name": "b", "sideEffects": "NoneOnDryRun"}, {"name": "c"},
        ]});
        run(&ACTION, &mut item).unwrap();
        assert_eq!(
            item["webhooks"],
            json!([
                {"name": "a", "sideEffects": "None"},
                {"name": "b", "sideEffects": "NoneOnDryRun"},
                {"name": "c", "sideEffects": "None"},
            ])
        );
    }

    #[test]
    fn other_versions_are_left_alone() {
        let mut item =
            json!({"apiVersion": "admissionregistration.k8s.io/v1beta1", "webhooks": [{"name": "a"}]});
        let before = item.clone();
        run(&ACTION, &mut item).unwrap();
        assert_eq!(item, before);
    }
}
