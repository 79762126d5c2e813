//! The only user of the YAML crate, so that it can be exchanged: writing, and reading where no positions are needed.

mod older_readers;

use serde::de::DeserializeOwned;
use serde::{Deserialize as _, Serialize};

pub use serde_yaml::Error;

/// A value as one YAML document, without a marker before it. Texts that only readers of YAML 1.1 take for something else
/// (`n`, `off`, `1:30`) are quoted: kubectl and Velero are such readers.
pub fn to_string(value: &impl Serialize) -> Result<String, Error> {
    Ok(older_readers::quote(&serde_yaml::to_string(value)?))
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
