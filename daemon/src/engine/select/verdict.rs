//! What a backup would do with objects, told without making it. Takes the spec that a policy compiles to, what
//! the cluster serves and which namespaces it has; gives for an object why it is included, or the rule that
//! leaves it out. The filters are those by which backups choose. Left aside are failures at run time (a list
//! that fails, a hook) and objects that change meanwhile.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use holdfast_policy::velero::BackupSpec;

use super::resources::Shut;
use super::{
    DEFINITIONS, Direct, Error, Inclusion, List, NAMESPACES, NamespaceFacts, NamespaceObject, Object,
    Patterns, ResourceFilter, Rule, SNAPSHOT_CONTENTS, SNAPSHOTS, Selection, Verdict, are_twins,
    can_be_stored, complete_filters, plan,
};
use crate::actions::backup::{self as actions, Bindings, Context};
use crate::cluster::{Discovery, Item, Resource};

mod blocks;

/// The filters of one backup, ready to be asked about objects.
pub struct Judge<'a> {
    /// As the policy has it.
    spec: &'a BackupSpec,
    discovery: &'a Discovery,
    namespaces: BTreeMap<&'a str, &'a NamespaceFacts>,
    selection: Selection,
    /// The types that are collected.
    listed: BTreeSet<String>,
}

impl<'a> Judge<'a> {
    /// `namespaces` are all that exist: globs are resolved against them.
    pub fn new(
        spec: &'a BackupSpec,
        discovery: &'a Discovery,
        namespaces: &'a [NamespaceFacts],
    ) -> Result<Self, Error> {
        let mut completed = spec.clone();
        complete_filters(&mut completed, namespaces);
        let selection = Selection::new(&completed, discovery, namespaces)?;
        let listed =
            plan(discovery, &selection).iter().map(|listing| listing.resource.group_resource()).collect();
        let namespaces = namespaces.iter().map(|namespace| (namespace.name.as_str(), namespace)).collect();
        Ok(Self { spec, discovery, namespaces, selection, listed })
    }

    /// The verdict of the filters alone, whatever other objects there are.
    pub fn direct(&self, object: &Object) -> Verdict {
        let judged = if object.resource.group_resource() == NAMESPACES {
            self.namespace_object(object)
        } else {
            self.chosen(object).and_then(|why| in_its_own_words(&object.item).map(|()| why))
        };
        judged.map_or_else(Verdict::LeftOut, Verdict::Included)
    }

    /// The verdicts on all objects of a cluster, in their order, with everything that comes along.
    pub fn all(&self, objects: &[Object]) -> Vec<Verdict> {
        let mut verdicts: Vec<Verdict> = objects.iter().map(|object| self.direct(object)).collect();
        let custom: BTreeSet<String> = objects
            .iter()
            .zip(&verdicts)
            .filter(|(object, verdict)| verdict.is_included() && object.resource.group.contains('.'))
            .map(|(object, _)| object.resource.group_resource())
            .filter(|name| name != NAMESPACES)
            .collect();
        self.add_entered_namespaces(objects, &mut verdicts);
        self.add_definitions(&custom, objects, &mut verdicts);
        self.add_additional(objects, &mut verdicts);
        verdicts
    }

    fn namespace_object(&self, object: &Object) -> Result<Inclusion, Rule> {
        self.type_is_collected(&object.resource)?;
        in_its_own_words(&object.item)?;
        let name = object.item.name.as_str();
        let unknown = NamespaceFacts { name: name.to_owned(), labels: object.labels.clone(), active: true };
        let facts = self.namespaces.get(name).copied().unwrap_or(&unknown);
        match self.selection.namespace_object(facts) {
            NamespaceObject::Always => Ok(Inclusion::Chosen),
            NamespaceObject::WithItems => Err(Rule::NamespaceWithoutObjects),
            NamespaceObject::Never => Err(self.namespace_rule(name)),
        }
    }

    /// Whether a list of its type holds the object.
    fn chosen(&self, object: &Object) -> Result<Inclusion, Rule> {
        if let Some(namespace) = &object.item.namespace
            && !self.selection.namespaces.includes(namespace)
        {
            return Err(self.namespace_rule(namespace));
        }
        let why = self.type_is_collected(&object.resource)?;
        if !self.selection.labels.matches(&object.labels) {
            return Err(Rule::LabelSelector);
        }
        Ok(why)
    }

    fn namespace_rule(&self, namespace: &str) -> Rule {
        let excludes = |entry: &&String| Patterns::new([entry]).matches(namespace);
        if let Some(entry) = self.spec.excluded_namespaces.iter().find(excludes) {
            return Rule::NamespaceExcluded { namespace: namespace.into(), entry: entry.clone() };
        }
        if self.namespaces.get(namespace).is_some_and(|facts| facts.asks_to_be_left_out()) {
            return Rule::NamespaceLabelled { namespace: namespace.into() };
        }
        Rule::NamespaceNotIncluded { namespace: namespace.into() }
    }

    fn type_is_collected(&self, resource: &Resource) -> Result<Inclusion, Rule> {
        if !can_be_stored(resource) {
            return Err(Rule::CannotBeStored);
        }
        let why = match self.selection.resources.judge(resource) {
            Ok(Direct::Asked) => Inclusion::Chosen,
            Ok(Direct::WithTheCluster) => Inclusion::WithTheCluster,
            Ok(Direct::No) => return Err(Rule::TypeNotIncluded { list: self.list_for(resource) }),
            Err(shut) => return Err(self.type_rule(resource, shut)),
        };
        let name = resource.group_resource();
        if name == NAMESPACES || self.listed.contains(&name) {
            return Ok(why);
        }
        let twin = self
            .discovery
            .resources
            .iter()
            .find(|other| are_twins(other, resource) && self.listed.contains(&other.group_resource()));
        Err(match twin {
            Some(twin) => Rule::Twin { taken_as: twin.group_resource() },
            // The plan holds every other type that the filters choose and that can be stored.
            None => Rule::CannotBeStored,
        })
    }

    fn type_rule(&self, resource: &Resource, shut: Shut) -> Rule {
        let list = self.list_for(resource);
        match shut {
            Shut::NotIncluded => Rule::TypeNotIncluded { list },
            Shut::NoClusterScoped => Rule::NoClusterResources,
            Shut::SomeNamespaces => Rule::SomeNamespaces,
            Shut::SomeTypes => Rule::SomeTypes,
            Shut::Excluded => {
                let entries = match list {
                    List::Resources => &self.spec.excluded_resources,
                    List::NamespacedResources => &self.spec.excluded_namespace_scoped_resources,
                    List::ClusterResources => &self.spec.excluded_cluster_scoped_resources,
                };
                match ResourceFilter::entry_for(entries, resource, self.discovery) {
                    Some(entry) => Rule::TypeExcluded { list, entry: entry.to_owned() },
                    None if [SNAPSHOTS, SNAPSHOT_CONTENTS].contains(&resource.group_resource().as_str()) => {
                        Rule::ForeignSnapshot
                    }
                    None => Rule::TypeNotIncluded { list },
                }
            }
        }
    }

    fn list_for(&self, resource: &Resource) -> List {
        match resource.namespaced {
            _ if ResourceFilter::is_joint(self.spec) => List::Resources,
            true => List::NamespacedResources,
            false => List::ClusterResources,
        }
    }

    /// Namespace objects that come along once an object in them is listed, even one that then stays out.
    fn add_entered_namespaces(&self, objects: &[Object], verdicts: &mut [Verdict]) {
        let entered: BTreeSet<&str> = objects
            .iter()
            .filter(|object| self.chosen(object).is_ok())
            .filter_map(|object| object.item.namespace.as_deref())
            .collect();
        for (object, verdict) in objects.iter().zip(verdicts) {
            if *verdict == Verdict::LeftOut(Rule::NamespaceWithoutObjects)
                && entered.contains(object.item.name.as_str())
            {
                *verdict = Verdict::Included(Inclusion::WithItsObjects);
            }
        }
    }

    fn add_definitions(&self, custom: &BTreeSet<String>, objects: &[Object], verdicts: &mut [Verdict]) {
        let Some(definitions) = self.discovery.by_group_resource(DEFINITIONS) else { return };
        if !self.selection.wants_definitions(definitions) {
            return;
        }
        for (object, verdict) in objects.iter().zip(verdicts) {
            let wanted =
                object.resource.group_resource() == DEFINITIONS && custom.contains(&object.item.name);
            if wanted && !verdict.is_included() && in_its_own_words(&object.item).is_ok() {
                *verdict = Verdict::Included(Inclusion::DefinitionOf(object.item.name.clone()));
            }
        }
    }

    /// What actions bring along, and what those objects bring.
    fn add_additional(&self, objects: &[Object], verdicts: &mut [Verdict]) {
        let places: HashMap<_, usize> =
            objects.iter().enumerate().map(|(place, object)| (object.key(), place)).collect();
        let bindings = bindings_of(objects);
        let relations = blocks::relations_of(objects, self.spec);
        let included = |(place, verdict): (usize, &Verdict)| verdict.is_included().then_some(place);
        let mut open: Vec<usize> = verdicts.iter().enumerate().filter_map(included).collect();
        while let Some(place) = open.pop() {
            let object = &objects[place];
            let references = match additional(object, &bindings) {
                Ok(references) => references.into_iter().chain(blocks::block_of(object, &relations)),
                Err(action) => {
                    verdicts[place] = Verdict::LeftOut(Rule::Unreadable { action });
                    continue;
                }
            };
            for reference in references {
                let namespace = reference.namespace.as_deref();
                let key = (reference.group_resource.to_owned(), namespace, reference.name.as_str());
                let admitted = self
                    .discovery
                    .by_group_resource(reference.group_resource)
                    .is_some_and(|resource| self.selection.admit(resource, namespace).is_ok());
                if let Some(&wanted) = places.get(&key).filter(|_| admitted)
                    && !verdicts[wanted].is_included()
                    && in_its_own_words(&objects[wanted].item).is_ok()
                {
                    verdicts[wanted] = Verdict::Included(Inclusion::BroughtBy(object.to_string()));
                    open.push(wanted);
                }
            }
        }
    }
}

/// What an object says about itself keeps it out however it was found.
fn in_its_own_words(item: &Item) -> Result<(), Rule> {
    if item.excluded {
        return Err(Rule::Labelled);
    }
    if item.deleting { Err(Rule::Deleting) } else { Ok(()) }
}

fn bindings_of(objects: &[Object]) -> Bindings {
    let mut bindings = Bindings::default();
    for object in objects.iter().filter(|it| it.resource.group_resource() == Bindings::GROUP_RESOURCE) {
        // A binding that cannot be read binds nobody.
        drop(bindings.add(&object.item));
    }
    bindings
}

/// The objects that an object brings along; or the action that cannot read it.
fn additional(object: &Object, bindings: &Bindings) -> Result<Vec<actions::ItemReference>, &'static str> {
    let name = object.resource.group_resource();
    let mut references = Vec::new();
    for action in actions::all().iter().filter(|action| action.applies_to == name) {
        let outcome = (action.run)(&object.item, &Context { backup: "", bindings });
        references.extend(outcome.map_err(|_| action.name)?.additional);
    }
    Ok(references)
}

#[cfg(test)]
mod tests;
