//! Data that no snapshot needs any more.

use rustic_core::PruneOptions;

use super::error::Cause;
use super::{Error, Repository};

/// When unused data is deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deletion {
    /// Nobody writes to the repository, nor begins to.
    Now,
    /// Somebody may be writing who counts on data that is about to go: it is marked, and deleted by a later pass, which is
    /// at least 23 hours after this one and takes back what came into use again.
    Marked,
}

impl Repository {
    pub async fn prune(&self, deletion: Deletion) -> Result<(), Error> {
        self.open_with(move |opened| {
            let failed = |error| Error::Prune(Cause::from(error));
            let options = PruneOptions::default();
            let options = match deletion {
                Deletion::Now => options.instant_delete(true),
                Deletion::Marked => options,
            };
            let plan = opened.prune_plan(&options).map_err(failed)?;
            opened.prune(&options, plan).map_err(failed)
        })
        .await
    }
}
