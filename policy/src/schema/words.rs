//! What is wrong with a value, in words, and what would be right.

use jsonschema::error::TypeKind;
use serde_json::Value;

use super::spelling;
use crate::parse::{Findings, Mark, Path, RawDocument, Step};
use crate::problem::{Rule, suggest};

pub(super) fn unknown_field(
    field: &str,
    known: &[String],
    parent: &Path,
    document: &RawDocument,
    findings: &mut Findings<'_>,
) {
    let path = parent.entry(field);
    let in_metadata = parent.steps().len() == 1 && parent.last_key() == Some("metadata");
    if in_metadata && field == "namespace" {
        let problem = findings.add_marked(
            document,
            &path,
            Mark::Key,
            Rule::UnknownField,
            "a policy document has no namespace: it is a file, not a cluster object",
        );
        problem.help = Some(
            "remove it; to bring policies into a cluster, put the files into a ConfigMap (kustomize: \
             configMapGenerator)"
                .to_owned(),
        );
        return;
    }
    let known_here = || known.iter().map(String::as_str);
    let meant = suggest::almost_same(field, known_here());
    let elsewhere = spelling::here_called(field);
    let (message, help) = match (meant, elsewhere, suggest::nearest(field, known_here())) {
        (Some(nearest), _, _) | (None, None, Some(nearest)) => {
            (format!("unknown field `{field}`: did you mean `{nearest}`?"), None)
        }
        (None, Some(here), _) => {
            (format!("unknown field `{field}`"), Some(format!("here it is called {}", quoted(here))))
        }
        (None, None, None) => {
            let mut known = known.to_vec();
            known.sort();
            let help = (!known.is_empty()).then(|| format!("known here: {}", known.join(", ")));
            (format!("unknown field `{field}`"), help)
        }
    };
    let problem = findings.add_marked(document, &path, Mark::Key, Rule::UnknownField, message);
    problem.help = help;
}

fn quoted(here: &str) -> String {
    if here.contains(' ') { here.to_owned() } else { format!("`{here}`") }
}

pub(super) fn wrong_type(
    kind: &TypeKind,
    instance: &Value,
    path: &Path,
    document: &RawDocument,
    findings: &mut Findings<'_>,
) {
    let expected = match kind {
        TypeKind::Single(one) => type_name(&one.to_string()).to_owned(),
        TypeKind::Multiple(several) => {
            let names: Vec<String> =
                several.iter().map(|one| type_name(&one.to_string()).to_owned()).collect();
            names.join(" or ")
        }
    };
    let name = name_of(path);
    let message = match instance {
        Value::Null => format!("{name} has no value: {expected} is expected"),
        other => format!("{name} must be {expected}, not {}", show_typed(other)),
    };
    let help = match (expected.as_str(), instance) {
        (_, Value::Null) => Some("remove the key, or give it a value".to_owned()),
        ("true or false", Value::String(text)) => boolean_help(text),
        ("text", Value::Number(_) | Value::Bool(_)) => Some(format!("put it in quotes: \"{instance}\"")),
        ("a list", Value::String(text)) => Some(format!("write a list: [{text}]")),
        _ => None,
    };
    let rule = if matches!(path.last_key(), Some("ttl")) { Rule::Duration } else { Rule::WrongType };
    let problem = findings.add(document, path, rule, message);
    problem.help = match (rule, instance) {
        (Rule::Duration, Value::Number(number)) => {
            Some(format!("durations have a unit: {number}h or {number}m"))
        }
        _ => help,
    };
}

pub(super) fn wrong_word(
    instance: &Value,
    known: &[&str],
    path: &Path,
    document: &RawDocument,
    findings: &mut Findings<'_>,
) {
    let list = known.join(", ");
    let nearest = instance.as_str().and_then(|text| suggest::nearest(text, known.iter().copied()));
    let message = match nearest {
        Some(nearest) => format!("{} is not allowed here: did you mean `{nearest}`?", show(instance)),
        None => format!("{} is not allowed here", show(instance)),
    };
    let problem = findings.add(document, path, Rule::WrongValue, message);
    problem.help = Some(format!("one of {list}"));
}

fn boolean_help(text: &str) -> Option<String> {
    match text.to_ascii_lowercase().as_str() {
        "yes" | "on" | "y" | "true" => {
            Some("write true, without quotes; yes and on are text in YAML 1.2".to_owned())
        }
        "no" | "off" | "n" | "false" => {
            Some("write false, without quotes; no and off are text in YAML 1.2".to_owned())
        }
        _ => None,
    }
}

pub(super) fn duration_help(text: &str) -> Option<String> {
    let number: String = text.chars().take_while(char::is_ascii_digit).collect();
    let count: i64 = number.parse().ok()?;
    match text[number.len()..].trim().to_ascii_lowercase().as_str() {
        "d" | "day" | "days" => Some(format!("there is no unit for days: write {}h", count.checked_mul(24)?)),
        "w" | "week" | "weeks" => {
            Some(format!("there is no unit for weeks: write {}h", count.checked_mul(168)?))
        }
        "" => Some(format!("write {count}h, {count}m or {count}s")),
        "hour" | "hours" | "hr" | "hrs" => Some(format!("write {count}h")),
        "min" | "mins" | "minute" | "minutes" => Some(format!("write {count}m")),
        "sec" | "secs" | "second" | "seconds" => Some(format!("write {count}s")),
        _ => None,
    }
}

fn type_name(name: &str) -> &str {
    match name {
        "array" => "a list",
        "object" => "a mapping",
        "string" => "text",
        "integer" => "a whole number",
        "number" => "a number",
        "boolean" => "true or false",
        "null" => "nothing",
        other => other,
    }
}

fn show_typed(value: &Value) -> String {
    match value {
        Value::Null => "nothing".to_owned(),
        Value::Bool(value) => format!("{value}"),
        Value::Number(number) => format!("the number {number}"),
        Value::String(text) => format!("the text {text:?}"),
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "a mapping".to_owned(),
    }
}

pub(super) fn show(value: &Value) -> String {
    match value {
        Value::String(text) => format!("{text:?}"),
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "a mapping".to_owned(),
        Value::Null | Value::Bool(_) | Value::Number(_) => value.to_string(),
    }
}

pub(super) fn name_of(path: &Path) -> String {
    match path.steps().last() {
        Some(Step::Key(key)) => format!("`{key}`"),
        Some(Step::Index(_)) => format!("an item of `{}`", path.last_key().unwrap_or_default()),
        None => "the document".to_owned(),
    }
}

pub(super) fn plural(count: u64) -> &'static str {
    if count == 1 { "" } else { "s" }
}
