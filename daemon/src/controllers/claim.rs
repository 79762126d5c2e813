//! Whose a run in progress is.
//!
//! A run carries the annotation `holdfast.dev/run-owner`: who holds the lease, and the epoch of that lease. Only runs
//! that Holdfast claimed are taken up again after a restart; one without a claim is somebody else's (Velero's), and is
//! left alone.

use std::collections::BTreeMap;
use std::fmt;

/// The annotation that names a run's owner, as `<holder>/<epoch>`.
pub const RUN_OWNER: &str = "holdfast.dev/run-owner";

/// A holder of the lease in one of its epochs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    pub holder: String,
    pub epoch: u64,
}

/// Whose a run is, seen from the current holder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Owner {
    /// Ours, or left behind by a holder of an earlier epoch.
    Us,
    /// It has no claim, or one that can't be read.
    Foreign,
    /// A later holder: the lease is no longer ours.
    Successor(Claim),
}

impl Claim {
    pub fn put_into(&self, annotations: &mut Option<BTreeMap<String, String>>) {
        annotations.get_or_insert_default().insert(RUN_OWNER.to_owned(), self.to_string());
    }

    pub fn owner_of(&self, annotations: Option<&BTreeMap<String, String>>) -> Owner {
        let claim =
            annotations.and_then(|annotations| annotations.get(RUN_OWNER)).and_then(|text| parse(text));
        match claim {
            None => Owner::Foreign,
            Some(claim) if claim.epoch > self.epoch => Owner::Successor(claim),
            Some(_) => Owner::Us,
        }
    }
}

impl fmt::Display for Claim {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.holder, self.epoch)
    }
}

fn parse(text: &str) -> Option<Claim> {
    let (holder, epoch) = text.rsplit_once('/')?;
    Some(Claim { holder: holder.to_owned(), epoch: epoch.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claim_is_read_back_and_compared_by_epoch() {
        let us = Claim { holder: "holdfast-7d9f/a".to_owned(), epoch: 4 };
        let owner =
            |claim: &str| us.owner_of(Some(&BTreeMap::from([(RUN_OWNER.to_owned(), claim.to_owned())])));
        assert_eq!(owner("holdfast-7d9f/a/4"), Owner::Us);
        assert_eq!(owner("holdfast-old/3"), Owner::Us);
        assert_eq!(owner("next/5"), Owner::Successor(Claim { holder: "next".to_owned(), epoch: 5 }));
        assert_eq!(owner("no epoch"), Owner::Foreign);
        assert_eq!(us.owner_of(None), Owner::Foreign);

        let mut annotations = None;
        us.put_into(&mut annotations);
        assert_eq!(us.owner_of(annotations.as_ref()), Owner::Us);
    }
}
