//! `holdfast manifests`: the account and the roles that a daemon runs with, as YAML for `kubectl apply -f -`.

use std::io::Write;
use std::process::ExitCode;

use crate::rights::{self, Grant, Role};

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
}

/// Prints them.
pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    let Args { namespace, service_account, mut roles, allow_hooks_in, policies_in } = args;
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
    let mut output = std::io::stdout().lock();
    for object in rights::manifests(&grant)? {
        write!(output, "---\n{}", serde_yaml::to_string(&object)?)?;
    }
    Ok(ExitCode::SUCCESS)
}
