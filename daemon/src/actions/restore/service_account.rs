//! Service accounts lose the reference to the token that the old cluster made for them.

use serde_json::Value;

use super::{Action, Answers, Context, Effect, Error, asks_nothing, text};

pub(super) const ACTION: Action = Action {
    name: "velero.io/service-account",
    applies_to: &["serviceaccounts"],
    questions: asks_nothing,
    apply,
};

fn apply(item: &mut Value, _context: &Context<'_>, _answers: &Answers) -> Result<Effect, Error> {
    let prefix = format!("{}-token-", text(item, "/metadata/name"));
    if let Some(secrets) = item.get_mut("secrets").and_then(Value::as_array_mut)
        && let Some(at) = secrets.iter().rposition(|secret| text(secret, "/name").starts_with(&prefix))
    {
        secrets.remove(at);
    }
    Ok(Effect::default())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::fixtures::run;
    use super::*;

    #[test]
    fn only_the_last_generated_token_is_dropped() {
        let mut item = json!({"metadata": {"name": "robot"}, "secrets": [
            {"name": "robot-token-old"}, {"name": "robot-token-new"}, {"name": "robot-dockercfg"},
        ]});
        run(&ACTION, &mut item).unwrap();
        assert_eq!(item["secrets"], json!([{"name": "robot-token-old"}, {"name": "robot-dockercfg"}]));
    }
}
