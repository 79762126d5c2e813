//! A daemon and a node agent on a real API server, and pods whose volumes are folders of the test: what the kubelet would
//! do is written by hand.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use holdfast_policy::velero::{Backup, BackupSpec, PodVolumeBackup, labels};
use holdfast_tests::{Daemon, DaemonOptions, NodeAgent, NodeAgentOptions, Runs, Testbed, waiting};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Status;
use kube::api::{ListParams, Patch, PatchParams, PostParams};
use kube::{Api, Client, ResourceExt};
use serde_json::{Value, json};
use tempfile::TempDir;

/// How long anything may take that is over in seconds on a quiet machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

pub(crate) struct Cluster {
    pub(crate) testbed: &'static Testbed,
    pub(crate) client: Client,
    /// The daemon's namespace, and the name of the node.
    pub(crate) home: String,
    pub(crate) runs: Runs,
    folder: TempDir,
}

/// A daemon, an agent, and a pod `db` whose volume is to be read. They end with the value.
pub(crate) struct Shop {
    pub(crate) cluster: Cluster,
    pub(crate) daemon: Daemon,
    pub(crate) agent: NodeAgent,
    /// The pod's namespace, and its volume's folder.
    pub(crate) namespace: String,
    pub(crate) volume: PathBuf,
}

impl Shop {
    /// With these arguments of the daemon beside the usual ones.
    pub(crate) async fn open(arguments: &[&str]) -> anyhow::Result<Shop> {
        let cluster = Cluster::new().await?;
        let daemon = cluster.daemon(arguments).await?;
        let agent = cluster.agent().await?;
        let namespace = cluster.testbed.namespace("shop").await?;
        let volume = cluster.pod(&namespace, "db", opted_in()).await?;
        Ok(Shop { cluster, daemon, agent, namespace, volume })
    }
}

impl Cluster {
    pub(crate) async fn new() -> anyhow::Result<Cluster> {
        let testbed = Testbed::shared().await?;
        let client = testbed.client()?;
        let home = testbed.namespace("home").await?;
        let runs = Runs::in_namespace(client.clone(), &home).await?;
        let folder = tempfile::tempdir()?;
        fs::create_dir(folder.path().join("pods"))?;
        Ok(Cluster { testbed, client, home, runs, folder })
    }

    /// With a location `default`.
    pub(crate) async fn daemon(&self, arguments: &[&str]) -> anyhow::Result<Daemon> {
        let mut options = DaemonOptions { namespace: self.home.clone(), ..DaemonOptions::default() };
        options.arguments.extend(arguments.iter().map(|argument| (*argument).to_owned()));
        let daemon = Daemon::start(self.testbed, options).await?;
        if !self.bucket().exists() {
            self.runs.local_location("default", self.folder.path(), "bucket").await?;
        }
        Ok(daemon)
    }

    pub(crate) async fn agent(&self) -> anyhow::Result<NodeAgent> {
        let options = NodeAgentOptions {
            namespace: self.home.clone(),
            node: self.node().to_owned(),
            pods: self.folder.path().join("pods"),
            beside: None,
        };
        NodeAgent::start(self.testbed, options).await
    }

    /// Ends the agent, and has it look alive.
    pub(crate) async fn put_to_sleep(&self, agent: NodeAgent) -> anyhow::Result<()> {
        agent.kill()?;
        let lease = self.agents_lease().await?;
        let later = k8s_openapi::jiff::Timestamp::now() + k8s_openapi::jiff::SignedDuration::from_secs(3600);
        let held = json!({"spec": {"holderIdentity": "nobody", "renewTime": format!("{later:.6}")}});
        let leases = self.runs.api::<Lease>();
        leases.patch(&lease, &PatchParams::default(), &Patch::Merge(held)).await?;
        Ok(())
    }

    /// The next agent needs not wait for one that was put to sleep.
    pub(crate) async fn forget_agent(&self) -> anyhow::Result<()> {
        let lease = self.agents_lease().await?;
        self.runs.api::<Lease>().delete(&lease, &Default::default()).await?;
        Ok(())
    }

    async fn agents_lease(&self) -> anyhow::Result<String> {
        let leases = self.runs.api::<Lease>().list(&Default::default()).await?.items;
        let mut names = leases.into_iter().map(|lease| lease.name_any());
        names.find(|name| name.starts_with("holdfast-node-agent")).context("the agent's lease")
    }

    /// A node that no other test has: the lease of its agent is in a namespace of its own anyway.
    pub(crate) fn node(&self) -> &str {
        &self.home
    }

    pub(crate) fn bucket(&self) -> PathBuf {
        self.folder.path().join("bucket")
    }

    /// A pod with a volume `data` that runs, as far as the API server knows. Gives the volume's folder.
    pub(crate) async fn pod(
        &self,
        namespace: &str,
        name: &str,
        annotations: Value,
    ) -> anyhow::Result<PathBuf> {
        let pod = self.pod_with(namespace, name, annotations, json!({"emptyDir": {}})).await?;
        self.volume(&pod)
    }

    /// The same with a volume of another kind.
    pub(crate) async fn pod_with(
        &self,
        namespace: &str,
        name: &str,
        annotations: Value,
        mut volume: Value,
    ) -> anyhow::Result<Pod> {
        volume["name"] = json!("data");
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), namespace);
        let pod = json!({
            "metadata": {"name": name, "annotations": annotations},
            "spec": {
                "nodeName": self.node(),
                "automountServiceAccountToken": false,
                "tolerations": [{"operator": "Exists"}],
                "volumes": [volume],
                "containers": [{
                    "name": "main", "image": "none", "volumeMounts": [{"name": "data", "mountPath": "/data"}],
                }],
            },
        });
        let pod = pods.create(&PostParams::default(), &serde_json::from_value(pod)?).await?;
        let running = json!({"status": {"phase": "Running"}});
        pods.patch_status(name, &PatchParams::default(), &Patch::Merge(running)).await?;
        Ok(pod)
    }

    /// The folder that the kubelet would have for the volume `data` of the pod.
    pub(crate) fn volume(&self, pod: &Pod) -> anyhow::Result<PathBuf> {
        self.volume_of_kind(pod, "empty-dir", "data")
    }

    pub(crate) fn volume_of_kind(&self, pod: &Pod, kind: &str, name: &str) -> anyhow::Result<PathBuf> {
        let volumes = self.folder.path().join("pods").join(pod.uid().unwrap_or_default()).join("volumes");
        let folder = volumes.join(format!("kubernetes.io~{kind}")).join(name);
        fs::create_dir_all(&folder)?;
        Ok(folder)
    }

    pub(crate) async fn back_up(&self, name: &str, namespace: &str) -> anyhow::Result<Backup> {
        self.runs.backup(name, backup_of(namespace), PATIENCE).await
    }

    /// Places a restored pod on the node and lets its first init container run, as far as the API server knows.
    pub(crate) async fn start_waiting(&self, namespace: &str, name: &str) -> anyhow::Result<Pod> {
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), namespace);
        let look = async || Ok(pods.get_opt(name).await?);
        let pod = waiting::until("the restored pod", PATIENCE, look).await?;
        let binding = json!({
            "apiVersion": "v1", "kind": "Binding", "metadata": {"name": name},
            "target": {"kind": "Node", "name": self.node()},
        });
        let placed: kube::Result<Status> =
            pods.create_subresource("binding", name, &PostParams::default(), &binding).await;
        placed?;
        let status = json!({"status": {"phase": "Pending", "initContainerStatuses": [{
            "name": "restore-wait", "image": "none", "imageID": "", "ready": false, "restartCount": 0,
            "state": {"running": {}},
        }]}});
        pods.patch_status(name, &PatchParams::default(), &Patch::Merge(status)).await?;
        Ok(pod)
    }

    pub(crate) async fn transfers(&self, backup: &Backup) -> anyhow::Result<Vec<PodVolumeBackup>> {
        let uid = backup.uid().unwrap_or_default();
        let selector = ListParams::default().labels(&format!("{}={uid}", labels::BACKUP_UID));
        Ok(self.runs.api::<PodVolumeBackup>().list(&selector).await?.items)
    }

    /// What a file of the bucket holds, unpacked.
    pub(crate) fn stored(&self, folder: &str, file: &str) -> anyhow::Result<Value> {
        let path = self.bucket().join(folder).join(file);
        let packed = flate2::read::GzDecoder::new(fs::File::open(path)?);
        Ok(serde_json::from_reader(packed)?)
    }
}

/// A Backup of the pods of one namespace.
pub(crate) fn backup_of(namespace: &str) -> BackupSpec {
    BackupSpec {
        included_namespaces: vec![namespace.to_owned()],
        included_resources: vec!["pods".to_owned(), "persistentvolumeclaims".to_owned()],
        ..BackupSpec::default()
    }
}

/// Has the volume `data` read.
pub(crate) fn opted_in() -> Value {
    json!({labels::BACKUP_VOLUMES: "data"})
}

/// Files and their contents.
pub(crate) fn files(folder: &std::path::Path) -> BTreeMap<String, String> {
    let found = crate::place::files_below(folder);
    let text = |path: &PathBuf| fs::read_to_string(path).unwrap_or_default();
    let name =
        |path: &PathBuf| path.strip_prefix(folder).expect("a path below its folder").display().to_string();
    found.iter().map(|path| (name(path), text(path))).collect()
}
