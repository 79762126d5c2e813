//! One object, from the archive into the cluster.
//!
//! In: its position in the archive. Out: its [`Record`], with messages in the log where something is to be said.
//! The order is Velero's: skip conditions, volumes, reset, actions with the objects that they name, claims,
//! modifiers, namespace and labels, creation.

use bytes::Bytes;
use holdfast_policy::velero::labels::{RESTORE_MUST_INCLUDE_ADDITIONAL_ITEMS, RESTORE_STATUS};
use serde_json::Value;

use super::data_downloads;
use super::fate::Fate;
use super::first_look::Head;
use super::modifiers::{self, Subject};
use super::plan::AtRest;
use super::pod_volumes::wait_container;
use super::preview::Hand;
use super::records::{Action, Record};
use super::reset::{MissingMetadata, reset};
use super::run::Run;
use super::volumes::{self, VolumeDecision};
use crate::actions::restore::{AdditionalItem, Context, Verdict, csi, for_group_resource};
use crate::archive::IndexedItem;
use crate::causes::with_causes;
use crate::cluster;
use crate::cluster::Resource;
use crate::cluster::write::WriteError;
use crate::engine::run_log::{Message, Place};

/// Why an object is not restored.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("reading it from the archive failed")]
    Read(#[source] crate::archive::Error),
    #[error("decoding it failed")]
    Decode(#[source] serde_json::Error),
    #[error(transparent)]
    Reset(#[from] MissingMetadata),
    #[error("{action}: reading what it must know failed")]
    Question { action: &'static str, source: Box<cluster::Error> },
    #[error("{action}")]
    Action { action: &'static str, source: crate::actions::restore::Error },
    #[error(transparent)]
    HoldBack(#[from] wait_container::Error),
    #[error(transparent)]
    HoldApart(#[from] data_downloads::Error),
    #[error("restoring the volume from its snapshot failed")]
    Snapshot(#[from] super::native::Error),
    #[error(transparent)]
    Modifier(#[from] modifiers::Error),
    #[error("encoding it failed")]
    Encode(#[source] serde_json::Error),
    #[error(transparent)]
    Create(WriteError),
    #[error("setting the labels of the existing object failed")]
    Label(#[source] WriteError),
    #[error("restoring its managed fields failed")]
    ManagedFields(#[source] WriteError),
    #[error("it is not ready to take objects after {seconds} s")]
    CrdNotReady { seconds: u64 },
    #[error("it is gone again")]
    Vanished,
    #[error("{what}, without which it has no data, is not in the backup")]
    NeededMissing { what: String },
    #[error("{what}, without which it has no data, could not be restored")]
    NeededFailed { what: String },
}

/// An object on its way: what all steps need of it.
pub(crate) struct Item<'a> {
    pub(crate) entry: &'a IndexedItem,
    pub(crate) kind: &'a str,
    /// The namespace that it goes to.
    pub(crate) target: Option<&'a str>,
}

impl Item<'_> {
    pub(crate) fn place(&self) -> Place {
        Place::of(self.target)
    }

    /// As Velero's messages name it: by its target namespace.
    pub(crate) fn path(&self) -> String {
        let IndexedItem { group_resource, name, .. } = self.entry;
        match self.target {
            Some(namespace) => format!("{group_resource}/{namespace}/{name}"),
            None => format!("{group_resource}/{name}"),
        }
    }
}

/// An object as it will be sent, and what waits until it is there.
pub(crate) struct Ready {
    pub(crate) object: Value,
    pub(crate) status: Option<Value>,
    pub(crate) resource: Resource,
}

impl Run {
    pub(crate) async fn restore_item(&self, position: usize) -> Record {
        let entry = &self.index.items[position];
        let Some(head) = self.heads[position] else { return Record::Unlisted };
        let Head { kind, details: _, at_rest } = head;
        match at_rest {
            Some(AtRest::Completed) => return Record::Unlisted,
            Some(AtRest::MirrorPod) => return Record::Listed(Action::Skipped),
            None => {}
        }
        let item = Item { entry, kind: self.kinds.kind(kind), target: self.target(entry) };
        if item.target.is_some_and(|namespace| self.missing_namespaces.contains(namespace)) {
            return Record::Listed(Action::Failed);
        }
        if let Hand::Looks(findings) = &self.hand {
            let fate = self.look(&item, findings).await;
            let fails = |error: Error| Fate::Fails { message: with_causes(&error) };
            findings.note(position, fate.unwrap_or_else(fails));
            return Record::Unlisted;
        }
        match self.prepare_and_create(&item).await {
            Ok(record) => record,
            Err(error) => {
                let verb = match error {
                    Error::Question { .. }
                    | Error::Action { .. }
                    | Error::HoldBack(_)
                    | Error::HoldApart(_)
                    | Error::Snapshot(_)
                    | Error::NeededMissing { .. }
                    | Error::NeededFailed { .. }
                    | Error::Modifier(_) => "preparing",
                    Error::Read(_)
                    | Error::Decode(_)
                    | Error::Reset(_)
                    | Error::Encode(_)
                    | Error::Create(_)
                    | Error::Label(_)
                    | Error::ManagedFields(_)
                    | Error::CrdNotReady { .. }
                    | Error::Vanished => "restoring",
                };
                let message =
                    Message::new(format!("error {verb} {}", item.path())).cause(&with_causes(&error));
                self.log.error(item.place(), message);
                Record::Listed(Action::Failed)
            }
        }
    }

    async fn prepare_and_create(&self, item: &Item<'_>) -> Result<Record, Error> {
        match self.prepare(item).await? {
            None => Ok(Record::Listed(Action::Skipped)),
            Some(ready) => {
                let leftovers = self.leftovers.find(&item.entry.group_resource, &ready.object);
                let record = self.create(item, ready).await?;
                self.tell_leftovers(item, &record, &leftovers);
                Ok(record)
            }
        }
    }

    /// None where the object is left out by rule.
    pub(crate) async fn prepare(&self, item: &Item<'_>) -> Result<Option<Ready>, Error> {
        let entry = item.entry;
        let json = self.index.read(entry).map_err(Error::Read)?;
        let mut object: Value = serde_json::from_slice(&json).map_err(Error::Decode)?;
        drop(json);
        if &*entry.group_resource == "persistentvolumes" {
            let info = self.volumes.get(&*entry.name);
            let info = info.or_else(|| self.volumes.get(&volumes::name_by_claim(&object)));
            match volumes::decide(&object, info) {
                VolumeDecision::ProvisionAnew => {
                    self.provision_anew(&entry.name);
                    self.log.info(
                        "Volume is provisioned anew for its claim",
                        &[("persistentVolume", &entry.name)],
                    );
                    return Ok(None);
                }
                VolumeDecision::FromSnapshot => self.restore_volume(item, &mut object).await?,
                VolumeDecision::AsItWas => volumes::rebind_volume(&mut object, &self.settings.mapping),
            }
        }
        let mut actions = for_group_resource(&entry.group_resource).peekable();
        let from_backup = actions.peek().map(|_| object.clone()).unwrap_or_default();
        let status = reset(&mut object)?;
        let context = Context {
            group_resource: &entry.group_resource,
            from_backup: &from_backup,
            source_namespace: entry.namespace.as_deref(),
            namespace_mapping: &self.settings.mapping,
            node_ports: self.settings.node_ports,
            configuration: &self.configuration,
            hooks: &self.hooks.rules,
            csi: &self.csi,
        };
        for action in actions {
            let questions = (action.questions)(&object, &context);
            let answers = self.facts.answer(questions).await;
            let answers = answers
                .map_err(|source| Error::Question { action: action.name, source: Box::new(source) })?;
            let effect = (action.apply)(&mut object, &context, &answers)
                .map_err(|source| Error::Action { action: action.name, source })?;
            match effect.verdict {
                Verdict::Restore => {}
                Verdict::Skip(reason) => {
                    self.log.info("Object is left out", &[("object", &item.path()), ("reason", &reason)]);
                    return Ok(None);
                }
            }
            let filters = take_filters(&mut object);
            for needed in effect.additional_items {
                self.restore_needed(item, needed, filters).await?;
            }
        }
        take_filters(&mut object);
        self.hold_back(item, &mut object)?;
        if &*entry.group_resource == "persistentvolumeclaims" {
            let name_of = |volume: &str| self.natives.name_of(volume);
            self.hold_apart(item, &from_backup, &mut object).await?;
            volumes::rebind_claim(&mut object, |volume| self.is_provisioned_anew(volume), name_of);
        }
        self.modify(&mut object, &entry.group_resource, entry.namespace.as_deref())?;
        self.settle_in(&mut object, item.target);
        let text = |key: &str| object.get(key).and_then(Value::as_str).unwrap_or_default();
        let resource = self.discovery.by_kind(text("apiVersion"), text("kind")).cloned();
        let resource = resource.ok_or(Error::Create(WriteError::NotServed))?;
        Ok(Some(Ready { object, status, resource }))
    }

    pub(crate) fn modify(
        &self,
        object: &mut Value,
        group_resource: &str,
        source_namespace: Option<&str>,
    ) -> Result<(), modifiers::Error> {
        let subject = Subject { group_resource, source_namespace };
        self.modifiers.as_ref().map_or(Ok(()), |modifiers| modifiers.apply(object, subject))
    }

    /// Namespace and labels of the restored object.
    pub(crate) fn settle_in(&self, object: &mut Value, target: Option<&str>) {
        let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) else { return };
        if let Some(target) = target {
            metadata.insert("namespace".to_owned(), Value::String(target.to_owned()));
        }
        let labels = metadata.entry("labels").or_insert(Value::Null);
        if !labels.is_object() {
            *labels = Value::Object(serde_json::Map::new());
        }
        if let Some(labels) = labels.as_object_mut() {
            labels.extend(self.settings.labels.clone());
        }
    }

    /// An object that another one needs: it comes first, unless a rule keeps it out.
    async fn restore_needed(
        &self,
        item: &Item<'_>,
        needed: AdditionalItem,
        filters: Filters,
    ) -> Result<(), Error> {
        let AdditionalItem { group_resource, namespace, name } = needed;
        let namespace = namespace.as_deref();
        let path = namespace.map_or_else(|| name.clone(), |namespace| format!("{namespace}/{name}"));
        let is_data = csi::is_data(group_resource);
        let what = || format!("{group_resource} {path}");
        let Some(position) = self.find(group_resource, namespace, &name) else {
            if is_data {
                return Err(Error::NeededMissing { what: what() });
            }
            let text = format!("{group_resource} {path}, needed by {}, is not in the backup", item.entry);
            self.log
                .warning(Place::of(item.entry.namespace.as_deref().filter(|_| namespace.is_some())), text);
            return Ok(());
        };
        let wanted = match filters {
            Filters::Apply => self.settings.selection.takes_needed(group_resource, namespace).is_ok(),
            Filters::Bypassed => true,
        };
        if !wanted {
            return Ok(());
        }
        self.restore(position).await;
        match is_data && self.has_failed(position) {
            // A claim would wait for it for good, and nobody would say why.
            true => Err(Error::NeededFailed { what: what() }),
            false => Ok(()),
        }
    }

    /// Whether an object could not be restored, or couldn't be if this were not only a look.
    fn has_failed(&self, position: usize) -> bool {
        match &self.hand {
            Hand::Looks(findings) => findings.fails(position),
            Hand::Restores => self.records.has_failed(position),
        }
    }

    /// Whether the status that the object had is to come back.
    pub(crate) fn restores_status(&self, item: &Item<'_>, object: &Value) -> bool {
        let annotations = object.pointer("/metadata/annotations");
        let word =
            annotations.and_then(|annotations| annotations.get(RESTORE_STATUS)).and_then(Value::as_str);
        self.settings.status.restores(&item.entry.group_resource, word)
    }
}

/// Whether the restore's filters count for what an object brings along.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Filters {
    Apply,
    Bypassed,
}

/// Takes the annotation off by which an action says that what it names must come along.
fn take_filters(object: &mut Value) -> Filters {
    let annotations = object.pointer_mut("/metadata/annotations").and_then(Value::as_object_mut);
    let word = annotations.and_then(|annotations| annotations.remove(RESTORE_MUST_INCLUDE_ADDITIONAL_ITEMS));
    if word.is_some_and(|word| word == "true") { Filters::Bypassed } else { Filters::Apply }
}

pub(crate) fn encode(value: &Value) -> Result<Bytes, serde_json::Error> {
    serde_json::to_vec(value).map(Bytes::from)
}
