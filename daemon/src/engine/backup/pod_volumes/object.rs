//! The PodVolumeBackup that asks for one volume. Pure, but for what reads the claim behind it.

use std::collections::BTreeMap;

use holdfast_policy::velero;
use holdfast_policy::velero::{PodVolumeBackup, PodVolumeBackupSpec, UploaderType, labels};
use k8s_openapi::api::core::v1::{ObjectReference, PersistentVolume, PersistentVolumeClaim};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::PostParams;
use kube::{Api, Resource as _};

use super::subject::Subject;
use super::{Claim, Error, Transfers};
use crate::cluster::patience::{until_admitted, until_answered};
use crate::cluster::write::FIELD_MANAGER;
use crate::engine::node_agents::DataPath;

/// Key of the uploader's settings, as Velero names it.
const PARALLEL_FILES: &str = "ParallelFilesUpload";

pub(super) struct Wanted<'a> {
    pub(super) subject: &'a Subject<'a>,
    pub(super) volume: &'a str,
    pub(super) claim: Option<&'a Claim>,
}

impl Wanted<'_> {
    pub(super) fn object(&self, backup: &velero::Backup, data_path: DataPath) -> PodVolumeBackup {
        let Self { subject, volume, claim } = self;
        let name = backup.metadata.name.clone().unwrap_or_default();
        let uid = backup.metadata.uid.clone().unwrap_or_default();
        let own = |text: &str| text.to_owned();
        let mut marks = BTreeMap::from([
            (own(labels::BACKUP_NAME), labels::short_name(&name)),
            (own(labels::BACKUP_UID), uid.clone()),
        ]);
        let mut tags = BTreeMap::from([
            (own("backup"), name.clone()),
            (own("backup-uid"), uid.clone()),
            (own("ns"), own(subject.namespace)),
            (own("pod"), own(subject.name)),
            (own("pod-uid"), own(subject.uid)),
            (own("volume"), own(volume)),
        ]);
        if let Some(claim) = claim {
            marks.insert(own(labels::PVC_UID), claim.uid.clone());
            tags.insert(own("pvc-uid"), claim.uid.clone());
        }
        let parallel = backup.spec.uploader_config.as_ref().map(|config| config.parallel_files_upload);
        PodVolumeBackup {
            metadata: ObjectMeta {
                generate_name: Some(format!("{name}-")),
                namespace: backup.metadata.namespace.clone(),
                labels: Some(marks),
                annotations: claim.map(|claim| [(own(labels::PVC_NAME), claim.name.clone())].into()),
                owner_references: backup.controller_owner_ref(&()).map(|owner| vec![owner]),
                ..ObjectMeta::default()
            },
            spec: PodVolumeBackupSpec {
                node: own(subject.node),
                pod: ObjectReference {
                    kind: Some(own("Pod")),
                    namespace: Some(own(subject.namespace)),
                    name: Some(own(subject.name)),
                    uid: Some(own(subject.uid)),
                    ..ObjectReference::default()
                },
                volume: own(volume),
                backup_storage_location: backup.spec.storage_location.clone().unwrap_or_default(),
                repo_identifier: String::new(),
                uploader_type: Some(match data_path {
                    DataPath::Holdfast => UploaderType::Restic,
                    DataPath::Velero => UploaderType::Kopia,
                }),
                tags,
                uploader_settings: parallel
                    .map(|files| (own(PARALLEL_FILES), files.to_string()))
                    .into_iter()
                    .collect(),
                cancel: false,
            },
            ..PodVolumeBackup::default()
        }
    }
}

impl Transfers {
    /// Gives the name.
    pub(super) async fn create(&self, object: &PodVolumeBackup) -> kube::Result<String> {
        let parameters =
            PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() };
        let api = self.api();
        let created = until_admitted(|| api.create(&parameters, object)).await?;
        Ok(created.metadata.name.unwrap_or_default())
    }

    /// What is behind a claim; the inner error is a reason to leave the volume out.
    pub(super) async fn claim(
        &self,
        subject: &Subject<'_>,
        volume: &str,
        claim: &str,
    ) -> Result<Result<Claim, String>, Error> {
        let failed = |what| {
            let volume = volume.to_owned();
            move |source| Error::Claim { what, volume, source: Box::new(source) }
        };
        let missing = |what| Error::NoClaim { what, volume: volume.to_owned() };
        let claims: Api<PersistentVolumeClaim> = Api::namespaced(self.client.clone(), subject.namespace);
        let found = until_answered(|| claims.get_opt(claim)).await;
        let found = found.map_err(failed("the claim"))?;
        let found = found.ok_or_else(|| missing("the claim"))?;
        let bound = found.spec.and_then(|spec| spec.volume_name).filter(|name| !name.is_empty());
        let bound = bound.ok_or_else(|| missing("the persistent volume"))?;
        let volumes: Api<PersistentVolume> = Api::all(self.client.clone());
        let persistent = until_answered(|| volumes.get_opt(&bound)).await;
        let persistent = persistent.map_err(failed("the persistent volume"))?;
        let persistent = persistent.ok_or_else(|| missing("the persistent volume"))?;
        if persistent.spec.is_some_and(|spec| spec.host_path.is_some()) {
            return Ok(Err("is a folder of the node (hostPath), which is not read file by file".to_owned()));
        }
        let uid = found.metadata.uid.unwrap_or_default();
        Ok(Ok(Claim { name: claim.to_owned(), uid, volume: bound }))
    }
}
