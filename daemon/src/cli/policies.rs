//! Policy files named on the command line: reads them, and writes what commands have to say about them.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use holdfast_policy::parse::SourceFile;
use holdfast_policy::validate::{HooksIn, Trust};

use crate::intake::directory;
use crate::intake::source::SourceProblem;

/// Exit codes of the commands that read policies.
pub const CLEAN: ExitCode = ExitCode::SUCCESS;
pub const PROBLEMS: u8 = 1;
pub const COULD_NOT_RUN: u8 = 2;

/// What `holdfast run` and the commands that check policies before it take alike.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Hooks {
    /// The namespaces, by name or glob, in whose pods hooks of policies may run. Without it those of directories and of
    /// ConfigMaps in Holdfast's own namespace may run anywhere; policies of other namespaces never have hooks.
    #[arg(long, value_name = "NAMESPACE", value_delimiter = ',')]
    allow_hooks_in: Option<Vec<String>>,
}

impl Hooks {
    pub fn allowed(self) -> HooksIn {
        match self.allow_hooks_in {
            None => HooksIn::Everywhere,
            // `--allow-hooks-in=` allows them nowhere.
            Some(list) => HooksIn::Namespaces(list.into_iter().filter(|name| !name.is_empty()).collect()),
        }
    }

    /// How far a directory's policies may go.
    pub fn trust(self) -> Trust {
        Trust::Full(self.allowed())
    }
}

/// All policy files below the paths, each once, as one set.
pub fn read(paths: &[PathBuf]) -> Result<Vec<SourceFile>, SourceProblem> {
    let mut seen = BTreeSet::new();
    let mut files = Vec::new();
    for path in paths {
        for file in directory::read(path, Duration::ZERO).outcome?.files {
            if seen.insert(real(&file)) {
                files.push(file);
            }
        }
    }
    Ok(files)
}

/// What tells a file apart from others. One that went away since is told apart by its name.
pub fn real(file: &SourceFile) -> PathBuf {
    std::fs::canonicalize(&file.name).unwrap_or_else(|_| PathBuf::from(&file.name))
}

/// Writes to standard output. A reader that went away, such as `head`, is no failure.
pub fn print(text: &str) -> std::io::Result<()> {
    match std::io::stdout().lock().write_all(text.as_bytes()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        written => written,
    }
}

/// Reports on standard error why a command could not run, with its causes.
pub fn could_not_run(error: impl Into<anyhow::Error>) -> ExitCode {
    eprintln!("error: {:#}", error.into());
    ExitCode::from(COULD_NOT_RUN)
}
