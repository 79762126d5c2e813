//! The reference of the policy language, as Markdown from the same schema that checks documents.

use std::collections::BTreeSet;
use std::fmt::Write;

use serde_json::{Map, Value};

use crate::model::shape::{GO_DURATION, POSITIVE_GO_DURATION};
use crate::model::{API_VERSION, Kind};

/// Every kind, and every field with its type, unit, default and example.
pub fn markdown() -> String {
    let mut definitions = super::definitions();
    super::examples::add(&mut definitions);
    let mut out = format!(
        "# Policy reference\n\n<!-- Generated from the types of `policy/src/model`: run `UPDATE=1 cargo test -p \
         holdfast-policy`. -->\n\nPolicies are YAML documents with `apiVersion: {API_VERSION}`. Unknown fields are \
         errors. Durations are Go durations (`90s`, `1h30m`, `720h`); there is no unit for days. All documents but \
         Defaults have `metadata`.\n"
    );
    let mut queue: Vec<String> = vec!["Metadata".to_owned()];
    let mut done = BTreeSet::new();
    for kind in Kind::ALL {
        section(kind.name(), &super::spec_name(kind), &definitions, &mut queue, &mut out);
        done.insert(super::spec_name(kind));
    }
    out.push_str("\n# Parts\n");
    while !queue.is_empty() {
        let name = queue.remove(0);
        if done.insert(name.clone()) {
            section(&name, &name, &definitions, &mut queue, &mut out);
        }
    }
    out
}

fn section(
    title: &str,
    definition: &str,
    definitions: &Map<String, Value>,
    queue: &mut Vec<String>,
    out: &mut String,
) {
    let schema = &definitions[definition];
    let mut line = |text: &str| writeln!(out, "{text}").expect("writing to a string doesn't fail");
    line(&format!("\n## {title}\n\n{}\n", prose(schema)));
    let required: Vec<&str> =
        schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    line("| field | type | unit | default | example | meaning |\n| --- | --- | --- | --- | --- | --- |");
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        let mut kind = String::new();
        type_of(field, definitions, queue, &mut kind);
        let default = match field.get("default") {
            Some(Value::Array(_) | Value::Object(_)) | None if required.contains(&name.as_str()) => {
                "**required**".to_owned()
            }
            Some(Value::Array(_) | Value::Object(_)) | None => String::new(),
            Some(Value::String(text)) => format!("`{text}`"),
            Some(other) => format!("`{other}`"),
        };
        let unit = unit(definition, name, field, definitions);
        let example = field["examples"][0].clone();
        let example = if example.is_null() { String::new() } else { format!("`{}`", flow(&example)) };
        line(&format!(
            "| `{name}` | {kind} | {unit} | {default} | {} | {} |",
            example.replace('|', "\\|"),
            prose(field)
        ));
    }
}

/// What a value is measured in.
fn unit(definition: &str, name: &str, field: &Value, definitions: &Map<String, Value>) -> String {
    if let Some(unit) = super::examples::unit(definition, name) {
        return unit.to_owned();
    }
    let target = field["$ref"].as_str().and_then(|reference| reference.strip_prefix("#/$defs/"));
    let field = target.map_or(field, |target| &definitions[target]);
    match field["format"].as_str() {
        Some(GO_DURATION | POSITIVE_GO_DURATION) => "`h`, `m`, `s`, `ms`".to_owned(),
        Some("date-time") => "RFC 3339".to_owned(),
        Some(_) | None => String::new(),
    }
}

/// A value as people write it on one line of YAML.
fn flow(value: &Value) -> String {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => value.to_string(),
        Value::String(text) => {
            let bare = text.starts_with(|first: char| first.is_ascii_alphanumeric() || first == '/')
                && !text.contains([':', '#', ',', '{', '}', '[', ']', '"', '\n'])
                && matches!(crate::yaml::from_str(text), Ok(Value::String(read)) if read == *text);
            if bare { text.clone() } else { value.to_string() }
        }
        Value::Array(items) => format!("[{}]", items.iter().map(flow).collect::<Vec<_>>().join(", ")),
        Value::Object(entries) => {
            let entries: Vec<String> = entries
                .iter()
                .map(|(key, value)| format!("{}: {}", flow(&Value::from(key.as_str())), flow(value)))
                .collect();
            format!("{{{}}}", entries.join(", "))
        }
    }
}

fn prose(schema: &Value) -> String {
    schema["description"].as_str().unwrap_or_default().replace('\n', " ")
}

/// The type in words; parts that have a section of their own are queued.
fn type_of(schema: &Value, definitions: &Map<String, Value>, queue: &mut Vec<String>, out: &mut String) {
    if let Some(name) = schema["$ref"].as_str().and_then(|reference| reference.strip_prefix("#/$defs/")) {
        let target = &definitions[name];
        if target.get("properties").is_some() {
            queue.push(name.to_owned());
            out.push_str(&format!("[{name}](#{})", name.to_lowercase()));
        } else {
            type_of(target, definitions, queue, out);
        }
        return;
    }
    if let Some(values) = schema["enum"].as_array() {
        let values: Vec<String> =
            values.iter().filter_map(Value::as_str).map(|value| format!("`{value}`")).collect();
        out.push_str(&values.join(", "));
        return;
    }
    let format = schema["format"].as_str();
    match schema["type"].as_str() {
        Some("array") => {
            out.push_str("list of ");
            type_of(&schema["items"], definitions, queue, out);
        }
        Some("object") if schema["additionalProperties"].is_object() => {
            out.push_str("mapping to ");
            type_of(&schema["additionalProperties"], definitions, queue, out);
        }
        Some("object") => out.push_str("mapping"),
        Some("string") if format == Some(GO_DURATION) => out.push_str("duration"),
        Some("string") if format == Some(POSITIVE_GO_DURATION) => out.push_str("duration above zero"),
        Some("string") if format == Some("date-time") => out.push_str("RFC 3339 time"),
        Some("string") => out.push_str("text"),
        Some("boolean") => out.push_str("true or false"),
        Some("integer") => out.push_str(&number(schema)),
        Some(_) => out.push_str("any value"),
        None if schema["type"].is_array() => out.push_str("name of a ConfigMap, or `{name: …}`"),
        None => out.push_str("any value"),
    }
}

fn number(schema: &Value) -> String {
    match (schema["minimum"].as_i64(), schema["maximum"].as_i64()) {
        (Some(low), Some(high)) => format!("number from {low} to {high}"),
        (Some(low), None) => format!("number from {low}"),
        (None, Some(high)) => format!("number up to {high}"),
        (None, None) => "number".to_owned(),
    }
}
