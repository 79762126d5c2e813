//! From a BackupStorageLocation's spec to settings that can be used, or the reason why not. Pure.
//!
//! A setting that we don't know, or can't honour, is refused: in a backup tool an ignored setting is lost data.

use std::collections::BTreeMap;

use holdfast_policy::compression::Compression;
use holdfast_policy::velero::BackupStorageLocationSpec;
use object_store::path::Path;

use super::Error;
use super::credentials::CredentialsError;
use super::providers::{self, Connection, ProviderSettings};

/// Known to every provider.
const COMPRESSION_KEY: &str = "compression";

/// A location whose settings make sense. Equal settings lead to the same place in the same way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocationSettings {
    name: String,
    bucket: String,
    prefix: Path,
    compression: Compression,
    provider: ProviderSettings,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    #[error("provider {provider:?} is not known; known are {}", known.join(", "))]
    UnknownProvider { provider: String, known: Vec<&'static str> },
    #[error("spec.objectStorage.bucket is empty")]
    NoBucket,
    #[error("spec.objectStorage.bucket {bucket:?} can't be the name of a bucket")]
    Bucket { bucket: String },
    #[error("spec.objectStorage.prefix {prefix:?} can't be a path in a bucket")]
    Prefix { prefix: String },
    #[error("spec.config has the key {key:?}, which provider {provider} doesn't know; it knows {}", known.join(", "))]
    UnknownKey { key: String, provider: &'static str, known: Vec<&'static str> },
    #[error("spec.config lacks the key {key:?}, which provider {provider} needs")]
    MissingKey { key: &'static str, provider: &'static str },
    #[error("spec.config.{key} is {value:?}, but has to be {expected}")]
    Value { key: &'static str, value: String, expected: &'static str },
    #[error("spec.config.{key} is not supported: {reason}")]
    NotSupported { key: &'static str, reason: &'static str },
    #[error("spec.config.{first} and spec.config.{second} exclude each other")]
    Exclusive { first: &'static str, second: &'static str },
    #[error("the location's CA certificates are not PEM")]
    CaCertificate,
    #[error("the location's credentials can't be used: {0}")]
    Credentials(#[from] CredentialsError),
}

impl LocationSettings {
    /// `credentials` is the content of the Secret that `spec.credential` names, `ca` the PEM text of `caCertRef` or `caCert`.
    pub fn parse(
        name: &str,
        spec: &BackupStorageLocationSpec,
        credentials: Option<Vec<u8>>,
        ca: Option<String>,
    ) -> Result<Self, SettingsError> {
        // Velero takes a provider without a domain for one of its own.
        let provider = spec.provider.strip_prefix("velero.io/").unwrap_or(&spec.provider);
        let Some(provider) = providers::ALL.into_iter().find(|known| known.name == provider) else {
            let known = providers::ALL.map(|known| known.name).to_vec();
            return Err(SettingsError::UnknownProvider { provider: spec.provider.clone(), known });
        };
        for key in spec.config.keys() {
            if key != COMPRESSION_KEY && !provider.keys.contains(&key.as_str()) {
                let known = provider.keys.iter().copied().chain([COMPRESSION_KEY]).collect();
                return Err(SettingsError::UnknownKey { key: key.clone(), provider: provider.name, known });
            }
        }
        let ca = ca.filter(|pem| !pem.trim().is_empty());
        let config = Config { provider: provider.name, values: &spec.config };
        Ok(Self {
            name: name.to_owned(),
            bucket: bucket(&spec.object_storage.bucket)?,
            prefix: prefix(spec.object_storage.prefix.as_deref().unwrap_or_default())?,
            compression: compression(&config)?,
            provider: (provider.parse)(&config, credentials, ca)?,
        })
    }

    /// Of the BackupStorageLocation.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where the location starts in its bucket.
    pub fn prefix(&self) -> &Path {
        &self.prefix
    }

    pub fn compression(&self) -> Compression {
        self.compression
    }

    pub(super) async fn connect(&self) -> Result<Connection, Error> {
        self.provider.connect(&self.bucket).await
    }
}

/// `spec.config`, read by key.
pub(super) struct Config<'a> {
    pub(super) provider: &'static str,
    pub(super) values: &'a BTreeMap<String, String>,
}

impl Config<'_> {
    /// A key with an empty value counts as absent, as it does for Velero's plug-ins.
    pub(super) fn text(&self, key: &str) -> Option<String> {
        self.values.get(key).filter(|value| !value.is_empty()).cloned()
    }

    pub(super) fn required(&self, key: &'static str) -> Result<String, SettingsError> {
        self.text(key).ok_or(SettingsError::MissingKey { key, provider: self.provider })
    }

    /// True or false in the spellings that Go takes; false when absent.
    pub(super) fn flag(&self, key: &'static str) -> Result<bool, SettingsError> {
        let Some(value) = self.text(key) else { return Ok(false) };
        match value.as_str() {
            "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
            "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
            _ => Err(SettingsError::Value { key, value, expected: "\"true\" or \"false\"" }),
        }
    }

    /// The address of a server.
    pub(super) fn url(&self, key: &'static str) -> Result<Option<String>, SettingsError> {
        let Some(value) = self.text(key) else { return Ok(None) };
        let is_server = reqwest::Url::parse(&value)
            .is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.host().is_some());
        if !is_server {
            return Err(SettingsError::Value { key, value, expected: "a URL with http:// or https://" });
        }
        Ok(Some(value.trim_end_matches('/').to_owned()))
    }
}

fn bucket(text: &str) -> Result<String, SettingsError> {
    let bucket = text.trim_matches('/');
    match bucket {
        "" => Err(SettingsError::NoBucket),
        "." | ".." => Err(SettingsError::Bucket { bucket: text.to_owned() }),
        _ if bucket.contains(['/', '\\']) => Err(SettingsError::Bucket { bucket: text.to_owned() }),
        _ => Ok(bucket.to_owned()),
    }
}

fn prefix(text: &str) -> Result<Path, SettingsError> {
    Path::parse(text.trim_matches('/')).map_err(|_| SettingsError::Prefix { prefix: text.to_owned() })
}

fn compression(config: &Config<'_>) -> Result<Compression, SettingsError> {
    match config.text(COMPRESSION_KEY).as_deref() {
        None | Some("gzip") => Ok(Compression::Gzip),
        Some("zstd") => Ok(Compression::Zstd),
        Some(other) => Err(SettingsError::Value {
            key: COMPRESSION_KEY,
            value: other.to_owned(),
            expected: "\"gzip\" or \"zstd\"",
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(provider: &str, bucket: &str, config: &[(&str, &str)]) -> BackupStorageLocationSpec {
        let mut spec = BackupStorageLocationSpec { provider: provider.into(), ..Default::default() };
        spec.object_storage.bucket = bucket.into();
        spec.config = config.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        spec
    }

    fn parse(spec: &BackupStorageLocationSpec) -> Result<LocationSettings, SettingsError> {
        LocationSettings::parse("default", spec, None, None)
    }

    fn refused(spec: &BackupStorageLocationSpec) -> String {
        parse(spec).expect_err("settings are refused").to_string()
    }

    const LOCAL: &[(&str, &str)] = &[("path", "/var/backups")];

    #[test]
    fn bucket_and_prefix_are_trimmed() {
        let mut spec = spec("local", "/bk/", LOCAL);
        spec.object_storage.prefix = Some("/a/b/".into());
        let settings = parse(&spec).unwrap();
        assert_eq!((settings.bucket.as_str(), settings.prefix().as_ref()), ("bk", "a/b"));
    }

    #[test]
    fn names_that_lead_elsewhere_are_refused() {
        for bucket in ["", "/", "a/b", ".", "..", "a\\b"] {
            assert!(parse(&spec("local", bucket, LOCAL)).is_err(), "{bucket:?}");
        }
        for prefix in ["..", "a/../b", "a//b"] {
            let mut spec = spec("local", "bk", LOCAL);
            spec.object_storage.prefix = Some(prefix.into());
            assert!(matches!(parse(&spec), Err(SettingsError::Prefix { .. })), "{prefix:?}");
        }
    }

    #[test]
    fn a_provider_may_carry_velero_s_domain() {
        assert_eq!(parse(&spec("velero.io/local", "b", LOCAL)), parse(&spec("local", "b", LOCAL)));
        assert_eq!(
            refused(&spec("ibm", "b", &[])),
            r#"provider "ibm" is not known; known are local, aws, azure, gcp"#
        );
    }

    #[test]
    fn an_unknown_key_is_refused_with_the_known_ones() {
        assert_eq!(
            refused(&spec("local", "b", &[("path", "/x"), ("region", "x")])),
            r#"spec.config has the key "region", which provider local doesn't know; it knows path, publicUrl, compression"#
        );
    }

    #[test]
    fn every_provider_takes_a_compression() {
        for (provider, needed) in
            [("local", ("path", "/x")), ("aws", ("region", "x")), ("gcp", ("storeEndpoint", "http://x"))]
        {
            for (value, expected) in
                [("zstd", Compression::Zstd), ("gzip", Compression::Gzip), ("", Compression::Gzip)]
            {
                let settings = parse(&spec(provider, "b", &[needed, ("compression", value)]));
                assert_eq!(settings.unwrap().compression(), expected);
            }
        }
        assert_eq!(
            refused(&spec("local", "b", &[("path", "/x"), ("compression", "lz4")])),
            r#"spec.config.compression is "lz4", but has to be "gzip" or "zstd""#
        );
    }
}
