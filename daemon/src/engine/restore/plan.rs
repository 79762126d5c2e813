//! The plan of a restore, as a value: every object of the archive with what will happen to it, in order.
//!
//! In: the archive's index with a first look into each object ([`Entry`]), the selection, the namespace mapping and
//! what the target serves. Out: [`Plan`]: namespaces first, then waves of one kind each, and a decision per object.
//! What only the cluster can tell (exists, differs, is refused) is left to the run.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::priorities;
use super::selection::{Filtered, Selection};
use super::webhooks::ServicePlace;
use crate::engine::select::{DEFINITIONS, NAMESPACES};

/// One object of the archive and what a first look into it told.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Entry<'a> {
    pub(crate) group_resource: &'a str,
    /// In the backup; none for cluster-scoped objects.
    pub(crate) namespace: Option<&'a str>,
    pub(crate) name: &'a str,
    pub(crate) api_version: &'a str,
    pub(crate) kind: &'a str,
    /// What the restore's selectors and its policy say of its labels, kind and name.
    pub(crate) details: Result<(), Filtered>,
    pub(crate) at_rest: Option<AtRest>,
}

/// What an object says of itself that keeps it from being restored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AtRest {
    /// A pod that ended, or a job that completed.
    Completed,
    /// The API server's image of a pod that a kubelet runs from a file.
    MirrorPod,
}

/// What the target cluster knows.
pub(crate) struct Target<'a> {
    /// The full group resource of a name, if the cluster knows it.
    pub(crate) resolve: &'a dyn Fn(&str) -> Option<String>,
    /// Whether objects of this apiVersion and kind can be created.
    pub(crate) serves: &'a dyn Fn(&str, &str) -> bool,
}

/// Everything that a restore will do, in order.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) namespaces: Vec<TargetNamespace>,
    pub(crate) waves: Vec<Wave>,
    /// Whether any namespace of the backup passed the restore's list, where it has one.
    pub(crate) namespaces_found: bool,
}

/// A namespace that must be there before the objects in it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct TargetNamespace {
    pub(crate) name: String,
    /// The namespace of the backup that it is made after; the first one where several map to it.
    pub(crate) source: String,
    /// Position of its object in the archive's index, if the archive has it.
    pub(crate) position: Option<usize>,
}

/// Objects of one kind, all restored at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wave {
    pub(crate) group_resource: String,
    pub(crate) steps: Vec<Step>,
    /// Services of webhooks that must answer before the next wave.
    pub(crate) awaits: Vec<ServicePlace>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Step {
    /// Position in the archive's index.
    pub(crate) position: usize,
    pub(crate) decision: Decision,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Decision {
    Create,
    Skip(Skip),
    Filtered(Filtered),
    /// The cluster doesn't serve the kind in this version, nor does a CRD of the plan bring it.
    NotServed,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Skip {
    /// A pod that ended, or a job that completed; in no list.
    Completed,
    /// A mirror pod; listed as skipped.
    MirrorPod,
    /// Another object of that name, from another namespace of the backup, goes to the same place.
    SamePlaceAs { position: usize },
    /// A record of moved snapshot data; never an object of its own.
    DataUpload,
}

/// Makes the plan. Positions in it are those of `entries`.
pub(crate) fn plan(
    entries: &[Entry<'_>],
    selection: &Selection,
    mapping: &BTreeMap<String, String>,
    target: &Target<'_>,
) -> Plan {
    let selected: Vec<Result<(), Filtered>> = entries.iter().map(|entry| select(entry, selection)).collect();
    let crds: BTreeSet<&str> = entries
        .iter()
        .zip(&selected)
        .filter(|(entry, selected)| entry.group_resource == DEFINITIONS && selected.is_ok())
        .map(|(entry, _)| entry.name)
        .collect();
    let clashes = clashes(entries, &selected, mapping);
    let mut by_kind: BTreeMap<&str, Vec<Step>> = BTreeMap::new();
    for (position, (entry, selected)) in entries.iter().zip(&selected).enumerate() {
        let served = || (target.serves)(entry.api_version, entry.kind) || crds.contains(entry.group_resource);
        let decision = match (*selected, entry.at_rest, clashes.get(&position)) {
            (Err(filtered), _, _) => Decision::Filtered(filtered),
            (Ok(()), Some(AtRest::Completed), _) => Decision::Skip(Skip::Completed),
            (Ok(()), Some(AtRest::MirrorPod), _) => Decision::Skip(Skip::MirrorPod),
            (Ok(()), None, _) if entry.group_resource == "datauploads.velero.io" => {
                Decision::Skip(Skip::DataUpload)
            }
            (Ok(()), None, Some(&first)) => Decision::Skip(Skip::SamePlaceAs { position: first }),
            (Ok(()), None, None) if served() => Decision::Create,
            (Ok(()), None, None) => Decision::NotServed,
        };
        by_kind.entry(entry.group_resource).or_default().push(Step { position, decision });
    }
    let kinds = by_kind.keys().map(|kind| (*kind).to_owned()).collect();
    let order = priorities::order(&kinds, |name| {
        if name == "customresourcedefinitions" {
            return DEFINITIONS.to_owned();
        }
        (target.resolve)(name).unwrap_or_else(|| name.to_owned())
    });
    let waves = order
        .into_iter()
        .map(|group_resource| {
            let steps = by_kind.remove(group_resource.as_str()).unwrap_or_default();
            Wave { group_resource, steps, awaits: Vec::new() }
        })
        .collect();
    Plan {
        namespaces: namespaces(entries, &selected, mapping),
        waves,
        namespaces_found: entries.iter().any(|entry| {
            entry
                .namespace
                .or((entry.group_resource == NAMESPACES).then_some(entry.name))
                .is_some_and(|namespace| selection.namespaces.includes(namespace))
        }),
    }
}

/// The namespace that objects of a namespace of the backup go to.
pub(crate) fn target_namespace<'a>(mapping: &'a BTreeMap<String, String>, source: &'a str) -> &'a str {
    mapping.get(source).map_or(source, String::as_str)
}

fn select(entry: &Entry<'_>, selection: &Selection) -> Result<(), Filtered> {
    selection.takes_place(entry.group_resource, entry.namespace, entry.name)?;
    entry.details
}

/// Objects that a mapping of several namespaces to one puts in the place of an earlier object.
fn clashes(
    entries: &[Entry<'_>],
    selected: &[Result<(), Filtered>],
    mapping: &BTreeMap<String, String>,
) -> HashMap<usize, usize> {
    let mut sources: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for namespace in entries.iter().filter_map(|entry| entry.namespace) {
        sources.entry(target_namespace(mapping, namespace)).or_default().insert(namespace);
    }
    let mut first: HashMap<(&str, &str, &str), usize> = HashMap::new();
    let mut clashes = HashMap::new();
    for (position, (entry, selected)) in entries.iter().zip(selected).enumerate() {
        let Some(namespace) = entry.namespace.filter(|_| selected.is_ok() && entry.at_rest.is_none()) else {
            continue;
        };
        let target = target_namespace(mapping, namespace);
        if sources.get(target).is_some_and(|sources| sources.len() > 1) {
            let holder = *first.entry((entry.group_resource, target, entry.name)).or_insert(position);
            if holder != position {
                clashes.insert(position, holder);
            }
        }
    }
    clashes
}

fn namespaces(
    entries: &[Entry<'_>],
    selected: &[Result<(), Filtered>],
    mapping: &BTreeMap<String, String>,
) -> Vec<TargetNamespace> {
    let mut sources = BTreeSet::new();
    let mut objects = BTreeMap::new();
    for (position, (entry, selected)) in entries.iter().zip(selected).enumerate() {
        if entry.group_resource == NAMESPACES {
            objects.insert(entry.name, position);
        }
        if selected.is_ok() {
            sources.extend(entry.namespace);
            sources.extend((entry.group_resource == NAMESPACES).then_some(entry.name));
        }
    }
    let mut targets: BTreeMap<&str, &str> = BTreeMap::new();
    for source in sources {
        targets.entry(target_namespace(mapping, source)).or_insert(source);
    }
    targets
        .into_iter()
        .map(|(name, source)| TargetNamespace {
            name: name.to_owned(),
            source: source.to_owned(),
            position: objects.get(source).copied(),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use pretty_assertions::assert_eq;

    use super::super::selection::{Details, NameFilter};
    use super::*;

    fn entry<'a>(group_resource: &'a str, place: &'a str) -> Entry<'a> {
        let (namespace, name) = match place.split_once('/') {
            Some((namespace, name)) => (Some(namespace), name),
            None => (None, place),
        };
        Entry {
            group_resource,
            namespace,
            name,
            api_version: "v1",
            kind: "Any",
            details: Ok(()),
            at_rest: None,
        }
    }

    fn everything() -> Selection {
        Selection {
            resources: NameFilter::new(&[], &[]),
            namespaces: NameFilter::new(&[], &[]),
            cluster_scope: None.into(),
            details: Details::default(),
        }
    }

    fn planned(entries: &[Entry<'_>], selection: &Selection, mapping: &[(&str, &str)]) -> Plan {
        let mapping =
            mapping.iter().map(|(source, target)| ((*source).to_owned(), (*target).to_owned())).collect();
        let target = Target { resolve: &|_| None, serves: &|api_version, _| api_version != "gone/v1" };
        plan(entries, selection, &mapping, &target)
    }

    fn decisions(plan: &Plan, group_resource: &str) -> Vec<Decision> {
        let wave = plan.waves.iter().find(|wave| wave.group_resource == group_resource).unwrap();
        wave.steps.iter().map(|step| step.decision).collect()
    }

    #[test]
    fn kinds_come_in_their_order_and_every_object_has_a_decision() {
        let entries = [
            entry("deployments.apps", "shop/web"),
            entry("configmaps", "shop/a"),
            entry("configmaps", "shop/b"),
        ];
        let plan = planned(&entries, &everything(), &[]);
        let create = |position| Step { position, decision: Decision::Create };
        let wave = |kind: &str, steps| Wave { group_resource: kind.to_owned(), steps, awaits: vec![] };
        assert_eq!(
            plan.waves,
            [wave("configmaps", vec![create(1), create(2)]), wave("deployments.apps", vec![create(0)]),]
        );
    }

    #[test]
    fn several_namespaces_are_remapped_at_once_and_made_after_their_sources() {
        let entries = [
            entry("namespaces", "shop"),
            entry("namespaces", "blog"),
            entry("configmaps", "shop/a"),
            entry("configmaps", "blog/a"),
            entry("configmaps", "other/a"),
        ];
        let plan = planned(&entries, &everything(), &[("shop", "shop-r"), ("blog", "blog-r")]);
        let namespace = |name: &str, source: &str, position| TargetNamespace {
            name: name.to_owned(),
            source: source.to_owned(),
            position,
        };
        assert_eq!(
            plan.namespaces,
            [
                namespace("blog-r", "blog", Some(1)),
                namespace("other", "other", None),
                namespace("shop-r", "shop", Some(0)),
            ]
        );
    }

    #[test]
    fn objects_that_meet_in_one_place_are_restored_once() {
        let entries =
            [entry("configmaps", "a/same"), entry("configmaps", "b/same"), entry("configmaps", "b/own")];
        let plan = planned(&entries, &everything(), &[("a", "one"), ("b", "one")]);
        assert_eq!(
            decisions(&plan, "configmaps"),
            [Decision::Create, Decision::Skip(Skip::SamePlaceAs { position: 0 }), Decision::Create]
        );
        let swapped = planned(&entries, &everything(), &[("a", "b"), ("b", "a")]);
        assert_eq!(decisions(&swapped, "configmaps"), [Decision::Create; 3]);
    }

    #[test]
    fn included_namespaces_come_along_empty_and_others_do_not() {
        let entries =
            [entry("namespaces", "empty"), entry("namespaces", "other"), entry("configmaps", "other/a")];
        let selection = Selection { namespaces: NameFilter::new(&["em*".to_owned()], &[]), ..everything() };
        let plan = planned(&entries, &selection, &[]);
        assert_eq!(
            plan.namespaces,
            [TargetNamespace { name: "empty".to_owned(), source: "empty".to_owned(), position: Some(0) }]
        );
        assert_eq!(decisions(&plan, "configmaps"), [Decision::Filtered(Filtered::Namespace)]);
        assert!(plan.namespaces_found);
    }

    #[test]
    fn a_list_of_namespaces_that_the_backup_lacks_is_noticed() {
        let selection =
            Selection { namespaces: NameFilter::new(&["absent*".to_owned()], &[]), ..everything() };
        let plan = planned(&[entry("configmaps", "shop/a")], &selection, &[]);
        assert!(!plan.namespaces_found);
        assert_eq!(plan.namespaces, []);
    }

    #[test]
    fn what_ended_is_skipped_and_what_is_not_selected_is_filtered_first() {
        let completed = Entry { at_rest: Some(AtRest::Completed), ..entry("pods", "shop/done") };
        let mirror = Entry { at_rest: Some(AtRest::MirrorPod), ..entry("pods", "shop/mirror") };
        let unlabelled = Entry { details: Err(Filtered::Labels), ..completed };
        let plan = planned(&[completed, mirror, unlabelled], &everything(), &[]);
        assert_eq!(
            decisions(&plan, "pods"),
            [
                Decision::Skip(Skip::Completed),
                Decision::Skip(Skip::MirrorPod),
                Decision::Filtered(Filtered::Labels),
            ]
        );
    }

    #[test]
    fn a_kind_that_nobody_serves_is_told_apart_from_one_that_a_crd_of_the_plan_brings() {
        let gone = |group_resource, place| Entry { api_version: "gone/v1", ..entry(group_resource, place) };
        let entries =
            [gone("ships.gone", "port/a"), gone("boats.gone", "port/b"), entry(DEFINITIONS, "boats.gone")];
        let plan = planned(&entries, &everything(), &[]);
        assert_eq!(decisions(&plan, "ships.gone"), [Decision::NotServed]);
        assert_eq!(decisions(&plan, "boats.gone"), [Decision::Create]);
        let names: Vec<&str> = plan.waves.iter().map(|wave| wave.group_resource.as_str()).collect();
        assert_eq!(names, [DEFINITIONS, "boats.gone", "ships.gone"]);
    }
}
