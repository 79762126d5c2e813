//! The record of a snapshot among the backup's item operations, in Velero's form (reference: velero-backup.md 1.7). Pure.

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Value, json};

const GROUP: &str = "snapshot.storage.k8s.io";

/// A snapshot that was waited for, and how that ended.
pub(super) struct Operation<'a> {
    pub(super) backup: &'a str,
    pub(super) backup_uid: &'a str,
    pub(super) namespace: &'a str,
    pub(super) snapshot: &'a str,
    pub(super) content: &'a str,
    pub(super) started: DateTime<Utc>,
    pub(super) ended: DateTime<Utc>,
    pub(super) problem: Option<&'a str>,
}

impl Operation<'_> {
    pub(super) fn id(&self) -> String {
        id(self.namespace, self.snapshot, self.started)
    }

    pub(super) fn record(&self) -> Value {
        // Velero's identifiers carry no tags, hence the capitals.
        let identifier = |resource: &str, namespace: &str, name: &str| json!({"Group": GROUP, "Resource": resource, "Namespace": namespace, "Name": name});
        let snapshot = identifier("volumesnapshots", self.namespace, self.snapshot);
        let mut status = json!({
            "phase": if self.problem.is_some() { "Failed" } else { "Completed" },
            "created": seconds(self.started), "started": seconds(self.started), "updated": seconds(self.ended),
        });
        if let Some(problem) = self.problem {
            status["error"] = problem.into();
        }
        json!({
            "spec": {
                "backupName": self.backup,
                "backupUID": self.backup_uid,
                "backupItemAction": "velero.io/csi-volumesnapshot-backupper",
                "resourceIdentifier": snapshot,
                "operationID": self.id(),
                "postOperationItems": [snapshot, identifier("volumesnapshotcontents", "", self.content)],
            },
            "status": status,
        })
    }
}

/// What the volume info and the operations call it.
pub(super) fn id(namespace: &str, snapshot: &str, started: DateTime<Utc>) -> String {
    format!("{namespace}/{snapshot}/{}", seconds(started))
}

fn seconds(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Secs, true)
}

#[cfg(test)]
mod tests {
    use pretty_assertions::assert_eq;

    use super::*;

    #[test]
    fn the_record_is_velero_s() {
        let operation = Operation {
            backup: "b1",
            backup_uid: "5c9e",
            namespace: "shop",
            snapshot: "velero-data-x7k2p",
            content: "snapcontent-0f3c",
            started: "2026-05-01T10:00:12.7Z".parse().unwrap(),
            ended: "2026-05-01T10:00:32Z".parse().unwrap(),
            problem: None,
        };
        let snapshot = json!({"Group": "snapshot.storage.k8s.io", "Resource": "volumesnapshots", "Namespace": "shop", "Name": "velero-data-x7k2p"});
        let content = json!({"Group": "snapshot.storage.k8s.io", "Resource": "volumesnapshotcontents", "Namespace": "", "Name": "snapcontent-0f3c"});
        assert_eq!(
            operation.record(),
            json!({
                "spec": {
                    "backupName": "b1", "backupUID": "5c9e",
                    "backupItemAction": "velero.io/csi-volumesnapshot-backupper",
                    "resourceIdentifier": snapshot,
                    "operationID": "shop/velero-data-x7k2p/2026-05-01T10:00:12Z",
                    "postOperationItems": [snapshot, content],
                },
                "status": {
                    "phase": "Completed", "created": "2026-05-01T10:00:12Z",
                    "started": "2026-05-01T10:00:12Z", "updated": "2026-05-01T10:00:32Z",
                },
            })
        );
        let failed = Operation { problem: Some("disk full"), ..operation }.record();
        assert_eq!(failed["status"]["phase"], "Failed");
        assert_eq!(failed["status"]["error"], "disk full");
    }
}
