//! Label selectors: as the text of a LIST request, and as a test of labels that are at hand.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement};

use super::Error;

/// Objects are selected when one of the selectors selects them; without any, all are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LabelFilter {
    selectors: Vec<Vec<Requirement>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Requirement {
    Equals(String, String),
    In(String, Vec<String>),
    NotIn(String, Vec<String>),
    Exists(String),
    Absent(String),
}

impl LabelFilter {
    /// A selector without any requirement selects everything, as Kubernetes has it.
    pub fn new(single: Option<&LabelSelector>, any_of: &[LabelSelector]) -> Result<Self, Error> {
        let selectors: Vec<_> =
            single.into_iter().chain(any_of).map(requirements).collect::<Result<_, _>>()?;
        if selectors.iter().any(Vec::is_empty) {
            return Ok(Self::default());
        }
        Ok(Self { selectors })
    }

    pub fn is_everything(&self) -> bool {
        self.selectors.is_empty()
    }

    pub fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        let selects =
            |selector: &Vec<Requirement>| selector.iter().all(|requirement| requirement.holds(labels));
        self.is_everything() || self.selectors.iter().any(selects)
    }

    /// One LIST request each: the `labelSelector` parameter, or None for all objects.
    pub fn queries(&self) -> Vec<Option<String>> {
        if self.is_everything() {
            return vec![None];
        }
        let query = |selector: &Vec<Requirement>| {
            Some(selector.iter().map(Requirement::query).collect::<Vec<_>>().join(","))
        };
        self.selectors.iter().map(query).collect()
    }
}

fn requirements(selector: &LabelSelector) -> Result<Vec<Requirement>, Error> {
    let LabelSelector { match_labels, match_expressions } = selector;
    let labels = match_labels.iter().flatten();
    let equals = labels.map(|(key, value)| Ok(Requirement::Equals(key.clone(), value.clone())));
    equals.chain(match_expressions.iter().flatten().map(Requirement::new)).collect()
}

impl Requirement {
    fn new(expression: &LabelSelectorRequirement) -> Result<Self, Error> {
        let LabelSelectorRequirement { key, operator, values } = expression;
        let (key, values) = (key.clone(), values.clone().unwrap_or_default());
        match operator.as_str() {
            "In" => Ok(Self::In(key, values)),
            "NotIn" => Ok(Self::NotIn(key, values)),
            "Exists" => Ok(Self::Exists(key)),
            "DoesNotExist" => Ok(Self::Absent(key)),
            other => Err(Error::Operator { key, operator: other.into() }),
        }
    }

    fn holds(&self, labels: &BTreeMap<String, String>) -> bool {
        match self {
            Self::Equals(key, value) => labels.get(key) == Some(value),
            Self::In(key, values) => labels.get(key).is_some_and(|value| values.contains(value)),
            Self::NotIn(key, values) => labels.get(key).is_none_or(|value| !values.contains(value)),
            Self::Exists(key) => labels.contains_key(key),
            Self::Absent(key) => !labels.contains_key(key),
        }
    }

    fn query(&self) -> String {
        match self {
            Self::Equals(key, value) => format!("{key}={value}"),
            Self::In(key, values) => format!("{key} in ({})", values.join(",")),
            Self::NotIn(key, values) => format!("{key} notin ({})", values.join(",")),
            Self::Exists(key) => key.clone(),
            Self::Absent(key) => format!("!{key}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use pretty_assertions::assert_eq;
    use serde_json::json;

    use super::*;

    fn filter(single: serde_json::Value, any_of: serde_json::Value) -> Result<LabelFilter, Error> {
        let single: Option<LabelSelector> = serde_json::from_value(single).unwrap();
        let any_of: Vec<LabelSelector> = serde_json::from_value(any_of).unwrap();
        LabelFilter::new(single.as_ref(), &any_of)
    }

    fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect()
    }

    #[test]
    fn every_operator_is_asked_for_and_tested_alike() {
        let filter = filter(
            json!({
                "matchLabels": {"tier": "front"},
                "matchExpressions": [
                    {"key": "zone", "operator": "In", "values": ["a", "b"]},
                    {"key": "kind", "operator": "NotIn", "values": ["tmp"]},
                    {"key": "owner", "operator": "Exists"},
                    {"key": "secret", "operator": "DoesNotExist"},
                ],
            }),
            json!([]),
        )
        .unwrap();
        assert_eq!(
            filter.queries(),
            [Some("tier=front,zone in (a,b),kind notin (tmp),owner,!secret".into())]
        );
        let good = [("tier", "front"), ("zone", "b"), ("owner", "")];
        assert!(filter.matches(&labels(&good)));
        for (key, value) in [("tier", "back"), ("zone", "c"), ("kind", "tmp"), ("secret", "")] {
            let mut changed = labels(&good);
            changed.insert(key.into(), value.into());
            assert!(!filter.matches(&changed), "{key}={value}");
        }
        assert!(!filter.matches(&labels(&good[..2])));
    }

    #[test]
    fn several_selectors_are_several_requests() {
        let filter =
            filter(json!(null), json!([{"matchLabels": {"a": "1"}}, {"matchLabels": {"b": "2"}}])).unwrap();
        assert_eq!(filter.queries(), [Some("a=1".into()), Some("b=2".into())]);
        assert!(filter.matches(&labels(&[("b", "2")])));
        assert!(!filter.matches(&labels(&[("b", "1")])));
    }

    #[test]
    fn an_empty_selector_is_as_good_as_none() {
        for filter in
            [filter(json!({}), json!([])), filter(json!(null), json!([{"matchLabels": {"a": "1"}}, {}]))]
        {
            let filter = filter.unwrap();
            assert!(filter.is_everything());
            assert_eq!(filter.queries(), [None]);
            assert!(filter.matches(&labels(&[])));
        }
    }

    #[test]
    fn an_unknown_operator_is_refused() {
        let expression = json!({"matchExpressions": [{"key": "a", "operator": "Like", "values": ["b"]}]});
        let expected = Error::Operator { key: "a".into(), operator: "Like".into() };
        assert_eq!(filter(expression, json!([])), Err(expected));
    }
}
