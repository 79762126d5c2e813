//! The namespaces that objects go to: made before them, all at once, with waiting for those that are on their way out.

use std::time::Duration;

use futures::StreamExt as _;
use futures::future::BoxFuture;
use futures::stream;
use serde_json::{Map, Value, json};
use tokio::time::{Instant, sleep};

use super::plan::TargetNamespace;
use super::records::{Action, Record};
use super::run::Run;
use super::{item, modifiers};
use crate::cluster::Resource;
use crate::cluster::write::WriteError;
use crate::engine::run_log::{Message, Place};
use crate::engine::select::NAMESPACES;

const ASK_EVERY: Duration = Duration::from_secs(1);
const AT_ONCE: usize = 16;
const NAME_LABEL: &str = "kubernetes.io/metadata.name";

#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("its object in the archive can't be used: {0}")]
    Object(String),
    #[error(transparent)]
    Modifier(#[from] modifiers::Error),
    #[error(transparent)]
    Write(#[from] WriteError),
    #[error(transparent)]
    Read(#[from] crate::cluster::Error),
    #[error("it is still terminating after {} s", within.as_secs())]
    Terminating { within: Duration },
}

/// How a namespace stands before a restore.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    There,
    /// It would be created.
    Absent,
    /// It would be waited for, and created again.
    Terminating,
    Unknown {
        reason: String,
    },
}

impl Standing {
    pub fn word(&self) -> &'static str {
        match self {
            Self::There => "exists",
            Self::Absent => "create",
            Self::Terminating => "create when it is gone",
            Self::Unknown { .. } => "unknown",
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Ensured {
    Created,
    Existed,
}

impl Run {
    /// Makes the namespaces that are missing; those that can't be made are remembered, with an error.
    pub(crate) async fn ensure_namespaces(&mut self, namespaces: &[TargetNamespace]) {
        let this = &*self;
        let ensure = |namespace| -> BoxFuture<'_, _> {
            Box::pin(async move { (namespace, this.ensure(namespace).await) })
        };
        let requests: Vec<_> = namespaces.iter().map(ensure).collect();
        let ensured: Vec<_> = stream::iter(requests).buffer_unordered(AT_ONCE).collect().await;
        for (namespace, result) in ensured {
            match (result, namespace.position) {
                (Ok(Ensured::Created), Some(position)) if namespace.name == namespace.source => {
                    self.settle(position, Record::Listed(Action::Created));
                }
                (Ok(Ensured::Created), Some(_) | None) => self.bare_namespaces.push(namespace.name.clone()),
                (Ok(Ensured::Existed), _) => {}
                (Err(error), _) => {
                    let text =
                        format!("namespace {} is not there, nothing in it is restored", namespace.name);
                    self.log.error(Place::Velero, Message::new(text).cause(&error));
                    self.missing_namespaces.insert(namespace.name.clone());
                }
            }
        }
    }

    pub(crate) async fn standing(&self, name: &str) -> Standing {
        match self.cluster.get_value(&namespaces(), None, name).await {
            Ok(None) => Standing::Absent,
            Ok(Some(live)) if is_terminating(&live) => Standing::Terminating,
            Ok(Some(_)) => Standing::There,
            Err(error) => Standing::Unknown { reason: error.to_string() },
        }
    }

    async fn ensure(&self, namespace: &TargetNamespace) -> Result<Ensured, Error> {
        let resource = namespaces();
        let body = item::encode(&self.namespace_body(namespace)?)
            .map_err(|error| Error::Object(error.to_string()))?;
        let within = self.timeouts.terminating;
        let deadline = Instant::now() + within;
        loop {
            match self.cluster.create(&resource, None, body.clone()).await {
                Ok(_) => {
                    self.log.info("Created namespace", &[("namespace", &namespace.name)]);
                    return Ok(Ensured::Created);
                }
                Err(WriteError::AlreadyExists { .. }) => {}
                Err(error) => return Err(error.into()),
            }
            loop {
                match self.cluster.get_value(&resource, None, &namespace.name).await? {
                    None => break,
                    // By this restore, before it was interrupted.
                    Some(live) if !is_terminating(&live) && self.made(&live) => return Ok(Ensured::Created),
                    Some(live) if !is_terminating(&live) => return Ok(Ensured::Existed),
                    Some(_) if Instant::now() >= deadline || self.cancel.is_cancelled() => {
                        return Err(Error::Terminating { within });
                    }
                    Some(_) => sleep(ASK_EVERY).await,
                }
            }
        }
    }

    /// What the archive knows of the namespace, under its new name; a bare one where it knows nothing.
    fn namespace_body(&self, namespace: &TargetNamespace) -> Result<Value, Error> {
        let archived = match namespace.position {
            None => json!({}),
            Some(position) => {
                let json = self.index.read(&self.index.items[position]);
                let json = json.map_err(|error| Error::Object(error.to_string()))?;
                serde_json::from_slice(&json).map_err(|error| Error::Object(error.to_string()))?
            }
        };
        let mut body = new_namespace(&namespace.name, &archived);
        self.modify(&mut body, NAMESPACES, None)?;
        body["metadata"]["name"] = json!(namespace.name);
        self.settle_in(&mut body, None);
        Ok(body)
    }
}

fn new_namespace(name: &str, archived: &Value) -> Value {
    let map =
        |pointer: &str| archived.pointer(pointer).and_then(Value::as_object).cloned().unwrap_or_default();
    let mut labels: Map<String, Value> = map("/metadata/labels");
    // The API server insists on its own value, which is the new name.
    labels.remove(NAME_LABEL);
    let mut metadata =
        Map::from_iter([("name".to_owned(), json!(name)), ("labels".to_owned(), json!(labels))]);
    let annotations = map("/metadata/annotations");
    if !annotations.is_empty() {
        metadata.insert("annotations".to_owned(), Value::Object(annotations));
    }
    let mut body = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata});
    if let Some(spec) = archived.get("spec") {
        body["spec"] = spec.clone();
    }
    body
}

fn is_terminating(live: &Value) -> bool {
    let deleting = live.pointer("/metadata/deletionTimestamp").is_some_and(|time| !time.is_null());
    deleting || live.pointer("/status/phase").is_some_and(|phase| phase == "Terminating")
}

fn namespaces() -> Resource {
    Resource {
        version: "v1".to_owned(),
        kind: "Namespace".to_owned(),
        plural: NAMESPACES.to_owned(),
        ..Resource::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_namespace_is_made_after_its_source_without_its_identity() {
        let archived = json!({
            "metadata": {
                "name": "shop", "uid": "1", "resourceVersion": "2", "ownerReferences": [],
                "labels": {"team": "a", NAME_LABEL: "shop"}, "annotations": {"note": "x"},
                "managedFields": [],
            },
            "spec": {"finalizers": ["kubernetes"]},
            "status": {"phase": "Active"},
        });
        assert_eq!(
            new_namespace("shop-r", &archived),
            json!({
                "apiVersion": "v1", "kind": "Namespace",
                "metadata": {"name": "shop-r", "labels": {"team": "a"}, "annotations": {"note": "x"}},
                "spec": {"finalizers": ["kubernetes"]},
            })
        );
        assert_eq!(
            new_namespace("bare", &json!({})),
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "bare", "labels": {}}})
        );
    }

    #[test]
    fn a_namespace_on_its_way_out_is_recognised_by_time_or_phase() {
        assert!(is_terminating(&json!({"metadata": {"deletionTimestamp": "t"}})));
        assert!(is_terminating(&json!({"metadata": {}, "status": {"phase": "Terminating"}})));
        assert!(!is_terminating(&json!({"metadata": {}, "status": {"phase": "Active"}})));
    }
}
