//! The password of all repositories: in the Secret that Velero has it in, so that each reads what the other wrote.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{ObjectReference, Secret};
use kube::api::{ObjectMeta, PostParams};
use kube::runtime::events::{Event, EventType, Recorder};
use kube::{Api, Client};
use ring::rand::{SecureRandom, SystemRandom};

use crate::cluster::patience::{until_admitted, until_answered};
use crate::repository::Password;

pub const NAME: &str = "velero-repo-credentials";
pub const KEY: &str = "repository-password";
/// What a person is told when one was made.
pub(super) const KEEP_A_COPY: &str = "made a password for volume data: without a copy of it, kept outside of this cluster, the data is lost with the \
     cluster; `holdfast keys export` prints it";
/// 256 bits.
const RANDOM_BYTES: usize = 32;

#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    #[error("cannot read Secret {NAME}")]
    Read { source: Box<kube::Error> },
    #[error("cannot create Secret {NAME}")]
    Create { source: Box<kube::Error> },
    #[error("Secret {NAME} does not exist: no repository has been made here")]
    Missing,
    #[error("Secret {NAME} has no password as text in {KEY}")]
    Malformed,
    #[error("the operating system gives no random numbers")]
    Random,
}

/// Whether the password is new, and so in no person's keeping.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Made {
    Now,
    Before,
}

/// The password that is there.
pub async fn read_password(client: &Client, namespace: &str) -> Result<Password, SecretError> {
    let secrets: Api<Secret> = Api::namespaced(client.clone(), namespace);
    open(&read(&secrets).await?.ok_or(SecretError::Missing)?)
}

/// The password that is there, or one that is made.
pub async fn ensure_password(client: &Client, namespace: &str) -> Result<(Password, Made), SecretError> {
    let secrets: Api<Secret> = Api::namespaced(client.clone(), namespace);
    if let Some(found) = read(&secrets).await? {
        return Ok((open(&found)?, Made::Before));
    }
    let mut random = [0; RANDOM_BYTES];
    SystemRandom::new().fill(&mut random).map_err(|_| SecretError::Random)?;
    let password = ByteString(URL_SAFE_NO_PAD.encode(random).into_bytes());
    let secret = Secret {
        metadata: ObjectMeta { name: Some(NAME.to_owned()), ..ObjectMeta::default() },
        data: Some(BTreeMap::from([(KEY.to_owned(), password)])),
        type_: Some("Opaque".to_owned()),
        ..Secret::default()
    };
    let parameters = PostParams::default();
    match until_admitted(|| secrets.create(&parameters, &secret)).await {
        Ok(created) => Ok((open(&created)?, Made::Now)),
        Err(kube::Error::Api(status)) if status.code == 409 => {
            Ok((open(&read(&secrets).await?.ok_or(SecretError::Missing)?)?, Made::Before))
        }
        Err(source) => Err(SecretError::Create { source: Box::new(source) }),
    }
}

/// An event on the Secret. Nothing depends on it: one that can't be written is logged.
pub(super) async fn tell_made(client: &Client, namespace: &str) {
    let secret = ObjectReference {
        api_version: Some("v1".to_owned()),
        kind: Some("Secret".to_owned()),
        name: Some(NAME.to_owned()),
        namespace: Some(namespace.to_owned()),
        ..ObjectReference::default()
    };
    let event = Event {
        type_: EventType::Warning,
        reason: "PasswordMade".to_owned(),
        note: Some(KEEP_A_COPY.to_owned()),
        action: "KeepACopy".to_owned(),
        secondary: None,
    };
    if let Err(error) = Recorder::new(client.clone(), "holdfast".into()).publish(&event, &secret).await {
        let error = &error as &dyn std::error::Error;
        tracing::warn!(secret = NAME, error, "could not write an event");
    }
}

async fn read(secrets: &Api<Secret>) -> Result<Option<Secret>, SecretError> {
    let found = until_answered(|| secrets.get_opt(NAME)).await;
    found.map_err(|source| SecretError::Read { source: Box::new(source) })
}

fn open(secret: &Secret) -> Result<Password, SecretError> {
    let bytes = secret.data.as_ref().and_then(|data| data.get(KEY)).ok_or(SecretError::Malformed)?;
    let text = std::str::from_utf8(&bytes.0).map_err(|_| SecretError::Malformed)?;
    Password::new(text).ok_or(SecretError::Malformed)
}
