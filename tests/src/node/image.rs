//! An image without a registry: one layer with busybox and its links, in the archive form that `ctr` imports.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::Context;
use serde_json::json;
use sha2::{Digest, Sha256};
use tar::{Builder, EntryType, Header};

use super::IMAGE;
use crate::image::architecture;

/// What Velero's image has under this name, in a few lines: waits until all volumes of a restored pod are complete.
const RESTORE_HELPER: &[u8] = b"#!/bin/sh
for volume in /restores/*; do
  until [ -e \"$volume/.velero/$1\" ]; do sleep 0.2; done
done
rm -rf /restores/*/.velero
exit 0
";

/// Writes the image to `path`; `busybox` must be a static program.
pub(super) fn write(path: &Path, busybox: &Path) -> anyhow::Result<()> {
    let layer = layer(busybox)?;
    let config = json!({
        "architecture": architecture(),
        "os": "linux",
        // A pod's sandbox runs the image as it is.
        "config": {"Env": ["PATH=/bin"], "Cmd": ["/bin/tail", "-f", "/dev/null"]},
        "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{}", digest(&layer))]},
    });
    let config = serde_json::to_vec(&config)?;
    let config_name = format!("{}.json", digest(&config));
    let manifest = json!([{"Config": config_name, "RepoTags": [IMAGE], "Layers": ["layer.tar"]}]);
    let file = File::create(path).with_context(|| format!("creating {}", path.display()))?;
    let mut archive = Builder::new(file);
    append(&mut archive, "layer.tar", &layer, 0o644)?;
    append(&mut archive, &config_name, &config, 0o644)?;
    append(&mut archive, "manifest.json", &serde_json::to_vec(&manifest)?, 0o644)?;
    archive.into_inner()?.flush()?;
    Ok(())
}

fn layer(busybox: &Path) -> anyhow::Result<Vec<u8>> {
    let program = fs::read(busybox).with_context(|| format!("reading {}", busybox.display()))?;
    let listed = Command::new(busybox)
        .arg("--list")
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("running {}", busybox.display()))?;
    let applets = String::from_utf8(listed.stdout).context("the list of busybox's programs")?;
    let mut archive = Builder::new(Vec::new());
    for (folder, mode) in
        [("bin/", 0o755), ("etc/", 0o755), ("proc/", 0o755), ("sys/", 0o755), ("tmp/", 0o1777)]
    {
        let mut header = header(0, mode);
        header.set_entry_type(EntryType::Directory);
        archive.append_data(&mut header, folder, std::io::empty())?;
    }
    append(&mut archive, "bin/busybox", &program, 0o755)?;
    for applet in applets.lines().filter(|applet| *applet != "busybox") {
        let mut header = header(0, 0o777);
        header.set_entry_type(EntryType::Symlink);
        archive.append_link(&mut header, format!("bin/{applet}"), "busybox")?;
    }
    append(&mut archive, "velero-restore-helper", RESTORE_HELPER, 0o755)?;
    append(&mut archive, "etc/passwd", b"root:x:0:0:root:/:/bin/sh\n", 0o644)?;
    append(&mut archive, "etc/group", b"root:x:0:\n", 0o644)?;
    Ok(archive.into_inner()?)
}

fn append<W: Write>(archive: &mut Builder<W>, name: &str, content: &[u8], mode: u32) -> anyhow::Result<()> {
    let mut header = header(content.len() as u64, mode);
    archive.append_data(&mut header, name, content).with_context(|| format!("adding {name} to the image"))
}

fn header(size: u64, mode: u32) -> Header {
    let mut header = Header::new_gnu();
    header.set_size(size);
    header.set_mode(mode);
    header
}

fn digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}
