//! The ConfigMap of volume policies that a server gives to every backup: looked at before anything starts, since a
//! server that ran without them would copy, or leave out, what it was told otherwise about.

use anyhow::{Context, bail};
use kube::Client;

use crate::cluster::Cluster;
use crate::engine::backup::PolicySource;

pub(super) async fn require(client: &Client, namespace: &str, name: Option<&str>) -> anyhow::Result<()> {
    let Some(name) = name else { return Ok(()) };
    let source = PolicySource::read(&Cluster::new(client.clone()), namespace, Some(name)).await;
    let source = source.context("cannot read --global-backup-volume-policies-configmap")?;
    match source.parse() {
        Err(problems) => {
            bail!("--global-backup-volume-policies-configmap {name} is invalid: {}", problems.join("; "))
        }
        Ok(policy) => {
            for section in policy.needs_newer_filters() {
                tracing::warn!(config_map = name, section, "only volumePolicies of this ConfigMap count");
            }
            Ok(())
        }
    }
}
