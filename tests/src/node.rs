//! A real node for a control plane: kubelet, containerd and runc on this machine, with an image made on the spot.
//!
//! Takes a control plane and a directory, gives a Ready node named `localhost` on which pods of [`IMAGE`] run.
//! All of it lives in a PID and a mount namespace of its own, led by a small shell: when that shell ends, in any
//! way, the kernel ends every shim and container and takes every mount away. What the kernel leaves, the cgroups,
//! goes with [`END_SCRIPT`]. Needs Linux and root; [`missing`] says what else.

pub(crate) mod gateway;
mod image;
pub(crate) mod network;
mod settings;

use std::ffi::OsString;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, bail};
use k8s_openapi::api::core::v1::Node as NodeObject;
use kube::{Api, Client};
use tokio::time::timeout;

use crate::process::{Launch, Lifetime, Server, tail};
use crate::programs::{self, Program};
use crate::testbed::{keys, port};
use network::Network;
use settings::Settings;

/// The name of the node. The API server dials it for logs and exec.
pub const NAME: &str = "localhost";
/// The one image there is, with busybox as its shell and everything else. Pods use `imagePullPolicy: Never`.
pub const IMAGE: &str = "holdfast.test/busybox:1";
/// Makes its absence a failure of the tests that need one.
pub const REQUIRED: &str = "HOLDFAST_REQUIRE_NODE";

/// Where Debian puts the network plug-ins.
const NETWORK_PLUGINS: &str = "/usr/lib/cni";
/// In the node's namespace other contents stand here, so that it writes nothing into the machine's own.
const COVERED: [&str; 4] = ["/run", "/var/run", "/var/lib", "/var/log"];
const PATIENCE: Duration = Duration::from_secs(180);

/// What leads the namespaces. Every process that the node leaves behind becomes its child, and `wait` reaps it.
const LEADER: &str = include_str!("node/leader.sh");
/// Ends all processes of the node's cgroups and removes these. Run by whoever ends the node, and by the shell that
/// watches over a testbed.
const END_SCRIPT: &str = include_str!("node/end.sh");

/// A running node. Dropping it ends it.
pub(crate) struct Node {
    server: Server,
    end: End,
    logs: Vec<PathBuf>,
    ctr: PathBuf,
    socket: PathBuf,
}

/// How a node ends: a script in the testbed's directory.
pub(crate) struct End {
    script: PathBuf,
}

/// What keeps this machine from having a node, or nothing.
pub fn missing() -> Option<String> {
    if !cfg!(target_os = "linux") {
        return Some("a node needs Linux".to_owned());
    }
    if !is_root() {
        return Some("a node needs root".to_owned());
    }
    for (program, package) in
        [("runc", "runc"), ("busybox", "busybox-static"), ("unshare", "util-linux"), ("mount", "mount")]
    {
        if on_path(program).is_none() {
            return Some(format!("a node needs {program} (Debian package {package})"));
        }
    }
    for plugin in ["ptp", "host-local"] {
        if !Path::new(NETWORK_PLUGINS).join(plugin).is_file() {
            return Some(format!(
                "a node needs {NETWORK_PLUGINS}/{plugin} (Debian package containernetworking-plugins)"
            ));
        }
    }
    let namespaces = Command::new("unshare")
        .args(["--fork", "--pid", "--mount", "--mount-proc", "true"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    if !namespaces.is_ok_and(|status| status.success()) {
        return Some("a node needs namespaces of its own, and this machine does not allow them".to_owned());
    }
    None
}

/// Starts a node for the control plane that `kubeconfig` names. `directory` is the testbed's own.
pub(crate) async fn start(
    directory: &Path,
    kubeconfig: &Path,
    client: &Client,
    network: Network,
    lifetime: Lifetime<'_>,
    started: &mut (dyn FnMut(&Server) -> anyhow::Result<()> + Send),
) -> anyhow::Result<Node> {
    if let Some(missing) = missing() {
        bail!(missing);
    }
    if let Some(covered) = COVERED.iter().find(|covered| directory.starts_with(covered)) {
        bail!("a node cannot have its directory below {covered}: it is {}", directory.display());
    }
    let kubelet = programs::locate(Program::Kubelet).await?;
    let containerd = programs::locate(Program::Containerd).await?;
    let shim = programs::locate(Program::ContainerdShim).await?;
    let ctr = programs::locate(Program::Ctr).await?;
    let settings = Settings {
        directory: directory.join("node"),
        kubeconfig: kubeconfig.to_owned(),
        shim,
        // Several testbeds stand side by side: each has its own cgroups.
        cgroup: format!("holdfast-{}", &keys::random_token()[..12]),
        network,
    };
    settings.write().context("writing the node's settings")?;
    let busybox = on_path("busybox").context("busybox has gone away")?;
    image::write(&settings.image(), &busybox).context("making the image for pods")?;
    let end = End::install(directory, &settings.cgroup)?;
    let launch = |port: u16| Launch {
        name: "node",
        program: Path::new("unshare"),
        arguments: ["--fork", "--kill-child", "--pid", "--mount", "--mount-proc", "sh", "-c", LEADER, "sh"]
            .map(str::to_owned)
            .into_iter()
            .chain([
                settings.directory.display().to_string(),
                settings.cgroup.clone(),
                containerd.display().to_string(),
                ctr.display().to_string(),
                kubelet.display().to_string(),
                port.to_string(),
            ])
            .collect(),
        environment: Vec::new(),
        log: settings.logs().join("node.log"),
    };
    let ready = async |port: u16, _: &str| is_ready(client, port).await;
    let served = timeout(PATIENCE, port::serve(launch, lifetime, started, ready)).await;
    let logs = settings.log_files();
    let served = match served {
        Ok(served) => served,
        Err(_) => Err(anyhow::anyhow!("the node is not ready after {PATIENCE:?}")),
    };
    match served {
        Ok((server, _)) => {
            Ok(Node { server, end, logs, ctr, socket: settings.directory.join("containerd.sock") })
        }
        Err(error) => {
            end.run()?;
            Err(error.context(log_tails(&logs)))
        }
    }
}

async fn is_ready(client: &Client, port: u16) -> bool {
    let node = Api::<NodeObject>::all(client.clone()).get_opt(NAME).await;
    let Ok(Some(status)) = node.map(|node| node.and_then(|node| node.status)) else { return false };
    let listens = status.daemon_endpoints.and_then(|endpoints| endpoints.kubelet_endpoint);
    let ready = |condition: &k8s_openapi::api::core::v1::NodeCondition| {
        condition.type_ == "Ready" && condition.status == "True"
    };
    listens.is_some_and(|endpoint| endpoint.port == i32::from(port))
        && status.conditions.iter().flatten().any(ready)
}

impl Node {
    pub(crate) fn id(&self) -> u32 {
        self.server.id()
    }

    /// Gives pods an image, as the archive that its builder wrote.
    pub(crate) fn import(&self, archive: &Path) -> anyhow::Result<()> {
        let output = Command::new("nsenter")
            .args([format!("--target={}", self.id()), "--mount".to_owned()])
            .arg(&self.ctr)
            .arg("--address")
            .arg(&self.socket)
            .args(["--namespace", "k8s.io", "images", "import", "--local", "--snapshotter", "native"])
            .arg(archive)
            .stdin(Stdio::null())
            .output()
            .context("running ctr")?;
        anyhow::ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr).trim());
        Ok(())
    }

    pub(crate) fn log_tails(&self) -> String {
        log_tails(&self.logs)
    }

    /// For one that stays: how it ends later is on disk.
    pub(crate) fn leave(self) {
        std::mem::forget(self);
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Err(error) = self.end.run() {
            eprintln!("testbed: {error:#}");
        }
    }
}

impl End {
    /// The name is the one under which [`crate::process::Group`] looks for it.
    fn install(directory: &Path, cgroup: &str) -> anyhow::Result<End> {
        let script = directory.join(crate::process::AT_END);
        let mut file = fs::File::create(&script).with_context(|| format!("creating {}", script.display()))?;
        file.write_all(format!("name={cgroup}\n{END_SCRIPT}").as_bytes())
            .with_context(|| format!("writing {}", script.display()))?;
        Ok(End { script })
    }

    /// That of a node that was started in this directory earlier, if there is one.
    pub(crate) fn of(directory: &Path) -> Option<End> {
        let script = directory.join(crate::process::AT_END);
        script.is_file().then_some(End { script })
    }

    /// Returns when nothing of the node is left but files.
    pub(crate) fn run(&self) -> anyhow::Result<()> {
        let status = Command::new("sh")
            .arg(&self.script)
            .stdin(Stdio::null())
            .status()
            .with_context(|| format!("running {}", self.script.display()))?;
        anyhow::ensure!(status.success(), "the node's cgroups did not go away ({})", self.script.display());
        Ok(())
    }
}

fn log_tails(logs: &[PathBuf]) -> String {
    logs.iter().map(|log| tail(log)).collect::<Vec<_>>().join("\n")
}

fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt as _;
    // What /proc/self belongs to is who we are.
    fs::metadata("/proc/self").is_ok_and(|metadata| metadata.uid() == 0)
}

fn on_path(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let usual = ["/usr/sbin", "/sbin"].map(OsString::from).map(PathBuf::from);
    std::env::split_paths(&path).chain(usual).map(|folder| folder.join(program)).find(|path| path.is_file())
}
