//! Backup policies: what each schedule and backup inherits, and whether that holds together.

use std::collections::{BTreeSet, HashMap};

use super::names::{self, Generated};
use super::reach::{self, Reported};
use super::set::{BackupContent, Origin, ValidBackup, ValidSchedule};
use super::{Documents, Typed, hooks, labels, schedule, select, volumes};
use crate::annotations::ScheduleRules;
use crate::duration::GoDuration;
use crate::model::hooks::BackupHook;
use crate::model::select::Select;
use crate::model::volumes::Volumes;
use crate::model::{BackupEntry, BackupPolicySpec, DefaultsSpec, Kind, Retention, ScheduleEntry};
use crate::parse::{Findings, Path};
use crate::problem::Rule;

/// How long backups stay where nothing says so: Velero's default.
pub(super) const DEFAULT_TTL: GoDuration = GoDuration::from_secs(720 * 3600);

/// A backup policy among the other documents.
pub(super) struct Policy<'a> {
    pub(super) document: &'a Typed<BackupPolicySpec>,
    pub(super) documents: &'a Documents,
    pub(super) defaults: &'a DefaultsSpec,
}

/// What a schedule or backup may say in the policy's stead.
struct Overrides<'o> {
    location: Option<&'o String>,
    select: Option<&'o Select>,
    volumes: Option<&'o Volumes>,
    hooks: Option<&'o Vec<BackupHook>>,
    ttl: Option<GoDuration>,
    labels: Option<&'o std::collections::BTreeMap<String, String>>,
}

impl<'a> Policy<'a> {
    pub(super) fn validate(
        &self,
        generated: &mut Generated<'a>,
        findings: &mut Findings<'_>,
    ) -> (Vec<ValidSchedule>, Vec<ValidBackup>) {
        let Typed { raw, metadata, spec } = self.document;
        let root = Path::spec();
        labels::check(&metadata.labels, &Path::root().key("metadata").key("labels"), raw, findings);
        self.shared(&root, &policy_overrides(spec), findings);
        self.locations(findings);
        if let Some(retention) = &spec.retention {
            reach::keeps_something(retention, &root.key("retention"), raw, findings);
        }
        if spec.schedules.is_empty() && spec.backups.is_empty() {
            let message = "this policy makes no backups: it has neither schedules nor backups";
            findings.add(raw, &root, Rule::NoBackups, message);
        }
        let mut reported = Reported::default();
        let mut seen = HashMap::new();
        let list = root.key("schedules");
        let mut schedules = Vec::new();
        for (index, entry) in spec.schedules.iter().enumerate() {
            let unique = names::first_of_its_name(&mut seen, &entry.name, index, &list, raw, findings);
            schedules.extend(self.schedule(
                entry,
                &list.index(index),
                unique,
                &mut reported,
                generated,
                findings,
            ));
        }
        let mut seen = HashMap::new();
        let list = root.key("backups");
        let mut backups = Vec::new();
        for (index, entry) in spec.backups.iter().enumerate() {
            let unique = names::first_of_its_name(&mut seen, &entry.name, index, &list, raw, findings);
            backups.extend(self.backup(entry, &list.index(index), unique, generated, findings));
        }
        (schedules, backups)
    }

    fn schedule(
        &self,
        entry: &ScheduleEntry,
        path: &Path,
        unique: bool,
        reported: &mut Reported,
        generated: &mut Generated<'a>,
        findings: &mut Findings<'_>,
    ) -> Vec<ValidSchedule> {
        let Typed { raw, metadata, spec } = self.document;
        let overrides = schedule_overrides(entry);
        self.shared(path, &overrides, findings);
        if let Some(labels) = &entry.labels {
            labels::check(labels, &path.key("labels"), raw, findings);
        }
        if let Some(retention) = &entry.retention {
            reach::keeps_something(retention, &path.key("retention"), raw, findings);
        }
        let places = self.places(&overrides);
        let named = |place: &Destination| match &entry.schedule_name {
            Some(name) => name.clone(),
            None => place.name(&metadata.name, &entry.name),
        };
        if unique {
            let at = path.key(if entry.schedule_name.is_some() { "scheduleName" } else { "name" });
            for place in &places {
                generated.claim("Schedule", &named(place), raw, &at, findings);
            }
        }
        let Some(cron) = schedule::times(entry, path, raw, findings) else { return Vec::new() };
        let retention = entry.retention.as_ref().or(spec.retention.as_ref());
        let ttl = self.ttl(&overrides);
        let place = reach::Place {
            raw,
            retention: if entry.retention.is_some() { path.clone() } else { Path::spec() }.key("retention"),
            ttl: self.ttl_path(entry, path),
        };
        if let Some(retention) = retention {
            reach::within_ttl(retention, ttl, &cron, &place, reported, findings);
        }
        reach::outlives_period(ttl, retention, &cron, &place, reported, findings);
        places
            .into_iter()
            .map(|place| ValidSchedule {
                origin: Origin { policy: metadata.name.clone(), entry: entry.name.clone() },
                name: named(&place),
                zone_given: entry.time_zone.is_some() || cron.names_zone(),
                cron: cron.clone(),
                suspend: entry.suspend.or(spec.suspend).unwrap_or(false),
                skip_immediately: entry.skip_immediately.unwrap_or(false),
                rules: rules(entry, retention),
                content: self.content(&overrides, place.location),
            })
            .collect()
    }

    fn backup(
        &self,
        entry: &BackupEntry,
        path: &Path,
        unique: bool,
        generated: &mut Generated<'a>,
        findings: &mut Findings<'_>,
    ) -> Vec<ValidBackup> {
        let Typed { raw, metadata, spec: _ } = self.document;
        let overrides = backup_overrides(entry);
        self.shared(path, &overrides, findings);
        if let Some(labels) = &entry.labels {
            labels::check(labels, &path.key("labels"), raw, findings);
        }
        let places = self.places(&overrides);
        let mut backups = Vec::new();
        for place in places {
            let name = place.name(&metadata.name, &entry.name);
            if unique {
                generated.claim("Backup", &name, raw, &path.key("name"), findings);
            }
            backups.push(ValidBackup {
                origin: Origin { policy: metadata.name.clone(), entry: entry.name.clone() },
                name,
                content: self.content(&overrides, place.location),
            });
        }
        backups
    }

    /// Checks what may stand in a policy, a schedule and a backup alike.
    fn shared(&self, path: &Path, overrides: &Overrides<'_>, findings: &mut Findings<'_>) {
        let raw = &self.document.raw;
        if let Some(wanted) = overrides.select {
            select::backup(wanted, &path.key("select"), raw, findings);
        }
        if let Some(wanted) = overrides.volumes {
            volumes::check(wanted, &path.key("volumes"), raw, self.documents, findings);
        }
        if let Some(wanted) = overrides.hooks {
            hooks::backup(wanted, &path.key("hooks"), raw, findings);
        }
        if let Some(location) = overrides.location {
            self.declared(location, &path.key("location"), findings);
        }
    }

    fn locations(&self, findings: &mut Findings<'_>) {
        let Typed { raw, metadata: _, spec } = self.document;
        let at = Path::spec().key("locations");
        let mut seen = BTreeSet::new();
        for (index, name) in spec.locations.iter().flatten().enumerate() {
            if seen.insert(name) {
                self.declared(name, &at.index(index), findings);
            } else {
                let message = format!("`{name}` stands twice in the list");
                findings.add(raw, &at.index(index), Rule::DuplicateName, message);
            }
        }
        if spec.location.is_some() && spec.locations.is_some() {
            findings.add(raw, &at, Rule::Exclusive, "`location` and `locations` exclude each other");
        }
    }

    fn declared(&self, location: &str, path: &Path, findings: &mut Findings<'_>) {
        if !self.documents.declares(Kind::StorageLocation, location) {
            let message = format!("no document declares the StorageLocation `{location}`");
            findings.add(&self.document.raw, path, Rule::UndeclaredLocation, message);
        }
    }

    /// Where the backups of an entry go: each place is one object.
    fn places(&self, overrides: &Overrides<'_>) -> Vec<Destination> {
        let spec = &self.document.spec;
        match (overrides.location, &spec.location, &spec.locations) {
            (Some(location), _, _) | (None, Some(location), _) => {
                vec![Destination::only(Some(location.clone()))]
            }
            (None, None, Some(locations)) => {
                let unique: BTreeSet<&String> = locations.iter().collect();
                unique.into_iter().map(|location| Destination::one_of_several(location)).collect()
            }
            (None, None, None) => vec![Destination::only(self.defaults.location.clone())],
        }
    }

    fn ttl(&self, overrides: &Overrides<'_>) -> GoDuration {
        overrides.ttl.or(self.document.spec.ttl).or(self.defaults.ttl).unwrap_or(DEFAULT_TTL)
    }

    fn ttl_path(&self, entry: &ScheduleEntry, path: &Path) -> Path {
        if entry.ttl.is_some() {
            path.key("ttl")
        } else if self.document.spec.ttl.is_some() {
            Path::spec().key("ttl")
        } else {
            path.key("cron")
        }
    }

    fn content(&self, overrides: &Overrides<'_>, location: Option<String>) -> BackupContent {
        let Typed { raw: _, metadata, spec } = self.document;
        BackupContent {
            labels: labels::own(overrides.labels.unwrap_or(&metadata.labels)),
            location,
            select: overrides.select.or(spec.select.as_ref()).cloned().unwrap_or_default(),
            volumes: overrides.volumes.or(spec.volumes.as_ref()).cloned().unwrap_or_default(),
            hooks: overrides.hooks.or(spec.hooks.as_ref()).cloned().unwrap_or_default(),
            item_operation_timeout: spec.item_operation_timeout.or(self.defaults.item_operation_timeout),
            ttl: self.ttl(overrides),
        }
    }
}

/// Where backups go, and what that adds to the name of what makes them.
struct Destination {
    location: Option<String>,
    suffix: Option<String>,
}

impl Destination {
    fn only(location: Option<String>) -> Destination {
        Destination { location, suffix: None }
    }

    fn one_of_several(location: &str) -> Destination {
        Destination { location: Some(location.to_owned()), suffix: Some(location.to_owned()) }
    }

    fn name(&self, policy: &str, entry: &str) -> String {
        match &self.suffix {
            None => format!("{policy}-{entry}"),
            Some(suffix) => format!("{policy}-{entry}-{suffix}"),
        }
    }
}

fn policy_overrides(spec: &BackupPolicySpec) -> Overrides<'_> {
    Overrides {
        location: spec.location.as_ref(),
        select: spec.select.as_ref(),
        volumes: spec.volumes.as_ref(),
        hooks: spec.hooks.as_ref(),
        ttl: spec.ttl,
        labels: None,
    }
}

fn schedule_overrides(entry: &ScheduleEntry) -> Overrides<'_> {
    Overrides {
        location: entry.location.as_ref(),
        select: entry.select.as_ref(),
        volumes: entry.volumes.as_ref(),
        hooks: entry.hooks.as_ref(),
        ttl: entry.ttl,
        labels: entry.labels.as_ref(),
    }
}

fn backup_overrides(entry: &BackupEntry) -> Overrides<'_> {
    Overrides {
        location: entry.location.as_ref(),
        select: entry.select.as_ref(),
        volumes: entry.volumes.as_ref(),
        hooks: entry.hooks.as_ref(),
        ttl: entry.ttl,
        labels: entry.labels.as_ref(),
    }
}

fn rules(entry: &ScheduleEntry, retention: Option<&Retention>) -> ScheduleRules {
    ScheduleRules {
        catch_up: entry.catch_up.unwrap_or_default(),
        concurrency_policy: entry.concurrency_policy.unwrap_or_default(),
        starting_deadline: entry.starting_deadline,
        max_runtime: entry.max_runtime,
        jitter: entry.jitter,
        retention: retention.cloned(),
    }
}
