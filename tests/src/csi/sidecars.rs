//! What a cluster has beside a CSI driver: the kinds of snapshots, the controllers that call the driver, and its classes.

use std::collections::HashMap;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use anyhow::Context;
use k8s_openapi::api::storage::v1::{CSIDriver as DriverObject, CSINode, StorageClass};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{DynamicObject, PostParams};
use kube::core::{ApiResource, GroupVersionKind};
use kube::{Api, Client};
use serde_json::json;
use tokio::process::Command;
use tokio::sync::Mutex;

use super::{CsiDriver, NAME};
use crate::process::{Group, Launch, Lifetime, Server};
use crate::programs::{self, Program};
use crate::testbed::Testbed;
use crate::{node, waiting};

const PATIENCE: Duration = Duration::from_secs(90);
const CLIENT_MODULE: &str = "github.com/kubernetes-csi/external-snapshotter/client/v8";
const DEFINITIONS: [&str; 6] = [
    "snapshot.storage.k8s.io_volumesnapshotclasses",
    "snapshot.storage.k8s.io_volumesnapshotcontents",
    "snapshot.storage.k8s.io_volumesnapshots",
    "groupsnapshot.storage.k8s.io_volumegroupsnapshotclasses",
    "groupsnapshot.storage.k8s.io_volumegroupsnapshotcontents",
    "groupsnapshot.storage.k8s.io_volumegroupsnapshots",
];
/// Makes the class of groups the one that backups take.
const FOR_BACKUPS: &str = "velero.io/csi-volumegroupsnapshot-class";

/// A cluster's part of a driver. Dropping it ends the controllers; kinds and classes stay.
pub struct Member {
    servers: Vec<Server>,
    _group: Group,
}

impl Member {
    /// The ends of the controllers' logs.
    pub fn log_tails(&self) -> String {
        self.servers.iter().map(Server::log_tail).collect::<Vec<_>>().join("\n")
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.log_tails());
        }
    }
}

pub(super) async fn join(driver: &CsiDriver, testbed: &Testbed) -> anyhow::Result<Member> {
    let client = testbed.client()?;
    for definition in definitions().await? {
        create(&Api::all(client.clone()), &definition).await?;
    }
    let group = Group::start("csi")?;
    let name = group.directory().file_name().unwrap_or_default().to_string_lossy().into_owned();
    let node = testbed.pods_of_node();
    let socket = driver.socket(&name, node.as_ref().map(|(_, process)| *process))?;
    let object: DriverObject = serde_json::from_value(json!({
        "metadata": {"name": NAME}, "spec": {"attachRequired": false, "volumeLifecycleModes": ["Persistent"]},
    }))?;
    create(&Api::all(client.clone()), &object).await?;
    let class: StorageClass = serde_json::from_value(json!({
        "metadata": {"name": NAME}, "provisioner": NAME,
        "reclaimPolicy": "Delete", "volumeBindingMode": "Immediate",
    }))?;
    create(&Api::all(client.clone()), &class).await?;
    // The controllers look once whether groups are served.
    for (group, version, kind, plural) in [
        ("snapshot.storage.k8s.io", "v1", "VolumeSnapshotClass", "volumesnapshotclasses"),
        ("groupsnapshot.storage.k8s.io", "v1", "VolumeGroupSnapshotClass", "volumegroupsnapshotclasses"),
    ] {
        let resource =
            ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, kind), plural);
        let class = async || snapshot_class(&client, &resource).await;
        waiting::until("snapshots to be served", PATIENCE, class).await?;
    }
    let mut servers = Vec::new();
    let kubeconfig = format!("--kubeconfig={}", testbed.kubeconfig().display());
    let address = format!("--csi-address={}", socket.display());
    let mut provisioner = vec![kubeconfig.clone(), address.clone()];
    if let Some((pods, _)) = &node {
        let registry = pods.parent().context("the kubelet's folder")?.join("plugins_registry");
        std::fs::create_dir_all(&registry).with_context(|| format!("creating {}", registry.display()))?;
        provisioner.push(format!("--kubelet-registry={}", registry.display()));
    }
    let quick = || {
        let options =
            ["--kube-api-qps=200", "--kube-api-burst=200", "--feature-gates=CSIVolumeGroupSnapshot=true"];
        [vec![kubeconfig.clone()], options.map(str::to_owned).to_vec()].concat()
    };
    for (program, name, arguments) in [
        (Program::SnapshotController, "snapshot-controller", quick()),
        (Program::CsiSnapshotter, "csi-snapshotter", [quick(), vec![address.clone()]].concat()),
        (Program::CsiProvisioner, "csi-provisioner", provisioner),
    ] {
        let program = programs::locate(program).await?;
        let launch = Launch {
            name,
            program: &program,
            arguments,
            environment: Vec::new(),
            log: group.directory().join(format!("{name}.log")),
        };
        servers.push(Server::start(launch, Lifetime::With(&group))?);
    }
    if node.is_some() {
        let registered = async || is_registered(&client).await;
        waiting::until("the kubelet to register the driver", PATIENCE, registered).await?;
    }
    Ok(Member { servers, _group: group })
}

/// The class is made when its kind is served.
async fn snapshot_class(client: &Client, resource: &ApiResource) -> anyhow::Result<Option<()>> {
    let mut class = DynamicObject::new(NAME, resource);
    class.metadata.labels = Some([(FOR_BACKUPS.to_owned(), "true".to_owned())].into());
    class.data = json!({"driver": NAME, "deletionPolicy": "Delete"});
    let classes = Api::<DynamicObject>::all_with(client.clone(), resource);
    match classes.create(&PostParams::default(), &class).await {
        Ok(_) => Ok(Some(())),
        Err(kube::Error::Api(status)) if status.code == 409 => Ok(Some(())),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(None),
        Err(error) => Err(error).context("creating a class of snapshots"),
    }
}

async fn is_registered(client: &Client) -> anyhow::Result<Option<()>> {
    let node =
        Api::<CSINode>::all(client.clone()).get_opt(node::NAME).await.context("reading the CSINode")?;
    let drivers = node.map(|node| node.spec.drivers).unwrap_or_default();
    Ok(drivers.iter().any(|driver| driver.name == NAME).then_some(()))
}

/// Unless it is there.
async fn create<K>(api: &Api<K>, object: &K) -> anyhow::Result<()>
where
    K: Clone + serde::Serialize + serde::de::DeserializeOwned + std::fmt::Debug,
{
    match api.create(&PostParams::default(), object).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.code == 409 => Ok(()),
        Err(error) => Err(error).context("creating what a CSI driver needs"),
    }
}

/// Those of the module whose controllers we run.
async fn definitions() -> anyhow::Result<Vec<CustomResourceDefinition>> {
    static FOLDER: Mutex<Option<PathBuf>> = Mutex::const_new(None);
    let mut folder = FOLDER.lock().await;
    let folder = match folder.as_ref() {
        Some(folder) => folder.clone(),
        None => folder.insert(module_folder().await?).clone(),
    };
    let mut definitions = Vec::new();
    for name in DEFINITIONS {
        let path = folder.join(format!("config/crd/{name}.yaml"));
        let text = std::fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
        definitions.push(serde_yaml::from_str(&text).with_context(|| format!("parsing {}", path.display()))?);
    }
    Ok(definitions)
}

async fn module_folder() -> anyhow::Result<PathBuf> {
    let environment = HashMap::from([("GOWORK", "off"), ("GOFLAGS", "-mod=readonly")]);
    let output = Command::new("go")
        // Fetches it where the module cache has it no more.
        .args(["mod", "download", "-json", CLIENT_MODULE])
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/csisidecars"))
        .envs(environment)
        .stdin(Stdio::null())
        .output()
        .await
        .context("running go mod download")?;
    anyhow::ensure!(output.status.success(), "go mod download: {}", String::from_utf8_lossy(&output.stderr));
    let told: serde_json::Value = serde_json::from_slice(&output.stdout).context("go's answer")?;
    Ok(PathBuf::from(told["Dir"].as_str().context("go names no folder")?))
}
