//! `holdfast test`: carries out the tests beside policies, without a cluster.

use std::collections::BTreeSet;
use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use holdfast_policy::compile::Target;
use holdfast_policy::parse::SourceFile;
use holdfast_policy::policy_test::{self, PolicyTest};
use holdfast_policy::problem::{Format, Problems};

use super::policies;
use crate::engine::trial::Trial;
use crate::intake::directory;
use crate::intake::source::SourceProblem;

mod report;

use report::Colours;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Policy files and directories, checked and tested as one set, and files of tests (*_test.yaml); directories are
    /// read recursively. Where only files of tests are named, they are about the policies of their directories.
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// The namespace that the schedules are for: jitter depends on it.
    #[arg(long, default_value = "velero")]
    namespace: String,
    #[command(flatten)]
    hooks: policies::Hooks,
    /// How the results are written.
    #[arg(long, value_enum, default_value_t = Output::Text)]
    output: Output,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Output {
    Text,
    Json,
    Junit,
}

impl Output {
    /// For problems that keep tests from being carried out.
    fn of_problems(self) -> Format {
        match self {
            Output::Text => Format::Text,
            Output::Json => Format::Json,
            Output::Junit => Format::Junit,
        }
    }
}

/// A test that was carried out.
struct Done {
    test: PolicyTest,
    expectations: usize,
    /// What does not hold.
    unmet: Problems,
}

/// Exits with 0 when all expectations hold, 1 when some don't or policies or tests have problems, 2 when that could not
/// be found out.
pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    let Args { paths, namespace, hooks, output } = args;
    let files = match read(&paths) {
        Ok(files) => files,
        Err(error) => return Ok(policies::could_not_run(error)),
    };
    if files.tests.is_empty() {
        return Ok(policies::could_not_run(anyhow::anyhow!(
            "there are no tests: no file below these paths has a name that ends in _test.yaml"
        )));
    }
    let checked = holdfast_policy::load_trusted(&files.policies, &hooks.trust()).and_then(|set| {
        let tests = policy_test::load(&files.tests, &set)?;
        Ok((set, tests))
    });
    let (set, tests) = match checked {
        Ok(checked) => checked,
        Err(problems) => {
            policies::print(&problems.render(output.of_problems()))?;
            return Ok(ExitCode::from(policies::PROBLEMS));
        }
    };
    if !set.warnings().is_empty() {
        eprint!("{}", set.warnings());
    }
    let target = Target { namespace, source: "policies".to_owned(), cluster_name: None };
    let trial = match Trial::new(&set, &target).context("reading what the policies compile to") {
        Ok(trial) => trial,
        Err(error) => return Ok(policies::could_not_run(error)),
    };
    let done: Vec<Done> = tests
        .into_iter()
        .map(|test| {
            let outcome = trial.carry_out(&test);
            let unmet = policy_test::located(&files.tests, &test, outcome.remarks);
            Done { test, expectations: outcome.expectations, unmet }
        })
        .collect();
    let colours = if std::io::stdout().is_terminal() { Colours::On } else { Colours::Off };
    policies::print(&match output {
        Output::Text => report::text(&done, colours),
        Output::Json => report::json(&done),
        Output::Junit => report::junit(&done),
    })?;
    match done.iter().all(|done| done.unmet.is_empty()) {
        true => Ok(policies::CLEAN),
        false => Ok(ExitCode::from(policies::PROBLEMS)),
    }
}

struct Files {
    policies: Vec<SourceFile>,
    tests: Vec<SourceFile>,
}

fn read(paths: &[PathBuf]) -> Result<Files, SourceProblem> {
    let is_test = |path: &Path| path.is_file() && holdfast_policy::is_test_file(&path.to_string_lossy());
    let (named, mut of_policies): (Vec<PathBuf>, Vec<PathBuf>) =
        paths.iter().cloned().partition(|path| is_test(path));
    let of_tests: Vec<&PathBuf> =
        named.iter().chain(of_policies.iter().filter(|path| path.is_dir())).collect();
    let mut seen = BTreeSet::new();
    let mut tests = Vec::new();
    for path in of_tests {
        for file in directory::read_tests(path)? {
            if seen.insert(policies::real(&file)) {
                tests.push(file);
            }
        }
    }
    if of_policies.is_empty() {
        let beside = |path: &PathBuf| match path.parent() {
            Some(folder) if folder.as_os_str().is_empty() => PathBuf::from("."),
            Some(folder) => folder.to_owned(),
            None => path.clone(),
        };
        of_policies = named.iter().map(beside).collect();
    }
    Ok(Files { policies: policies::read(&of_policies)?, tests })
}
