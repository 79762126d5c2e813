//! The daemon's whole way through a bucket of each provider, with each codec.

use std::io::Read;

use anyhow::Context;
use holdfast_policy::velero::{
    Backup, BackupPhase, DownloadRequest, DownloadRequestSpec, DownloadTarget, DownloadTargetKind,
    RestorePhase, RestoreSpec,
};
use kube::api::DeleteParams;
use object_store::ObjectStoreExt;
use pretty_assertions::assert_eq;

use crate::home::{Home, PATIENCE, all_keys, backup_keys, backup_of};
use crate::provider::{Bucket, Provider};

/// First bytes of what each codec writes (RFC 1952, RFC 8878).
const CODECS: [(&str, &str, &[u8]); 2] =
    [("gzip", ".tar.gz", &[0x1f, 0x8b]), ("zstd", ".tar.zst", &[0x28, 0xb5, 0x2f, 0xfd])];

/// Backup, what is in the bucket, download, sync, restore and deletion.
async fn whole_run(provider: Provider) -> anyhow::Result<()> {
    let home = Home::new("whole").await?;
    let (application, settings) = home.application().await?;
    let _daemon = home.daemon(&[]).await?;
    let bucket = Bucket::new(provider).await?;
    for (codec, extension, magic) in CODECS {
        let mut place = bucket.clone().with_prefix(codec);
        place.spec.config.insert("compression".to_owned(), codec.to_owned());
        place.spec.backup_sync_period = Some("1s".parse().expect("a duration"));
        place.spec.default = false;
        home.location(codec, &place).await?;
        let open = place.open().await?;
        let name = format!("of-{codec}");

        let mut spec = backup_of(&application);
        spec.storage_location = Some(codec.to_owned());
        let backup = home.runs.backup(&name, spec.clone(), PATIENCE).await?;
        assert_eq!(backup.status_phase(), BackupPhase::Completed, "{:?}", backup.status);
        assert_eq!(backup_keys(&open).await?, all_keys(&name, extension));
        let stored = open.raw.get(&open.path(&format!("backups/{name}/{name}{extension}"))).await?;
        assert!(stored.attributes.get(&object_store::Attribute::ContentEncoding).is_none());
        let stored = stored.bytes().await?;
        assert!(stored.starts_with(magic), "{codec}");

        if provider != Provider::Local {
            let target =
                Some(DownloadTarget { kind: DownloadTargetKind::BackupContents, name: name.clone() });
            home.runs.create(&DownloadRequest::new(&name, DownloadRequestSpec { target })).await?;
            let has_url = |request: &DownloadRequest| request.status.download_url.is_some();
            let request = home.runs.ended(&name, PATIENCE, has_url).await?;
            let url = request.status.download_url.context("it was waited for")?;
            let answer = reqwest::get(&url).await?.error_for_status()?;
            assert_eq!(answer.bytes().await?, stored, "{codec}");
        }

        home.runs.api::<Backup>().delete(&name, &DeleteParams::default()).await?;
        let synced = home
            .runs
            .ended(&name, PATIENCE, |synced: &Backup| synced.metadata.uid != backup.metadata.uid)
            .await?;
        assert_eq!(synced.status.phase, Some(BackupPhase::Completed));

        settings.delete("settings", &DeleteParams::default()).await?;
        let spec = RestoreSpec { backup_name: Some(name.clone()), ..RestoreSpec::default() };
        let restore = home.runs.restore(&format!("back-{codec}"), spec, PATIENCE).await?;
        assert_eq!(restore.status_phase(), RestorePhase::Completed, "{:?}", restore.status);
        let restored = settings.get("settings").await.context("the restored object")?;
        assert_eq!(restored.data.context("data")?["colour"], "green");

        home.ask_for_deletion(&synced).await?;
        home.gone(&name).await?;
        assert_eq!(backup_keys(&open).await?, Vec::<String>::new());
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_goes_into_a_folder_and_comes_back() -> anyhow::Result<()> {
    whole_run(Provider::Local).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_goes_to_s3_and_comes_back() -> anyhow::Result<()> {
    whole_run(Provider::Aws).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_goes_to_azure_and_comes_back() -> anyhow::Result<()> {
    whole_run(Provider::Azure).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_goes_to_google_and_comes_back() -> anyhow::Result<()> {
    whole_run(Provider::Gcp).await
}

/// Both codecs, unpacked, give the same stream of entries but for what the API server changed meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn a_zstd_archive_holds_what_a_gzip_archive_holds() -> anyhow::Result<()> {
    let home = Home::new("codecs").await?;
    let (application, _settings) = home.application().await?;
    let _daemon = home.daemon(&[]).await?;
    let mut names = Vec::new();
    for (codec, extension, _) in CODECS {
        let mut place = Bucket::new(Provider::Local).await?;
        place.spec.config.insert("compression".to_owned(), codec.to_owned());
        place.spec.default = false;
        home.location(codec, &place).await?;
        let mut spec = backup_of(&application);
        spec.storage_location = Some(codec.to_owned());
        spec.included_resources = vec!["configmaps".to_owned()];
        let backup = home.runs.backup(codec, spec, PATIENCE).await?;
        assert_eq!(backup.status_phase(), BackupPhase::Completed, "{:?}", backup.status);
        let open = place.open().await?;
        let packed = open.raw.get(&open.path(&format!("backups/{codec}/{codec}{extension}"))).await?;
        names.push(entries(codec, &packed.bytes().await?)?);
    }
    assert_eq!(names[0], names[1]);
    assert_eq!(names[0][0].0, "metadata/version");
    Ok(())
}

fn entries(codec: &str, packed: &[u8]) -> anyhow::Result<Vec<(String, Vec<u8>)>> {
    let plain: Box<dyn Read> = match codec {
        "zstd" => Box::new(zstd::stream::read::Decoder::new(packed)?),
        _ => Box::new(flate2::read::GzDecoder::new(packed)),
    };
    let mut entries = Vec::new();
    for entry in tar::Archive::new(plain).entries()? {
        let mut entry = entry?;
        let mut content = Vec::new();
        entry.read_to_end(&mut content)?;
        entries.push((entry.path()?.display().to_string(), content));
    }
    Ok(entries)
}
