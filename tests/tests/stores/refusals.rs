//! What can't work says so: wrong credentials, buckets that are not there, servers that don't answer.

use holdfast::store::LocationSettings;
use holdfast_tests::gcs::GcsServer;

use crate::provider::{Bucket, Provider, aws_secret, azure_secret};

/// What every act on a bucket answers, where it has to fail.
async fn failures(bucket: &Bucket) -> anyhow::Result<Vec<String>> {
    let store = bucket.open().await?.store;
    Ok(vec![
        store.check().await.expect_err("checking").with_causes(),
        store.list_backups().await.expect_err("listing").with_causes(),
        store.backup_exists("one").await.expect_err("looking").with_causes(),
    ])
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_credentials_are_told_by_the_act_and_never_shown() -> anyhow::Result<()> {
    let azure = azure_secret("VE9QU0VDUkVUVE9QU0VDUkVU");
    let google = GcsServer::start().await?.service_account().to_owned();
    let known = Bucket::new(Provider::Aws).await?.secret.unwrap_or_default();
    for (provider, secret, expected) in [
        (Provider::Aws, format!("{}TOPSECRET\n", known.trim_end()), "SignatureDoesNotMatch"),
        // Answered with 404, as if the object were not there.
        (Provider::Aws, aws_secret("STRANGER", "TOPSECRETTOPSECRET"), "XAdminUserNotFound"),
        (Provider::Azure, azure, "AuthorizationFailure"),
        (Provider::Gcp, google, "AuthenticationRequired"),
    ] {
        let mut bucket = Bucket::new(provider).await?;
        bucket.secret = Some(secret);
        for (told, act) in failures(&bucket).await?.iter().zip([
            "listing / failed",
            "listing backups/ failed",
            "reading backups/one/velero-backup.json failed",
        ]) {
            assert!(told.starts_with(&format!("{act}: {expected}")), "{provider:?}: {told}");
            assert!(!told.contains("SECRET"), "{told}");
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_that_is_not_there_is_no_empty_bucket() -> anyhow::Result<()> {
    for (provider, expected) in [
        (Provider::Aws, "NoSuchBucket"),
        (Provider::Azure, "ContainerNotFound"),
        (Provider::Gcp, "NoSuchBucket"),
    ] {
        let mut bucket = Bucket::new(provider).await?;
        bucket.spec.object_storage.bucket = "absent".to_owned();
        for told in failures(&bucket).await? {
            assert!(told.contains(expected), "{provider:?}: {told}");
        }
        let read = bucket.open().await?.store.read_archive("one").await.expect_err("reading").with_causes();
        assert!(read.contains(expected), "{provider:?}: {read}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_cannot_be_reached_is_named() -> anyhow::Result<()> {
    for provider in Provider::SERVICES {
        // Nobody listens there: the port is of those that only a system's own services take.
        let bucket = Bucket::new(provider).await?.at(1);
        for told in failures(&bucket).await? {
            assert!(told.ends_with("127.0.0.1:1: Connection refused (os error 111)"), "{provider:?}: {told}");
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_and_credentials_that_make_no_sense_are_refused_in_plain_words() -> anyhow::Result<()> {
    let unknown = "spec.config has the key \"storageacount\", which provider";
    for provider in Provider::ALL {
        let mut bucket = Bucket::new(provider).await?;
        bucket.spec.config.insert("storageacount".to_owned(), "x".to_owned());
        let told = LocationSettings::parse("default", &bucket.spec, None, None).unwrap_err().to_string();
        assert!(told.starts_with(unknown) && told.contains("it knows"), "{told}");
    }
    let credentials = "the location's credentials can't be used: ";
    for (provider, secret, expected) in [
        (Provider::Aws, "TOPSECRET", "line 1 is neither a section nor a setting"),
        (Provider::Aws, "[other]\na=b\n", "there is no profile \"default\""),
        (Provider::Azure, "TOPSECRET", "line 1 is neither a comment nor a variable"),
        (Provider::Azure, "AZURE_TENANT_ID=x\n", "they have no AZURE_STORAGE_KEY"),
        (Provider::Azure, "AZURE_STORAGE_KEY=TOP SECRET\n", "AZURE_STORAGE_KEY is not base64"),
        (Provider::Gcp, "TOPSECRET", "they are no service account in JSON"),
        (
            Provider::Gcp,
            r#"{"type":"external_account"}"#,
            "a \"external_account\" account is not supported, only a \"service_account\"",
        ),
        (Provider::Gcp, r#"{"type":"service_account"}"#, "the service account has no private_key"),
        (
            Provider::Gcp,
            r#"{"type":"service_account","private_key":"TOPSECRET","private_key_id":"1","client_email":"a@b"}"#,
            "the service account's private_key is not PEM",
        ),
    ] {
        let bucket = Bucket::new(provider).await?;
        let secret = Some(secret.as_bytes().to_vec());
        let told = LocationSettings::parse("default", &bucket.spec, secret, None).unwrap_err().to_string();
        assert_eq!(told, format!("{credentials}{expected}"), "{provider:?}");
    }
    let long = Some(vec![b'#'; 1024 * 1024 + 1]);
    let bucket = Bucket::new(Provider::Azure).await?;
    let told = LocationSettings::parse("default", &bucket.spec, long, None).unwrap_err().to_string();
    assert_eq!(told, format!("{credentials}they are larger than 1 MiB"));
    Ok(())
}
