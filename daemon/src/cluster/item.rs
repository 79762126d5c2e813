//! One object as the API server sent it: its bytes, and the few facts of its metadata that selection needs.
//! No tree of values is built here.

use std::fmt;

use bytes::Bytes;
use holdfast_policy::velero::labels::EXCLUDE_FROM_BACKUP;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};

use super::Resource;

/// An object and what was peeked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    pub name: String,
    /// None for cluster-scoped objects.
    pub namespace: Option<String>,
    /// The label that keeps an object out of every backup is set to `true`.
    pub excluded: bool,
    /// A deletion was asked for and waits for finalizers.
    pub deleting: bool,
    /// The object as compact JSON, with `apiVersion` and `kind`.
    pub json: Bytes,
}

#[derive(Deserialize)]
struct Peek {
    #[serde(rename = "apiVersion")]
    api_version: Option<IgnoredAny>,
    kind: Option<IgnoredAny>,
    metadata: Metadata,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    #[serde(default)]
    name: String,
    namespace: Option<String>,
    deletion_timestamp: Option<IgnoredAny>,
    #[serde(default)]
    labels: Labels,
}

/// Reads a map of labels and keeps nothing but whether the object asks to be left out.
#[derive(Default)]
struct Labels {
    excluded: bool,
}

impl Item {
    /// Takes one object, of a list or on its own. Lists leave out each item's `apiVersion` and `kind`:
    /// they are put back from `resource`.
    pub fn parse(resource: &Resource, json: &[u8]) -> Result<Self, serde_json::Error> {
        let Peek { api_version, kind, metadata } = serde_json::from_slice(json)?;
        let Metadata { name, namespace, deletion_timestamp, labels } = metadata;
        let api_version = api_version.is_none().then(|| resource.api_version());
        let kind = kind.is_none().then_some(resource.kind.as_str());
        Ok(Self {
            name,
            namespace: namespace.filter(|namespace| resource.namespaced && !namespace.is_empty()),
            excluded: labels.excluded,
            deleting: deletion_timestamp.is_some(),
            json: with_type(json, api_version.as_deref(), kind),
        })
    }
}

/// The same object with these two fields, where given, put in front of the others.
fn with_type(json: &[u8], api_version: Option<&str>, kind: Option<&str>) -> Bytes {
    let mut output = Vec::with_capacity(json.len() + 96);
    output.push(b'{');
    for (field, value) in [("apiVersion", api_version), ("kind", kind)] {
        if let Some(value) = value {
            // Groups, versions and kinds are DNS labels and identifiers: nothing in them needs escaping.
            output.extend_from_slice(format!("\"{field}\":\"{value}\",").as_bytes());
        }
    }
    let json = json.trim_ascii();
    // The peek found `metadata`, so the object has a field, and the comma in front of it is right.
    output.extend_from_slice(json.strip_prefix(b"{").unwrap_or(json));
    output.into()
}

impl<'de> Deserialize<'de> for Labels {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(LabelsVisitor)
    }
}

struct LabelsVisitor;

impl<'de> Visitor<'de> for LabelsVisitor {
    type Value = Labels;

    fn expecting(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        formatter.write_str("a map of labels")
    }

    fn visit_unit<E>(self) -> Result<Labels, E> {
        Ok(Labels::default())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Labels, A::Error> {
        let mut labels = Labels::default();
        while let Some(is_exclusion) = map.next_key_seed(IsExclusion)? {
            if is_exclusion {
                labels.excluded = map.next_value::<String>()? == "true";
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(labels)
    }
}

/// Compares a key without keeping it.
struct IsExclusion;

impl<'de> serde::de::DeserializeSeed<'de> for IsExclusion {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for IsExclusion {
    type Value = bool;

    fn expecting(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        formatter.write_str("a label's key")
    }

    fn visit_str<E>(self, key: &str) -> Result<bool, E> {
        Ok(key == EXCLUDE_FROM_BACKUP)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config_maps() -> Resource {
        Resource {
            version: "v1".into(),
            kind: "ConfigMap".into(),
            plural: "configmaps".into(),
            namespaced: true,
            ..Resource::default()
        }
    }

    fn parse(json: &str) -> Item {
        Item::parse(&config_maps(), json.as_bytes()).unwrap()
    }

    #[test]
    fn items_of_a_list_get_their_type_back() {
        let item = parse(r#"{"metadata":{"name":"a","namespace":"shop"},"data":{"k":"\u003c"}}"#);
        assert_eq!(
            item,
            Item {
                name: "a".into(),
                namespace: Some("shop".into()),
                excluded: false,
                deleting: false,
                json: r#"{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a","namespace":"shop"},"data":{"k":"\u003c"}}"#
                    .into(),
            }
        );
    }

    #[test]
    fn a_type_that_is_there_is_not_repeated() {
        let json = r#"{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a"}}"#;
        assert_eq!(parse(json).json, json);
        let half = r#"{"metadata":{"name":"a"},"kind":"ConfigMap"}"#;
        assert_eq!(parse(half).json, r#"{"apiVersion":"v1","metadata":{"name":"a"},"kind":"ConfigMap"}"#);
    }

    #[test]
    fn exclusion_takes_the_label_with_the_value_true() {
        let labelled = |labels: &str| parse(&format!(r#"{{"metadata":{{"name":"a","labels":{labels}}}}}"#));
        assert!(labelled(r#"{"a":"b","velero.io/exclude-from-backup":"true"}"#).excluded);
        assert!(!labelled(r#"{"velero.io/exclude-from-backup":"yes"}"#).excluded);
        assert!(!labelled("null").excluded);
    }

    #[test]
    fn objects_on_their_way_out_are_seen() {
        assert!(parse(r#"{"metadata":{"name":"a","deletionTimestamp":"2026-01-01T00:00:00Z"}}"#).deleting);
        assert!(!parse(r#"{"metadata":{"name":"a","deletionTimestamp":null}}"#).deleting);
    }
}
