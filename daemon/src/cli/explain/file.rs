//! The objects of a cluster from a file: YAML documents or JSON, with lists taken apart.

use std::io::Read as _;
use std::path::Path;

use anyhow::{Context as _, bail};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use serde_json::Value;

use crate::cluster::Discovery;
use crate::engine::inventory::Inventory;
use crate::engine::select::Object;

/// Larger files are refused: a cluster of that size is read from the cluster.
const LARGEST: u64 = 512 * 1024 * 1024;

pub(super) fn read(path: &Path) -> anyhow::Result<Inventory> {
    let name = path.display();
    let mut text = String::new();
    let file = std::fs::File::open(path).with_context(|| format!("cannot open {name}"))?;
    file.take(LARGEST + 1).read_to_string(&mut text).with_context(|| format!("cannot read {name}"))?;
    if text.len() as u64 > LARGEST {
        bail!("{name} is larger than {} MiB", LARGEST / 1024 / 1024);
    }
    parse(&text).with_context(|| format!("cannot use {name}"))
}

fn parse(text: &str) -> anyhow::Result<Inventory> {
    let documents = match serde_json::from_str::<Value>(text) {
        Ok(value) => vec![value],
        Err(_) => holdfast_policy::yaml::documents(text)?,
    };
    let values: Vec<Value> = documents.into_iter().flat_map(flatten).collect();
    let discovery = served(&values)?;
    let mut objects = Vec::with_capacity(values.len());
    for (number, value) in values.iter().enumerate() {
        let object = Object::parse(value, &discovery).with_context(|| format!("object {}", number + 1))?;
        objects.push(object);
    }
    Ok(Inventory { discovery, objects, missing: Vec::new() })
}

/// A list's objects; anything else is one.
fn flatten(value: Value) -> Vec<Value> {
    let is_list =
        value["kind"].as_str().is_some_and(|kind| kind.ends_with("List")) && value["items"].is_array();
    match value {
        Value::Array(values) => values.into_iter().flat_map(flatten).collect(),
        Value::Object(mut fields) if is_list => match fields.remove("items") {
            Some(items) => flatten(items),
            None => vec![],
        },
        single => vec![single],
    }
}

/// The kinds of Kubernetes, those that the file defines, and those that can only be guessed.
fn served(values: &[Value]) -> anyhow::Result<Discovery> {
    let mut definitions: Vec<CustomResourceDefinition> = Vec::new();
    for value in values.iter().filter(|value| value["kind"] == "CustomResourceDefinition") {
        let definition = serde_json::from_value(value.clone());
        definitions.push(definition.context("a CustomResourceDefinition cannot be read")?);
    }
    let mut discovery = Discovery::without_a_cluster(&definitions);
    for value in values {
        if let (Some(api_version), Some(kind)) = (value["apiVersion"].as_str(), value["kind"].as_str()) {
            discovery.guess(api_version, kind, value["metadata"]["namespace"].is_string());
        }
    }
    Ok(discovery)
}

#[cfg(test)]
mod tests {
    use pretty_assertions::assert_eq;

    use super::*;

    fn names(text: &str) -> Vec<String> {
        parse(text).unwrap().objects.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn documents_and_lists_are_read_from_yaml_and_json() {
        let yaml = "apiVersion: v1\nkind: Pod\nmetadata: {name: web, namespace: shop}\n---\n---\n\
                    apiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: Namespace, metadata: {name: shop}}\n\
                    - {apiVersion: example.org/v1, kind: Widget, metadata: {name: w, namespace: shop}}\n";
        assert_eq!(names(yaml), ["Pod/shop/web", "Namespace/shop", "Widget/shop/w"]);
        let json = r#"{"kind": "PodList", "apiVersion": "v1", "items": [{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a", "namespace": "b"}}]}"#;
        assert_eq!(names(json), ["Pod/b/a"]);
        assert_eq!(names(&format!("[{json}]")), ["Pod/b/a"]);
    }

    #[test]
    fn what_is_no_object_is_told_with_its_number() {
        let told = |text: &str| match parse(text) {
            Ok(_) => String::new(),
            Err(error) => format!("{error:#}"),
        };
        assert_eq!(told("kind: Pod\n"), "object 1: an object without apiVersion and kind");
        assert!(told("a: [").contains("did not find expected"), "{}", told("a: ["));
    }
}
