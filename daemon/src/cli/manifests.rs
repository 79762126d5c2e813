//! `holdfast manifests`: a whole installation, or parts of it, as YAML for `kubectl apply --server-side -f -`.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;

use super::policies::print;
use crate::app;
use crate::install::{self, Install, Part, kustomize};
use crate::rights::{Grant, Role};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Namespace that the daemon works in.
    #[arg(long, short, default_value = "velero")]
    namespace: String,
    /// Name of the daemon's ServiceAccount.
    #[arg(long, default_value = "holdfast")]
    service_account: String,
    /// Roles to grant. `observe` is part of all. Leave `restore` out, and bind it only while a restore runs, where nothing
    /// should be as mighty as an administrator for good.
    #[arg(long, value_delimiter = ',', default_values_t = [Role::Observe, Role::Backup, Role::Restore])]
    roles: Vec<Role>,
    /// Namespaces in whose pods hooks may run commands; `*` for all. None unless given.
    #[arg(long, value_name = "NAMESPACE", value_delimiter = ',')]
    allow_hooks_in: Vec<String>,
    /// Further namespaces whose ConfigMaps have policies (`--policy-configmap SOURCE=NAMESPACE/NAME`); `*` for all.
    #[arg(long, value_name = "NAMESPACE", value_delimiter = ',')]
    policies_in: Vec<String>,
    /// What is printed.
    #[arg(long, value_delimiter = ',', default_value = "namespace,crds,rights,daemon,network-policy")]
    parts: Vec<Part>,
    /// The image of all pods.
    #[arg(long, default_value = install::IMAGE)]
    image: String,
    /// How many pods of the daemon there are; one leads, and the others take over.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(i32).range(1..))]
    replicas: i32,
    /// Write a kustomize base with its components and overlays into this folder instead; it says nothing of the other flags.
    #[arg(long, value_name = "DIR", exclusive = true)]
    kustomize: Option<PathBuf>,
    /// Behind `--`: further flags of `holdfast run`.
    #[arg(last = true, value_name = "FLAG")]
    daemon: Vec<String>,
}

/// Prints them.
pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    let Args {
        namespace,
        service_account,
        mut roles,
        allow_hooks_in,
        policies_in,
        parts,
        image,
        replicas,
        kustomize,
        daemon,
    } = args;
    if let Some(folder) = kustomize {
        write(&folder)?;
        return Ok(ExitCode::SUCCESS);
    }
    roles.push(Role::Observe);
    if !allow_hooks_in.is_empty() {
        roles.push(Role::Hooks);
    }
    if !policies_in.is_empty() {
        roles.push(Role::Policies);
    }
    let grant = Grant {
        namespace,
        account: service_account,
        roles: roles.into_iter().collect(),
        hooks_in: allow_hooks_in,
        policies_in,
    };
    let install = Install { grant, image, replicas, arguments: daemon };
    let parts: BTreeSet<Part> = parts.into_iter().collect();
    print(&kustomize::documents(&install::manifests(&install, &parts, &app::crds::all())?))?;
    Ok(ExitCode::SUCCESS)
}

fn write(folder: &Path) -> anyhow::Result<()> {
    for (name, text) in kustomize::files(&app::crds::all())? {
        let path = folder.join(name);
        let parent = path.parent().unwrap_or(folder);
        fs::create_dir_all(parent).with_context(|| format!("cannot make {}", parent.display()))?;
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}
