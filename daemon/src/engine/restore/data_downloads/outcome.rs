//! What is told of a move back that ended: the record among the restore's item operations and what its volume info says, in
//! Velero's form (reference: velero-restore.md 10.4 and 10.5). Pure.

use chrono::{DateTime, Utc};
use holdfast_policy::time::to_chrono;
use holdfast_policy::velero::DataDownload;
use serde::Serialize;
use serde_json::{Value, json};

use super::object;
use super::transfer::Transfer;
use crate::engine::data_moves::{BUILT_IN, UPLOADER, seconds};

/// A move back that is over.
#[derive(Clone)]
pub(crate) struct Ended {
    pub(super) transfer: Transfer,
    /// As it was seen last; none where it could not be asked for.
    pub(super) download: Option<DataDownload>,
    pub(super) ended: DateTime<Utc>,
    pub(crate) problem: Option<String>,
}

/// The data of a snapshot that was in a repository. Capitals that stand out are Velero's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DataMovementInfo {
    data_mover: String,
    uploader_type: String,
    snapshot_handle: String,
    #[serde(rename = "operationID")]
    operation_id: String,
    size: i64,
    #[serde(rename = "Phase")]
    phase: String,
}

impl Ended {
    /// Namespace and name of the claim in this cluster.
    pub(crate) fn claim(&self) -> (String, String) {
        (self.transfer.target.clone(), self.transfer.claim.clone())
    }

    pub(crate) fn movement(&self) -> DataMovementInfo {
        let kept = &self.transfer.kept;
        DataMovementInfo {
            data_mover: kept.data_mover.clone().unwrap_or_else(|| BUILT_IN.to_owned()),
            uploader_type: UPLOADER.to_owned(),
            snapshot_handle: kept.snapshot.clone().unwrap_or_default(),
            operation_id: object::operation(&self.transfer),
            size: kept.bytes,
            phase: self.phase(),
        }
    }

    pub(crate) fn record(&self) -> Value {
        let Transfer { claim, kept, restore, started, .. } = &self.transfer;
        let mut status = json!({
            "phase": if self.problem.is_some() { "Failed" } else { "Completed" },
            "operationUnits": "Bytes", "created": seconds(*started), "updated": seconds(self.ended),
        });
        if let Some(problem) = &self.problem {
            status["error"] = problem.as_str().into();
        }
        if let Some(download) = &self.download {
            status["description"] = self.phase().into();
            let begun = download.status.start_timestamp.as_ref().map_or(*started, to_chrono);
            status["started"] = seconds(begun).into();
            let progress = &download.status.progress;
            for (key, bytes) in [("nCompleted", progress.bytes_done), ("nTotal", progress.total_bytes)] {
                if bytes > 0 {
                    status[key] = bytes.into();
                }
            }
        }
        json!({
            "spec": {
                "restoreName": restore.metadata.name,
                "restoreUID": restore.metadata.uid,
                "restoreItemAction": "velero.io/csi-pvc-restorer",
                "resourceIdentifier": {
                    "Group": "", "Resource": "persistentvolumeclaims", "Namespace": kept.namespace, "Name": claim,
                },
                "operationID": object::operation(&self.transfer),
            },
            "status": status,
        })
    }

    fn phase(&self) -> String {
        self.download.as_ref().map_or_else(String::new, |download| format!("{:?}", download.status_phase()))
    }
}
