//! Programs that come as packages of a language: installed once on a machine from a committed list of versions.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, bail};
use tokio::process::Command;

use super::{cache_directory, cache_name};
use crate::file_lock::FileLock;

/// What is to be installed.
pub(super) struct Packages {
    pub(super) name: &'static str,
    /// Name and content of what the installer reads; a change of any installs anew.
    pub(super) files: &'static [(&'static str, &'static str)],
    /// What is there when all is.
    pub(super) main: &'static str,
    /// Run in the folder one after the other.
    pub(super) commands: &'static [&'static [&'static str]],
    /// What a machine without the first command lacks.
    pub(super) lacking: &'static str,
}

/// The path of `main`; installs it first when the cache doesn't have it.
pub(super) async fn install(packages: &Packages) -> anyhow::Result<PathBuf> {
    let Packages { name, files, main, commands, lacking } = packages;
    let cached = cache_name(name, files.iter().map(|(_, text)| *text));
    let directory = cache_directory()?.join("holdfast").join(cached);
    let installed = directory.join("installed");
    let path = installed.join(main);
    if path.exists() {
        return Ok(path);
    }
    fs::create_dir_all(&directory).with_context(|| format!("creating {}", directory.display()))?;
    let waiting = format!("waiting for another process that installs {name}");
    let _lock = FileLock::take(&directory, &waiting).await?;
    if path.exists() {
        return Ok(path);
    }
    let unfinished = directory.join("unfinished");
    match fs::remove_dir_all(&unfinished) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(error).with_context(|| format!("removing {}", unfinished.display()));
        }
        Ok(()) | Err(_) => (),
    }
    fs::create_dir_all(&unfinished).with_context(|| format!("creating {}", unfinished.display()))?;
    for (file, text) in *files {
        fs::write(unfinished.join(file), text).with_context(|| format!("writing {file}"))?;
    }
    eprintln!("testbed: installing {name} (once on this machine)");
    for command in *commands {
        run(command, &unfinished, lacking).await.with_context(|| format!("installing {name}"))?;
    }
    fs::rename(&unfinished, &installed)
        .with_context(|| format!("moving the installed {name} to its place"))?;
    Ok(path)
}

async fn run(command: &[&str], directory: &Path, lacking: &str) -> anyhow::Result<()> {
    let [program, arguments @ ..] = command else { bail!("no command") };
    let status = Command::new(program)
        .args(arguments)
        .current_dir(directory)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .kill_on_drop(true)
        .status()
        .await;
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => bail!("{} failed ({status}): see its messages above", command.join(" ")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => bail!("{lacking}"),
        Err(error) => Err(error).with_context(|| format!("running {program}")),
    }
}
