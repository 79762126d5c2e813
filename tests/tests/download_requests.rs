//! DownloadRequests, as the `velero` command line makes and uses them: a URL within a moment, the bytes as they are
//! stored, 404 for what is not there, and no answer for what nobody knows.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use flate2::read::GzDecoder;
use holdfast_policy::time::to_chrono;
use holdfast_policy::velero::{
    BackupPhase, BackupSpec, BackupStorageLocation, DownloadRequest, DownloadRequestPhase,
    DownloadRequestSpec, DownloadTarget, DownloadTargetKind as Kind, Restore, RestorePhase, RestoreSpec,
};
use holdfast_tests::{Daemon, DaemonOptions, Runs, Testbed};
use kube::api::{DeleteParams, Patch, PatchParams};
use kube::{Client, ResourceExt};
use pretty_assertions::assert_eq;
use reqwest::StatusCode;
use serde_json::json;
use tokio::sync::OnceCell;

const PATIENCE: Duration = Duration::from_secs(60);

/// A daemon with one backup and one restore, shared by the tests, each of which has a runtime and so a client of its own.
struct Stage {
    namespace: String,
    bucket: PathBuf,
    _daemon: Daemon,
}

static STAGE: OnceCell<Stage> = OnceCell::const_new();

async fn stage() -> anyhow::Result<(&'static Stage, Runs)> {
    let testbed = Testbed::shared().await?;
    let stage = STAGE.get_or_try_init(|| set(testbed)).await?;
    Ok((stage, runs(testbed.client()?, &stage.namespace).await?))
}

async fn runs(client: Client, namespace: &str) -> anyhow::Result<Runs> {
    Runs::in_namespace(client, namespace).await
}

async fn set(testbed: &Testbed) -> anyhow::Result<Stage> {
    let namespace = testbed.namespace("downloads").await?;
    let application = testbed.namespace("application").await?;
    let options = DaemonOptions { namespace: namespace.clone(), ..DaemonOptions::default() };
    let daemon = Daemon::start(testbed, options).await?;
    let runs = runs(testbed.client()?, &namespace).await?;
    runs.local_location("default", daemon.directory(), "bucket").await?;
    let spec = BackupSpec { included_namespaces: vec![application], ..BackupSpec::default() };
    let backup = runs.backup("nightly", spec, PATIENCE).await?;
    anyhow::ensure!(backup.status_phase() == BackupPhase::Completed, "{:?}", backup.status);
    let spec = RestoreSpec { backup_name: Some("nightly".to_owned()), ..RestoreSpec::default() };
    let restore = runs.restore("back", spec, PATIENCE).await?;
    anyhow::ensure!(restore.status_phase() == RestorePhase::Completed, "{:?}", restore.status);
    let bucket = daemon.directory().join("bucket");
    Ok(Stage { namespace, bucket, _daemon: daemon })
}

/// As the command line does: a name that nobody has, and a look every 25 ms until there is a URL.
async fn ask(runs: &Runs, kind: Kind, name: &str) -> anyhow::Result<DownloadRequest> {
    let request = create(runs, kind, name).await?;
    runs.ended(&request, PATIENCE, |request: &DownloadRequest| request.status.download_url.is_some()).await
}

async fn create(runs: &Runs, kind: Kind, name: &str) -> anyhow::Result<String> {
    let request = format!("{name}-{}", uuid::Uuid::new_v4());
    let target = Some(DownloadTarget { kind, name: name.to_owned() });
    runs.create(&DownloadRequest::new(&request, DownloadRequestSpec { target })).await?;
    Ok(request)
}

fn url(request: &DownloadRequest) -> &str {
    request.status.download_url.as_deref().expect("it was waited for")
}

#[tokio::test]
async fn every_kind_gives_the_bytes_that_are_in_the_bucket() -> anyhow::Result<()> {
    let (stage, runs) = stage().await?;
    let files = [
        (Kind::BackupLog, "nightly", "backups/nightly/nightly-logs.gz"),
        (Kind::BackupContents, "nightly", "backups/nightly/nightly.tar.gz"),
        (Kind::BackupVolumeSnapshots, "nightly", "backups/nightly/nightly-volumesnapshots.json.gz"),
        (Kind::BackupItemOperations, "nightly", "backups/nightly/nightly-itemoperations.json.gz"),
        (Kind::BackupResourceList, "nightly", "backups/nightly/nightly-resource-list.json.gz"),
        (Kind::BackupResults, "nightly", "backups/nightly/nightly-results.gz"),
        (Kind::BackupVolumeInfos, "nightly", "backups/nightly/nightly-volumeinfo.json.gz"),
        (Kind::RestoreLog, "back", "restores/back/restore-back-logs.gz"),
        (Kind::RestoreResults, "back", "restores/back/restore-back-results.gz"),
        (Kind::RestoreResourceList, "back", "restores/back/restore-back-resource-list.json.gz"),
        (Kind::RestoreItemOperations, "back", "restores/back/restore-back-itemoperations.json.gz"),
        (Kind::RestoreVolumeInfo, "back", "restores/back/back-volumeinfo.json.gz"),
    ];
    for (kind, name, file) in files {
        let request = ask(&runs, kind, name).await?;
        assert_eq!(request.status_phase(), DownloadRequestPhase::Processed, "{kind}");
        let answer = reqwest::get(url(&request)).await?;
        let path = stage.bucket.join(file);
        if !path.exists() {
            assert_eq!(answer.status(), StatusCode::NOT_FOUND, "{kind}");
            continue;
        }
        assert_eq!(answer.status(), StatusCode::OK, "{kind}");
        assert!(answer.headers().get("content-encoding").is_none(), "{kind}");
        let body = answer.bytes().await?;
        assert_eq!(body, std::fs::read(&path)?, "{kind}");
        // The command line unpacks every file but the archive itself; the archive is gzip as well.
        GzDecoder::new(body.as_ref()).read_to_end(&mut Vec::new()).with_context(|| format!("{kind}"))?;
    }
    Ok(())
}

#[tokio::test]
async fn a_file_that_is_not_there_is_answered_with_404() -> anyhow::Result<()> {
    let (_, runs) = stage().await?;
    for kind in [Kind::CsiBackupVolumeSnapshots, Kind::CsiBackupVolumeSnapshotContents] {
        let request = ask(&runs, kind, "nightly").await?;
        assert_eq!(reqwest::get(url(&request)).await?.status(), StatusCode::NOT_FOUND, "{kind}");
    }
    Ok(())
}

#[tokio::test]
async fn a_url_is_signed_and_lasts_ten_minutes() -> anyhow::Result<()> {
    let (_, runs) = stage().await?;
    let request = ask(&runs, Kind::BackupLog, "nightly").await?;
    let created = request.creation_timestamp().context("a creation time")?;
    let expiration = request.status.expiration.as_ref().context("an expiration")?;
    let lifetime = to_chrono(expiration) - to_chrono(&created);
    assert!((598..=605).contains(&lifetime.num_seconds()), "{lifetime}");

    let good = url(&request);
    let (path, query) = good.split_once('?').context("a query")?;
    let later = format!("{path}?{}", query.replace("expires=1", "expires=2"));
    let another = good.replace("nightly-logs", "nightly-results");
    for url in [later, another] {
        assert_eq!(reqwest::get(&url).await?.status(), StatusCode::FORBIDDEN, "{url}");
    }
    assert_eq!(reqwest::get(path).await?.status(), StatusCode::BAD_REQUEST);
    assert_eq!(reqwest::get(good).await?.status(), StatusCode::OK);
    Ok(())
}

#[tokio::test]
async fn a_request_for_what_nobody_knows_gets_no_answer_and_an_end() -> anyhow::Result<()> {
    let (_, runs) = stage().await?;
    for (kind, name) in [(Kind::BackupLog, "unknown"), (Kind::RestoreLog, "unknown")] {
        let name = create(&runs, kind, name).await?;
        let given_time = |request: &DownloadRequest| request.status.expiration.is_some();
        let request = runs.ended(&name, PATIENCE, given_time).await?;
        assert_eq!((request.status.phase, &request.status.download_url), (None, &None));
    }
    Ok(())
}

#[tokio::test]
async fn the_files_of_a_restore_need_its_backup() -> anyhow::Result<()> {
    let (_, runs) = stage().await?;
    let spec = RestoreSpec { backup_name: Some("gone".to_owned()), ..RestoreSpec::default() };
    runs.create(&Restore::new("orphan", spec)).await?;
    let name = create(&runs, Kind::RestoreLog, "orphan").await?;
    let given_time = |request: &DownloadRequest| request.status.expiration.is_some();
    let request = runs.ended(&name, PATIENCE, given_time).await?;
    assert_eq!(request.status.download_url, None);
    runs.api::<Restore>().delete("orphan", &DeleteParams::default()).await?;
    Ok(())
}

#[tokio::test]
async fn an_expired_request_is_deleted() -> anyhow::Result<()> {
    let (_, runs) = stage().await?;
    let request = ask(&runs, Kind::BackupLog, "nightly").await?.name_any();
    let requests = runs.api::<DownloadRequest>();
    let past = Patch::Merge(json!({"status": {"expiration": "2026-01-01T00:00:00Z"}}));
    requests.patch(&request, &PatchParams::default(), &past).await?;
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while requests.get_opt(&request).await?.is_some() {
        anyhow::ensure!(tokio::time::Instant::now() < deadline, "{request} is still there");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}

#[tokio::test]
async fn a_location_says_how_its_files_are_reached_from_outside() -> anyhow::Result<()> {
    let (stage, runs) = stage().await?;
    let locations = runs.api::<BackupStorageLocation>();
    let mut location = locations.get("default").await?;
    location.metadata = kube::api::ObjectMeta { name: Some("public".to_owned()), ..Default::default() };
    location.spec.default = false;
    location
        .spec
        .config
        .extend(BTreeMap::from([("publicUrl".to_owned(), "https://backups.example.com/files".to_owned())]));
    location.status = Default::default();
    runs.create(&location).await?;
    let mut backup = runs.api::<holdfast_policy::velero::Backup>().get("nightly").await?;
    backup.metadata = kube::api::ObjectMeta { name: Some("elsewhere".to_owned()), ..Default::default() };
    backup.spec.storage_location = Some("public".to_owned());
    runs.create(&backup).await?;
    let request = ask(&runs, Kind::BackupLog, "elsewhere").await?;
    let start = "https://backups.example.com/files/downloads/public/backups/elsewhere/elsewhere-logs.gz?";
    assert!(url(&request).starts_with(start), "{}", url(&request));
    assert!(stage.bucket.exists());
    Ok(())
}
