//! The programs the testbed runs, and where they come from.
//!
//! `KUBEBUILDER_ASSETS` is used as far as it has them. The rest is built once as Go modules with pinned
//! versions (`controlplane/`, `noderuntime/`, `csisidecars/`, `s3server/`, `gcsserver/`, `promtool/` and `helm/` beside this crate) into the user's cache folder,
//! in a directory named after everything that decides the result, so that a second clone builds nothing again. Azurite and
//! moto are installed there likewise ([`installed`]).

mod azurite;
mod installed;
mod moto;

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::{fs, io};

use anyhow::{Context, bail};
use sha2::{Digest, Sha256};
use tokio::process::Command;

use crate::file_lock::FileLock;

const CONTROL_PLANE: Module = Module {
    name: "controlplane",
    go_mod: include_str!("../controlplane/go.mod"),
    go_sum: include_str!("../controlplane/go.sum"),
    tags: "",
    sources: &[],
};
const NODE_RUNTIME: Module = Module {
    name: "noderuntime",
    go_mod: include_str!("../noderuntime/go.mod"),
    go_sum: include_str!("../noderuntime/go.sum"),
    tags: "no_btrfs,no_devmapper,no_zfs",
    sources: &[],
};
const S3_SERVER: Module = Module {
    name: "s3server",
    go_mod: include_str!("../s3server/go.mod"),
    go_sum: include_str!("../s3server/go.sum"),
    tags: "",
    sources: &[],
};
const PROMTOOL: Module = Module {
    name: "promtool",
    go_mod: include_str!("../promtool/go.mod"),
    go_sum: include_str!("../promtool/go.sum"),
    // Finding targets in clouds takes most of the build, and no test needs it.
    tags: "remove_all_sd",
    sources: &[],
};
const CSI_SIDECARS: Module = Module {
    name: "csisidecars",
    go_mod: include_str!("../csisidecars/go.mod"),
    go_sum: include_str!("../csisidecars/go.sum"),
    tags: "",
    sources: &[include_str!("../csisidecars/main.go"), include_str!("../csisidecars/registrar.go")],
};
const HELM: Module = Module {
    name: "helm",
    go_mod: include_str!("../helm/go.mod"),
    go_sum: include_str!("../helm/go.sum"),
    tags: "",
    sources: &[],
};
const GCS_SERVER: Module = Module {
    name: "gcsserver",
    go_mod: include_str!("../gcsserver/go.mod"),
    go_sum: include_str!("../gcsserver/go.sum"),
    tags: "",
    sources: &[
        include_str!("../gcsserver/main.go"),
        include_str!("../gcsserver/account.go"),
        include_str!("../gcsserver/front.go"),
    ],
};

pub(crate) use azurite::install as azurite;
pub(crate) use moto::install as moto;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Program {
    Etcd,
    ApiServer,
    ControllerManager,
    Kubectl,
    Kubelet,
    Containerd,
    ContainerdShim,
    Ctr,
    S3Gateway,
    GcsServer,
    Promtool,
    SnapshotController,
    CsiSnapshotter,
    CsiProvisioner,
    CsiSanity,
    Helm,
}

/// A Go module beside this crate that pins the versions of some of the programs.
struct Module {
    name: &'static str,
    go_mod: &'static str,
    go_sum: &'static str,
    /// Build tags, with commas in between.
    tags: &'static str,
    /// The program itself, where it is ours.
    sources: &'static [&'static str],
}

/// The path of a program; builds it first when neither the assets nor the cache have it.
pub(crate) async fn locate(program: Program) -> anyhow::Result<PathBuf> {
    if let Some(asset) = program.asset(std::env::var_os("KUBEBUILDER_ASSETS").as_deref()) {
        return std::path::absolute(&asset).with_context(|| format!("resolving {}", asset.display()));
    }
    let module = program.module();
    let flags = module.linker_flags();
    let directory = cache_directory()?.join("holdfast").join(module.cache_name(&flags));
    let path = directory.join(program.file_name());
    if path.is_file() {
        return Ok(path);
    }
    fs::create_dir_all(&directory).with_context(|| format!("creating {}", directory.display()))?;
    // Test processes run side by side: one builds, the others wait for it.
    let notice = format!("waiting for another process that builds {}", program.file_name());
    let _lock = FileLock::take(&directory, &notice).await?;
    if !path.is_file() {
        build(program, &flags, &path).await?;
    }
    Ok(path)
}

impl Program {
    pub(crate) fn file_name(self) -> &'static str {
        match self {
            Program::Etcd => "etcd",
            Program::ApiServer => "kube-apiserver",
            Program::ControllerManager => "kube-controller-manager",
            Program::Kubectl => "kubectl",
            Program::Kubelet => "kubelet",
            Program::Containerd => "containerd",
            Program::ContainerdShim => "containerd-shim-runc-v2",
            Program::Ctr => "ctr",
            Program::S3Gateway => "versitygw",
            Program::GcsServer => "gcsserver",
            Program::Promtool => "promtool",
            Program::SnapshotController => "snapshot-controller",
            Program::CsiSnapshotter => "csi-snapshotter",
            Program::CsiProvisioner => "csi-provisioner",
            Program::CsiSanity => "csi-sanity",
            Program::Helm => "helm",
        }
    }

    fn package(self) -> &'static str {
        match self {
            Program::Etcd => "go.etcd.io/etcd/server/v3",
            Program::ApiServer => "k8s.io/kubernetes/cmd/kube-apiserver",
            Program::ControllerManager => "k8s.io/kubernetes/cmd/kube-controller-manager",
            Program::Kubectl => "k8s.io/kubernetes/cmd/kubectl",
            Program::Kubelet => "k8s.io/kubernetes/cmd/kubelet",
            Program::Containerd => "github.com/containerd/containerd/v2/cmd/containerd",
            Program::ContainerdShim => "github.com/containerd/containerd/v2/cmd/containerd-shim-runc-v2",
            Program::Ctr => "github.com/containerd/containerd/v2/cmd/ctr",
            Program::S3Gateway => "github.com/versity/versitygw/cmd/versitygw",
            Program::GcsServer => "holdfast.dev/tests/gcsserver",
            Program::Promtool => "github.com/prometheus/prometheus/cmd/promtool",
            Program::SnapshotController => {
                "github.com/kubernetes-csi/external-snapshotter/v8/cmd/snapshot-controller"
            }
            Program::CsiSnapshotter => {
                "github.com/kubernetes-csi/external-snapshotter/v8/cmd/csi-snapshotter"
            }
            Program::CsiProvisioner => "holdfast.dev/tests/csisidecars",
            Program::CsiSanity => "github.com/kubernetes-csi/csi-test/v5/cmd/csi-sanity",
            Program::Helm => "helm.sh/helm/v4/cmd/helm",
        }
    }

    fn module(self) -> &'static Module {
        match self {
            Program::Etcd
            | Program::ApiServer
            | Program::ControllerManager
            | Program::Kubectl
            | Program::Kubelet => &CONTROL_PLANE,
            Program::Containerd | Program::ContainerdShim | Program::Ctr => &NODE_RUNTIME,
            Program::S3Gateway => &S3_SERVER,
            Program::GcsServer => &GCS_SERVER,
            Program::Promtool => &PROMTOOL,
            Program::SnapshotController
            | Program::CsiSnapshotter
            | Program::CsiProvisioner
            | Program::CsiSanity => &CSI_SIDECARS,
            Program::Helm => &HELM,
        }
    }

    /// The program in the folder of assets, which by convention holds exactly these three.
    fn asset(self, assets: Option<&OsStr>) -> Option<PathBuf> {
        match self {
            Program::Etcd | Program::ApiServer | Program::Kubectl => {
                let path = Path::new(assets?).join(self.file_name());
                path.is_file().then_some(path)
            }
            Program::ControllerManager
            | Program::Kubelet
            | Program::Containerd
            | Program::ContainerdShim
            | Program::Ctr
            | Program::S3Gateway
            | Program::GcsServer
            | Program::Promtool
            | Program::SnapshotController
            | Program::CsiSnapshotter
            | Program::CsiProvisioner
            | Program::CsiSanity
            | Program::Helm => None,
        }
    }
}

impl Module {
    fn directory(&self) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join(self.name)
    }

    /// Strips symbols, and stamps the Kubernetes version, without which the API server reports v0.0.0.
    fn linker_flags(&self) -> String {
        let mut flags = String::from("-s -w");
        if let Some(version) = self.kubernetes_version() {
            let mut parts = version.trim_start_matches('v').split('.');
            let (major, minor) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
            for (variable, value) in [("gitVersion", version), ("gitMajor", major), ("gitMinor", minor)] {
                flags.push_str(&format!(" -X k8s.io/component-base/version.{variable}={value}"));
            }
        }
        flags
    }

    fn kubernetes_version(&self) -> Option<&'static str> {
        self.go_mod.lines().find_map(|line| {
            let (module, version) = line.trim().split_once(' ')?;
            (module == "k8s.io/kubernetes").then(|| version.split_whitespace().next())?
        })
    }

    fn cache_name(&self, flags: &str) -> String {
        let parts = [self.go_mod, self.go_sum, flags, std::env::consts::OS, std::env::consts::ARCH];
        // Without tags and sources the name is what it was before there were any.
        let tags = Some(self.tags).filter(|tags| !tags.is_empty());
        cache_name(self.name, parts.into_iter().chain(tags).chain(self.sources.iter().copied()))
    }
}

/// Name of the directory for what these parts decide.
fn cache_name<'a>(name: &str, parts: impl Iterator<Item = &'a str>) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    let digest: String = hash.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    format!("{name}-{digest}")
}

fn cache_directory() -> anyhow::Result<PathBuf> {
    let absolute = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    absolute("XDG_CACHE_HOME")
        .or_else(|| absolute("HOME").map(|home| home.join(".cache")))
        .context("no cache folder for the built programs: set HOME or XDG_CACHE_HOME")
}

async fn build(program: Program, flags: &str, path: &Path) -> anyhow::Result<()> {
    let name = program.file_name();
    let Module { tags, .. } = program.module();
    let module = program.module().directory();
    let unfinished = path.with_extension("unfinished");
    eprintln!("testbed: building {name} (once on this machine; kube-apiserver takes minutes)");
    let status = Command::new("go")
        .args([
            "build",
            "-mod=readonly",
            "-trimpath",
            "-buildvcs=false",
            "-tags",
            tags,
            "-ldflags",
            flags,
            "-o",
        ])
        .arg(&unfinished)
        .arg(program.package())
        .current_dir(&module)
        .env("GOWORK", "off")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .kill_on_drop(true)
        .status()
        .await;
    let status = match status {
        Ok(status) => status,
        Err(error) if error.kind() == io::ErrorKind::NotFound => bail!(
            "the testbed builds {name} from source once and needs Go for it, but there is no `go` on the PATH: \
             install Go from https://go.dev/dl/ and run this again"
        ),
        Err(error) => return Err(error).context("running go build"),
    };
    if !status.success() {
        bail!("go build of {name} in {} failed ({status}): see its messages above", module.display());
    }
    fs::rename(&unfinished, path).with_context(|| format!("moving the built {name} to {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_linker_flags_carry_the_pinned_kubernetes_version() {
        assert_eq!(
            CONTROL_PLANE.linker_flags(),
            "-s -w -X k8s.io/component-base/version.gitVersion=v1.36.3 \
             -X k8s.io/component-base/version.gitMajor=1 -X k8s.io/component-base/version.gitMinor=36"
        );
        assert_eq!(S3_SERVER.linker_flags(), "-s -w");
    }

    #[test]
    fn the_assets_are_used_as_far_as_they_go() {
        let assets = tempfile::tempdir().expect("a folder");
        for name in ["etcd", "kube-controller-manager"] {
            fs::write(assets.path().join(name), "").expect("a file");
        }
        let assets = Some(assets.path().as_os_str());
        assert_eq!(Program::Etcd.asset(assets), assets.map(|folder| Path::new(folder).join("etcd")));
        assert_eq!(Program::ApiServer.asset(assets), None);
        assert_eq!(Program::ControllerManager.asset(assets), None);
        assert_eq!(Program::Etcd.asset(None), None);
    }

    #[test]
    fn the_cache_directory_is_named_after_what_decides_the_build() {
        let name = CONTROL_PLANE.cache_name("flags");
        assert!(name.starts_with("controlplane-"), "{name}");
        assert_eq!(name, CONTROL_PLANE.cache_name("flags"));
        assert_ne!(name, CONTROL_PLANE.cache_name("other flags"));
    }

    #[test]
    fn every_program_is_a_tool_of_its_module() {
        for program in [
            Program::Etcd,
            Program::ApiServer,
            Program::ControllerManager,
            Program::Kubectl,
            Program::Kubelet,
            Program::Containerd,
            Program::ContainerdShim,
            Program::Ctr,
            Program::S3Gateway,
            Program::GcsServer,
            Program::Promtool,
            Program::SnapshotController,
            Program::CsiSnapshotter,
            Program::CsiProvisioner,
            Program::CsiSanity,
            Program::Helm,
        ] {
            let pinned = program.module().go_mod.lines().any(|line| line.ends_with(program.package()));
            assert!(pinned, "{program:?}");
        }
    }
}
