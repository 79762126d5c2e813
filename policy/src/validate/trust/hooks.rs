//! Hooks of trusted sources, where an administrator says in which namespaces hooks may run.

use std::collections::BTreeMap;

use crate::model::hooks::BackupHook;
use crate::model::select::{HookSelect, Patterns, Select};
use crate::model::{BackupPolicySpec, RestorePolicySpec};
use crate::parse::{Findings, Path, RawDocument};
use crate::problem::Rule;
use crate::validate::{Documents, Typed, glob};

pub(super) fn check(allowed: &[String], documents: &Documents, findings: &mut Findings<'_>) {
    for document in &documents.backup_policies {
        backups(document, allowed, findings);
    }
    for document in &documents.restore_policies {
        restores(document, allowed, findings);
    }
}

fn backups(document: &Typed<BackupPolicySpec>, allowed: &[String], findings: &mut Findings<'_>) {
    let Typed { raw, metadata: _, spec } = document;
    let root = Path::spec();
    let mut entries = Vec::new();
    for (index, entry) in spec.schedules.iter().enumerate() {
        entries.push((root.key("schedules").index(index), entry.select.as_ref(), entry.hooks.as_ref()));
    }
    for (index, entry) in spec.backups.iter().enumerate() {
        entries.push((root.key("backups").index(index), entry.select.as_ref(), entry.hooks.as_ref()));
    }
    let mut place = Place { raw, allowed, findings };
    let nothing_said = Select::default();
    let of_policy = spec.select.as_ref().unwrap_or(&nothing_said);
    for (at, select, hooks) in &entries {
        let select = select.unwrap_or(of_policy);
        let (hooks, at) = match hooks {
            Some(hooks) => (Some(*hooks), at),
            None => (spec.hooks.as_ref(), &root),
        };
        for (index, BackupHook { name, select: pods, .. }) in hooks.into_iter().flatten().enumerate() {
            place.hook(name, pods, &select.namespaces.include, &at.key("hooks").index(index));
        }
    }
}

fn restores(document: &Typed<RestorePolicySpec>, allowed: &[String], findings: &mut Findings<'_>) {
    let Typed { raw, metadata: _, spec } = document;
    let mut place = Place { raw, allowed, findings };
    for (index, hook) in spec.hooks.iter().enumerate() {
        let at = Path::spec().key("hooks").index(index);
        let pods = HookSelect {
            namespaces: Patterns {
                include: targets(&hook.select.namespaces.include, &spec.remap.namespaces),
                ..hook.select.namespaces.clone()
            },
            ..hook.select.clone()
        };
        place.hook(&hook.name, &pods, &targets(&spec.select.namespaces.include, &spec.remap.namespaces), &at);
    }
}

/// Where a restore puts what comes from these namespaces: that is where its hooks run.
fn targets(include: &[String], remap: &BTreeMap<String, String>) -> Vec<String> {
    let mut targets = Vec::new();
    for pattern in include {
        match remap.get(pattern) {
            Some(target) => targets.push(target.clone()),
            None => targets.push(pattern.clone()),
        }
        let matching = remap.iter().filter(|(from, _)| *from != pattern && glob::covers(pattern, from));
        targets.extend(matching.map(|(_, to)| to.clone()));
    }
    targets
}

struct Place<'p, 'f> {
    raw: &'p RawDocument,
    allowed: &'p [String],
    findings: &'p mut Findings<'f>,
}

impl Place<'_, '_> {
    /// Reports the first namespace in which the hook would run and may not.
    fn hook(&mut self, name: &str, pods: &HookSelect, selected: &[String], at: &Path) {
        let own = &pods.namespaces.include;
        let everywhere = ["*".to_owned()];
        let (namespaces, path) = match (own.as_slice(), selected) {
            ([], []) => (everywhere.as_slice(), at.key("name")),
            ([], selected) => (selected, at.key("name")),
            (own, _) => (own, at.key("select").key("namespaces").key("include")),
        };
        let is_allowed = |pattern: &String| self.allowed.iter().any(|allowed| glob::covers(allowed, pattern));
        let Some(position) = namespaces.iter().position(|pattern| !is_allowed(pattern)) else { return };
        let refused = &namespaces[position];
        let path = if own.is_empty() { path } else { path.index(position) };
        let message = if refused == "*" {
            format!("hook `{name}` would run in every namespace: hooks are not allowed in all of them")
        } else {
            format!("hook `{name}` would run in {refused:?}: hooks are not allowed there")
        };
        let help = match self.allowed {
            [] => "hooks are allowed nowhere (--allow-hooks-in)".to_owned(),
            allowed => format!(
                "name the namespaces in the hook's `select`; hooks are allowed in {} (--allow-hooks-in)",
                allowed.join(", ")
            ),
        };
        self.findings.add(self.raw, &path, Rule::HookNamespace, message).help = Some(help);
    }
}
