//! Objects that others bring along: fetched unless they are in the backup already, and stored in front of them.

use futures::future::BoxFuture;
use futures::{StreamExt, stream};

use super::collect::Collector;
use super::items::{Admission, ItemError, Subject};
use crate::actions::backup::ItemReference;
use crate::cluster::Item;
use crate::engine::run_log::{Message, Place};

/// Additional objects of one object stored at once: snapshots of a pod's claims are waited for side by side.
const ADDITIONAL_AT_ONCE: usize = 8;

impl Collector<'_> {
    /// The object fails with the first of them that does; of the others that fail each is reported.
    pub(super) async fn store_all_additional(
        &self,
        subject: &Subject<'_>,
        item: &Item,
        references: Vec<ItemReference>,
        admission: Admission,
    ) -> Result<(), ItemError> {
        let storing = references.into_iter().map(|reference| self.store_additional(reference, admission));
        // Each to its end: one that was taken up is not taken up again.
        let stored: Vec<_> = stream::iter(storing).buffered(ADDITIONAL_AT_ONCE).collect().await;
        let mut failed = stored.into_iter().filter_map(Result::err);
        let Some(first) = failed.next() else { return Ok(()) };
        for error in failed {
            self.report(subject, &item.name, item.namespace.as_deref(), error).map_err(ItemError::Archive)?;
        }
        Err(first)
    }

    /// Boxed, because an additional object may have additional objects of its own.
    pub(super) fn store_additional(
        &self,
        reference: ItemReference,
        admission: Admission,
    ) -> BoxFuture<'_, Result<(), ItemError>> {
        Box::pin(async move {
            let ItemReference { group_resource, namespace, name } = reference;
            // What the cluster doesn't serve can't be part of the backup.
            let Some(resource) = self.discovery.by_group_resource(group_resource) else { return Ok(()) };
            let subject = Subject::new(resource);
            if self.ledger.has(subject.kind(), namespace.as_deref(), &name) {
                return Ok(());
            }
            if admission == Admission::ByFilters
                && let Err(refusal) = self.selection.admit(resource, namespace.as_deref())
            {
                self.log_refused(refusal, group_resource, &name, namespace.as_deref());
                return Ok(());
            }
            let fetched = self.cluster.get(resource, namespace.as_deref(), &name).await;
            let fetched =
                fetched.map_err(|source| ItemError::Fetch { group_resource, name: name.clone(), source })?;
            let Some(item) = fetched else {
                let message = Message::new("Additional item was not found in the cluster");
                let message = message.resource(group_resource).name(name);
                self.log.warning(Place::of(namespace.as_deref()), message);
                return Ok(());
            };
            match self.store(&subject, item, admission).await {
                Ok(_) => Ok(()),
                Err(ItemError::Archive(error)) => Err(ItemError::Archive(error)),
                Err(error) => Err(ItemError::Additional { group_resource, name, source: Box::new(error) }),
            }
        })
    }
}
