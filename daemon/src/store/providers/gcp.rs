//! Provider `gcp`: Google Cloud Storage.

use std::sync::Arc;

use object_store::StaticCredentialProvider;
use object_store::gcp::{GcpSigningCredential, GoogleCloudStorage, GoogleCloudStorageBuilder};
use serde::Deserialize;

use super::{Connection, Error, Patience, Provider, ProviderSettings, Trust, failed};
use crate::store::credentials::{CredentialSource, CredentialsError};
use crate::store::settings::{Config, SettingsError};

pub(super) const PROVIDER: Provider = Provider {
    name: "gcp",
    keys: &["kmsKeyName", "serviceAccount", "storeEndpoint", "universeDomain", "credentialsFile"],
    parse,
};

#[derive(Debug, Clone, PartialEq, Eq)]
pub(in super::super) struct Settings {
    endpoint: Option<String>,
    /// Signs download URLs where there is no key file.
    service_account: Option<String>,
    trust: Trust,
    credentials: CredentialSource,
}

fn parse(
    config: &Config<'_>,
    credentials: Option<Vec<u8>>,
    ca: Option<String>,
) -> Result<ProviderSettings, SettingsError> {
    if config.text("kmsKeyName").is_some() {
        let reason = "set it as the bucket's default key instead";
        return Err(SettingsError::NotSupported { key: "kmsKeyName", reason });
    }
    let endpoint = match (config.url("storeEndpoint")?, config.text("universeDomain")) {
        (Some(endpoint), _) => Some(endpoint),
        (None, Some(domain)) => Some(format!("https://storage.{domain}")),
        (None, None) => None,
    };
    let settings = Settings {
        endpoint,
        service_account: config.text("serviceAccount"),
        trust: Trust::parse(ca, false)?,
        credentials: CredentialSource::new(credentials, config.text("credentialsFile"))?,
    };
    if let CredentialSource::Secret(text) = &settings.credentials {
        check_account(&text.0)?;
    }
    Ok(ProviderSettings::Gcp(settings))
}

#[derive(Deserialize)]
struct Account {
    #[serde(default, rename = "type")]
    kind: String,
    #[serde(default)]
    private_key: String,
    #[serde(default)]
    private_key_id: String,
    #[serde(default)]
    client_email: String,
}

fn check_account(text: &str) -> Result<(), CredentialsError> {
    let account: Account = serde_json::from_str(text).map_err(|_| CredentialsError::NotServiceAccount)?;
    match account.kind.as_str() {
        "" | "service_account" => (),
        _ => return Err(CredentialsError::UnsupportedAccount { kind: account.kind }),
    }
    for (field, value) in [
        ("private_key", &account.private_key),
        ("private_key_id", &account.private_key_id),
        ("client_email", &account.client_email),
    ] {
        if value.is_empty() {
            return Err(CredentialsError::MissingField { field });
        }
    }
    let is_pem = account.private_key.trim_start().starts_with("-----BEGIN ");
    if is_pem { Ok(()) } else { Err(CredentialsError::PrivateKey) }
}

impl Settings {
    pub(super) fn connect(&self, bucket: &str) -> Result<Connection, Error> {
        let key = self.credentials.read("GOOGLE_APPLICATION_CREDENTIALS")?;
        if let Some(text) = &key {
            check_account(text)?;
        }
        let build = |patience| self.build(bucket, key.as_deref(), patience);
        Connection::to_service(build).map_err(failed(bucket))
    }

    fn build(
        &self,
        bucket: &str,
        key: Option<&str>,
        patience: Patience,
    ) -> object_store::Result<GoogleCloudStorage> {
        let endpoint = self.endpoint.as_deref();
        let mut builder = GoogleCloudStorageBuilder::new()
            .with_bucket_name(bucket)
            .with_client_options(self.trust.apply(patience.client_options(), endpoint)?)
            .with_retry(patience.retries());
        if let Some(endpoint) = endpoint {
            builder = builder.with_base_url(endpoint);
        }
        match (key, &self.service_account) {
            (Some(key), _) => builder = builder.with_service_account_key(key),
            (None, Some(account)) => {
                let signer = GcpSigningCredential { email: account.clone(), private_key: None };
                builder = builder.with_signing_credentials(Arc::new(StaticCredentialProvider::new(signer)));
            }
            (None, None) => {}
        }
        builder.build()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_service_accounts_are_taken() {
        for (text, expected) in [
            (
                r#"{"type":"service_account","private_key":"-----BEGIN x","private_key_id":"1","client_email":"a@b"}"#,
                Ok(()),
            ),
            (
                r#"{"type":"service_account","private_key":"-----BEGIN x"}"#,
                Err(CredentialsError::MissingField { field: "private_key_id" }),
            ),
            ("SECRET", Err(CredentialsError::NotServiceAccount)),
            (
                r#"{"type":"external_account"}"#,
                Err(CredentialsError::UnsupportedAccount { kind: "external_account".into() }),
            ),
        ] {
            assert_eq!(check_account(text), expected);
        }
    }
}
