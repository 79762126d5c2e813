//! `holdfast render`: prints what policy files compile to, without a cluster.

use std::path::PathBuf;
use std::process::ExitCode;

use holdfast_policy::compile::{self, Target};

use super::policies;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Policy files and directories, compiled as one set; directories are read recursively.
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// The namespace that the objects are for.
    #[arg(long, default_value = "velero")]
    namespace: String,
    /// The name of the source that the objects are labelled with.
    #[arg(long, default_value = "policies")]
    source: String,
    #[command(flatten)]
    hooks: policies::Hooks,
}

/// Exits with 0 when the policies are good, 1 when they have problems, 2 when they could not be read.
pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    let Args { paths, namespace, source, hooks } = args;
    let files = match policies::read(&paths) {
        Ok(files) => files,
        Err(problem) => return Ok(policies::could_not_run(problem)),
    };
    match holdfast_policy::load_trusted(&files, &hooks.trust()) {
        Err(problems) => {
            eprint!("{problems}");
            Ok(ExitCode::from(policies::PROBLEMS))
        }
        Ok(set) => {
            let target = Target { namespace, source, cluster_name: None };
            policies::print(&compile::render(&set, &target))?;
            Ok(policies::CLEAN)
        }
    }
}
