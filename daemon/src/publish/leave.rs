//! Takes Holdfast's marks off the objects of a namespace: labels, annotations, and what its field managers own.
//!
//! In: a client and a namespace. Out: the marked objects with their marks, what a Velero server would then do otherwise
//! than Holdfast, and the objects without the marks. No object is deleted, and nothing but the marks is changed. That no
//! Holdfast runs meanwhile is the caller's matter.

use futures::StreamExt as _;
use holdfast_policy::annotations::SOURCE;
use holdfast_policy::velero::{
    Backup, BackupRepository, BackupStorageLocation, DataDownload, DataUpload, DeleteBackupRequest,
    DownloadRequest, PodVolumeBackup, PodVolumeRestore, Restore, Schedule, ServerStatusRequest,
    VolumeSnapshotLocation,
};
use kube::ResourceExt as _;
use kube::api::{Api, ApiResource, DynamicObject, ListParams, Patch, PatchParams};

use super::REQUESTS;
use super::object::Kind;
use super::observe::{Place, resource};
use crate::cluster::patience::until_admitted;

pub mod marks;

use marks::{Marks, Remark};

/// A Backup of 10,000 items is not small.
const PAGE: u32 = 200;
/// So often an object may change while its marks are taken off.
const TRIES: usize = 5;
/// Changes nothing that it would then own.
const MANAGER: &str = "holdfast-leave";

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("could not list objects of kind {kind}")]
    List {
        kind: String,
        #[source]
        source: kube::Error,
    },
    #[error("could not take the marks off {kind} {name}")]
    Release {
        kind: String,
        name: String,
        #[source]
        source: kube::Error,
    },
    #[error("{kind} {name} kept changing while its marks were taken off")]
    Overtaken { kind: String, name: String },
}

/// A marked object.
#[derive(Debug, Clone)]
pub struct Marked {
    resource: ApiResource,
    object: DynamicObject,
    pub marks: Marks,
}

impl Marked {
    pub fn kind(&self) -> &str {
        &self.resource.kind
    }

    pub fn name(&self) -> String {
        self.object.name_any()
    }

    /// What will be otherwise without Holdfast.
    pub fn remarks(&self, now: chrono::DateTime<chrono::Utc>) -> Vec<Remark> {
        marks::remarks(self.kind(), &self.object, now)
    }
}

/// Everything that carries marks, by kind and name.
pub async fn marked(place: Place<'_>) -> Result<Vec<Marked>, Error> {
    let everything = ListParams::default();
    let mut marked = list(place, resource(Kind::ConfigMap), everything.clone().labels(SOURCE)).await?;
    for resource in of_velero() {
        marked.extend(list(place, resource, everything.clone()).await?);
    }
    Ok(marked)
}

fn of_velero() -> [ApiResource; 13] {
    [
        ApiResource::erase::<BackupStorageLocation>(&()),
        ApiResource::erase::<VolumeSnapshotLocation>(&()),
        ApiResource::erase::<Schedule>(&()),
        ApiResource::erase::<Backup>(&()),
        ApiResource::erase::<Restore>(&()),
        ApiResource::erase::<DeleteBackupRequest>(&()),
        ApiResource::erase::<DownloadRequest>(&()),
        ApiResource::erase::<ServerStatusRequest>(&()),
        ApiResource::erase::<BackupRepository>(&()),
        ApiResource::erase::<PodVolumeBackup>(&()),
        ApiResource::erase::<PodVolumeRestore>(&()),
        ApiResource::erase::<DataUpload>(&()),
        ApiResource::erase::<DataDownload>(&()),
    ]
}

/// A kind that the cluster does not serve has no objects.
async fn list(place: Place<'_>, resource: ApiResource, which: ListParams) -> Result<Vec<Marked>, Error> {
    let api: Api<DynamicObject> = Api::namespaced_with(place.client.clone(), place.namespace, &resource);
    let mut page = which.limit(PAGE);
    let mut marked = Vec::new();
    loop {
        // A kind that nobody has asked for yet is refused for a moment.
        let listed = match until_admitted(|| api.list(&page)).await {
            Ok(listed) => listed,
            // The answer is plain text, for which the client has no reason, only a code.
            Err(kube::Error::Api(status)) if status.code == 404 => return Ok(marked),
            Err(source) => return Err(Error::List { kind: resource.kind.clone(), source }),
        };
        marked.extend(listed.items.into_iter().filter_map(|object| {
            let marks = Marks::of(&object)?;
            Some(Marked { resource: resource.clone(), object, marks })
        }));
        match listed.metadata.continue_.filter(|next| !next.is_empty()) {
            Some(next) => page.continue_token = Some(next),
            None => return Ok(marked),
        }
    }
}

/// Takes the marks off, and gives what could not be released.
pub async fn release(place: Place<'_>, marked: &[Marked]) -> Vec<Error> {
    let releases: Vec<_> = marked.iter().map(|marked| release_one(place, marked)).collect();
    let failures = futures::stream::iter(releases).buffered(REQUESTS);
    failures.filter_map(async |released| released.err()).collect().await
}

async fn release_one(place: Place<'_>, marked: &Marked) -> Result<(), Error> {
    let Marked { resource, object, marks: _ } = marked;
    let (kind, name) = (resource.kind.clone(), object.name_any());
    let api: Api<DynamicObject> = Api::namespaced_with(place.client.clone(), place.namespace, resource);
    let manager = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
    let failed = |source| Error::Release { kind: kind.clone(), name: name.clone(), source };
    let mut object = object.clone();
    for _ in 0..TRIES {
        let Some(marks) = Marks::of(&object) else { return Ok(()) };
        let patch = Patch::Merge(marks.taken_off(&object));
        match api.patch(&name, &manager, &patch).await {
            Ok(_) => return Ok(()),
            Err(kube::Error::Api(status)) if status.is_not_found() => return Ok(()),
            Err(kube::Error::Api(status)) if status.is_conflict() => {}
            Err(source) => return Err(failed(source)),
        }
        match api.get_opt(&name).await.map_err(failed)? {
            Some(fresh) => object = fresh,
            None => return Ok(()),
        }
    }
    Err(Error::Overtaken { kind, name })
}
