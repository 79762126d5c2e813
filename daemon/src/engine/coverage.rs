//! What the backups of policies would hold of a cluster, and what none of them would. Pure: takes the objects that
//! policies compile to and those of the cluster, gives verdicts object by object, or the gaps of the whole.
//!
//! Whether the data in a volume is kept is the matter of [`volume_data`].

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use holdfast_policy::compile::Manifest;
use holdfast_policy::velero::{self, BackupSpec};

use crate::cluster::Discovery;
use crate::engine::select::{
    self, Judge, NAMESPACES, NamespaceFacts, Object, Rule, Verdict, can_be_stored, namespaces_of,
};

pub mod volume_data;

use volume_data::VolumeChoice;

/// The types of objects that stand for volumes.
const VOLUMES: [&str; 2] = ["persistentvolumeclaims", "persistentvolumes"];

/// What a policy chooses, and what it makes with that choice.
#[derive(Debug, Clone, PartialEq)]
pub struct Choice {
    pub policy: String,
    pub makes: Vec<Made>,
    /// Nothing but filters.
    filters: BackupSpec,
}

/// A Schedule or Backup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Made {
    pub name: String,
    pub how: How,
    /// What it says of volumes, where that is asked for.
    pub volumes: VolumeChoice,
}

/// When backups with a choice are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    BySchedule,
    /// None are made while the schedule is suspended.
    BySuspendedSchedule,
    Once,
}

/// Why one choice leaves something out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reason {
    /// Its place among the choices.
    pub choice: usize,
    pub rule: Rule,
}

/// What no policy covers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Gaps {
    pub objects: usize,
    pub covered: usize,
    /// For each choice, how many objects its backups would hold.
    pub held: Vec<usize>,
    pub namespaces: BTreeMap<String, NamespaceGap>,
    /// Claims and volumes that no policy covers.
    pub volumes: Vec<VolumeGap>,
    /// Kinds of objects outside namespaces that no policy covers, with their numbers.
    pub cluster_scoped: BTreeMap<String, usize>,
}

/// A namespace with something that no policy covers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamespaceGap {
    pub objects: usize,
    /// Kinds of objects that no policy covers, with their numbers. The Namespace object is not among them.
    pub left_out: BTreeMap<String, usize>,
    pub coverage: NamespaceCoverage,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NamespaceCoverage {
    /// Some of its objects are covered.
    InPart,
    /// It asks to be left out.
    AsItAsks,
    /// For each choice the rule that leaves most of it out.
    Not(Vec<Reason>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VolumeGap {
    /// As [`Object`] writes itself.
    pub object: String,
    /// It, or its namespace, asks to be left out.
    pub as_it_asks: bool,
    pub reasons: Vec<Reason>,
}

impl Choice {
    /// Whether backups with it are made at all.
    pub fn is_in_use(&self) -> bool {
        self.makes.iter().any(|made| made.how != How::BySuspendedSchedule)
    }

    /// A verdict on each of the objects, which are all of a cluster.
    pub fn verdicts(
        &self,
        discovery: &Discovery,
        namespaces: &[NamespaceFacts],
        objects: &[Object],
    ) -> Result<Vec<Verdict>, select::Error> {
        Ok(Judge::new(&self.filters, discovery, namespaces)?.all(objects))
    }
}

/// The choices of the policies that were compiled to these objects, in the order of policies and names.
pub fn choices(manifests: &[Manifest]) -> Result<Vec<Choice>, serde_json::Error> {
    let mut choices: Vec<Choice> = Vec::new();
    let locations = providers(manifests);
    for manifest in manifests {
        let (how, spec) = match manifest.kind.as_str() {
            "Schedule" => {
                let schedule: velero::Schedule = serde_json::from_value(manifest.value.clone())?;
                let how = if schedule.spec.paused { How::BySuspendedSchedule } else { How::BySchedule };
                (how, schedule.spec.template)
            }
            "Backup" => (How::Once, serde_json::from_value::<velero::Backup>(manifest.value.clone())?.spec),
            _ => continue,
        };
        let rules = spec.resource_policy.as_ref().map(|policy| policy.name.as_str());
        let rules = rules.map_or_else(Default::default, |name| config_map(manifests, name));
        let volumes = VolumeChoice {
            namespace: manifest.namespace.clone(),
            annotations: annotations(manifest),
            rules,
            locations: locations.clone(),
            ..VolumeChoice::of(&spec)
        };
        let made = Made { name: manifest.name.clone(), how, volumes };
        let filters = filters_of(spec);
        match choices.iter_mut().find(|known| known.policy == manifest.policy && known.filters == filters) {
            Some(known) => known.makes.push(made),
            None => choices.push(Choice { policy: manifest.policy.clone(), makes: vec![made], filters }),
        }
    }
    choices.sort_by(|one, other| one.policy.cmp(&other.policy));
    Ok(choices)
}

/// The choices of Schedules as they are in a cluster, whoever made them.
pub fn of_schedules(schedules: &[Arc<velero::Schedule>]) -> Vec<Choice> {
    let mut choices: Vec<Choice> = Vec::new();
    for schedule in schedules {
        let name = schedule.metadata.name.clone().unwrap_or_default();
        let how = if schedule.spec.paused { How::BySuspendedSchedule } else { How::BySchedule };
        let filters = filters_of(schedule.spec.template.clone());
        let made = Made { name: name.clone(), how, volumes: VolumeChoice::default() };
        match choices.iter_mut().find(|known| known.filters == filters) {
            Some(known) => known.makes.push(made),
            None => choices.push(Choice { policy: name, makes: vec![made], filters }),
        }
    }
    choices
}

/// Which a Schedule's backups have as well.
fn annotations(manifest: &Manifest) -> BTreeMap<String, String> {
    let annotations = manifest.value.pointer("/metadata/annotations").cloned();
    annotations.and_then(|annotations| serde_json::from_value(annotations).ok()).unwrap_or_default()
}

/// By name of the snapshot location.
fn providers(manifests: &[Manifest]) -> BTreeMap<String, String> {
    let locations = manifests.iter().filter(|manifest| manifest.kind == "VolumeSnapshotLocation");
    let provider =
        |manifest: &Manifest| manifest.value.pointer("/spec/provider")?.as_str().map(str::to_owned);
    locations.filter_map(|manifest| Some((manifest.name.clone(), provider(manifest)?))).collect()
}

/// The data of a ConfigMap that the policies make; empty where somebody else makes it.
fn config_map(manifests: &[Manifest], name: &str) -> BTreeMap<String, String> {
    let found = manifests.iter().find(|manifest| manifest.kind == "ConfigMap" && manifest.name == name);
    let data = found.and_then(|manifest| manifest.value.get("data")).cloned();
    data.and_then(|data| serde_json::from_value(data).ok()).unwrap_or_default()
}

fn filters_of(spec: BackupSpec) -> BackupSpec {
    BackupSpec {
        included_namespaces: spec.included_namespaces,
        excluded_namespaces: spec.excluded_namespaces,
        included_resources: spec.included_resources,
        excluded_resources: spec.excluded_resources,
        included_cluster_scoped_resources: spec.included_cluster_scoped_resources,
        excluded_cluster_scoped_resources: spec.excluded_cluster_scoped_resources,
        included_namespace_scoped_resources: spec.included_namespace_scoped_resources,
        excluded_namespace_scoped_resources: spec.excluded_namespace_scoped_resources,
        include_cluster_resources: spec.include_cluster_resources,
        label_selector: spec.label_selector,
        or_label_selectors: spec.or_label_selectors,
        ..BackupSpec::default()
    }
}

/// What none of the choices covers of these objects, which are all of a cluster. Objects that no backup could hold
/// are not counted.
pub fn gaps(choices: &[Choice], discovery: &Discovery, objects: &[Object]) -> Result<Gaps, select::Error> {
    let namespaces = namespaces_of(objects);
    let mut tally = Tally { covered: vec![false; objects.len()], ..Tally::default() };
    for (number, choice) in choices.iter().enumerate() {
        let verdicts = choice.verdicts(discovery, &namespaces, objects)?;
        tally.held.push(verdicts.iter().filter(|verdict| verdict.is_included()).count());
        for (place, (object, verdict)) in objects.iter().zip(verdicts).enumerate() {
            match verdict {
                Verdict::Included(_) => tally.covered[place] |= choice.is_in_use(),
                Verdict::LeftOut(rule) => tally.leave_out(object, place, Reason { choice: number, rule }),
            }
        }
    }
    Ok(tally.sum_up(objects, &namespaces))
}

/// How much of a namespace is covered.
#[derive(Default)]
struct Share {
    own_object: bool,
    objects: usize,
    left_out: BTreeMap<String, usize>,
}

impl Share {
    fn count(&mut self, object: &Object, covered: bool) {
        self.objects += 1;
        if !covered {
            *self.left_out.entry(object.resource.kind.clone()).or_default() += 1;
        }
    }
}

/// What the verdicts add up to while they come.
#[derive(Default)]
struct Tally {
    covered: Vec<bool>,
    held: Vec<usize>,
    /// For a namespace and a choice, how often each rule left an object out.
    rules: BTreeMap<(String, usize), BTreeMap<Rule, usize>>,
    /// For a claim or volume, by its place.
    volumes: BTreeMap<usize, Vec<Reason>>,
}

impl Tally {
    fn leave_out(&mut self, object: &Object, place: usize, reason: Reason) {
        let group_resource = object.resource.group_resource();
        let namespace = match &object.item.namespace {
            Some(namespace) => Some(namespace),
            None if group_resource == NAMESPACES => Some(&object.item.name),
            None => None,
        };
        if let Some(namespace) = namespace {
            let rules = self.rules.entry((namespace.clone(), reason.choice)).or_default();
            *rules.entry(reason.rule.clone()).or_default() += 1;
        }
        if VOLUMES.contains(&group_resource.as_str()) {
            self.volumes.entry(place).or_default().push(reason);
        }
    }

    fn sum_up(mut self, objects: &[Object], facts: &[NamespaceFacts]) -> Gaps {
        let asking: BTreeSet<&str> = facts
            .iter()
            .filter(|namespace| namespace.asks_to_be_left_out())
            .map(|namespace| namespace.name.as_str())
            .collect();
        let mut gaps = Gaps { held: std::mem::take(&mut self.held), ..Gaps::default() };
        let mut shares: BTreeMap<&str, Share> =
            facts.iter().map(|namespace| (namespace.name.as_str(), Share::default())).collect();
        let storable = objects.iter().enumerate().filter(|(_, object)| can_be_stored(&object.resource));
        for (place, object) in storable {
            let covered = self.covered[place];
            gaps.objects += 1;
            gaps.covered += usize::from(covered);
            let group_resource = object.resource.group_resource();
            match &object.item.namespace {
                Some(namespace) => shares.entry(namespace).or_default().count(object, covered),
                None if group_resource == NAMESPACES => {
                    shares.entry(&object.item.name).or_default().own_object |= covered;
                }
                None if covered => {}
                None => *gaps.cluster_scoped.entry(object.resource.kind.clone()).or_default() += 1,
            }
            if !covered && VOLUMES.contains(&group_resource.as_str()) {
                let reasons = self.volumes.remove(&place).unwrap_or_default();
                let in_asking = object.item.namespace.as_deref().is_some_and(|it| asking.contains(it));
                let as_it_asks = object.item.excluded || in_asking;
                gaps.volumes.push(VolumeGap { object: object.to_string(), as_it_asks, reasons });
            }
        }
        for (name, Share { own_object, objects, left_out }) in shares {
            let left: usize = left_out.values().sum();
            // An empty namespace is covered where its own object is.
            let covered = if objects == 0 { own_object } else { left < objects };
            let coverage = match covered {
                true if left == 0 => continue,
                true => NamespaceCoverage::InPart,
                false if asking.contains(name) => NamespaceCoverage::AsItAsks,
                false => NamespaceCoverage::Not(self.reasons(name, gaps.held.len())),
            };
            gaps.namespaces.insert(name.to_owned(), NamespaceGap { objects, left_out, coverage });
        }
        gaps
    }

    fn reasons(&mut self, namespace: &str, choices: usize) -> Vec<Reason> {
        let most = |choice: usize| {
            let rules = self.rules.remove(&(namespace.to_owned(), choice))?;
            let (rule, _) = rules.into_iter().max_by_key(|(_, times)| *times)?;
            Some(Reason { choice, rule })
        };
        (0..choices).filter_map(most).collect()
    }
}

impl Gaps {
    /// Whether every namespace and every volume is covered at least in part, or asks not to be.
    pub fn is_covered(&self) -> bool {
        let uncovered = |gap: &NamespaceGap| match gap.coverage {
            NamespaceCoverage::Not(_) => true,
            NamespaceCoverage::InPart | NamespaceCoverage::AsItAsks => false,
        };
        !self.namespaces.values().any(uncovered) && self.volumes.iter().all(|volume| volume.as_it_asks)
    }

    /// Without namespaces that need no backup, and what is in them.
    pub fn ignoring(mut self, ignored: &select::Patterns) -> Self {
        self.namespaces.retain(|name, _| !ignored.matches(name));
        self.volumes.retain(|volume| {
            let mut parts = volume.object.split('/');
            let namespace = if parts.clone().count() == 3 { parts.nth(1) } else { None };
            !namespace.is_some_and(|namespace| ignored.matches(namespace))
        });
        self
    }
}

#[cfg(test)]
mod tests;
