//! One object of a dry run: made ready as for its creation and, where that is wanted, the API server asked what it would
//! make of it.
//!
//! In: an item. Out: its [`Fate`]. Values of Secrets are never part of it, and long ones are cut.

use serde_json::{Value, json};

use super::compare::Difference;
use super::create::{name_of, only_ports_are_taken, take_managed_fields};
use super::existing::{self, Existing, differences};
use super::fate::Fate;
use super::item::{Error, Item, Ready, encode};
use super::preview::{Depth, Findings};
use super::records::{Action, Record};
use super::run::Run;
use crate::cluster::Resource;
use crate::cluster::write::WriteError;

/// How many fields of an object are told, and how many characters of a value.
const TOLD_FIELDS: usize = 20;
const TOLD_CHARACTERS: usize = 200;

impl Run {
    pub(crate) async fn look(&self, item: &Item<'_>, findings: &Findings) -> Result<Fate, Error> {
        let ready = match self.prepare(item).await {
            Ok(Some(ready)) => ready,
            Ok(None) => return Ok(Fate::Skip { reason: "an item action leaves it out".to_owned() }),
            Err(Error::Create(WriteError::NotServed))
                if findings.brought.contains(&*item.entry.group_resource) =>
            {
                return Ok(match findings.depth {
                    Depth::Plan => Fate::Create,
                    Depth::Server => Fate::Unchecked { reason: "its CRD is not there yet".to_owned() },
                });
            }
            Err(error) => return Err(error),
        };
        let Ready { mut object, status: _, resource } = ready;
        take_managed_fields(&mut object);
        let leftovers = self.leftovers.find(&item.entry.group_resource, &object);
        let absent = item.target.filter(|target| findings.absent.contains(*target));
        let fate = match (findings.depth, absent) {
            (Depth::Plan, _) => Fate::Create,
            (Depth::Server, Some(target)) => {
                Fate::Unchecked { reason: format!("namespace {target} is not there yet") }
            }
            (Depth::Server, None) => self.ask_for(item, &resource, &object).await?,
        };
        if fate.is_change() {
            self.tell_leftovers(item, &Record::Listed(Action::Created), &leftovers);
        }
        Ok(fate)
    }

    async fn ask_for(&self, item: &Item<'_>, resource: &Resource, object: &Value) -> Result<Fate, Error> {
        let body = encode(object).map_err(Error::Encode)?;
        let Err(error) = self.cluster.try_create(resource, item.target, body).await else {
            return Ok(Fate::Create);
        };
        let ports_taken = matches!(&error, WriteError::Invalid { causes, .. }
            if item.kind == "Service" && only_ports_are_taken(causes));
        if ports_taken || matches!(error, WriteError::AlreadyExists { .. }) {
            return self.ask_existing(item, resource, object, error).await;
        }
        Ok(refused(item.kind, &error))
    }

    /// `refusal` is why it is thought to be there.
    async fn ask_existing(
        &self,
        item: &Item<'_>,
        resource: &Resource,
        object: &Value,
        refusal: WriteError,
    ) -> Result<Fate, Error> {
        let live = match self.cluster.get_value(resource, item.target, name_of(object)).await {
            Ok(Some(live)) => live,
            Ok(None) => return Ok(refused(item.kind, &refusal)),
            Err(error) => return Ok(Fate::Fails { message: error.to_string() }),
        };
        let group_resource = &*item.entry.group_resource;
        let fields = told(group_resource, differences(object, live.clone())?);
        match existing::decide(object, live, group_resource, self.settings.policy)? {
            Existing::Same | Existing::SameToLabel { labels: _ } => Ok(Fate::Same),
            Existing::Differs { fields: _ } => Ok(Fate::Differs { fields }),
            Existing::Complete { patch } | Existing::Update { patch, labels: _ } => {
                let body = encode(&patch).map_err(Error::Encode)?;
                match self.cluster.try_merge_patch(resource, item.target, name_of(object), body).await {
                    Ok(_) => Ok(Fate::Update { fields }),
                    Err(error) => Ok(refused(item.kind, &error)),
                }
            }
        }
    }
}

fn refused(kind: &str, error: &WriteError) -> Fate {
    let message = error.to_string();
    // What the restore would have created before is not there in a dry run.
    let account_to_come = kind == "Pod"
        && matches!(error, WriteError::Forbidden { .. })
        && (message.contains("service account") || message.contains("serviceaccount"));
    if account_to_come || message.contains("does not support dry run") {
        return Fate::Unchecked { reason: message };
    }
    // Neither webhooks nor policies have a status of their own; the API server's words tell them apart.
    if message.contains("denied the request") || message.contains("denied request") {
        return Fate::Denied { message };
    }
    match error {
        WriteError::Conflict { .. } => Fate::Conflict { message },
        WriteError::NotServed => Fate::NotServed,
        WriteError::AlreadyExists { .. }
        | WriteError::NotFound { .. }
        | WriteError::Invalid { .. }
        | WriteError::Forbidden { .. }
        | WriteError::Throttled { .. }
        | WriteError::Unavailable { .. }
        | WriteError::Refused { .. }
        | WriteError::TimedOut { .. }
        | WriteError::Unreachable { .. }
        | WriteError::BrokenOff
        | WriteError::Malformed { .. }
        | WriteError::Path { .. } => Fate::Fails { message },
    }
}

fn told(group_resource: &str, fields: Vec<Difference>) -> Vec<Difference> {
    let secret = group_resource == "secrets";
    let show = |value: Value, path: &str| match value {
        Value::Null => Value::Null,
        _ if secret && !path.starts_with("metadata.labels") => json!("(hidden)"),
        value => cut(value),
    };
    fields
        .into_iter()
        .take(TOLD_FIELDS)
        .map(|Difference { path, live, backup }| Difference {
            live: show(live, &path),
            backup: show(backup, &path),
            path,
        })
        .collect()
}

fn cut(value: Value) -> Value {
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    if text.chars().count() <= TOLD_CHARACTERS {
        return value;
    }
    let cut: String = text.chars().take(TOLD_CHARACTERS).collect();
    json!(format!("{cut}…"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn difference(path: &str, value: Value) -> Difference {
        Difference { path: path.to_owned(), live: Value::Null, backup: value }
    }

    #[test]
    fn values_of_secrets_are_not_told_and_long_ones_are_cut() {
        let hidden = told("secrets", vec![difference("data.password", json!("aHVudGVyMg=="))]);
        assert_eq!(hidden, [difference("data.password", json!("(hidden)"))]);
        let long = told("configmaps", vec![difference("data.text", json!("x".repeat(1000)))]);
        assert_eq!(long[0].backup.as_str().unwrap().chars().count(), TOLD_CHARACTERS + 1);
        let many = (0..100).map(|at| difference(&format!("data.f{at}"), json!(at))).collect();
        assert_eq!(told("configmaps", many).len(), TOLD_FIELDS);
    }

    #[test]
    fn refusals_are_told_apart() {
        let forbidden = |message: &str| WriteError::Forbidden { message: message.to_owned() };
        let denied = forbidden("admission webhook \"a.b.c\" denied the request: no");
        assert!(matches!(refused("ConfigMap", &denied), Fate::Denied { .. }));
        let policy = WriteError::Invalid {
            message: "ValidatingAdmissionPolicy 'p' with binding 'b' denied request: no".to_owned(),
            causes: vec![],
        };
        assert!(matches!(refused("ConfigMap", &policy), Fate::Denied { .. }));
        let quota = forbidden("exceeded quota");
        assert!(matches!(refused("ConfigMap", &quota), Fate::Fails { .. }));
        let account =
            forbidden("error looking up service account shop/robot: serviceaccount \"robot\" not found");
        assert!(matches!(refused("Pod", &account), Fate::Unchecked { .. }));
        let conflict = WriteError::Conflict { message: "x".to_owned() };
        assert!(matches!(refused("ConfigMap", &conflict), Fate::Conflict { .. }));
    }
}
