//! A Kubernetes control plane of one's own on 127.0.0.1: ready after about five seconds, gone with its value.

mod access;
mod account;
pub(crate) mod control_plane;
pub(crate) mod keys;
pub(crate) mod port;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::Context;
use k8s_openapi::api::core::v1::Namespace;
use kube::api::{ObjectMeta, PostParams};
use kube::{Api, Client};
use tokio::sync::OnceCell;

use crate::node::gateway::Gateway;
use crate::node::network::Network;
use crate::node::{self, Node};
use crate::process::{Group, Lifetime};
use crate::programs::{self, Program};
pub use access::install_crypto_provider;
pub use account::Account;
use control_plane::ControlPlane;

/// The port of Service `kubernetes`.
const API_SERVER_OF_PODS: u16 = 443;

static SHARED: OnceCell<Testbed> = OnceCell::const_new();
static SHARED_SECOND: OnceCell<Testbed> = OnceCell::const_new();
static SHARED_WITH_NODE: OnceCell<Testbed> = OnceCell::const_new();

/// etcd, kube-apiserver and kube-controller-manager with their data in a directory of their own.
///
/// All of it is gone when the value is dropped, and also when the process ends without dropping it. Several run
/// side by side. A test that panics while it owns one gets the ends of the servers' logs printed.
pub struct Testbed {
    // In this order: the node ends before what it stands in.
    node: Option<Box<Node>>,
    gateway: Option<Gateway>,
    plane: ControlPlane,
    group: Group,
}

impl Testbed {
    /// A new control plane, ready: namespaces get their service accounts, deleted ones go away.
    pub async fn start() -> anyhow::Result<Testbed> {
        Testbed::start_with_services(control_plane::SERVICES).await
    }

    async fn start_with_services(services: &str) -> anyhow::Result<Testbed> {
        install_crypto_provider();
        let group = Group::start("testbed")?;
        let lifetime = Lifetime::With(&group);
        let plane = control_plane::start(group.directory(), services, lifetime, &mut |_| Ok(()))
            .await
            .context("starting a control plane")?;
        Ok(Testbed { node: None, gateway: None, plane, group })
    }

    /// The same with a node on which pods of [`node::IMAGE`] run, and from which they reach the API server. Fails where
    /// [`node::missing`] names a reason.
    pub async fn start_with_node() -> anyhow::Result<Testbed> {
        let network = Network::random();
        let mut testbed = Testbed::start_with_services(&network.services()).await?;
        let client = testbed.client()?;
        let lifetime = Lifetime::With(&testbed.group);
        let kubeconfig = testbed.kubeconfig();
        let node = node::start(testbed.directory(), kubeconfig, &client, network, lifetime, &mut |_| Ok(()))
            .await
            .context("starting a node")?;
        testbed.node = Some(Box::new(node));
        let gateway = Gateway::at(network.gateway());
        gateway
            .open(API_SERVER_OF_PODS, testbed.plane.access.port)
            .context("opening the API server to pods")?;
        testbed.gateway = Some(gateway);
        Ok(testbed)
    }

    /// Opens what listens on a port of this machine's loopback to the node's pods, and tells at which address.
    pub fn open_to_pods(&self, port: u16) -> anyhow::Result<SocketAddr> {
        self.gateway.as_ref().context("a testbed without a node has no pods")?.open(port, port)
    }

    /// Gives the node's pods an image, as the archive that `cargo image` writes.
    pub fn import_image(&self, archive: &Path) -> anyhow::Result<()> {
        let node = self.node.as_deref().context("a testbed without a node has no images")?;
        node.import(archive).with_context(|| format!("importing {}", archive.display()))
    }

    /// As [`Testbed::shared`], with a node.
    pub async fn shared_with_node() -> anyhow::Result<&'static Testbed> {
        SHARED_WITH_NODE.get_or_try_init(Testbed::start_with_node).await
    }

    /// The one that all tests of this process share. Each takes namespaces of its own from
    /// [`Testbed::namespace`]; a test that needs cluster-wide objects to itself starts its own testbed.
    pub async fn shared() -> anyhow::Result<&'static Testbed> {
        SHARED.get_or_try_init(Testbed::start).await
    }

    /// Another cluster beside [`Testbed::shared`], for what goes on between two.
    pub async fn shared_second() -> anyhow::Result<&'static Testbed> {
        SHARED_SECOND.get_or_try_init(Testbed::start).await
    }

    /// Ends the API server on the spot, as a crash would; the others stay.
    pub async fn kill_api_server(&mut self) -> anyhow::Result<()> {
        self.plane.kill_api_server().await
    }

    /// Starts it again with the address and the data that it had.
    pub async fn start_api_server(&mut self) -> anyhow::Result<()> {
        self.plane.start_api_server(Lifetime::With(&self.group)).await
    }

    /// Starts the API server again with these arguments beside the usual ones.
    pub async fn restart_api_server_with(&mut self, arguments: &[&str]) -> anyhow::Result<()> {
        self.plane.api_server_arguments = arguments.iter().map(|&argument| argument.to_owned()).collect();
        self.kill_api_server().await?;
        self.start_api_server().await
    }

    /// Has etcd forget all states but the one of now, as it does every few minutes elsewhere.
    pub async fn compact_etcd(&self) -> anyhow::Result<()> {
        control_plane::compact(self.plane.etcd_port).await.context("compacting etcd")
    }

    /// A kubeconfig with one cluster and one user (an administrator) with an inline token.
    pub fn kubeconfig(&self) -> &Path {
        &self.plane.kubeconfig
    }

    /// The files of the API server's certificate, with that of its authority behind it, and of its key.
    pub fn certificate(&self) -> (PathBuf, PathBuf) {
        self.plane.certificate()
    }

    /// The certificate of the authority that signed it, in PEM.
    pub fn authority(&self) -> String {
        keys::certificate_pem(&self.plane.access.authority)
    }

    /// A client for the calling runtime.
    pub fn client(&self) -> anyhow::Result<Client> {
        self.plane.access.client()
    }

    /// The settings of [`Testbed::client`], for those who want to change some.
    pub fn client_config(&self) -> anyhow::Result<kube::Config> {
        self.plane.access.config()
    }

    /// A new namespace `prefix-…` with a name nobody else has, with its default service account in place.
    pub async fn namespace(&self, prefix: &str) -> anyhow::Result<String> {
        let client = self.client()?;
        let token = keys::random_token();
        let name = format!("{prefix}-{}", &token[..8]);
        let namespace = Namespace {
            metadata: ObjectMeta { name: Some(name.clone()), ..ObjectMeta::default() },
            ..Namespace::default()
        };
        Api::<Namespace>::all(client.clone())
            .create(&PostParams::default(), &namespace)
            .await
            .with_context(|| format!("creating namespace {name}"))?;
        control_plane::wait_for_namespace(&client, &name).await?;
        Ok(name)
    }

    /// The path of kubectl, built first where needed.
    pub async fn kubectl(&self) -> anyhow::Result<PathBuf> {
        programs::locate(Program::Kubectl).await
    }

    /// The directory that holds everything of this testbed and goes away with it.
    pub fn directory(&self) -> &Path {
        self.group.directory()
    }

    /// The ids of the servers.
    pub fn process_ids(&self) -> Vec<u32> {
        self.plane
            .servers
            .iter()
            .map(|server| server.id())
            .chain(self.node.as_deref().map(Node::id))
            .collect()
    }

    /// What an agent needs to see the volumes of the node's pods: the kubelet's folder of pods, and a process in whose
    /// mount namespace they are.
    pub fn pods_of_node(&self) -> Option<(PathBuf, u32)> {
        let node = self.node.as_deref()?;
        Some((self.directory().join("node/kubelet/pods"), node.id()))
    }

    /// The ends of the servers' logs.
    pub fn log_tails(&self) -> String {
        let node = self.node.as_deref().map(Node::log_tails).unwrap_or_default();
        format!("{}\n{node}", control_plane::log_tails(&self.plane.servers))
    }

    /// Prints the ends of the servers' logs if the test panics while it holds the guard. For tests on the shared
    /// testbed, which nobody drops.
    pub fn logs_on_panic(&self) -> LogsOnPanic<'_> {
        LogsOnPanic { testbed: self }
    }
}

impl Drop for Testbed {
    fn drop(&mut self) {
        drop(self.logs_on_panic());
    }
}

pub struct LogsOnPanic<'a> {
    testbed: &'a Testbed,
}

impl Drop for LogsOnPanic<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.testbed.log_tails());
        }
    }
}
