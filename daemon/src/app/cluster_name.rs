//! What this cluster is called in buckets that it shares with others.

use std::time::Duration;

use anyhow::Context;
use holdfast_policy::ownership::{Cluster, NamedBy};
use k8s_openapi::api::core::v1::Namespace;
use kube::{Api, Client, ResourceExt};

use crate::controllers::switches::Purpose;
use crate::publish::mode::Mode;

/// Every cluster has it, and nobody deletes it: its uid is the nearest thing to a name that a cluster has by itself.
const NAMESPACE: &str = "kube-system";

/// A control plane that has just been started makes the namespace within seconds.
const TRIES: u32 = 30;
const BETWEEN_TRIES: Duration = Duration::from_secs(1);

/// The name that was given, or else one that no other cluster has.
pub async fn find(client: &Client, given: Option<&str>) -> anyhow::Result<Cluster> {
    if let Some(name) = given {
        return Ok(Cluster::named(name));
    }
    let namespaces: Api<Namespace> = Api::all(client.clone());
    for _ in 0..TRIES {
        let found = namespaces.get_opt(NAMESPACE).await.with_context(|| {
            format!("cannot read namespace {NAMESPACE}, whose uid names a cluster: give --cluster-name")
        })?;
        if let Some(uid) = found.and_then(|namespace| namespace.uid()) {
            return Ok(Cluster { name: uid, named_by: NamedBy::Uid });
        }
        tokio::time::sleep(BETWEEN_TRIES).await;
    }
    anyhow::bail!("there is no namespace {NAMESPACE}, whose uid names a cluster: give --cluster-name")
}

/// Tells what a daemon that ends backups leaves undone for want of a name.
pub fn warn_if_not_given(cluster: &Cluster, mode: Mode, purpose: Purpose) {
    match (cluster.named_by, mode, purpose) {
        (NamedBy::Uid, Mode::Full, Purpose::BackupAndRestore) => tracing::warn!(
            cluster = cluster.name,
            "no --cluster-name is given: backups that were found in a bucket neither expire here nor does a keep rule end \
             them"
        ),
        (NamedBy::Person, _, _)
        | (_, Mode::Policy | Mode::Observe, _)
        | (_, Mode::Full, Purpose::RestoreOnly) => (),
    }
}
