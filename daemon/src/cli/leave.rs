//! `holdfast leave`: takes Holdfast's marks off the objects of a namespace, so that Velero or people go on with them.

use std::fmt::Write as _;
use std::process::ExitCode;

use anyhow::bail;
use serde_json::{Value, json};

use super::flags::{ClusterFlags, Output};
use super::policies;
use crate::controllers::leader;
use crate::publish::leave::marks::{Marks, Remark};
use crate::publish::leave::{self, Marked};
use crate::publish::observe::Place;
use crate::{app, clock};

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    cluster: ClusterFlags,
    /// Do it. Without this it is only told what would be done.
    #[arg(long)]
    yes: bool,
    /// How it is told.
    #[arg(long, value_enum, default_value_t = Output::Text)]
    output: Output,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Deed {
    Told,
    Done,
}

/// What was found and what became of it.
struct Outcome {
    deed: Deed,
    marked: Vec<Marked>,
    remarks: Vec<Remark>,
    /// The Holdfast that runs there.
    leader: Option<String>,
    failures: Vec<leave::Error>,
}

/// Exits with 0 when no object carries marks any more, 1 when some do, 2 when that could not be found out or a Holdfast
/// runs that would put the marks back.
pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    // Fails only where a provider is installed already, which then is this one.
    drop(rustls::crypto::ring::default_provider().install_default());
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let output = args.output;
    match runtime.block_on(carry_out(args)) {
        Err(error) => Ok(policies::could_not_run(error)),
        Ok(outcome) => {
            policies::print(&match output {
                Output::Text => text(&outcome),
                Output::Json | Output::Yaml => output.written(json_text(&outcome)),
            })?;
            for failure in &outcome.failures {
                eprintln!("error: {:#}", Chained(failure));
            }
            let none_left = match outcome.deed {
                Deed::Told => outcome.marked.is_empty(),
                Deed::Done => outcome.failures.is_empty(),
            };
            Ok(if none_left { policies::CLEAN } else { ExitCode::from(policies::PROBLEMS) })
        }
    }
}

async fn carry_out(args: Args) -> anyhow::Result<Outcome> {
    let Args { cluster: ClusterFlags { namespace, access }, yes, output: _ } = args;
    let client = app::connect(&access).await?;
    let clock = clock::system();
    let leader = leader::leader(client.clone(), &namespace, &clock).await?;
    if let Some(leader) = leader.as_ref().filter(|_| yes) {
        bail!("a Holdfast ({leader}) runs in {namespace} and would put everything back: scale it to 0 first");
    }
    let place = Place { client: &client, namespace: &namespace };
    let marked = leave::marked(place).await?;
    let now = clock();
    let remarks = marked.iter().flat_map(|marked| marked.remarks(now)).collect();
    let (deed, failures) = match yes {
        true => (Deed::Done, leave::release(place, &marked).await),
        false => (Deed::Told, Vec::new()),
    };
    Ok(Outcome { deed, marked, remarks, leader, failures })
}

fn text(outcome: &Outcome) -> String {
    let Outcome { deed, marked, remarks, leader, failures } = outcome;
    let mut text = String::new();
    // Writing to a String can't fail, here and below.
    for marked in marked {
        let _written = writeln!(text, "{} {}", marked.kind(), marked.name());
        let Marks { labels, annotations, template_labels, template_annotations, managers } = &marked.marks;
        let pairs = [
            ("label", labels),
            ("annotation", annotations),
            ("label of its backups", template_labels),
            ("annotation of its backups", template_annotations),
        ];
        for (what, marks) in pairs {
            for (key, value) in marks {
                let _written = writeln!(text, "  - {what} {key}: {value}");
            }
        }
        for manager in managers {
            let _written = writeln!(text, "  - field manager {manager}");
        }
    }
    for Remark { kind, name, note } in remarks {
        let _written = writeln!(text, "! {kind} {name} {note}");
    }
    if let Some(leader) = leader {
        let _written =
            writeln!(text, "! a Holdfast ({leader}) runs there: scale it to 0 before you leave with --yes");
    }
    let (count, failed) = (objects(marked.len()), failures.len());
    let _written = match (deed, marked.is_empty(), failed) {
        (_, true, _) => writeln!(text, "nothing here carries marks of Holdfast"),
        (Deed::Told, false, _) => writeln!(text, "{count} would be released; --yes does it"),
        (Deed::Done, false, 0) => writeln!(text, "{count} released"),
        (Deed::Done, false, failed) => writeln!(text, "{failed} of {count} could not be released"),
    };
    text
}

fn objects(count: usize) -> String {
    match count {
        1 => "1 object".to_owned(),
        count => format!("{count} objects"),
    }
}

fn json_text(outcome: &Outcome) -> String {
    let Outcome { deed, marked, remarks, leader, failures } = outcome;
    let objects: Vec<Value> = marked.iter().map(json_of).collect();
    let remarks: Vec<Value> = remarks
        .iter()
        .map(|Remark { kind, name, note }| json!({"kind": kind, "name": name, "note": note}))
        .collect();
    let failures: Vec<String> = failures.iter().map(|failure| Chained(failure).to_string()).collect();
    let value = json!({
        "done": *deed == Deed::Done,
        "objects": objects,
        "remarks": remarks,
        "running": leader,
        "failures": failures,
    });
    format!("{value:#}\n")
}

fn json_of(marked: &Marked) -> Value {
    let Marks { labels, annotations, template_labels, template_annotations, managers } = &marked.marks;
    json!({
        "kind": marked.kind(),
        "name": marked.name(),
        "labels": labels,
        "annotations": annotations,
        "templateLabels": template_labels,
        "templateAnnotations": template_annotations,
        "fieldManagers": managers,
    })
}

/// An error with its causes.
struct Chained<'a>(&'a dyn std::error::Error);

impl std::fmt::Display for Chained<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}", self.0)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            write!(formatter, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}
