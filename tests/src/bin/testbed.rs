//! The testbed on the command line: `cargo testbed up`, `down`, `env`, `bench`, `cargo demo` and `cargo image`.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::{Args, Parser, Subcommand, ValueEnum};
use holdfast_tests::standing::{self, Extra};
use holdfast_tests::{bench, demo, image};

/// A Kubernetes control plane on this machine, for trying things out.
#[derive(Parser)]
#[command(name = "cargo testbed", bin_name = "cargo testbed")]
struct CommandLine {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Start a control plane that stays, and print the lines that make a shell use it.
    ///
    /// Use it as: eval "$(cargo testbed up --dir D)". Where it runs already, the lines are just printed again.
    Up {
        #[command(flatten)]
        at: At,
        /// Also start an S3 server (region us-east-1, path style) with a bucket `backups`.
        #[arg(long)]
        s3: bool,
        /// Also start a node named `localhost` on which pods run (Linux, as root; image `holdfast.test/busybox:1`).
        #[arg(long)]
        node: bool,
    },
    /// End what `up` started in this directory and remove its data, the S3 server's buckets included. The logs stay.
    Down {
        #[command(flatten)]
        at: At,
    },
    /// Back up, lose, restore and compare a sample application, with the daemon and policies of this checkout.
    ///
    /// Takes the cluster of KUBECONFIG where that is set, and starts a throw-away one otherwise.
    Demo,
    /// Print the lines of `up` again.
    Env {
        #[command(flatten)]
        at: At,
    },
    /// Make the image of Holdfast as a tar, for `ctr images import` and `docker load`.
    Image(Image),
    /// Measure backups and restores beside what the API server gives a bare client, and policies beside parsing YAML.
    Bench(Bench),
    /// One step of `bench files`, in a process of its own.
    #[command(hide = true)]
    BenchFilesStep { folder: PathBuf, step: String, snapshot: Option<String> },
}

#[derive(Args)]
struct Image {
    /// The tar.
    #[arg(long, value_name = "FILE")]
    output: PathBuf,
    /// The program to put in; without it that of this checkout, built for release.
    #[arg(long, value_name = "FILE")]
    program: Option<PathBuf>,
    /// What the image is called.
    #[arg(long, value_name = "NAME:TAG", default_value = concat!("holdfast.dev/holdfast:", env!("CARGO_PKG_VERSION")))]
    name: String,
}

#[derive(Args)]
struct Bench {
    /// What to measure.
    #[arg(value_enum)]
    subject: Subject,
    /// How many objects, documents of policies, or backups in a bucket to measure with [default: 70000 for `backup`,
    /// 10000 otherwise].
    #[arg(long, value_name = "N")]
    objects: Option<usize>,
    /// How many backups expire in a lifecycle.
    #[arg(long, value_name = "N", default_value_t = 1_000)]
    expired: usize,
    /// How to print the figures.
    #[arg(long, value_enum, default_value_t = Output::Text)]
    output: Output,
}

#[derive(Clone, Copy, ValueEnum)]
enum Subject {
    /// Backups of many objects, and many backups.
    Backup,
    /// A restore of many objects, where there are none and where there are all.
    Restore,
    /// Sync, schedules, expiry and rest beside many backups.
    Lifecycle,
    /// Checking and rendering documents of policies.
    Policies,
    /// 1 GiB of a volume's files into a repository and back, beside the stock `restic`.
    Files,
}

#[derive(Clone, Copy, ValueEnum)]
enum Output {
    Text,
    Json,
}

#[derive(Args)]
struct At {
    /// Where the testbed keeps its kubeconfig, data and logs. May exist.
    #[arg(long = "dir", value_name = "D")]
    directory: PathBuf,
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(CommandLine::parse().command).await {
        Ok(code) => code,
        Err(error) => {
            eprintln!("testbed: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(command: Command) -> anyhow::Result<ExitCode> {
    let lines = match command {
        Command::Up { at, s3, node } => {
            let s3 = s3.then_some(Extra::S3);
            let node = node.then_some(Extra::Node);
            let extras: Vec<Extra> = s3.into_iter().chain(node).collect();
            standing::up(&at.directory, &extras).await?.lines()
        }
        Command::Down { at } => {
            standing::down(&at.directory).await?;
            String::new()
        }
        Command::Demo => return demo::run().await,
        Command::Env { at } => standing::exports(&at.directory).await?.lines(),
        Command::Image(image) => make(image)?,
        Command::Bench(bench) => measure(bench).await?,
        Command::BenchFilesStep { folder, step, snapshot } => {
            bench::files::one_step(folder, &step, snapshot).await?;
            String::new()
        }
    };
    std::io::stdout().write_all(lines.as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

fn make(Image { output, program, name }: Image) -> anyhow::Result<String> {
    let program = program.map_or_else(image::release, Ok)?;
    let file = File::create(&output).with_context(|| format!("creating {}", output.display()))?;
    let parts = image::Parts { program: &program, name: &name, version: env!("CARGO_PKG_VERSION") };
    image::write(&parts, BufWriter::new(file))?;
    Ok(format!("{name} is in {}\n", output.display()))
}

async fn measure(bench: Bench) -> anyhow::Result<String> {
    if cfg!(debug_assertions) {
        return Err(again_in_release());
    }
    const MANY: usize = 10_000;
    let (table, json) = match bench.subject {
        Subject::Backup => {
            let report = bench::backup::run(bench.objects.unwrap_or(70_000)).await?;
            (report.table(), report.json())
        }
        Subject::Restore => {
            let report = bench::restore::run(bench.objects.unwrap_or(MANY)).await?;
            (report.table(), report.json())
        }
        Subject::Lifecycle => {
            let figures = bench::lifecycle::run(bench.objects.unwrap_or(MANY), bench.expired).await?;
            (figures.table(), figures.json())
        }
        Subject::Files => {
            let figures = bench::files::run().await?;
            (figures.table(), figures.json())
        }
        Subject::Policies => {
            let report = bench::policies::run(bench.objects.unwrap_or(MANY)).await?;
            (report.table(), report.json())
        }
    };
    Ok(match bench.output {
        Output::Text => table,
        Output::Json => format!("{json:#}\n"),
    })
}

/// Only optimised programs are worth measuring, the bare client included. Returns if that can't be started.
fn again_in_release() -> anyhow::Error {
    eprintln!("bench: building for release");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let error = std::process::Command::new(cargo)
        .args(["run", "--quiet", "--release", "--package", "holdfast-tests", "--bin", "testbed", "--"])
        .args(std::env::args_os().skip(1))
        .exec();
    anyhow::Error::new(error).context("running cargo")
}
