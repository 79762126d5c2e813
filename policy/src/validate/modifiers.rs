//! Velero's resource modifier rules.

use super::labels;
use crate::model::modifiers::{JsonPatch, ModifierRule, PatchData, PatchOperation};
use crate::parse::{Findings, Path, RawDocument};
use crate::problem::Rule;

/// Groups whose types Velero can patch strategically.
const STRATEGIC_GROUPS: [&str; 6] =
    ["", "apps", "batch", "snapshot.storage.k8s.io", "groupsnapshot.storage.k8s.io", "velero.io"];

pub(super) fn check(rules: &[ModifierRule], path: &Path, raw: &RawDocument, findings: &mut Findings<'_>) {
    for (index, rule) in rules.iter().enumerate() {
        let at = path.index(index);
        conditions(rule, &at.key("conditions"), raw, findings);
        let given: Vec<&'static str> = [
            ("patches", rule.patches.is_empty()),
            ("mergePatches", rule.merge_patches.is_empty()),
            ("strategicPatches", rule.strategic_patches.is_empty()),
        ]
        .into_iter()
        .filter(|(_, empty)| !empty)
        .map(|(key, _)| key)
        .collect();
        match given.as_slice() {
            [] => {
                let message = "a rule needs one of `patches`, `mergePatches` and `strategicPatches`";
                findings.add(raw, &at, Rule::ModifierRule, message);
            }
            [_] => {}
            [first, second, ..] => {
                let message = format!("`{first}` and `{second}` exclude each other in one rule");
                findings.add(raw, &at.key(second), Rule::Exclusive, message).help =
                    Some("make two rules of it".to_owned());
            }
        }
        for (position, patch) in rule.patches.iter().enumerate() {
            json_patch(patch, &at.key("patches").index(position), raw, findings);
        }
        for (key, patches) in
            [("mergePatches", &rule.merge_patches), ("strategicPatches", &rule.strategic_patches)]
        {
            for (position, patch) in patches.iter().enumerate() {
                patch_data(patch, &at.key(key).index(position).key("patchData"), raw, findings);
            }
        }
        let group = rule.conditions.group_resource.split_once('.').map_or("", |(_, group)| group);
        if !rule.strategic_patches.is_empty()
            && !group.contains(['*', '?'])
            && !STRATEGIC_GROUPS.contains(&group)
        {
            let message = format!("Velero has no strategic patches for the group `{group}`");
            findings.add(raw, &at.key("strategicPatches"), Rule::ModifierRule, message).help =
                Some("use mergePatches".to_owned());
        }
    }
}

fn conditions(rule: &ModifierRule, path: &Path, raw: &RawDocument, findings: &mut Findings<'_>) {
    let conditions = &rule.conditions;
    if let Some(text) = &conditions.resource_name_regex
        && let Err(error) = regex::Regex::new(text)
    {
        let reason = error.to_string();
        let last = reason.lines().last().unwrap_or_default().trim_start_matches("error: ");
        let message = format!("{text:?} is no regular expression: {last}");
        findings.add(raw, &path.key("resourceNameRegex"), Rule::ModifierRule, message);
    }
    if conditions.group_resource.contains('/') || conditions.group_resource.chars().any(char::is_uppercase) {
        let message = format!("`{}` is not resource.group", conditions.group_resource);
        findings.add(raw, &path.key("groupResource"), Rule::ModifierRule, message).help =
            Some("write the plural with its group, as in deployments.apps, or pods".to_owned());
    }
    if let Some(selector) = &conditions.label_selector {
        labels::check_selector(selector, &path.key("labelSelector"), raw, findings);
    }
    for (index, value_match) in conditions.matches.iter().enumerate() {
        let at = path.key("matches").index(index);
        pointer(&value_match.path, &at.key("path"), raw, findings);
    }
}

fn json_patch(patch: &JsonPatch, path: &Path, raw: &RawDocument, findings: &mut Findings<'_>) {
    let needs_from = matches!(patch.operation, PatchOperation::Move | PatchOperation::Copy);
    match (&patch.from, needs_from) {
        (None, true) => {
            findings.add(raw, path, Rule::ModifierRule, "move and copy need `from`");
        }
        (Some(_), false) => {
            findings.add(raw, &path.key("from"), Rule::ModifierRule, "`from` is for move and copy only");
        }
        (Some(from), true) => pointer(from, &path.key("from"), raw, findings),
        (None, false) => {}
    }
    pointer(&patch.path, &path.key("path"), raw, findings);
    let needs_value =
        matches!(patch.operation, PatchOperation::Add | PatchOperation::Replace | PatchOperation::Test);
    match &patch.value {
        None if needs_value => {
            findings.add(raw, path, Rule::ModifierRule, "add, replace and test need `value`");
        }
        Some(value) if value.starts_with(['{', '[']) => {
            if let Err(error) = serde_json::from_str::<serde_json::Value>(value) {
                let message = format!("`value` starts like JSON, but is none: {error}");
                findings.add(raw, &path.key("value"), Rule::ModifierRule, message);
            }
        }
        Some(value) if matches!(value.as_str(), "True" | "TRUE" | "False" | "FALSE") => {
            let message =
                format!("{value:?} would become JSON as it stands: write {:?}", value.to_lowercase());
            findings.add(raw, &path.key("value"), Rule::ModifierRule, message);
        }
        Some(_) | None => {}
    }
}

fn patch_data(patch: &PatchData, path: &Path, raw: &RawDocument, findings: &mut Findings<'_>) {
    match crate::yaml::from_str::<serde_json::Value>(&patch.patch_data) {
        Ok(serde_json::Value::Object(_)) => {}
        Ok(_) => {
            findings.add(raw, path, Rule::ModifierRule, "the patch is no mapping");
        }
        Err(error) => {
            findings.add(raw, path, Rule::ModifierRule, format!("the patch is no YAML: {error}"));
        }
    }
}

fn pointer(text: &str, path: &Path, raw: &RawDocument, findings: &mut Findings<'_>) {
    if !text.starts_with('/') {
        let message = format!("{text:?} is no JSON pointer: it starts with a `/`, as in /spec/replicas");
        findings.add(raw, path, Rule::ModifierRule, message);
    }
}
