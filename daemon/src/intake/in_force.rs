//! Which set of each source is in force, and what became of the newer ones.
//!
//! In: what the sources give. Out: a [`State`] per source. The last good set of a source stays in force until a better
//! one comes; what is wrong meanwhile is logged when it changes and kept for status.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use holdfast_policy::compile::Target;
use holdfast_policy::problem::{Problem, Problems};
use holdfast_policy::validate::Trust;
use k8s_openapi::api::core::v1::ObjectReference;
use tracing::{error, info, warn};

use super::name::SourceName;
use super::origin::Origin;
use super::set::{self, Documents, PolicySet};
use super::source::SourceProblem;
use super::watch::Update;
use crate::controllers::switches::Purpose;
use crate::publish::memory::Memory;
use crate::publish::mode::Mode;
use crate::publish::object::Key;
use crate::publish::report::Notice;

/// A log is read by people: more problems than this are counted only.
const PROBLEMS_LOGGED: usize = 50;

/// One source: its set in force, and what publishing it has told so far.
#[derive(Debug)]
pub struct State {
    pub name: SourceName,
    /// Where it is read from, in words.
    pub origin: String,
    pub target: Target,
    pub trust: Trust,
    pub mode: Mode,
    pub purpose: Purpose,
    pub in_force: Option<InForce>,
    /// What the source gives now, in force or not.
    pub latest_revision: Option<String>,
    pub trouble: Option<Trouble>,
    pub memory: Memory,
    pub round: Round,
    /// Another server that is alive, in words: nothing is carried out while it is.
    pub foreign_server: Option<String>,
    /// The ConfigMaps that it is read from.
    pub config_maps: Vec<ObjectReference>,
    /// When this process wrote the source's status last.
    pub told: Option<DateTime<Utc>>,
}

/// What a source may do, where its objects go, and who carries them out.
#[derive(Debug)]
pub struct Place {
    pub trust: Trust,
    pub target: Target,
    pub mode: Mode,
    pub purpose: Purpose,
}

/// What an earlier process left to be known.
#[derive(Debug, Default)]
pub struct Left {
    pub memory: Memory,
    /// What it has told already.
    pub notices: BTreeMap<Key, Notice>,
}

#[derive(Debug)]
pub struct InForce {
    pub set: PolicySet,
    pub since: DateTime<Utc>,
}

/// What the last round of publishing told.
#[derive(Debug, Default)]
pub struct Round {
    /// How many rounds in a row had failures.
    pub failures: u32,
    /// The revision that was published without a failure.
    pub published: Option<String>,
    pub notices: BTreeMap<Key, Notice>,
    pub waiting: Vec<Wait>,
}

/// What waits for a person's word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wait {
    Approval { restore: String, content_hash: String },
    Removal { gone: usize, of: usize, word: String },
}

/// Why what the source gives now is not in force.
#[derive(Debug)]
pub enum Trouble {
    Source(SourceProblem),
    Invalid(Problems),
    /// Another source's set in force generates objects of the same names.
    Taken {
        set: PolicySet,
        names: Vec<(Key, SourceName)>,
    },
}

impl State {
    pub fn new(name: SourceName, origin: &Origin, place: Place, left: Left) -> State {
        let Place { trust, target, mode, purpose } = place;
        let Left { memory, notices } = left;
        State {
            name,
            origin: origin.to_string(),
            trust,
            target,
            mode,
            purpose,
            in_force: None,
            latest_revision: None,
            trouble: None,
            memory,
            round: Round { notices, ..Round::default() },
            foreign_server: None,
            config_maps: Vec::new(),
            told: None,
        }
    }

    fn keys(&self) -> BTreeSet<&Key> {
        let in_force = self.in_force.iter();
        in_force.flat_map(|in_force| in_force.set.desired.iter().map(|desired| &desired.key)).collect()
    }
}

/// Takes what a source gives now into account.
pub async fn take(states: &mut [State], update: Update, now: DateTime<Utc>) {
    let Update { source, outcome, config_maps } = update;
    let state = &mut states[source];
    state.config_maps = config_maps;
    let name = &state.name;
    let compiled = match outcome {
        Err(problem) => {
            warn!(source = %name, problem = &problem as &dyn std::error::Error, "policy source gives nothing, the last good set stays in force");
            state.trouble = Some(Trouble::Source(problem));
            return;
        }
        Ok(snapshot) => {
            state.latest_revision = Some(snapshot.revision.clone());
            if let Some(in_force) = &mut state.in_force
                && in_force.set.revision == snapshot.revision
            {
                info!(source = %name, revision = snapshot.revision, "policies are those in force");
                in_force.set.git_revision = snapshot.git_revision;
                state.trouble = None;
                put_waiting_in_force(states, now);
                return;
            }
            set::compile(snapshot, state.trust.clone(), state.target.clone()).await
        }
    };
    match compiled {
        Err(problems) => {
            error!(source = %name, problems = problems.len(), "policies refused, the last good set stays in force");
            log(name, &problems);
            state.trouble = Some(Trouble::Invalid(problems));
        }
        Ok(set) if set.documents == Documents::None => {
            warn!(source = %name, "policy source holds no policies, the last good set stays in force");
            let origin = state.origin.clone();
            state.trouble = Some(Trouble::Source(SourceProblem::NoPolicies { origin }));
        }
        Ok(set) => {
            log(name, &set.warnings);
            put_in_force(states, source, set, now);
        }
    }
    put_waiting_in_force(states, now);
}

/// A name may have become free.
fn put_waiting_in_force(states: &mut [State], now: DateTime<Utc>) {
    for waiting in 0..states.len() {
        if let Some(Trouble::Taken { set, .. }) = take_waiting(&mut states[waiting]) {
            put_in_force(states, waiting, set, now);
        }
    }
}

fn take_waiting(state: &mut State) -> Option<Trouble> {
    state.trouble.take_if(|trouble| matches!(trouble, Trouble::Taken { .. }))
}

fn put_in_force(states: &mut [State], source: usize, set: PolicySet, now: DateTime<Utc>) {
    let names = taken(states, source, &set);
    let state = &mut states[source];
    if names.is_empty() {
        let (objects, revision) = (set.desired.len(), set.revision.as_str());
        info!(source = %state.name, objects, revision, "policies in force");
        state.in_force = Some(InForce { set, since: now });
        state.trouble = None;
        return;
    }
    for (key, other) in &names {
        error!(source = %state.name, kind = key.kind.name(), name = key.name, %other, "policies refused: another source generates the same object");
    }
    state.trouble = Some(Trouble::Taken { set, names });
}

/// Objects of `set` that other sources' sets in force generate too.
fn taken(states: &[State], source: usize, set: &PolicySet) -> Vec<(Key, SourceName)> {
    let mut names = Vec::new();
    for (_, other) in states.iter().enumerate().filter(|(index, _)| *index != source) {
        let theirs = other.keys();
        let both = set.desired.iter().map(|desired| &desired.key).filter(|key| theirs.contains(key));
        names.extend(both.map(|key| (key.clone(), other.name.clone())));
    }
    names
}

fn log(source: &SourceName, problems: &Problems) {
    for problem in problems.iter().take(PROBLEMS_LOGGED) {
        let Problem { rule, severity, message, help, place, path, document, related: _ } = problem;
        warn!(
            %source,
            rule = rule.code(),
            severity = severity.name(),
            file = place.file,
            line = place.line,
            column = place.column,
            document,
            path,
            message,
            help,
            "policy problem"
        );
    }
    if problems.len() > PROBLEMS_LOGGED {
        let more = problems.len() - PROBLEMS_LOGGED;
        warn!(%source, more, "more policy problems: holdfast check shows them all");
    }
}
