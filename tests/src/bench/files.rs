//! How fast the files of volumes go into a repository and come back, beside the stock `restic` on the same folder.
//!
//! Each of our steps is run by a process of its own (this program again), so that its memory is that of the step.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use holdfast::repository::{Password, Progress, Repository, Sparse, Tags, VolumeBackup, VolumeRestore};
use holdfast::store::{BackupStore, LocationSettings};
use holdfast_policy::velero::BackupStorageLocationSpec;
use serde_json::{Value, json};
use tokio::process::Command;
use tokio_util::sync::CancellationToken;

use super::{memory, progress};
use crate::daemon::Cost;
use crate::daemon::cost;

const GIB: usize = 1 << 30;
const MANY_FILES: usize = 10_000;
const PASSWORD: &str = "bench";
/// How often the memory of a step is looked at. Its peak only grows, so that the last look is the one that counts.
const LOOK: Duration = Duration::from_millis(2);

/// What a process is to do for the bench: given as the subject's hidden arguments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    First,
    Unchanged,
    Restore,
}

struct Figure {
    shape: &'static str,
    step: Step,
    tool: &'static str,
    elapsed: Duration,
    cost: Cost,
}

pub struct Figures(Vec<Figure>);

impl Step {
    const ALL: [Self; 3] = [Self::First, Self::Unchanged, Self::Restore];

    fn title(self) -> &'static str {
        match self {
            Self::First => "first backup",
            Self::Unchanged => "unchanged backup",
            Self::Restore => "restore",
        }
    }
}

/// Measures with 1 GiB in many files, and in one.
pub async fn run() -> anyhow::Result<Figures> {
    ensure!(crate::restic::is_there(), "restic is missing (Debian package restic)");
    let folder = tempfile::tempdir().context("creating a folder for files")?;
    let mut figures = Vec::new();
    for (shape, files) in [("10,000 files", MANY_FILES), ("one file", 1)] {
        let place = Place::new(folder.path().join(files.to_string()))?;
        progress(&format!("writing 1 GiB in {files} files"));
        write_files(&place.volume, files)?;
        place.repository()?.0.create().await.context("making a repository")?;
        place.restic(&["init"]).await?;
        for step in Step::ALL {
            for tool in ["restic", "holdfast"] {
                place.settle().await?;
                let measured = match tool {
                    "restic" => place.restic(&place.restic_arguments(step)).await?,
                    _ => place.ours(step).await?,
                };
                let (elapsed, cost) = measured;
                progress(&format!("{shape}, {}, {tool}: {:.2} s", step.title(), elapsed.as_secs_f64()));
                figures.push(Figure { shape, step, tool, elapsed, cost });
            }
        }
        fs::remove_dir_all(&place.folder).context("removing the files")?;
    }
    Ok(Figures(figures))
}

/// One of our steps, in a process of its own.
pub async fn one_step(folder: PathBuf, step: &str, snapshot: Option<String>) -> anyhow::Result<()> {
    let place = Place::new(folder)?;
    let (repository, _) = place.repository()?;
    match snapshot {
        Some(snapshot) => {
            let restore = VolumeRestore {
                snapshot,
                folder: place.target("holdfast")?,
                sparse: Sparse::Written,
                progress: Progress::default(),
                cancel: CancellationToken::new(),
            };
            repository.restore(restore).await?;
        }
        None => {
            let tags = [("backup-uid", step), ("pod-uid", "pod"), ("volume", "data")];
            let tags = tags.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
            let backup = VolumeBackup {
                folder: place.volume.clone(),
                tags: Tags::new(tags),
                progress: Progress::default(),
                cancel: CancellationToken::new(),
            };
            repository.backup(backup).await?;
        }
    }
    Ok(())
}

/// Everything of one measurement.
struct Place {
    folder: PathBuf,
    volume: PathBuf,
}

impl Place {
    fn new(folder: PathBuf) -> anyhow::Result<Place> {
        let volume = folder.join("volume");
        for folder in [&volume, &folder.join("buckets/bench")] {
            fs::create_dir_all(folder).with_context(|| format!("creating {}", folder.display()))?;
        }
        Ok(Place { folder, volume })
    }

    fn repository(&self) -> anyhow::Result<(Repository, BackupStore)> {
        let mut spec = BackupStorageLocationSpec { provider: "local".to_owned(), ..Default::default() };
        spec.object_storage.bucket = "bench".to_owned();
        spec.config.insert("path".to_owned(), self.folder.join("buckets").display().to_string());
        let settings = LocationSettings::parse("bench", &spec, None, None)?;
        let opening = BackupStore::open(&settings);
        let store = futures::executor::block_on(opening)?;
        let password = Password::new(PASSWORD).context("a password")?;
        Ok((Repository::new(store.restic_repository("bench")?, password), store))
    }

    /// Nothing of earlier steps is still on its way to the disk, and memory is there.
    async fn settle(&self) -> anyhow::Result<()> {
        let status = Command::new("sync").status().await.context("running sync")?;
        ensure!(status.success(), "sync ended with {status}");
        memory::fill(&self.folder)
    }

    fn target(&self, tool: &str) -> anyhow::Result<PathBuf> {
        let target = self.folder.join("restored").join(tool);
        fs::create_dir_all(&target)?;
        Ok(target)
    }

    fn restic_arguments(&self, step: Step) -> Vec<&str> {
        match step {
            Step::First | Step::Unchanged => vec!["backup", "."],
            Step::Restore => vec!["restore", "latest", "--target", "../restored/restic"],
        }
    }

    /// In the volume's folder, with its usual cache.
    async fn restic(&self, arguments: &[&str]) -> anyhow::Result<(Duration, Cost)> {
        self.target("restic")?;
        let mut command = Command::new("restic");
        command
            .args(["--repo", "../restic", "--cache-dir", "../restic-cache"])
            .args(arguments)
            .env("RESTIC_PASSWORD", PASSWORD);
        measure(command, &self.volume).await
    }

    async fn ours(&self, step: Step) -> anyhow::Result<(Duration, Cost)> {
        let us = std::env::current_exe().context("finding our own path")?;
        let mut command = Command::new(us);
        command.arg("bench-files-step").arg(&self.folder);
        match step {
            Step::First => command.arg("first"),
            Step::Unchanged => command.arg("unchanged"),
            // Whoever asks for a restore says of which snapshot.
            Step::Restore => {
                let snapshot =
                    self.repository()?.0.snapshots().await?.pop().context("there is no snapshot")?;
                command.args(["restore", &snapshot])
            }
        };
        measure(command, &self.volume).await
    }
}

async fn measure(mut command: Command, folder: &Path) -> anyhow::Result<(Duration, Cost)> {
    command.current_dir(folder).stdin(Stdio::null()).stdout(Stdio::null());
    let started = Instant::now();
    let mut child = command.spawn().context("starting a step")?;
    let pid = child.id().context("the step has a process")?;
    let mut last = None;
    let status = loop {
        tokio::select! {
            status = child.wait() => break status.context("waiting for a step")?,
            () = tokio::time::sleep(LOOK) => last = cost::of(pid).ok().or(last),
        }
    };
    let elapsed = started.elapsed();
    ensure!(status.success(), "a step ended with {status}");
    Ok((elapsed, last.context("the step was over before a look at it")?))
}

/// Half of each file can be packed, half of it can't.
fn write_files(volume: &Path, files: usize) -> anyhow::Result<()> {
    let size = GIB / files;
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    for number in 0..files {
        let folder = volume.join(format!("{:03}", number / 100));
        fs::create_dir_all(&folder)?;
        let mut content = Vec::with_capacity(size);
        while content.len() < size {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            content.extend_from_slice(&state.to_le_bytes());
            content.extend_from_slice(b"the rows");
        }
        content.truncate(size);
        fs::write(folder.join(format!("{number:05}")), content)?;
    }
    Ok(())
}

impl Figures {
    pub fn table(&self) -> String {
        let mut table = format!(
            "{:<14}{:<18}{:<10}{:>9}{:>8}{:>11}{:>8}\n",
            "1 GiB in", "", "", "seconds", "ratio", "peak MiB", "CPU s"
        );
        for figure in &self.0 {
            let ratio = self.ratio(figure).map(|ratio| format!("{:.0} %", ratio * 100.0));
            table.push_str(&format!(
                "{:<14}{:<18}{:<10}{:>9.2}{:>8}{:>11.1}{:>8.2}\n",
                figure.shape,
                figure.step.title(),
                figure.tool,
                figure.elapsed.as_secs_f64(),
                ratio.unwrap_or_default(),
                figure.cost.peak_memory as f64 / 1_048_576.0,
                figure.cost.processor_time.as_secs_f64(),
            ));
        }
        table
    }

    pub fn json(&self) -> Value {
        let figures = self.0.iter().map(|figure| {
            json!({
                "shape": figure.shape, "step": figure.step.title(), "tool": figure.tool,
                "seconds": figure.elapsed.as_secs_f64(), "peakBytes": figure.cost.peak_memory,
                "processorSeconds": figure.cost.processor_time.as_secs_f64(),
            })
        });
        json!({"files": figures.collect::<Vec<_>>()})
    }

    /// Of restic's speed.
    fn ratio(&self, figure: &Figure) -> Option<f64> {
        let same = |other: &&Figure| {
            other.tool == "restic" && other.shape == figure.shape && other.step == figure.step
        };
        let base = self.0.iter().find(same).filter(|base| base.tool != figure.tool)?;
        Some(base.elapsed.as_secs_f64() / figure.elapsed.as_secs_f64())
    }
}
