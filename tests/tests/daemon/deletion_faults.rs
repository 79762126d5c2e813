//! A deletion that is cut off between any two of its steps, and one whose bucket fails at any of them: what is left at
//! that moment is known for what it is, and the next start ends it.

use std::fmt;
use std::path::{Path as FilePath, PathBuf};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use holdfast::cluster::Cluster;
use holdfast::controllers::claim::Claim;
use holdfast::controllers::events::Events;
use holdfast::controllers::stores::Stores;
use holdfast::controllers::watched::{Record, Watched};
use holdfast::controllers::{OnRestart, delete_backup_request, restore};
use holdfast::store::Layer;
use holdfast_policy::duration::GoDuration;
use holdfast_policy::velero::{
    Backup, BackupPhase, BackupStorageLocation, DeleteBackupRequest, LocationPhase, Restore, RestorePhase,
    RestoreSpec, labels, to_metadata_json,
};
use http::{Method, Request, Response};
use http_body_util::BodyExt;
use kube::api::{ListParams, Patch, PatchParams};
use kube::client::Body;
use kube::{Client, ResourceExt};
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, ObjectStoreExt,
    PutMultipartOptions, PutOptions, PutPayload, PutResult,
};
use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::deletion;
use crate::home::{Home, PATIENCE, POLL, backup_of};

/// No deletion of these tests has as many steps.
const MOST_STEPS: i64 = 80;
const AT_A_TIME: usize = 6;

const FILES: [&str; 5] = [
    "one.tar.gz",
    "one-logs.gz",
    "one-resource-list.json.gz",
    "one-volumeinfo.json.gz",
    "velero-backup.json",
];

/// What becomes of the step whose number has come, and of all after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// The process ends before the step.
    CutOffBefore,
    /// The step is done, and the process ends before it learns so.
    CutOffAfter,
    /// The step fails, and only this one.
    Fails,
}

/// Counts the steps of a life: writes to the API server, and all requests to the bucket.
#[derive(Debug)]
struct Fuse {
    left: AtomicI64,
    fault: Fault,
    blown: CancellationToken,
}

impl Fuse {
    fn new(steps: i64, fault: Fault) -> Arc<Fuse> {
        Arc::new(Fuse { left: AtomicI64::new(steps), fault, blown: CancellationToken::new() })
    }

    /// Carries out a step, if it comes to that.
    async fn step<T, E>(
        &self,
        work: impl Future<Output = Result<T, E>>,
        failure: impl FnOnce() -> Result<T, E>,
    ) -> Result<T, E> {
        let left = self.left.fetch_sub(1, Ordering::SeqCst);
        match (left, self.fault) {
            (1.., _) => work.await,
            (0, Fault::Fails) => {
                self.blown.cancel();
                failure()
            }
            (_, Fault::Fails) => work.await,
            (0, Fault::CutOffAfter) => {
                let done = work.await;
                self.blown.cancel();
                drop(done);
                std::future::pending().await
            }
            (_, Fault::CutOffBefore | Fault::CutOffAfter) => {
                self.blown.cancel();
                std::future::pending().await
            }
        }
    }
}

#[derive(Debug)]
struct Fused {
    bucket: Arc<dyn ObjectStore>,
    fuse: Arc<Fuse>,
}

fn broken<T>() -> object_store::Result<T> {
    Err(object_store::Error::Generic { store: "bucket", source: "a fault of the test".into() })
}

impl fmt::Display for Fused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.bucket.fmt(f)
    }
}

#[async_trait::async_trait]
impl ObjectStore for Fused {
    async fn put_opts(
        &self,
        at: &Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> object_store::Result<PutResult> {
        self.fuse.step(self.bucket.put_opts(at, payload, options), broken).await
    }

    async fn put_multipart_opts(
        &self,
        at: &Path,
        options: PutMultipartOptions,
    ) -> object_store::Result<Box<dyn MultipartUpload>> {
        self.bucket.put_multipart_opts(at, options).await
    }

    async fn get_opts(&self, at: &Path, options: GetOptions) -> object_store::Result<GetResult> {
        self.fuse.step(self.bucket.get_opts(at, options), broken).await
    }

    fn delete_stream(
        &self,
        paths: BoxStream<'static, object_store::Result<Path>>,
    ) -> BoxStream<'static, object_store::Result<Path>> {
        let (bucket, fuse) = (self.bucket.clone(), self.fuse.clone());
        let deleted = paths.then(move |path| {
            let (bucket, fuse) = (bucket.clone(), fuse.clone());
            async move {
                let path = path?;
                fuse.step(bucket.delete(&path), broken).await.map(|()| path)
            }
        });
        deleted.boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, object_store::Result<ObjectMeta>> {
        let (listed, fuse) = (self.bucket.list(prefix), self.fuse.clone());
        let listing = async move { fuse.step(async { Ok(listed) }, broken).await };
        futures::stream::once(listing).try_flatten().boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> object_store::Result<ListResult> {
        self.fuse.step(self.bucket.list_with_delimiter(prefix), broken).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> object_store::Result<()> {
        self.bucket.copy_opts(from, to, options).await
    }
}

fn fused_client(real: Client, namespace: &str, fuse: &Arc<Fuse>) -> Client {
    let fuse = fuse.clone();
    let service = tower::service_fn(move |request: Request<Body>| {
        let (real, fuse) = (real.clone(), fuse.clone());
        async move {
            let is_write = request.method() != Method::GET;
            let sent = async {
                let answer: Response<Body> = real.send(request).await?;
                Ok::<_, kube::Error>(answer.map(BodyExt::boxed_unsync))
            };
            // An API server that fails answers so; how that is met is not these tests' matter.
            if is_write && fuse.fault != Fault::Fails {
                fuse.step(sent, || unreachable!("only buckets fail")).await
            } else {
                sent.await
            }
        }
    });
    Client::new(service, namespace)
}

/// The controllers of one process. Dropped, they do nothing more.
struct Life {
    #[expect(dead_code, reason = "its tasks end when it is dropped")]
    tasks: JoinSet<()>,
}

impl Life {
    fn begin(home: &Home, fuse: Option<&Arc<Fuse>>, clock: TestClock) -> anyhow::Result<Life> {
        let real = home.testbed.client()?;
        let namespace = home.namespace.as_str();
        let client = match fuse {
            Some(fuse) => fused_client(real, namespace, fuse),
            None => real,
        };
        let mut stores = Stores::new(&client, namespace);
        if let Some(fuse) = fuse.cloned() {
            let layer: Layer = Arc::new(move |bucket| Arc::new(Fused { bucket, fuse: fuse.clone() }));
            stores = stores.through(layer);
        }
        let mut tasks = JoinSet::new();
        let requests = watch::<DeleteBackupRequest>(&client, namespace, &mut tasks);
        let backups = watch::<Backup>(&client, namespace, &mut tasks);
        let restores = watch::<Restore>(&client, namespace, &mut tasks);
        let locations = watch::<BackupStorageLocation>(&client, namespace, &mut tasks);
        let deletion = delete_backup_request::Controller {
            requests: requests.clone(),
            backups: backups.clone(),
            restores: restores.clone(),
            locations: locations.clone(),
            stores: stores.clone(),
            cluster: Cluster::new(client.clone()),
            clock: clock.clock(),
            events: Events::new(&client),
            limit: 4,
            default_location: "default".to_owned(),
            actions: holdfast::actions::delete::all(),
        };
        let restore = restore::Controller {
            namespace: namespace.to_owned(),
            restores: restores.clone(),
            backups: backups.clone(),
            locations: locations.clone(),
            stores,
            cluster: Cluster::new(client),
            clock: clock.clock(),
            claim: Claim { holder: "test".to_owned(), epoch: 1 },
            limit: 1,
            left_alone: Default::default(),
            on_restart: OnRestart::Resume,
            item_operation_timeout: GoDuration::from_secs(60),
            timeouts: holdfast::engine::restore::Timeouts::default(),
        };
        tasks.spawn(async move {
            tokio::join!(requests.filled(), backups.filled(), restores.filled(), locations.filled());
            tokio::join!(deletion.run(CancellationToken::new()), restore.run(CancellationToken::new()));
        });
        Ok(Life { tasks })
    }
}

fn watch<K: Record>(client: &Client, namespace: &str, tasks: &mut JoinSet<()>) -> Arc<Watched<K>> {
    let watched = Arc::new(Watched::new(client, namespace));
    let followed = watched.clone();
    tasks.spawn(async move { followed.follow().await });
    watched
}

/// A clock that stands still until it is moved.
#[derive(Clone)]
struct TestClock(Arc<Mutex<DateTime<Utc>>>);

impl TestClock {
    fn new() -> TestClock {
        TestClock(Arc::new(Mutex::new("2026-11-23T10:00:00Z".parse().expect("it is an instant"))))
    }

    fn clock(&self) -> holdfast::clock::Clock {
        let clock = self.clone();
        Arc::new(move || *clock.0.lock().expect("no test panics while it holds the clock"))
    }

    fn advance(&self, minutes: i64) {
        *self.0.lock().expect("no test panics while it holds the clock") +=
            chrono::Duration::minutes(minutes);
    }
}

/// A namespace with a whole backup, a restore of it with a file in the bucket, and a request.
async fn stage() -> anyhow::Result<Home> {
    let home = Home::new("fault").await?;
    home.local_location().await?;
    let available = Patch::Merge(json!({"status": {"phase": LocationPhase::Available}}));
    home.runs.api::<BackupStorageLocation>().patch("default", &PatchParams::default(), &available).await?;
    let mut backup = Backup::new("one", backup_of(&home.namespace));
    backup.spec.storage_location = Some("default".to_owned());
    backup.status.phase = Some(BackupPhase::Completed);
    let folder = home.bucket().join("backups/one");
    std::fs::create_dir_all(&folder)?;
    for file in FILES {
        let content = match file {
            "velero-backup.json" => Bytes::from(to_metadata_json(&backup)),
            "one-resource-list.json.gz" => holdfast::archive::gzip_json(&json!({"v1/ConfigMap": ["a/b"]}))?,
            "one-volumeinfo.json.gz" => holdfast::archive::gzip_json(&json!([]))?,
            _ => Bytes::from_static(b"of no interest here"),
        };
        std::fs::write(folder.join(file), content)?;
    }
    let restored = home.bucket().join("restores/back");
    std::fs::create_dir_all(&restored)?;
    std::fs::write(restored.join("restore-back-logs.gz"), b"of no interest here")?;
    let spec = RestoreSpec { backup_name: Some("one".to_owned()), ..RestoreSpec::default() };
    let mut restore = Restore::new("back", spec);
    restore.finalizers_mut().push(labels::RESTORE_FINALIZER.to_owned());
    restore.status.phase = Some(RestorePhase::Completed);
    home.runs.create(&restore).await?;
    home.runs.create(&backup).await?;
    let backup = home.runs.api::<Backup>().get("one").await?;
    deletion::ask(&home, &backup).await?;
    Ok(home)
}

/// What a folder of a backup may look like to whoever reads the bucket.
#[derive(Debug, PartialEq, Eq)]
enum Folder {
    Whole,
    Marked,
    Gone,
}

fn folder(bucket: &FilePath) -> anyhow::Result<Folder> {
    let folder: PathBuf = bucket.join("backups/one");
    let present = |file: &&&str| folder.join(file).exists();
    let files = FILES.iter().filter(present).count();
    let record = std::fs::read(folder.join("velero-backup.json"));
    let Ok(record) = record else {
        anyhow::ensure!(files == 0, "files without a record");
        return Ok(Folder::Gone);
    };
    let record: Backup = serde_json::from_slice(&record)?;
    if record.status_phase() == BackupPhase::Deleting {
        return Ok(Folder::Marked);
    }
    anyhow::ensure!(files == FILES.len(), "a backup that looks whole has {files} files");
    Ok(Folder::Whole)
}

/// What must hold at any moment.
async fn nothing_is_half_known(home: &Home) -> anyhow::Result<()> {
    let backup = home.runs.api::<Backup>().get_opt("one").await?;
    let folder = folder(&home.bucket())?;
    let Some(backup) = backup else {
        anyhow::ensure!(folder == Folder::Gone, "the Backup is gone and its folder is {folder:?}");
        return Ok(());
    };
    anyhow::ensure!(
        backup.status_phase() == BackupPhase::Deleting || folder == Folder::Whole,
        "a Backup in phase {} has a folder that is {folder:?}",
        backup.status_phase().as_str()
    );
    let restores = home.runs.api::<Restore>().list(&ListParams::default()).await?;
    let asked = restores.iter().any(|restore| restore.metadata.deletion_timestamp.is_some());
    anyhow::ensure!(folder == Folder::Gone || !asked, "Restores go while the folder is {folder:?}");
    Ok(())
}

async fn everything_is_gone(home: &Home) -> anyhow::Result<()> {
    deletion::gone(home, "one").await?;
    let restores = home.runs.api::<Restore>().list(&ListParams::default()).await?;
    anyhow::ensure!(restores.items.is_empty(), "{:?}", restores.items);
    anyhow::ensure!(home.files()?.is_empty(), "{:?}", home.files()?);
    Ok(())
}

/// Tells whether the fault came before the deletion was over.
async fn one_fault(steps: i64, fault: Fault) -> anyhow::Result<bool> {
    let home = stage().await?;
    let clock = TestClock::new();
    let fuse = Fuse::new(steps, fault);
    let life = Life::begin(&home, Some(&fuse), clock.clone())?;
    let came = tokio::select! {
        () = fuse.blown.cancelled() => true,
        over = deletion::gone(&home, "one") => {
            over?;
            false
        }
    };
    let life = match fault {
        Fault::CutOffBefore | Fault::CutOffAfter => {
            drop(life);
            nothing_is_half_known(&home).await?;
            Life::begin(&home, None, clock)?
        }
        Fault::Fails => {
            // Waits out every back-off; what was not tried again would stay.
            let deadline = Instant::now() + PATIENCE;
            while !deletion::requests_for(&home, "one").await?.is_empty() {
                nothing_is_half_known(&home).await?;
                clock.advance(1);
                anyhow::ensure!(Instant::now() < deadline, "it is not tried again");
                tokio::time::sleep(POLL * 4).await;
            }
            life
        }
    };
    everything_is_gone(&home).await?;
    drop(life);
    Ok(came)
}

async fn every_step(fault: Fault) -> anyhow::Result<i64> {
    // For the definitions.
    Home::new("definitions").await?.daemon(&[]).await?.stop().await?;
    let mut outcomes = futures::stream::iter(0..MOST_STEPS)
        .map(|steps| async move { (steps, one_fault(steps, fault).await) })
        .buffered(AT_A_TIME);
    while let Some((steps, outcome)) = outcomes.next().await {
        match outcome {
            Ok(true) => (),
            Ok(false) => return Ok(steps),
            Err(error) => return Err(error.context(format!("{fault:?} at step {steps}"))),
        }
    }
    anyhow::bail!("a deletion has more than {MOST_STEPS} steps")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deletion_that_is_cut_off_before_any_of_its_steps_is_taken_up_again() -> anyhow::Result<()> {
    let steps = every_step(Fault::CutOffBefore).await?;
    anyhow::ensure!(steps > 15, "only {steps} steps were counted");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deletion_that_is_cut_off_after_any_of_its_steps_is_taken_up_again() -> anyhow::Result<()> {
    let steps = every_step(Fault::CutOffAfter).await?;
    anyhow::ensure!(steps > 15, "only {steps} steps were counted");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deletion_whose_bucket_fails_at_any_step_is_tried_again_and_ends() -> anyhow::Result<()> {
    let steps = every_step(Fault::Fails).await?;
    anyhow::ensure!(steps > 8, "only {steps} steps were counted");
    Ok(())
}
