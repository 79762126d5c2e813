//! Schemas of the Kubernetes types that several of our kinds embed.
//!
//! The Rust types are k8s-openapi's. Their own schemas lack the merge markers of Velero's CRDs and bring
//! Kubernetes' long descriptions, so these here stand in for them.

use schemars::{Schema, SchemaGenerator, json_schema};

pub(super) fn label_selector(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "x-kubernetes-map-type": "atomic",
        "properties": {
            "matchLabels": {
                "description": "Labels an object must have, each with exactly this value.",
                "type": "object",
                "additionalProperties": { "type": "string" },
            },
            "matchExpressions": {
                "description": "Conditions on labels, all of which must hold.",
                "type": "array",
                "x-kubernetes-list-type": "atomic",
                "items": {
                    "description": "One condition on one label.",
                    "type": "object",
                    "required": ["key", "operator"],
                    "properties": {
                        "key": { "description": "The label's key.", "type": "string" },
                        "operator": {
                            "description": "In, NotIn, Exists or DoesNotExist.",
                            "type": "string",
                        },
                        "values": {
                            "description": "What In and NotIn compare the label's value with.",
                            "type": "array",
                            "x-kubernetes-list-type": "atomic",
                            "items": { "type": "string" },
                        },
                    },
                },
            },
        },
    })
}

pub(super) fn label_selectors(generator: &mut SchemaGenerator) -> Schema {
    let mut items = label_selector(generator);
    items.insert("description".to_owned(), "One of the selectors.".into());
    json_schema!({ "type": "array", "items": items })
}

/// A reference to a ConfigMap (or another kind) of the same namespace.
pub(super) fn typed_local_reference(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "x-kubernetes-map-type": "atomic",
        "required": ["kind", "name"],
        "properties": {
            "apiGroup": {
                "description": "API group of the object. Empty for the core group.",
                "type": "string",
            },
            "kind": { "description": "Kind of the object.", "type": "string" },
            "name": { "description": "Name of the object.", "type": "string" },
        },
    })
}

pub(super) fn secret_key(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "x-kubernetes-map-type": "atomic",
        "required": ["key"],
        "properties": {
            "key": { "description": "Key inside the Secret.", "type": "string" },
            "name": { "description": "Name of the Secret.", "type": "string", "default": "" },
            "optional": {
                "description": "Whether the Secret or its key may be missing.",
                "type": "boolean",
            },
        },
    })
}

pub(super) fn base64_bytes(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "string", "format": "byte" })
}
pub(super) fn object_reference(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "x-kubernetes-map-type": "atomic",
        "properties": {
            "apiVersion": { "description": "API version of the object.", "type": "string" },
            "fieldPath": { "description": "A part of the object, as a path.", "type": "string" },
            "kind": { "description": "Kind of the object.", "type": "string" },
            "name": { "description": "Name of the object.", "type": "string" },
            "namespace": { "description": "Namespace of the object.", "type": "string" },
            "resourceVersion": { "description": "The version that was meant.", "type": "string" },
            "uid": { "description": "UID of the object.", "type": "string" },
        },
    })
}
