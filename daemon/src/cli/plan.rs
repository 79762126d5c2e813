//! `holdfast plan`: what publishing policies would change in a cluster.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use holdfast_policy::compile::Target;
use holdfast_policy::unenforced::Unenforced;
use serde_json::{Value, json};

use super::flags::{ClusterFlags, Output};
use super::policies;
use crate::controllers::stores::Stores;
use crate::intake::ledger::place::{Asked, Places};
use crate::intake::origin::{self, Given, Origin};
use crate::intake::set::PolicySet;
use crate::intake::{board, directory, set};
use crate::publish::bucket::{self, Creation, Verdict};
use crate::publish::decide::{self, ApplyReason, Situation};
use crate::publish::mode::Mode;
use crate::publish::object::Key;
use crate::publish::observe::Place;
use crate::publish::plan::{self, Change, What};
use crate::publish::{references, report};
use crate::{app, clock};

/// A bucket that gives no answer in this time counts as one that can't be read from here.
const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Directories of policies, as `holdfast run` takes them with --policies; each is a source.
    #[arg(required = true, value_name = "[NAME=]DIR")]
    policies: Vec<PathBuf>,
    #[command(flatten)]
    cluster: ClusterFlags,
    /// The name of the cluster, as the daemon there is told it.
    #[arg(long)]
    cluster_name: Option<String>,
    /// The --mode of the daemon there; with policy, what Velero won't honour is told as well.
    #[arg(long, value_enum, default_value_t = Mode::Full)]
    mode: Mode,
    #[command(flatten)]
    hooks: policies::Hooks,
    /// The location of backups that name none, where none is marked as the default; as the daemon there is told it.
    #[arg(long, default_value = "default")]
    default_backup_storage_location: String,
    /// Policies that Velero won't honour with --mode policy are an error.
    #[arg(long)]
    strict: bool,
    /// How changes are written.
    #[arg(long, value_enum, default_value_t = Output::Text)]
    output: Output,
}

/// What is to be told about one source.
struct Planned {
    changes: Vec<Change>,
    /// What has no effect with the daemon's mode.
    unenforced: Vec<Unenforced>,
}

/// Exits with 0 when nothing would change, 1 when something would, 2 when that could not be found out.
pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    // Fails only where a provider is installed already, which then is this one.
    drop(rustls::crypto::ring::default_provider().install_default());
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let Args { output, strict, .. } = args;
    match runtime.block_on(changes(args)) {
        Err(error) => Ok(policies::could_not_run(error)),
        Ok(sources) => {
            policies::print(&match output {
                Output::Text => text(&sources),
                Output::Json | Output::Yaml => output.written(json_text(&sources)),
            })?;
            // What stays as it is, is told and is no change.
            let changes = |change: &Change| !matches!(change.what, What::Leave(_));
            if strict && sources.values().any(|planned| !planned.unenforced.is_empty()) {
                let error =
                    anyhow::anyhow!("Velero won't honour all of the policies, and --strict asks for that");
                return Ok(policies::could_not_run(error));
            }
            match sources.values().flat_map(|planned| &planned.changes).any(changes) {
                true => Ok(ExitCode::from(policies::PROBLEMS)),
                false => Ok(policies::CLEAN),
            }
        }
    }
}

async fn changes(args: Args) -> anyhow::Result<BTreeMap<String, Planned>> {
    let Args {
        policies,
        cluster: ClusterFlags { namespace, access },
        cluster_name,
        mode,
        hooks,
        default_backup_storage_location: default_location,
        strict: _,
        output: _,
    } = args;
    let given = Given { directories: policies, hooks_in: hooks.allowed(), ..Given::default() };
    let mut sets = Vec::new();
    for (name, origin) in origin::named(&given, &namespace)? {
        let trust = origin.trust(&namespace, &given.hooks_in);
        // Only directories were given.
        let Origin::Directory(path) = origin else { continue };
        let snapshot = directory::read(&path, Duration::ZERO).outcome?;
        let target = Target {
            namespace: namespace.clone(),
            source: name.to_string(),
            cluster_name: cluster_name.clone(),
        };
        let set = set::compile(snapshot, trust, target).await.map_err(|problems| {
            eprint!("{problems}");
            anyhow::anyhow!("the policies of source {name} have problems")
        })?;
        sets.push((name, set));
    }
    let client = app::connect(&access).await?;
    let place = Place { client: &client, namespace: &namespace };
    let places = Places {
        client: client.clone(),
        namespace: namespace.clone(),
        stores: Stores::new(&client, &namespace),
        default_location,
    };
    let mut sources = BTreeMap::new();
    for (name, PolicySet { desired, drift, unenforced, .. }) in sets {
        let policy_set = board::read(&client, &namespace, &name).await?;
        let memory = policy_set.as_ref().map(board::remembered).unwrap_or_default();
        let words = board::Words::of(policy_set.as_ref());
        let live = plan::live(place, &desired, &memory).await?;
        let newest_completed = place.newest_completed(&desired, &live, &memory).await?;
        let approved: BTreeSet<String> = words.approved(&desired);
        let left = decide::config_maps_left(name.as_str(), &desired, &live);
        let referred = match left.is_empty() {
            true => None,
            false => Some(references::config_maps(place).await?),
        };
        let situation = Situation {
            source: name.as_str(),
            desired: &desired,
            live: &live,
            newest_completed: &newest_completed,
            memory: &memory,
            drift,
            prune_word: words.prune.as_deref(),
            cluster_name: cluster_name.as_deref(),
            approved: &approved,
            referred: referred.as_ref(),
        };
        let actions = decide::decide(&situation, clock::system()());
        let verdicts = ask(&places, &bucket::creations(&actions, &desired), cluster_name.as_deref()).await;
        let changes = plan::plan(place, &situation, actions, &verdicts).await;
        let changes = changes.context("comparing policies with the cluster")?;
        let unenforced = match mode {
            Mode::Policy => unenforced,
            Mode::Full | Mode::Observe => vec![],
        };
        sources.insert(name.to_string(), Planned { changes, unenforced });
    }
    Ok(sources)
}

/// Whether what is made once ran before, as its bucket tells.
async fn ask(
    places: &Places,
    creations: &[Creation<'_>],
    cluster_name: Option<&str>,
) -> BTreeMap<Key, Verdict> {
    let mut verdicts = BTreeMap::new();
    for creation in creations {
        let asked = Asked::of(creation);
        let verdict = match tokio::time::timeout(PATIENCE, places.look(&asked, cluster_name)).await {
            Ok(Ok(true)) => Verdict::Ran,
            Ok(Ok(false)) => Verdict::NotRun,
            Ok(Err(unread)) => Verdict::Unread { why: unread.to_string() },
            Err(_) => Verdict::Unread { why: format!("no answer in {} s", PATIENCE.as_secs()) },
        };
        verdicts.insert(asked.key, verdict);
    }
    verdicts
}

fn text(sources: &BTreeMap<String, Planned>) -> String {
    let mut text = String::new();
    // Writing to a String can't fail, here and below.
    for (source, Planned { changes, unenforced }) in sources {
        let _written = match changes.is_empty() {
            true => writeln!(text, "source {source}: nothing to change"),
            false => writeln!(text, "source {source}:"),
        };
        for Change { key, what } in changes {
            let _written = match what {
                What::Create => writeln!(text, "  + create {key}"),
                What::CreateUnlessRan { why } => {
                    writeln!(text, "  + create {key}, unless its bucket knows that it ran before: {why}")
                }
                What::Change { reason, .. } => writeln!(text, "  ~ {} {key}", verb(reason)),
                What::Prune => writeln!(text, "  - remove {key}"),
                What::Conflict(_) => writeln!(text, "  ! conflict on {key}"),
                What::Leave(reason) => {
                    writeln!(
                        text,
                        "  ! leave {key}: {}",
                        report::left(reason).map(|n| n.note).unwrap_or_default()
                    )
                }
            };
            match what {
                What::Change { fields, .. } => lines(&mut text, fields),
                What::Conflict(conflicts) => lines(&mut text, conflicts),
                What::Create | What::CreateUnlessRan { .. } | What::Prune | What::Leave(_) => {}
            }
        }
        for Unenforced { name, policy: _, entry: _, what } in unenforced {
            let (kind, setting) = (what.kind(), what.setting());
            let _written =
                writeln!(text, "  ! not enforced on {kind} {name}: `{setting}` has no effect: {what}");
        }
    }
    text
}

fn lines<T: std::fmt::Display>(text: &mut String, items: &[T]) {
    for item in items {
        let _written = writeln!(text, "      {item}");
    }
}

fn verb(reason: &ApplyReason) -> &'static str {
    match reason {
        ApplyReason::Missing => "create",
        ApplyReason::Changed => "change",
        ApplyReason::Adopted => "adopt",
        ApplyReason::Drifted { .. } => "put back",
    }
}

fn json_text(sources: &BTreeMap<String, Planned>) -> String {
    let sources: BTreeMap<&String, Vec<Value>> =
        sources.iter().map(|(source, planned)| (source, entries(planned))).collect();
    format!("{:#}\n", json!(sources))
}

fn entries(Planned { changes, unenforced }: &Planned) -> Vec<Value> {
    let unenforced = unenforced.iter().map(|Unenforced { name, policy: _, entry: _, what }| {
        json!({
            "kind": what.kind(),
            "name": name,
            "action": "unenforced",
            "field": what.setting(),
            "note": what.to_string(),
        })
    });
    changes.iter().map(json_of).chain(unenforced).collect()
}

fn json_of(Change { key, what }: &Change) -> Value {
    let mut value = json!({"kind": key.kind.name(), "name": key.name});
    let (action, more) = match what {
        What::Create => ("create", json!({})),
        What::CreateUnlessRan { why } => ("create", json!({"unasked": why})),
        What::Prune => ("remove", json!({})),
        What::Change { reason, fields } => {
            let fields: Vec<Value> = fields
                .iter()
                .map(|field| json!({"path": field.path, "before": field.before, "after": field.after}))
                .collect();
            (verb(reason), json!({"fields": fields}))
        }
        What::Conflict(conflicts) => {
            let fields: Vec<Value> = conflicts
                .iter()
                .map(|conflict| json!({"path": conflict.field, "manager": conflict.manager}))
                .collect();
            ("conflict", json!({"fields": fields}))
        }
        What::Leave(reason) => {
            let notice = report::left(reason);
            let (reason, note) = notice.map(|notice| (notice.reason.name(), notice.note)).unwrap_or_default();
            ("leave", json!({"reason": reason, "note": note}))
        }
    };
    value["action"] = json!(action);
    if let (Value::Object(value), Value::Object(more)) = (&mut value, more) {
        value.extend(more);
    }
    value
}
