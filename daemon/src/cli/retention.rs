//! `holdfast retention`: which backups stay and which go, now or at another instant, and why.

use std::path::PathBuf;
use std::process::ExitCode;

use chrono::{DateTime, Utc};
use holdfast_policy::compile::{self, Target};
use holdfast_policy::ownership::{Cluster, Owner, owner};
use holdfast_policy::retention::{Judgement, Subject, judge};
use holdfast_policy::velero::{Backup, Schedule};

use super::flags::{ClusterFlags, Output};
use super::policies;
use crate::clock;

mod print;
pub(super) mod source;

use source::Objects;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Policy files and directories whose rules hold in place of those of the Schedules there are.
    #[arg(value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// The instant to look at; now, if not given. Backups that would be made until then are not thought of.
    #[arg(long, value_name = "RFC3339")]
    at: Option<DateTime<Utc>>,
    /// Backups, Schedules and BackupStorageLocations from a file (YAML or JSON, lists too), instead of from a cluster.
    #[arg(long, value_name = "FILE", conflicts_with = "kubeconfig")]
    backups: Option<PathBuf>,
    /// The name of the cluster to decide for. Without it that of the cluster; with --backups every backup is its own.
    #[arg(long)]
    cluster_name: Option<String>,
    #[command(flatten)]
    cluster: ClusterFlags,
    /// How the answer is written.
    #[arg(long, value_enum, default_value_t = Output::Text)]
    output: Output,
}

/// One backup with what becomes of it.
struct Line<'a> {
    backup: &'a Backup,
    judgement: Judgement,
}

/// Exits with 0 when it could tell, 1 for policies that have problems, 2 when backups or policies could not be read.
pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    let Args { paths, at, backups, cluster_name, cluster, output } = args;
    let ClusterFlags { namespace, access } = cluster;
    let at = at.unwrap_or_else(|| clock::system()());
    let rules = match of_policies(&paths, &namespace) {
        Ok(rules) => rules,
        Err(code) => return Ok(code),
    };
    let read = match &backups {
        Some(file) => source::file(file, cluster_name.as_deref().map(Cluster::named)),
        None => source::cluster(&access, &namespace, cluster_name.as_deref()),
    };
    let mut objects = match read {
        Ok(objects) => objects,
        Err(error) => return Ok(policies::could_not_run(error)),
    };
    if let Some(rules) = rules {
        objects.schedules = rules;
    }
    let lines = judged(&objects, at);
    policies::print(&match output {
        Output::Text => print::text(&lines, at),
        Output::Json | Output::Yaml => output.written(print::json(&lines, at)),
    })?;
    Ok(policies::CLEAN)
}

/// The Schedules that policies compile to; none where no policies are given.
fn of_policies(paths: &[PathBuf], namespace: &str) -> Result<Option<Vec<Schedule>>, ExitCode> {
    if paths.is_empty() {
        return Ok(None);
    }
    let files = policies::read(paths).map_err(policies::could_not_run)?;
    let set = holdfast_policy::load(&files).map_err(|problems| {
        eprint!("{problems}");
        ExitCode::from(policies::PROBLEMS)
    })?;
    let target =
        Target { namespace: namespace.to_owned(), source: "policies".to_owned(), cluster_name: None };
    let manifests = compile::compile(&set, &target).into_iter();
    let schedules = manifests.filter(|manifest| manifest.kind == "Schedule");
    let schedules = schedules.map(|manifest| serde_json::from_value(manifest.value));
    schedules.collect::<Result<_, _>>().map(Some).map_err(policies::could_not_run)
}

fn judged(objects: &Objects, at: DateTime<Utc>) -> Vec<Line<'_>> {
    let Objects { backups, schedules, locations, cluster } = objects;
    let subjects: Vec<Subject<'_, Backup>> = backups
        .iter()
        .map(|backup| Subject {
            backup,
            owner: match cluster {
                None => Owner::ThisCluster,
                Some(cluster) => {
                    let location = locations
                        .iter()
                        .find(|location| location.metadata.name == backup.spec.storage_location)
                        .and_then(|location| location.metadata.annotations.as_ref());
                    owner(backup, location, cluster)
                }
            },
        })
        .collect();
    let judgements = judge(&subjects, &schedules.iter().collect::<Vec<_>>(), at);
    backups.iter().zip(judgements).map(|(backup, judgement)| Line { backup, judgement }).collect()
}
