//! Whether a Restore can be run, and its spec completed: pure, everything that it says at once.
//!
//! In: the Restore and [`Facts`] of its namespace. Out: [`Validated`]: the spec as it is to be written back, with
//! every problem found, in Velero's order and words where Velero has them. Reading is left to the controller.

use std::collections::{BTreeMap, BTreeSet};

use holdfast_policy::velero;
use holdfast_policy::velero::labels::SCHEDULE_NAME;

use super::modifiers::Modifiers;
use super::policy;
use super::wishes::Wishes;
use crate::engine::backup::PolicySource;
use crate::engine::select::LabelFilter;

/// Never restored: they belong to the cluster, or tell of backups and restores.
pub const NON_RESTORABLE: [&str; 9] = [
    "nodes",
    "events",
    "events.events.k8s.io",
    "backups.velero.io",
    "restores.velero.io",
    "resticrepositories.velero.io",
    "csinodes.storage.k8s.io",
    "volumeattachments.storage.k8s.io",
    "backuprepositories.velero.io",
];

/// What is in the Restore's namespace.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    pub backups: &'a [velero::Backup],
    pub locations: &'a [velero::BackupStorageLocation],
    pub modifiers: ModifierSource<'a>,
    pub policy: &'a PolicySource,
}

/// The ConfigMap that `spec.resourceModifier` names.
#[derive(Debug, Clone, Copy)]
pub enum ModifierSource<'a> {
    /// None is named, or one of another kind, which means the same.
    NotNamed,
    Missing {
        name: &'a str,
    },
    Found {
        name: &'a str,
        data: &'a BTreeMap<String, String>,
    },
}

/// The outcome: `spec` is written back either way; the restore runs only without problems.
#[derive(Debug, Clone, PartialEq)]
pub struct Validated {
    pub spec: velero::RestoreSpec,
    pub problems: Vec<String>,
}

/// The name of the ConfigMap whose data [`ModifierSource`] is to give, if the Restore names one.
pub fn modifier_config_map(spec: &velero::RestoreSpec) -> Option<&str> {
    let reference = spec.resource_modifier.as_ref()?;
    reference.kind.eq_ignore_ascii_case("configmap").then_some(reference.name.as_str())
}

pub fn validate(restore: &velero::Restore, facts: Facts<'_>) -> Validated {
    let mut spec = restore.spec.clone();
    let mut problems = Vec::new();
    for name in NON_RESTORABLE {
        if !spec.excluded_resources.iter().any(|excluded| excluded == name) {
            spec.excluded_resources.push(name.to_owned());
        }
    }
    let restorable = |name: &&String| !NON_RESTORABLE.contains(&name.as_str());
    problems.extend(
        spec.included_resources
            .iter()
            .filter(|name| !restorable(name))
            .map(|name| format!("{name} are non-restorable resources")),
    );
    problems.extend(list_problems("resource", &spec.included_resources, &spec.excluded_resources));
    problems.extend(list_problems("namespace", &spec.included_namespaces, &spec.excluded_namespaces));
    if spec.label_selector.is_some() && !spec.or_label_selectors.is_empty() {
        problems.push(
            "encountered labelSelector as well as orLabelSelectors in restore spec, only one can be specified"
                .to_owned(),
        );
    }
    if let Err(error) = LabelFilter::new(spec.label_selector.as_ref(), &spec.or_label_selectors) {
        problems.push(error.to_string());
    }
    if spec.backup_name.is_some() == spec.schedule_name.is_some() {
        problems.push(
            "Either a backup or schedule must be specified as a source for the restore, but not both"
                .to_owned(),
        );
        return Validated { spec, problems };
    }
    problems.extend(crate::hooks::restore::problems(&spec.hooks));
    problems.extend(Wishes::of(restore).err().unwrap_or_default());
    if let Some(policy) = spec.existing_resource_policy.as_deref().filter(|policy| !known_policy(policy)) {
        problems.push(format!("existingResourcePolicy {policy:?} is neither none nor update"));
    }
    match source(&mut spec, facts) {
        Err(missing) => problems.extend(missing),
        Ok(()) => {
            problems.extend(policy::problems(&spec, facts.policy));
            problems.extend(modifier_problem(facts.modifiers));
        }
    }
    Validated { spec, problems }
}

fn known_policy(policy: &str) -> bool {
    matches!(policy, "none" | "update")
}

fn list_problems(what: &str, includes: &[String], excludes: &[String]) -> Vec<String> {
    let mut problems = Vec::new();
    if includes.len() > 1 && includes.iter().any(|name| name == "*") {
        problems.push("includes list must either contain '*' only, or a non-empty list of items".to_owned());
    }
    if excludes.iter().any(|name| name == "*") {
        problems.push("excludes list cannot contain '*'".to_owned());
    }
    let excludes: BTreeSet<&String> = excludes.iter().collect();
    problems.extend(
        includes
            .iter()
            .filter(|name| *name != "*" && excludes.contains(name))
            .map(|name| format!("excludes list cannot contain an item in the includes list: {name}")),
    );
    problems.into_iter().map(|problem| format!("Invalid included/excluded {what} lists: {problem}")).collect()
}

/// Finds the backup and its location, and writes the backup's name into a spec that names a schedule.
fn source(spec: &mut velero::RestoreSpec, facts: Facts<'_>) -> Result<(), Vec<String>> {
    if let Some(schedule) = spec.schedule_name.clone() {
        spec.backup_name = Some(newest_completed(&schedule, facts.backups)?);
    }
    let name = spec.backup_name.clone().unwrap_or_default();
    let backup = facts
        .backups
        .iter()
        .find(|backup| backup.metadata.name.as_deref() == Some(name.as_str()))
        .ok_or_else(|| vec![format!("Error retrieving backup: backup {name:?} not found")])?;
    let location_name = backup.spec.storage_location.as_deref().unwrap_or_default();
    let location = facts
        .locations
        .iter()
        .find(|location| location.metadata.name.as_deref() == Some(location_name))
        .ok_or_else(|| {
            vec![format!("Error retrieving backup: backup storage location {location_name:?} not found")]
        })?;
    if location.status.phase != Some(velero::LocationPhase::Available) {
        return Err(vec![format!(
            "the backup storage location {location_name} is unavailable, cannot retrieve the backup"
        )]);
    }
    if spec.schedule_name.is_none() {
        let labels = backup.metadata.labels.as_ref();
        spec.schedule_name =
            labels.and_then(|labels| labels.get(SCHEDULE_NAME)).filter(|name| !name.is_empty()).cloned();
    }
    Ok(())
}

fn newest_completed(schedule: &str, backups: &[velero::Backup]) -> Result<String, Vec<String>> {
    let of_schedule = |backup: &&velero::Backup| {
        let labels = backup.metadata.labels.as_ref();
        labels.and_then(|labels| labels.get(SCHEDULE_NAME)).is_some_and(|name| name == schedule)
    };
    let none_completed = || "No completed backups found for schedule".to_owned();
    let mut candidates = backups.iter().filter(of_schedule).peekable();
    if candidates.peek().is_none() {
        return Err(vec!["No backups found for schedule".to_owned(), none_completed()]);
    }
    candidates
        .filter(|backup| backup.status_phase() == velero::BackupPhase::Completed)
        .max_by_key(|backup| backup.status.start_timestamp.as_ref().map(|time| time.0))
        .and_then(|backup| backup.metadata.name.clone())
        .ok_or_else(|| vec![none_completed()])
}

fn modifier_problem(source: ModifierSource<'_>) -> Option<String> {
    match source {
        ModifierSource::NotNamed => None,
        ModifierSource::Missing { name } => Some(format!("resource modifiers: ConfigMap {name} not found")),
        ModifierSource::Found { name, data } => Modifiers::from_config_map(data)
            .err()
            .map(|error| format!("resource modifiers: ConfigMap {name} is invalid: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use pretty_assertions::assert_eq;
    use serde_json::{Value, json};

    use super::*;

    fn restore(spec: Value) -> velero::Restore {
        serde_json::from_value(json!({"metadata": {"name": "rs", "namespace": "velero"}, "spec": spec}))
            .unwrap()
    }

    fn backup(name: &str, started: &str, phase: &str) -> velero::Backup {
        serde_json::from_value(json!({
            "metadata": {"name": name, "labels": {SCHEDULE_NAME: "daily"}},
            "spec": {"storageLocation": "default"},
            "status": {"phase": phase, "startTimestamp": started},
        }))
        .unwrap()
    }

    fn location(phase: &str) -> velero::BackupStorageLocation {
        serde_json::from_value(json!({"metadata": {"name": "default"}, "status": {"phase": phase}})).unwrap()
    }

    fn validated(spec: Value) -> Validated {
        let backups = [
            backup("old", "2026-01-01T00:00:00Z", "Completed"),
            backup("gold", "2026-01-02T00:00:00Z", "Completed"),
            backup("broken", "2026-01-03T00:00:00Z", "PartiallyFailed"),
        ];
        let facts = Facts {
            backups: &backups,
            locations: &[location("Available")],
            modifiers: ModifierSource::NotNamed,
            policy: &PolicySource::NotNamed,
        };
        validate(&restore(spec), facts)
    }

    #[test]
    fn a_good_restore_only_gets_the_list_of_what_is_never_restored() {
        let found = validated(json!({"backupName": "gold", "excludedResources": ["secrets", "nodes"]}));
        assert_eq!(found.problems, [""; 0]);
        assert_eq!(found.spec.excluded_resources.len(), 10);
        assert_eq!(found.spec.excluded_resources[..3], ["secrets", "nodes", "events"]);
        assert_eq!(found.spec.schedule_name.as_deref(), Some("daily"));
    }

    #[test]
    fn all_problems_of_the_lists_are_told() {
        let found = validated(json!({
            "backupName": "gold",
            "includedResources": ["nodes", "*"],
            "excludedNamespaces": ["*", "shop"],
            "includedNamespaces": ["shop"],
            "labelSelector": {"matchLabels": {"a": "b"}},
            "orLabelSelectors": [{"matchLabels": {"a": "b"}}],
        }));
        assert_eq!(
            found.problems,
            [
                "nodes are non-restorable resources",
                "Invalid included/excluded resource lists: includes list must either contain '*' only, or a non-empty list of items",
                "Invalid included/excluded resource lists: excludes list cannot contain an item in the includes list: nodes",
                "Invalid included/excluded namespace lists: excludes list cannot contain '*'",
                "Invalid included/excluded namespace lists: excludes list cannot contain an item in the includes list: shop",
                "encountered labelSelector as well as orLabelSelectors in restore spec, only one can be specified",
            ]
        );
    }

    #[test]
    fn exactly_one_source_is_named_or_nothing_else_is_looked_at() {
        for spec in [json!({}), json!({"backupName": "gold", "scheduleName": "daily"})] {
            let mut spec = spec;
            spec["existingResourcePolicy"] = json!("perhaps");
            assert_eq!(
                validated(spec).problems,
                ["Either a backup or schedule must be specified as a source for the restore, but not both"]
            );
        }
    }

    #[test]
    fn a_schedule_gives_its_newest_completed_backup() {
        let found = validated(json!({"scheduleName": "daily"}));
        assert_eq!(found.problems, [""; 0]);
        assert_eq!(found.spec.backup_name.as_deref(), Some("gold"));
        assert_eq!(
            validated(json!({"scheduleName": "other"})).problems,
            ["No backups found for schedule", "No completed backups found for schedule"]
        );
    }

    #[test]
    fn backups_are_restored_whatever_their_phase() {
        assert_eq!(validated(json!({"backupName": "broken"})).problems, [""; 0]);
    }

    #[test]
    fn a_missing_backup_and_an_unavailable_location_are_told() {
        assert_eq!(
            validated(json!({"backupName": "absent"})).problems,
            ["Error retrieving backup: backup \"absent\" not found"]
        );
        let backups = [backup("gold", "2026-01-02T00:00:00Z", "Completed")];
        let locations = [location("Unavailable")];
        let facts = |locations| Facts {
            backups: &backups,
            locations,
            modifiers: ModifierSource::NotNamed,
            policy: &PolicySource::NotNamed,
        };
        let restore = restore(json!({"backupName": "gold"}));
        assert_eq!(
            validate(&restore, facts(&locations)).problems,
            ["the backup storage location default is unavailable, cannot retrieve the backup"]
        );
        assert_eq!(
            validate(&restore, facts(&[])).problems,
            ["Error retrieving backup: backup storage location \"default\" not found"]
        );
    }

    #[test]
    fn hooks_policies_and_existing_objects_are_looked_at_too() {
        let found = validated(json!({
            "backupName": "gold",
            "existingResourcePolicy": "perhaps",
            "hooks": {"resources": [{"name": "warm", "postHooks": [
                {"init": {"initContainers": [{"name": "x", "image": "y"}]}},
            ]}]},
            "resourcePolicy": {"kind": "Secret", "name": "filters"},
        }));
        assert_eq!(
            found.problems,
            [
                "invalid init container in restore hook \"warm\": command is required",
                "existingResourcePolicy \"perhaps\" is neither none nor update",
                "invalid restore resource policies: a policy is a ConfigMap, not a Secret",
            ]
        );
    }

    #[test]
    fn wrong_annotations_are_told() {
        let mut restore = restore(json!({"backupName": "gold"}));
        restore.metadata.annotations = Some([("holdfast.dev/owner-references", "keep")].map(owned).into());
        let backups = [backup("gold", "2026-01-02T00:00:00Z", "Completed")];
        let locations = [location("Available")];
        let facts = Facts {
            backups: &backups,
            locations: &locations,
            modifiers: ModifierSource::NotNamed,
            policy: &PolicySource::NotNamed,
        };
        assert_eq!(
            validate(&restore, facts).problems,
            ["annotation holdfast.dev/owner-references is \"keep\", not remap or drop"]
        );
    }

    fn owned((key, value): (&str, &str)) -> (String, String) {
        (key.to_owned(), value.to_owned())
    }

    #[test]
    fn a_wrong_modifier_is_found_before_anything_is_created() {
        let backups = [backup("gold", "2026-01-02T00:00:00Z", "Completed")];
        let locations = [location("Available")];
        let facts = |modifiers| Facts {
            backups: &backups,
            locations: &locations,
            modifiers,
            policy: &PolicySource::NotNamed,
        };
        let restore =
            restore(json!({"backupName": "gold", "resourceModifier": {"kind": "ConfigMap", "name": "mods"}}));
        assert_eq!(modifier_config_map(&restore.spec), Some("mods"));
        assert_eq!(
            validate(&restore, facts(ModifierSource::Missing { name: "mods" })).problems,
            ["resource modifiers: ConfigMap mods not found"]
        );
        let data = BTreeMap::from([("rules.yaml".to_owned(), "version: v2".to_owned())]);
        let found = validate(&restore, facts(ModifierSource::Found { name: "mods", data: &data }));
        assert_eq!(found.problems.len(), 1, "{:?}", found.problems);
    }
}
