//! Azurite, which stands in for Azure's blob storage: an npm package, installed once from the committed lock file.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::process::Stdio;

use anyhow::{Context, bail};
use tokio::process::Command;

use super::{cache_directory, cache_name};
use crate::file_lock::FileLock;

const PACKAGE: &str = include_str!("../../azureserver/package.json");
const LOCK: &str = include_str!("../../azureserver/package-lock.json");
/// The blob server below the installed packages.
const MAIN: &str = "node_modules/azurite/dist/src/blob/main.js";

/// The script that `node` runs; installs it first when the cache doesn't have it.
pub(crate) async fn install() -> anyhow::Result<PathBuf> {
    let name = cache_name("azureserver", [PACKAGE, LOCK].into_iter());
    let directory = cache_directory()?.join("holdfast").join(name);
    let installed = directory.join("installed");
    let path = installed.join(MAIN);
    if path.is_file() {
        return Ok(path);
    }
    fs::create_dir_all(&directory).with_context(|| format!("creating {}", directory.display()))?;
    let _lock = FileLock::take(&directory, "waiting for another process that installs azurite").await?;
    if path.is_file() {
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
    for (name, text) in [("package.json", PACKAGE), ("package-lock.json", LOCK)] {
        fs::write(unfinished.join(name), text).with_context(|| format!("writing {name}"))?;
    }
    eprintln!("testbed: installing azurite (once on this machine)");
    let status = Command::new("npm")
        // No package's scripts: what they would build, the blob server doesn't need.
        .args(["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"])
        .current_dir(&unfinished)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .kill_on_drop(true)
        .status()
        .await;
    let status = match status {
        Ok(status) => status,
        Err(error) if error.kind() == io::ErrorKind::NotFound => bail!(
            "tests of the azure provider run Azurite, but there is no `npm` on the PATH: install Node.js with npm"
        ),
        Err(error) => return Err(error).context("running npm ci"),
    };
    if !status.success() {
        bail!("npm ci for azurite failed ({status}): see its messages above");
    }
    fs::rename(&unfinished, &installed).context("moving the installed azurite to its place")?;
    Ok(path)
}
