//! BackupStorageLocations: what is wrong with one is said, and what changes is picked up without a restart.

use std::collections::BTreeMap;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use holdfast_policy::velero::{Backup, BackupPhase, BackupStorageLocation, LocationPhase};
use holdfast_tests::{S3Server, Testbed};
use k8s_openapi::api::core::v1::Secret;
use kube::api::{Patch, PatchParams};
use pretty_assertions::assert_eq;
use serde_json::{Value, json};

use crate::deletion::{ask, errors_of, gone};
use crate::home::{Home, PATIENCE, backup_of};

async fn patch(home: &Home, change: Value) -> anyhow::Result<()> {
    let locations = home.runs.api::<BackupStorageLocation>();
    locations.patch("default", &PatchParams::default(), &Patch::Merge(change)).await?;
    Ok(())
}

async fn set_secret(home: &Home, name: &str, key: &str, text: &str) -> anyhow::Result<()> {
    let change = Patch::Merge(json!({"data": {key: BASE64_STANDARD.encode(text)}}));
    home.runs.api::<Secret>().patch(name, &PatchParams::default(), &change).await?;
    Ok(())
}

/// Waits until the location is unavailable for this reason.
async fn is_unavailable(home: &Home, why: &str) -> anyhow::Result<BackupStorageLocation> {
    let says = |it: &BackupStorageLocation| {
        it.status.phase == Some(LocationPhase::Unavailable)
            && it.status.message.as_ref().is_some_and(|message| message.contains(why))
    };
    home.runs.ended("default", PATIENCE, says).await
}

#[tokio::test(flavor = "multi_thread")]
async fn other_credentials_are_picked_up_without_a_restart() -> anyhow::Result<()> {
    let home = Home::new("rotation").await?;
    let server = S3Server::start().await?;
    server.create_bucket("bucket").await?;
    let _daemon = home.daemon(&["--store-validation-frequency=1s"]).await?;
    let file = |secret: &str| {
        format!("[default]\naws_access_key_id = {}\naws_secret_access_key = {secret}\n", server.access_key())
    };
    home.s3_credentials(server.access_key(), server.secret_key()).await?;
    home.s3_location(server.endpoint(), "bucket").await?;
    home.location_is(LocationPhase::Available).await?;
    set_secret(&home, "cloud", "cloud", &file("of yesterday")).await?;
    let refused = home.location_is(LocationPhase::Unavailable).await?;
    let message = refused.status.message.unwrap_or_default();
    assert!(!message.contains("of yesterday") && !message.contains(server.secret_key()), "{message}");
    set_secret(&home, "cloud", "cloud", &file(server.secret_key())).await?;
    home.location_is(LocationPhase::Available).await?;
    let one = home.runs.backup("one", backup_of(&home.namespace), PATIENCE).await?;
    assert_eq!(one.status_phase(), BackupPhase::Completed);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn other_ca_certificates_are_picked_up_without_a_restart_and_only_one_kind_is_allowed()
-> anyhow::Result<()> {
    let home = Home::new("ca").await?;
    let server = S3Server::start().await?;
    server.create_bucket("bucket").await?;
    let _daemon = home.daemon(&["--store-validation-frequency=1s"]).await?;
    home.s3_credentials(server.access_key(), server.secret_key()).await?;
    home.s3_location(server.endpoint(), "bucket").await?;
    home.location_is(LocationPhase::Available).await?;
    patch(&home, json!({"spec": {"objectStorage": {"caCertRef": {"name": "ca", "key": "ca.crt"}}}})).await?;
    is_unavailable(&home, "Secret ca does not exist").await?;
    let certificate = home.testbed.authority();
    let secret = Secret {
        metadata: kube::api::ObjectMeta { name: Some("ca".to_owned()), ..Default::default() },
        string_data: Some(BTreeMap::from([("ca.crt".to_owned(), certificate.clone())])),
        ..Default::default()
    };
    home.runs.create(&secret).await?;
    home.location_is(LocationPhase::Available).await?;
    set_secret(&home, "ca", "ca.crt", "-----BEGIN CERTIFICATE-----\nnonsense\n").await?;
    is_unavailable(&home, "CA certificates are not PEM").await?;
    set_secret(&home, "ca", "ca.crt", &certificate).await?;
    home.location_is(LocationPhase::Available).await?;
    patch(&home, json!({"spec": {"objectStorage": {"caCert": BASE64_STANDARD.encode(&certificate)}}}))
        .await?;
    is_unavailable(&home, "only one of caCert and caCertRef may be set").await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_is_trusted_by_the_ca_certificates_of_the_moment() -> anyhow::Result<()> {
    let home = Home::new("tls").await?;
    let stranger = Testbed::shared_second().await?.authority();
    let authority = home.testbed.authority();
    let server = S3Server::start_with_certificate_of(home.testbed).await?;
    server.create_bucket("bucket").await?;
    let _daemon = home.daemon(&["--store-validation-frequency=1s"]).await?;
    home.s3_credentials(server.access_key(), server.secret_key()).await?;
    home.s3_location(server.endpoint(), "bucket").await?;
    home.location_is(LocationPhase::Unavailable).await?;

    let inline = |text: &str| json!({"spec": {"objectStorage": {"caCert": BASE64_STANDARD.encode(text)}}});
    patch(&home, inline(&authority)).await?;
    home.location_is(LocationPhase::Available).await?;
    patch(&home, inline(&stranger)).await?;
    home.location_is(LocationPhase::Unavailable).await?;

    let secret = Secret {
        metadata: kube::api::ObjectMeta { name: Some("ca".to_owned()), ..Default::default() },
        string_data: Some(BTreeMap::from([("ca.crt".to_owned(), authority.clone())])),
        ..Default::default()
    };
    home.runs.create(&secret).await?;
    let by_secret = json!({"caCert": null, "caCertRef": {"name": "ca", "key": "ca.crt"}});
    patch(&home, json!({"spec": {"objectStorage": by_secret}})).await?;
    home.location_is(LocationPhase::Available).await?;
    set_secret(&home, "ca", "ca.crt", &stranger).await?;
    home.location_is(LocationPhase::Unavailable).await?;
    // As one goes from an old authority to a new one.
    set_secret(&home, "ca", "ca.crt", &[stranger, authority].concat()).await?;
    home.location_is(LocationPhase::Available).await?;
    let one = home.runs.backup("one", backup_of(&home.namespace), PATIENCE).await?;
    assert_eq!(one.status_phase(), BackupPhase::Completed);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_location_that_is_wrong_says_what_is_wrong_with_it() -> anyhow::Result<()> {
    let home = Home::new("wrong").await?;
    let _daemon = home.daemon(&["--store-validation-frequency=1s"]).await?;
    home.local_location().await?;
    home.location_is(LocationPhase::Available).await?;
    let folder = home.bucket();
    let folder = folder.parent().expect("a bucket is a folder in another");
    for (change, why) in [
        (json!({"provider": "ibm"}), r#"provider "ibm" is not known"#),
        (json!({"config": {"region": "x"}}), r#"spec.config has the key "region""#),
        (json!({"objectStorage": {"prefix": "../up"}}), "can't be a path in a bucket"),
        (json!({"objectStorage": {"bucket": "nowhere"}}), "does not exist"),
        (json!({"credential": {"name": "absent", "key": "k"}}), "Secret absent does not exist"),
    ] {
        patch(&home, json!({"spec": change})).await?;
        is_unavailable(&home, why).await?;
        let right = json!({"spec": {
            "provider": "local", "config": {"path": folder, "region": null}, "credential": null,
            "objectStorage": {"bucket": "bucket", "prefix": null},
        }});
        patch(&home, right).await?;
        home.location_is(LocationPhase::Available).await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_with_folders_that_velero_does_not_know_is_somebody_else_s() -> anyhow::Result<()> {
    let home = Home::new("stray").await?;
    let _daemon = home.daemon(&["--store-validation-frequency=1s"]).await?;
    let stray = home.bucket().join("photos");
    std::fs::create_dir_all(&stray)?;
    std::fs::write(stray.join("cat.png"), "x")?;
    std::fs::create_dir_all(home.bucket().join("kopia/nowhere"))?;
    home.local_location().await?;
    is_unavailable(&home, "top-level folders that don't belong there: photos").await?;
    std::fs::remove_dir_all(&stray)?;
    home.location_is(LocationPhase::Available).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deletion_waits_for_a_person_where_the_location_is_unavailable() -> anyhow::Result<()> {
    let home = Home::new("away").await?;
    let _daemon = home.daemon(&["--store-validation-frequency=1s"]).await?;
    home.local_location().await?;
    let one = home.runs.backup("one", backup_of(&home.namespace), PATIENCE).await?;
    let kept = home.bucket().with_file_name("kept");
    std::fs::rename(home.bucket(), &kept)?;
    home.location_is(LocationPhase::Unavailable).await?;
    let request = ask(&home, &one).await?;
    let expected = "backup deletion failed: cannot delete backup because backup storage location default is \
                    currently in Unavailable state";
    assert_eq!(errors_of(&home, &request).await?, [expected]);
    assert_eq!(home.runs.api::<Backup>().get("one").await?.status_phase(), BackupPhase::Completed);
    assert!(!home.bucket().exists());
    std::fs::rename(&kept, home.bucket())?;
    home.location_is(LocationPhase::Available).await?;
    ask(&home, &one).await?;
    gone(&home, "one").await
}
