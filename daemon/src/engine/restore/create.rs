//! The requests for one object: its creation without asking first, what follows a creation, and what is done about
//! an object that is there already.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::compare::in_words;
use super::existing::{Existing, Policy, decide};
use super::item::{Error, Item, Ready, encode};
use super::records::{Action, Record};
use super::run::Run;
use crate::cluster::write::{Attempt, WriteError, Written};
use crate::cluster::{self, Resource};
use crate::engine::run_log::Message;
use crate::engine::select::DEFINITIONS;
use holdfast_policy::velero::labels::RESTORE_NAME;

const DEFAULT_ACCOUNT_WITHIN: Duration = Duration::from_secs(20);
const DEFAULT_ACCOUNT_EVERY: Duration = Duration::from_millis(200);
const STATUS_TRIES: u32 = 5;

/// Objects found to exist, one after the other. Objects are created without asking first; where everything is there
/// already, asking first saves a request for each, also from one kind to the next.
#[derive(Debug, Default)]
pub(crate) struct Streak(AtomicU32);

impl Streak {
    const LONG: u32 = 8;

    fn expects_existing(&self) -> bool {
        self.0.load(Ordering::Relaxed) >= Self::LONG
    }

    fn existed(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn broken(&self) {
        self.0.store(0, Ordering::Relaxed);
    }
}

impl Run {
    pub(crate) async fn create(&self, item: &Item<'_>, mut ready: Ready) -> Result<Record, Error> {
        let applied_fields = take_managed_fields(&mut ready.object);
        let body = encode(&ready.object).map_err(Error::Encode)?;
        let name = name_of(&ready.object).to_owned();
        if self.streak.expects_existing() {
            match self.cluster.get_value(&ready.resource, item.target, &name).await {
                Ok(Some(live)) => {
                    return self.found(item, ready, applied_fields, live, Attempt::Clear).await;
                }
                Ok(None) => self.streak.broken(),
                Err(error) => return Ok(self.unknown_existing(item, &error)),
            }
        }
        let failure = match self.send(item, &ready.resource, body).await {
            Ok(written) => {
                self.streak.broken();
                return self.after_create(item, ready, applied_fields, written).await;
            }
            Err(failure) => failure,
        };
        match failure {
            WriteError::AlreadyExists { message: _, attempt } => {
                self.streak.existed();
                let live = match self.cluster.get_value(&ready.resource, item.target, &name).await {
                    Ok(live) => live.ok_or(Error::Vanished)?,
                    Err(error) => return Ok(self.unknown_existing(item, &error)),
                };
                self.found(item, ready, applied_fields, live, attempt).await
            }
            WriteError::Invalid { ref causes, .. }
                if item.kind == "Service" && only_ports_are_taken(causes) =>
            {
                match self.cluster.get_value(&ready.resource, item.target, &name).await {
                    Ok(Some(live)) => self.found(item, ready, applied_fields, live, Attempt::Clear).await,
                    Ok(None) => Err(Error::Create(failure)),
                    Err(error) => Ok(self.unknown_existing(item, &error)),
                }
            }
            failure => Err(Error::Create(failure)),
        }
    }

    /// The object is there already: by an earlier request of this restore, whose follow-up may be lacking, or because
    /// somebody else made it.
    async fn found(
        &self,
        item: &Item<'_>,
        ready: Ready,
        applied_fields: Option<Value>,
        live: Value,
        attempt: Attempt,
    ) -> Result<Record, Error> {
        let ours = match attempt {
            Attempt::AfterUnclearEnd => self.is_ours(&live),
            Attempt::Clear => self.made(&live),
        };
        if !ours {
            return self.meet(item, &ready.resource, &ready.object, live).await;
        }
        let applied_fields = applied_fields.filter(|_| !is_applied(live.pointer("/metadata/managedFields")));
        self.after_create(item, ready, applied_fields, written_of(&live)).await
    }

    /// A namespace that was just made gets its default service account a moment later, and no pod before that.
    async fn send(&self, item: &Item<'_>, resource: &Resource, body: Bytes) -> Result<Written, WriteError> {
        let deadline = Instant::now() + DEFAULT_ACCOUNT_WITHIN;
        loop {
            match self.cluster.create(resource, item.target, body.clone()).await {
                Err(WriteError::Forbidden { message })
                    if item.kind == "Pod"
                        && message.contains("serviceaccount \"default\" not found")
                        && Instant::now() < deadline =>
                {
                    sleep(DEFAULT_ACCOUNT_EVERY).await;
                }
                other => return other,
            }
        }
    }

    async fn after_create(
        &self,
        item: &Item<'_>,
        ready: Ready,
        applied_fields: Option<Value>,
        written: Written,
    ) -> Result<Record, Error> {
        let Ready { mut object, status, resource } = ready;
        let resource = &resource;
        let mut record = Record::Listed(Action::Created);
        if written.name != *item.entry.name {
            record = Record::Renamed(written.name.clone());
        }
        if let Some(status) = status.filter(|_| self.restores_status(item, &object))
            && let Err(error) = self.restore_status(item, resource, &mut object, status, &written).await
        {
            let text = format!("status of {} was not restored", item.entry);
            self.log.warning(item.place(), Message::new(text).cause(&error));
        }
        if let Some(fields) = applied_fields {
            let patch = encode(&json!({"metadata": {"managedFields": fields}})).map_err(Error::Encode)?;
            match self.cluster.merge_patch(resource, item.target, &written.name, patch).await {
                Ok(_) => {}
                Err(WriteError::NotFound { message }) => self.log.warning(item.place(), message),
                Err(error) => return Err(Error::ManagedFields(error)),
            }
        }
        if &*item.entry.group_resource == DEFINITIONS {
            self.wait_until_served(resource, &written.name).await?;
        }
        let files = self.start_files(item, &object, &written.name, &written.uid);
        self.start_download(item, &object);
        self.start_hooks(item, &object, &written.name, files);
        self.log.info("Created object", &[("object", &item.entry.to_string()), ("name", &written.name)]);
        Ok(record)
    }

    async fn restore_status(
        &self,
        item: &Item<'_>,
        resource: &Resource,
        object: &mut Value,
        status: Value,
        written: &Written,
    ) -> Result<(), WriteError> {
        object["status"] = status;
        object["metadata"]["name"] = json!(written.name);
        let mut version = written.resource_version.clone();
        let mut tries = 0;
        loop {
            tries += 1;
            object["metadata"]["resourceVersion"] = json!(version);
            let body = encode(object).map_err(|source| WriteError::Malformed { source })?;
            match self.cluster.replace_status(resource, item.target, &written.name, body).await {
                Ok(_) => return Ok(()),
                Err(conflict @ WriteError::Conflict { .. }) => {
                    let live = self.cluster.get_value(resource, item.target, &written.name).await;
                    let Some(live) = live.ok().flatten().filter(|_| tries < STATUS_TRIES) else {
                        return Err(conflict);
                    };
                    version = written_of(&live).resource_version;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// The object is there already.
    async fn meet(
        &self,
        item: &Item<'_>,
        resource: &Resource,
        object: &Value,
        live: Value,
    ) -> Result<Record, Error> {
        let name = name_of(object).to_owned();
        let patch = |body: Value| {
            let (cluster, target, name) = (&self.cluster, item.target, &name);
            async move {
                let body = encode(&body).map_err(|source| WriteError::Malformed { source })?;
                cluster.merge_patch(resource, target, name, body).await
            }
        };
        match decide(object, live, &item.entry.group_resource, self.settings.policy)? {
            Existing::Same => Ok(Record::Listed(Action::Skipped)),
            Existing::SameToLabel { labels } => {
                patch(labels).await.map_err(Error::Label)?;
                Ok(Record::Listed(Action::Skipped))
            }
            Existing::Differs { fields } => {
                let subject = match self.settings.policy {
                    Policy::Unset => format!("{}:{name}", item.kind),
                    Policy::None | Policy::Update => format!("{} {name:?}", item.kind),
                };
                self.log.warning(
                    item.place(),
                    format!(
                        "could not restore, {subject} already exists. Warning: the in-cluster version is \
                         different than the backed-up version in {}",
                        in_words(&fields)
                    ),
                );
                Ok(Record::Listed(Action::Skipped))
            }
            Existing::Complete { patch: body } => match patch(body).await {
                Ok(_) => Ok(Record::Listed(Action::Updated)),
                Err(error) => {
                    self.log.warning(item.place(), error.to_string());
                    Ok(Record::Listed(Action::Failed))
                }
            },
            Existing::Update { patch: body, labels } => match patch(body).await {
                Ok(_) => Ok(Record::Listed(Action::Updated)),
                Err(error) => {
                    self.log.warning(item.place(), error.to_string());
                    patch(labels).await.map_err(Error::Label)?;
                    Ok(Record::Listed(Action::Failed))
                }
            },
        }
    }

    fn unknown_existing(&self, item: &Item<'_>, error: &cluster::Error) -> Record {
        let text = format!("unable to retrieve in-cluster version of {}", item.entry);
        self.log.warning(item.place(), Message::new(text).cause(error));
        Record::Listed(Action::Failed)
    }

    /// The object was created by an earlier request of this restore.
    pub(super) fn is_ours(&self, live: &Value) -> bool {
        let labels = live.pointer("/metadata/labels");
        labels.and_then(|labels| labels.get(RESTORE_NAME)) == self.settings.labels.get(RESTORE_NAME)
    }

    /// The object was created by this restore, now or before it was interrupted. The API server's clock dates both, and a
    /// restore of the same name that was there before made its objects before this one came to be.
    pub(super) fn made(&self, live: &Value) -> bool {
        let created = live.pointer("/metadata/creationTimestamp").and_then(Value::as_str);
        let created = created.and_then(|text| text.parse::<DateTime<Utc>>().ok());
        created.zip(self.created).is_some_and(|(object, restore)| object >= restore) && self.is_ours(live)
    }

    /// Until objects of the new kind can be created.
    async fn wait_until_served(&self, resource: &Resource, name: &str) -> Result<(), Error> {
        let within = self.timeouts.resource;
        let deadline = Instant::now() + within;
        let mut pause = Duration::from_millis(50);
        loop {
            // A failing read is no verdict: the deadline is.
            if let Ok(Some(definition)) = self.cluster.get_value(resource, None, name).await
                && is_established(&definition)
            {
                return Ok(());
            }
            if Instant::now() >= deadline || self.cancel.is_cancelled() {
                return Err(Error::CrdNotReady { seconds: within.as_secs() });
            }
            sleep(pause).await;
            pause = (pause * 2).min(Duration::from_secs(1));
        }
    }
}

/// Takes the managed fields off; gives them back where they are worth a request of their own: somebody applied the
/// object, and would run into conflicts with us. Otherwise those of the creation are as good.
pub(super) fn take_managed_fields(object: &mut Value) -> Option<Value> {
    let fields = object.get_mut("metadata")?.as_object_mut()?.remove("managedFields")?;
    is_applied(Some(&fields)).then_some(fields)
}

fn is_applied(fields: Option<&Value>) -> bool {
    let applied = |entry: &Value| entry.get("operation").is_some_and(|operation| operation == "Apply");
    fields.and_then(Value::as_array).is_some_and(|entries| entries.iter().any(applied))
}

pub(super) fn only_ports_are_taken(causes: &[String]) -> bool {
    !causes.is_empty() && causes.iter().all(|cause| cause.contains("provided port is already allocated"))
}

fn is_established(definition: &Value) -> bool {
    let conditions = definition.pointer("/status/conditions").and_then(Value::as_array);
    let holds = |wanted: &str| {
        conditions.is_some_and(|conditions| {
            conditions.iter().any(|condition| condition["type"] == wanted && condition["status"] == "True")
        })
    };
    holds("Established") && holds("NamesAccepted")
}

pub(super) fn name_of(object: &Value) -> &str {
    object.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default()
}

fn written_of(live: &Value) -> Written {
    let text = |key: &str| {
        let value = live.get("metadata").and_then(|metadata| metadata.get(key));
        value.and_then(Value::as_str).unwrap_or_default().to_owned()
    };
    Written { name: text("name"), uid: text("uid"), resource_version: text("resourceVersion") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn managed_fields_are_kept_only_where_somebody_applied_the_object() {
        let object =
            |operation: &str| json!({"metadata": {"name": "a", "managedFields": [{"operation": operation}]}});
        let mut updated = object("Update");
        assert_eq!(take_managed_fields(&mut updated), None);
        assert_eq!(updated, json!({"metadata": {"name": "a"}}));
        let mut applied = object("Apply");
        assert_eq!(take_managed_fields(&mut applied), Some(json!([{"operation": "Apply"}])));
        assert_eq!(applied, json!({"metadata": {"name": "a"}}));
    }

    #[test]
    fn a_definition_takes_objects_once_it_is_established_under_its_names() {
        let with = |conditions: Value| json!({"status": {"conditions": conditions}});
        let established = json!({"type": "Established", "status": "True"});
        let accepted = json!({"type": "NamesAccepted", "status": "True"});
        assert!(is_established(&with(json!([established, accepted]))));
        assert!(!is_established(&with(json!([established, {"type": "NamesAccepted", "status": "False"}]))));
        assert!(!is_established(&json!({})));
    }

    #[test]
    fn asking_first_begins_with_a_long_streak_and_ends_with_the_first_object_that_is_not_there() {
        let streak = Streak::default();
        (1..Streak::LONG).for_each(|_| streak.existed());
        assert!(!streak.expects_existing());
        streak.existed();
        assert!(streak.expects_existing());
        streak.broken();
        assert!(!streak.expects_existing());
    }

    #[test]
    fn a_taken_node_port_is_told_from_other_faults() {
        let taken = "Invalid value: 30080: provided port is already allocated".to_owned();
        assert!(only_ports_are_taken(std::slice::from_ref(&taken)));
        assert!(!only_ports_are_taken(&[taken, "Required value".to_owned()]));
        assert!(!only_ports_are_taken(&[]));
    }
}
