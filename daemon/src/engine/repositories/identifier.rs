//! The address by which restic's command line finds a repository. Pure.

use holdfast_policy::velero::BackupStorageLocationSpec;

/// None where the provider has no address of that kind.
pub(super) fn of(location: &BackupStorageLocationSpec, volume_namespace: &str) -> Option<String> {
    let storage = &location.object_storage;
    let config = |key: &str| location.config.get(key).filter(|value| !value.is_empty());
    let prefix = storage.prefix.as_deref().unwrap_or_default().trim_matches('/');
    let folder = if prefix.is_empty() { "restic".to_owned() } else { format!("{prefix}/restic") };
    let bucket = &storage.bucket;
    let base = match (config("resticRepoPrefix"), location.provider.as_str()) {
        (Some(given), _) => given.trim_end_matches('/').to_owned(),
        (None, "aws" | "velero.io/aws") => {
            let region = config("region").map_or("us-east-1", String::as_str);
            let amazon = format!("s3-{region}.amazonaws.com");
            let server = config("s3Url").map_or(amazon.as_str(), |url| url.trim_end_matches('/'));
            format!("s3:{server}/{bucket}/{folder}")
        }
        (None, "azure" | "velero.io/azure") => format!("azure:{bucket}:/{folder}"),
        (None, "gcp" | "velero.io/gcp") => format!("gs:{bucket}:/{folder}"),
        (None, "local") => {
            format!("{}/{bucket}/{folder}", config("path").map_or("", |path| path.trim_end_matches('/')))
        }
        (None, _) => return None,
    };
    Some(format!("{base}/{volume_namespace}"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn addresses_are_those_that_velero_computes() {
        let identifier = |provider: &str, prefix: &str, config: serde_json::Value| {
            let spec = json!({
                "provider": provider, "objectStorage": {"bucket": "bk", "prefix": prefix}, "config": config,
            });
            of(&serde_json::from_value(spec).unwrap(), "shop")
        };
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(
            identifier("aws", "team/a/", json!({"region": "eu-central-1"})),
            some("s3:s3-eu-central-1.amazonaws.com/bk/team/a/restic/shop")
        );
        assert_eq!(
            identifier("aws", "", json!({"s3Url": "http://minio:9000/"})),
            some("s3:http://minio:9000/bk/restic/shop")
        );
        assert_eq!(identifier("azure", "p", json!({})), some("azure:bk:/p/restic/shop"));
        assert_eq!(identifier("gcp", "", json!({})), some("gs:bk:/restic/shop"));
        assert_eq!(identifier("local", "", json!({"path": "/srv"})), some("/srv/bk/restic/shop"));
        assert_eq!(identifier("aws", "", json!({"resticRepoPrefix": "s3:x/y/"})), some("s3:x/y/shop"));
        assert_eq!(identifier("other", "", json!({})), None);
    }
}
