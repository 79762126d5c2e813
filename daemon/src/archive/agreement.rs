//! Does the JSON of an item say the same as its path? Pure.
//!
//! The kind can't be compared with the path's plural here: that takes the API server's discovery.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::path::Location;
use super::problem::ProblemReason;

#[derive(Deserialize)]
struct Object<'a> {
    #[serde(borrow, default, rename = "apiVersion")]
    api_version: Cow<'a, str>,
    #[serde(borrow, default)]
    kind: Cow<'a, str>,
    #[serde(borrow, default)]
    metadata: OnlyMap<Metadata<'a>>,
}

#[derive(Default, Deserialize)]
struct Metadata<'a> {
    #[serde(borrow, default)]
    name: Cow<'a, str>,
    #[serde(borrow, default)]
    namespace: Cow<'a, str>,
}

/// Refuses lists: what is derived for a struct takes its members from a list as well, in their order.
#[derive(Default)]
struct OnlyMap<T>(T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for OnlyMap<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(MapVisitor(PhantomData)).map(Self)
    }
}

struct MapVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for MapVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
        T::deserialize(MapAccessDeserializer::new(map))
    }
}

/// Reads all of `json`, so that what passes is JSON to its last byte.
pub(super) fn check(location: &Location<'_>, json: &[u8]) -> Result<(), ProblemReason> {
    // The parser doesn't look into strings that it skips.
    let text = str::from_utf8(json).map_err(|error| ProblemReason::NotJson(error.to_string()))?;
    let OnlyMap(object): OnlyMap<Object<'_>> =
        serde_json::from_str(text).map_err(|error| ProblemReason::NotJson(error.to_string()))?;

    if object.kind.is_empty() {
        return Err(ProblemReason::Missing("kind"));
    }
    if object.api_version.is_empty() {
        return Err(ProblemReason::Missing("apiVersion"));
    }
    let (group, version) = object.api_version.split_once('/').unwrap_or(("", &object.api_version));
    let path_group = location.group_resource.split_once('.').map_or("", |(_, group)| group);
    agree("group", group, path_group)?;
    if let Some(path_version) = location.form.version() {
        agree("version", version, path_version)?;
    }
    agree("name", &object.metadata.0.name, location.name)?;
    agree("namespace", &object.metadata.0.namespace, location.namespace.unwrap_or_default())
}

fn agree(field: &'static str, object: &str, path: &str) -> Result<(), ProblemReason> {
    if object == path {
        return Ok(());
    }
    Err(ProblemReason::Disagrees { field, object: shortened(object), path: shortened(path) })
}

/// Enough of a text to recognise it; who wrote the archive doesn't decide how much of it we keep in memory.
pub(super) fn shortened(text: &str) -> String {
    const LONGEST: usize = 512;
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::path::Form;
    use super::*;

    const WEB: Location<'_> = Location {
        group_resource: "deployments.apps",
        form: Form::Plain,
        namespace: Some("shop"),
        name: "web",
    };

    fn checked(location: &Location<'_>, json: &str) -> String {
        check(location, json.as_bytes()).map_or_else(|reason| reason.to_string(), |()| "agrees".to_owned())
    }

    #[test]
    fn an_object_that_says_what_its_path_says_agrees() {
        let json = r#"{"kind":"Deployment","apiVersion":"apps/v1","metadata":{"namespace":"shop","name":"web","x":{}},"spec":[]}"#;
        assert_eq!(checked(&WEB, json), "agrees");
        assert_eq!(checked(&Location { form: Form::Preferred("v1"), ..WEB }, json), "agrees");
        let node = Location { group_resource: "nodes", namespace: None, name: "n", ..WEB };
        assert_eq!(checked(&node, r#"{"apiVersion":"v1","kind":"Node","metadata":{"name":"n"}}"#), "agrees");
    }

    #[test]
    fn each_difference_is_named() {
        let object = |api_version: &str, namespace: &str, name: &str| {
            format!(
                r#"{{"kind":"Deployment","apiVersion":"{api_version}","metadata":{{"namespace":"{namespace}","name":"{name}"}}}}"#
            )
        };
        let version = Location { form: Form::OtherVersion("v1beta1"), ..WEB };
        for (location, json, expected) in [
            (WEB, object("v1", "shop", "web"), r#"says that its group is "", the path says "apps""#),
            (WEB, object("a/b/v1", "shop", "web"), r#"says that its group is "a", the path says "apps""#),
            (
                version,
                object("apps/v1", "shop", "web"),
                r#"says that its version is "v1", the path says "v1beta1""#,
            ),
            (
                WEB,
                object("apps/v1", "blog", "web"),
                r#"says that its namespace is "blog", the path says "shop""#,
            ),
            (WEB, object("apps/v1", "shop", "db"), r#"says that its name is "db", the path says "web""#),
            (WEB, object("", "shop", "db"), "has no apiVersion"),
            (WEB, "{}".to_owned(), "has no kind"),
        ] {
            assert_eq!(checked(&location, &json), expected);
        }
    }

    #[test]
    fn what_is_not_one_json_object_is_refused() {
        let good =
            r#"{"kind":"Deployment","apiVersion":"apps/v1","metadata":{"namespace":"shop","name":"web"}}"#;
        let twice = good.replacen('{', r#"{"kind":"Pod","#, 1);
        let more = format!("{good}{{}}");
        let lists = r#"{"kind":"Deployment","apiVersion":"apps/v1","metadata":["web","shop"]}"#;
        let list = r#"["apps/v1","Deployment",{"namespace":"shop","name":"web"}]"#;
        for json in ["", "null", "[]", list, lists, "text", &good[..good.len() - 1], &twice, &more] {
            assert!(matches!(check(&WEB, json.as_bytes()), Err(ProblemReason::NotJson(_))), "{json}");
        }
        let mut bytes = good.replacen('{', r#"{"spec":"x","#, 1).into_bytes();
        let at = bytes.iter().position(|byte| *byte == b'x').unwrap();
        bytes[at] = 0xff;
        assert!(matches!(check(&WEB, &bytes), Err(ProblemReason::NotJson(_))));
    }
}
