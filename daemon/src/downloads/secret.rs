//! The key of all signatures: in a Secret, so that every replica serves what any of them has signed, and a restart
//! breaks no URL that was handed out.

use std::collections::BTreeMap;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{ObjectMeta, PostParams};
use kube::{Api, Client};
use ring::rand::{SecureRandom, SystemRandom};

use super::Tickets;

const NAME: &str = "holdfast-downloads";
const KEY: &str = "key";
/// As long as the digest: a longer one would add nothing.
const LENGTH: usize = 32;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot read Secret {NAME}")]
    Read { source: Box<kube::Error> },
    #[error("cannot create Secret {NAME}")]
    Create { source: Box<kube::Error> },
    #[error("Secret {NAME} has no {KEY} of at least {LENGTH} bytes: delete it, and it is made anew")]
    Malformed,
    #[error("the operating system gives no random numbers")]
    Random,
}

/// Reads the key, or makes one where there is none.
pub async fn tickets(client: &Client, namespace: &str) -> Result<Tickets, Error> {
    let secrets: Api<Secret> = Api::namespaced(client.clone(), namespace);
    if let Some(found) = read(&secrets).await? {
        return open(&found);
    }
    let mut key = vec![0; LENGTH];
    SystemRandom::new().fill(&mut key).map_err(|_| Error::Random)?;
    let secret = Secret {
        metadata: ObjectMeta { name: Some(NAME.to_owned()), ..ObjectMeta::default() },
        data: Some(BTreeMap::from([(KEY.to_owned(), ByteString(key))])),
        type_: Some("Opaque".to_owned()),
        ..Secret::default()
    };
    match secrets.create(&PostParams::default(), &secret).await {
        Ok(created) => open(&created),
        // Another replica was quicker.
        Err(kube::Error::Api(status)) if status.code == 409 => {
            open(&read(&secrets).await?.ok_or(Error::Malformed)?)
        }
        Err(source) => Err(Error::Create { source: Box::new(source) }),
    }
}

async fn read(secrets: &Api<Secret>) -> Result<Option<Secret>, Error> {
    secrets.get_opt(NAME).await.map_err(|source| Error::Read { source: Box::new(source) })
}

fn open(secret: &Secret) -> Result<Tickets, Error> {
    let key = secret.data.as_ref().and_then(|data| data.get(KEY)).filter(|key| key.0.len() >= LENGTH);
    key.map(|key| Tickets::new(&key.0)).ok_or(Error::Malformed)
}
