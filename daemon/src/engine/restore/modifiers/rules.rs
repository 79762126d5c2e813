//! The ConfigMap's text to checked rules: strict, and every field of version v1.

use std::collections::BTreeMap;

use globset::{GlobBuilder, GlobMatcher};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use regex::Regex;
use serde::Deserialize;
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
    #[error("rule {rule}: {reason}")]
    Rule { rule: usize, reason: String },
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
    group_resource: String,
    #[serde(default)]
    resource_name_regex: String,
    #[serde(default)]
    namespaces: Vec<String>,
    label_selector: Option<LabelSelector>,
    #[serde(default)]
    matches: Vec<RawMatch>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawMatch {
    path: String,
    #[serde(default)]
    value: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawPatch {
    operation: String,
    #[serde(default)]
    from: String,
    #[serde(default)]
    path: String,
    #[serde(default)]
    value: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct PatchData {
    patch_data: String,
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
    document
        .resource_modifier_rules
        .into_iter()
        .enumerate()
        .map(|(at, raw)| rule(raw).map_err(|reason| Invalid::Rule { rule: at + 1, reason }))
        .collect()
}

fn rule(raw: RawRule) -> Result<Rule, String> {
    let RawRule { conditions: raw_conditions, patches, merge_patches, strategic_patches } = raw;
    let patches = match (patches.is_empty(), merge_patches.is_empty(), strategic_patches.is_empty()) {
        (false, true, true) => Patches::Json(patches.into_iter().map(operation).collect::<Result<_, _>>()?),
        (true, false, true) => Patches::Merge(documents(&merge_patches)?),
        (true, true, false) => Patches::Strategic(documents(&strategic_patches)?),
        (true, true, true) => return Err("it has no patch".to_owned()),
        (false, false, _) | (false, _, false) | (_, false, false) => {
            return Err("it has more than one of patches, mergePatches and strategicPatches".to_owned());
        }
    };
    Ok(Rule { conditions: conditions(raw_conditions)?, patches })
}

fn conditions(raw: RawConditions) -> Result<Conditions, String> {
    let RawConditions { group_resource, resource_name_regex, namespaces, label_selector, matches } = raw;
    if group_resource.is_empty() {
        return Err("groupResource is empty".to_owned());
    }
    let name = (!resource_name_regex.is_empty())
        .then(|| Regex::new(&resource_name_regex))
        .transpose()
        .map_err(|error| format!("resourceNameRegex {resource_name_regex:?}: {error}"))?;
    let labels = LabelFilter::new(label_selector.as_ref(), &[]).map_err(|error| error.to_string())?;
    Ok(Conditions {
        group_resource: GroupResourcePattern::parse(&group_resource).map_err(|error| error.to_string())?,
        name,
        namespaces: namespaces.iter().map(|namespace| glob(namespace)).collect::<Result<_, _>>()?,
        labels,
        matches: matches
            .into_iter()
            .map(|raw| Ok((pointer(&raw.path)?, value(&raw.value)?)))
            .collect::<Result<_, String>>()?,
    })
}

fn glob(pattern: &str) -> Result<GlobMatcher, String> {
    let glob = GlobBuilder::new(pattern).literal_separator(false).backslash_escape(true).build();
    glob.map(|glob| glob.compile_matcher()).map_err(|error| error.to_string())
}

fn operation(raw: RawPatch) -> Result<Operation, String> {
    let RawPatch { operation, from, path: text, value: raw_value } = raw;
    let path = pointer(&text)?;
    Ok(match operation.to_lowercase().as_str() {
        "add" => Operation::Add { path, value: value(&raw_value)? },
        "remove" => Operation::Remove { path },
        "replace" => Operation::Replace { path, value: value(&raw_value)? },
        "move" => Operation::Move { from: pointer(&from)?, path },
        "copy" => Operation::Copy { from: pointer(&from)?, path },
        "test" => Operation::Test { path, value: value(&raw_value)? },
        other => {
            return Err(format!("operation {other:?} is none of add, remove, replace, move, copy and test"));
        }
    })
}

fn pointer(path: &str) -> Result<Pointer, String> {
    if path.is_empty() {
        return Err("a path is empty".to_owned());
    }
    Pointer::parse(path).ok_or_else(|| format!("path {path:?} does not start with a slash"))
}

/// Values are text; what they look like decides their type. Text in quotes stays text.
fn value(text: &str) -> Result<Value, String> {
    let broken = |error: serde_json::Error| format!("value {text:?} is not JSON: {error}");
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

fn documents(patches: &[PatchData]) -> Result<Vec<Value>, String> {
    patches
        .iter()
        .map(|patch| {
            let document: Value =
                serde_yaml::from_str(&patch.patch_data).map_err(|error| format!("patchData: {error}"))?;
            if document.is_object() { Ok(document) } else { Err("patchData is not an object".to_owned()) }
        })
        .collect()
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
    fn version_and_operations_are_read_in_any_case() {
        let text = "version: V1\nresourceModifierRules:\n- conditions: {groupResource: pods}\n  patches: [{operation: Remove, path: /a}]";
        assert_eq!(parsed(text).unwrap().len(), 1);
    }
}
