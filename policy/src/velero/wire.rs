//! How absent, null and empty values of the API are read and written.
//!
//! Velero's clients write `null`, `""`, `{}` and `[]` where others leave the field out, and all of them mean the
//! same. Each such field is one Rust value here, and an empty one is not written.

use serde::de::IntoDeserializer;
use serde::de::value::StringDeserializer;
use serde::{Deserialize, Deserializer};

pub(super) fn null_as_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Option::deserialize(deserializer).map(Option::unwrap_or_default)
}

/// For text and for enums: `""` is None.
pub(super) fn empty_as_none<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    match Option::<String>::deserialize(deserializer)? {
        Some(text) if !text.is_empty() => {
            let deserializer: StringDeserializer<D::Error> = text.into_deserializer();
            T::deserialize(deserializer).map(Some)
        }
        Some(_) | None => Ok(None),
    }
}

pub(super) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}
