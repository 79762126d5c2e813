//! etcd, kube-apiserver and kube-controller-manager in a directory: their command lines, their start in order
//! and the conditions for "ready". Whether they stay or end with us is the caller's choice.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use k8s_openapi::api::core::v1::{ConfigMap, ServiceAccount};
use kube::{Api, Client};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::time::timeout;

use super::access::Access;
use super::keys;
use crate::http_request::{self, Request};
use crate::process::{Launch, Lifetime, POLL, Server};
use crate::programs::{self, Program};
use crate::testbed::port;

/// Ready takes about 5 s on two idle cores; the machine may be busy with other tests.
const PATIENCE: Duration = Duration::from_secs(180);

/// Its place among the servers.
const API_SERVER: usize = 1;

/// Where everything lies in a control plane's directory.
pub(crate) struct Layout {
    directory: PathBuf,
    /// The addresses of Services.
    services: String,
}

pub(crate) struct ControlPlane {
    pub(crate) access: Access,
    pub(crate) kubeconfig: PathBuf,
    pub(crate) servers: Vec<Server>,
    layout: Layout,
    pub(crate) etcd_port: u16,
    /// Beside the usual ones, for the next start.
    pub(crate) api_server_arguments: Vec<String>,
}

/// The addresses of Services where no pod runs that could ask for one.
pub(crate) const SERVICES: &str = "10.0.0.0/16";

/// Starts on what the directory holds: an etcd with data is taken up again. `started` hears of each server at
/// once, so that it can be ended even when a later one fails.
pub(crate) async fn start(
    directory: &Path,
    services: &str,
    lifetime: Lifetime<'_>,
    started: &mut (dyn FnMut(&Server) -> anyhow::Result<()> + Send),
) -> anyhow::Result<ControlPlane> {
    let layout = Layout { directory: directory.to_owned(), services: services.to_owned() };
    for folder in [layout.keys(), layout.etcd(), layout.logs()] {
        fs::create_dir_all(&folder).with_context(|| format!("creating {}", folder.display()))?;
    }
    let etcd_program = programs::locate(Program::Etcd).await?;
    let api_server_program = programs::locate(Program::ApiServer).await?;
    let manager_program = programs::locate(Program::ControllerManager).await?;
    if !layout.signing_key().is_file() {
        keys::write_signing_keys(&layout.signing_key(), &layout.verifying_key())?;
    }
    let token = keys::random_token();
    fs::write(layout.tokens(), format!("{token},admin,admin,system:masters\n"))
        .context("writing the token file")?;

    let (etcd, etcd_port) = port::serve(
        |port| layout.etcd_launch(&etcd_program, port),
        lifetime,
        started,
        // Told by our etcd's own log: whoever took the port from under it would answer requests just as well.
        async |_, log: &str| log.contains("ready to serve client requests"),
    )
    .await?;
    let (api_server, port) = port::serve(
        |port| layout.api_server_launch(&api_server_program, port, etcd_port),
        lifetime,
        started,
        async |port, _: &str| match layout.access(port, &token) {
            Ok(access) => answers(&access).await,
            Err(_) => false,
        },
    )
    .await?;
    let access = layout.access(port, &token)?;
    fs::write(layout.kubeconfig(), access.kubeconfig()).context("writing the kubeconfig")?;
    let manager = Server::start(layout.controller_manager_launch(&manager_program), lifetime)?;
    started(&manager)?;
    let mut servers = vec![etcd, api_server, manager];
    timeout(PATIENCE, wait_until_ready(&access, &mut servers))
        .await
        .map_err(|_| anyhow::anyhow!("not ready after {PATIENCE:?}\n{}", log_tails(&servers)))??;
    Ok(ControlPlane {
        access,
        kubeconfig: layout.kubeconfig(),
        servers,
        layout,
        etcd_port,
        api_server_arguments: Vec::new(),
    })
}

impl ControlPlane {
    /// The files of the API server's certificate and of its key.
    pub(super) fn certificate(&self) -> (PathBuf, PathBuf) {
        (self.layout.keys().join("apiserver.crt"), self.layout.keys().join("apiserver.key"))
    }

    /// Ends the API server on the spot, as a crash would.
    pub(crate) async fn kill_api_server(&mut self) -> anyhow::Result<()> {
        let server = self.servers.get_mut(API_SERVER).context("there is no API server")?;
        kill(Pid::from_raw(i32::try_from(server.id())?), Signal::SIGKILL)?;
        while server.ended()?.is_none() {
            tokio::time::sleep(POLL).await;
        }
        Ok(())
    }

    /// Starts it again where it was, and returns when it is ready.
    pub(crate) async fn start_api_server(&mut self, lifetime: Lifetime<'_>) -> anyhow::Result<()> {
        let program = programs::locate(Program::ApiServer).await?;
        let mut launch = self.layout.api_server_launch(&program, self.access.port, self.etcd_port);
        launch.arguments.extend(self.api_server_arguments.iter().cloned());
        self.servers[API_SERVER] = Server::start(launch, lifetime)?;
        timeout(PATIENCE, wait_until_ready(&self.access, &mut self.servers))
            .await
            .map_err(|_| anyhow::anyhow!("not ready after {PATIENCE:?}\n{}", log_tails(&self.servers)))?
    }
}

/// Has etcd forget all states but the one of now.
pub(crate) async fn compact(etcd_port: u16) -> anyhow::Result<()> {
    let ask = |path, body| Request { port: etcd_port, method: "POST", path, headers: &[], body };
    let answer = http_request::send(ask("/v3/kv/range", r#"{"key":"AA=="}"#)).await?;
    let (_, behind) = answer.split_once(r#""revision":""#).context("etcd's answer has no revision")?;
    let revision: u64 = behind.split('"').next().unwrap_or_default().parse().context("etcd's revision")?;
    let body = format!(r#"{{"revision":"{revision}","physical":true}}"#);
    http_request::send(ask("/v3/kv/compaction", &body)).await?;
    Ok(())
}

/// The default service account is made by the controller manager, so it shows that this works too.
async fn wait_until_ready(access: &Access, servers: &mut [Server]) -> anyhow::Result<()> {
    let client = access.client()?;
    while !(is_ready(&client).await && namespace_is_populated(&client, "default").await) {
        for server in servers.iter_mut() {
            if let Some(status) = server.ended()? {
                anyhow::bail!("{} ended ({status})\n{}", server.name, server.log_tail());
            }
        }
        tokio::time::sleep(POLL).await;
    }
    Ok(())
}

pub(crate) async fn wait_for_namespace(client: &Client, name: &str) -> anyhow::Result<()> {
    let populated = async {
        while !namespace_is_populated(client, name).await {
            tokio::time::sleep(POLL).await;
        }
    };
    timeout(PATIENCE, populated)
        .await
        .with_context(|| format!("no default service account in namespace {name}"))
}

/// Without these two a pod is refused, and a listing right after the creation depends on the moment.
async fn namespace_is_populated(client: &Client, name: &str) -> bool {
    let accounts = Api::<ServiceAccount>::namespaced(client.clone(), name);
    let config_maps = Api::<ConfigMap>::namespaced(client.clone(), name);
    matches!(accounts.get_opt("default").await, Ok(Some(_)))
        && matches!(config_maps.get_opt("kube-root-ca.crt").await, Ok(Some(_)))
}

async fn answers(access: &Access) -> bool {
    match access.client() {
        Ok(client) => client.apiserver_version().await.is_ok(),
        Err(_) => false,
    }
}

async fn is_ready(client: &Client) -> bool {
    match http::Request::get("/readyz").body(Vec::new()) {
        Ok(request) => client.request_text(request).await.is_ok(),
        Err(_) => false,
    }
}

pub(crate) fn log_tails(servers: &[Server]) -> String {
    servers.iter().map(Server::log_tail).collect::<Vec<_>>().join("\n")
}

impl Layout {
    fn keys(&self) -> PathBuf {
        self.directory.join("keys")
    }

    fn etcd(&self) -> PathBuf {
        self.directory.join("etcd")
    }

    fn logs(&self) -> PathBuf {
        self.directory.join("logs")
    }

    fn kubeconfig(&self) -> PathBuf {
        self.directory.join("kubeconfig")
    }

    fn signing_key(&self) -> PathBuf {
        self.keys().join("service-account.key")
    }

    fn verifying_key(&self) -> PathBuf {
        self.keys().join("service-account.pub")
    }

    fn tokens(&self) -> PathBuf {
        self.keys().join("tokens.csv")
    }

    /// The API server signs a certificate for itself when it starts for the first time.
    fn access(&self, port: u16, token: &str) -> anyhow::Result<Access> {
        let bundle =
            fs::read_to_string(self.keys().join("apiserver.crt")).context("reading apiserver.crt")?;
        Ok(Access { port, token: token.to_owned(), authority: keys::last_certificate(&bundle)? })
    }

    fn etcd_launch<'a>(&self, program: &'a Path, port: u16) -> Launch<'a> {
        let url = format!("http://127.0.0.1:{port}");
        Launch {
            name: "etcd",
            program,
            arguments: vec![
                format!("--data-dir={}", self.etcd().display()),
                format!("--listen-client-urls={url}"),
                format!("--advertise-client-urls={url}"),
                // A single member has no peers to find it.
                "--listen-peer-urls=http://127.0.0.1:0".to_owned(),
                "--unsafe-no-fsync".to_owned(),
                "--quota-backend-bytes=8589934592".to_owned(),
            ],
            environment: Vec::new(),
            log: self.logs().join("etcd.log"),
        }
    }

    fn api_server_launch<'a>(&self, program: &'a Path, port: u16, etcd_port: u16) -> Launch<'a> {
        Launch {
            name: "kube-apiserver",
            program,
            arguments: vec![
                format!("--etcd-servers=http://127.0.0.1:{etcd_port}"),
                format!("--cert-dir={}", self.keys().display()),
                format!("--secure-port={port}"),
                "--bind-address=127.0.0.1".to_owned(),
                // Otherwise it looks for a default route, and a machine without a network has none. A loopback
                // address may not be an endpoint, so the Service `kubernetes` goes without.
                "--advertise-address=127.0.0.1".to_owned(),
                "--endpoint-reconciler-type=none".to_owned(),
                format!("--service-account-key-file={}", self.verifying_key().display()),
                format!("--service-account-signing-key-file={}", self.signing_key().display()),
                "--service-account-issuer=https://kubernetes.default.svc".to_owned(),
                format!("--service-cluster-ip-range={}", self.services),
                format!("--token-auth-file={}", self.tokens().display()),
                "--authorization-mode=RBAC".to_owned(),
                "--allow-privileged=true".to_owned(),
                "--profiling=false".to_owned(),
            ],
            environment: Vec::new(),
            log: self.logs().join("kube-apiserver.log"),
        }
    }

    fn controller_manager_launch<'a>(&self, program: &'a Path) -> Launch<'a> {
        Launch {
            name: "kube-controller-manager",
            program,
            arguments: vec![
                format!("--kubeconfig={}", self.kubeconfig().display()),
                format!("--service-account-private-key-file={}", self.signing_key().display()),
                "--controllers=*".to_owned(),
                "--leader-elect=false".to_owned(),
                "--secure-port=0".to_owned(),
                "--bind-address=127.0.0.1".to_owned(),
                // It shares the machine with nobody whom a rate would protect.
                "--kube-api-qps=1000".to_owned(),
                "--kube-api-burst=1000".to_owned(),
            ],
            environment: Vec::new(),
            log: self.logs().join("kube-controller-manager.log"),
        }
    }
}
