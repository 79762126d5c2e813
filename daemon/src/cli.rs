//! The command line: one file per subcommand, each a thin call.
//!
//! Takes the process's arguments, gives its exit code. What a subcommand does is left to the module it calls.

use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::process::ExitCode;

use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

pub mod adopt;
pub mod backup;
pub mod check;
pub mod completion;
pub mod crds;
pub mod explain;
pub mod flags;
pub mod follow;
pub mod get;
pub mod import;
pub mod keys;
pub mod leave;
pub mod logs;
pub mod manifests;
pub mod next;
pub mod node_agent;
pub mod plan;
pub mod policies;
pub mod render;
pub mod restore;
pub mod restore_wait;
pub mod retention;
pub mod run;
pub mod schema;
pub mod status;
pub mod table;
pub mod test;
pub mod version;

/// Backup and restore for Kubernetes, declared in policy files, on Velero's own resources and bucket layout.
#[derive(Debug, Parser)]
#[command(name = "holdfast", version = version::TEXT, disable_help_subcommand = true)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

/// What the binary can be asked to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the daemon: publish policies, back up, restore.
    // As Velero's Deployment calls it.
    #[command(alias = "server")]
    Run(Box<run::Args>),
    /// Print the CustomResourceDefinitions that the daemon needs.
    Crds(crds::Args),
    /// Print the account and the roles that a daemon needs.
    Manifests(manifests::Args),
    /// Tell how the backups of a cluster fare, and what needs attention.
    Status(status::Args),
    /// Show backups, schedules, restores, locations or policies.
    Get(get::Args),
    /// Make backups by hand.
    Backup(backup::Args),
    /// Print the log of a backup or a restore.
    Logs(logs::Args),
    /// Check policy files and report every problem with its place.
    Check(check::Args),
    /// Print what policy files compile to.
    Render(render::Args),
    /// Compare policies with a cluster and print what publishing them would change.
    Plan(plan::Args),
    /// Tell which policies would back up an object, and by which rule others would not; or what no policy covers.
    Explain(explain::Args),
    /// Turn the Schedules and locations of a Velero installation into policies.
    Import(import::Args),
    /// Take Holdfast's labels, annotations and field managers off the objects of a namespace, and leave the objects.
    ///
    /// Without --yes it is only told. Off Schedules, locations, Backups and everything else of velero.io, and off the
    /// ConfigMaps that policies made, go the labels and annotations of holdfast.dev/, the label
    /// app.kubernetes.io/managed-by=holdfast and what field managers of Holdfast own. No object is deleted, and no spec
    /// changes but for such labels in the templates of Schedules.
    ///
    /// Exits with 0 when no object carries marks any more, 1 when some do, 2 when that could not be found out or a
    /// Holdfast runs that would put the marks back.
    Leave(leave::Args),
    /// Carry out the tests beside policies: which objects are included, when runs are due, which backups stay.
    Test(test::Args),
    /// Print the next runs of schedules.
    Next(next::Args),
    /// Ask what a restore would do, or make one.
    Restore(restore::Args),
    /// Print which backups stay and which go, and why.
    Retention(retention::Args),
    /// Let this cluster look after the backups of a location that name no cluster; told first, done with --yes.
    Adopt(adopt::Args),
    /// Move the files of the volumes of one node's pods, as PodVolumeBackups and PodVolumeRestores ask for.
    NodeAgent(node_agent::Args),
    /// Wait, in an init container of a restored pod, until its volumes are complete.
    RestoreWait(restore_wait::Args),
    /// Look after the keys of volume data.
    Keys(keys::Args),
    /// Print the JSON Schema of policy files.
    Schema(schema::Args),
    /// Print a script by which a shell completes commands and flags.
    Completion(completion::Args),
    /// Print the version.
    Version(version::Args),
}

/// Parses the arguments, carries the command out and tells on standard error why it could not.
pub fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    match carry_out(parse(arguments).command) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("holdfast: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// As `kubectl-holdfast` it is a plugin of kubectl, and told so in its usage.
fn parse(arguments: Vec<OsString>) -> Cli {
    let called = arguments.first().map(Path::new).and_then(Path::file_stem);
    let command = match called.and_then(OsStr::to_str) {
        Some("kubectl-holdfast") => Cli::command().name("kubectl holdfast").bin_name("kubectl holdfast"),
        _ => Cli::command(),
    };
    let matches = command.get_matches_from(arguments);
    Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit())
}

fn carry_out(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Run(args) => run::run(*args),
        Command::Crds(args) => crds::run(args),
        Command::Manifests(args) => manifests::run(args),
        Command::Status(args) => status::run(args),
        Command::Get(args) => get::run(args),
        Command::Backup(args) => backup::run(args),
        Command::Logs(args) => logs::run(args),
        Command::Check(args) => check::run(args),
        Command::Render(args) => render::run(args),
        Command::Plan(args) => plan::run(args),
        Command::Explain(args) => explain::run(args),
        Command::Import(args) => import::run(args),
        Command::Leave(args) => leave::run(args),
        Command::Test(args) => test::run(args),
        Command::Next(args) => next::run(args),
        Command::Restore(args) => restore::run(args),
        Command::Retention(args) => retention::run(args),
        Command::Adopt(args) => adopt::run(args),
        Command::NodeAgent(args) => node_agent::run(args),
        Command::RestoreWait(args) => restore_wait::run(args),
        Command::Keys(args) => keys::run(args),
        Command::Schema(args) => schema::run(args),
        Command::Completion(args) => completion::run(args),
        Command::Version(args) => version::run(args),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::Cli;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
