//! Restore policies: where from, where to, and who agrees.

use std::collections::{BTreeSet, HashMap};

use chrono::{DateTime, Utc};
use sha2::{Digest, Sha256};

use super::names::Generated;
use super::set::ValidRestore;
use super::{Documents, Typed, glob, hooks, labels, modifiers, select};
use crate::model::restore::{Approval, ExistingResourcePolicy};
use crate::model::{BackupPolicySpec, DefaultsSpec, Kind, RestorePolicySpec};
use crate::parse::{Findings, Mark, Path, RawDocument};
use crate::problem::{Rule, suggest};

pub(super) fn validate<'a>(
    document: &'a Typed<RestorePolicySpec>,
    documents: &Documents,
    defaults: &DefaultsSpec,
    generated: &mut Generated<'a>,
    findings: &mut Findings<'_>,
) -> ValidRestore {
    let Typed { raw, metadata, spec } = document;
    let root = Path::spec();
    let name_path = Path::root().key("metadata").key("name");
    labels::check(&metadata.labels, &Path::root().key("metadata").key("labels"), raw, findings);
    select::restore(&spec.select, &root.key("select"), raw, findings);
    hooks::restore(&spec.hooks, &root.key("hooks"), raw, findings);
    modifiers::check(&spec.modifiers, &root.key("modifiers"), raw, findings);
    if !spec.modifiers.is_empty() && spec.modifiers_ref.is_some() {
        let message = "`modifiers` and `modifiersRef` exclude each other";
        findings.add(raw, &root.key("modifiersRef"), Rule::Exclusive, message);
    }
    if let Some(status) = &spec.restore_status {
        let at = root.key("restoreStatus");
        select::resources(status, &at, raw, findings);
        if status.include.is_empty() && !status.exclude.is_empty() {
            let message = "`exclude` means nothing here: with an empty `include` no status is restored";
            findings.add(raw, &at.key("exclude"), Rule::Glob, message).help =
                Some("include: [\"*\"] takes all".to_owned());
        }
    }
    if spec.existing_resource_policy == Some(ExistingResourcePolicy::Update)
        && spec.approval == Some(Approval::Automatic)
    {
        let message = "existingResourcePolicy: Update always needs approval";
        findings.add(raw, &root.key("approval"), Rule::RestoreApproval, message).help =
            Some("write approval: Manual".to_owned());
    }
    for (index, cluster) in spec.clusters.iter().enumerate() {
        if cluster.is_empty() || cluster.contains(['*', '?']) {
            let message = format!("{cluster:?} is not the name of a cluster; there are no globs here");
            findings.add(raw, &root.key("clusters").index(index), Rule::WrongValue, message);
        }
    }
    remap(document, findings);
    let name = format!("{}-{}", metadata.name, short_hash(&spec.run));
    generated.claim("Restore", &name, raw, &name_path, findings);
    ValidRestore {
        policy: metadata.name.clone(),
        name,
        labels: labels::own(&metadata.labels),
        spec: spec.clone(),
        schedule: source(document, documents, findings),
        not_after: spec.not_after.as_deref().and_then(|text| text.parse::<DateTime<Utc>>().ok()),
        item_operation_timeout: spec.item_operation_timeout.or(defaults.item_operation_timeout),
    }
}

/// The first 8 hex digits of a text's hash.
fn short_hash(text: &str) -> String {
    Sha256::digest(text).iter().take(4).map(|byte| format!("{byte:02x}")).collect()
}

/// The Schedule whose latest backup is restored.
fn source(
    document: &Typed<RestorePolicySpec>,
    documents: &Documents,
    findings: &mut Findings<'_>,
) -> Option<String> {
    let Typed { raw, metadata: _, spec } = document;
    let at = Path::spec().key("from");
    match (&spec.from.backup, &spec.from.policy, &spec.from.schedule) {
        (Some(_), None, None) => {
            if spec.from.location.is_some() {
                let message = "`location` goes with `policy` and `schedule`: a backup has one location";
                findings.add(raw, &at.key("location"), Rule::RestoreSource, message);
            }
            None
        }
        (None, Some(policy), Some(schedule)) => {
            let declared = documents.backup_policies.iter().find(|other| &other.metadata.name == policy);
            match declared {
                Some(declared) => schedule_name(document, declared, schedule, findings),
                None => {
                    if !documents.declares(Kind::BackupPolicy, policy) {
                        let message = format!("no document declares the BackupPolicy `{policy}`");
                        findings.add(raw, &at.key("policy"), Rule::UndeclaredPolicy, message);
                    }
                    let suffix = spec.from.location.as_ref().map(|location| format!("-{location}"));
                    Some(format!("{policy}-{schedule}{}", suffix.unwrap_or_default()))
                }
            }
        }
        (backup, policy, schedule) => {
            let message = match (backup, policy, schedule) {
                (None, None, None) => "`from` names no backup",
                (None, Some(_), None) => "`from.policy` needs `from.schedule`",
                (None, None, Some(_)) => "`from.schedule` needs `from.policy`",
                (Some(_), _, _) | (None, Some(_), Some(_)) => {
                    "`from.backup` excludes `from.policy` and `from.schedule`"
                }
            };
            findings.add(raw, &at, Rule::RestoreSource, message).help =
                Some("write from: {backup: NAME}, or from: {policy: NAME, schedule: NAME}".to_owned());
            None
        }
    }
}

fn schedule_name(
    document: &Typed<RestorePolicySpec>,
    policy: &Typed<BackupPolicySpec>,
    schedule: &str,
    findings: &mut Findings<'_>,
) -> Option<String> {
    let at = Path::spec().key("from");
    let entries = &policy.spec.schedules;
    let Some(entry) = entries.iter().find(|entry| entry.name == schedule) else {
        if policy.raw.is_incomplete() {
            return None;
        }
        let nearest = suggest::nearest(schedule, entries.iter().map(|entry| entry.name.as_str()));
        let name = &policy.metadata.name;
        let message = match nearest {
            Some(nearest) => {
                format!("policy `{name}` has no schedule `{schedule}`: did you mean `{nearest}`?")
            }
            None => format!("policy `{name}` has no schedule `{schedule}`"),
        };
        findings.add(&document.raw, &at.key("schedule"), Rule::RestoreSource, message);
        return None;
    };
    let base = entry.schedule_name.clone().unwrap_or_else(|| format!("{}-{schedule}", policy.metadata.name));
    let several = if entry.location.is_some() { None } else { policy.spec.locations.as_ref() };
    match (several, &document.spec.from.location) {
        (None, None) => Some(base),
        (Some(locations), Some(location)) if locations.contains(location) => {
            Some(format!("{base}-{location}"))
        }
        (Some(locations), Some(location)) => {
            let message = format!("the policy doesn't write to `{location}`");
            findings.add(&document.raw, &at.key("location"), Rule::RestoreSource, message).help =
                Some(format!("it writes to {}", locations.join(", ")));
            None
        }
        (Some(locations), None) => {
            let message = "the policy writes to several locations: `from.location` has to name one";
            findings.add(&document.raw, &at, Rule::RestoreSource, message).help =
                Some(format!("it writes to {}", locations.join(", ")));
            None
        }
        (None, Some(_)) => {
            let message =
                "the schedule writes to one location: `from.location` is for policies with `locations`";
            findings.add(&document.raw, &at.key("location"), Rule::RestoreSource, message);
            None
        }
    }
}

fn remap(document: &Typed<RestorePolicySpec>, findings: &mut Findings<'_>) {
    let Typed { raw, metadata: _, spec } = document;
    let at = Path::spec().key("remap").key("namespaces");
    let include = &spec.select.namespaces.include;
    for (from, to) in &spec.remap.namespaces {
        let entry = at.entry(from);
        for (name, mark) in [(from, Mark::Key), (to, Mark::Value)] {
            let wrong = match glob::namespace(name) {
                Err(reason) => Some(format!("{name:?} {reason}")),
                Ok(()) if name.contains(['*', '?', '[']) => {
                    Some(format!("{name:?} is a glob: remap takes names only"))
                }
                Ok(()) => None,
            };
            if let Some(message) = wrong {
                findings.add_marked(raw, &entry, mark, Rule::Glob, message);
            }
        }
        let restored = include.is_empty() || include.iter().any(|pattern| glob::covers(pattern, from));
        let excluded = spec.select.namespaces.exclude.iter().any(|pattern| glob::covers(pattern, from));
        if !restored || excluded {
            let message = format!("namespace `{from}` is not restored, so that remapping it means nothing");
            findings.add_marked(raw, &entry, Mark::Key, Rule::RemapUnused, message).help =
                Some("what is restored and not remapped goes into the namespace it came from".to_owned());
        }
    }
}

/// A namespace, or a glob of namespaces, that a restore writes to.
struct Target<'a> {
    pattern: String,
    document: &'a Typed<RestorePolicySpec>,
}

/// Reports restores that go into one namespace of one cluster.
pub(super) fn targets(documents: &Documents, findings: &mut Findings<'_>) {
    let mut names: HashMap<(&str, String), &RawDocument> = HashMap::new();
    let mut globs: HashMap<&str, Vec<Target<'_>>> = HashMap::new();
    let mut all: HashMap<&str, Vec<Target<'_>>> = HashMap::new();
    for document in &documents.restore_policies {
        let patterns = target_patterns(&document.spec);
        let clash = document.spec.clusters.iter().find_map(|cluster| {
            patterns.iter().find_map(|pattern| {
                let other = if is_glob(pattern) {
                    find(all.get(cluster.as_str()), pattern)
                } else {
                    let same = names.get(&(cluster.as_str(), pattern.clone())).copied();
                    same.or_else(|| find(globs.get(cluster.as_str()), pattern))
                };
                other.map(|other| (cluster, pattern, other))
            })
        });
        if let Some((cluster, pattern, other)) = clash {
            let at = Path::root().key("metadata").key("name");
            let related =
                findings.related_path(other, &at, format!("{} restores into it too", findings.title(other)));
            let what = if is_glob(pattern) { "namespaces" } else { "the namespace" };
            let message = format!("two restores go into {what} `{pattern}` of cluster `{cluster}`");
            let problem = findings.add(&document.raw, &at, Rule::RestoreTarget, message);
            problem.related.push(related);
            problem.help =
                Some("remap one of them, select other namespaces, or remove the one that is done".to_owned());
            continue;
        }
        for cluster in &document.spec.clusters {
            for pattern in &patterns {
                if is_glob(pattern) {
                    globs.entry(cluster).or_default().push(Target { pattern: pattern.clone(), document });
                } else {
                    names.insert((cluster, pattern.clone()), &document.raw);
                }
                all.entry(cluster).or_default().push(Target { pattern: pattern.clone(), document });
            }
        }
    }
}

fn find<'a>(targets: Option<&Vec<Target<'a>>>, pattern: &str) -> Option<&'a RawDocument> {
    let start = literal_start(pattern);
    targets?
        .iter()
        .find(|target| {
            let other = literal_start(&target.pattern);
            (start.starts_with(other) || other.starts_with(start))
                && glob::overlap(&target.pattern, pattern)
                && {
                    let excluded = &target.document.spec.select.namespaces.exclude;
                    !(is_glob(&target.pattern) && excluded.iter().any(|other| glob::covers(other, pattern)))
                }
        })
        .map(|target| &target.document.raw)
}

fn literal_start(pattern: &str) -> &str {
    &pattern[..pattern.find(['*', '?', '[']).unwrap_or(pattern.len())]
}

fn is_glob(pattern: &str) -> bool {
    pattern.contains(['*', '?', '['])
}

fn target_patterns(spec: &RestorePolicySpec) -> BTreeSet<String> {
    let everything = vec!["*".to_owned()];
    let include = &spec.select.namespaces.include;
    let include = if include.is_empty() { &everything } else { include };
    let mapped = |name: &String| spec.remap.namespaces.get(name).unwrap_or(name).clone();
    let mut targets: BTreeSet<String> = include.iter().map(mapped).collect();
    for (from, to) in &spec.remap.namespaces {
        if include.iter().any(|pattern| is_glob(pattern) && glob::covers(pattern, from)) {
            targets.insert(to.clone());
        }
    }
    targets
}
