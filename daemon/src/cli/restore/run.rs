//! `holdfast restore run`: makes a Restore and waits for its end.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use chrono::{DateTime, Utc};
use holdfast_policy::velero::Restore;
use kube::api::PostParams;
use kube::{Api, ResourceExt as _};

use super::spec::{Source, SpecArgs, read};
use crate::cli::flags::{ClusterFlags, Output};
use crate::cli::follow::{Followed as _, name_of, to_its_end};
use crate::cli::policies;
use crate::clock;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The backup to restore.
    #[arg(long, alias = "backup", value_name = "NAME", conflicts_with_all = ["file", "from_schedule"])]
    #[arg(required_unless_present_any = ["file", "from_schedule"])]
    from_backup: Option<String>,
    /// The schedule whose newest whole backup to restore.
    #[arg(long, value_name = "NAME", conflicts_with = "file")]
    from_schedule: Option<String>,
    /// A Restore in a file (YAML or JSON), with everything that its spec and its annotations can say.
    #[arg(short, long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// The name of the Restore; without it that of what is restored, with the time.
    #[arg(long)]
    name: Option<String>,
    #[command(flatten)]
    spec: SpecArgs,
    /// Don't wait for the restore's end.
    #[arg(long)]
    no_wait: bool,
    /// What is printed: the name of what was made at once, or the object at the end.
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    output: Output,
    #[command(flatten)]
    cluster: ClusterFlags,
}

/// Exits with 0 when everything was brought back (or the Restore was made, with --no-wait), 1 when not, 2 when none could
/// be made.
pub(super) fn run(args: Args) -> anyhow::Result<ExitCode> {
    let Args { from_backup, from_schedule, file, name, spec, no_wait, output, cluster } = args;
    let restore = match file {
        Some(path) => read(&path),
        None => spec
            .into_spec(Source { backup: from_backup, schedule: from_schedule })
            .map(|spec| Restore::new("", spec)),
    };
    let restore = match restore {
        Ok(restore) => named(restore, name, &cluster.namespace, clock::system()()),
        Err(error) => return Ok(policies::could_not_run(error)),
    };
    let made = cluster.with_client(async |client| {
        let restores: Api<Restore> = Api::namespaced(client, &cluster.namespace);
        let what = name_of(&restore);
        let made = restores.create(&PostParams::default(), &restore).await;
        let made = made.with_context(|| format!("cannot create {what}"))?;
        if output == Output::Text {
            policies::print(&format!("{what}\n"))?;
        }
        if no_wait { Ok(made) } else { to_its_end(&restores, &made.name_any()).await }
    });
    Ok(match made {
        Ok(restore) => {
            if output != Output::Text {
                policies::print(&output.value(&restore)?)?;
            }
            restore.view().exit_code()
        }
        Err(error) => policies::could_not_run(error),
    })
}

/// With the name that was given, that of the file, or one that tells what is restored and when.
fn named(mut restore: Restore, name: Option<String>, namespace: &str, now: DateTime<Utc>) -> Restore {
    restore.metadata.namespace = Some(namespace.to_owned());
    let own = restore.metadata.name.take().filter(|name| !name.is_empty());
    let source = restore.spec.backup_name.as_deref().or(restore.spec.schedule_name.as_deref());
    let made_up = || format!("{}-{}", source.unwrap_or("restore"), now.format("%Y%m%d%H%M%S"));
    restore.metadata.name = Some(name.or(own).unwrap_or_else(made_up));
    restore
}

#[cfg(test)]
mod tests {
    use holdfast_policy::velero::RestoreSpec;

    use super::*;

    #[test]
    fn a_restore_without_a_name_is_named_after_what_it_brings_back() {
        let now = "2026-11-23T10:00:00Z".parse().unwrap();
        let restore = |name: &str, backup: Option<&str>, schedule: Option<&str>| {
            let (backup_name, schedule_name) = (backup.map(str::to_owned), schedule.map(str::to_owned));
            Restore::new(name, RestoreSpec { backup_name, schedule_name, ..RestoreSpec::default() })
        };
        let name = |restore: Restore, given: Option<&str>| {
            named(restore, given.map(str::to_owned), "velero", now).name_any()
        };
        assert_eq!(name(restore("", Some("nightly-1"), None), None), "nightly-1-20261123100000");
        assert_eq!(name(restore("", None, Some("nightly")), None), "nightly-20261123100000");
        assert_eq!(name(restore("of-file", Some("b"), None), None), "of-file");
        assert_eq!(name(restore("of-file", Some("b"), None), Some("mine")), "mine");
    }
}
