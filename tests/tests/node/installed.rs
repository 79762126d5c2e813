//! Holdfast as its users have it: the image in a pod, from the chart, under its own roles.

use std::fs::File;
use std::io::BufWriter;

use holdfast_policy::velero::{
    Backup, BackupPhase, BackupStorageLocation, LocationPhase, RestorePhase, Schedule,
};
use holdfast_tests::command::{Ended, helm};
use holdfast_tests::waiting::until;
use holdfast_tests::{Runs, S3Server, Testbed, daemon, image};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Pod, Secret};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{DeleteParams, ListParams, LogParams, PostParams};
use kube::{Api, Client, ResourceExt as _};
use pretty_assertions::assert_eq;
use serde_json::{Value, json};

use super::pods::{self, PATIENCE, Scheduler};

const REPOSITORY: &str = "holdfast.dev/holdfast";
const HOME: &str = "velero";
const SHOP: &str = "shop";
const COPY: &str = "shop-copy";
/// The first time, it waits for ever; the second time it ends well.
const ONCE_FOR_EVER: &str = "echo begun >> /tmp/trace; [ $(wc -l < /tmp/trace) -gt 1 ] || sleep 100000";

/// A cluster of its own with an image of each of these tags: what is installed is everybody's.
async fn cluster(tags: &[&str]) -> anyhow::Result<Testbed> {
    let testbed = Testbed::start_with_node().await?;
    for tag in tags {
        let archive = testbed.directory().join(format!("{tag}.tar"));
        let name = format!("{REPOSITORY}:{tag}");
        let parts = image::Parts { program: daemon::program().await?, name: &name, version: tag };
        image::write(&parts, BufWriter::new(File::create(&archive)?))?;
        testbed.import_image(&archive)?;
    }
    Ok(testbed)
}

async fn namespace(client: &Client, name: &str, labels: Value) -> anyhow::Result<()> {
    let object: Namespace = serde_json::from_value(json!({"metadata": {"name": name, "labels": labels}}))?;
    Api::all(client.clone()).create(&PostParams::default(), &object).await?;
    Ok(())
}

pub(super) async fn the_image_runs_and_has_nothing_else_to_run() {
    let testbed = cluster(&["one"]).await.unwrap();
    let client = testbed.client().unwrap();
    let home = testbed.namespace("image").await.unwrap();
    let container = |name: &str, command: Value| {
        json!({
            "name": name, "image": format!("{REPOSITORY}:one"), "imagePullPolicy": "Never", "args": ["version"],
            "command": command,
            "securityContext": {"readOnlyRootFilesystem": true, "runAsNonRoot": true},
        })
    };
    let shell = container("shell", json!(["/bin/sh"]));
    let pod = json!({
        "metadata": {"name": "version"},
        "spec": {
            "nodeName": holdfast_tests::node::NAME, "restartPolicy": "Never", "automountServiceAccountToken": false,
            "containers": [container("version", Value::Null), shell],
        },
    });
    pods::create(&client, &home, pod).await;
    let api: Api<Pod> = Api::namespaced(client, &home);
    let ended = async || {
        let statuses = api.get("version").await?.status.and_then(|status| status.container_statuses);
        let ended = |name: &str| {
            let status = statuses.iter().flatten().find(|status| status.name == name)?;
            status.state.clone()?.terminated
        };
        Ok(ended("version").zip(ended("shell")))
    };
    let (version, shell) = until("the end of both containers", PATIENCE, ended).await.unwrap();
    let container = LogParams { container: Some("version".to_owned()), ..LogParams::default() };
    let log = api.logs("version", &container).await.unwrap();
    assert_eq!((version.exit_code, log.starts_with("holdfast 0.")), (0, true), "{log}");
    assert_ne!(shell.exit_code, 0);
    assert!(shell.message.unwrap_or_default().contains("no such file"), "a shell");
}

/// What one installation consists of.
struct Installed {
    testbed: Testbed,
    client: Client,
    runs: Runs,
    bucket: S3Server,
    /// Of the chart.
    values: Value,
}

impl Installed {
    /// A cluster with an image of each of these tags, a bucket, and a namespace for Holdfast that enforces a Pod Security
    /// Standard.
    async fn prepare(tags: &[&str], standard: &str, values: Value) -> anyhow::Result<Installed> {
        let testbed = cluster(tags).await?;
        let client = testbed.client()?;
        namespace(&client, HOME, json!({"pod-security.kubernetes.io/enforce": standard})).await?;
        namespace(&client, SHOP, json!({})).await?;
        let bucket = S3Server::start().await?;
        bucket.create_bucket("backups").await?;
        let runs = Runs::in_namespace(client.clone(), HOME).await?;
        Ok(Installed { testbed, client, runs, bucket, values })
    }

    /// Carries a test out, and shows what the daemon said where it fails.
    async fn tell(&self, story: impl AsyncFnOnce(&Installed) -> anyhow::Result<()>) {
        let outcome = story(self).await;
        if outcome.is_err() {
            for (pod, log) in self.logs().await.unwrap_or_default() {
                eprintln!("{pod}:\n{log}");
            }
        }
        outcome.unwrap();
    }

    async fn helm(&self, arguments: &[&str]) -> anyhow::Result<Ended> {
        let kubeconfig = format!("--kubeconfig={}", self.testbed.kubeconfig().display());
        let ended = helm([arguments, &["--namespace", HOME, &kubeconfig]].concat()).await?;
        anyhow::ensure!(ended.code == 0, "{arguments:?}: {}{}", ended.output, ended.errors);
        Ok(ended)
    }

    async fn release(&self, verb: &str, tag: &str) -> anyhow::Result<()> {
        let chart = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/helm/holdfast");
        let mut values = self.values.clone();
        values["image"] = json!({"tag": tag, "pullPolicy": "Never"});
        let file = self.testbed.directory().join("values.json");
        std::fs::write(&file, values.to_string())?;
        let file = file.display().to_string();
        self.helm(&[verb, "holdfast", chart, "--wait", "--timeout=120s", "--values", &file]).await?;
        Ok(())
    }

    /// A bucket behind the pods' gateway, and a policy with a hook.
    async fn policies(&self) -> anyhow::Result<()> {
        let port = self.bucket.endpoint().rsplit(':').next().unwrap().parse()?;
        let address = self.testbed.open_to_pods(port)?;
        let credentials = format!(
            "[default]\naws_access_key_id={}\naws_secret_access_key={}\n",
            self.bucket.access_key(),
            self.bucket.secret_key()
        );
        let secret: Secret = serde_json::from_value(json!({
            "metadata": {"name": "cloud-credentials"}, "stringData": {"cloud": credentials},
        }))?;
        self.runs.create(&secret).await?;
        let config =
            json!({"region": "us-east-1", "s3Url": format!("http://{address}"), "s3ForcePathStyle": "true"});
        let location = json!({
            "apiVersion": "holdfast.dev/v1alpha1", "kind": "StorageLocation", "metadata": {"name": "default"},
            "spec": {
                "default": true, "provider": "aws", "bucket": "backups", "config": config,
                "credential": {"name": "cloud-credentials", "key": "cloud"},
            },
        });
        let policy = json!({
            "apiVersion": "holdfast.dev/v1alpha1", "kind": "BackupPolicy", "metadata": {"name": "shop"},
            "spec": {
                "select": {"namespaces": {"include": [SHOP]}},
                "hooks": [{"name": "flush", "pre": [
                    {"exec": {"container": "main", "command": ["sh", "-c", "echo flushed > /tmp/flushed"]}},
                ]}],
                "schedules": [{"name": "nightly", "cron": "0 1 * * *"}],
            },
        });
        let map: ConfigMap = serde_json::from_value(json!({
            "metadata": {"name": "policies", "labels": {"holdfast.dev/policies": "true"}},
            "data": {"location.yaml": location.to_string(), "shop.yaml": policy.to_string()},
        }))?;
        self.runs.create(&map).await
    }

    /// The pods of the daemon that are there, with their logs.
    async fn logs(&self) -> anyhow::Result<Vec<(String, String)>> {
        let api: Api<Pod> = self.runs.api();
        let ours = ListParams::default().labels("app.kubernetes.io/name=holdfast");
        let mut logs = Vec::new();
        for pod in api.list(&ours).await? {
            let name = pod.name_any();
            let log = api.logs(&name, &LogParams::default()).await.unwrap_or_else(|error| error.to_string());
            logs.push((name, log));
        }
        Ok(logs)
    }

    async fn leader(&self) -> anyhow::Result<String> {
        let lease: Lease = self.runs.api().get("holdfast").await?;
        Ok(lease.spec.and_then(|spec| spec.holder_identity).unwrap_or_default())
    }
}

/// Quick, and with policies of ConfigMaps.
fn usual() -> Value {
    json!({
        "clusterName": "here",
        "policies": {"selector": "holdfast.dev/policies=true"},
        "hooks": {"namespaces": [SHOP]},
        "environment": [{"name": "HOLDFAST_VELERO_WAIT", "value": "0s"}],
    })
}

pub(super) async fn a_chart_is_installed_backs_up_restores_is_upgraded_in_a_backup_and_uninstalled() {
    let installed = Installed::prepare(&["one", "two"], "restricted", usual()).await.unwrap();
    let _schedulers = [HOME, SHOP].map(|namespace| Scheduler::start(&installed.client, namespace));
    installed.tell(story).await;
}

pub(super) async fn of_two_pods_the_other_leads_when_one_is_gone() {
    let mut installed = Installed::prepare(&["one"], "restricted", usual()).await.unwrap();
    installed.values["replicas"] = json!(2);
    let _scheduler = Scheduler::start(&installed.client, HOME);
    installed.tell(taken_over).await;
}

async fn taken_over(installed: &Installed) -> anyhow::Result<()> {
    installed.release("install", "one").await?;
    let names = async || -> anyhow::Result<Vec<String>> {
        Ok(installed.logs().await?.into_iter().map(|(name, _)| name).collect())
    };
    let leads = async || {
        let leader = installed.leader().await?;
        Ok(names().await?.contains(&leader).then_some(leader))
    };
    let leader = until("a leader", PATIENCE, leads).await?;
    assert_eq!(names().await?.len(), 2);
    // As with a node that is gone: nobody gives the lead back.
    let at_once = DeleteParams { grace_period_seconds: Some(0), ..DeleteParams::default() };
    installed.runs.api::<Pod>().delete(&leader, &at_once).await?;
    let other = async || Ok(leads().await?.filter(|now| *now != leader));
    until("another leader", PATIENCE, other).await?;
    Ok(())
}

pub(super) async fn the_agents_of_a_chart_move_the_files_of_volumes() {
    let mut installed = Installed::prepare(&["one"], "privileged", usual()).await.unwrap();
    let (folder, _) = installed.testbed.pods_of_node().unwrap();
    installed.values["nodeAgent"] = json!({"enabled": true, "podsPath": folder});
    let _schedulers = [HOME, SHOP, COPY].map(|namespace| Scheduler::start(&installed.client, namespace));
    installed.tell(files_of_volumes).await;
}

async fn files_of_volumes(installed: &Installed) -> anyhow::Result<()> {
    let Installed { client, runs, .. } = installed;
    installed.release("install", "one").await?;
    installed.policies().await?;
    let mut pod = pods::idle("db", &["main"]);
    pod["metadata"]["annotations"] = json!({"backup.velero.io/backup-volumes": "data"});
    pod["spec"]["volumes"] = json!([{"name": "data", "emptyDir": {}}]);
    pod["spec"]["containers"][0]["volumeMounts"] = json!([{"name": "data", "mountPath": "/data"}]);
    pods::run(client, SHOP, pod).await;
    let write = "echo rows > /data/table && chmod 600 /data/table && chown 5:6 /data/table";
    pods::shell(client, SHOP, "db", "main", write).await;
    let read = "cat /data/table && stat -c '%a %u %g' /data/table";
    let written = "rows\n600 5 6\n";
    assert_eq!(pods::shell(client, SHOP, "db", "main", read).await, written);
    let located = async || {
        let location = runs.api::<BackupStorageLocation>().get_opt("default").await?;
        Ok(location.filter(|location| location.status.phase == Some(LocationPhase::Available)))
    };
    until("the location", PATIENCE, located).await?;
    let spec = serde_json::from_value(json!({"includedNamespaces": [SHOP]}))?;
    let backup = runs.backup("files", spec, PATIENCE).await?;
    assert_eq!(backup.status_phase(), BackupPhase::Completed, "{:?}", backup.status);
    let spec = serde_json::from_value(json!({"backupName": "files", "namespaceMapping": {SHOP: COPY}}))?;
    let restore = runs.restore("files", spec, PATIENCE).await?;
    assert_eq!(restore.status_phase(), RestorePhase::Completed, "{:?}", restore.status);
    pods::wait_for(client, COPY, "db", pods::is_ready).await;
    assert_eq!(pods::shell(client, COPY, "db", "main", read).await, written);
    Ok(())
}

async fn story(installed: &Installed) -> anyhow::Result<()> {
    let Installed { client, runs, bucket, .. } = installed;
    installed.release("install", "one").await?;
    installed.policies().await?;
    let map: ConfigMap =
        serde_json::from_value(json!({"metadata": {"name": "prices"}, "data": {"tea": "3"}}))?;
    let maps: Api<ConfigMap> = Api::namespaced(client.clone(), SHOP);
    maps.create(&PostParams::default(), &map).await?;
    pods::run(client, SHOP, pods::idle("db", &["main"])).await;

    let backup = backed_up_by_its_schedule(runs).await?;
    assert_eq!(backup.status_phase(), BackupPhase::Completed, "{:?}", backup.status);
    assert_eq!(pods::shell(client, SHOP, "db", "main", "cat /tmp/flushed").await, "flushed\n");

    let namespaces: Api<Namespace> = Api::all(client.clone());
    namespaces.delete(SHOP, &DeleteParams::default()).await?;
    let gone = async || Ok(namespaces.get_opt(SHOP).await?.is_none().then_some(()));
    until("the end of the namespace", PATIENCE, gone).await?;
    let spec = serde_json::from_value(json!({"backupName": backup.name_any()}))?;
    let restore = runs.restore("after-the-loss", spec, PATIENCE).await?;
    assert_eq!(restore.status_phase(), RestorePhase::Completed, "{:?}", restore.status);
    assert_eq!(maps.get("prices").await?.data, map.data);
    pods::wait_for(client, SHOP, "db", pods::is_ready).await;

    upgraded_in_a_backup(installed).await?;
    uninstalled(installed).await?;
    assert!(bucket.root().join("backups/backups").join(backup.name_any()).is_dir());
    Ok(())
}

/// A schedule's first backup is made at once.
async fn backed_up_by_its_schedule(runs: &Runs) -> anyhow::Result<Backup> {
    let backups: Api<Backup> = runs.api();
    let ended = async || {
        let listed =
            backups.list(&ListParams::default().labels("velero.io/schedule-name=shop-nightly")).await?;
        Ok(listed.items.into_iter().find(|backup| backup.status_phase().has_ended()))
    };
    until("the schedule's first backup", PATIENCE, ended).await
}

async fn upgraded_in_a_backup(installed: &Installed) -> anyhow::Result<()> {
    let Installed { client, runs, .. } = installed;
    let hook =
        json!({"exec": {"container": "main", "command": ["sh", "-c", ONCE_FOR_EVER], "timeout": "10m"}});
    let spec = json!({
        "includedNamespaces": [SHOP],
        "hooks": {"resources": [{"name": "slow", "pre": [hook]}]},
    });
    runs.create(&Backup::new("midway", serde_json::from_value(spec)?)).await?;
    let trace = async || pods::shell(client, SHOP, "db", "main", "cat /tmp/trace 2>/dev/null || true").await;
    let begun = async || Ok((trace().await == "begun\n").then_some(()));
    until("the hook of the backup", PATIENCE, begun).await?;
    let before: Backup = runs.api().get("midway").await?;
    assert_eq!(before.status_phase(), BackupPhase::InProgress);
    let leader = installed.leader().await?;
    let lacking = |logs: &[(String, String)]| {
        let lines = logs.iter().flat_map(|(_, log)| log.lines());
        lines.filter(|line| line.contains("system:serviceaccount:")).map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(lacking(&installed.logs().await?), Vec::<String>::new());

    installed.release("upgrade", "two").await?;
    let after = runs.ended("midway", PATIENCE, |backup: &Backup| backup.status_phase().has_ended()).await?;
    assert_eq!(after.status_phase(), BackupPhase::Completed, "{:?}", after.status);
    assert_eq!((after.uid(), after.status.start_timestamp), (before.uid(), before.status.start_timestamp));
    assert_eq!(trace().await, "begun\nbegun\n");
    assert_ne!(installed.leader().await?, leader);
    let logs = installed.logs().await?;
    assert_eq!(lacking(&logs), Vec::<String>::new());
    Ok(())
}

async fn uninstalled(installed: &Installed) -> anyhow::Result<()> {
    let Installed { client, runs, .. } = installed;
    let definitions: Api<CustomResourceDefinition> = Api::all(client.clone());
    let names = async || -> anyhow::Result<Vec<String>> {
        let listed = definitions.list(&ListParams::default()).await?;
        Ok(listed.iter().map(|definition| definition.name_any()).collect())
    };
    let backups = async || -> anyhow::Result<Vec<String>> {
        let listed = runs.api::<Backup>().list(&ListParams::default()).await?;
        Ok(listed.iter().map(|backup| backup.name_any()).collect())
    };
    let before = (names().await?, backups().await?);
    assert_eq!(before.1.len(), 2);
    installed.helm(&["uninstall", "holdfast", "--wait"]).await?;
    let pods = async || Ok(installed.logs().await?.is_empty().then_some(()));
    until("the end of the daemon", PATIENCE, pods).await?;
    assert_eq!((names().await?, backups().await?), before);
    assert_eq!(runs.api::<Deployment>().list(&ListParams::default()).await?.items.len(), 0);
    assert_eq!(runs.api::<Schedule>().list(&ListParams::default()).await?.items.len(), 1);
    Ok(())
}
