//! The Lease on the API server. Every write names the version it was decided on, so that of two replicas one succeeds.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, Utc};
use holdfast_policy::time::to_chrono;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::Timestamp;
use kube::Api;
use kube::api::{ObjectMeta, PostParams};

use super::LEASE;
use super::decide::Record;
use crate::controllers::watched::FIELD_MANAGER;

/// The daemon's.
pub const NAME: &str = "holdfast";

/// Shorter than the pause in which a leader has to renew.
const REQUEST_TIME_OUT: Duration = Duration::from_secs(3);

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot {verb} Lease {lease}")]
    Refused { verb: &'static str, lease: String, source: Box<kube::Error> },
    #[error("cannot {verb} Lease {lease}: no answer within {} s", REQUEST_TIME_OUT.as_secs())]
    NoAnswer { verb: &'static str, lease: String },
}

pub(super) struct Leases {
    pub(super) api: Api<Lease>,
    pub(super) name: String,
    pub(super) instance: String,
    pub(super) about: BTreeMap<String, String>,
}

/// A lease as it was read.
pub(super) struct Found {
    pub(super) record: Record,
    pub(super) version: String,
    lease: Lease,
}

/// The lease that is ours.
pub(super) struct Held {
    pub(super) epoch: u64,
    /// When the API server took our first write.
    pub(super) server_time: Option<DateTime<Utc>>,
    lease: Lease,
}

pub(super) enum Renewal {
    Done,
    Taken { by: String },
}

impl Leases {
    pub(super) async fn read(&self) -> Result<Option<Found>, Error> {
        let found = self.answer("read", self.api.get_opt(&self.name)).await?;
        Ok(found.map(|lease| Found {
            record: record(&lease),
            version: lease.metadata.resource_version.clone().unwrap_or_default(),
            lease,
        }))
    }

    /// None where another replica was quicker.
    pub(super) async fn take(
        &self,
        found: Option<Found>,
        epoch: u64,
        now: DateTime<Utc>,
    ) -> Result<Option<Held>, Error> {
        let mut lease = found.map(|found| found.lease).unwrap_or_default();
        lease.metadata.name = Some(self.name.clone());
        lease.metadata.annotations.get_or_insert_default().extend(self.about.clone());
        lease.spec = Some(self.spec(epoch, now, now));
        match self.write(&lease).await {
            Ok(lease) => Ok(Some(Held { epoch, server_time: server_time(&lease), lease })),
            Err(error) if is_conflict(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    pub(super) async fn renew(&self, held: &mut Held, now: DateTime<Utc>) -> Result<Renewal, Error> {
        let acquired = held.lease.spec.as_ref().and_then(|spec| spec.acquire_time.clone());
        let mut spec = self.spec(held.epoch, now, now);
        spec.acquire_time = acquired;
        held.lease.spec = Some(spec.clone());
        match self.write(&held.lease).await {
            Ok(lease) => {
                held.lease = lease;
                return Ok(Renewal::Done);
            }
            Err(error) if is_conflict(&error) || status(&error) == Some(404) => (),
            Err(error) => return Err(error),
        }
        // Somebody has written to it or deleted it. That need not be another replica: look before giving up.
        match self.read().await? {
            Some(found) if self.is_ours(&found.record, held.epoch) => {
                held.lease = Lease { spec: Some(spec), ..found.lease };
            }
            Some(found) => {
                return Ok(Renewal::Taken { by: found.record.holder.unwrap_or_else(|| "nobody".to_owned()) });
            }
            None => {
                let metadata = ObjectMeta {
                    name: Some(self.name.clone()),
                    annotations: Some(self.about.clone()),
                    ..ObjectMeta::default()
                };
                held.lease = Lease { metadata, spec: Some(spec) };
            }
        }
        held.lease = self.write(&held.lease).await?;
        Ok(Renewal::Done)
    }

    /// Says that nobody leads. A follower then needn't wait until the lease is over.
    pub(super) async fn release(&self, held: &mut Held, now: DateTime<Utc>) -> Result<(), Error> {
        let mut spec = self.spec(held.epoch, now, now);
        spec.holder_identity = None;
        held.lease.spec = Some(spec);
        match self.write(&held.lease).await {
            Ok(_) => Ok(()),
            // Another replica leads, or somebody has deleted it: nothing is ours to give back.
            Err(error) if is_conflict(&error) || status(&error) == Some(404) => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn is_ours(&self, record: &Record, epoch: u64) -> bool {
        record.holder.as_ref() == Some(&self.instance) && transitions(epoch) == record.transitions
    }

    fn spec(&self, epoch: u64, acquired: DateTime<Utc>, renewed: DateTime<Utc>) -> LeaseSpec {
        LeaseSpec {
            holder_identity: Some(self.instance.clone()),
            lease_duration_seconds: i32::try_from(LEASE.as_secs()).ok(),
            lease_transitions: Some(transitions(epoch)),
            acquire_time: Some(micro_time(acquired)),
            renew_time: Some(micro_time(renewed)),
            ..LeaseSpec::default()
        }
    }

    async fn answer<T>(
        &self,
        verb: &'static str,
        request: impl Future<Output = Result<T, kube::Error>>,
    ) -> Result<T, Error> {
        let lease = || self.name.clone();
        match tokio::time::timeout(REQUEST_TIME_OUT, request).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(source)) => Err(Error::Refused { verb, lease: lease(), source: Box::new(source) }),
            Err(_) => Err(Error::NoAnswer { verb, lease: lease() }),
        }
    }

    async fn write(&self, lease: &Lease) -> Result<Lease, Error> {
        let parameters =
            PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() };
        if lease.metadata.resource_version.is_none() {
            self.answer("create", self.api.create(&parameters, lease)).await
        } else {
            self.answer("replace", self.api.replace(&self.name, &parameters, lease)).await
        }
    }
}

fn status(error: &Error) -> Option<u16> {
    match error {
        Error::Refused { verb: _, lease: _, source } => match source.as_ref() {
            kube::Error::Api(status) => Some(status.code),
            _ => None,
        },
        Error::NoAnswer { verb: _, lease: _ } => None,
    }
}

fn is_conflict(error: &Error) -> bool {
    status(error) == Some(409)
}

fn record(lease: &Lease) -> Record {
    let spec = lease.spec.clone().unwrap_or_default();
    let seconds = spec.lease_duration_seconds.and_then(|seconds| u64::try_from(seconds).ok());
    Record {
        holder: spec.holder_identity.filter(|holder| !holder.is_empty()),
        renewed: spec.renew_time.and_then(|time| DateTime::from_timestamp_micros(time.0.as_microsecond())),
        duration: seconds.map_or(LEASE, Duration::from_secs),
        transitions: spec.lease_transitions.unwrap_or_default(),
    }
}

/// When the API server took our newest write, by its own clock.
fn server_time(lease: &Lease) -> Option<DateTime<Utc>> {
    let entries = lease.metadata.managed_fields.iter().flatten();
    let ours = entries.filter(|entry| entry.manager.as_deref() == Some(FIELD_MANAGER));
    ours.filter_map(|entry| entry.time.as_ref()).map(to_chrono).max()
}

/// Epochs that no Lease can hold are centuries away.
fn transitions(epoch: u64) -> i32 {
    i32::try_from(epoch).unwrap_or(i32::MAX)
}

fn micro_time(instant: DateTime<Utc>) -> MicroTime {
    MicroTime(Timestamp::from_microsecond(instant.timestamp_micros()).unwrap_or_default())
}
