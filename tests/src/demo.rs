//! The main job in one command: back up a sample application, lose it, bring it back, and compare object by object; where a node
//! can be had, also what a pod wrote to its volume.

mod database;
mod progress;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use holdfast_policy::velero::{Backup, BackupPhase, Restore, RestorePhase, RestoreSpec, labels};
use kube::ResourceExt as _;
use kube::api::{Api, DeleteParams, ListParams};

use crate::compare::{Difference, Picture};
use crate::daemon::{Daemon, DaemonOptions};
use crate::fixtures::SampleApplication;
use crate::node;
use crate::runs::Runs;
use crate::testbed::{Testbed, install_crypto_provider};
use progress::{Step, Steps};

/// The policies of the demo, as they stand in the gallery; the folder of the bucket is put in when they are used.
const POLICIES: &str = include_str!("../../examples/policies/quick-start.yaml");
/// The folder that the policies name, and that the demo replaces by one of its own.
const POLICIES_FOLDER: &str = "/var/lib/holdfast";
const NAMESPACE: &str = "holdfast-demo";
const ON_DEMAND: &str = "quick-start-first";
const SCHEDULE: &str = "quick-start-every-minute";
const PATIENCE: Duration = Duration::from_secs(120);
const LOOK: Duration = Duration::from_millis(200);

/// What was compared, for the report.
struct Comparison {
    what: String,
    objects: usize,
    differences: Vec<Difference>,
}

/// Runs the demo; the exit code is a success only when everything compared equal.
pub async fn run() -> anyhow::Result<ExitCode> {
    install_crypto_provider();
    let without_node = Cluster::node_missing();
    let mut steps = Steps::new(if without_node.is_none() { 8 + database::STEPS } else { 8 });

    let step = steps.begin("A Kubernetes control plane");
    let cluster = Cluster::reach(without_node.is_none()).await?;
    let client = cluster.client().await?;
    let version = client.apiserver_version().await.context("asking the API server for its version")?;
    step.done(&format!("{} {}", version.git_version, cluster.origin()));

    let step = steps.begin("The sample application");
    let application =
        SampleApplication::in_namespaces(["demo-shop".to_owned(), "demo-warehouse".to_owned()])?;
    application.apply(&client).await?;
    let [shop, warehouse] = application.namespaces();
    let before =
        [Picture::take(&client, shop, shop).await?, Picture::take(&client, warehouse, warehouse).await?];
    let count: usize = before.iter().map(|picture| picture.objects.len()).sum();
    step.done(&format!("{count} objects in {shop} and {warehouse}"));

    let step = steps.begin("holdfast run with examples/policies/quick-start.yaml");
    let folder = tempfile::Builder::new().prefix("holdfast-demo-").tempdir().context("making a folder")?;
    let policies = write_policies(folder.path(), shop, warehouse)?;
    let runs = Runs::in_namespace(client.clone(), NAMESPACE).await?;
    let options = DaemonOptions {
        namespace: NAMESPACE.to_owned(),
        arguments: vec![
            "--install-crds".to_owned(),
            "--cluster-name=demo".to_owned(),
            format!("--policies={}", policies.display()),
        ],
        ..DaemonOptions::default()
    };
    let daemon = Daemon::start_against(cluster.kubeconfig(), options).await?;
    step.done("policies compiled, controllers started");

    let mut step = steps.begin(&format!("Backup {ON_DEMAND}, asked for by the policy"));
    let on_demand = runs.ended(ON_DEMAND, PATIENCE, |backup| backup_seen(backup, &mut step)).await?;
    expect_completed(&on_demand)?;
    step.done(&objects(on_demand.status.progress.unwrap_or_default().items_backed_up));

    let mut step = steps.begin(&format!("Backup of schedule {SCHEDULE}"));
    let scheduled = scheduled_backup(&runs).await?;
    let scheduled = runs.ended(&scheduled, PATIENCE, |backup| backup_seen(backup, &mut step)).await?;
    expect_completed(&scheduled)?;
    step.done(&format!("{} Completed", scheduled.name_any()));

    let step = steps.begin(&format!("Namespace {shop} is lost"));
    delete_namespace(&client, shop).await?;
    step.done("deleted, and gone");

    let mut comparisons = Vec::new();
    let mut step = steps.begin(&format!("Restore of {shop}"));
    let restored = restore(&runs, "demo-lost-namespace", &[shop], &[], &mut step).await?;
    let after = Picture::take(&client, shop, shop).await?;
    comparisons.push(Comparison::of(format!("{shop}, restored"), &before[0], &after));
    step.done(&objects(restored));

    let mut step = steps.begin("Restore of both namespaces under other names");
    let copies = [format!("{shop}-copy"), format!("{warehouse}-copy")];
    let mapping = [(shop.as_str(), copies[0].as_str()), (warehouse.as_str(), copies[1].as_str())];
    let copied = restore(&runs, "demo-copies", &[shop, warehouse], &mapping, &mut step).await?;
    for (picture, (source, target)) in before.iter().zip(mapping) {
        let after = Picture::take(&client, target, source).await?;
        comparisons.push(Comparison::of(format!("{source} as {target}"), picture, &after));
    }
    step.done(&objects(copied));

    let told = match &without_node {
        None => Some(database::run(&client, &runs, folder.path(), &mut steps).await?),
        Some(_) => None,
    };
    daemon.stop().await.context("stopping the daemon")?;
    let equal = comparisons.iter().all(|comparison| comparison.differences.is_empty())
        && told.as_ref().is_none_or(|told| told.written == told.read);
    let kept = folder.keep();
    report(&comparisons, told.as_ref(), &kept, &policies);
    if let Some(reason) = without_node {
        steps.note(&format!("no volume was shown: {reason}"));
    }
    if !cluster.is_throw_away() {
        steps.note(&format!(
            "left in your cluster: namespaces {shop}, {warehouse}, {}, {} and {NAMESPACE}",
            copies[0], copies[1]
        ));
    }
    Ok(if equal { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

impl Comparison {
    fn of(what: String, before: &Picture, after: &Picture) -> Comparison {
        Comparison { what, objects: before.objects.len(), differences: before.differences(after) }
    }
}

#[expect(clippy::print_stdout, reason = "the report is what the command is for")]
fn report(comparisons: &[Comparison], told: Option<&database::Told>, folder: &Path, policies: &Path) {
    println!();
    for Comparison { what, objects, differences } in comparisons {
        match differences.len() {
            0 => println!("equal      {what}: {objects} objects, none differs"),
            count => println!("DIFFERENT  {what}: {count} differences in {objects} objects"),
        }
        for difference in differences {
            println!("           {difference}");
        }
    }
    if let Some(database::Told { written, read }) = told {
        let word = if written == read { "equal     " } else { "DIFFERENT " };
        println!("{word} the volume of {}: {written:?} was written, {read:?} is read", database::NAMESPACE);
    }
    println!();
    println!("The bucket:    {}", folder.join("bucket/backups").display());
    println!("The policies:  {}", policies.display());
    println!(
        "Next:          look into the bucket (docs/format.md says what is what), change the policy and run"
    );
    println!(
        "               holdfast check and holdfast render on it, or cargo testbed up --dir D for a cluster of your own"
    );
}

/// Writes the gallery's policy file with this run's folder and namespaces in it.
fn write_policies(folder: &Path, shop: &str, warehouse: &str) -> anyhow::Result<PathBuf> {
    let bucket = folder.join("bucket");
    std::fs::create_dir_all(bucket.join("backups")).context("making the bucket's folder")?;
    let policies = folder.join("policies");
    std::fs::create_dir_all(&policies).context("making the policies' folder")?;
    if !POLICIES.contains(POLICIES_FOLDER) || !POLICIES.contains("[shop, warehouse]") {
        bail!("examples/policies/quick-start.yaml no longer names {POLICIES_FOLDER} and [shop, warehouse]");
    }
    let text = POLICIES
        .replace(POLICIES_FOLDER, &bucket.display().to_string())
        .replace("[shop, warehouse]", &format!("[{shop}, {warehouse}]"));
    std::fs::write(policies.join("quick-start.yaml"), text).context("writing the policies")?;
    Ok(policies)
}

fn objects(count: i64) -> String {
    format!("Completed, {count} objects")
}

fn backup_seen(backup: &Backup, step: &mut Step) -> bool {
    let progress = backup.status.progress.unwrap_or_default();
    step.progress(progress.items_backed_up, progress.total_items);
    backup.status_phase().has_ended()
}

fn expect_completed(backup: &Backup) -> anyhow::Result<()> {
    if backup.status_phase() != BackupPhase::Completed {
        bail!("Backup {} is not Completed: {}", backup.name_any(), serde_json::to_string(&backup.status)?);
    }
    Ok(())
}

/// The name of the first Backup that the Schedule made.
async fn scheduled_backup(runs: &Runs) -> anyhow::Result<String> {
    let of_schedule = ListParams::default().labels(&format!("{}={SCHEDULE}", labels::SCHEDULE_NAME));
    let deadline = Instant::now() + PATIENCE;
    loop {
        let backups = runs.api::<Backup>().list(&of_schedule).await.context("listing Backups")?;
        if let Some(backup) = backups.iter().next() {
            return Ok(backup.name_any());
        }
        if Instant::now() > deadline {
            bail!("schedule {SCHEDULE} has made no backup in {PATIENCE:?}");
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Restores these namespaces from the on-demand backup; gives the number of objects.
async fn restore(
    runs: &Runs,
    name: &str,
    namespaces: &[&str],
    mapping: &[(&str, &str)],
    step: &mut Step,
) -> anyhow::Result<i64> {
    let spec = RestoreSpec {
        backup_name: Some(ON_DEMAND.to_owned()),
        included_namespaces: namespaces.iter().map(ToString::to_string).collect(),
        namespace_mapping: mapping.iter().map(|(from, to)| (from.to_string(), to.to_string())).collect(),
        ..RestoreSpec::default()
    };
    runs.create(&Restore::new(name, spec)).await?;
    let seen = |restore: &Restore| {
        let progress = restore.status.progress.unwrap_or_default();
        step.progress(progress.items_restored, progress.total_items);
        restore.status_phase().has_ended()
    };
    let restore = runs.ended(name, PATIENCE, seen).await?;
    if restore.status_phase() != RestorePhase::Completed {
        bail!("Restore {name} is not Completed: {}", serde_json::to_string(&restore.status)?);
    }
    Ok(restore.status.progress.unwrap_or_default().items_restored)
}

async fn delete_namespace(client: &kube::Client, name: &str) -> anyhow::Result<()> {
    let namespaces: Api<k8s_openapi::api::core::v1::Namespace> = Api::all(client.clone());
    namespaces
        .delete(name, &DeleteParams::default())
        .await
        .with_context(|| format!("deleting namespace {name}"))?;
    let deadline = Instant::now() + PATIENCE;
    while namespaces.get_opt(name).await.with_context(|| format!("reading namespace {name}"))?.is_some() {
        if Instant::now() > deadline {
            bail!("namespace {name} is still there after {PATIENCE:?}");
        }
        tokio::time::sleep(LOOK).await;
    }
    Ok(())
}

fn yours() -> Option<std::ffi::OsString> {
    std::env::var_os("KUBECONFIG").filter(|value| !value.is_empty())
}

/// The cluster the demo works on: the user's where KUBECONFIG is set, a throw-away one otherwise.
enum Cluster {
    ThrowAway(Box<Testbed>),
    Yours { kubeconfig: PathBuf },
}

impl Cluster {
    async fn reach(with_node: bool) -> anyhow::Result<Cluster> {
        match (yours(), with_node) {
            (Some(kubeconfig), _) => Ok(Cluster::Yours { kubeconfig: kubeconfig.into() }),
            (None, true) => Ok(Cluster::ThrowAway(Box::new(Testbed::start_with_node().await?))),
            (None, false) => Ok(Cluster::ThrowAway(Box::new(Testbed::start().await?))),
        }
    }

    /// Why there will be no pods.
    fn node_missing() -> Option<String> {
        match yours() {
            // Which node's files the demo could see is not known there.
            Some(_) => Some("the cluster is yours".to_owned()),
            None => node::missing(),
        }
    }

    async fn client(&self) -> anyhow::Result<kube::Client> {
        match self {
            Cluster::ThrowAway(testbed) => testbed.client(),
            Cluster::Yours { kubeconfig } => {
                let read = kube::config::Kubeconfig::read_from(kubeconfig).context("reading KUBECONFIG")?;
                let config = kube::Config::from_custom_kubeconfig(read, &Default::default()).await;
                kube::Client::try_from(config.context("using KUBECONFIG")?).context("making a client")
            }
        }
    }

    fn kubeconfig(&self) -> &Path {
        match self {
            Cluster::ThrowAway(testbed) => testbed.kubeconfig(),
            Cluster::Yours { kubeconfig } => kubeconfig,
        }
    }

    fn origin(&self) -> &'static str {
        match self {
            Cluster::ThrowAway(_) => "(started for this demo)",
            Cluster::Yours { .. } => "(yours, from KUBECONFIG)",
        }
    }

    fn is_throw_away(&self) -> bool {
        matches!(self, Cluster::ThrowAway(_))
    }
}
