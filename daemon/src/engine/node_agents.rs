//! Whether a node has an agent that moves the files of its volumes.
//!
//! An agent of Holdfast's holds a Lease for its node: that tells of one that runs outside of a pod, too, and keeps two on
//! one node from doing the same work. Velero's own is told by its pod, as Velero tells it.

use chrono::{DateTime, Duration, Utc};
use holdfast_policy::velero::short_name;
use k8s_openapi::api::apps::v1::DaemonSet;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Pod;
use kube::api::ListParams;
use kube::{Api, Client};

use crate::cluster::patience::until_answered;

/// A Lease that was renewed within this time counts: the clocks of two machines may differ by some of it.
const FRESH: Duration = Duration::seconds(60);

/// Who moves the files of pods' volumes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum DataPath {
    /// `holdfast node-agent`, with repositories in restic's format.
    #[default]
    Holdfast,
    /// Velero's node agent, with kopia's.
    Velero,
}

/// Name of the Lease that the agent of a node holds.
pub fn lease_name(node: &str) -> String {
    format!("holdfast-node-agent.{}", short_name(node).to_lowercase())
}

/// Whether the node has an agent of this kind right now.
pub async fn is_there(
    client: &Client,
    namespace: &str,
    node: &str,
    data_path: DataPath,
    now: DateTime<Utc>,
) -> kube::Result<bool> {
    match data_path {
        DataPath::Holdfast => {
            let leases: Api<Lease> = Api::namespaced(client.clone(), namespace);
            let name = lease_name(node);
            let lease = until_answered(|| leases.get_opt(&name)).await?;
            Ok(lease.is_some_and(|lease| is_held(&lease, now)))
        }
        DataPath::Velero => {
            let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
            let selected =
                ListParams::default().labels("role=node-agent").fields(&format!("spec.nodeName={node}"));
            let found = until_answered(|| pods.list(&selected)).await?;
            Ok(found.items.iter().any(|pod| {
                pod.status.as_ref().is_some_and(|status| status.phase.as_deref() == Some("Running"))
            }))
        }
    }
}

/// Whether any of Velero's node agents is ready, as its DaemonSets tell it.
pub async fn any_of_velero_is_ready(client: &Client, namespace: &str) -> kube::Result<bool> {
    let sets: Api<DaemonSet> = Api::namespaced(client.clone(), namespace);
    for name in ["node-agent", "node-agent-windows"] {
        let found = until_answered(|| sets.get_opt(name)).await?;
        if found.and_then(|set| set.status).is_some_and(|status| status.number_ready > 0) {
            return Ok(true);
        }
    }
    Ok(false)
}

fn is_held(lease: &Lease, now: DateTime<Utc>) -> bool {
    let Some(spec) = &lease.spec else { return false };
    let renewed =
        spec.renew_time.as_ref().and_then(|time| DateTime::from_timestamp_micros(time.0.as_microsecond()));
    let held = spec.holder_identity.as_ref().is_some_and(|holder| !holder.is_empty());
    held && renewed.is_some_and(|renewed| now - renewed < FRESH)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_lease_counts_while_somebody_renews_it() {
        let held = |holder: &str, now: &str| {
            let lease =
                json!({"spec": {"holderIdentity": holder, "renewTime": "2026-11-26T10:00:00.000000Z"}});
            is_held(&serde_json::from_value(lease).unwrap(), now.parse().unwrap())
        };
        assert!(held("agent-1", "2026-11-26T10:00:30Z"));
        assert!(held("agent-1", "2026-11-26T09:59:30Z"));
        assert!(!held("agent-1", "2026-11-26T10:01:30Z"));
        assert!(!held("", "2026-11-26T10:00:30Z"));
    }
}
