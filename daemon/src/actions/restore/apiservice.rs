//! API services that the API server makes for itself and for CRDs are left to it.

use serde_json::Value;

use super::{Action, Answers, Context, Effect, Error, asks_nothing};

pub(super) const ACTION: Action = Action {
    name: "velero.io/apiservice",
    applies_to: &["apiservices.apiregistration.k8s.io"],
    questions: asks_nothing,
    apply,
};

const MANAGED: &str = "kube-aggregator.kubernetes.io/automanaged";

fn apply(item: &mut Value, _context: &Context<'_>, _answers: &Answers) -> Result<Effect, Error> {
    let managed = item.pointer("/metadata/labels").is_some_and(|labels| labels.get(MANAGED).is_some());
    Ok(if managed { Effect::skip("the API server manages it by itself") } else { Effect::default() })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::Verdict;
    use super::super::fixtures::run;
    use super::*;

    #[test]
    fn only_those_with_the_label_are_left_out() {
        let mut managed = json!({"metadata": {"labels": {MANAGED: "onstart"}}});
        let mut own = json!({"metadata": {"labels": {"app": "metrics"}}});
        assert!(matches!(run(&ACTION, &mut managed).unwrap().verdict, Verdict::Skip(_)));
        assert_eq!(run(&ACTION, &mut own).unwrap().verdict, Verdict::Restore);
    }
}
