//! What publishing would do, without doing it.
//!
//! In: the desired objects of a source and a cluster. Out: one [`Change`] per object that would change or that stands
//! in the way. Differences come from the API server itself, as dry runs of what would be applied.

use std::collections::BTreeMap;
use std::sync::Arc;

use kube::api::{Api, DynamicObject, Patch, PatchParams};
use serde_json::Value;

use super::bucket::Verdict;
use super::conflict::{self, FieldConflict};
use super::decide::{Action, ApplyReason, LeaveReason, Situation, Step};
use super::difference::{FieldChange, difference};
use super::object::{Desired, Key, Live, field_manager};
use super::observe::{self, Place};

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Observe(#[from] observe::Error),
    #[error("could not try what applying {key} would change")]
    Try {
        key: Key,
        #[source]
        source: kube::Error,
    },
}

/// What would become of one object.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    pub key: Key,
    pub what: What,
}

#[derive(Debug, Clone, PartialEq)]
pub enum What {
    Create,
    /// It is made once, and nobody could ask its bucket whether it was.
    CreateUnlessRan {
        why: String,
    },
    Change {
        reason: ApplyReason,
        fields: Vec<FieldChange>,
    },
    Prune,
    Conflict(Vec<FieldConflict>),
    /// It is not as the policy wants it, and stays so.
    Leave(LeaveReason),
}

/// The changes that the actions decided for a situation would make, in their order. Nothing to do is no change.
/// `verdicts` are those of the buckets, on what is made once.
pub async fn plan(
    place: Place<'_>,
    situation: &Situation<'_>,
    actions: Vec<Action>,
    verdicts: &BTreeMap<Key, Verdict>,
) -> Result<Vec<Change>, Error> {
    let desired: BTreeMap<&Key, &Desired> =
        situation.desired.iter().map(|desired| (&desired.key, desired)).collect();
    let mut changes = Vec::new();
    for Action { key, step } in actions {
        let what = match (step, desired.get(&key)) {
            (Step::Leave(LeaveReason::InStep | LeaveReason::RanBefore | LeaveReason::MayBeReferredTo), _) => {
                continue;
            }
            (Step::Leave(reason), _) => What::Leave(reason),
            (Step::Prune { uid: _ }, _) => What::Prune,
            (Step::CreateOnce | Step::CreateRestore { .. }, _) => match verdicts.get(&key) {
                Some(Verdict::Ran) => continue,
                Some(Verdict::Unread { why }) => What::CreateUnlessRan { why: why.clone() },
                Some(Verdict::NotRun | Verdict::Asking) | None => What::Create,
            },
            (Step::Apply(ApplyReason::Missing), _) => What::Create,
            (Step::Apply(reason), Some(desired)) => {
                try_apply(place, situation.source, desired, reason).await?
            }
            // Only what is desired is applied.
            (Step::Apply(_), None) => continue,
        };
        changes.push(Change { key, what });
    }
    Ok(changes)
}

/// What a round of publishing would see.
pub async fn live(
    place: Place<'_>,
    desired: &[Desired],
    memory: &super::memory::Memory,
) -> Result<BTreeMap<Key, Arc<Live>>, observe::Error> {
    let mut live = place.list().await?;
    live.extend(place.one_shots(desired, memory).await?);
    Ok(live)
}

async fn try_apply(
    place: Place<'_>,
    source: &str,
    desired: &Desired,
    reason: ApplyReason,
) -> Result<What, Error> {
    let key = &desired.key;
    let failed = |source| Error::Try { key: key.clone(), source };
    let api: Api<DynamicObject> =
        Api::namespaced_with(place.client.clone(), place.namespace, &observe::resource(key.kind));
    let before = api.get(&key.name).await.map_err(failed)?;
    let unforced = PatchParams::apply(&field_manager(source)).dry_run();
    let patch = Patch::Apply(&desired.value);
    let after = match api.patch(&key.name, &unforced, &patch).await {
        Ok(after) => after,
        Err(kube::Error::Api(status)) if !conflict::parse(&status).is_empty() => {
            let conflicts = conflict::parse(&status);
            if conflicts.iter().any(FieldConflict::is_kept_by_its_manager) {
                return Ok(What::Conflict(conflicts));
            }
            api.patch(&key.name, &unforced.force(), &patch).await.map_err(failed)?
        }
        Err(error) => return Err(failed(error)),
    };
    Ok(What::Change { reason, fields: difference(&value(&before), &value(&after)) })
}

fn value(object: &DynamicObject) -> Value {
    serde_json::to_value(object).expect("what came as JSON goes as JSON")
}
