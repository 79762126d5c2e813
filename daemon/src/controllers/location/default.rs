//! Which location a backup goes to that names none.

use holdfast_policy::velero;

/// The default location, and those that claim to be it and are not.
#[derive(Debug, PartialEq, Eq)]
pub struct Default {
    pub name: Option<String>,
    pub older: Vec<String>,
}

/// The newest of those marked as default; the marks of the others are left as they are.
pub fn choose<'a>(locations: impl IntoIterator<Item = &'a velero::BackupStorageLocation>) -> Default {
    let mut marked: Vec<&velero::BackupStorageLocation> =
        locations.into_iter().filter(|location| location.spec.default).collect();
    marked.sort_by_key(|location| {
        let created = location.metadata.creation_timestamp.as_ref().map(|time| time.0);
        (created, location.metadata.name.clone())
    });
    let mut names = marked.into_iter().filter_map(|location| location.metadata.name.clone());
    let name = names.next_back();
    Default { name, older: names.collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn location(name: &str, created: &str, default: bool) -> velero::BackupStorageLocation {
        serde_json::from_value(serde_json::json!({
            "metadata": {"name": name, "creationTimestamp": created},
            "spec": {"provider": "local", "objectStorage": {"bucket": "b"}, "default": default},
        }))
        .unwrap()
    }

    #[test]
    fn the_newest_mark_counts_and_the_older_ones_are_named() {
        let locations = [
            location("b", "2026-11-02T00:00:00Z", true),
            location("a", "2026-11-03T00:00:00Z", true),
            location("c", "2026-11-04T00:00:00Z", false),
        ];
        assert_eq!(choose(&locations), Default { name: Some("a".to_owned()), older: vec!["b".to_owned()] });
    }

    #[test]
    fn without_a_mark_there_is_no_default() {
        let locations = [location("c", "2026-11-04T00:00:00Z", false)];
        assert_eq!(choose(&locations), Default { name: None, older: vec![] });
    }
}
