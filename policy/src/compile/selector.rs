//! Label selectors in Kubernetes' own type.

use k8s_openapi::apimachinery::pkg::apis::meta::v1 as meta;

use crate::model::select::{LabelExpression, LabelOperator, LabelSelector};

/// None for a selector that selects everything.
pub(super) fn compile(selector: &LabelSelector) -> Option<meta::LabelSelector> {
    let LabelSelector { match_labels, match_expressions } = selector;
    if match_labels.is_empty() && match_expressions.is_empty() {
        return None;
    }
    let expressions: Vec<meta::LabelSelectorRequirement> = match_expressions.iter().map(expression).collect();
    Some(meta::LabelSelector {
        match_labels: (!match_labels.is_empty()).then(|| match_labels.clone()),
        match_expressions: (!expressions.is_empty()).then_some(expressions),
    })
}

fn expression(expression: &LabelExpression) -> meta::LabelSelectorRequirement {
    let LabelExpression { key, operator, values } = expression;
    let operator = match operator {
        LabelOperator::In => "In",
        LabelOperator::NotIn => "NotIn",
        LabelOperator::Exists => "Exists",
        LabelOperator::DoesNotExist => "DoesNotExist",
    };
    meta::LabelSelectorRequirement {
        key: key.clone(),
        operator: operator.to_owned(),
        values: (!values.is_empty()).then(|| values.clone()),
    }
}
