//! Provider `azure`: Azure Blob Storage; the bucket is a container.

use std::collections::BTreeMap;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use object_store::azure::{MicrosoftAzure, MicrosoftAzureBuilder};

use super::{Connection, Error, Patience, Provider, ProviderSettings, Trust, failed};
use crate::store::credentials::{self, CredentialSource, CredentialsError, Hidden};
use crate::store::settings::{Config, SettingsError};

pub(super) const PROVIDER: Provider = Provider {
    name: "azure",
    keys: &[
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
    parse,
};

const LARGEST_BLOCK: usize = 100 * 1024 * 1024;
/// Blocks are held in memory while they are sent; a blob takes 50,000 of them.
const LARGEST_BLOCK_USED: usize = 5 * 1024 * 1024;
const BLOCK: usize = 1024 * 1024;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(in super::super) struct Settings {
    account: String,
    endpoint: Option<String>,
    authority: Option<String>,
    identity: Identity,
    block_bytes: usize,
    trust: Trust,
    credentials: CredentialSource,
}

/// Who asks. Velero knows a third way, fetching the account's key from the resource manager, which is not supported.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Identity {
    /// The account's key, in a variable of the credentials file.
    Key { variable: String },
    /// A client secret, a federated token or the machine's identity.
    ActiveDirectory,
}

fn parse(
    config: &Config<'_>,
    credentials: Option<Vec<u8>>,
    ca: Option<String>,
) -> Result<ProviderSettings, SettingsError> {
    let identity = match (config.text("storageAccountKeyEnvVar"), config.flag("useAAD")?) {
        (Some(variable), _) => Identity::Key { variable },
        (None, true) => Identity::ActiveDirectory,
        (None, false) => {
            let reason = "the account's key is not fetched from the resource manager: name the variable that holds it in \
                          storageAccountKeyEnvVar, or set useAAD to \"true\"";
            return Err(SettingsError::NotSupported { key: "useAAD", reason });
        }
    };
    let settings = Settings {
        account: config.required("storageAccount")?,
        endpoint: config.url("storageAccountURI")?,
        authority: config.url("activeDirectoryAuthorityURI")?,
        identity,
        block_bytes: block_bytes(config)?,
        trust: Trust::parse(ca, false)?,
        credentials: CredentialSource::new(credentials, config.text("credentialsFile"))?,
    };
    if let CredentialSource::Secret(text) = &settings.credentials {
        settings.check_variables(&credentials::variables(&text.0)?)?;
    }
    Ok(ProviderSettings::Azure(settings))
}

fn block_bytes(config: &Config<'_>) -> Result<usize, SettingsError> {
    let Some(value) = config.text("blockSizeInBytes") else { return Ok(BLOCK) };
    match value.parse() {
        Ok(bytes) if (1..=LARGEST_BLOCK).contains(&bytes) => Ok(bytes.clamp(BLOCK, LARGEST_BLOCK_USED)),
        Ok(_) | Err(_) => {
            let expected = "a number from 1 to 104857600";
            Err(SettingsError::Value { key: "blockSizeInBytes", value, expected })
        }
    }
}

type Variables = BTreeMap<String, Hidden<String>>;

/// Ways to identify that Velero's plug-in has and we don't: without them the machine's own identity would be used.
const UNSUPPORTED_VARIABLES: [&str; 4] =
    ["AZURE_CLIENT_CERTIFICATE", "AZURE_CLIENT_CERTIFICATE_PATH", "AZURE_USERNAME", "AZURE_PASSWORD"];

fn check_directory_variables(variables: &Variables) -> Result<(), CredentialsError> {
    let is_set = |name: &str| variables.get(name).is_some_and(|value| !value.0.is_empty());
    if let Some(name) = UNSUPPORTED_VARIABLES.into_iter().find(|name| is_set(name)) {
        return Err(CredentialsError::UnsupportedVariable { variable: name });
    }
    for needed in ["AZURE_TENANT_ID", "AZURE_CLIENT_ID"] {
        if is_set("AZURE_CLIENT_SECRET") && !is_set(needed) {
            return Err(CredentialsError::MissingVariable { variable: needed.to_owned() });
        }
    }
    Ok(())
}

/// One of Azure's separate clouds, which have addresses of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Cloud {
    blobs: &'static str,
    authority: &'static str,
}

impl Cloud {
    const PUBLIC: Self =
        Self { blobs: "blob.core.windows.net", authority: "https://login.microsoftonline.com" };
    const CHINA: Self =
        Self { blobs: "blob.core.chinacloudapi.cn", authority: "https://login.chinacloudapi.cn" };
    const US_GOVERNMENT: Self =
        Self { blobs: "blob.core.usgovcloudapi.net", authority: "https://login.microsoftonline.us" };

    /// `AZURE_CLOUD_NAME`, in the spellings of Azure's libraries, in any case.
    fn of(variables: &Variables) -> Result<Self, CredentialsError> {
        let name = variables.get("AZURE_CLOUD_NAME").map_or("", |value| value.0.as_str());
        match name.to_ascii_uppercase().as_str() {
            "" | "AZURECLOUD" | "AZUREPUBLIC" | "AZUREPUBLICCLOUD" => Ok(Self::PUBLIC),
            "AZURECHINA" | "AZURECHINACLOUD" => Ok(Self::CHINA),
            "AZUREUSGOVERNMENT" | "AZUREUSGOVERNMENTCLOUD" => Ok(Self::US_GOVERNMENT),
            _ => Err(CredentialsError::UnknownCloud),
        }
    }
}

impl Settings {
    pub(super) fn connect(&self, container: &str) -> Result<Connection, Error> {
        let variables = match self.credentials.read("AZURE_CREDENTIALS_FILE")? {
            Some(text) => credentials::variables(&text)?,
            None => Variables::new(),
        };
        let cloud = Cloud::of(&variables)?;
        let build = |patience| self.build(container, &variables, cloud, patience);
        let mut connection = Connection::to_service(build).map_err(failed(container))?;
        connection.part_bytes = self.block_bytes;
        Ok(connection)
    }

    fn check_variables(&self, variables: &Variables) -> Result<(), CredentialsError> {
        match &self.identity {
            Identity::Key { variable } => match variables.get(variable) {
                None => Err(CredentialsError::MissingVariable { variable: variable.clone() }),
                Some(key) if BASE64_STANDARD.decode(&key.0).is_err() => {
                    Err(CredentialsError::NotBase64 { variable: variable.clone() })
                }
                Some(_) => Ok(()),
            },
            Identity::ActiveDirectory => check_directory_variables(variables),
        }?;
        Cloud::of(variables).map(drop)
    }

    fn build(
        &self,
        container: &str,
        variables: &Variables,
        cloud: Cloud,
        patience: Patience,
    ) -> object_store::Result<MicrosoftAzure> {
        let of_cloud = || format!("https://{}.{}", self.account, cloud.blobs);
        let endpoint = self.endpoint.clone().unwrap_or_else(of_cloud);
        let mut builder = MicrosoftAzureBuilder::new()
            .with_account(&self.account)
            .with_container_name(container)
            .with_client_options(self.trust.apply(patience.client_options(), Some(&endpoint))?)
            .with_retry(patience.retries())
            .with_authority_host(self.authority.as_deref().unwrap_or(cloud.authority))
            .with_endpoint(endpoint);
        let variable = |name: &str| {
            let given = variables.get(name).map(|value| value.0.clone());
            given.or_else(|| std::env::var(name).ok()).filter(|value| !value.is_empty())
        };
        match &self.identity {
            Identity::Key { variable: name } => match variable(name) {
                Some(key) => builder.with_access_key(key).build(),
                None => Err(object_store::Error::Generic {
                    store: "azure",
                    source: CredentialsError::MissingVariable { variable: name.clone() }.into(),
                }),
            },
            Identity::ActiveDirectory => {
                if let Some(tenant) = variable("AZURE_TENANT_ID") {
                    builder = builder.with_tenant_id(tenant);
                }
                if let Some(client) = variable("AZURE_CLIENT_ID") {
                    builder = builder.with_client_id(client);
                }
                if let Some(secret) = variable("AZURE_CLIENT_SECRET") {
                    builder = builder.with_client_secret(secret);
                }
                if let Some(file) = variable("AZURE_FEDERATED_TOKEN_FILE") {
                    builder = builder.with_federated_token_file(file);
                }
                builder.build()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(config: &[(&str, &str)], credentials: Option<&str>) -> Result<ProviderSettings, SettingsError> {
        let values: BTreeMap<String, String> =
            config.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let credentials = credentials.map(|text| text.as_bytes().to_vec());
        parse(&Config { provider: "azure", values: &values }, credentials, None)
    }

    #[test]
    fn the_key_s_variable_has_to_be_in_the_credentials() {
        let config = [("storageAccount", "acc"), ("storageAccountKeyEnvVar", "KEY")];
        assert!(parsed(&config, Some("KEY=c2VjcmV0")).is_ok());
        let expected = CredentialsError::MissingVariable { variable: "KEY".into() };
        assert_eq!(parsed(&config, Some("OTHER=x")), Err(SettingsError::Credentials(expected)));
    }

    #[test]
    fn a_way_to_identify_has_to_be_chosen() {
        assert!(matches!(
            parsed(&[("storageAccount", "acc")], None),
            Err(SettingsError::NotSupported { key: "useAAD", .. })
        ));
        assert!(parsed(&[("storageAccount", "acc"), ("useAAD", "true")], None).is_ok());
    }

    #[test]
    fn an_identity_that_would_not_be_used_is_refused() {
        let config = [("storageAccount", "acc"), ("useAAD", "true")];
        for (text, expected) in [
            (
                "AZURE_CLIENT_CERTIFICATE_PATH=/x",
                "they use AZURE_CLIENT_CERTIFICATE_PATH, which is not supported",
            ),
            ("AZURE_CLIENT_SECRET=x\nAZURE_TENANT_ID=t", "they have no AZURE_CLIENT_ID"),
            ("AZURE_CLOUD_NAME=Moon", "AZURE_CLOUD_NAME is no cloud that is known"),
        ] {
            match parsed(&config, Some(text)).unwrap_err() {
                SettingsError::Credentials(error) => assert_eq!(error.to_string(), expected),
                other => panic!("{other:?}"),
            }
        }
        let whole = "AZURE_CLIENT_SECRET=x\nAZURE_TENANT_ID=t\nAZURE_CLIENT_ID=c\nAZURE_SUBSCRIPTION_ID=s";
        assert!(parsed(&config, Some(whole)).is_ok());
    }

    #[test]
    fn each_cloud_has_its_addresses() {
        let of = |name: &str| Cloud::of(&Variables::from([("AZURE_CLOUD_NAME".into(), Hidden(name.into()))]));
        assert_eq!(Cloud::of(&Variables::new()), Ok(Cloud::PUBLIC));
        assert_eq!(of("AzurePublicCloud"), Ok(Cloud::PUBLIC));
        assert_eq!(of("AzureChinaCloud"), Ok(Cloud::CHINA));
        assert_eq!(of("AzureUSGovernmentCloud"), Ok(Cloud::US_GOVERNMENT));
    }

    #[test]
    fn blocks_stay_within_what_memory_allows() {
        for (value, expected) in [("1", BLOCK), ("2097152", 2_097_152), ("104857600", LARGEST_BLOCK_USED)] {
            let config = [("storageAccount", "a"), ("useAAD", "true"), ("blockSizeInBytes", value)];
            match parsed(&config, None).unwrap() {
                ProviderSettings::Azure(settings) => assert_eq!(settings.block_bytes, expected),
                other => panic!("{other:?}"),
            }
        }
        for value in ["0", "x", "104857601"] {
            let config = [("storageAccount", "a"), ("useAAD", "true"), ("blockSizeInBytes", value)];
            assert!(parsed(&config, None).is_err(), "{value}");
        }
    }
}
