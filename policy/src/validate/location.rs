//! Storage and snapshot locations: providers, their configuration keys, certificates.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::set::ValidLocation;
use super::{Documents, Typed, labels, secrets};
use crate::model::{DefaultsSpec, Kind, SnapshotLocationSpec, StorageLocationSpec};
use crate::parse::{Findings, Mark, Path, RawDocument};
use crate::problem::{Rule, suggest};

/// A provider and the keys that its plug-in for Velero knows.
struct Provider {
    name: &'static str,
    storage: &'static [&'static str],
    storage_required: &'static [&'static str],
    snapshots: &'static [&'static str],
    snapshots_required: &'static [&'static str],
}

const PROVIDERS: [Provider; 4] = [
    Provider {
        name: "aws",
        storage: &[
            "region",
            "s3Url",
            "publicUrl",
            "s3ForcePathStyle",
            "insecureSkipTLSVerify",
            "profile",
            "credentialsFile",
            "enableSharedConfig",
            "signatureVersion",
            "serverSideEncryption",
            "kmsKeyId",
            "customerKeyEncryptionFile",
            "customerKeyEncryptionSecret",
            "tagging",
            "checksumAlgorithm",
        ],
        storage_required: &[],
        snapshots: &["region", "profile", "credentialsFile", "enableSharedConfig", "ebsKmsKeyId"],
        snapshots_required: &["region"],
    },
    Provider {
        name: "azure",
        storage: &[
            "storageAccount",
            "resourceGroup",
            "subscriptionId",
            "storageAccountKeyEnvVar",
            "storageAccountURI",
            "useAAD",
            "activeDirectoryAuthorityURI",
            "blockSizeInBytes",
            "credentialsFile",
        ],
        storage_required: &["storageAccount"],
        snapshots: &[
            "resourceGroup",
            "subscriptionId",
            "apiTimeout",
            "incremental",
            "tags",
            "credentialsFile",
        ],
        snapshots_required: &[],
    },
    Provider {
        name: "gcp",
        storage: &["kmsKeyName", "serviceAccount", "credentialsFile", "storeEndpoint", "universeDomain"],
        storage_required: &[],
        snapshots: &["project", "snapshotLocation", "snapshotType", "volumeProject", "credentialsFile"],
        snapshots_required: &[],
    },
    Provider {
        name: "local",
        storage: &["path", "publicUrl"],
        storage_required: &["path"],
        snapshots: &["path", "root", "node"],
        snapshots_required: &["path"],
    },
];

/// Known to every provider of storage.
const COMPRESSION: &str = "compression";

/// Values that are text and mean yes or no.
const FLAGS: [&str; 5] =
    ["s3ForcePathStyle", "insecureSkipTLSVerify", "enableSharedConfig", "useAAD", "incremental"];

pub(super) fn default_location(documents: &Documents, defaults: &DefaultsSpec, findings: &mut Findings<'_>) {
    let at = Path::spec().key("default");
    let mut first: Option<&RawDocument> = None;
    for document in documents.storage_locations.iter().filter(|document| document.spec.default == Some(true))
    {
        match first {
            None => first = Some(&document.raw),
            Some(earlier) => {
                let related = findings.related_path(earlier, &at, "first here");
                let message = "two storage locations are the default";
                findings.add(&document.raw, &at, Rule::DefaultLocation, message).related.push(related);
            }
        }
    }
    if let (Some(location), Some(document)) = (&defaults.location, documents.defaults.first())
        && !documents.declares(Kind::StorageLocation, location)
    {
        let message = format!("no document declares the StorageLocation `{location}`");
        findings.add(&document.raw, &Path::spec().key("location"), Rule::UndeclaredLocation, message);
    }
}

pub(super) fn storage(
    document: &Typed<StorageLocationSpec>,
    findings: &mut Findings<'_>,
) -> ValidLocation<StorageLocationSpec> {
    let Typed { raw, metadata, spec } = document;
    let root = Path::spec();
    labels::check(&metadata.labels, &Path::root().key("metadata").key("labels"), raw, findings);
    if let Some(provider) = provider(&spec.provider, raw, findings) {
        for key in spec.config.keys() {
            let elsewhere = match key.as_str() {
                "bucket" | "prefix" | "caCert" => Some(format!("it stands in spec: `spec.{key}`")),
                _ => None,
            };
            let known = key == COMPRESSION || provider.storage.contains(&key.as_str());
            if !known && !secrets::is_secret_key(key) {
                let known = provider.storage.iter().copied().chain([COMPRESSION]);
                unknown_key(key, provider.name, known, elsewhere, raw, findings);
            }
        }
        for key in provider.storage_required {
            missing_key(key, provider.name, spec.config.contains_key(*key), raw, findings);
        }
        exclusive_keys(spec, raw, findings);
    }
    values(&spec.config, raw, findings);
    if spec.bucket.trim_matches('/').contains('/') {
        let message = format!("bucket {:?} has a `/` inside", spec.bucket);
        findings.add(raw, &root.key("bucket"), Rule::WrongValue, message).help =
            Some("the folder in the bucket is `prefix`".to_owned());
    }
    if spec.ca_cert.is_some() && spec.ca_cert_ref.is_some() {
        let message = "`caCert` and `caCertRef` exclude each other";
        findings.add(raw, &root.key("caCertRef"), Rule::Exclusive, message);
    }
    if let Some(text) = &spec.ca_cert
        && let Err(reason) = certificate(text)
    {
        findings.add(raw, &root.key("caCert"), Rule::Certificate, reason);
    }
    ValidLocation { name: metadata.name.clone(), labels: labels::own(&metadata.labels), spec: spec.clone() }
}

pub(super) fn snapshot(
    document: &Typed<SnapshotLocationSpec>,
    findings: &mut Findings<'_>,
) -> ValidLocation<SnapshotLocationSpec> {
    let Typed { raw, metadata, spec } = document;
    labels::check(&metadata.labels, &Path::root().key("metadata").key("labels"), raw, findings);
    if let Some(provider) = provider(&spec.provider, raw, findings) {
        for key in spec.config.keys() {
            if !provider.snapshots.contains(&key.as_str()) && !secrets::is_secret_key(key) {
                unknown_key(key, provider.name, provider.snapshots.iter().copied(), None, raw, findings);
            }
        }
        for key in provider.snapshots_required {
            missing_key(key, provider.name, spec.config.contains_key(*key), raw, findings);
        }
    }
    values(&spec.config, raw, findings);
    ValidLocation { name: metadata.name.clone(), labels: labels::own(&metadata.labels), spec: spec.clone() }
}

fn provider(name: &str, raw: &RawDocument, findings: &mut Findings<'_>) -> Option<&'static Provider> {
    let plain = name.strip_prefix("velero.io/").unwrap_or(name);
    let known = PROVIDERS.iter().find(|provider| provider.name == plain);
    if known.is_none() {
        let names = PROVIDERS.map(|provider| provider.name);
        let here = match plain.to_ascii_lowercase().as_str() {
            "s3" | "minio" | "amazon" | "ceph" => Some("aws"),
            "gcs" | "google" => Some("gcp"),
            "azblob" => Some("azure"),
            "fs" | "file" | "filesystem" | "hostpath" => Some("local"),
            _ => suggest::nearest(plain, names),
        };
        let message = match here {
            Some(here) => format!("unknown provider `{name}`: did you mean `{here}`?"),
            None => format!("unknown provider `{name}`"),
        };
        let problem = findings.add(raw, &Path::spec().key("provider"), Rule::Provider, message);
        problem.help = Some(format!("the providers are {}", names.join(", ")));
    }
    known
}

fn unknown_key(
    key: &str,
    provider: &str,
    known: impl Iterator<Item = &'static str> + Clone,
    elsewhere: Option<String>,
    raw: &RawDocument,
    findings: &mut Findings<'_>,
) {
    let at = Path::spec().key("config").entry(key);
    let message = match suggest::nearest(key, known.clone()) {
        Some(nearest) if elsewhere.is_none() => {
            format!("provider {provider} has no setting `{key}`: did you mean `{nearest}`?")
        }
        _ => format!("provider {provider} has no setting `{key}`"),
    };
    let list = known.collect::<Vec<_>>().join(", ");
    let problem = findings.add_marked(raw, &at, Mark::Key, Rule::ProviderConfig, message);
    problem.help = Some(elsewhere.unwrap_or_else(|| format!("it has {list}")));
}

fn missing_key(key: &str, provider: &str, present: bool, raw: &RawDocument, findings: &mut Findings<'_>) {
    if !present {
        let message = format!("provider {provider} needs the setting `{key}`");
        findings.add(raw, &Path::spec().key("config"), Rule::ProviderConfig, message);
    }
}

fn exclusive_keys(spec: &StorageLocationSpec, raw: &RawDocument, findings: &mut Findings<'_>) {
    let keys = ["kmsKeyId", "customerKeyEncryptionFile", "customerKeyEncryptionSecret"];
    let mut given = keys.into_iter().filter(|key| spec.config.contains_key(*key));
    if let (Some(first), Some(second)) = (given.next(), given.next()) {
        let at = Path::spec().key("config").key(second);
        findings.add(raw, &at, Rule::Exclusive, format!("`{first}` and `{second}` exclude each other"));
    }
}

fn values(
    config: &std::collections::BTreeMap<String, String>,
    raw: &RawDocument,
    findings: &mut Findings<'_>,
) {
    for (key, value) in config {
        let expected = match key.as_str() {
            flag if FLAGS.contains(&flag) && !matches!(value.as_str(), "true" | "false") => {
                "\"true\" or \"false\", in quotes"
            }
            "s3Url" | "publicUrl" | "storeEndpoint"
                if !(value.starts_with("http://") || value.starts_with("https://")) =>
            {
                "a URL that starts with http:// or https://"
            }
            COMPRESSION if !matches!(value.as_str(), "gzip" | "zstd") => "gzip or zstd",
            "path" | "root" if !value.starts_with('/') => "an absolute path",
            _ => continue,
        };
        let at = Path::spec().key("config").entry(key);
        findings.add(raw, &at, Rule::ProviderConfig, format!("`{key}` is {value:?}: it must be {expected}"));
    }
}

/// The PEM text of a certificate that is written as such or in base64.
pub(crate) fn certificate_bytes(text: &str) -> Vec<u8> {
    let text = text.trim();
    if text.contains("-----BEGIN") {
        format!("{text}\n").into_bytes()
    } else {
        let compact: String = text.split_whitespace().collect();
        STANDARD.decode(compact).unwrap_or_default()
    }
}

fn certificate(text: &str) -> Result<(), String> {
    let text = text.trim();
    if text.is_empty() || text.contains("-----BEGIN CERTIFICATE-----") {
        return Ok(());
    }
    let decoded = STANDARD.decode(text.split_whitespace().collect::<String>()).unwrap_or_default();
    if String::from_utf8_lossy(&decoded).contains("-----BEGIN CERTIFICATE-----") {
        Ok(())
    } else {
        Err("this is no certificate: PEM text is expected, or PEM text in base64".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn certificates_are_pem_or_pem_in_base64() {
        let pem = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n";
        let encoded = STANDARD.encode(pem);
        assert!(certificate(pem).is_ok());
        assert!(certificate(&encoded).is_ok());
        assert_eq!(certificate_bytes(pem), pem.as_bytes());
        assert_eq!(certificate_bytes(&encoded), pem.as_bytes());
        assert!(certificate("not a certificate").is_err());
    }
}
