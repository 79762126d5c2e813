//! Copies of an item in other versions than the one that the source cluster preferred. They are kept only for who chooses
//! among them.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{EntryProblem, Index, IndexedItem, ProblemReason};

/// What the folders of versions hold beside the items.
#[derive(Debug, Default)]
pub struct Twins {
    /// For each group resource that names one.
    pub(super) preferred: BTreeMap<Arc<str>, Arc<str>>,
    pub(super) copies: Vec<Twin>,
}

/// One item in another version.
#[derive(Debug)]
pub(super) struct Twin {
    pub(super) version: Arc<str>,
    pub(super) item: IndexedItem,
}

/// The versions that an archive has of one group resource.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StoredVersions<'a> {
    /// By the word of the source cluster.
    pub preferred: &'a str,
    pub others: Vec<&'a str>,
}

impl Twins {
    /// Of every group resource of which there is more than one.
    pub fn versions(&self) -> BTreeMap<&str, StoredVersions<'_>> {
        let mut versions: BTreeMap<&str, StoredVersions<'_>> = BTreeMap::new();
        for Twin { version, item } in &self.copies {
            let Some(preferred) = self.preferred.get(&item.group_resource) else { continue };
            let stored = versions.entry(&item.group_resource).or_default();
            stored.preferred = preferred;
            if !stored.others.contains(&version.as_ref()) {
                stored.others.push(version);
            }
        }
        versions
    }
}

impl Index {
    /// Lets the copies of these versions, by group resource, stand for the items. One that has no such copy becomes a problem.
    pub fn take_versions(&mut self, chosen: &BTreeMap<String, String>) {
        let twins = std::mem::take(&mut self.twins);
        let mut copies: BTreeMap<(&str, Option<&str>, &str), (u64, u32)> = BTreeMap::new();
        for Twin { version, item } in &twins.copies {
            if chosen.get(&*item.group_resource).is_some_and(|wanted| **wanted == **version) {
                copies.entry(item.identity()).or_insert((item.offset, item.len));
            }
        }
        let mut problems = Vec::new();
        self.items.retain_mut(|item| {
            let Some(version) = chosen.get(&*item.group_resource) else { return true };
            if let Some(copy) = copies.get(&item.identity()) {
                (item.offset, item.len) = *copy;
                return true;
            }
            problems.push(EntryProblem {
                entry: item.entry(Some(version)),
                reason: ProblemReason::Missing("copy in this version"),
            });
            false
        });
        self.problems.extend(problems);
    }
}

impl IndexedItem {
    /// The name of its entry, in the folder of a version or in none.
    pub fn entry(&self, version: Option<&str>) -> String {
        let Self { group_resource, namespace, name, offset: _, len: _ } = self;
        let folder = version.map(|version| format!("{version}/")).unwrap_or_default();
        match namespace {
            Some(namespace) => {
                format!("resources/{group_resource}/{folder}namespaces/{namespace}/{name}.json")
            }
            None => format!("resources/{group_resource}/{folder}cluster/{name}.json"),
        }
    }
}
