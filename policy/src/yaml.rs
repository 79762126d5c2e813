//! The only user of the YAML crate, so that it can be exchanged: writing, and reading where no positions are needed.

mod emit;
mod older_readers;

use serde::de::DeserializeOwned;
use serde::{Deserialize as _, Serialize};

pub use serde_yaml::Error;

/// A value as one YAML document, without a marker before it. Texts that only readers of YAML 1.1 take for something else
/// (`n`, `off`, `1:30`) are quoted: kubectl and Velero are such readers.
pub fn to_string(value: &impl Serialize) -> Result<String, Error> {
    let mut text = String::new();
    older_readers::quote(&serde_yaml::to_string(value)?, &mut text);
    Ok(text)
}

/// A tree of JSON values in the same words, with the line `---` before it.
pub fn to_document(value: &serde_json::Value) -> String {
    const START: &str = "---\n";
    let mut text = String::with_capacity(1024);
    text.push_str(START);
    if emit::document(value, &mut text).is_none() {
        text.truncate(START.len());
        let written = serde_yaml::to_string(value).expect("a tree of JSON values is YAML");
        older_readers::quote(&written, &mut text);
    }
    text
}

/// One YAML document as a value.
pub fn from_str<T: DeserializeOwned>(text: &str) -> Result<T, Error> {
    serde_yaml::from_str(text)
}

/// All documents of a YAML stream, empty ones left out. JSON is YAML.
pub fn documents(text: &str) -> Result<Vec<serde_json::Value>, Error> {
    let documents = serde_yaml::Deserializer::from_str(text).map(serde_json::Value::deserialize);
    documents.filter(|document| !matches!(document, Ok(serde_json::Value::Null))).collect()
}

#[cfg(test)]
pub(crate) fn parse_value(text: &str) -> Result<serde_yaml::Value, Error> {
    serde_yaml::from_str(text)
}
