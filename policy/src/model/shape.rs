//! The JSON Schemas of single values: durations, names, references.
//!
//! A format named here is checked by a function of `schema`; the pattern beside it is for editors.

use schemars::{Schema, SchemaGenerator, json_schema};

/// Format keyword of Go durations.
pub const GO_DURATION: &str = "go-duration";
/// Format keyword of Go durations that must be more than zero.
pub const POSITIVE_GO_DURATION: &str = "positive-go-duration";

pub fn duration(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "string", "format": GO_DURATION, "pattern": "^\\+?(([0-9]+(\\.[0-9]*)?|\\.[0-9]+)(ns|us|µs|μs|ms|s|m|h))+$|^\\+?0$" })
}

pub fn positive_duration(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "string",
        "format": POSITIVE_GO_DURATION,
        "pattern": "^\\+?(([0-9]+(\\.[0-9]*)?|\\.[0-9]+)(ns|us|µs|μs|ms|s|m|h))+$",
    })
}

pub fn object_name(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "string",
        "minLength": 1,
        "maxLength": 253,
        "pattern": "^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$",
    })
}

pub fn optional_text(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "string", "minLength": 1 })
}

pub fn time_of_day(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "string", "format": "date-time" })
}

pub fn times_of_day(generator: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "array", "items": time_of_day(generator) })
}

pub fn texts(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "array", "items": { "type": "string", "minLength": 1 } })
}

pub fn any_object(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "object" })
}

/// A command as its argument vector; there is no shell.
pub fn command(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "array", "items": { "type": "string" }, "minItems": 1 })
}

/// The name of a ConfigMap in the daemon's namespace, alone or in an object.
pub fn config_map(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": ["string", "object"],
        "minLength": 1,
        "required": ["name"],
        "additionalProperties": false,
        "properties": {
            "kind": { "type": "string", "enum": ["ConfigMap", "configmap"] },
            "name": { "type": "string", "minLength": 1 },
        },
    })
}
