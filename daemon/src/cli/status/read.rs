//! What there is to know, from the API server alone.

use std::sync::Arc;

use anyhow::Context as _;
use chrono::{DateTime, TimeDelta, Utc};
use holdfast_policy::annotations::{MODE, VERSION};
use holdfast_policy::holdfast::PolicySet;
use holdfast_policy::velero::{Backup, BackupSummary};
use k8s_openapi::api::coordination::v1::Lease;
use kube::{Api, Client};
use serde::Serialize;

use crate::cli::retention::source::all;
use crate::controllers::leader;
use crate::controllers::watched::Record;
use crate::overview::{Attention, Facts};

/// A leader says every two seconds that it is there; clocks of machines differ by less than this.
const SILENT_AFTER: TimeDelta = TimeDelta::seconds(60);

/// Who does the work.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::cli) struct Daemon {
    /// Absent where nobody leads.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) leader: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) mode: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) version: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) heard_of: Option<DateTime<Utc>>,
    pub(super) is_silent: bool,
}

impl Daemon {
    pub(super) fn attention(&self) -> Option<Attention> {
        let what = match (&self.leader, self.is_silent) {
            (Some(_), false) => return None,
            (Some(leader), true) => format!("{leader} led, and was not heard of for long"),
            // With --mode observe there is none either, and then nobody makes backups just as well.
            (None, _) => {
                "no Holdfast leads here: nobody carries out backups, unless a Velero server does".to_owned()
            }
        };
        Some(Attention { about: "daemon".to_owned(), what, help: None })
    }
}

pub(super) async fn daemon(client: &Client, namespace: &str, now: DateTime<Utc>) -> anyhow::Result<Daemon> {
    let leases: Api<Lease> = Api::namespaced(client.clone(), namespace);
    let found = leases.get_opt(leader::NAME).await;
    Ok(of_lease(found.with_context(|| format!("cannot read Lease {}", leader::NAME))?, now))
}

fn of_lease(lease: Option<Lease>, now: DateTime<Utc>) -> Daemon {
    let Some(Lease { metadata, spec: Some(spec), .. }) = lease else { return Daemon::default() };
    let Some(leader) = spec.holder_identity.filter(|holder| !holder.is_empty()) else {
        return Daemon::default();
    };
    let heard_of = spec.renew_time.and_then(|time| DateTime::from_timestamp_micros(time.0.as_microsecond()));
    let mut annotations = metadata.annotations.unwrap_or_default();
    Daemon {
        leader: Some(leader),
        mode: annotations.remove(MODE),
        version: annotations.remove(VERSION),
        is_silent: heard_of.is_none_or(|heard_of| now - heard_of > SILENT_AFTER),
        heard_of,
    }
}

/// All that an overview is made of.
pub(in crate::cli) async fn facts(client: &Client, namespace: &str) -> anyhow::Result<Facts> {
    let backups: Vec<Backup> = all(client, namespace).await?;
    Ok(Facts {
        namespace: namespace.to_owned(),
        policy_sets: policy_sets(client, namespace).await?.into_iter().map(Arc::new).collect(),
        locations: shared(client, namespace).await?,
        schedules: shared(client, namespace).await?,
        backups: backups.iter().map(BackupSummary::of).map(Arc::new).collect(),
        restores: shared(client, namespace).await?,
        deletion_requests: shared(client, namespace).await?,
    })
}

async fn shared<K: Record>(client: &Client, namespace: &str) -> anyhow::Result<Vec<Arc<K>>> {
    Ok(all(client, namespace).await?.into_iter().map(Arc::new).collect())
}

/// None where Velero alone was installed.
async fn policy_sets(client: &Client, namespace: &str) -> anyhow::Result<Vec<PolicySet>> {
    match all(client, namespace).await {
        Err(error) if is_not_served(&error) => Ok(Vec::new()),
        answer => answer,
    }
}

fn is_not_served(error: &anyhow::Error) -> bool {
    match error.downcast_ref::<kube::Error>() {
        Some(kube::Error::Api(status)) => status.code == 404,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn who_leads_is_told_with_its_mode_and_whether_it_was_heard_of() {
        let now = "2026-11-23T10:00:00Z".parse().unwrap();
        let lease = |renewed: &str| {
            let value = json!({
                "metadata": {"annotations": {"holdfast.dev/mode": "full", "holdfast.dev/version": "0.1.0"}},
                "spec": {"holderIdentity": "holdfast-0", "renewTime": renewed},
            });
            of_lease(Some(serde_json::from_value(value).unwrap()), now)
        };
        let alive = lease("2026-11-23T09:59:58.000000Z");
        assert_eq!((alive.leader.as_deref(), alive.mode.as_deref()), (Some("holdfast-0"), Some("full")));
        assert_eq!((alive.is_silent, alive.attention()), (false, None));
        assert!(lease("2026-11-23T09:50:00.000000Z").attention().unwrap().what.starts_with("holdfast-0 led"));
        let nobody = of_lease(None, now);
        assert!(nobody.attention().unwrap().what.starts_with("no Holdfast leads here"));
    }
}
