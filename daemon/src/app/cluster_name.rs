//! What this cluster is called in buckets that it shares with others.

use std::time::Duration;

use anyhow::Context;
use k8s_openapi::api::core::v1::Namespace;
use kube::{Api, Client, ResourceExt};

/// Every cluster has it, and nobody deletes it: its uid is the nearest thing to a name that a cluster has by itself.
const NAMESPACE: &str = "kube-system";

/// A control plane that has just been started makes the namespace within seconds.
const TRIES: u32 = 30;
const BETWEEN_TRIES: Duration = Duration::from_secs(1);

/// The name that was given, or else one that no other cluster has.
pub async fn find(client: &Client, given: Option<&str>) -> anyhow::Result<String> {
    if let Some(name) = given {
        return Ok(name.to_owned());
    }
    let namespaces: Api<Namespace> = Api::all(client.clone());
    for _ in 0..TRIES {
        let found = namespaces.get_opt(NAMESPACE).await.with_context(|| {
            format!("cannot read namespace {NAMESPACE}, whose uid names a cluster: give --cluster-name")
        })?;
        if let Some(uid) = found.and_then(|namespace| namespace.uid()) {
            return Ok(uid);
        }
        tokio::time::sleep(BETWEEN_TRIES).await;
    }
    anyhow::bail!("there is no namespace {NAMESPACE}, whose uid names a cluster: give --cluster-name")
}
