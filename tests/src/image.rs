//! The image that Holdfast is shipped as, made without a container engine.
//!
//! In: a program, and this machine's C library and certificates. Out: an archive that containerd (`ctr images import`)
//! takes as an OCI image layout and Docker (`docker load`) as its own. It holds what the image of the `Containerfile` holds,
//! the program, the libraries that it is linked against, the certificates of public authorities, and neither a shell nor
//! anything else to run. The same inputs give the same bytes, on whatever day.

mod layer;
mod layout;
mod libraries;

use std::ffi::OsString;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, bail};

use layer::Layer;
use layout::Config;
pub(crate) use layout::architecture;

/// Where the program is in the image, and what starts it.
pub const PROGRAM: &str = "/usr/bin/holdfast";
/// Who it runs as: nobody who owns anything.
pub const USER: u32 = 65532;

/// The one folder that it writes to, where a pod mounts a volume.
const WRITTEN: &str = "/tmp";

/// Where distributions keep the certificates of public authorities, in one file: Debian and its kin, Fedora and its kin,
/// SUSE.
const CERTIFICATES: [&str; 3] =
    ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/ca-bundle.pem"];

/// What an image is made of.
pub struct Parts<'a> {
    /// The program as it was built; its symbols are left out.
    pub program: &'a Path,
    /// `NAME:TAG`.
    pub name: &'a str,
    pub version: &'a str,
}

/// Writes the image.
pub fn write(parts: &Parts<'_>, output: impl Write) -> anyhow::Result<()> {
    let Parts { program, name, version } = *parts;
    let stripped = stripped(program)?;
    let layers = [surroundings(program)?, own(&stripped)?];
    let config = Config {
        user: format!("{USER}:{USER}"),
        entrypoint: vec![PROGRAM.to_owned()],
        volumes: vec![WRITTEN],
        labels: labels(version),
    };
    layout::write(name, &config, &layers, output)
}

/// What describes the image, in the words of the OCI.
fn labels(version: &str) -> Vec<(&'static str, String)> {
    vec![
        ("org.opencontainers.image.title", "holdfast".to_owned()),
        (
            "org.opencontainers.image.description",
            "Backup and restore for Kubernetes, declared in policy files".to_owned(),
        ),
        ("org.opencontainers.image.licenses", "Apache-2.0".to_owned()),
        ("org.opencontainers.image.version", version.to_owned()),
    ]
}

/// All that does not change with the program's code, so that a new version shares it.
fn surroundings(program: &Path) -> anyhow::Result<Layer> {
    let mut layer = Layer::new();
    let certificates = CERTIFICATES.iter().map(Path::new).find(|path| path.is_file());
    let Some(certificates) = certificates else {
        bail!("this machine has no certificates of public authorities (Debian package ca-certificates)");
    };
    layer.file("etc/ssl/certs/ca-certificates.crt", &read(certificates)?, 0o644);
    layer.file("etc/passwd", format!("nonroot:x:{USER}:{USER}::/:/\n").as_bytes(), 0o644);
    layer.file("etc/group", format!("nonroot:x:{USER}:\n").as_bytes(), 0o644);
    layer.file("etc/nsswitch.conf", b"hosts: files dns\n", 0o644);
    layer.folder(WRITTEN.trim_start_matches('/'), 0o1777);
    for library in libraries::of(program)? {
        let place = library.strip_prefix("/").context("a library without a path of its own")?;
        layer.file(&place.display().to_string(), &read(&library)?, 0o755);
    }
    Ok(layer)
}

fn own(program: &[u8]) -> anyhow::Result<Layer> {
    let mut layer = Layer::new();
    layer.file(PROGRAM.trim_start_matches('/'), program, 0o755);
    Ok(layer)
}

fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("reading {}", path.display()))
}

/// The program without symbols and debug information, which are most of it.
fn stripped(program: &Path) -> anyhow::Result<Vec<u8>> {
    let folder = tempfile::tempdir().context("making a folder for the stripped program")?;
    let output = folder.path().join("holdfast");
    let status = Command::new("strip")
        .arg("-o")
        .args([&output, program])
        .stdin(Stdio::null())
        .status()
        .context("running strip (Debian package binutils)")?;
    anyhow::ensure!(status.success(), "strip of {} failed ({status})", program.display());
    read(&output)
}

/// `HOLDFAST_BIN`, or the program of this checkout, built for release where `cargo` finds it out of date.
pub fn release() -> anyhow::Result<PathBuf> {
    if let Some(path) = std::env::var_os("HOLDFAST_BIN") {
        return Ok(PathBuf::from(path));
    }
    let root =
        Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("the tests crate lies in the workspace")?;
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
    // Of the whole workspace, so that features are those of every other build.
    let status = Command::new(cargo)
        .args(["build", "--release", "--locked", "--workspace", "--bin", "holdfast"])
        .current_dir(root)
        .status()
        .context("running cargo build")?;
    anyhow::ensure!(status.success(), "cargo build failed ({status}): see its messages above");
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    Ok(root.join(target).join("release/holdfast"))
}
