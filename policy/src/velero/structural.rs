//! From the schemas that the Rust types give to the structural schemas of CRDs.
//!
//! The types decide what is required and what the values are. Whether `null` is allowed is not taken from them, as
//! Velero allows it for some optional fields and not for others: such fields carry `nullable` themselves. The same
//! goes for 64-bit integers, which carry `x-int64`.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::JSONSchemaProps;
use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value};

pub(super) fn schema_of<T: JsonSchema>() -> JSONSchemaProps {
    let generator = SchemaSettings::draft2020_12()
        .with(|settings| {
            settings.inline_subschemas = true;
            settings.meta_schema = None;
        })
        .into_generator();
    let mut schema = generator.into_root_schema_for::<T>().to_value();
    make_structural(&mut schema);
    serde_json::from_value(schema)
        .expect("what is left are keywords of CRD schemas, as the tests check for every kind")
}

fn make_structural(schema: &mut Value) {
    let Value::Object(keywords) = schema else { return };
    hoist_optional(keywords);
    drop_null(keywords);
    keywords.remove("title");
    if keywords.get("type").is_some_and(|name| name == "integer") {
        keywords.remove("format");
        if keywords.remove("x-int64").is_some() {
            keywords.insert("format".to_owned(), "int64".into());
        }
    }
    if let Some(Value::Object(properties)) = keywords.get_mut("properties") {
        properties.values_mut().for_each(make_structural);
    }
    for nested in ["items", "additionalProperties"] {
        if let Some(nested) = keywords.get_mut(nested) {
            make_structural(nested);
        }
    }
}

/// An optional type is a choice between the type and null. What the field says about itself wins over the type.
fn hoist_optional(keywords: &mut Map<String, Value>) {
    let Some(Value::Array(choices)) = keywords.remove("anyOf") else { return };
    for choice in choices {
        if let Value::Object(choice) = choice
            && choice.get("type").is_none_or(|name| name != "null")
        {
            for (keyword, value) in choice {
                keywords.entry(keyword).or_insert(value);
            }
        }
    }
}

fn drop_null(keywords: &mut Map<String, Value>) {
    if let Some(Value::Array(words)) = keywords.get_mut("enum") {
        words.retain(|word| !word.is_null());
    }
    if let Some(Value::Array(names)) = keywords.get("type")
        && let Some(name) = names.iter().find(|name| *name != "null").cloned()
    {
        keywords.insert("type".to_owned(), name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pretty_assertions::assert_eq;
    use serde_json::json;

    #[test]
    fn a_choice_with_null_becomes_the_type_and_keeps_what_the_field_says() {
        let mut schema = json!({
            "description": "of the field",
            "anyOf": [
                { "description": "of the type", "type": "string", "enum": ["A"] },
                { "type": "null" },
            ],
        });
        make_structural(&mut schema);
        assert_eq!(schema, json!({ "description": "of the field", "type": "string", "enum": ["A"] }));
    }

    #[test]
    fn null_is_allowed_only_where_a_field_says_so() {
        let mut schema = json!({
            "type": "object",
            "properties": {
                "a": { "type": ["boolean", "null"] },
                "b": { "type": ["boolean", "null"], "nullable": true },
                "c": { "type": ["string", "null"], "enum": ["A", null] },
            },
        });
        make_structural(&mut schema);
        assert_eq!(
            schema["properties"],
            json!({
                "a": { "type": "boolean" },
                "b": { "type": "boolean", "nullable": true },
                "c": { "type": "string", "enum": ["A"] },
            })
        );
    }

    #[test]
    fn only_marked_integers_have_a_format() {
        let mut schema = json!({
            "type": "array",
            "items": { "type": "integer", "format": "int64", "x-int64": true },
            "additionalProperties": { "type": ["integer", "null"], "format": "int64" },
        });
        make_structural(&mut schema);
        assert_eq!(schema["items"], json!({ "type": "integer", "format": "int64" }));
        assert_eq!(schema["additionalProperties"], json!({ "type": "integer" }));
    }
}
