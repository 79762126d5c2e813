//! What a restore would do, object by object: the plan of its run as a value that people and programs read.
//!
//! In: a run that is ready to begin. Out: [`Preview`]. Nothing is created: the plan is that of the run itself, and where
//! the API server is asked, it is asked for dry runs only.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

use futures::StreamExt as _;
use futures::stream;
use serde::Deserialize;

use super::fate::Fate;
use super::namespaces::Standing;
use super::plan::{Decision, Plan, Skip, Step};
use super::run::Run;
use super::selection::Filtered;
use crate::archive;
use crate::engine::run_log::{Finished, Message, Place};
use crate::engine::select::{DEFINITIONS, NAMESPACES};

/// How closely a dry run looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// What is decided before any object is sent: the plan, and what item actions and modifiers have to say to it.
    Plan,
    /// The API server is asked about each object that would be created.
    Server,
}

/// Everything that a restore would do, in its order.
#[derive(Debug, Clone, PartialEq)]
pub struct Preview {
    pub namespaces: Vec<PlannedNamespace>,
    /// All objects of the archive but the namespaces that are made.
    pub objects: Vec<PlannedObject>,
    /// What the run would have in its results beside its objects.
    pub notes: Vec<String>,
}

/// A namespace that objects go to.
#[derive(Debug, Clone, PartialEq)]
pub struct PlannedNamespace {
    pub name: String,
    /// The namespace of the backup that it is made after.
    pub source: String,
    pub standing: Standing,
}

#[derive(Debug, Clone, PartialEq)]
pub struct PlannedObject {
    pub group_resource: String,
    /// In the backup.
    pub namespace: Option<String>,
    pub name: String,
    /// The namespace that it goes to.
    pub target: Option<String>,
    pub fate: Fate,
}

/// What a run does with the objects of its plan.
#[derive(Debug)]
pub(crate) enum Hand {
    Restores,
    Looks(Findings),
}

/// What a look at the API server told.
#[derive(Debug)]
pub(crate) struct Findings {
    pub(crate) depth: Depth,
    fates: Mutex<BTreeMap<usize, Fate>>,
    /// Target namespaces that are yet to be made.
    pub(crate) absent: BTreeSet<String>,
    /// Kinds that CRDs of the plan bring.
    pub(crate) brought: BTreeSet<String>,
}

impl Findings {
    pub(crate) fn note(&self, position: usize, fate: Fate) {
        self.fates.lock().unwrap_or_else(PoisonError::into_inner).insert(position, fate);
    }

    pub(crate) fn fails(&self, position: usize) -> bool {
        let fates = self.fates.lock().unwrap_or_else(PoisonError::into_inner);
        matches!(fates.get(&position), Some(Fate::Fails { .. }))
    }

    fn into_fates(self) -> BTreeMap<usize, Fate> {
        self.fates.into_inner().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Results are bounded where they are written; this is room for any.
const LARGEST_RESULTS: u64 = 64 * 1024 * 1024;
/// Enough for the API server to be busy, as in a run that creates.
const IN_FLIGHT: usize = 32;

impl Run {
    /// Looks at everything that the run would do. The run is not to be carried out afterwards.
    pub(crate) async fn look_ahead(&mut self, depth: Depth) -> Preview {
        let plan = self.ordered_plan().await;
        self.tell_what_was_planned(&plan);
        let mut namespaces = Vec::with_capacity(plan.namespaces.len());
        for namespace in &plan.namespaces {
            namespaces.push(PlannedNamespace {
                name: namespace.name.clone(),
                source: namespace.source.clone(),
                standing: self.standing(&namespace.name).await,
            });
        }
        let fates = self.look_at_all(&plan, &namespaces, depth).await;
        Preview { namespaces, objects: self.objects(&plan, fates), notes: Vec::new() }
    }

    async fn look_at_all(
        &mut self,
        plan: &Plan,
        namespaces: &[PlannedNamespace],
        depth: Depth,
    ) -> BTreeMap<usize, Fate> {
        let absent = namespaces.iter().filter(|namespace| namespace.standing != Standing::There);
        let definitions = plan.waves.iter().filter(|wave| wave.group_resource == DEFINITIONS);
        let created = |step: &&Step| step.decision == Decision::Create;
        self.hand = Hand::Looks(Findings {
            depth,
            fates: Mutex::default(),
            absent: absent.map(|namespace| namespace.name.clone()).collect(),
            brought: definitions
                .flat_map(|wave| wave.steps.iter().filter(created))
                .map(|step| self.index.items[step.position].name.to_string())
                .collect(),
        });
        let this = &*self;
        for wave in plan.waves.iter().filter(|wave| wave.group_resource != NAMESPACES) {
            let looks: Vec<_> =
                wave.steps.iter().filter(created).map(|step| this.restore(step.position)).collect();
            stream::iter(looks).buffer_unordered(IN_FLIGHT).collect::<()>().await;
        }
        match std::mem::replace(&mut self.hand, Hand::Restores) {
            Hand::Looks(findings) => findings.into_fates(),
            Hand::Restores => BTreeMap::new(),
        }
    }

    fn objects(&self, plan: &Plan, mut fates: BTreeMap<usize, Fate>) -> Vec<PlannedObject> {
        let mut objects = Vec::with_capacity(self.index.items.len());
        for wave in &plan.waves {
            for step in &wave.steps {
                // Namespaces that are made have a list of their own.
                if wave.group_resource == NAMESPACES && step.decision == Decision::Create {
                    continue;
                }
                let item = &self.index.items[step.position];
                let fate = fates.remove(&step.position).unwrap_or_else(|| self.fate(step.decision));
                objects.push(PlannedObject {
                    group_resource: item.group_resource.to_string(),
                    namespace: item.namespace.as_deref().map(str::to_owned),
                    name: item.name.to_string(),
                    target: self.target(item).map(str::to_owned),
                    fate,
                });
            }
        }
        objects
    }

    fn fate(&self, decision: Decision) -> Fate {
        match decision {
            Decision::Create => Fate::Create,
            Decision::NotServed => Fate::NotServed,
            Decision::Filtered(filtered) => Fate::Filtered {
                by: match filtered {
                    Filtered::Resource => "resources of the restore",
                    Filtered::Namespace => "namespaces of the restore",
                    Filtered::ClusterScope => "cluster resources of the restore",
                    Filtered::Labels => "labels of the restore",
                    Filtered::Policy => "resource policy of the restore",
                },
            },
            Decision::Skip(skip) => Fate::Skip {
                reason: match skip {
                    Skip::Completed => "it has completed".to_owned(),
                    Skip::MirrorPod => "a kubelet runs it from a file".to_owned(),
                    Skip::DataUpload => "it is a record of moved data".to_owned(),
                    Skip::SamePlaceAs { position } => {
                        format!("{} has its place", self.index.items[position])
                    }
                },
            },
        }
    }
}

/// The plan as the results of an annotated Restore have it; what would be an error is one of its errors.
pub(crate) fn tell(run: &Run, preview: &Preview) {
    for PlannedNamespace { name, source, standing } in &preview.namespaces {
        let after = if name == source { String::new() } else { format!(" after {source}") };
        run.log.plan(Place::Cluster, format!("{} namespaces/{name}{after}", standing.word()));
    }
    for object in &preview.objects {
        let PlannedObject { group_resource, namespace, name, target, fate } = object;
        let from = namespace.as_deref().filter(|source| Some(*source) != target.as_deref());
        let from = from.map(|source| format!(" from {source}")).unwrap_or_default();
        let mut line = format!("{} {group_resource}/{name}{from}", fate.word());
        if let Some(reason) = fate.reason() {
            line.push_str(&format!(": {reason}"));
        }
        let fields: Vec<String> = fate.fields().iter().map(ToString::to_string).collect();
        if !fields.is_empty() {
            line.push_str(&format!(": {}", fields.join("; ")));
        }
        let place = || Place::of(target.as_deref());
        if fate.is_error() {
            let message = Message::new(format!("would not restore {group_resource}/{name}"));
            run.log.error(place(), message.cause(&fate.reason().unwrap_or_else(|| fate.word())));
        }
        run.log.plan(place(), line);
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Told {
    errors: Headings,
    warnings: Headings,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Headings {
    velero: Vec<String>,
    cluster: Vec<String>,
    namespaces: BTreeMap<String, Vec<String>>,
}

/// What the run reported, a line each.
pub(crate) fn notes(finished: &Finished) -> Result<Vec<String>, archive::Error> {
    let told: Told = archive::gunzip_json(&finished.results_gz, LARGEST_RESULTS)?;
    let Told { errors, warnings } = told;
    let mut notes = Vec::new();
    for (level, Headings { velero, cluster, namespaces }) in [("error", errors), ("warning", warnings)] {
        notes.extend(velero.iter().chain(&cluster).map(|text| format!("{level}: {text}")));
        for (namespace, texts) in &namespaces {
            notes.extend(texts.iter().map(|text| format!("{level} in {namespace}: {text}")));
        }
    }
    Ok(notes)
}
