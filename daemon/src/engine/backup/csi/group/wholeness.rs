//! A group is kept whole or not at all. Pure.

use std::collections::{BTreeMap, BTreeSet};

use super::super::Held;
use super::super::readiness::Readiness;

/// A claim that is held back with its part of a group.
struct Part<'a> {
    /// Of the group.
    uid: &'a str,
    claim: &'a str,
    /// Claims of the group.
    members: BTreeSet<&'a str>,
    is_ready: bool,
}

/// Where a claim of a group has no snapshot that can be used, no claim of the group has.
pub(in super::super) fn keep_whole(held: &[Held], judged: &mut [Readiness]) {
    let parts: Vec<Part<'_>> = held
        .iter()
        .zip(judged.iter())
        .filter_map(|(held, readiness)| {
            let group = held.group.as_ref()?;
            Some(Part {
                uid: &group.uid,
                claim: &held.item.name,
                members: group.members.keys().map(String::as_str).collect(),
                is_ready: *readiness == Readiness::Ready,
            })
        })
        .collect();
    let culprits = culprits(&parts);
    for (held, readiness) in held.iter().zip(judged) {
        let culprit = held.group.as_ref().and_then(|group| culprits.get(group.uid.as_str()));
        if let Some(claim) = culprit.filter(|_| *readiness == Readiness::Ready) {
            let reason =
                format!("that of claim {claim} of its volume group cannot, and a group is kept whole");
            *readiness = Readiness::Never { reason };
        }
    }
}

/// A claim of each group that is not whole, by the group's uid: one that is not ready, or one that nobody holds.
fn culprits<'a>(parts: &[Part<'a>]) -> BTreeMap<&'a str, &'a str> {
    let mut missing = BTreeMap::<&str, BTreeSet<&str>>::new();
    for part in parts {
        missing.entry(part.uid).or_insert_with(|| part.members.clone());
    }
    for part in parts.iter().filter(|part| part.is_ready) {
        missing.entry(part.uid).or_default().remove(part.claim);
    }
    missing.into_iter().filter_map(|(uid, claims)| Some((uid, *claims.first()?))).collect()
}

#[cfg(test)]
mod tests {
    use pretty_assertions::assert_eq;

    use super::*;

    #[test]
    fn a_claim_that_is_not_ready_or_not_there_breaks_its_group_and_no_other() {
        let part = |uid, claim, is_ready| Part { uid, claim, members: BTreeSet::from(["a", "b"]), is_ready };
        let whole = [part("one", "a", true), part("one", "b", true)];
        assert_eq!(culprits(&whole), BTreeMap::new());
        let [one_a, one_b] = whole;
        let parts = [one_a, part("two", "a", true), one_b, part("two", "b", false), part("three", "b", true)];
        assert_eq!(culprits(&parts), BTreeMap::from([("two", "b"), ("three", "a")]));
    }
}
