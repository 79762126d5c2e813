//! `holdfast node-agent` under test, beside a kubelet's folder of pods, real or made up.

use std::path::{Path, PathBuf};

use anyhow::Context;
use holdfast::rights::Role;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::time::{Duration, timeout};

use crate::daemon;
use crate::process::{Group, Launch, Lifetime, POLL, Server};
use crate::testbed::Testbed;

const PATIENCE: Duration = Duration::from_secs(60);

/// Where an agent looks.
pub struct NodeAgentOptions {
    /// Of the resources of velero.io.
    pub namespace: String,
    pub node: String,
    pub pods: PathBuf,
    /// A process in whose mount namespace the folder of pods is.
    pub beside: Option<u32>,
}

/// A running agent. Dropping it ends it.
pub struct NodeAgent {
    server: Server,
    // Ends the process with the value, however that goes.
    _group: Group,
}

impl NodeAgent {
    /// Returns when it has the node.
    pub async fn start(testbed: &Testbed, options: NodeAgentOptions) -> anyhow::Result<NodeAgent> {
        let NodeAgentOptions { namespace, node, pods, beside } = options;
        let holdfast = daemon::program().await?;
        let account = testbed.account(&namespace, &[Role::NodeAgent]).await?;
        let group = Group::start("node-agent")?;
        let mut arguments = vec![
            "node-agent".to_owned(),
            format!("--kubeconfig={}", account.kubeconfig.display()),
            format!("--namespace={namespace}"),
            format!("--node-name={node}"),
            format!("--pods-directory={}", pods.display()),
            "--log-format=json".to_owned(),
        ];
        let program = match beside {
            None => holdfast,
            Some(process) => {
                let entering =
                    [format!("--target={process}"), "--mount".to_owned(), holdfast.display().to_string()];
                arguments.splice(0..0, entering);
                Path::new("nsenter")
            }
        };
        let launch = Launch {
            name: "node-agent",
            program,
            arguments,
            // The one that takes over from a killed one needn't wait.
            environment: vec![("POD_NAME", format!("agent-of-{node}"))],
            log: group.directory().join("node-agent.log"),
        };
        let mut agent = NodeAgent { server: Server::start(launch, Lifetime::With(&group))?, _group: group };
        let ready = async {
            while !agent.log_text().contains("node agent started") {
                if let Some(status) = agent.server.ended()? {
                    anyhow::bail!("the node agent has ended ({status})\n{}", agent.server.log_tail());
                }
                tokio::time::sleep(POLL).await;
            }
            anyhow::Ok(())
        };
        timeout(PATIENCE, ready).await.context("the node agent does not start")??;
        Ok(agent)
    }

    pub fn log_text(&self) -> String {
        self.server.log_text()
    }

    /// Ends it on the spot, as a crash would.
    pub fn kill(mut self) -> anyhow::Result<()> {
        if self.server.ended()?.is_none() {
            let pid = i32::try_from(self.server.id()).context("a process id out of range")?;
            kill(Pid::from_raw(pid), Signal::SIGKILL).context("killing the node agent")?;
        }
        Ok(())
    }
}

impl Drop for NodeAgent {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.server.log_tail());
        }
    }
}
