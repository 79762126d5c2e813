//! The objects of the benchmark: mostly ConfigMaps, then Secrets, Services, Deployments scaled to nothing and custom
//! resources, of 1 to 1.5 KB each, over many namespaces. The same number always gives the same objects.

use std::ops::Range;

use anyhow::Context;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use kube::api::DynamicObject;
use serde_json::{Value, json};

use crate::fixtures::objects::ObjectWriter;
use crate::testbed::Testbed;

pub(super) const OBJECTS_PER_NAMESPACE: usize = 500;
const WORDS: [&str; 16] = [
    "anchor", "ballast", "capstan", "davit", "ensign", "fathom", "gunwale", "halyard", "inboard", "jib",
    "keel", "leeward", "mizzen", "nautical", "oakum", "painter",
];

pub(super) struct Kind {
    pub(super) api_version: &'static str,
    pub(super) name: &'static str,
    pub(super) plural: &'static str,
    /// Of a hundred objects.
    share: usize,
}

pub(super) const KINDS: [Kind; 5] = [
    Kind { api_version: "v1", name: "ConfigMap", plural: "configmaps", share: 70 },
    Kind { api_version: "v1", name: "Secret", plural: "secrets", share: 14 },
    Kind { api_version: "v1", name: "Service", plural: "services", share: 4 },
    Kind { api_version: "apps/v1", name: "Deployment", plural: "deployments", share: 4 },
    Kind { api_version: "bench.example.com/v1", name: "Record", plural: "records", share: 8 },
];

impl Kind {
    pub(super) fn group_resource(&self) -> String {
        match self.api_version.split_once('/') {
            Some((group, _)) => format!("{}.{group}", self.plural),
            None => self.plural.to_owned(),
        }
    }

    fn root(&self) -> String {
        let tree = if self.api_version.contains('/') { "apis" } else { "api" };
        format!("/{tree}/{}", self.api_version)
    }

    pub(super) fn all_path(&self) -> String {
        format!("{}/{}", self.root(), self.plural)
    }

    pub(super) fn namespaced_path(&self, namespace: &str) -> String {
        format!("{}/namespaces/{namespace}/{}", self.root(), self.plural)
    }
}

/// The namespaces of the objects with these numbers.
pub(super) fn namespaces(objects: Range<usize>) -> Vec<String> {
    let numbers = objects.start / OBJECTS_PER_NAMESPACE..objects.end.div_ceil(OBJECTS_PER_NAMESPACE);
    numbers.map(|number| format!("bench-{number:04}")).collect()
}

/// The object of this number: where to POST it, and its JSON.
pub(super) fn object(number: usize) -> (String, Vec<u8>) {
    let kind = kind_of(number);
    let namespace = format!("bench-{:04}", number / OBJECTS_PER_NAMESPACE);
    let name = format!("{}-{number:06}", kind.name.to_lowercase());
    let labels = json!({ "app": WORDS[number % WORDS.len()], "tier": if number.is_multiple_of(3) { "front" } else { "back" } });
    let mut object = json!({
        "apiVersion": kind.api_version,
        "kind": kind.name,
        "metadata": { "name": name, "namespace": namespace, "labels": labels },
    });
    let content = match kind.name {
        "ConfigMap" => ("data", json!({ "a.txt": text(number, 500), "b.txt": text(number + 7, 300) })),
        "Secret" => ("data", json!({ "password": BASE64_STANDARD.encode(text(number, 600)) })),
        "Service" => ("spec", service(number)),
        "Deployment" => ("spec", deployment(number)),
        _ => ("spec", json!({ "number": number, "lines": [text(number, 400), text(number + 3, 400)] })),
    };
    object[content.0] = content.1;
    (kind.namespaced_path(&namespace), object.to_string().into_bytes())
}

/// Where to GET the object of this number.
pub(super) fn path(number: usize) -> String {
    let kind = kind_of(number);
    let namespace = format!("bench-{:04}", number / OBJECTS_PER_NAMESPACE);
    format!("{}/{}-{number:06}", kind.namespaced_path(&namespace), kind.name.to_lowercase())
}

fn kind_of(number: usize) -> &'static Kind {
    // A stride without a factor in common with 100 spreads each kind over every hundred.
    let mut place = number * 37 % 100;
    for kind in &KINDS {
        if place < kind.share {
            return kind;
        }
        place -= kind.share;
    }
    &KINDS[0]
}

fn service(number: usize) -> Value {
    json!({
        "selector": { "app": WORDS[number % WORDS.len()] },
        "ports": [{ "name": "http", "port": 80, "targetPort": 8080 }],
    })
}

fn deployment(number: usize) -> Value {
    let labels = json!({ "instance": format!("deployment-{number}") });
    json!({
        "replicas": 0,
        "selector": { "matchLabels": labels },
        "template": {
            "metadata": { "labels": labels, "annotations": { "note": text(number, 200) } },
            "spec": { "containers": [{ "name": "main", "image": "registry.example.com/bench:1" }] },
        },
    })
}

/// About so many bytes of words in an order that depends on the seed.
fn text(seed: usize, length: usize) -> String {
    let mut text = String::with_capacity(length + 16);
    let mut state = seed as u64 + 1;
    while text.len() < length {
        // Knuth's MMIX generator; its high bits are the random ones.
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        text.push_str(WORDS[(state >> 60) as usize]);
        text.push_str(&format!("-{:x} ", (state >> 44) & 0xff));
    }
    text
}

pub(super) async fn install_definition(testbed: &Testbed) -> anyhow::Result<()> {
    let definition: DynamicObject = serde_json::from_value(json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": { "name": "records.bench.example.com" },
        "spec": {
            "group": "bench.example.com",
            "scope": "Namespaced",
            "names": { "plural": "records", "singular": "record", "kind": "Record" },
            "versions": [{
                "name": "v1",
                "served": true,
                "storage": true,
                "schema": { "openAPIV3Schema": {
                    "type": "object",
                    "properties": { "spec": { "type": "object", "x-kubernetes-preserve-unknown-fields": true } },
                } },
            }],
        },
    }))
    .context("reading the benchmark's definition")?;
    ObjectWriter::new(testbed.client()?).apply(&definition).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shares_are_kept_in_every_hundred() {
        assert_eq!(KINDS.iter().map(|kind| kind.share).sum::<usize>(), 100);
        for kind in &KINDS {
            let count = (300..400).filter(|number| kind_of(*number).name == kind.name).count();
            assert_eq!(count, kind.share, "{}", kind.name);
        }
    }

    #[test]
    fn objects_are_of_about_a_kilobyte() {
        let sizes: Vec<usize> = (0..100).map(|number| object(number).1.len()).collect();
        let mean = sizes.iter().sum::<usize>() / sizes.len();
        assert!((900..1500).contains(&mean), "{mean}");
    }
}
