//! `holdfast restore run`: makes a Restore and waits for its end.

use std::path::PathBuf;
use std::process::ExitCode;

use chrono::{DateTime, Utc};
use holdfast_policy::velero::Restore;
use kube::Api;

use super::spec::{Source, SpecArgs, read};
use crate::cli::flags::ClusterFlags;
use crate::cli::follow::Afterwards;
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
    #[command(flatten)]
    afterwards: Afterwards,
    #[command(flatten)]
    cluster: ClusterFlags,
}

/// Exits with 0 when everything was brought back (or the Restore was made, with --no-wait), 1 when not, 2 when none could
/// be made.
pub(super) fn run(args: Args) -> anyhow::Result<ExitCode> {
    let Args { from_backup, from_schedule, file, name, spec, afterwards, cluster } = args;
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
        afterwards.make(&restores, &restore).await
    });
    afterwards.tell(made)
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
    use kube::ResourceExt as _;

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
