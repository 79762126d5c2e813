//! Who requests to other services of AWS come from: found by the same rules as for buckets of provider `aws`, and renewed as they
//! run out.

use object_store::aws::{AmazonS3Builder, AwsCredentialProvider};

use super::Error;
use super::credentials::{AwsProfile, CredentialSource};
use super::providers::aws::identify;

/// A source of keys.
#[derive(Debug, Clone)]
pub struct AwsKeys(AwsCredentialProvider);

/// Keys as a request is signed with.
pub struct AwsKey {
    pub id: String,
    pub secret: String,
    pub session_token: Option<String>,
}

impl AwsKeys {
    /// From the content of a Secret, else from a file, else from what the process was started with.
    pub fn new(
        region: &str,
        profile: Option<&str>,
        secret: Option<Vec<u8>>,
        file: Option<&str>,
    ) -> Result<Self, Error> {
        let source = CredentialSource::new(secret, file.map(str::to_owned))?;
        let profile = match source.read("AWS_SHARED_CREDENTIALS_FILE")? {
            Some(text) => Some(AwsProfile::parse(&text, profile.unwrap_or("default"))?),
            None => None,
        };
        // The library finds keys for a bucket only; this one is never asked for anything.
        let builder = AmazonS3Builder::new().with_bucket_name("none").with_region(region);
        let built = identify(builder, profile.as_ref()).build();
        let built = built.map_err(|error| Error::Keys { source: error.into() })?;
        Ok(Self(built.credentials().clone()))
    }

    pub async fn get(&self) -> Result<AwsKey, Error> {
        let key = self.0.get_credential().await.map_err(|error| Error::Keys { source: error.into() })?;
        Ok(AwsKey {
            id: key.key_id.clone(),
            secret: key.secret_key.clone(),
            session_token: key.token.clone(),
        })
    }
}
