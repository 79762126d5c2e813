//! The transfers into one pod: asked for, watched, and given up when their time is over.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use holdfast_policy::velero;
use holdfast_policy::velero::{DataPathPhase, PodVolumeRestore, UploaderType, labels};
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod as PodObject};
use kube::api::{ListParams, Patch, PatchParams, PostParams};
use kube::{Api, Client, ResourceExt};
use serde_json::json;

use super::super::restored_volumes::Moved;
use super::{Kept, object};
use crate::causes::with_causes;
use crate::clock::Clock;
use crate::cluster::patience::{until_admitted, until_answered};
use crate::cluster::write::FIELD_MANAGER;
use crate::engine::node_agents::{self, DataPath};
use crate::engine::pod_volumes::PodVolumes;
use crate::engine::repositories::{self, Key};
use crate::engine::run_log::RunLog;
use crate::store::BackupStore;

const POLL: Duration = Duration::from_secs(1);
/// How long a pod may wait for a node before nobody looks for the node's agent any more.
const SCHEDULED_WITHIN: chrono::Duration = chrono::Duration::minutes(10);
const LATE: &str = "timed out waiting for all PodVolumeRestores to complete";

/// A pod that was created.
#[derive(Debug, Clone)]
pub(super) struct Pod {
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) uid: String,
}

pub(super) struct Transfer {
    pub(super) pod: Pod,
    pub(super) kept: Vec<Kept>,
    pub(super) settings: PodVolumes,
    pub(super) restore: Arc<velero::Restore>,
    pub(super) location: String,
    pub(super) store: BackupStore,
    pub(super) clock: Clock,
    pub(super) deadline: DateTime<Utc>,
    pub(super) client: Client,
}

#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("the volumes of pod {pod} are in repositories of several kinds")]
    Mixed { pod: String },
    #[error("the repository of pod {pod}'s volumes is not ready")]
    Repository { pod: String, source: repositories::Error },
    #[error("cannot create a PodVolumeRestore for volume {volume} of pod {pod}")]
    Create { pod: String, volume: String, source: Box<kube::Error> },
    #[error("cannot read the PodVolumeRestores of pod {pod}")]
    List { pod: String, source: Box<kube::Error> },
    #[error("cannot find out whether a node agent is running on node {node}")]
    LookForAgent { node: String, source: Box<kube::Error> },
    #[error(
        "no node agent is running on node {node}, so the volumes of pod {pod} stay empty and the pod waits"
    )]
    NoAgent { node: String, pod: String },
}

impl Transfer {
    /// Gives the errors.
    pub(super) async fn run(&self, log: &RunLog) -> Vec<String> {
        match self.carry_out(log).await {
            Ok(errors) => errors,
            Err(error) => vec![with_causes(&error)],
        }
    }

    async fn carry_out(&self, log: &RunLog) -> Result<Vec<String>, Error> {
        let data_path = self.data_path()?;
        if data_path == DataPath::Velero {
            for kept in &self.kept {
                let key = Key { volume_namespace: kept.namespace.clone(), location: self.location.clone() };
                let ready = self.settings.repositories.ready(&key, &self.store, data_path).await;
                ready.map_err(|source| Error::Repository { pod: self.path(), source })?;
            }
        }
        // An attempt that was interrupted has asked for some already.
        let asked = self.list().await?;
        for kept in &self.kept {
            if asked.iter().any(|asked| asked.spec.volume == kept.volume) {
                continue;
            }
            self.create(kept).await?;
            log.info(
                "Restoring the files of a volume",
                &[("pod", &self.path()), ("volume", &kept.volume), ("snapshot", &kept.snapshot)],
            );
        }
        self.wait(data_path).await
    }

    /// Those of claims' volumes that are over, well or not. What can't be read is not told.
    pub(super) async fn ended(&self) -> Vec<Moved> {
        let found = self.list().await.unwrap_or_default();
        let of_claim = |transfer: PodVolumeRestore| {
            let kept = self.kept.iter().find(|kept| kept.volume == transfer.spec.volume)?;
            let claim = kept.claim.clone()?;
            Some(Moved { source_namespace: kept.namespace.clone(), claim, transfer })
        };
        found.into_iter().filter(|it| it.status_phase().has_ended()).filter_map(of_claim).collect()
    }

    fn data_path(&self) -> Result<DataPath, Error> {
        let is_kopia = |kept: &Kept| kept.uploader == UploaderType::Kopia;
        match (self.kept.iter().any(is_kopia), self.kept.iter().all(is_kopia)) {
            (false, _) => Ok(DataPath::Holdfast),
            (true, true) => Ok(DataPath::Velero),
            (true, false) => Err(Error::Mixed { pod: self.path() }),
        }
    }

    /// Looks until all have ended.
    async fn wait(&self, data_path: DataPath) -> Result<Vec<String>, Error> {
        let begun = (self.clock)();
        let mut agent_is_known = false;
        let mut late = Vec::new();
        loop {
            let found = self.list().await?;
            let unfinished: Vec<_> = found.iter().filter(|it| !it.status_phase().has_ended()).collect();
            if unfinished.is_empty() {
                return Ok(late.into_iter().chain(found.iter().filter_map(failure)).collect());
            }
            let now = (self.clock)();
            if !agent_is_known
                && now - begun < SCHEDULED_WITHIN
                && let Some(node) = self.node().await
            {
                self.require_agent(&node, data_path, now).await?;
                agent_is_known = true;
            }
            if now >= self.deadline {
                late = vec![LATE.to_owned()];
                for object in &unfinished {
                    self.cancel(object).await;
                }
                return Ok(late.into_iter().chain(found.iter().filter_map(failure)).collect());
            }
            tokio::time::sleep(POLL).await;
        }
    }

    async fn require_agent(&self, node: &str, data_path: DataPath, now: DateTime<Utc>) -> Result<(), Error> {
        let there = node_agents::is_there(&self.client, &self.settings.namespace, node, data_path, now).await;
        let node = || node.to_owned();
        match there {
            Ok(true) => Ok(()),
            Ok(false) => Err(Error::NoAgent { node: node(), pod: self.path() }),
            Err(source) => Err(Error::LookForAgent { node: node(), source: Box::new(source) }),
        }
    }

    /// None until the pod is scheduled, or where that can't be found out.
    async fn node(&self) -> Option<String> {
        let pods: Api<PodObject> = Api::namespaced(self.client.clone(), &self.pod.namespace);
        let pod = until_answered(|| pods.get_opt(&self.pod.name)).await.ok()??;
        pod.spec?.node_name.filter(|node| !node.is_empty())
    }

    fn api(&self) -> Api<PodVolumeRestore> {
        Api::namespaced(self.client.clone(), &self.settings.namespace)
    }

    async fn list(&self) -> Result<Vec<PodVolumeRestore>, Error> {
        let restore = self.restore.metadata.uid.as_deref().unwrap_or_default();
        let selector = format!("{}={restore},{}={}", labels::RESTORE_UID, labels::POD_UID, self.pod.uid);
        let (api, parameters) = (self.api(), ListParams::default().labels(&selector));
        let listed = until_answered(|| api.list(&parameters)).await;
        Ok(listed.map_err(|source| Error::List { pod: self.path(), source: Box::new(source) })?.items)
    }

    async fn create(&self, kept: &Kept) -> Result<(), Error> {
        let failed = |source| {
            let volume = kept.volume.clone();
            Error::Create { pod: self.path(), volume, source: Box::new(source) }
        };
        let claim = self.claim_uid(kept).await.map_err(failed)?;
        let wanted = object::wanted(&self.restore, &self.location, &self.pod, kept, claim);
        let parameters =
            PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() };
        let api = self.api();
        until_admitted(|| api.create(&parameters, &wanted)).await.map(drop).map_err(failed)
    }

    async fn claim_uid(&self, kept: &Kept) -> kube::Result<Option<String>> {
        let Some(name) = &kept.claim else { return Ok(None) };
        let claims: Api<PersistentVolumeClaim> = Api::namespaced(self.client.clone(), &self.pod.namespace);
        let found = until_answered(|| claims.get_opt(name)).await?;
        Ok(found.and_then(|claim| claim.metadata.uid))
    }

    async fn cancel(&self, object: &PodVolumeRestore) {
        let patch = Patch::Merge(json!({"spec": {"cancel": true}, "status": {"message": LATE}}));
        let parameters =
            PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
        let (api, name) = (self.api(), object.name_any());
        if let Err(error) = until_answered(|| api.patch(&name, &parameters, &patch)).await {
            let error = &error as &dyn std::error::Error;
            tracing::warn!(name, error, "cannot give up a PodVolumeRestore");
        }
    }

    fn path(&self) -> String {
        format!("{}/{}", self.pod.namespace, self.pod.name)
    }
}

fn failure(object: &PodVolumeRestore) -> Option<String> {
    match object.status_phase() {
        DataPathPhase::Failed | DataPathPhase::Canceled => {
            let message = object.status.message.as_deref().unwrap_or("no reason is given");
            let pod = &object.spec.pod;
            let namespace = pod.namespace.as_deref().unwrap_or_default();
            let name = pod.name.as_deref().unwrap_or_default();
            Some(format!(
                "pod volume restore failed: volume {} of pod {namespace}/{name}: {message}",
                object.spec.volume
            ))
        }
        DataPathPhase::New
        | DataPathPhase::Accepted
        | DataPathPhase::Prepared
        | DataPathPhase::InProgress
        | DataPathPhase::Canceling
        | DataPathPhase::Completed => None,
    }
}
