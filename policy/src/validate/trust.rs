//! What the documents of a source may do. Whoever may edit a ConfigMap outside Holdfast's own namespace must not
//! become a backup administrator, and hooks run only where they are allowed.

mod hooks;

use super::{Documents, Typed};
use crate::model::select::{ClusterResources, Select};
use crate::model::volumes::Volumes;
use crate::model::{BackupPolicySpec, Kind};
use crate::parse::{Findings, Mark, Path, RawDocument};
use crate::problem::Rule;

/// What the documents of a source may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trust {
    /// A directory, or Holdfast's own namespace: everything, with hooks where they are allowed.
    Full(HooksIn),
    /// Backups of this namespace alone, without hooks.
    Namespace(String),
}

impl Default for Trust {
    fn default() -> Trust {
        Trust::Full(HooksIn::Everywhere)
    }
}

/// The namespaces in whose pods hooks may run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum HooksIn {
    #[default]
    Everywhere,
    /// Names and globs.
    Namespaces(Vec<String>),
}

pub(super) fn check(trust: &Trust, documents: &Documents, findings: &mut Findings<'_>) {
    match trust {
        Trust::Full(HooksIn::Everywhere) => {}
        Trust::Full(HooksIn::Namespaces(allowed)) => hooks::check(allowed, documents, findings),
        Trust::Namespace(namespace) => confine(namespace, documents, findings),
    }
}

fn confine(namespace: &str, documents: &Documents, findings: &mut Findings<'_>) {
    let Documents {
        defaults,
        storage_locations,
        snapshot_locations,
        backup_policies,
        restore_policies,
        mentioned: _,
    } = documents;
    defaults.iter().for_each(|document| refuse_kind(Kind::Defaults, &document.raw, findings));
    storage_locations.iter().for_each(|document| refuse_kind(Kind::StorageLocation, &document.raw, findings));
    snapshot_locations
        .iter()
        .for_each(|document| refuse_kind(Kind::SnapshotLocation, &document.raw, findings));
    restore_policies.iter().for_each(|document| refuse_kind(Kind::RestorePolicy, &document.raw, findings));
    for document in backup_policies {
        policy(document, namespace, findings);
    }
}

fn refuse_kind(kind: Kind, raw: &RawDocument, findings: &mut Findings<'_>) {
    let message = format!("a source outside Holdfast's namespace has no {kind}");
    findings.add(raw, &Path::root().key("kind"), Rule::Untrusted, message);
}

fn policy(document: &Typed<BackupPolicySpec>, namespace: &str, findings: &mut Findings<'_>) {
    let Typed { raw, metadata: _, spec } = document;
    let root = Path::spec();
    let mut places = vec![(root.clone(), spec.select.as_ref(), spec.volumes.as_ref(), spec.hooks.as_ref())];
    for (index, entry) in spec.schedules.iter().enumerate() {
        let at = root.key("schedules").index(index);
        places.push((at, entry.select.as_ref(), entry.volumes.as_ref(), entry.hooks.as_ref()));
    }
    for (index, entry) in spec.backups.iter().enumerate() {
        let at = root.key("backups").index(index);
        places.push((at, entry.select.as_ref(), entry.volumes.as_ref(), entry.hooks.as_ref()));
    }
    let uses_policy_select = spec.schedules.iter().any(|entry| entry.select.is_none())
        || spec.backups.iter().any(|entry| entry.select.is_none());
    if spec.select.is_none() && uses_policy_select {
        selects(&Select::default(), &root.key("select"), raw, namespace, findings);
    }
    for (path, select, volumes, hooks) in places {
        if let Some(select) = select {
            selects(select, &path.key("select"), raw, namespace, findings);
        }
        if let Some(Volumes { policy_ref: Some(_), .. }) = volumes {
            let message =
                "a source outside Holdfast's namespace names no ConfigMap there: write the rules inline";
            findings.add(raw, &path.key("volumes").key("policyRef"), Rule::Untrusted, message);
        }
        if hooks.is_some_and(|hooks| !hooks.is_empty()) {
            let message = "a source outside Holdfast's namespace has no hooks";
            findings.add_marked(raw, &path.key("hooks"), Mark::Key, Rule::Untrusted, message);
        }
    }
}

fn selects(select: &Select, path: &Path, raw: &RawDocument, namespace: &str, findings: &mut Findings<'_>) {
    if select.namespaces.include != [namespace] {
        let message = format!("this source may select its own namespace alone, `{namespace}`");
        let at = path.key("namespaces").key("include");
        findings.add(raw, &at, Rule::Untrusted, message).help =
            Some(format!("write select: {{namespaces: {{include: [{namespace}]}}}}"));
    }
    if select.include_cluster_resources == Some(ClusterResources::Always)
        || !select.cluster_resources.is_empty()
    {
        let key =
            if select.cluster_resources.is_empty() { "includeClusterResources" } else { "clusterResources" };
        let message = "a source outside Holdfast's namespace selects no cluster-scoped resources";
        findings.add_marked(raw, &path.key(key), Mark::Key, Rule::Untrusted, message);
    }
}
