//! Features of Velero's server that `--features` turns on by their names.

use tracing::warn;

use crate::engine::ApiVersions;

/// Beside the preferred version of every object, the others that the API server serves of it.
const ALL_VERSIONS: &str = "EnableAPIGroupVersions";

/// The names as they were given; Velero knows more than have an effect here, and passes over those that it does not know.
pub(super) fn api_versions(names: &[String]) -> ApiVersions {
    let mut versions = ApiVersions::Preferred;
    for name in names.iter().map(|name| name.trim()).filter(|name| !name.is_empty()) {
        match name {
            ALL_VERSIONS => versions = ApiVersions::All,
            other => warn!(feature = other, "a feature of Velero's server that has no effect here"),
        }
    }
    versions
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_feature_is_turned_on_by_its_name_among_others() {
        let versions = |names: &[&str]| {
            let names: Vec<String> = names.iter().map(ToString::to_string).collect();
            api_versions(&names)
        };
        assert_eq!(versions(&[]), ApiVersions::Preferred);
        assert_eq!(versions(&["EnableCSI", ""]), ApiVersions::Preferred);
        assert_eq!(versions(&["EnableCSI", " EnableAPIGroupVersions"]), ApiVersions::All);
    }
}
