//! A daemon that publishes policies, and what a test asks about it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use holdfast::rights::Role;
use holdfast_policy::holdfast::PolicySet;
use holdfast_policy::holdfast::policy_set::Waiting;
use holdfast_policy::velero::{Backup, Schedule};
use holdfast_tests::{Daemon, DaemonOptions, Testbed};
use kube::api::{Api, ListParams};
use pretty_assertions::assert_eq;

/// What the policy language promises.
pub(crate) const IN_FORCE: Duration = Duration::from_secs(2);
/// For what has no promise.
pub(crate) const SOON: Duration = Duration::from_secs(30);
/// Long enough for a change to have come into force, had there been one.
pub(crate) const LATER: Duration = Duration::from_secs(3);

pub(crate) const WORKS: &str = "policies in force";

pub(crate) fn policy(name: &str, cron: &str) -> String {
    format!(
        "apiVersion: holdfast.dev/v1alpha1\n\
         kind: BackupPolicy\n\
         metadata: {{name: {name}}}\n\
         spec:\n  select: {{namespaces: {{include: [shop]}}}}\n  \
         schedules: [{{name: nightly, cron: \"{cron}\", skipImmediately: true}}]\n"
    )
}

/// A daemon with a directory of policies and a namespace of its own.
pub(crate) struct Stage {
    pub(crate) client: kube::Client,
    pub(crate) namespace: String,
    pub(crate) policies: PathBuf,
    pub(crate) daemon: Option<Daemon>,
    _directory: tempfile::TempDir,
}

impl Stage {
    pub(crate) async fn set(arguments: &[&str], files: &[(&str, String)]) -> anyhow::Result<Stage> {
        let testbed = Testbed::shared().await?;
        let directory = tempfile::tempdir()?;
        let policies = directory.path().join("policies");
        fs::create_dir(&policies)?;
        for (name, text) in files {
            fs::write(policies.join(name), text)?;
        }
        let namespace = testbed.namespace("policy").await?;
        let mut stage =
            Stage { client: testbed.client()?, namespace, policies, daemon: None, _directory: directory };
        stage.start(arguments).await?;
        Ok(stage)
    }

    pub(crate) async fn start(&mut self, arguments: &[&str]) -> anyhow::Result<()> {
        // Who carries policies out is another test's matter.
        self.start_in("--mode=policy", arguments).await
    }

    /// Ends the daemon, if one runs.
    pub(crate) async fn stop(&mut self) -> anyhow::Result<()> {
        if let Some(daemon) = self.daemon.take() {
            daemon.stop().await?;
        }
        Ok(())
    }

    pub(crate) async fn start_in(&mut self, mode: &str, arguments: &[&str]) -> anyhow::Result<()> {
        let own = format!("--policies={}", self.policies.display());
        let fixed = ["--install-crds", mode, "--cluster-name=prod", own.as_str()];
        let options = DaemonOptions {
            namespace: self.namespace.clone(),
            arguments: fixed.iter().chain(arguments).map(|argument| (*argument).to_owned()).collect(),
            roles: &[Role::Observe, Role::Backup, Role::Policies, Role::InstallCrds],
            ..DaemonOptions::default()
        };
        self.daemon = Some(Daemon::start(Testbed::shared().await?, options).await?);
        Ok(())
    }

    pub(crate) fn log(&self) -> String {
        self.daemon.as_ref().map(Daemon::log_text).unwrap_or_default()
    }

    pub(crate) fn schedules(&self) -> Api<Schedule> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    pub(crate) fn backups(&self) -> Api<Backup> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// Runs the real kubectl in the daemon's namespace, and gives what it prints.
    pub(crate) async fn kubectl(&self, arguments: &[&str]) -> anyhow::Result<String> {
        let testbed = Testbed::shared().await?;
        let output = tokio::process::Command::new(testbed.kubectl().await?)
            .arg(format!("--kubeconfig={}", testbed.kubeconfig().display()))
            .arg(format!("--namespace={}", self.namespace))
            .args(arguments)
            .stdin(Stdio::null())
            .output()
            .await
            .context("running kubectl")?;
        let errors = String::from_utf8_lossy(&output.stderr);
        anyhow::ensure!(output.status.success(), "kubectl {arguments:?}: {errors}\n{}", self.log());
        Ok(String::from_utf8(output.stdout)?)
    }

    /// Waits until something waits for a person's word.
    pub(crate) async fn waiting(&self, set: &str) -> anyhow::Result<Vec<Waiting>> {
        let start = Instant::now();
        loop {
            let status = self.policy_set(set).await.ok().and_then(|set| set.status);
            let waiting = status.map(|status| status.waiting).unwrap_or_default();
            if !waiting.is_empty() {
                return Ok(waiting);
            }
            anyhow::ensure!(start.elapsed() < SOON, "nothing waits\n{}", self.log());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Waits until the set in force is from this Git commit.
    pub(crate) async fn git_revision(&self, set: &str, expected: &str) -> anyhow::Result<()> {
        let start = Instant::now();
        loop {
            let status = self.policy_set(set).await.ok().and_then(|set| set.status);
            let found = status.and_then(|status| status.in_force?.git_revision);
            if found.as_deref() == Some(expected) {
                return Ok(());
            }
            anyhow::ensure!(start.elapsed() < SOON, "{found:?} and not {expected}\n{}", self.log());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Each Schedule as `name cron`.
    pub(crate) async fn published(&self) -> anyhow::Result<Vec<String>> {
        let schedules = self.schedules().list(&ListParams::default()).await?.items;
        let mut published: Vec<String> = schedules
            .into_iter()
            .map(|schedule| {
                format!("{} {}", schedule.metadata.name.unwrap_or_default(), schedule.spec.schedule)
            })
            .collect();
        published.sort();
        Ok(published)
    }

    /// Waits until these are the Schedules, and gives the time it took.
    pub(crate) async fn becomes(&self, expected: &[&str], within: Duration) -> anyhow::Result<Duration> {
        let start = Instant::now();
        loop {
            let published = self.published().await?;
            if published == expected {
                return Ok(start.elapsed());
            }
            if start.elapsed() > within {
                assert_eq!(published, expected, "after {:?}\n{}", start.elapsed(), self.log());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// A change that is in force is in the log before anything else can be seen of it.
    pub(crate) async fn logs(&self, text: &str, times: usize) -> anyhow::Result<()> {
        let start = Instant::now();
        while self.log().matches(text).count() < times {
            anyhow::ensure!(start.elapsed() < SOON, "no {text:?} in\n{}", self.log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    pub(crate) async fn policy_set(&self, name: &str) -> anyhow::Result<PolicySet> {
        Ok(Api::namespaced(self.client.clone(), &self.namespace).get(name).await?)
    }

    /// Waits until a condition of the PolicySet is as expected, in the form `True InForce`.
    pub(crate) async fn condition(&self, set: &str, kind: &str, expected: &str) -> anyhow::Result<PolicySet> {
        let start = Instant::now();
        let mut found = String::new();
        while start.elapsed() < SOON {
            if let Ok(set) = self.policy_set(set).await {
                let status = set.status.clone().unwrap_or_default();
                let condition = status.conditions.iter().find(|condition| condition.type_ == kind);
                found = condition
                    .map(|condition| format!("{} {}", condition.status, condition.reason))
                    .unwrap_or_default();
                if found == expected {
                    return Ok(set);
                }
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        anyhow::bail!("{kind} of {set} is {found:?} and not {expected:?}\n{}", self.log())
    }
}

pub(crate) fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    fs::write(path, text).with_context(|| format!("writing {}", path.display()))
}
