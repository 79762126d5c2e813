//! How fast policies are checked and rendered, beside reading the same files and parsing them as YAML.
//!
//! The command is run as a person runs it, from its start to its end, so that its memory is that of the whole.

use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use tokio::process::Command;

use super::report::{Measurement, Report, Step};
use super::{progress, told};
use crate::daemon::{self, Cost};

const IN_A_FILE: usize = 100;
/// How often the memory of the command is looked at. It only grows, so that the last look is the one that counts.
const LOOK: Duration = Duration::from_millis(2);

/// Measures with so many documents.
pub async fn run(documents: usize) -> anyhow::Result<Report> {
    let program = daemon::program().await?;
    let folder = tempfile::tempdir().context("creating a folder for policies")?;
    for start in (0..documents).step_by(IN_A_FILE) {
        let text: String = (start..(start + IN_A_FILE).min(documents)).map(document).collect();
        fs::write(folder.path().join(format!("policies-{start}.yaml")), text).context("writing policies")?;
    }
    progress(&format!("reading and parsing {documents} documents"));
    let parsed = told(parse(folder.path(), documents)?);
    progress("checking and rendering them");
    let rendered = told(render(program, folder.path(), documents).await?);
    Ok(Report { measurements: vec![parsed, rendered] })
}

fn parse(folder: &Path, documents: usize) -> anyhow::Result<Measurement> {
    let started = Instant::now();
    let mut found = 0;
    for entry in fs::read_dir(folder).context("listing policies")? {
        let text = fs::read_to_string(entry?.path()).context("reading policies")?;
        found += holdfast_policy::yaml::documents(&text).context("parsing policies")?.len();
    }
    let elapsed = started.elapsed();
    ensure!(found == documents, "{found} documents were read, and {documents} written");
    Ok(Measurement { step: Step::ParseYaml, objects: found as u64, elapsed, cost: None })
}

async fn render(program: &Path, folder: &Path, documents: usize) -> anyhow::Result<Measurement> {
    let rendered = tempfile::NamedTempFile::new().context("creating a file for what is rendered")?;
    let output = rendered.reopen().context("opening it again")?;
    let started = Instant::now();
    let mut child = Command::new(program)
        .arg("render")
        .arg(folder)
        .stdin(Stdio::null())
        .stdout(output)
        .spawn()
        .with_context(|| format!("running {}", program.display()))?;
    let pid = child.id().context("the command has a process")?;
    let mut cost: Option<Cost> = None;
    let status = loop {
        // A process that has ended has no memory to look at.
        cost = daemon::cost_of(pid).ok().or(cost);
        tokio::select! {
            status = child.wait() => break status.context("waiting for the command")?,
            () = tokio::time::sleep(LOOK) => {}
        }
    };
    let elapsed = started.elapsed();
    ensure!(status.success(), "the command ended with {status}");
    let text = fs::read_to_string(rendered.path()).context("reading what was rendered")?;
    let objects = text.lines().filter(|line| *line == "---").count();
    ensure!(objects == documents, "{objects} objects were rendered of {documents} documents");
    Ok(Measurement { step: Step::RenderPolicies, objects: documents as u64, elapsed, cost })
}

/// A policy of a team with a bit of everything, on lines as people write them.
fn document(number: usize) -> String {
    let (minute, hour) = (number % 60, number / 60 % 24);
    let mut text = String::new();
    write!(
        text,
        "apiVersion: holdfast.dev/v1alpha1
kind: BackupPolicy
metadata:
  name: team-{number}
  labels: {{team: t{number}}}
spec:
  select:
    namespaces: {{include: [\"team-{number}-*\"], exclude: [team-{number}-tmp]}}
    resources: {{exclude: [events]}}
    labelSelector: {{matchLabels: {{tier: db}}}}
  volumes: {{snapshotVolumes: true, csiSnapshotTimeout: 10m}}
  hooks:
    - name: flush
      select: {{labelSelector: {{matchLabels: {{app: db}}}}}}
      pre: [{{exec: {{container: db, command: [sync], onError: Fail, timeout: 30s}}}}]
  ttl: 1080h
  retention: {{keepLast: 3, hourly: 24, daily: 7, weekly: 4, minimumGood: 1}}
  schedules:
    - name: nightly
      cron: \"{minute} {hour} * * *\"
      timeZone: Europe/Berlin
      startingDeadline: 1h
      jitter: 5m
---
"
    )
    .expect("writing to a string doesn't fail");
    text
}

#[cfg(test)]
mod tests {
    use holdfast_policy::parse::SourceFile;

    use super::*;

    #[test]
    fn what_is_measured_is_good_policies() {
        let text: String = (0..3).map(document).collect();
        let set = holdfast_policy::load(&[SourceFile::new("a.yaml", text)]).expect("good policies");
        assert_eq!((set.schedules().len(), set.warnings().len()), (3, 0), "{}", set.warnings());
    }
}
