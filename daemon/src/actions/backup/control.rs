//! Annotations by which an object that went through an action says what becomes of it. Actions of Velero's set them, and so
//! may people on objects of kinds that have an action.

use std::collections::BTreeMap;

use bytes::Bytes;
use holdfast_policy::velero::labels::{BACKUP_MUST_INCLUDE_ADDITIONAL_ITEMS, SKIP_FROM_BACKUP};
use memchr::memmem;
use serde::Deserialize;

/// What the annotations ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Control {
    None,
    /// The object is left out, whatever else is asked for.
    Skip,
    /// Its additional objects need not pass the filters.
    MustInclude,
}

#[derive(Deserialize)]
struct Annotated {
    metadata: Metadata,
}

#[derive(Deserialize)]
struct Metadata {
    #[serde(default)]
    annotations: Option<BTreeMap<String, String>>,
}

impl Control {
    pub fn of(json: &Bytes) -> Result<Self, serde_json::Error> {
        let mentions = |key: &str| memmem::find(json, key.as_bytes()).is_some();
        if !mentions(SKIP_FROM_BACKUP) && !mentions(BACKUP_MUST_INCLUDE_ADDITIONAL_ITEMS) {
            return Ok(Self::None);
        }
        let Annotated { metadata } = serde_json::from_slice(json)?;
        let annotations = metadata.annotations.unwrap_or_default();
        let must_include = annotations.get(BACKUP_MUST_INCLUDE_ADDITIONAL_ITEMS).map(String::as_str);
        Ok(match (annotations.contains_key(SKIP_FROM_BACKUP), must_include) {
            (true, _) => Self::Skip,
            (false, Some("true")) => Self::MustInclude,
            (false, _) => Self::None,
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn skipping_takes_any_value_and_wins_over_must_include() {
        let control = |annotations: serde_json::Value| {
            Control::of(&json!({"metadata": {"annotations": annotations}}).to_string().into()).unwrap()
        };
        assert_eq!(control(json!(null)), Control::None);
        assert_eq!(control(json!({"note": "velero.io/skip-from-backup"})), Control::None);
        assert_eq!(control(json!({SKIP_FROM_BACKUP: ""})), Control::Skip);
        assert_eq!(control(json!({BACKUP_MUST_INCLUDE_ADDITIONAL_ITEMS: "true"})), Control::MustInclude);
        assert_eq!(control(json!({BACKUP_MUST_INCLUDE_ADDITIONAL_ITEMS: "yes"})), Control::None);
        let both = json!({SKIP_FROM_BACKUP: "false", BACKUP_MUST_INCLUDE_ADDITIONAL_ITEMS: "true"});
        assert_eq!(control(both), Control::Skip);
    }
}
