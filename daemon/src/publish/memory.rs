//! What one source's publishing remembers between rounds.
//!
//! In: what `act` reports. Out: answers for `decide`. Only `ran` must outlive the process; who keeps it is not
//! decided here.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};

use super::conflict::FieldConflict;
use super::object::Key;

/// A refused object is tried again after this long even if nothing seems to have changed: the other manager may have
/// given the field up, which the metadata alone does not always tell.
const RETRY_REFUSED: TimeDelta = TimeDelta::seconds(60);

/// To see which ConfigMaps are referred to, all runs are listed.
const LOOK_FOR_REFERENCES: TimeDelta = TimeDelta::minutes(10);

#[derive(Debug, Default, Clone, PartialEq)]
pub struct Memory {
    /// Backups and Restores that were made once, whether or not they still exist.
    ran: BTreeSet<Key>,
    refused: BTreeMap<Key, Refusal>,
    unheld: BTreeMap<Key, Unheld>,
    references: Option<References>,
}

/// What was found when somebody looked which of these ConfigMaps are referred to.
#[derive(Debug, Clone, PartialEq)]
struct References {
    of: BTreeSet<String>,
    at: DateTime<Utc>,
}

#[derive(Debug, Clone, PartialEq)]
struct Refusal {
    content_hash: String,
    conflicts: Vec<FieldConflict>,
    at: DateTime<Utc>,
}

/// Fields that the API server did not count as ours right after it took them: it dropped them (an older CRD).
#[derive(Debug, Clone, PartialEq)]
struct Unheld {
    content_hash: String,
    fields: BTreeSet<String>,
}

impl Memory {
    pub fn remembering(ran: impl IntoIterator<Item = Key>) -> Memory {
        Memory { ran: ran.into_iter().collect(), ..Memory::default() }
    }

    pub fn ran(&self) -> &BTreeSet<Key> {
        &self.ran
    }

    pub fn note_ran(&mut self, key: Key) {
        self.ran.insert(key);
    }

    /// The API server took the object; `unowned` is what it then did not count as ours.
    pub fn note_applied(&mut self, key: &Key, content_hash: &str, unowned: Vec<String>) {
        self.refused.remove(key);
        if unowned.is_empty() {
            self.unheld.remove(key);
        } else {
            let fields = unowned.into_iter().collect();
            self.unheld.insert(key.clone(), Unheld { content_hash: content_hash.to_owned(), fields });
        }
    }

    pub fn note_refused(
        &mut self,
        key: &Key,
        content_hash: &str,
        conflicts: Vec<FieldConflict>,
        at: DateTime<Utc>,
    ) {
        let content_hash = content_hash.to_owned();
        self.refused.insert(key.clone(), Refusal { content_hash, conflicts, at });
    }

    /// Whether it is time to look which of these ConfigMaps are referred to: they are others than at the last look,
    /// something that may have referred to them changed, or the last look is long ago.
    pub fn references_are_due(&mut self, of: &BTreeSet<String>, now: DateTime<Utc>) -> bool {
        let known = self.references.as_ref();
        let fresh =
            known.is_some_and(|known| known.of == *of && (now - known.at).abs() < LOOK_FOR_REFERENCES);
        if of.is_empty() || fresh {
            return false;
        }
        self.references = Some(References { of: of.clone(), at: now });
        true
    }

    /// What refers to ConfigMaps is another than at the last look.
    pub fn references_changed(&mut self) {
        self.references = None;
    }

    pub fn forget(&mut self, key: &Key) {
        self.refused.remove(key);
        self.unheld.remove(key);
    }

    /// The conflicts that still stand against applying this content.
    pub fn standing_conflicts(
        &self,
        key: &Key,
        content_hash: &str,
        now: DateTime<Utc>,
    ) -> Option<&[FieldConflict]> {
        let refusal = self.refused.get(key)?;
        let stands = refusal.content_hash == content_hash && now < refusal.at + RETRY_REFUSED;
        stands.then_some(refusal.conflicts.as_slice())
    }

    /// When the earliest refusal is due to be tried again.
    pub fn next_retry(&self) -> Option<DateTime<Utc>> {
        self.refused.values().map(|refusal| refusal.at + RETRY_REFUSED).min()
    }

    /// Those of `unowned` that somebody took from us, rather than the API server never having kept them.
    pub fn drifted(&self, key: &Key, content_hash: &str, mut unowned: Vec<String>) -> Vec<String> {
        if let Some(unheld) = self.unheld.get(key).filter(|unheld| unheld.content_hash == content_hash) {
            unowned.retain(|field| !unheld.fields.contains(field));
        }
        unowned
    }
}
