//! The ConfigMap's text to checked rules: strict, and every field of version v1.

use std::collections::BTreeMap;
use std::fmt;

use globset::{GlobBuilder, GlobMatcher};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use regex::Regex;
use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::conditions::{Conditions, GroupResourcePattern};
use super::json_patch::{Operation, Pointer};
use super::{Patches, Rule};
use crate::engine::select::LabelFilter;

#[derive(Debug, thiserror::Error)]
pub(crate) enum Invalid {
    #[error("it must have exactly one key, not {0}")]
    Keys(usize),
    #[error("it can't be read: {0}")]
    Yaml(serde_yaml::Error),
    #[error("version {0:?} is not v1")]
    Version(String),
    #[error("it has no rules")]
    NoRules,
    #[error("{}", in_words(.0))]
    Rules(Vec<Wrong>),
}

/// One thing that is wrong: `resourceModifierRules[1].patches[0].path`, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wrong {
    place: String,
    reason: String,
}

/// How many wrong places a message names; the rest are counted.
const NAMED_PLACES: usize = 20;

fn in_words(wrong: &[Wrong]) -> String {
    let named: Vec<String> =
        wrong.iter().take(NAMED_PLACES).map(|Wrong { place, reason }| format!("{place}: {reason}")).collect();
    match wrong.len().saturating_sub(NAMED_PLACES) {
        0 => named.join("; "),
        more => format!("{} and {more} more", named.join("; ")),
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Document {
    version: String,
    #[serde(default)]
    resource_modifier_rules: Vec<RawRule>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RawRule {
    conditions: RawConditions,
    #[serde(default)]
    patches: Vec<RawPatch>,
    #[serde(default)]
    merge_patches: Vec<PatchData>,
    #[serde(default)]
    strategic_patches: Vec<PatchData>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RawConditions {
    #[serde(default)]
    group_resource: Text,
    #[serde(default)]
    resource_name_regex: Text,
    #[serde(default)]
    namespaces: Vec<Text>,
    label_selector: Option<LabelSelector>,
    #[serde(default)]
    matches: Vec<RawMatch>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawMatch {
    path: Text,
    #[serde(default)]
    value: Text,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawPatch {
    operation: Text,
    #[serde(default)]
    from: Text,
    #[serde(default)]
    path: Text,
    #[serde(default)]
    value: Text,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct PatchData {
    patch_data: Text,
}

/// Text, and nothing else that YAML knows, as Velero has it: a number or a flag has to be quoted.
#[derive(Debug, Default)]
struct Text(String);

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextVisitor;
        impl Visitor<'_> for TextVisitor {
            type Value = Text;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("text, in quotes where it looks like something else")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Text, E> {
                Ok(Text(text.to_owned()))
            }

            fn visit_unit<E: de::Error>(self) -> Result<Text, E> {
                Ok(Text::default())
            }
        }
        deserializer.deserialize_any(TextVisitor)
    }
}

pub(super) fn parse(data: &BTreeMap<String, String>) -> Result<Vec<Rule>, Invalid> {
    let mut values = data.values();
    let (Some(text), None) = (values.next(), values.next()) else { return Err(Invalid::Keys(data.len())) };
    let document: Document = serde_yaml::from_str(text).map_err(Invalid::Yaml)?;
    if !document.version.eq_ignore_ascii_case("v1") {
        return Err(Invalid::Version(document.version));
    }
    if document.resource_modifier_rules.is_empty() {
        return Err(Invalid::NoRules);
    }
    let mut wrong = Vec::new();
    let mut rules = Vec::new();
    for (at, raw) in document.resource_modifier_rules.into_iter().enumerate() {
        let mut place = At { place: format!("resourceModifierRules[{at}]"), wrong: &mut wrong };
        rules.extend(rule(raw, &mut place));
    }
    if wrong.is_empty() { Ok(rules) } else { Err(Invalid::Rules(wrong)) }
}

/// Where in the document the reader is, and what was wrong so far.
struct At<'a> {
    place: String,
    wrong: &'a mut Vec<Wrong>,
}

impl At<'_> {
    fn below(&mut self, key: &str) -> At<'_> {
        At { place: format!("{}.{key}", self.place), wrong: self.wrong }
    }

    /// The value, or nothing and a note of what is wrong with it.
    fn note<T>(&mut self, result: Result<T, impl ToString>) -> Option<T> {
        result
            .map_err(|reason| {
                self.wrong.push(Wrong { place: self.place.clone(), reason: reason.to_string() })
            })
            .ok()
    }

    /// Every element of a list, if all of them are right; the others are noted.
    fn each<T, U>(
        &mut self,
        key: &str,
        list: Vec<T>,
        mut read: impl FnMut(T, &mut At<'_>) -> Option<U>,
    ) -> Option<Vec<U>> {
        // All are read before the first that is wrong ends it.
        let read: Vec<Option<U>> = list
            .into_iter()
            .enumerate()
            .map(|(at, element)| read(element, &mut self.below(&format!("{key}[{at}]"))))
            .collect();
        read.into_iter().collect()
    }
}

fn rule(raw: RawRule, at: &mut At<'_>) -> Option<Rule> {
    let RawRule { conditions: raw_conditions, patches, merge_patches, strategic_patches } = raw;
    let conditions = conditions(raw_conditions, &mut at.below("conditions"));
    let patches = match (patches.is_empty(), merge_patches.is_empty(), strategic_patches.is_empty()) {
        (false, true, true) => at.each("patches", patches, operation).map(Patches::Json),
        (true, false, true) => at.each("mergePatches", merge_patches, document).map(Patches::Merge),
        (true, true, false) => {
            at.each("strategicPatches", strategic_patches, document).map(Patches::Strategic)
        }
        (true, true, true) => at.note(Err("it has no patch")),
        (false, false, _) | (false, _, false) | (_, false, false) => {
            at.note(Err("it has more than one of patches, mergePatches and strategicPatches"))
        }
    };
    Some(Rule { conditions: conditions?, patches: patches? })
}

fn conditions(raw: RawConditions, at: &mut At<'_>) -> Option<Conditions> {
    let RawConditions {
        group_resource: Text(group_resource),
        resource_name_regex: Text(resource_name_regex),
        namespaces,
        label_selector,
        matches,
    } = raw;
    let pattern = match group_resource.as_str() {
        "" => Err("it is empty: name a resource with its group, as in deployments.apps".to_owned()),
        text => GroupResourcePattern::parse(text).map_err(|error| error.to_string()),
    };
    let group_resource = at.below("groupResource").note(pattern);
    let name = (!resource_name_regex.is_empty()).then(|| Regex::new(&resource_name_regex)).transpose();
    let name = at.below("resourceNameRegex").note(name);
    let namespaces = at.each("namespaces", namespaces, |Text(pattern), at| at.note(glob(&pattern)));
    let labels = at.below("labelSelector").note(LabelFilter::new(label_selector.as_ref(), &[]));
    let matches = at.each("matches", matches, |RawMatch { path: Text(path), value: Text(text) }, at| {
        let path = at.below("path").note(pointer(&path));
        let value = at.below("value").note(value(&text));
        Some((path?, value?))
    });
    Some(Conditions {
        group_resource: group_resource?,
        name: name?,
        namespaces: namespaces?,
        labels: labels?,
        matches: matches?,
    })
}

fn glob(pattern: &str) -> Result<GlobMatcher, globset::Error> {
    let glob = GlobBuilder::new(pattern).literal_separator(false).backslash_escape(true).build()?;
    Ok(glob.compile_matcher())
}

fn operation(raw: RawPatch, at: &mut At<'_>) -> Option<Operation> {
    let RawPatch { operation: Text(operation), from: Text(from), path: Text(path), value: Text(text) } = raw;
    let path = at.below("path").note(pointer(&path));
    let mut given = || at.below("value").note(value(&text));
    match operation.to_lowercase().as_str() {
        "add" => {
            let value = given();
            Some(Operation::Add { path: path?, value: value? })
        }
        "replace" => {
            let value = given();
            Some(Operation::Replace { path: path?, value: value? })
        }
        "test" => {
            let value = given();
            Some(Operation::Test { path: path?, value: value? })
        }
        "remove" => Some(Operation::Remove { path: path? }),
        "move" => {
            let from = at.below("from").note(pointer(&from));
            Some(Operation::Move { from: from?, path: path? })
        }
        "copy" => {
            let from = at.below("from").note(pointer(&from));
            Some(Operation::Copy { from: from?, path: path? })
        }
        other => {
            let reason = format!("{other:?} is none of add, remove, replace, move, copy and test");
            at.below("operation").note(Err(reason))
        }
    }
}

fn pointer(path: &str) -> Result<Pointer, String> {
    if path.is_empty() {
        return Err("it is empty".to_owned());
    }
    Pointer::parse(path).ok_or_else(|| format!("{path:?} does not start with a slash"))
}

/// Values are text; what they look like decides their type. Text in quotes stays text.
fn value(text: &str) -> Result<Value, String> {
    let broken = |error: serde_json::Error| {
        format!("{text:?} looks like JSON and is none ({error}): double quotes around it make it text")
    };
    if let Some(quoted) = text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
        return Ok(Value::String(quoted.to_owned()));
    }
    let literal = matches!(text, "null") || matches!(text.to_lowercase().as_str(), "true" | "false");
    if literal || text.starts_with(['{', '[']) {
        return serde_json::from_str(&if literal { text.to_lowercase() } else { text.to_owned() })
            .map_err(broken);
    }
    match text.parse::<f64>() {
        Ok(number) if number.is_finite() => serde_json::from_str(text).map_err(broken),
        _ => Ok(Value::String(text.to_owned())),
    }
}

fn document(patch: PatchData, at: &mut At<'_>) -> Option<Value> {
    let mut at = at.below("patchData");
    let document: Value = at.note(serde_yaml::from_str(&patch.patch_data.0))?;
    at.note(if document.is_object() { Ok(document) } else { Err("it is no mapping") })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn parsed(text: &str) -> Result<Vec<Rule>, Invalid> {
        parse(&BTreeMap::from([("rules.yaml".to_owned(), text.to_owned())]))
    }

    #[test]
    fn values_get_the_type_that_they_look_like() {
        let table = [
            ("", json!("")),
            ("\"7\"", json!("7")),
            ("7", json!(7)),
            ("1.5", json!(1.5)),
            ("null", Value::Null),
            ("true", json!(true)),
            ("True", json!(true)),
            ("{\"a\": 1}", json!({"a": 1})),
            ("[1]", json!([1])),
            ("premium", json!("premium")),
            ("it's \"quoted\"", json!("it's \"quoted\"")),
            ("nan", json!("nan")),
        ];
        for (text, expected) in table {
            assert_eq!(value(text), Ok(expected), "{text}");
        }
        assert!(value("{broken").is_err());
    }

    #[test]
    fn wrong_documents_are_refused() {
        let rule = "resourceModifierRules:\n- conditions: {groupResource: pods}\n";
        let cases = [
            "version: v2\n".to_owned() + rule + "  patches: [{operation: remove, path: /a}]",
            "version: v1".to_owned(),
            "version: v1\n".to_owned() + rule,
            "version: v1\n".to_owned() + rule + "  patches: [{operation: delete, path: /a}]",
            "version: v1\n".to_owned() + rule + "  patches: [{operation: remove}]",
            "version: v1\n".to_owned() + rule + "  patches: [{operation: remove, path: /a}]\n  mergePatches: [{patchData: '{}'}]",
            "version: v1\n".to_owned() + rule + "  mergePatches: [{patchData: 'text'}]",
            "version: v1\n".to_owned() + rule + "  unknown: 1\n  patches: [{operation: remove, path: /a}]",
            "version: v1\nresourceModifierRules:\n- conditions: {}\n  patches: [{operation: remove, path: /a}]".to_owned(),
            "version: v1\nresourceModifierRules:\n- conditions: {groupResource: pods, resourceNameRegex: '['}\n  patches: [{operation: remove, path: /a}]".to_owned(),
        ];
        for case in cases {
            assert!(parsed(&case).is_err(), "{case}");
        }
        assert!(matches!(parse(&BTreeMap::new()), Err(Invalid::Keys(0))));
    }

    #[test]
    fn every_wrong_place_is_told_at_once() {
        let text = "\
version: v1
resourceModifierRules:
- conditions: {groupResource: pods, matches: [{path: spec, value: '{'}]}
  patches:
  - {operation: move, path: /a, from: b}
  - {operation: delete, path: ''}
- conditions: {groupResource: '', namespaces: [ok, '[a'], labelSelector: {matchExpressions: [{key: a, operator: Near}]}}
  mergePatches: [{patchData: '{}'}, {patchData: 'text'}]
- conditions: {groupResource: pods}
";
        let Err(Invalid::Rules(wrong)) = parsed(text) else { panic!("it is wrong") };
        let places: Vec<&str> = wrong.iter().map(|wrong| wrong.place.as_str()).collect();
        assert_eq!(
            places,
            [
                "resourceModifierRules[0].conditions.matches[0].path",
                "resourceModifierRules[0].conditions.matches[0].value",
                "resourceModifierRules[0].patches[0].from",
                "resourceModifierRules[0].patches[1].path",
                "resourceModifierRules[0].patches[1].operation",
                "resourceModifierRules[1].conditions.groupResource",
                "resourceModifierRules[1].conditions.namespaces[1]",
                "resourceModifierRules[1].conditions.labelSelector",
                "resourceModifierRules[1].mergePatches[1].patchData",
                "resourceModifierRules[2]",
            ]
        );
    }

    #[test]
    fn what_is_no_text_or_no_field_is_told_with_its_place() {
        let rule = |patch: &str| {
            let text = format!(
                "version: v1\nresourceModifierRules:\n- conditions: {{groupResource: pods}}\n  patches: [{patch}]\n"
            );
            parsed(&text).unwrap_err().to_string()
        };
        let number = rule("{operation: add, path: /a, value: 2}");
        assert!(
            number.contains("resourceModifierRules[0].patches[0].value: invalid type: integer `2`"),
            "{number}"
        );
        let twice = rule("{operation: add, path: /a, path: /b}");
        assert!(twice.contains("duplicate field `path`"), "{twice}");
        let unknown = rule("{op: add, path: /a}");
        assert!(unknown.contains("resourceModifierRules[0].patches[0]: unknown field `op`"), "{unknown}");
    }

    #[test]
    fn what_looks_like_a_number_and_is_none_is_told() {
        for text in ["007", "+5", "5."] {
            let reason = value(text).unwrap_err();
            assert!(reason.contains("double quotes"), "{reason}");
        }
    }

    #[test]
    fn version_and_operations_are_read_in_any_case() {
        let text = "version: V1\nresourceModifierRules:\n- conditions: {groupResource: pods}\n  patches: [{operation: Remove, path: /a}]";
        assert_eq!(parsed(text).unwrap().len(), 1);
    }
}
