//! Who writes the status of our objects, as the API server notes it with every write.
//!
//! Velero's server is known by its name. Anybody else is a server too if it changes the phase of a run that we have
//! claimed; a person with kubectl is not.

use chrono::{DateTime, Utc};
use holdfast_policy::time::to_chrono;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ManagedFieldsEntry, ObjectMeta};
use serde_json::Value;
use tokio::sync::watch;

use crate::controllers::claim::RUN_OWNER;
use crate::controllers::watched::{FIELD_MANAGER, Observer, Record, Seen};

/// The name under which Velero's server writes.
const VELERO_SERVER: &str = "velero-server";
/// What the names of kubectl's commands begin with.
const KUBECTL: &str = "kubectl";

/// A write that is not ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForeignWrite {
    pub manager: String,
    pub at: DateTime<Utc>,
    pub kind: String,
    pub name: String,
}

/// Looks at everything that is watched, and tells of the first write of another server.
#[derive(Clone, Debug)]
pub struct Lookout {
    since: DateTime<Utc>,
    found: watch::Sender<Option<ForeignWrite>>,
}

impl Lookout {
    /// Writes up to `since` are history.
    pub fn new(since: DateTime<Utc>) -> Self {
        Lookout { since, found: watch::Sender::new(None) }
    }

    /// Returns when another server has written.
    pub async fn found(&self) -> ForeignWrite {
        let mut found = self.found.subscribe();
        loop {
            if let Some(write) = found.borrow_and_update().clone() {
                return write;
            }
            if found.changed().await.is_err() {
                // Never: the sender lives as long as `self`.
                std::future::pending::<()>().await;
            }
        }
    }

    fn look(&self, kind: &str, metadata: &ObjectMeta) {
        if let Some(write) = foreign_write(kind, metadata, self.since) {
            self.found.send_if_modified(|found| {
                let is_first = found.is_none();
                found.get_or_insert(write);
                is_first
            });
        }
    }
}

impl<K: Record> Observer<K> for Lookout {
    fn see(&self, seen: Seen<'_, K>) {
        match seen {
            Seen::Listed(object) | Seen::Changed(object) => self.look(&K::kind(&()), object.meta()),
            Seen::ListBegins | Seen::ListEnds | Seen::Gone(_) => (),
        }
    }
}

fn foreign_write(kind: &str, metadata: &ObjectMeta, since: DateTime<Utc>) -> Option<ForeignWrite> {
    let is_claimed =
        metadata.annotations.as_ref().is_some_and(|annotations| annotations.contains_key(RUN_OWNER));
    metadata.managed_fields.iter().flatten().find_map(|entry| {
        let manager = entry.manager.as_deref()?;
        let at = to_chrono(entry.time.as_ref()?);
        let status = status_fields(entry)?;
        let is_server = match manager {
            FIELD_MANAGER => false,
            VELERO_SERVER => true,
            other => is_claimed && !other.starts_with(KUBECTL) && status.get("f:phase").is_some(),
        };
        (is_server && at > since).then(|| ForeignWrite {
            manager: manager.to_owned(),
            at,
            kind: kind.to_owned(),
            name: metadata.name.clone().unwrap_or_default(),
        })
    })
}

/// The fields of the status that somebody has set; an object that is created with `status: {}` has none.
fn status_fields(entry: &ManagedFieldsEntry) -> Option<&serde_json::Map<String, Value>> {
    let status = entry.fields_v1.as_ref()?.0.get("f:status")?.as_object()?;
    status.keys().any(|key| key != ".").then_some(status)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn metadata(manager: &str, time: &str, fields: &Value, claimed: &Value) -> ObjectMeta {
        serde_json::from_value(json!({
            "name": "nightly",
            "annotations": claimed,
            "managedFields": [
                {"manager": "holdfast", "operation": "Update", "time": "2026-11-23T10:05:00Z", "fieldsType": "FieldsV1",
                 "fieldsV1": {"f:status": {"f:startTimestamp": {}}}},
                {"manager": manager, "operation": "Update", "time": time, "fieldsType": "FieldsV1", "fieldsV1": fields},
            ],
        }))
        .unwrap()
    }

    #[test]
    fn a_write_of_another_server_since_we_lead_is_noticed() {
        let since: DateTime<Utc> = "2026-11-23T10:00:00Z".parse().unwrap();
        let (before, after) = ("2026-11-23T10:00:00Z", "2026-11-23T10:00:01Z");
        let ours = json!({"holdfast.dev/run-owner": "us/7"});
        let nobody_s = json!({});
        let phase = json!({"f:status": {"f:phase": {}}});
        let checked = json!({"f:status": {".": {}, "f:lastValidationTime": {}}});
        let cases = [
            ("velero-server", after, &phase, &ours, true),
            ("velero-server", after, &checked, &nobody_s, true),
            ("velero-server", before, &phase, &ours, false),
            ("velero-server", after, &json!({"f:status": {}}), &ours, false),
            ("velero-server", after, &json!({"f:metadata": {"f:labels": {}}}), &ours, false),
            ("another-server", after, &phase, &ours, true),
            ("another-server", after, &phase, &nobody_s, false),
            ("another-server", after, &checked, &ours, false),
            ("velero", after, &json!({"f:spec": {}, "f:status": {}}), &ours, false),
            ("kubectl-edit", after, &phase, &ours, false),
            ("holdfast", after, &phase, &ours, false),
        ];
        for (manager, time, fields, claimed, expected) in cases {
            let found = foreign_write("Backup", &metadata(manager, time, fields, claimed), since);
            let told = found.map(|write| (write.manager, write.name));
            let wanted = expected.then(|| (manager.to_owned(), "nightly".to_owned()));
            assert_eq!(told, wanted, "{manager} {time} {fields} {claimed}");
        }
    }
}
