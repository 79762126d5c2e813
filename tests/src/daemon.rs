//! The daemon under test, as a process of its own.

pub(crate) mod cost;

use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::process::Command;
use tokio::sync::OnceCell;

pub use cost::Cost;
pub(crate) use cost::of as cost_of;

use holdfast::rights::Role;

use crate::process::{Group, Launch, Lifetime, POLL, Server};
use crate::testbed::{Testbed, port};

/// The log message by which the daemon says that it works.
const READY: &str = "controllers started";
/// How long a daemon may take to end after SIGTERM.
const GRACE: Duration = Duration::from_secs(15);

/// Everything that a daemon which does everything has.
const ROLES: [Role; 5] = [Role::Observe, Role::Backup, Role::Restore, Role::Hooks, Role::InstallCrds];
/// How the API server refuses a daemon what its roles lack.
const LACKING: &str = "User \\\"system:serviceaccount:";

static PROGRAM: OnceCell<PathBuf> = OnceCell::const_new();

pub struct DaemonOptions {
    /// The namespace it works in. It must exist.
    pub namespace: String,
    /// Further arguments of `holdfast run`.
    pub arguments: Vec<String>,
    pub environment: Vec<(&'static str, String)>,
    /// When it counts as started.
    pub ready: &'static str,
    /// What it may do. Where that is too little, the test fails.
    pub roles: &'static [Role],
}

impl Default for DaemonOptions {
    fn default() -> DaemonOptions {
        DaemonOptions {
            namespace: "velero".to_owned(),
            arguments: vec!["--install-crds".to_owned()],
            environment: Vec::new(),
            ready: READY,
            roles: &ROLES,
        }
    }
}

/// A process takes over from one of the same name at once, and no Velero server is waited for: tests of either say so.
const IN_A_HURRY: [(&str, &str); 2] = [("POD_NAME", "daemon"), ("HOLDFAST_VELERO_WAIT", "0s")];

/// A running `holdfast run`. Dropping it ends it with SIGTERM; a test that panics meanwhile gets its log's end.
pub struct Daemon {
    server: Server,
    metrics_port: u16,
    group: Group,
}

impl Daemon {
    /// Builds the daemon where needed, starts it and returns when it says that it works.
    pub async fn start(testbed: &Testbed, options: DaemonOptions) -> anyhow::Result<Daemon> {
        let account = testbed.account(&options.namespace, options.roles).await?;
        Daemon::start_against(&account.kubeconfig, options).await
    }

    /// The same against any cluster.
    pub async fn start_against(kubeconfig: &Path, options: DaemonOptions) -> anyhow::Result<Daemon> {
        let program = program().await?;
        let group = Group::start("daemon")?;
        let launch = |port: u16| {
            let mut arguments = vec![
                "run".to_owned(),
                format!("--kubeconfig={}", kubeconfig.display()),
                format!("--namespace={}", options.namespace),
                "--log-format=json".to_owned(),
                format!("--metrics-address=127.0.0.1:{port}"),
            ];
            arguments.extend(options.arguments.iter().cloned());
            Launch {
                name: "holdfast",
                program,
                arguments,
                environment: IN_A_HURRY
                    .map(|(name, value)| (name, value.to_owned()))
                    .into_iter()
                    .chain(options.environment.clone())
                    .collect(),
                log: group.directory().join("holdfast.log"),
            }
        };
        let ready = async |_, log: &str| log.contains(options.ready);
        let (server, metrics_port) = port::serve(launch, Lifetime::With(&group), &mut |_| Ok(()), ready)
            .await
            .context("starting the daemon")?;
        Ok(Daemon { server, metrics_port, group })
    }

    /// Everything it has logged so far: a JSON object a line.
    pub fn log_text(&self) -> String {
        self.server.log_text()
    }

    /// Where it serves its metrics.
    pub fn metrics_url(&self) -> String {
        format!("http://127.0.0.1:{}/metrics", self.metrics_port)
    }

    pub fn process_id(&self) -> u32 {
        self.server.id()
    }

    /// A directory of its own that goes away with it.
    pub fn directory(&self) -> &Path {
        self.group.directory()
    }

    /// What it has cost so far.
    pub fn cost(&self) -> anyhow::Result<Cost> {
        cost::of(self.process_id()).context("reading what the daemon costs")
    }

    /// From now on its peak of memory is that from now on.
    pub fn forget_peak(&self) -> anyhow::Result<()> {
        cost::forget_peak(self.process_id()).context("resetting the daemon's peak of memory")
    }

    /// Asks it to end, and waits until it has.
    pub async fn stop(mut self) -> anyhow::Result<ExitStatus> {
        self.signal(Signal::SIGTERM)?;
        let deadline = Instant::now() + GRACE;
        while Instant::now() < deadline {
            if let Some(status) = self.server.ended()? {
                let lacking = self.lacking_rights();
                anyhow::ensure!(
                    lacking.is_empty(),
                    "the daemon's roles lack rights:\n{}",
                    lacking.join("\n")
                );
                return Ok(status);
            }
            tokio::time::sleep(POLL).await;
        }
        bail!("the daemon still runs {GRACE:?} after SIGTERM\n{}", self.server.log_tail())
    }

    /// Ends it on the spot, as a crash would.
    pub fn kill(mut self) -> anyhow::Result<()> {
        self.signal(Signal::SIGKILL)
    }

    /// Lines of its log that tell of calls which its roles do not allow.
    fn lacking_rights(&self) -> Vec<String> {
        let log = self.server.log_text();
        log.lines().filter(|line| line.contains(LACKING)).map(str::to_owned).collect()
    }

    fn signal(&mut self, signal: Signal) -> anyhow::Result<()> {
        // Asked first, because the id of a child that has been waited for may belong to another process.
        if self.server.ended()?.is_some() {
            return Ok(());
        }
        let pid = Pid::from_raw(i32::try_from(self.process_id()).context("a process id out of range")?);
        match kill(pid, signal) {
            Ok(()) | Err(Errno::ESRCH) => Ok(()),
            Err(error) => Err(error).context("sending a signal to the daemon"),
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.server.log_tail());
        }
        if self.signal(Signal::SIGTERM).is_err() {
            return;
        }
        let deadline = Instant::now() + GRACE;
        while Instant::now() < deadline && matches!(self.server.ended(), Ok(None)) {
            std::thread::sleep(POLL);
        }
        let lacking = self.lacking_rights();
        if !std::thread::panicking() {
            assert!(lacking.is_empty(), "the daemon's roles lack rights:\n{}", lacking.join("\n"));
        }
    }
}

/// The binary under test, built where needed.
pub async fn program() -> anyhow::Result<&'static Path> {
    Ok(PROGRAM.get_or_try_init(locate).await?)
}

/// `HOLDFAST_BIN`, or the binary of this workspace, brought up to date in the profile that we were built in.
async fn locate() -> anyhow::Result<PathBuf> {
    if let Some(path) = std::env::var_os("HOLDFAST_BIN") {
        let path = PathBuf::from(path);
        anyhow::ensure!(path.is_file(), "HOLDFAST_BIN names {}, which is no file", path.display());
        return Ok(path);
    }
    let us = std::env::current_exe().context("finding our own path")?;
    let profile = us
        .ancestors()
        .skip(1)
        .find(|folder| !folder.ends_with("deps"))
        .context("finding the folder of built programs")?;
    let target = profile.parent().context("finding the target folder")?;
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    // Of the whole workspace, so that the features of the dependencies are the ones already built.
    command
        .args(["build", "--quiet", "--workspace", "--bin", "holdfast", "--target-dir"])
        .arg(target)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    if profile.ends_with("release") {
        command.arg("--release");
    }
    // What cargo tells us about this crate would make build scripts of others run again.
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_", "CARGO_CRATE_"]
            .iter()
            .any(|prefix| text.starts_with(prefix))
        {
            command.env_remove(&name);
        }
    }
    let status = command.status().await.context("running cargo build for the daemon")?;
    anyhow::ensure!(status.success(), "cargo build of the daemon failed ({status}): see its messages above");
    Ok(profile.join("holdfast"))
}
