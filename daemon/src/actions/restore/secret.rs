//! Service account tokens: the cluster's own are left to it, hand-made ones get a new token.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{Action, Answers, Context, Effect, Error, Question, remove, text};

pub(super) const ACTION: Action =
    Action { name: "velero.io/secret", applies_to: &["secrets"], questions, apply };

fn is_token(item: &Value) -> bool {
    text(item, "/type") == "kubernetes.io/service-account-token"
}

/// As Velero does, this looks in the namespace of the backup, also where the secret goes to another.
fn questions(item: &Value, context: &Context<'_>) -> Vec<Question> {
    let namespace = context.source_namespace.filter(|_| is_token(item));
    namespace.map(|name| Question::ServiceAccountNames { namespace: name.to_owned() }).into_iter().collect()
}

fn apply(item: &mut Value, context: &Context<'_>, answers: &Answers) -> Result<Effect, Error> {
    if !is_token(item) {
        return Ok(Effect::default());
    }
    let none = BTreeSet::new();
    let accounts =
        context.source_namespace.and_then(|name| answers.service_accounts.get(name)).unwrap_or(&none);
    let name = text(item, "/metadata/name");
    let generated = |account: &&String| {
        name.strip_prefix(account.as_str()).is_some_and(|rest| rest.starts_with("-token-"))
    };
    if let Some(account) = accounts.iter().find(generated) {
        return Ok(Effect::skip(format!(
            "it is the token that the cluster made for service account {account}"
        )));
    }
    remove(item, "/metadata/annotations", "kubernetes.io/service-account.uid");
    remove(item, "/data", "token");
    remove(item, "/data", "ca.crt");
    // The controller fills in what is missing, and would leave the old name.
    if context.source_namespace.is_some_and(|source| context.namespace_mapping.contains_key(source)) {
        remove(item, "/data", "namespace");
    }
    Ok(Effect::default())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::json;

    use super::super::Verdict;
    use super::super::fixtures::run_with;
    use super::*;

    fn token(name: &str, kind: &str) -> Value {
        json!({
            "type": kind,
            "metadata": {"namespace": "shop", "name": name, "annotations": {
                "kubernetes.io/service-account.name": "robot", "kubernetes.io/service-account.uid": "1",
            }},
            "data": {"token": "YQ==", "ca.crt": "Yg==", "namespace": "c2hvcA=="},
        })
    }

    fn run_secret(item: &mut Value) -> Effect {
        let answers = Answers {
            service_accounts: BTreeMap::from([("shop".to_owned(), BTreeSet::from(["robot".to_owned()]))]),
            ..Answers::default()
        };
        run_with(&ACTION, item, |_| {}, &answers).unwrap()
    }

    #[test]
    fn a_generated_token_is_left_out() {
        let mut item = token("robot-token-abc12", "kubernetes.io/service-account-token");
        assert!(matches!(run_secret(&mut item).verdict, Verdict::Skip(_)));
    }

    #[test]
    fn a_hand_made_token_is_filled_anew() {
        let mut item = token("hand-made-token", "kubernetes.io/service-account-token");
        assert_eq!(run_secret(&mut item).verdict, Verdict::Restore);
        assert_eq!(item["data"], json!({"namespace": "c2hvcA=="}));
        assert_eq!(item["metadata"]["annotations"], json!({"kubernetes.io/service-account.name": "robot"}));
    }

    #[test]
    fn a_token_that_moves_forgets_where_it_was() {
        let mut item = token("hand-made-token", "kubernetes.io/service-account-token");
        let mapping = BTreeMap::from([("shop".to_owned(), "shop-r".to_owned())]);
        run_with(&ACTION, &mut item, |setting| setting.namespace_mapping = mapping, &Answers::default())
            .unwrap();
        assert_eq!(item["data"], json!({}));
    }

    #[test]
    fn other_secrets_keep_every_key() {
        let mut item = token("robot-token-abc12", "Opaque");
        let before = item.clone();
        assert_eq!(run_secret(&mut item).verdict, Verdict::Restore);
        assert_eq!(item, before);
    }
}
