//! The JSON Schema of policy documents, draft 2020-12, and the check against it.
//!
//! In: the types of `model`. Out: one schema for editors and other tools, and the same schema as a check whose
//! findings carry positions. What no schema can say is left to `validate`.

mod check;
mod examples;
mod formats;
mod reference;
mod remainder;
mod spelling;
mod words;

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, SchemaGenerator};
use serde_json::{Map, Value, json};

pub use check::{Checked, Checker};
pub use reference::markdown;

use crate::model::{
    API_VERSION, BackupPolicySpec, DefaultsSpec, Kind, Metadata, PolicyTestSpec, RestorePolicySpec,
    SnapshotLocationSpec, StorageLocationSpec,
};

/// The schema of every kind of document.
pub fn json_schema() -> Value {
    let mut definitions = definitions();
    examples::add(&mut definitions);
    for kind in Kind::ALL {
        definitions.insert(kind.name().to_owned(), document(kind));
    }
    let kinds: Vec<&str> = Kind::ALL.into_iter().map(Kind::name).collect();
    let branches: Vec<Value> = kinds
        .iter()
        .map(|kind| {
            json!({
                "if": { "properties": { "kind": { "const": kind } }, "required": ["kind"] },
                "then": { "$ref": format!("#/$defs/{kind}") },
            })
        })
        .collect();
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "https://holdfast.dev/schemas/policy.schema.json",
        "title": "Holdfast policy document",
        "description": "A document of a Holdfast policy source.",
        "type": "object",
        "required": ["apiVersion", "kind"],
        "properties": {
            "apiVersion": { "const": API_VERSION },
            "kind": { "enum": kinds },
        },
        "allOf": branches,
        "$defs": definitions,
    })
}

/// The schema of one kind of document, complete in itself.
fn kind_schema(kind: Kind, definitions: &Map<String, Value>) -> Value {
    let mut schema = document(kind);
    schema["$schema"] = json!("https://json-schema.org/draft/2020-12/schema");
    schema["$defs"] = Value::Object(definitions.clone());
    schema
}

fn document(kind: Kind) -> Value {
    let spec = spec_name(kind);
    let required: &[&str] = match kind {
        Kind::Defaults => &["apiVersion", "kind", "spec"],
        Kind::StorageLocation
        | Kind::SnapshotLocation
        | Kind::BackupPolicy
        | Kind::RestorePolicy
        | Kind::PolicyTest => &["apiVersion", "kind", "metadata", "spec"],
    };
    json!({
        "type": "object",
        "required": required,
        "additionalProperties": false,
        "properties": {
            "apiVersion": { "const": API_VERSION },
            "kind": { "const": kind.name() },
            "metadata": { "$ref": "#/$defs/Metadata" },
            "spec": { "$ref": format!("#/$defs/{spec}") },
        },
    })
}

fn spec_name(kind: Kind) -> String {
    match kind {
        Kind::Defaults => DefaultsSpec::schema_name(),
        Kind::StorageLocation => StorageLocationSpec::schema_name(),
        Kind::SnapshotLocation => SnapshotLocationSpec::schema_name(),
        Kind::BackupPolicy => BackupPolicySpec::schema_name(),
        Kind::RestorePolicy => RestorePolicySpec::schema_name(),
        Kind::PolicyTest => PolicyTestSpec::schema_name(),
    }
    .into_owned()
}

fn definitions() -> Map<String, Value> {
    let mut generator: SchemaGenerator = SchemaSettings::draft2020_12().into_generator();
    generator.subschema_for::<Metadata>();
    generator.subschema_for::<DefaultsSpec>();
    generator.subschema_for::<StorageLocationSpec>();
    generator.subschema_for::<SnapshotLocationSpec>();
    generator.subschema_for::<BackupPolicySpec>();
    generator.subschema_for::<RestorePolicySpec>();
    generator.subschema_for::<PolicyTestSpec>();
    let mut definitions = generator.take_definitions(true);
    definitions.values_mut().for_each(tidy);
    definitions
}

/// A field that may be missing may not therefore be null: a key without a value is a slip. Formats of Rust's
/// number types mean nothing to others.
fn tidy(schema: &mut Value) {
    match schema {
        Value::Object(object) => {
            if let Some(Value::Array(types)) = object.get_mut("type") {
                types.retain(|name| name != "null");
                if let [only] = types.as_slice() {
                    let only = only.clone();
                    object.insert("type".to_owned(), only);
                }
            }
            let choices = object.get("anyOf").and_then(Value::as_array).cloned();
            if let Some([one, null]) = choices.as_deref()
                && null == &json!({ "type": "null" })
                && let Value::Object(one) = one.clone()
            {
                object.remove("anyOf");
                object.extend(one);
            }
            if let Some(Value::String(format)) = object.get("format")
                && matches!(format.as_str(), "int32" | "int64" | "uint32" | "uint64")
            {
                object.remove("format");
            }
            if object.get("default") == Some(&Value::Null)
                || object.get("default").is_some_and(|default| default == &json!({}))
            {
                object.remove("default");
            }
            object.values_mut().for_each(tidy);
        }
        Value::Array(items) => items.iter_mut().for_each(tidy),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assert_committed(path: &str, generated: &str) {
        let path = format!("{}/../{path}", env!("CARGO_MANIFEST_DIR"));
        if std::env::var_os("UPDATE").is_some() {
            std::fs::write(&path, generated).unwrap();
        }
        let committed = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(committed == generated, "{path} is stale: run the tests with UPDATE=1");
    }

    #[test]
    fn the_committed_schema_is_the_generated_one() {
        let generated = format!("{}\n", serde_json::to_string_pretty(&json_schema()).unwrap());
        assert_committed("schemas/policy.schema.json", &generated);
    }

    #[test]
    fn the_committed_reference_is_the_generated_one() {
        assert_committed("docs/policy.md", &markdown());
    }

    #[test]
    fn the_schema_is_a_valid_one_of_its_draft() {
        assert!(jsonschema::draft202012::meta::is_valid(&json_schema()));
    }

    #[test]
    fn every_field_is_described() {
        let mut missing = Vec::new();
        for (name, definition) in definitions() {
            for (field, schema) in definition["properties"].as_object().into_iter().flatten() {
                if schema.get("description").is_none() {
                    missing.push(format!("{name}.{field}"));
                }
            }
        }
        assert_eq!(missing, Vec::<String>::new());
    }
}
