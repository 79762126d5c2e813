//! The move back of one claim's data: asked for, watched, and given up when its time is over.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use holdfast_policy::velero;
use holdfast_policy::velero::{DataDownload, labels};
use kube::api::{ListParams, Patch, PatchParams, PostParams};
use kube::{Api, Client, ResourceExt};
use serde_json::json;

use super::outcome::Ended;
use super::{Kept, asked_at, object};
use crate::causes::with_causes;
use crate::clock::Clock;
use crate::cluster::patience::{until_admitted, until_answered};
use crate::cluster::write::FIELD_MANAGER;
use crate::engine::data_moves::{self, Verdict};
use crate::engine::run_log::RunLog;

const FIRST_LOOK: Duration = Duration::from_millis(500);
const LOOK_EVERY: Duration = Duration::from_secs(5);

#[derive(Clone)]
pub(super) struct Transfer {
    pub(super) claim: String,
    /// The claim's namespace in this cluster.
    pub(super) target: String,
    /// Of the claim in the backup.
    pub(super) source_uid: String,
    pub(super) kept: Kept,
    pub(super) restore: Arc<velero::Restore>,
    pub(super) backup: Arc<velero::Backup>,
    /// Of DataDownloads.
    pub(super) namespace: String,
    pub(super) clock: Clock,
    pub(super) started: DateTime<Utc>,
    pub(super) within: Duration,
    pub(super) client: Client,
}

impl Transfer {
    pub(super) async fn run(self, log: &RunLog) -> Ended {
        let mut download = None;
        let problem = self.carry_out(log, &mut download).await.err();
        let ended = (self.clock)();
        Ended { transfer: self, download, ended, problem }
    }

    async fn carry_out(&self, log: &RunLog, download: &mut Option<DataDownload>) -> Result<(), String> {
        // An attempt that was interrupted has asked already.
        let asked = self.list().await.map_err(|error| with_causes(&error))?.into_iter().next();
        let asked = match asked {
            Some(asked) => asked,
            None => self.create().await.map_err(|error| with_causes(&error))?,
        };
        let name = asked.name_any();
        log.info(
            "The data of a claim is to be moved back",
            &[("dataDownload", &name), ("namespace", &self.target), ("claim", &self.claim)],
        );
        let api = self.api();
        let begun = asked_at(&asked, self.started);
        *download = Some(asked);
        let mut pause = FIRST_LOOK;
        loop {
            let waited = ((self.clock)() - begun).to_std().unwrap_or_default();
            let not_moved = |reason: String| Err(format!("DataDownload {name}: {reason}"));
            let found = until_answered(|| api.get_opt(&name)).await;
            let verdict = match found {
                Ok(found) => {
                    let seen = found.as_ref().map(|it| (it.status_phase(), it.status.message.as_deref()));
                    let verdict = data_moves::judge("DataDownload", seen, waited, self.within);
                    if found.is_some() {
                        *download = found;
                    }
                    verdict
                }
                Err(error) if waited >= self.within => return not_moved(with_causes(&error)),
                Err(_) => Verdict::NotYet,
            };
            match verdict {
                Verdict::Moved => return Ok(()),
                Verdict::NotMoved { reason } => return not_moved(reason),
                Verdict::Late => {
                    self.cancel(&name).await;
                    return not_moved(data_moves::LATE.to_owned());
                }
                Verdict::NotYet => {}
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 3 / 2).min(LOOK_EVERY);
        }
    }

    fn api(&self) -> Api<DataDownload> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    async fn list(&self) -> kube::Result<Vec<DataDownload>> {
        let restore = self.restore.metadata.uid.as_deref().unwrap_or_default();
        let operation = object::operation(self);
        let selector =
            format!("{}={restore},{}={operation}", labels::RESTORE_UID, labels::ASYNC_OPERATION_ID);
        let (api, parameters) = (self.api(), ListParams::default().labels(&selector));
        Ok(until_answered(|| api.list(&parameters)).await?.items)
    }

    async fn create(&self) -> kube::Result<DataDownload> {
        let parameters =
            PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() };
        let (api, wanted) = (self.api(), object::wanted(self));
        until_admitted(|| api.create(&parameters, &wanted)).await
    }

    async fn cancel(&self, name: &str) {
        let patch = Patch::Merge(json!({"spec": {"cancel": true}}));
        let parameters =
            PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
        let api = self.api();
        if let Err(error) = until_answered(|| api.patch(name, &parameters, &patch)).await {
            let error = &error as &dyn std::error::Error;
            tracing::warn!(name, error, "cannot give up a DataDownload");
        }
    }
}
