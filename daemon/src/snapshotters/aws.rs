//! Provider `aws`: volumes and snapshots of EBS, by the EC2 API.
//!
//! `config` is that of Velero's plug-in: `region`, `profile`, `credentialsFile`, `ebsKmsKeyId`. Keys are found as for buckets. Where
//! `AWS_ENDPOINT_URL_EC2` is set, requests go there.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{self, ProvideCredentials};
use aws_sdk_ec2::Client;
use aws_sdk_ec2::config::retry::RetryConfig;
use aws_sdk_ec2::config::timeout::TimeoutConfig;
use aws_sdk_ec2::config::{BehaviorVersion, Region};
use aws_sdk_ec2::error::{DisplayErrorContext, ProvideErrorMetadata, SdkError};
use aws_sdk_ec2::types::{Filter, ResourceType, SnapshotState, TagSpecification, VolumeState, VolumeType};
use aws_smithy_http_client::tls;
use futures::future::BoxFuture;
use serde_json::Value;
use tokio::time::{Instant, sleep};

use super::{
    BACKUP_UID_TAG, Binding, Error, Needs, Opening, Provider, Snapshotter, Subject, VolumeFacts,
    VolumeSnapshotter, Wanted,
};
use crate::store::AwsKeys;

mod tags;
mod volume;

pub(super) const PROVIDER: Provider = Provider {
    name: "aws",
    keys: &["region", "profile", "credentialsFile", "enableSharedConfig", "ebsKmsKeyId"],
    needs: Needs::Credentials,
    may_take: |volume| matches!(volume::id_of(volume), Ok(Some(_))),
    open,
};

const ENDPOINT: &str = "AWS_ENDPOINT_URL_EC2";
const ONE_REQUEST: Duration = Duration::from_secs(60);
const ATTEMPTS: u32 = 5;
/// Snapshots take from minutes to hours.
const LOOK_EVERY: Duration = Duration::from_secs(5);
const VOLUME_WITHIN: Duration = Duration::from_secs(600);
/// Types whose operations a second are paid for.
const WITH_IOPS: [&str; 3] = ["gp3", "io1", "io2"];
/// The source of keys renews them; the client asks it again after this long.
const KEYS_FOR: Duration = Duration::from_secs(300);

struct Aws {
    client: Client,
    kms_key: Option<String>,
}

fn open(opening: Opening) -> BoxFuture<'static, Result<Snapshotter, Error>> {
    Box::pin(async move {
        let region =
            opening.text("region").ok_or_else(|| Error("spec.config lacks the key \"region\"".to_owned()))?;
        let (profile, file) = (opening.text("profile"), opening.text("credentialsFile"));
        let keys = AwsKeys::new(region, profile, opening.credentials.clone(), file);
        let keys = keys.map_err(|error| Error(error.with_causes()))?;
        let crypto = tls::Provider::Rustls(tls::rustls_provider::CryptoMode::Ring);
        let timeouts = TimeoutConfig::builder().operation_attempt_timeout(ONE_REQUEST).build();
        let mut config = aws_sdk_ec2::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .http_client(aws_smithy_http_client::Builder::new().tls_provider(crypto).build_https())
            .region(Region::new(region.to_owned()))
            .retry_config(RetryConfig::standard().with_max_attempts(ATTEMPTS))
            .timeout_config(timeouts)
            .credentials_provider(Keys(keys));
        if let Some(endpoint) = std::env::var(ENDPOINT).ok().filter(|url| !url.is_empty()) {
            config = config.endpoint_url(endpoint);
        }
        let kms_key = opening.text("ebsKmsKeyId").map(str::to_owned);
        let snapshotter: Snapshotter = Arc::new(Aws { client: Client::from_conf(config.build()), kms_key });
        Ok(snapshotter)
    })
}

/// Our source of keys in the form of the client's library.
#[derive(Debug)]
struct Keys(AwsKeys);

impl ProvideCredentials for Keys {
    fn provide_credentials<'a>(&'a self) -> provider::future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        provider::future::ProvideCredentials::new(async {
            let key = self.0.get().await.map_err(CredentialsError::provider_error)?;
            let until = SystemTime::now() + KEYS_FOR;
            Ok(Credentials::new(key.id, key.secret, key.session_token, Some(until), "holdfast"))
        })
    }
}

#[async_trait]
impl VolumeSnapshotter for Aws {
    fn volume_id(&self, volume: &Value) -> Result<Option<String>, Error> {
        volume::id_of(volume)
    }

    fn set_volume_id(&self, volume: &mut Value, id: &str) -> Result<(), Error> {
        volume::set_id(volume, id)
    }

    async fn facts(&self, subject: &Subject) -> Result<VolumeFacts, Error> {
        let volume = self.volume(&subject.volume).await?;
        let volume_type = volume.volume_type().map(VolumeType::as_str).unwrap_or_default().to_owned();
        let iops = volume.iops().filter(|_| WITH_IOPS.contains(&volume_type.as_str())).map(i64::from);
        Ok(VolumeFacts { volume_type, iops })
    }

    async fn create_snapshot(&self, subject: &Subject, binding: &Binding) -> Result<String, Error> {
        let volume = self.volume(&subject.volume).await?;
        let tags = tags::of_snapshot(binding, volume.tags());
        let specification = TagSpecification::builder().resource_type(ResourceType::Snapshot);
        let made = self
            .client
            .create_snapshot()
            .volume_id(&subject.volume)
            .tag_specifications(specification.set_tags(Some(tags)).build())
            .send()
            .await
            .map_err(|error| failed("create a snapshot of", &subject.volume, &error))?;
        let id = made.snapshot_id().filter(|id| !id.is_empty());
        id.map(str::to_owned).ok_or_else(|| Error("EC2 made a snapshot and told no id".to_owned()))
    }

    async fn wait(&self, snapshot: &str) -> Result<(), Error> {
        loop {
            let found = self.snapshot(snapshot).await?;
            let found = found.ok_or_else(|| Error(format!("snapshot {snapshot} is gone")))?;
            match found.state() {
                Some(SnapshotState::Completed) => return Ok(()),
                Some(SnapshotState::Error) => {
                    let reason = found.state_message().unwrap_or("EC2 tells no reason");
                    return Err(Error(format!("snapshot {snapshot} has failed: {reason}")));
                }
                // On its way, or in a state of a newer API.
                Some(_) | None => sleep(LOOK_EVERY).await,
            }
        }
    }

    async fn create_volume(&self, wanted: &Wanted) -> Result<String, Error> {
        let Wanted { snapshot, subject, facts, binding, token } = wanted;
        let found = self.snapshot(snapshot).await?;
        let found = found.ok_or_else(|| Error(format!("snapshot {snapshot} does not exist")))?;
        tags::check(snapshot, found.tags(), binding)?;
        self.wait(snapshot).await?;
        if subject.zone.is_empty() {
            return Err(Error("the backup does not tell the volume's zone".to_owned()));
        }
        let specification = TagSpecification::builder().resource_type(ResourceType::Volume);
        let iops = facts.iops.filter(|_| WITH_IOPS.contains(&facts.volume_type.as_str()));
        let iops = iops
            .map(i32::try_from)
            .transpose()
            .map_err(|_| Error("the volume's IOPS make no sense".to_owned()))?;
        let tags = tags::of_volume(found.tags());
        let made = self
            .client
            .create_volume()
            .snapshot_id(snapshot)
            .availability_zone(&subject.zone)
            .volume_type(VolumeType::from(facts.volume_type.as_str()))
            .set_encrypted(found.encrypted())
            .set_kms_key_id(self.kms_key.clone().filter(|_| found.encrypted() == Some(true)))
            .set_iops(iops)
            // Asked again by an attempt that is taken up again, EC2 gives the same volume.
            .client_token(token)
            .set_tag_specifications(
                (!tags.is_empty()).then(|| vec![specification.set_tags(Some(tags)).build()]),
            )
            .send()
            .await
            .map_err(|error| failed("create a volume of", snapshot, &error))?;
        let id = made.volume_id().filter(|id| !id.is_empty());
        let id = id.ok_or_else(|| Error("EC2 made a volume and told no id".to_owned()))?;
        self.wait_for_volume(id).await?;
        Ok(id.to_owned())
    }

    async fn delete_all_of(&self, backup_uid: &str) -> Result<(), Error> {
        let filter = Filter::builder().name(format!("tag:{BACKUP_UID_TAG}")).values(backup_uid).build();
        let mut pages =
            self.client.describe_snapshots().owner_ids("self").filters(filter).into_paginator().send();
        let mut left = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| failed("find snapshots of", backup_uid, &error))?;
            left.extend(
                page.snapshots().iter().filter_map(|snapshot| snapshot.snapshot_id().map(str::to_owned)),
            );
        }
        for snapshot in left {
            self.delete(&snapshot).await?;
        }
        Ok(())
    }

    async fn delete_snapshot(&self, snapshot: &str, binding: &Binding) -> Result<(), Error> {
        let Some(found) = self.snapshot(snapshot).await? else { return Ok(()) };
        tags::check(snapshot, found.tags(), binding)?;
        self.delete(snapshot).await
    }
}

impl Aws {
    async fn volume(&self, id: &str) -> Result<aws_sdk_ec2::types::Volume, Error> {
        let found = self.client.describe_volumes().volume_ids(id).send().await;
        let found = found.map_err(|error| failed("read volume", id, &error))?;
        match found.volumes {
            Some(mut volumes) if volumes.len() == 1 => Ok(volumes.remove(0)),
            Some(_) | None => Err(Error(format!("EC2 does not tell of volume {id}"))),
        }
    }

    async fn snapshot(&self, id: &str) -> Result<Option<aws_sdk_ec2::types::Snapshot>, Error> {
        match self.client.describe_snapshots().snapshot_ids(id).send().await {
            Ok(found) => Ok(found.snapshots.and_then(|mut snapshots| snapshots.pop())),
            Err(error) if error.code() == Some("InvalidSnapshot.NotFound") => Ok(None),
            Err(error) => Err(failed("read snapshot", id, &error)),
        }
    }

    async fn delete(&self, snapshot: &str) -> Result<(), Error> {
        match self.client.delete_snapshot().snapshot_id(snapshot).send().await {
            Ok(_) => Ok(()),
            Err(error) if error.code() == Some("InvalidSnapshot.NotFound") => Ok(()),
            Err(error) => Err(failed("delete snapshot", snapshot, &error)),
        }
    }

    async fn wait_for_volume(&self, id: &str) -> Result<(), Error> {
        let deadline = Instant::now() + VOLUME_WITHIN;
        loop {
            let volume = self.volume(id).await?;
            match volume.state() {
                Some(VolumeState::Available | VolumeState::InUse) => return Ok(()),
                Some(VolumeState::Error) => return Err(Error(format!("volume {id} has failed"))),
                Some(_) | None if Instant::now() >= deadline => {
                    return Err(Error(format!(
                        "volume {id} is not available after {} s",
                        VOLUME_WITHIN.as_secs()
                    )));
                }
                Some(_) | None => sleep(LOOK_EVERY).await,
            }
        }
    }
}

fn failed<E, R>(verb: &str, what: &str, error: &SdkError<E, R>) -> Error
where
    E: std::error::Error + ProvideErrorMetadata + 'static,
    R: std::fmt::Debug,
{
    match (error.code(), error.message()) {
        (Some(code), Some(message)) => Error(format!("cannot {verb} {what}: {code}: {message}")),
        _ => Error(format!("cannot {verb} {what}: {}", DisplayErrorContext(error))),
    }
}
