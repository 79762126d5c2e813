//! Servers that stay: what `cargo testbed up`, `down` and `env` do with a directory.
//!
//! The directory holds the data, the logs and `processes.json`, which names every server that was started by id
//! and start time, so that `down` ends these and nothing else.

use std::path::{Path, PathBuf};
use std::{fs, io};

use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};
use tokio::signal::unix::{SignalKind, signal};

use crate::file_lock::FileLock;
use crate::node::{self, network::Network};
use crate::process::{Identity, Lifetime, Server, end_all};
use crate::s3::{self, Settings, Speaks};
use crate::testbed::{control_plane, install_crypto_provider};

/// The bucket that is there from the start.
const BUCKET: &str = "backups";

/// What [`down`] removes besides `processes.json`; the logs stay.
const DATA: [&str; 5] = ["etcd", "keys", "s3", "node", crate::process::AT_END];

/// What there may be beside the control plane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extra {
    S3,
    Node,
}

/// The content of `processes.json`.
#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Running {
    control_plane: Vec<Identity>,
    s3: Vec<Identity>,
    #[serde(default)]
    node: Vec<Identity>,
    /// Only once all parts that were asked for were ready.
    exports: Option<Exports>,
}

/// What a shell needs to use the servers.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Exports {
    kubeconfig: PathBuf,
    s3: Option<Settings>,
}

impl Exports {
    /// Shell lines, to be evaluated.
    pub fn lines(&self) -> String {
        let mut variables = vec![("KUBECONFIG", self.kubeconfig.display().to_string())];
        if let Some(s3) = &self.s3 {
            variables.push(("S3_ENDPOINT", s3.endpoint.clone()));
            variables.push(("AWS_ACCESS_KEY_ID", s3.access_key.clone()));
            variables.push(("AWS_SECRET_ACCESS_KEY", s3.secret_key.clone()));
        }
        variables.iter().map(|(name, value)| format!("export {name}={}\n", quoted(value))).collect()
    }
}

/// Starts what does not run yet, and returns when all of it is ready.
pub async fn up(directory: &Path, extras: &[Extra]) -> anyhow::Result<Exports> {
    install_crypto_provider();
    fs::create_dir_all(directory).with_context(|| format!("creating {}", directory.display()))?;
    let standing = Standing::open(directory).await?;
    let mut running = standing.read()?;
    let outcome = tokio::select! {
        outcome = standing.start(&mut running, extras) => outcome,
        interrupt = interrupted() => interrupt.and_then(|()| bail!("interrupted")),
    };
    if outcome.is_err() {
        standing.end(&running)?;
        standing.forget()?;
    }
    outcome
}

/// Ends what [`up`] started in this directory, and removes its data. Nothing to end is no error.
pub async fn down(directory: &Path) -> anyhow::Result<()> {
    if !directory.exists() {
        return Ok(());
    }
    let standing = Standing::open(directory).await?;
    let running = standing.read()?;
    standing.end(&running)?;
    standing.forget()?;
    for name in DATA {
        let path = standing.directory.join(name);
        let removed = if path.is_file() { fs::remove_file(&path) } else { fs::remove_dir_all(&path) };
        match removed {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(error).with_context(|| format!("removing {}", path.display()));
            }
            Ok(()) | Err(_) => {}
        }
    }
    Ok(())
}

/// What [`up`] gave, if all of it still runs.
pub async fn exports(directory: &Path) -> anyhow::Result<Exports> {
    let nothing = || {
        format!("no testbed runs in {0}: start one with `cargo testbed up --dir {0}`", directory.display())
    };
    if !directory.exists() {
        bail!(nothing());
    }
    let running = Standing::open(directory).await?.read()?;
    match running.exports {
        Some(ref exports) if all_run(&running.all()) => Ok(exports.clone()),
        Some(_) | None => bail!(nothing()),
    }
}

/// A directory, locked: one command at a time works on it.
struct Standing {
    directory: PathBuf,
    #[expect(dead_code, reason = "held while the command works on the directory")]
    lock: FileLock,
}

impl Standing {
    async fn open(directory: &Path) -> anyhow::Result<Standing> {
        let directory =
            directory.canonicalize().with_context(|| format!("resolving {}", directory.display()))?;
        let notice = format!("waiting for another command on {}", directory.display());
        Ok(Standing { lock: FileLock::take(&directory, &notice).await?, directory })
    }

    fn file(&self) -> PathBuf {
        self.directory.join("processes.json")
    }

    fn read(&self) -> anyhow::Result<Running> {
        match fs::read(self.file()) {
            Ok(bytes) => {
                serde_json::from_slice(&bytes).with_context(|| format!("reading {}", self.file().display()))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Running::default()),
            Err(error) => Err(error).with_context(|| format!("reading {}", self.file().display())),
        }
    }

    fn write(&self, running: &Running) -> anyhow::Result<()> {
        let unfinished = self.directory.join("processes.json.unfinished");
        fs::write(&unfinished, serde_json::to_vec_pretty(running)?)
            .and_then(|()| fs::rename(&unfinished, self.file()))
            .with_context(|| format!("writing {}", self.file().display()))
    }

    /// Once nothing runs any more, neither the list nor the way to reach it is true.
    fn forget(&self) -> anyhow::Result<()> {
        for path in [self.file(), self.directory.join("kubeconfig")] {
            match fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(error).with_context(|| format!("removing {}", path.display()));
                }
                Ok(()) | Err(_) => {}
            }
        }
        Ok(())
    }

    /// The node first: what it consists of is more than its process.
    fn end(&self, running: &Running) -> anyhow::Result<()> {
        if let Some(end) = node::End::of(&self.directory) {
            end.run()?;
        }
        end_all(&running.all())
    }

    async fn start(&self, running: &mut Running, extras: &[Extra]) -> anyhow::Result<Exports> {
        let before = running.exports.take();
        let had_s3 = before.as_ref().is_some_and(|exports| exports.s3.is_some());
        let had_node = !running.node.is_empty();
        let wants_s3 = had_s3 || extras.contains(&Extra::S3);
        let wants_node = had_node || extras.contains(&Extra::Node);
        if let Some(exports) = before
            && all_run(&running.all())
            && (had_s3, had_node) == (wants_s3, wants_node)
        {
            return Ok(exports);
        }
        let kubeconfig = self.control_plane(running).await?;
        if wants_node {
            self.node(running, &kubeconfig).await?;
        }
        let s3 = if wants_s3 { Some(self.s3(running).await?) } else { None };
        let exports = Exports { kubeconfig, s3 };
        running.exports = Some(exports.clone());
        self.write(running)?;
        Ok(exports)
    }

    async fn control_plane(&self, running: &mut Running) -> anyhow::Result<PathBuf> {
        let kubeconfig = self.directory.join("kubeconfig");
        // Three servers, and the kubeconfig that is written before the last of them starts.
        if kubeconfig.exists() && running.control_plane.len() >= 3 && all_run(&running.control_plane) {
            return Ok(kubeconfig);
        }
        eprintln!("testbed: starting a control plane in {}", self.directory.display());
        end_all(&running.control_plane)?;
        running.control_plane.clear();
        let mut started = |server: &Server| {
            running.control_plane.extend(server.identity());
            self.write(running)
        };
        let plane =
            control_plane::start(&self.directory, control_plane::SERVICES, Lifetime::Standing, &mut started)
                .await?;
        drop_ended(&mut running.control_plane);
        Ok(plane.kubeconfig)
    }

    async fn node(&self, running: &mut Running, kubeconfig: &Path) -> anyhow::Result<()> {
        // A control plane that was started again has another address.
        let knows = fs::read(self.directory.join("node/kubeconfig")).ok() == fs::read(kubeconfig).ok();
        if !running.node.is_empty() && all_run(&running.node) && knows {
            return Ok(());
        }
        eprintln!("testbed: starting a node");
        if let Some(end) = node::End::of(&self.directory) {
            end.run()?;
        }
        end_all(&running.node)?;
        running.node.clear();
        let mut started = |server: &Server| {
            running.node.extend(server.identity());
            self.write(running)
        };
        let config = kube::config::Kubeconfig::read_from(kubeconfig).context("reading the kubeconfig")?;
        let options = kube::config::KubeConfigOptions::default();
        let config = kube::Config::from_custom_kubeconfig(config, &options).await;
        let client = kube::Client::try_from(config.context("using the kubeconfig")?)?;
        let node = node::start(
            &self.directory,
            kubeconfig,
            &client,
            Network::random(),
            Lifetime::Standing,
            &mut started,
        )
        .await?;
        node.leave();
        drop_ended(&mut running.node);
        Ok(())
    }

    async fn s3(&self, running: &mut Running) -> anyhow::Result<Settings> {
        eprintln!("testbed: starting an S3 server");
        end_all(&running.s3)?;
        running.s3.clear();
        let directory = self.directory.join("s3");
        let mut started = |server: &Server| {
            running.s3.extend(server.identity());
            self.write(running)
        };
        let gateway = s3::start(&directory, &Speaks::Http, Lifetime::Standing, &mut started).await?;
        drop_ended(&mut running.s3);
        if !gateway.settings.root.join(BUCKET).exists() {
            gateway.create_bucket(BUCKET).await?;
        }
        Ok(gateway.settings)
    }
}

impl Running {
    fn all(&self) -> Vec<Identity> {
        [self.control_plane.as_slice(), self.s3.as_slice(), self.node.as_slice()].concat()
    }
}

fn all_run(processes: &[Identity]) -> bool {
    processes.iter().all(Identity::is_running)
}

/// Those whose port was taken, and which were started again on another one.
fn drop_ended(processes: &mut Vec<Identity>) {
    processes.retain(Identity::is_running);
}

async fn interrupted() -> anyhow::Result<()> {
    let mut interrupt = signal(SignalKind::interrupt()).context("listening for SIGINT")?;
    let mut terminate = signal(SignalKind::terminate()).context("listening for SIGTERM")?;
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    Ok(())
}

/// As a POSIX shell takes it literally; plain where nothing in it is special.
fn quoted(value: &str) -> String {
    let plain = |character: char| character.is_ascii_alphanumeric() || "/._-:+=@%,".contains(character);
    if !value.is_empty() && value.chars().all(plain) {
        return value.to_owned();
    }
    format!("'{}'", value.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exports_are_lines_that_a_shell_takes_literally() {
        let s3 = Settings {
            root: "/elsewhere".into(),
            endpoint: "http://127.0.0.1:9".to_owned(),
            access_key: "access".to_owned(),
            secret_key: "secret".to_owned(),
        };
        let exports = Exports { kubeconfig: "/a b/it's/kubeconfig".into(), s3: Some(s3) };
        assert_eq!(
            exports.lines(),
            "export KUBECONFIG='/a b/it'\\''s/kubeconfig'\n\
             export S3_ENDPOINT=http://127.0.0.1:9\n\
             export AWS_ACCESS_KEY_ID=access\n\
             export AWS_SECRET_ACCESS_KEY=secret\n"
        );
    }
}
