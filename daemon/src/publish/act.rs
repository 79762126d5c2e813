//! Carries one decided action out.
//!
//! In: an [`Action`] and the object it is about. Out: an [`Outcome`]. Objects are applied without force; only where
//! every field in question belongs to somebody's ordinary update, on an object that is ours or was given to us, the
//! same resource version is applied again with force.

use kube::api::{Api, DeleteParams, DynamicObject, Patch, PatchParams, PostParams, Preconditions};
use kube::core::Status;
use serde_json::Value;

use super::conflict::{self, FieldConflict};
use super::decide::{Action, ApplyReason, LeaveReason, Step};
use super::object::{Desired, Key, Live, creation_manager, field_manager};
use super::observe;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("could not apply {key}")]
    Apply {
        key: Key,
        #[source]
        source: kube::Error,
    },
    #[error("could not create {key}")]
    Create {
        key: Key,
        #[source]
        source: kube::Error,
    },
    #[error("could not remove {key}")]
    Prune {
        key: Key,
        #[source]
        source: kube::Error,
    },
    #[error(transparent)]
    Observe(#[from] observe::Error),
    #[error("{key} changed while it was applied")]
    Overtaken { key: Key },
}

#[derive(Debug)]
pub enum Outcome {
    Applied { reason: ApplyReason, live: Live },
    Created,
    Refused(Vec<FieldConflict>),
    Pruned,
    Left(LeaveReason),
    Failed(Error),
}

/// Where and as whom to act.
#[derive(Clone, Copy)]
pub struct Target<'a> {
    pub client: &'a kube::Client,
    pub namespace: &'a str,
    pub source: &'a str,
}

/// `desired` is what the action's key asks for; a removal has none.
pub async fn act(target: Target<'_>, action: &Action, desired: Option<&Desired>) -> Outcome {
    let result = match (&action.step, desired) {
        (Step::Leave(reason), _) => return Outcome::Left(reason.clone()),
        (Step::Prune { uid }, _) => prune(target, &action.key, uid).await,
        (Step::Apply(reason), Some(desired)) => apply(target, desired, reason).await,
        (Step::CreateOnce, Some(desired)) => create(target, desired, &desired.value).await,
        (Step::CreateRestore { backup }, Some(desired)) => {
            let mut value = desired.value.clone();
            pin_backup(&mut value, backup);
            create(target, desired, &value).await
        }
        (Step::Apply(_) | Step::CreateOnce | Step::CreateRestore { .. }, None) => {
            return Outcome::Left(LeaveReason::NotPruned);
        }
    };
    result.unwrap_or_else(Outcome::Failed)
}

fn pin_backup(restore: &mut Value, backup: &str) {
    if let Some(spec) = restore.get_mut("spec").and_then(Value::as_object_mut) {
        spec.remove("scheduleName");
        spec.insert("backupName".to_owned(), Value::String(backup.to_owned()));
    }
}

fn api(target: Target<'_>, key: &Key) -> Api<DynamicObject> {
    Api::namespaced_with(target.client.clone(), target.namespace, &observe::resource(key.kind))
}

async fn apply(target: Target<'_>, desired: &Desired, reason: &ApplyReason) -> Result<Outcome, Error> {
    let key = &desired.key;
    let api = api(target, key);
    let manager = field_manager(target.source);
    let creating = match (reason, &desired.at_creation) {
        (ApplyReason::Missing, Some(at_creation)) => Some(at_creation),
        (ApplyReason::Missing, None)
        | (ApplyReason::Changed | ApplyReason::Adopted | ApplyReason::Drifted { .. }, _) => None,
    };
    let mut whole = desired.value.clone();
    if let Some(at_creation) = creating {
        merge(&mut whole, at_creation);
    }
    let unforced = PatchParams::apply(&manager);
    let object = match api.patch(&key.name, &unforced, &Patch::Apply(&whole)).await {
        Ok(object) => object,
        Err(error) => match conflicts(&error) {
            Some(conflicts) if conflicts.iter().any(FieldConflict::is_kept_by_its_manager) => {
                return Ok(Outcome::Refused(conflicts));
            }
            Some(_) => match apply_over_updates(target, desired, &api).await? {
                Ok(object) => object,
                Err(left) => return Ok(left),
            },
            None => return Err(Error::Apply { key: key.clone(), source: error }),
        },
    };
    if let Some(at_creation) = creating {
        // A second manager holds these fields from now on, so that they stay when the first stops applying them.
        let mut value = at_creation.clone();
        copy_identity(&mut value, &desired.value);
        let at_creation = PatchParams::apply(&creation_manager(target.source));
        api.patch(&key.name, &at_creation, &Patch::Apply(&value))
            .await
            .map_err(|source| Error::Apply { key: key.clone(), source })?;
    }
    Ok(Outcome::Applied { reason: reason.clone(), live: Live::from_metadata(object.metadata) })
}

/// Puts our fields over those that others set by ordinary updates. The conflicts are read again at one resource
/// version and overruled at the same one, so that no manager that applies can come between.
async fn apply_over_updates(
    target: Target<'_>,
    desired: &Desired,
    api: &Api<DynamicObject>,
) -> Result<Result<DynamicObject, Outcome>, Error> {
    let key = &desired.key;
    let Some(live) = observe::get(target.client, target.namespace, key).await? else {
        return Err(Error::Overtaken { key: key.clone() });
    };
    if live.made_by() != Some(target.source) && live.adopt.as_deref() != Some(target.source) {
        let source = live.made_by().map(str::to_owned);
        return Ok(Err(Outcome::Left(LeaveReason::NotOurs { source })));
    }
    let mut value = desired.value.clone();
    value["metadata"]["resourceVersion"] = Value::String(live.resource_version);
    let unforced = PatchParams::apply(&field_manager(target.source));
    let error = match api.patch(&key.name, &unforced, &Patch::Apply(&value)).await {
        Ok(object) => return Ok(Ok(object)),
        Err(error) => error,
    };
    let Some(conflicts) = conflicts(&error) else {
        return Err(overtaken_or(key, error));
    };
    if conflicts.iter().any(FieldConflict::is_kept_by_its_manager) {
        return Ok(Err(Outcome::Refused(conflicts)));
    }
    let object = api
        .patch(&key.name, &unforced.force(), &Patch::Apply(&value))
        .await
        .map_err(|error| overtaken_or(key, error))?;
    Ok(Ok(object))
}

fn overtaken_or(key: &Key, error: kube::Error) -> Error {
    let key = key.clone();
    match &error {
        kube::Error::Api(status) if status.is_conflict() => Error::Overtaken { key },
        _ => Error::Apply { key, source: error },
    }
}

fn conflicts(error: &kube::Error) -> Option<Vec<FieldConflict>> {
    let kube::Error::Api(status) = error else { return None };
    let status: &Status = status;
    Some(conflict::parse(status)).filter(|conflicts| !conflicts.is_empty())
}

async fn create(target: Target<'_>, desired: &Desired, value: &Value) -> Result<Outcome, Error> {
    let key = &desired.key;
    let failed = |source| Error::Create { key: key.clone(), source };
    let object: DynamicObject =
        serde_json::from_value(value.clone()).map_err(|error| failed(kube::Error::SerdeError(error)))?;
    let parameters =
        PostParams { field_manager: Some(field_manager(target.source)), ..PostParams::default() };
    match api(target, key).create(&parameters, &object).await {
        Ok(_) => Ok(Outcome::Created),
        Err(kube::Error::Api(status)) if status.is_already_exists() => {
            let live = observe::get(target.client, target.namespace, key).await?;
            match live.as_ref().and_then(Live::made_by) {
                Some(source) if source == target.source => Ok(Outcome::Created),
                source => {
                    let source = source.map(str::to_owned);
                    Ok(Outcome::Left(LeaveReason::NotOurs { source }))
                }
            }
        }
        Err(error) => Err(failed(error)),
    }
}

async fn prune(target: Target<'_>, key: &Key, uid: &str) -> Result<Outcome, Error> {
    let preconditions = Preconditions { uid: Some(uid.to_owned()), ..Preconditions::default() };
    let parameters = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
    match api(target, key).delete(&key.name, &parameters).await {
        Ok(_) => Ok(Outcome::Pruned),
        Err(kube::Error::Api(status)) if status.is_not_found() => Ok(Outcome::Pruned),
        Err(source) => Err(Error::Prune { key: key.clone(), source }),
    }
}

/// Puts what `extra` has into `value`, deeply.
fn merge(value: &mut Value, extra: &Value) {
    match (value, extra) {
        (Value::Object(value), Value::Object(extra)) => {
            for (key, extra) in extra {
                merge(value.entry(key).or_insert(Value::Null), extra);
            }
        }
        (value, extra) => *value = extra.clone(),
    }
}

fn copy_identity(value: &mut Value, from: &Value) {
    value["apiVersion"] = from["apiVersion"].clone();
    value["kind"] = from["kind"].clone();
    value["metadata"] =
        serde_json::json!({"name": from["metadata"]["name"], "namespace": from["metadata"]["namespace"]});
}
