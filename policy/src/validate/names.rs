//! Names: unique where they must be, and short enough for what is made of them.

use std::collections::HashMap;

use super::{Documents, Typed};
use crate::model::Kind;
use crate::parse::{Findings, Mark, Path, RawDocument};
use crate::problem::Rule;

/// Longest name of what is generated: a run adds 15 characters, and the sum must fit a label.
pub(super) const LONGEST: usize = 48;

pub(super) fn unique(documents: &Documents, findings: &mut Findings<'_>) {
    let Documents {
        defaults,
        storage_locations,
        snapshot_locations,
        backup_policies,
        restore_policies,
        mentioned: _,
    } = documents;
    if let [first, others @ ..] = defaults.as_slice() {
        for other in others {
            let related = findings.related_path(&first.raw, &Path::root().key("kind"), "first here");
            let message = "a source has one Defaults document at most";
            let problem =
                findings.add(&other.raw, &Path::root().key("kind"), Rule::DuplicateDocument, message);
            problem.related.push(related);
        }
    }
    unique_of(Kind::StorageLocation, storage_locations, findings);
    unique_of(Kind::SnapshotLocation, snapshot_locations, findings);
    unique_of(Kind::BackupPolicy, backup_policies, findings);
    unique_of(Kind::RestorePolicy, restore_policies, findings);
}

pub(super) fn unique_of<S>(kind: Kind, documents: &[Typed<S>], findings: &mut Findings<'_>) {
    let at = Path::root().key("metadata").key("name");
    let mut first: HashMap<&str, &RawDocument> = HashMap::new();
    for Typed { raw, metadata, spec: _ } in documents {
        if let Some(earlier) = first.get(metadata.name.as_str()) {
            let related = findings.related_path(earlier, &at, "first here");
            let message = format!("there are two {kind} documents called `{}`", metadata.name);
            findings.add(raw, &at, Rule::DuplicateDocument, message).related.push(related);
        } else {
            first.insert(&metadata.name, raw);
        }
    }
}

/// The objects that documents generate so far.
#[derive(Default)]
pub(super) struct Generated<'a> {
    objects: HashMap<(&'static str, String), (&'a RawDocument, Path)>,
}

impl<'a> Generated<'a> {
    /// Notes that the entry at a path generates an object.
    pub(super) fn claim(
        &mut self,
        kind: &'static str,
        name: &str,
        raw: &'a RawDocument,
        path: &Path,
        findings: &mut Findings<'_>,
    ) {
        if name.len() > LONGEST {
            let message = format!(
                "the {kind} would be called `{name}`: {} characters, and {LONGEST} are the most",
                name.len()
            );
            findings.add(raw, path, Rule::Name, message);
        }
        if let Some((other, other_path)) = self.objects.get(&(kind, name.to_owned())) {
            let related = findings.related_path(
                other,
                other_path,
                format!("{} generates it too", findings.title(other)),
            );
            let message = format!("two documents generate the {kind} `{name}`");
            findings.add(raw, path, Rule::SameObject, message).related.push(related);
        } else {
            self.objects.insert((kind, name.to_owned()), (raw, path.clone()));
        }
    }
}

/// Reports the second of two entries of one name; tells whether this one is the first.
pub(super) fn first_of_its_name<'a>(
    seen: &mut HashMap<&'a str, usize>,
    name: &'a str,
    index: usize,
    list: &Path,
    raw: &RawDocument,
    findings: &mut Findings<'_>,
) -> bool {
    match seen.get(name) {
        None => {
            seen.insert(name, index);
            true
        }
        Some(earlier) => {
            let related = findings.related_path(raw, &list.index(*earlier).key("name"), "first here");
            let message = format!("`{name}` stands twice in the list");
            let at = list.index(index).key("name");
            findings.add_marked(raw, &at, Mark::Value, Rule::DuplicateName, message).related.push(related);
            false
        }
    }
}
