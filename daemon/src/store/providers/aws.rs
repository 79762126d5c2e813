//! Provider `aws`: S3, and everything that speaks its language.

use std::sync::Arc;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use object_store::TagSet;
use object_store::aws::{AmazonS3, AmazonS3Builder, AmazonS3ConfigKey, Checksum, resolve_bucket_region};

use super::{Connection, Error, Patience, Provider, ProviderSettings, Trust, failed};
use crate::store::credentials::{AwsIdentity, AwsProfile, CredentialSource};
use crate::store::settings::{Config, SettingsError};

pub(super) const PROVIDER: Provider = Provider {
    name: "aws",
    keys: &[
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
    parse,
};

/// Servers of the S3 kind that have no regions still want one in the signature.
const REGION_OF_OTHER_SERVERS: &str = "us-east-1";
const MOST_TAGS: usize = 10;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(in super::super) struct Settings {
    region: Option<String>,
    endpoint: Option<String>,
    public_endpoint: Option<String>,
    addressing: Addressing,
    trust: Trust,
    profile: String,
    credentials: CredentialSource,
    encryption: Option<Encryption>,
    tags: Vec<(String, String)>,
    checksum: Option<Checksum>,
}

/// Whether the bucket stands in the path or in the host name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Addressing {
    Path,
    HostWherePossible,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Encryption {
    /// `AES256`, `aws:kms`, `aws:kms:dsse`.
    Service { kind: String, kms_key: Option<String> },
    /// A file of 32 bytes that never leaves the machine but in requests.
    CustomerKey { file: String },
}

fn parse(
    config: &Config<'_>,
    credentials: Option<Vec<u8>>,
    ca: Option<String>,
) -> Result<ProviderSettings, SettingsError> {
    let force_path = config.flag("s3ForcePathStyle")?;
    // Has no effect with Velero's plug-in either, but has to be a flag.
    config.flag("enableSharedConfig")?;
    if let Some(value) = config.text("signatureVersion").filter(|version| version != "4") {
        return Err(SettingsError::Value { key: "signatureVersion", value, expected: "\"4\"" });
    }
    let settings = Settings {
        region: config.text("region"),
        endpoint: config.url("s3Url")?,
        public_endpoint: config.url("publicUrl")?,
        addressing: if force_path { Addressing::Path } else { Addressing::HostWherePossible },
        trust: Trust::parse(ca, config.flag("insecureSkipTLSVerify")?)?,
        profile: config.text("profile").unwrap_or_else(|| "default".to_owned()),
        credentials: CredentialSource::new(credentials, config.text("credentialsFile"))?,
        encryption: encryption(config)?,
        tags: tags(config)?,
        checksum: checksum(config)?,
    };
    if let CredentialSource::Secret(text) = &settings.credentials {
        AwsProfile::parse(&text.0, &settings.profile)?;
    }
    Ok(ProviderSettings::Aws(settings))
}

fn encryption(config: &Config<'_>) -> Result<Option<Encryption>, SettingsError> {
    if config.text("customerKeyEncryptionSecret").is_some() {
        let key = "customerKeyEncryptionSecret";
        let reason = "mount the key and name its file in customerKeyEncryptionFile";
        return Err(SettingsError::NotSupported { key, reason });
    }
    let kms_key = config.text("kmsKeyId");
    if let Some(file) = config.text("customerKeyEncryptionFile") {
        if kms_key.is_some() {
            let (first, second) = ("kmsKeyId", "customerKeyEncryptionFile");
            return Err(SettingsError::Exclusive { first, second });
        }
        return Ok(Some(Encryption::CustomerKey { file }));
    }
    match (config.text("serverSideEncryption"), kms_key) {
        (None, None) => Ok(None),
        (None, kms_key) => Ok(Some(Encryption::Service { kind: "aws:kms".to_owned(), kms_key })),
        // The key wins, as with Velero's plug-in.
        (Some(kind), Some(key)) if kind == "AES256" => {
            Ok(Some(Encryption::Service { kind: "aws:kms".to_owned(), kms_key: Some(key) }))
        }
        (Some(kind), kms_key) if matches!(kind.as_str(), "AES256" | "aws:kms" | "aws:kms:dsse") => {
            Ok(Some(Encryption::Service { kind, kms_key }))
        }
        (Some(value), _) => Err(SettingsError::Value {
            key: "serverSideEncryption",
            value,
            expected: "\"AES256\", \"aws:kms\" or \"aws:kms:dsse\"",
        }),
    }
}

/// `k=v&k2=v2`, encoded as in a URL.
fn tags(config: &Config<'_>) -> Result<Vec<(String, String)>, SettingsError> {
    let Some(value) = config.text("tagging") else { return Ok(Vec::new()) };
    let expected = "one to ten tags as k=v&k2=v2";
    let wrong = |value: String| SettingsError::Value { key: "tagging", value, expected };
    let Ok(query) = reqwest::Url::parse(&format!("tags:?{value}")) else { return Err(wrong(value)) };
    let tags: Vec<(String, String)> =
        query.query_pairs().map(|(key, value)| (key.into_owned(), value.into_owned())).collect();
    if tags.is_empty() || tags.len() > MOST_TAGS || tags.iter().any(|(key, _)| key.is_empty()) {
        return Err(wrong(value));
    }
    Ok(tags)
}

/// Every request carries the SHA-256 of its body in its signature, so an upload is checked without this too. Where an algorithm
/// is asked for, the strongest of them is stored with the object.
fn checksum(config: &Config<'_>) -> Result<Option<Checksum>, SettingsError> {
    match config.text("checksumAlgorithm").as_deref() {
        None => Ok(None),
        Some("CRC64NVME") => Ok(Some(Checksum::CRC64NVME)),
        Some("CRC32" | "CRC32C" | "SHA1" | "SHA256") => Ok(Some(Checksum::SHA256)),
        Some(other) => Err(SettingsError::Value {
            key: "checksumAlgorithm",
            value: other.to_owned(),
            expected: "\"CRC32\", \"CRC32C\", \"CRC64NVME\", \"SHA1\", \"SHA256\" or empty",
        }),
    }
}

impl Settings {
    pub(super) async fn connect(&self, bucket: &str) -> Result<Connection, Error> {
        let profile = match self.credentials.read("AWS_SHARED_CREDENTIALS_FILE")? {
            Some(text) => Some(AwsProfile::parse(&text, &self.profile)?),
            None => None,
        };
        let customer_key = match &self.encryption {
            Some(Encryption::CustomerKey { file }) => {
                let key = std::fs::read(file);
                let key = key.map_err(|source| Error::ReadKey { path: file.clone(), source })?;
                Some(BASE64_STANDARD.encode(key))
            }
            Some(Encryption::Service { .. }) | None => None,
        };
        let region = self.region(bucket, profile.as_ref()).await?;
        let open = |endpoint: Option<&str>, patience| {
            let builder = AmazonS3Builder::new().with_bucket_name(bucket).with_region(&region);
            let builder = identify(builder, profile.as_ref());
            let builder = self.encrypt(builder, customer_key.clone());
            self.build(builder, bucket, endpoint, patience)
        };

        let endpoint = self.endpoint.as_deref();
        let mut connection =
            Connection::to_service(|patience| open(endpoint, patience)).map_err(failed(bucket))?;
        if let Some(public) = self.public_endpoint.as_deref() {
            connection.signer = Some(Arc::new(open(Some(public), Patience::Data).map_err(failed(bucket))?));
        }
        let mut tags = TagSet::default();
        for (key, value) in &self.tags {
            tags.push(key, value);
        }
        connection.tags = tags;
        Ok(connection)
    }

    async fn region(&self, bucket: &str, profile: Option<&AwsProfile>) -> Result<String, Error> {
        if let Some(region) = &self.region {
            return Ok(region.clone());
        }
        if self.endpoint.is_some() {
            let of_profile = profile.and_then(|profile| profile.region.clone());
            return Ok(of_profile.unwrap_or_else(|| REGION_OF_OTHER_SERVERS.to_owned()));
        }
        let options = self.trust.apply(Patience::Probe.client_options(), None).map_err(failed(bucket))?;
        resolve_bucket_region(bucket, &options).await.map_err(failed(bucket))
    }

    fn build(
        &self,
        mut builder: AmazonS3Builder,
        bucket: &str,
        endpoint: Option<&str>,
        patience: Patience,
    ) -> object_store::Result<AmazonS3> {
        let options = self.trust.apply(patience.client_options(), endpoint)?;
        builder = builder.with_client_options(options).with_retry(patience.retries());
        if let Some(checksum) = self.checksum {
            builder = builder.with_checksum_algorithm(checksum);
        }
        let in_host = match self.addressing {
            Addressing::Path => None,
            Addressing::HostWherePossible => host_style(bucket, endpoint),
        };
        match (in_host, endpoint) {
            (Some(HostStyle::Provider), _) => builder.with_virtual_hosted_style_request(true).build(),
            (Some(HostStyle::Endpoint(url)), _) => {
                builder.with_virtual_hosted_style_request(true).with_endpoint(url).build()
            }
            (None, Some(url)) => builder.with_endpoint(url).build(),
            (None, None) => builder.build(),
        }
    }

    fn encrypt(&self, builder: AmazonS3Builder, customer_key: Option<String>) -> AmazonS3Builder {
        // The library has names for these keys, but doesn't export them.
        let setting = |name: &str| name.parse::<AmazonS3ConfigKey>().expect("the library knows its own keys");
        match (&self.encryption, customer_key) {
            (Some(Encryption::Service { kind, kms_key }), _) => {
                let builder = builder.with_config(setting("aws_server_side_encryption"), kind);
                match kms_key {
                    Some(key) => builder.with_config(setting("aws_sse_kms_key_id"), key),
                    None => builder,
                }
            }
            (Some(Encryption::CustomerKey { .. }), Some(key)) => builder.with_ssec_encryption(key),
            (Some(Encryption::CustomerKey { .. }) | None, _) => builder,
        }
    }
}

enum HostStyle {
    /// `BUCKET.s3.REGION.amazonaws.com`
    Provider,
    Endpoint(String),
}

/// A bucket can be part of a host name if it is one label, and the host is a name and no address.
fn host_style(bucket: &str, endpoint: Option<&str>) -> Option<HostStyle> {
    let is_label =
        bucket.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
    if !is_label {
        return None;
    }
    let Some(endpoint) = endpoint else { return Some(HostStyle::Provider) };
    let mut url = reqwest::Url::parse(endpoint).ok()?;
    let host = url.domain()?;
    let host = format!("{bucket}.{host}");
    url.set_host(Some(&host)).ok()?;
    Some(HostStyle::Endpoint(url.as_str().trim_end_matches('/').to_owned()))
}

/// What the process was started with says who it is; where to go and what to do is the location's alone.
const IDENTITY_VARIABLES: [(&str, AmazonS3ConfigKey); 9] = [
    ("AWS_ACCESS_KEY_ID", AmazonS3ConfigKey::AccessKeyId),
    ("AWS_SECRET_ACCESS_KEY", AmazonS3ConfigKey::SecretAccessKey),
    ("AWS_SESSION_TOKEN", AmazonS3ConfigKey::Token),
    ("AWS_WEB_IDENTITY_TOKEN_FILE", AmazonS3ConfigKey::WebIdentityTokenFile),
    ("AWS_ROLE_ARN", AmazonS3ConfigKey::RoleArn),
    ("AWS_ROLE_SESSION_NAME", AmazonS3ConfigKey::RoleSessionName),
    ("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", AmazonS3ConfigKey::ContainerCredentialsRelativeUri),
    ("AWS_CONTAINER_CREDENTIALS_FULL_URI", AmazonS3ConfigKey::ContainerCredentialsFullUri),
    ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", AmazonS3ConfigKey::ContainerAuthorizationTokenFile),
];

pub(in crate::store) fn identify(builder: AmazonS3Builder, profile: Option<&AwsProfile>) -> AmazonS3Builder {
    let Some(profile) = profile else {
        return IDENTITY_VARIABLES.into_iter().fold(builder, |builder, (variable, key)| match std::env::var(
            variable,
        ) {
            Ok(value) if !value.is_empty() => builder.with_config(key, value),
            Ok(_) | Err(_) => builder,
        });
    };
    match &profile.identity {
        AwsIdentity::Key { id, secret, session_token } => {
            let builder = builder.with_access_key_id(id).with_secret_access_key(&secret.0);
            match session_token {
                Some(token) => builder.with_token(&token.0),
                None => builder,
            }
        }
        AwsIdentity::WebIdentity { role_arn, token_file, session_name } => {
            let builder = builder
                .with_config(AmazonS3ConfigKey::RoleArn, role_arn)
                .with_config(AmazonS3ConfigKey::WebIdentityTokenFile, token_file);
            match session_name {
                Some(name) => builder.with_config(AmazonS3ConfigKey::RoleSessionName, name),
                None => builder,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn parsed(config: &[(&str, &str)]) -> Result<Settings, SettingsError> {
        let values: BTreeMap<String, String> =
            config.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        match parse(&Config { provider: "aws", values: &values }, None, None)? {
            ProviderSettings::Aws(settings) => Ok(settings),
            other => panic!("{other:?}"),
        }
    }

    fn endpoint(bucket: &str, endpoint: &str) -> Option<String> {
        match host_style(bucket, Some(endpoint)) {
            Some(HostStyle::Endpoint(url)) => Some(url),
            Some(HostStyle::Provider) | None => None,
        }
    }

    #[test]
    fn a_bucket_is_part_of_the_host_name_where_that_can_be() {
        assert_eq!(
            endpoint("bk", "https://s3.example.com:9000").as_deref(),
            Some("https://bk.s3.example.com:9000")
        );
        assert_eq!(endpoint("b.k", "https://s3.example.com"), None);
        assert_eq!(endpoint("BK", "https://s3.example.com"), None);
        assert_eq!(endpoint("bk", "http://127.0.0.1:9000"), None);
        assert!(matches!(host_style("bk", None), Some(HostStyle::Provider)));
    }

    #[test]
    fn flags_and_urls_are_checked() {
        for (key, value) in [
            ("s3ForcePathStyle", "yes"),
            ("insecureSkipTLSVerify", "2"),
            ("s3Url", "s3.example.com"),
            ("s3Url", "ftp://s3.example.com"),
            ("publicUrl", "x"),
            ("signatureVersion", "1"),
            ("serverSideEncryption", "rot13"),
            ("customerKeyEncryptionSecret", "a/b"),
            ("tagging", "=v"),
            ("checksumAlgorithm", "MD5"),
        ] {
            assert!(parsed(&[(key, value)]).is_err(), "{key}={value}");
        }
    }

    #[test]
    fn keys_that_exclude_each_other_are_refused() {
        let both = [("kmsKeyId", "k"), ("customerKeyEncryptionFile", "/f")];
        assert!(matches!(parsed(&both), Err(SettingsError::Exclusive { .. })));
    }

    #[test]
    fn a_kms_key_means_kms() {
        let expected = Encryption::Service { kind: "aws:kms".into(), kms_key: Some("k".into()) };
        for config in [&[("kmsKeyId", "k")][..], &[("kmsKeyId", "k"), ("serverSideEncryption", "AES256")]] {
            assert_eq!(parsed(config).unwrap().encryption, Some(expected.clone()));
        }
    }

    #[test]
    fn tags_are_decoded() {
        let tags = parsed(&[("tagging", "team=a%20b&x=")]).unwrap().tags;
        assert_eq!(tags, [("team".to_owned(), "a b".to_owned()), ("x".to_owned(), String::new())]);
    }

    #[test]
    fn credentials_are_checked_before_anything_is_tried() {
        let values = BTreeMap::from([("profile".to_owned(), "other".to_owned())]);
        let config = Config { provider: "aws", values: &values };
        let parsed = parse(&config, Some(b"[default]\naws_access_key_id=A\n".to_vec()), None);
        assert!(matches!(parsed, Err(SettingsError::Credentials(_))));
        let parsed = parse(&config, Some(vec![0xff]), None);
        assert!(matches!(parsed, Err(SettingsError::Credentials(_))));
    }
}
