//! What is left of a document without the parts that the schema refuses, so that what it says otherwise is checked too.
//!
//! In: a document that breaks the schema. Out: one that keeps to it, and which parts it lacks. The set stays refused.

use jsonschema::error::ValidationErrorKind;
use jsonschema::{ValidationError, Validator};
use serde_json::{Value, json};

use super::check::path_of;
use crate::parse::{Path, RawDocument, Removed, Step};

/// Rounds of leaving out: each goes one level up at least, and YAML is read to a depth of 64.
const MOST_ROUNDS: usize = 70;

/// Fields that a spec can't be read without and that little else depends on.
const STAND_INS: [&str; 3] = ["run", "clusters", "from"];

fn stand_in(field: &str) -> Value {
    match field {
        "clusters" => json!(["unnamed"]),
        "from" => json!({"backup": "unnamed"}),
        _ => json!("once"),
    }
}

/// None where nothing is left that means anything.
pub(super) fn remainder(
    validator: &Validator,
    document: &RawDocument,
    mut value: Value,
) -> Option<(RawDocument, Value)> {
    let mut removed = Removed::default();
    stand_in_name(validator, document, &mut value, &mut removed);
    for _ in 0..MOST_ROUNDS {
        let mut parts: Vec<Path> =
            validator.iter_errors(&value).flat_map(|error| refused(&error, &value)).collect();
        if parts.is_empty() {
            return Some((document.without(removed), value));
        }
        // Later items of a list first, and what is inside before what it stands in: the other paths stay true.
        parts.sort_by(|one, other| order(other.steps(), one.steps()));
        parts.dedup();
        for part in parts {
            let of_spec = part.parent() == Path::spec();
            let field = STAND_INS.into_iter().find(|field| of_spec && part.last_key() == Some(*field));
            if let Some(field) = field {
                value["spec"][field] = stand_in(field);
                removed.replaced(part);
            } else if remove(&mut value, part.steps())? {
                removed.note(part);
            }
        }
    }
    None
}

/// A document is checked on under another name where its own can't be used.
fn stand_in_name(validator: &Validator, document: &RawDocument, value: &mut Value, removed: &mut Removed) {
    let name = Path::root().key("metadata").key("name");
    let wrong = validator.iter_errors(value).any(|error| {
        let path = path_of(error.instance_path().to_string().as_str(), value);
        let missing = matches!(error.kind(), ValidationErrorKind::Required { property }
            if (path == name.parent() && property == "name") || (path == Path::root() && property == "metadata"));
        missing || path == name || path == name.parent() && !value["metadata"].is_object()
    });
    if !wrong {
        return;
    }
    let (file, start) = document.start();
    let other = json!(format!("unnamed-{file}-{start}"));
    match value.get_mut("metadata").and_then(Value::as_object_mut) {
        Some(metadata) => {
            metadata.insert("name".to_owned(), other);
        }
        None => value["metadata"] = json!({ "name": other }),
    }
    removed.replaced(name);
}

fn refused(error: &ValidationError<'_>, value: &Value) -> Vec<Path> {
    let path = path_of(error.instance_path().to_string().as_str(), value);
    match error.kind() {
        ValidationErrorKind::AdditionalProperties { unexpected } => {
            unexpected.iter().map(|field| path.entry(field)).collect()
        }
        ValidationErrorKind::Required { property } if path == Path::spec() => {
            let field = property.as_str().unwrap_or_default();
            vec![if STAND_INS.contains(&field) { path.entry(field) } else { path }]
        }
        _ => vec![path],
    }
}

fn order(one: &[Step], other: &[Step]) -> std::cmp::Ordering {
    let key = |step: &Step| match step {
        Step::Key(key) => (key.to_string(), 0),
        Step::Index(index) => (String::new(), *index),
    };
    one.iter().map(key).cmp(other.iter().map(key))
}

/// Tells whether it was there; none where it is the whole.
fn remove(value: &mut Value, part: &[Step]) -> Option<bool> {
    let (last, parent) = part.split_last()?;
    let mut current = value;
    for step in parent {
        let next = match step {
            Step::Key(key) => current.get_mut(key.as_ref()),
            Step::Index(index) => current.get_mut(*index),
        };
        let Some(next) = next else { return Some(false) };
        current = next;
    }
    let gone = match (last, current) {
        (Step::Key(key), Value::Object(fields)) => fields.remove(key.as_ref()).is_some(),
        (Step::Index(index), Value::Array(items)) if *index < items.len() => {
            items.remove(*index);
            true
        }
        _ => false,
    };
    Some(gone)
}
