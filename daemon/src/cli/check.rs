//! `holdfast check`: reports every problem of policy files, without a cluster.

use std::path::PathBuf;
use std::process::ExitCode;

use holdfast_policy::problem::Format;

use super::policies;
use crate::publish::mode::Mode;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Policy files and directories, checked as one set; directories are read recursively.
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// How problems are written: text, json, sarif, junit or github.
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    output: Format,
    /// The --mode of the daemon that gets the policies; with policy, what Velero won't honour is a warning.
    #[arg(long, value_enum, default_value_t = Mode::Full)]
    mode: Mode,
    #[command(flatten)]
    hooks: policies::Hooks,
    /// Warnings count as errors.
    #[arg(long)]
    strict: bool,
}

/// Exits with 0 when the policies are good, 1 when they have problems, 2 when they could not be read.
pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    let Args { paths, output, mode, hooks, strict } = args;
    let trust = hooks.trust();
    let files = match policies::read(&paths) {
        Ok(files) => files,
        Err(problem) => return Ok(policies::could_not_run(problem)),
    };
    let mut problems = match mode {
        Mode::Policy => holdfast_policy::check_for_velero(&files, &trust),
        Mode::Full | Mode::Observe => holdfast_policy::check_trusted(&files, &trust),
    };
    if strict {
        problems = problems.strict();
    }
    policies::print(&problems.render(output))?;
    if problems.is_empty() && output == Format::Text {
        let files = files.len();
        eprintln!("{files} file{}, no problems", if files == 1 { "" } else { "s" });
    }
    match problems.refuse() {
        true => Ok(ExitCode::from(policies::PROBLEMS)),
        false => Ok(policies::CLEAN),
    }
}
